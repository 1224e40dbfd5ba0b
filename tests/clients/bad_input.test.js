// Bad input gets a reason and changes nothing; the connection that sent it goes on.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ask, connect, matrix, message } from "./client.js";
import { Server, thing } from "./server.js";

let server;
let root;
before(async () => {
  server = await Server.start();
  root = await server.admin();
});
after(() => server?.stop());

const long = `session:${"x".repeat(300)}`;
const subscriptions = [
  [undefined, /bad_request/],
  [null, /bad_request/],
  [5, /bad_request/],
  [true, /bad_request/],
  [{}, /bad_request|invalid_channel|invalid_data/],
  ["", /invalid_channel/],
  ["session", /invalid_channel/],
  ["session.123", /invalid_channel/],
  ["session:", /invalid_channel/],
  ["Session:1", /invalid_channel/],
  ["session:a:b:c:d", /invalid_channel/],
  ["session:a b", /invalid_channel/],
  [long, /invalid_channel/],
  ["nobody:1", /invalid_channel/],
  ["session:*", /invalid_channel/],
  [{ channel: 5 }, /bad_request|invalid_channel|invalid_data/],
  [{ channel: "session:1", since: 5 }, /bad_request|invalid_data/],
  [{ channel: "session:1", since: { seq: 7 } }, /bad_request|invalid_data/],
  [{ channel: "session:1", since: { epoch: "e", seq: -1 } }, /bad_request|invalid_data/],
  [{ channel: "session:1", since: { epoch: "e", seq: 1.5 } }, /bad_request|invalid_data/],
  [{ channel: "session:1", since: { epoch: "e", seq: "7" } }, /bad_request|invalid_data/],
  [{ channel: "session:1", last: -1 }, /bad_request|invalid_data/],
  [{ channel: "session:1", last: "all" }, /bad_request|invalid_data/],
  [{ channel: "session:1", snapshot: "yes" }, /bad_request|invalid_data/],
  [{ channel: "session:1", maxLag: 5 }, /bad_request|invalid_data/],
  [{ channel: "session:1", maxLag: { messages: -1 } }, /bad_request|invalid_data/],
  [{ channel: "session:1", filter: "session.*" }, /bad_request|invalid_data/],
  [{ channel: "session:1", filter: { types: ["a:b.c"] } }, /bad_request|invalid_data/],
  [{ channel: "session:1", filter: { types: "session.*" } }, /bad_request|invalid_data/],
  [{ channel: "session:1", filter: { where: { n: { deep: 1 } } } }, /bad_request|invalid_data/],
  [Array.from({ length: 101 }, (_, n) => `session:${n}`), /bad_request|too_large|invalid_data/],
];
const publications = [
  [undefined, /bad_request/],
  ["session:1", /bad_request/],
  [{}, /bad_request|invalid/],
  [{ channel: "session:1", type: "session:note", data: {} }, /invalid_event|invalid_data/],
  [{ channel: "session:1", type: "note", data: {} }, /invalid_event|invalid_data/],
  [{ channel: "session.1", type: "session.note", data: {} }, /invalid_channel|invalid_data/],
  [{ channel: "session:1", type: "nobody.note", data: {} }, /invalid_event/],
  [{ channel: "session:1", type: "server.hello", data: {} }, /invalid_event|forbidden/],
  [{ channel: "session:1", type: "session.note" }, /bad_request|invalid_data/],
  [{ channel: "session:1", type: "session.note", data: 5 }, /bad_request|invalid_data/],
  [{ channel: "session:1", type: "session.note", data: { sessionId: "2" } }, /invalid_data|invalid_channel/],
  [{ channel: "session:1", type: "session.note", data: { sessionId: "1:2" } }, /invalid_data|invalid_channel/],
];
const commands = [
  ["nothing.like_this", {}, /unknown_command/],
  ["Subscribe", "session:1", /unknown_command/],
  ["session.start", undefined, /invalid_data/],
  ["session.start", "x", /bad_request/],
  ["session.start", {}, /invalid_data/],
  ["session.cancel", { sessionId: "1:2" }, /invalid_data/],
  ["project.register", { name: "x" }, /invalid_data/],
  ["project.get", { projectId: 5 }, /invalid_data/],
  ["unsubscribe", undefined, /bad_request/],
  ["unsubscribe", { all: "yes" }, /bad_request|invalid_data/],
  ["unsubscribe", "session.1", /invalid_channel/],
];

