// Tokens end while their connections live: the warning before, the refresh in place, the end.
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { ask, connect, matrix, message, open, View } from "./client.js";
import { Server, thing, until } from "./server.js";

let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.stop());

const expired = (token) => async () => (await server.http("GET", "/api/auth/me", { token })).status === 401;

matrix("a refresh in place outlives the first token", async (t, kind) => {
  const about = thing();
  const grants = [`${about.channel}=subscribe`];
  const short = await server.token({ user: "u", grants, ttl: "4s" });
  const long = await server.token({ user: "u", grants });
  const socket = await connect(t, server.url, short, kind);
  const { id } = socket;
  assert.equal((await ask(socket, "subscribe", about.channel)).ok, true);
  const warning = await message(socket, "auth.expiring");
  const answer = await ask(socket, "auth.refresh", { token: long });
  assert.equal(answer.ok, true, JSON.stringify(answer));
  assert.ok(Date.parse(answer.expiresAt) > Date.parse(warning.data.expiresAt));
  await until(expired(short), "the first token to expire");
  await server.publish(about.note(1));
  await message(socket, "session.note");
  assert.equal(socket.id, id);
}, { together: true });

matrix("a connection whose token ends is told, closed, and comes back with the next one", async (t, kind) => {
  const about = thing();
  const grants = [`${about.channel}=subscribe`];
  const tokens = [await server.token({ user: "u", grants, ttl: "3s" }), await server.token({ user: "u", grants })];
  const given = [];
  const auth = (give) => {
    given.push(tokens[Math.min(given.length, 1)]);
    give({ token: given.at(-1) });
  };
  const socket = open(t, server.url, auth, kind);
  const view = new View(socket, about.channel);
  const reason = await new Promise((resolve) => socket.once("disconnect", resolve));
  assert.match(reason, /^transport (close|error)$/);
  const closed = socket.seen.at(-1);
  assert.equal(closed.type, "connection.closed");
  assert.equal(closed.data.code, "token_expired");
  assert.equal(closed.data.retry, true);
  await server.publishNotes(about, 1, 3);
  await view.reaches(3);
  assert.equal(view.messages.length, 3);
  assert.equal(given.at(-1), tokens[1]);
}, { together: true });

matrix("a refresh with a token that is no good is refused and the connection stays", async (t, kind) => {
  const socket = await connect(t, server.url, await server.token({ user: "u" }), kind);
  for (const token of ["nonsense", "", null, 5]) {
    assert.equal((await ask(socket, "auth.refresh", { token })).ok, false);
  }
  assert.equal((await ask(socket, "auth.refresh")).ok, false);
  assert.equal((await ask(socket, "subscribe", "user:u")).ok, true);
});
