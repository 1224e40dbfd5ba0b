// No is the default answer: what a connection may do is what its grants, its own things and its projects say.
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

const refusal = (answer) => answer.error?.code;

matrix("without a grant nothing is joined, published, run or replayed", async (t, kind) => {
  const about = thing();
  await server.publishNotes(about, 1, 3);
  const socket = await connect(t, server.url, await server.token({ user: "nobody" }), kind);
  assert.equal(refusal(await ask(socket, "subscribe", { channel: about.channel, since: { seq: 0 } })), "forbidden");
  const array = await ask(socket, "subscribe", [about.channel, "user:nobody"]);
  assert.deepEqual(array.results.map((result) => result.ok), [false, true]);
  const { type, data } = about.note(4);
  assert.equal(refusal(await ask(socket, "publish", { channel: about.channel, type, data })), "forbidden");
  assert.equal(refusal(await ask(socket, "project.register", { name: "x", root: "/" })), "forbidden");
  const [last] = await server.publish(about.note(4));
  assert.equal(last.seq, 4);
  await server.publish({ type: "user.notice", data: { userId: "nobody", n: 1 } });
  await message(socket, "user.notice");
  assert.deepEqual(socket.seen.filter((seen) => seen.channel === about.channel), []);
});

matrix("a grant allows its actions on its channels and no others", async (t, kind) => {
  const [mine, other] = [thing(), thing()];
  const grants = [`${mine.channel}=subscribe,publish`];
  const socket = await connect(t, server.url, await server.token({ user: "holder", grants }), kind);
  const hello = await message(socket, "server.hello");
  assert.ok(JSON.stringify(hello.data.grants).includes(mine.channel));
  const note = (about, type = "session.remark") => ({ channel: about.channel, type, data: { sessionId: about.id } });
  assert.equal((await ask(socket, "subscribe", mine.channel)).ok, true);
  assert.equal((await ask(socket, "publish", note(mine))).seq, 1);
  assert.equal(refusal(await ask(socket, "subscribe", other.channel)), "forbidden");
  assert.equal(refusal(await ask(socket, "publish", note(other))), "forbidden");
  // An event of a service's own type is nobody's to forge without `ingest`.
  assert.equal(refusal(await ask(socket, "publish", note(mine, "session.completed"))), "forbidden");
  const seen = await message(socket, "session.remark");
  assert.deepEqual(seen.by, { userId: "holder" });
});

matrix("each person may read their own channel and nobody else's", async (t, kind) => {
  const socket = await connect(t, server.url, await server.token({ user: "anna" }), kind);
  assert.equal((await ask(socket, "subscribe", "user:anna")).ok, true);
  assert.equal(refusal(await ask(socket, "subscribe", "user:otto")), "forbidden");
});

test("membership of a project opens its channel, and its end closes the live subscription", async (t) => {
  const body = { name: "one", root: await server.directory() };
  const { projectId } = (await server.http("POST", "/api/projects", { token: root, body })).body;
  const channel = `project:${projectId}`;
  const socket = await connect(t, server.url, await server.token({ user: "member" }));
  assert.equal(refusal(await ask(socket, "subscribe", channel)), "forbidden");
  const members = `/api/projects/${projectId}/members`;
  const set = { userId: "member", membership: "viewer" };
  assert.equal((await server.http("POST", members, { token: root, body: set })).status, 200);
  assert.equal((await ask(socket, "subscribe", channel)).ok, true);
  const add = { projectId, userId: "friend", membership: "viewer" };
  assert.equal(refusal(await ask(socket, "project.set_member", add)), "forbidden");
  assert.equal((await server.http("DELETE", `${members}/member`, { token: root })).status, 200);
  const closed = await message(socket, "channel.closed");
  assert.deepEqual([closed.data.channel, closed.data.code], [channel, "forbidden"]);
  assert.equal(refusal(await ask(socket, "subscribe", channel)), "forbidden");
});

test("a refresh with fewer grants ends the subscriptions that lost theirs, and tells so", async (t) => {
  const [kept, lost] = [thing(), thing()];
  const grants = (about) => about.map(({ channel }) => `${channel}=subscribe`);
  const first = await server.token({ user: "u", grants: grants([kept, lost]) });
  const fewer = await server.token({ user: "u", grants: grants([kept]) });
  const socket = await connect(t, server.url, first);
  const answer = await ask(socket, "subscribe", [kept.channel, lost.channel]);
  assert.deepEqual(answer.results.map((result) => result.ok), [true, true]);
  assert.equal((await ask(socket, "auth.refresh", { token: fewer })).ok, true);
  const closed = await message(socket, "channel.closed", (seen) => seen.data.channel === lost.channel);
  assert.equal(closed.data.code, "forbidden");
  await server.publish(lost.note(1));
  await server.publish(kept.note(1));
  await message(socket, "session.note", (seen) => seen.channel === kept.channel);
  assert.deepEqual(socket.seen.filter((seen) => seen.channel === lost.channel && seen.seq), []);
});

test("a refresh with another person's token is refused and changes nothing", async (t) => {
  const about = thing();
  const grants = [`${about.channel}=subscribe`];
  const socket = await connect(t, server.url, await server.token({ user: "u", grants }));
  assert.equal((await ask(socket, "subscribe", about.channel)).ok, true);
  assert.equal((await ask(socket, "auth.refresh", { token: root })).ok, false);
  await server.publish(about.note(1));
  await message(socket, "session.note");
});