matrix("every kind of bad input is answered with its reason and changes nothing", async (t, kind) => {
  const socket = await connect(t, server.url, root, kind);
  const table = [
    ...subscriptions.map(([input, code]) => ["subscribe", input, code]),
    ...publications.map(([input, code]) => ["publish", input, code]),
    ...commands,
  ];
  for (const [event, input, code] of table) {
    const answer = await (input === undefined ? ask(socket, event) : ask(socket, event, input));
    const shown = `${event} ${JSON.stringify(input)?.slice(0, 80)} -> ${JSON.stringify(answer)}`;
    assert.equal(answer.ok, false, shown);
    assert.match(answer.error.code, code, shown);
    assert.equal(typeof answer.error.message, "string", shown);
    assert.equal(answer.error.retryable, false, shown);
  }
  assert.equal(socket.connected, true);
  const answer = await ask(socket, "subscribe", { channel: "session:1", since: { seq: 0 } });
  assert.equal(answer.seq, 0);
});

matrix("bytes are refused as an argument, wherever they stand", async (t, kind) => {
  const socket = await connect(t, server.url, root, kind);
  for (const input of [Buffer.from("abc"), { channel: "session:1", type: "session.note", data: { b: Buffer.from("x") } }]) {
    const answer = await ask(socket, "publish", input);
    assert.equal(answer.error?.code, "bad_request", JSON.stringify(answer));
  }
  assert.equal((await ask(socket, "subscribe", "session:2")).ok, true);
});

test("a message over the limit is too large, one below it passes whole, and one far over it ends the connection", { timeout: 60_000 }, async (t) => {
  const about = thing();
  const socket = await connect(t, server.url, root);
  await ask(socket, "subscribe", about.channel);
  const sized = (bytes) => ({ channel: about.channel, type: "session.note", data: { sessionId: about.id, text: "é".repeat(bytes / 2) } });
  for (const bytes of [263_000, 900_000]) {
    const answer = await ask(socket, "publish", sized(bytes));
    assert.equal(answer.error?.code, "too_large", JSON.stringify(answer));
  }
  assert.equal((await ask(socket, "publish", sized(250_000))).ok, true);
  const whole = await message(socket, "session.note");
  assert.equal(whole.data.text.length, 125_000);

  const gone = new Promise((resolve) => socket.once("disconnect", resolve));
  const back = new Promise((resolve) => socket.once("connect", resolve));
  socket.emit("publish", sized(1_300_000));
  assert.match(await gone, /^transport (close|error)$/);
  await back;
  assert.equal((await ask(socket, "subscribe", about.channel)).seq, 1);
});

test("over HTTP the same errors come as problems, with their status", async () => {
  const post = (path, body, token = root) => server.http("POST", path, { token, body });
  const table = [
    [await post("/api/events", { type: "session:note", data: {} }), 400, "invalid_event"],
    [await post("/api/events", { type: "session.note", data: {}, channel: "session.1" }), 400, "invalid_channel"],
    [await post("/api/projects", { name: "x" }), 422, "invalid_data"],
    [await post("/api/projects", { name: "x", root: "/" }), 422, "invalid_data"],
    [await post("/api/projects", {}, "nonsense"), 401, "unauthenticated"],
    [await server.http("GET", "/api/projects/unknown", { token: root }), 404, "not_found"],
    [await server.http("GET", "/api/nothing", { token: root }), 404, "not_found"],
  ];
  for (const [answer, status, code] of table) {
    assert.equal(answer.status, status, JSON.stringify(answer.body));
    assert.equal(answer.body.code, code, JSON.stringify(answer.body));
    assert.equal(answer.body.status, status);
  }
});
