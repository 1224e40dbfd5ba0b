// Coming back without a hole: after the cable was cut, and after the server was killed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Cable, connect, KINDS, matrix, open, View } from "./client.js";
import { Server, thing, until } from "./server.js";

let server;
let token;
before(async () => {
  server = await Server.start();
  token = await server.admin();
});
after(() => server?.stop());

function assertWhole(view, many) {
  const expected = Array.from({ length: many }, (_, index) => index + 1);
  assert.deepEqual(view.messages.map((message) => message.data.n), expected);
  assert.deepEqual(view.messages.map((message) => message.seq), expected);
  assert.deepEqual(view.told, []);
}

matrix("a subscriber whose cable is cut again and again misses nothing", async (t, kind) => {
  const about = thing();
  const cable = await Cable.to(t, server.port);
  const socket = open(t, cable.url, (give) => give({ token }), kind);
  const view = new View(socket, about.channel);
  await until(() => view.answers.length > 0, "the first answer");
  const publishing = server.publishNotes(about, 1, 1000, 10);
  for (const n of [100, 300, 500, 700]) {
    await view.reaches(n);
    const answers = view.answers.length;
    cable.cut();
    // Between two polls a client sees nothing of a cut that is mended at once.
    await until(() => !socket.connected, "the client to notice the cut");
    cable.mend();
    await until(() => view.answers.length > answers, "the answer after the cut");
  }
  await publishing;
  await view.reaches(1000);
  assertWhole(view, 1000);
  for (const answer of view.answers) assert.notEqual(answer.recovered, false);
});

matrix("what was published while the cable was cut comes afterwards", async (t, kind) => {
  const about = thing();
  const cable = await Cable.to(t, server.port);
  const view = new View(open(t, cable.url, (give) => give({ token }), kind), about.channel);
  await server.publishNotes(about, 1, 10);
  await view.reaches(10);
  cable.cut();
  await server.publishNotes(about, 11, 500);
  cable.mend();
  await view.reaches(500);
  assertWhole(view, 500);
});

test("every kind of client misses nothing when the server is killed and started again", { timeout: 240_000 }, async (t) => {
  const about = thing();
  const views = [];
  for (const kind of KINDS) {
    const socket = open(t, server.url, (give) => give({ token }), kind);
    views.push(new View(socket, about.channel));
  }
  await until(() => views.every((view) => view.answers.length > 0), "the first answers");
  const publishing = server.publishNotes(about, 1, 2000, 20);
  for (const n of [300, 900, 1500]) {
    for (const view of views) await view.reaches(n);
    await server.kill9();
    await server.restart();
  }
  await publishing;
  for (const view of views) {
    await view.reaches(2000);
    assertWhole(view, 2000);
    assert.equal(new Set(view.answers.map((answer) => answer.epoch)).size, 1);
  }
});

test("the log has what was acknowledged before the server was killed", async (t) => {
  const about = thing();
  const acknowledged = [];
  for (let n = 1; n <= 30; n += 1) {
    const [result] = await server.publish(about.note(n));
    acknowledged.push(result.seq);
    if (n % 10 === 0) {
      await server.kill9();
      await server.restart();
    }
  }
  assert.deepEqual(acknowledged, Array.from({ length: 30 }, (_, index) => index + 1));
  const view = new View(await connect(t, server.url, token), about.channel);
  await view.reaches(30);
  assertWhole(view, 30);
});
