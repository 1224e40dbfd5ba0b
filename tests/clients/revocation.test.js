// Revocation ends live connections at once, for good: the client is told, and stays away.
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { ask, connect, matrix, open } from "./client.js";
import { Server } from "./server.js";

let server;
let root;
before(async () => {
  // Every test below makes a user and logs in from one address: the limit of logins is tested elsewhere.
  server = await Server.start();
  root = await server.admin();
});
after(() => server?.stop());

const password = "correct horse battery";
let made = 0;

async function person() {
  made += 1;
  const username = `person-${made}`;
  const answer = await server.http("POST", "/api/users", { token: root, body: { username, password, roles: ["viewer"] } });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return { id: answer.body.id, username };
}

async function endsForGood(t, token, kind, end) {
  const socket = await connect(t, server.url, token, kind);
  assert.equal((await ask(socket, "subscribe", "session:any")).ok, true);
  const gone = new Promise((resolve) => socket.once("disconnect", resolve));
  await end();
  assert.equal(await gone, "io server disconnect");
  const closed = socket.seen.at(-1);
  assert.equal(closed.type, "connection.closed");
  assert.equal(closed.data.code, "token_revoked");
  assert.equal(closed.data.retry, false);
  const again = open(t, server.url, token, kind);
  const error = await new Promise((resolve) => again.once("connect_error", resolve));
  assert.equal(error.message, "Authentication error");
}

matrix("a revoked user is gone at once and stays away", async (t, kind) => {
  const { id } = await person();
  const token = await server.token({ user: id, known: true, roles: ["viewer"] });
  await endsForGood(t, token, kind, () => server.http("POST", `/api/users/${id}/revoke`, { token: root }));
});

matrix("a disabled user is gone at once and stays away", async (t, kind) => {
  const { id } = await person();
  const token = await server.token({ user: id, known: true, roles: ["viewer"] });
  const body = { disabled: true };
  await endsForGood(t, token, kind, () => server.http("PATCH", `/api/users/${id}`, { token: root, body }));
});

matrix("a logout ends the connections of its login", async (t, kind) => {
  const { username } = await person();
  const { token } = await server.login(username, password);
  await endsForGood(t, token, kind, () => server.http("POST", "/api/auth/logout", { token }));
});

matrix("a revocation concerns nobody else", async (t, kind) => {
  const [first, second] = [await person(), await person()];
  const socket = await connect(t, server.url, await server.token({ user: second.id, known: true }), kind);
  const answer = await server.http("POST", `/api/users/${first.id}/revoke`, { token: root });
  assert.ok(answer.status < 300, JSON.stringify(answer.body));
  assert.equal((await ask(socket, "subscribe", `user:${second.id}`)).ok, true);
});
