// Order: ten thousand events from the server to every kind of client, and from each to the server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ask, connect, KINDS, matrix, View } from "./client.js";
import { Server, thing, until } from "./server.js";

const MANY = 10_000;
// The clients below are faster than a person: the bucket that holds such back is not what is tested here.
const config = "[socket]\nrate_burst = 1000000\nrate_per_second = 1000000\n";

let server;
let token;
before(async () => {
  server = await Server.start({ config });
  token = await server.admin();
});
after(() => server?.stop());

function assertWhole(messages) {
  assert.equal(messages.length, MANY);
  for (const [index, message] of messages.entries()) {
    assert.equal(message.seq, index + 1);
    assert.equal(message.data.n, index + 1);
  }
}

test("every kind of client gets ten thousand events, each once and in order", { timeout: 240_000 }, async (t) => {
  const about = thing();
  const views = [];
  for (const kind of KINDS) views.push(new View(await connect(t, server.url, token, kind), about.channel));
  await until(() => views.every((view) => view.answers.length === 1), "the answers");
  await server.publishNotes(about, 1, MANY, 500);
  for (const view of views) {
    await view.reaches(MANY);
    assertWhole(view.messages);
    assert.deepEqual(view.told, []);
  }
});

matrix("ten thousand publications of one client take effect in the order sent", async (t, kind) => {
  const about = thing();
  const socket = await connect(t, server.url, token, kind);
  // A window keeps the body of a poll below what the server takes: old clients put all they have into one.
  const window = 400;
  const places = [];
  let sent = 0;
  let answered = 0;
  await new Promise((resolve, reject) => {
    const send = () => {
      while (sent < MANY && sent - answered < window) {
        sent += 1;
        const n = sent;
        const { type, data } = about.note(n);
        socket.emit("publish", { channel: about.channel, type, data }, (answer) => {
          answered += 1;
          places[n - 1] = answer.seq;
          if (!answer.ok) reject(new Error(JSON.stringify(answer)));
          else if (answered === MANY) resolve();
          else send();
        });
      }
    };
    socket.once("disconnect", (reason) => reject(new Error(`disconnected: ${reason}`)));
    send();
  });
  assert.deepEqual(places, Array.from({ length: MANY }, (_, index) => index + 1));

  const reader = await connect(t, server.url, token, { version: kind.version });
  const view = new View(reader, about.channel);
  await view.reaches(MANY);
  assertWhole(view.messages);
  assert.equal((await ask(socket, "unsubscribe", { all: true })).ok, true);
});

matrix("a subscribe behind a publish that nobody waited for finds it", async (t, kind) => {
  const socket = await connect(t, server.url, token, kind);
  const about = thing();
  for (let n = 1; n <= 20; n += 1) {
    const { type, data } = about.note(n);
    socket.emit("publish", { channel: about.channel, type, data }, () => {});
    assert.equal((await ask(socket, "subscribe", { channel: about.channel })).seq, n);
    assert.equal((await ask(socket, "unsubscribe", about.channel)).ok, true);
  }
});
