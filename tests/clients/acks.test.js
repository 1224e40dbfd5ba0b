// Acknowledgements: every event has its answer, in the order asked, whatever it was.
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { ask, connect, matrix, message } from "./client.js";
import { Server, thing } from "./server.js";

let server;
let token;
before(async () => {
  server = await Server.start();
  token = await server.admin();
});
after(() => server?.stop());

matrix("three hundred questions at once get an answer each, every one its own", async (t, kind) => {
  const socket = await connect(t, server.url, token, kind);
  const things = Array.from({ length: 100 }, thing);
  const asked = things.flatMap((about) => [
    ask(socket, "subscribe", about.channel),
    ask(socket, "subscribe", `${about.id}.bad`),
    ask(socket, "nothing.like_this", { about: about.id }),
  ]);
  const answers = await Promise.all(asked);
  for (const [index, about] of things.entries()) {
    const [good, bad, unknown] = answers.slice(3 * index, 3 * index + 3);
    assert.equal(good.channel, about.channel);
    assert.equal(bad.error.code, "invalid_channel");
    assert.equal(unknown.error.code, "unknown_command");
  }
});

matrix("an event without an acknowledgement takes effect all the same", async (t, kind) => {
  const about = thing();
  const socket = await connect(t, server.url, token, kind);
  const { type, data } = about.note(1);
  socket.emit("publish", { channel: about.channel, type, data });
  assert.equal((await ask(socket, "subscribe", { channel: about.channel, since: { seq: 0 } })).ok, true);
  const seen = await message(socket, "session.note");
  assert.equal(seen.seq, 1);
});

matrix("a publication is acknowledged with where it stands, and a repeat with the same place", async (t, kind) => {
  const about = thing();
  const socket = await connect(t, server.url, token, kind);
  const note = { ...about.note(1), channel: about.channel };
  const first = await ask(socket, "publish", note);
  assert.equal(first.ok, true, JSON.stringify(first));
  assert.equal(first.seq, 1);
  assert.equal(first.channel, about.channel);
  assert.deepEqual(await ask(socket, "publish", note), first);
  const other = await ask(socket, "publish", { ...note, data: { sessionId: about.id, n: 2 } });
  assert.equal(other.error.code, "conflict");
});

matrix("a command with a commandId happens once and answers the same again", async (t, kind) => {
  const socket = await connect(t, server.url, token, kind);
  const command = { name: "two", root: server.home + "/missing", commandId: `c-${kind.version}-${kind.transport}` };
  const refused = await ask(socket, "project.register", command);
  assert.equal(refused.ok, false);
  assert.equal(refused.error.code, "invalid_data");
  const list = await ask(socket, "project.list", { commandId: `l-${kind.version}-${kind.transport}` });
  assert.equal(list.ok, true);
  assert.ok(Array.isArray(list.data.projects));
});
