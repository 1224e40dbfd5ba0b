// The main job: a real program runs as a session, and its output is seen live and afterwards.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ask, connect, matrix, message } from "./client.js";
import { Server, until } from "./server.js";

let server;
let root;
let projectId;
before(async () => {
  server = await Server.start();
  root = await server.admin();
  const body = { name: "one", root: await server.directory() };
  const made = await server.http("POST", "/api/projects", { token: root, body });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  projectId = made.body.projectId;
});
after(() => server?.stop());

const shell = (line) => ({ projectId, command: ["sh", "-c", line] });
const output = (socket, stream) =>
  socket.seen
    .filter((seen) => seen.type === "session.stream_output" && seen.data.type === stream)
    .map((seen) => seen.data.content)
    .join("");

matrix("a program's output comes live, its streams apart, and then its end", async (t, kind) => {
  const socket = await connect(t, server.url, root, kind);
  const started = await ask(socket, "session.start", shell("echo one; echo two >&2; read line; echo got $line; exit 3"));
  assert.equal(started.ok, true, JSON.stringify(started));
  const { sessionId, channel } = started.data;
  assert.equal(channel, `session:${sessionId}`);
  assert.equal((await ask(socket, "subscribe", { channel, since: { seq: 0 } })).ok, true);
  await until(() => output(socket, "stdout") === "one\n" && output(socket, "stderr") === "two\n", "the first lines");
  const told = await ask(socket, "session.send_message", { sessionId, content: "hello", clientMessageId: "m1" });
  assert.equal(told.ok, true, JSON.stringify(told));
  const end = await message(socket, "session.completed");
  assert.equal(end.data.exitCode, 3);
  assert.equal(output(socket, "stdout"), "one\ngot hello\n");
  const seqs = socket.seen.filter((seen) => seen.channel === channel && seen.seq).map((seen) => seen.seq);
  assert.deepEqual(seqs, Array.from({ length: seqs.length }, (_, index) => index + 1));
});

test("a session is cancelled once, its state is the same by snapshot and by GET, and its board shows it", async (t) => {
  const socket = await connect(t, server.url, root);
  await ask(socket, "subscribe", `project:${projectId}`);
  const { data } = await ask(socket, "session.start", shell("echo up; sleep 600"));
  const { sessionId, channel } = data;
  await ask(socket, "subscribe", { channel, since: { seq: 0 } });
  await until(() => output(socket, "stdout") === "up\n", "its output");
  assert.equal((await ask(socket, "session.cancel", { sessionId })).ok, true);
  await message(socket, "session.cancelled");
  await message(socket, "session.summary", (seen) => seen.data.id === sessionId && seen.data.status === "cancelled");
  assert.equal((await ask(socket, "session.cancel", { sessionId })).error.code, "conflict");

  await ask(socket, "subscribe", { channel, snapshot: true });
  const snapshot = await message(socket, "channel.snapshot", (seen) => seen.data.channel === channel);
  const got = await server.http("GET", `/api/sessions/${sessionId}`, { token: root });
  assert.equal(snapshot.data.snapshot.status, "cancelled");
  assert.deepEqual(got.body, snapshot.data.snapshot);
});

test("a session that ran when the server was killed is ended by the next start", async (t) => {
  const first = await server.http("POST", "/api/sessions", { token: root, body: shell("echo up; sleep 600") });
  assert.equal(first.status, 201, JSON.stringify(first.body));
  await server.kill9();
  await server.restart();
  const socket = await connect(t, server.url, root);
  await ask(socket, "subscribe", { channel: first.body.channel, since: { seq: 0 } });
  const end = await message(socket, "session.error");
  assert.equal(end.data.code, "server_stopped");
  assert.equal(socket.seen.filter((seen) => /^session\.(completed|error|cancelled)$/.test(seen.type)).length, 1);
});
