// Half of an emoji, as JavaScript writes what was cut within one: it comes back as it was sent, over every transport.
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { ask, connect, matrix, message } from "./client.js";
import { Server, thing } from "./server.js";

let server;
let root;
before(async () => {
  server = await Server.start();
  root = await server.admin();
});
after(() => server?.stop());

matrix("half of an emoji is taken wherever a text is, and comes back in data as it was sent", async (t, kind) => {
  const socket = await connect(t, server.url, root, kind);
  const about = thing();
  const followed = { channel: about.channel, filter: { where: { half: ["\ud83d", "\ude00"] } } };
  assert.equal((await ask(socket, "subscribe", followed)).ok, true);
  const data = { sessionId: about.id, half: "cut \ud83d".slice(4), "\udcff": ["\ude00\ud83d", "whole 😀"] };
  const published = await ask(socket, "publish", { channel: about.channel, type: "session.note", data, id: "half \ud83d" });
  assert.equal(published.ok, true, JSON.stringify(published));
  const got = await message(socket, "session.note");
  assert.deepEqual(got.data, data);
  assert.equal(got.id, "half \ufffd");
  const history = await server.http("GET", `/api/channels/${about.channel}/events?after=0&limit=10`, { token: root });
  assert.deepEqual(history.body.events[0].data, data);
});
