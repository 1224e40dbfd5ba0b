// Subscriptions: every row of the table of docs/PROTOCOL.md, in the `connect` callback and later.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ask, connect, matrix, message, open, View } from "./client.js";
import { Server, thing, until } from "./server.js";

let server;
let token;
before(async () => {
  server = await Server.start();
  token = await server.admin();
});
after(() => server?.stop());

const of = (channel) => (seen) => seen.channel === channel && seen.seq !== undefined;
const numbers = (socket, channel) => socket.seen.filter(of(channel)).map((seen) => seen.data.n);
const upTo = (n) => Array.from({ length: n }, (_, index) => index + 1);

/** Publishes one more note and waits for it: what came before it has come. */
async function fence(socket, about, n) {
  await server.publish(about.note(n));
  await message(socket, "session.note", (seen) => seen.channel === about.channel && seen.data.n === n);
}

matrix("a subscription in the connect callback is answered, then live", async (t, kind) => {
  const about = thing();
  const socket = open(t, server.url, token, kind);
  const answer = await new Promise((resolve) => {
    socket.on("connect", () => socket.emit("subscribe", about.channel, resolve));
  });
  assert.equal(answer.ok, true);
  assert.equal(answer.channel, about.channel);
  assert.equal(answer.seq, 0);
  assert.equal(typeof answer.epoch, "string");
  await server.publish([about.note(1), about.note(2)]);
  await message(socket, "session.note", (seen) => seen.data.n === 2);
  const [first] = socket.seen.filter(of(about.channel));
  assert.equal(first.seq, 1);
  assert.deepEqual(first.data, about.note(1).data);
  assert.match(first.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

matrix("sixty clients that subscribe in their connect callback all get their answer", async (t, kind) => {
  const about = thing();
  const answers = upTo(60).map(
    () =>
      new Promise((resolve) => {
        const socket = open(t, server.url, token, kind);
        socket.on("connect", () => socket.emit("subscribe", about.channel, resolve));
      }),
  );
  for (const answer of await Promise.all(answers)) assert.equal(answer.ok, true);
});

matrix("since, last and the beginning replay in order and go on live", async (t, kind) => {
  const about = thing();
  await server.publishNotes(about, 1, 20);
  const table = [
    [{ since: { seq: 0 } }, upTo(21)],
    [{ last: 3 }, [18, 19, 20, 21]],
    [{ last: 1000 }, upTo(21)],
    [{}, [21]],
  ];
  const sockets = [];
  for (const [asked] of table) {
    const socket = await connect(t, server.url, token, kind);
    const answer = await ask(socket, "subscribe", { channel: about.channel, ...asked });
    assert.equal(answer.ok, true, JSON.stringify(answer));
    assert.equal(answer.seq, 20);
    sockets.push(socket);
  }
  await server.publish(about.note(21));
  for (const [index, [, expected]] of table.entries()) {
    await message(sockets[index], "session.note", (seen) => seen.data.n === 21);
    assert.deepEqual(numbers(sockets[index], about.channel), expected);
  }
});

matrix("a position is recovered, and one that cannot be is told", async (t, kind) => {
  const about = thing();
  await server.publishNotes(about, 1, 10);
  const socket = await connect(t, server.url, token, kind);
  const { epoch } = await ask(socket, "subscribe", about.channel);

  const recovered = await ask(socket, "subscribe", { channel: about.channel, since: { epoch, seq: 7 } });
  assert.equal(recovered.recovered, true);
  await message(socket, "session.note", (seen) => seen.data.n === 10);
  assert.deepEqual(numbers(socket, about.channel), [8, 9, 10]);

  const other = await ask(socket, "subscribe", { channel: about.channel, since: { epoch: "another", seq: 7 } });
  assert.equal(other.recovered, false);
  assert.equal(other.reason, "epoch");
  const reset = await message(socket, "channel.reset", (seen) => seen.data.channel === about.channel);
  assert.equal(reset.data.epoch, epoch);
  assert.equal(reset.data.seq, 10);

  const future = await ask(socket, "subscribe", { channel: about.channel, since: { epoch, seq: 99 } });
  assert.equal(future.recovered, false);
  assert.equal(future.reason, "future");
  await fence(socket, about, 11);
});

matrix("an array of subscriptions is answered in its order", async (t, kind) => {
  const things = [thing(), thing(), thing()];
  const socket = await connect(t, server.url, token, kind);
  const asked = [things[0].channel, { channel: "session.bad" }, { channel: things[1].channel, last: 1 }, things[2].channel];
  const answer = await ask(socket, "subscribe", asked);
  assert.equal(answer.ok, true);
  assert.deepEqual(answer.results.map((result) => result.ok), [true, false, true, true]);
  assert.equal(answer.results[1].error.code, "invalid_channel");
  for (const about of things) await fence(socket, about, 1);
});

matrix("a repeated subscription gives each message once", async (t, kind) => {
  const about = thing();
  const socket = await connect(t, server.url, token, kind);
  for (let again = 0; again < 3; again += 1) await ask(socket, "subscribe", about.channel);
  await fence(socket, about, 1);
  await fence(socket, about, 2);
  assert.deepEqual(numbers(socket, about.channel), [1, 2]);
});

matrix("subscribe, unsubscribe, subscribe at once ends subscribed", async (t, kind) => {
  const about = thing();
  const socket = await connect(t, server.url, token, kind);
  socket.emit("subscribe", about.channel);
  socket.emit("unsubscribe", about.channel);
  const answer = await ask(socket, "subscribe", about.channel);
  assert.equal(answer.ok, true);
  await fence(socket, about, 1);
  assert.deepEqual(numbers(socket, about.channel), [1]);
});

matrix("after unsubscribe nothing more of the channel comes", async (t, kind) => {
  const [left, kept] = [thing(), thing()];
  const socket = await connect(t, server.url, token, kind);
  for (const leave of [left.channel, [left.channel], { all: true }]) {
    await ask(socket, "subscribe", [left.channel, kept.channel]);
    assert.equal((await ask(socket, "unsubscribe", leave)).ok, true);
    await ask(socket, "subscribe", kept.channel);
    await server.publish({ ...left.note(1), id: undefined });
    await fence(socket, kept, socket.seen.length + 1000);
    assert.deepEqual(numbers(socket, left.channel), []);
  }
});

matrix("a filter lets through what it names, and what it leaves out is no gap", async (t, kind) => {
  const about = thing();
  const socket = await connect(t, server.url, token, kind);
  const where = { n: [2, 4, 5] };
  const filter = { types: ["session.note"], where };
  assert.equal((await ask(socket, "subscribe", { channel: about.channel, filter })).ok, true);
  await server.publish({ type: "session.remark", data: { sessionId: about.id, n: 2 } });
  await server.publishNotes(about, 1, 5);
  await message(socket, "session.note", (seen) => seen.data.n === 5);
  assert.deepEqual(numbers(socket, about.channel), [2, 4, 5]);
  assert.equal(socket.seen.some((seen) => seen.type === "channel.gap"), false);
});

matrix("a snapshot is the state as of its seq, and messages follow from there", async (t, kind) => {
  const made = await server.http("POST", "/api/projects", { token, body: { name: "one", root: await server.directory() } });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const channel = `project:${made.body.projectId}`;
  const socket = await connect(t, server.url, token, kind);
  const answer = await ask(socket, "subscribe", { channel, snapshot: true });
  assert.equal(answer.ok, true);
  const snapshot = await message(socket, "channel.snapshot", (seen) => seen.data.channel === channel);
  assert.equal(snapshot.data.reason, "joined");
  assert.equal(snapshot.data.seq, 1);
  assert.equal(snapshot.data.snapshot.name, "one");
  const body = { userId: "somebody", membership: "viewer" };
  await server.http("POST", `/api/projects/${made.body.projectId}/members`, { token, body });
  const next = await message(socket, "project.member_set");
  assert.equal(next.seq, 2);
  assert.deepEqual(next.by, { userId: "root" });
});

matrix("a catch-all listener sees the one event of all messages", async (t, kind) => {
  const about = thing();
  const socket = await connect(t, server.url, token, kind);
  const names = [];
  socket.onAny((name, ...rest) => names.push([name, rest.length]));
  await ask(socket, "subscribe", about.channel);
  await fence(socket, about, 1);
  assert.ok(names.length > 0);
  for (const [name, count] of names) assert.deepEqual([name, count], ["message", 1]);
});

matrix("every frame is text that a person can read", async (t, kind) => {
  const about = thing();
  const socket = await connect(t, server.url, token, kind);
  const packets = [];
  socket.io.engine.on("packet", (packet) => packets.push(packet));
  await ask(socket, "subscribe", about.channel);
  await fence(socket, about, 1);
  assert.ok(packets.some((packet) => String(packet.data).includes(about.channel)));
  for (const packet of packets) assert.ok(packet.data === undefined || typeof packet.data === "string", packet.type);
});

test("two subscribers of one channel see the same", async (t) => {
  const about = thing();
  const views = [];
  for (const transport of ["polling", "websocket"]) {
    views.push(new View(await connect(t, server.url, token, { transport }), about.channel));
  }
  await until(() => views.every((view) => view.answers.length === 1), "the answers");
  await server.publishNotes(about, 1, 200);
  for (const view of views) await view.reaches(200);
  assert.deepEqual(views[0].messages, views[1].messages);
});
