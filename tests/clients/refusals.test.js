// Who is not let in: connections without a token, with a bad one, with an expired one.
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { ask, connect, matrix, open } from "./client.js";
import { Server, until } from "./server.js";

let server;
let good;
let expired;
before(async () => {
  server = await Server.start();
  good = await server.token({ roles: ["viewer"] });
  expired = await server.token({ roles: ["admin"], ttl: "1s" });
  const over = async () => (await server.http("GET", "/api/auth/me", { token: expired })).status === 401;
  await until(over, "the token to expire");
});
after(() => server?.stop());

function broken(token) {
  const [head, body, signature] = token.split(".");
  const other = signature.startsWith("A") ? "B" : "A";
  return [head, body, other + signature.slice(1)].join(".");
}

async function refused(t, auth, kind) {
  const socket = open(t, server.url, auth, kind);
  let connected = false;
  socket.on("connect", () => {
    connected = true;
  });
  const error = await new Promise((resolve) => socket.once("connect_error", resolve));
  assert.equal(error.message, "Authentication error");
  assert.equal(connected, false);
  assert.deepEqual(socket.seen, []);
  return socket;
}

matrix("without a token nobody is let in", async (t, kind) => {
  await refused(t, undefined, kind);
  await refused(t, {}, kind);
  await refused(t, { token: null }, kind);
  await refused(t, { token: 5 }, kind);
});

matrix("a token that is not ours is refused", async (t, kind) => {
  await refused(t, "", kind);
  await refused(t, "nonsense", kind);
  await refused(t, broken(good), kind);
  await refused(t, `${good.split(".").slice(0, 2).join(".")}.`, kind);
});

matrix("an expired token is refused", async (t, kind) => {
  await refused(t, expired, kind);
});

matrix("a token in the address does not count", async (t, kind) => {
  const socket = open(t, server.url, undefined, { ...kind, query: { token: good } });
  const error = await new Promise((resolve) => socket.once("connect_error", resolve));
  assert.equal(error.message, "Authentication error");
});

matrix("whoever was refused can come back with a good token on the same socket", async (t, kind) => {
  let token = "nonsense";
  const socket = await refused(t, (give) => give({ token }), kind);
  token = good;
  socket.connect();
  await until(() => socket.connected, "the connection");
  assert.equal((await ask(socket, "subscribe", "session:any")).ok, true);
});

matrix("a protocol that the server does not speak is refused with the reason", async (t, kind) => {
  const socket = open(t, server.url, { token: good, protocol: 99 }, kind);
  const error = await new Promise((resolve) => socket.once("connect_error", resolve));
  assert.match(error.message, /protocol/);
});

matrix("a good token is let in and the first message is the hello", async (t, kind) => {
  const socket = await connect(t, server.url, { token: good, protocol: 1 }, kind);
  await until(() => socket.seen.length > 0, "a message");
  const [hello] = socket.seen;
  assert.equal(hello.type, "server.hello");
  assert.equal(hello.data.protocol, 1);
  assert.equal(typeof hello.data.pingIntervalMs, "number");
});
