// What the server remembers of commands: nobody's answers cost another's messages, and no command runs twice.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ask, connect, message } from "./client.js";
import { Server, thing, until } from "./server.js";

/** A server of its own for each test, since each has bounds of its own. */
async function started(t, log) {
  const server = await Server.start({ config: `[log]\n${log}` });
  t.after(() => server.stop());
  return server;
}

/** A figure of the metrics. */
async function metric(server, name) {
  const { body } = await server.http("GET", "/metrics");
  const line = body.split("\n").find((line) => line.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.slice(name.length + 1));
}

/** A session with so many bytes of output, over before this is. */
async function session(t, server, bytes) {
  const token = await server.admin();
  const body = { name: "one", root: await server.directory() };
  const { projectId } = (await server.http("POST", "/api/projects", { token, body })).body;
  const socket = await connect(t, server.url, token);
  const command = ["sh", "-c", `yes 'a line of output that is not short' | head -c ${bytes}`];
  const answer = await ask(socket, "session.start", { projectId, command });
  assert.equal(answer.ok, true, JSON.stringify(answer));
  await ask(socket, "subscribe", { channel: answer.data.channel, since: { seq: 0 } });
  await message(socket, "session.completed");
  return answer.data.sessionId;
}

test("a viewer who reads much under many commandIds costs nobody a message", async (t) => {
  const server = await started(t, 'total_bytes = "4MB"');
  const sessionId = await session(t, server, 1_000_000);
  const about = thing();
  await server.publishNotes(about, 1, 100);
  const viewer = await connect(t, server.url, await server.token({ user: "viewer", roles: ["viewer"] }));
  for (let n = 0; n < 40; n += 1) {
    const read = await ask(viewer, "session.output", { sessionId, commandId: `read-${n}` });
    assert.equal(read.ok, true, JSON.stringify(read.error));
    assert.ok(read.data.length >= 1_000_000);
  }
  // The log is weighed after 256 commits.
  await server.publishNotes(about, 101, 400, 1);
  const weighed = () => metric(server, "tidings_log_message_bytes");
  await until(async () => (await weighed()) > 1_000_000 + 256 * 160, "the log to be weighed");
  assert.ok((await weighed()) < 2_000_000, "messages weigh what they are, and nothing else does");
  const token = await server.admin();
  for (const channel of [about.channel, `session:${sessionId}`]) {
    const page = await server.http("GET", `/api/channels/${channel}/events?limit=1`, { token });
    assert.equal(page.body.first, 1, channel);
  }
});

/** Registers so many projects, each under a commandId of its own: the answers. */
async function register(socket, server, count) {
  const answers = [];
  for (let n = 0; n < count; n += 1) {
    const command = { name: `p${n}`, root: await server.directory(), commandId: `c-${n}` };
    const answer = await ask(socket, "project.register", command);
    assert.equal(answer.ok, true, JSON.stringify(answer));
    answers.push({ command, answer });
  }
  return answers;
}

test("a command happens once, and a repeat whose answer is not kept is told so, over stops and kills", async (t) => {
  const server = await started(t, 'answers_per_user_bytes = "1KiB"');
  const token = await server.admin();
  const bad = { name: "bad", root: `${server.home}/missing`, commandId: "bad" };
  let socket = await connect(t, server.url, token);
  const refused = await ask(socket, "project.register", bad);
  assert.equal(refused.error.code, "invalid_data");
  assert.deepEqual(await ask(socket, "project.register", bad), refused, "while it is kept, all of it is");
  const asked = await register(socket, server, 20);
  const [first, last] = [asked[0], asked[19]];
  const post = async ({ command: { commandId, ...body } }) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", "idempotency-key": commandId };
    const response = await fetch(`${server.url}/api/projects`, { method: "POST", headers, body: JSON.stringify(body) });
    return { status: response.status, body: await response.json() };
  };
  const holds = async (when) => {
    assert.deepEqual(await ask(socket, "project.register", first.command), { ok: true, repeated: true }, when);
    assert.deepEqual(await ask(socket, "project.register", last.command), last.answer, when);
    const again = await ask(socket, "project.register", bad);
    assert.equal(again.error.code, "invalid_data", when);
    assert.equal(again.error.fields, undefined, `${when}: the code is kept, the rest is not`);
    assert.deepEqual(await post(first), { status: 200, body: { repeated: true } }, when);
    assert.deepEqual(await post(last), { status: 201, body: last.answer.data }, when);
    const other = await ask(socket, "project.register", { ...first.command, name: "another" });
    assert.equal(other.error.code, "conflict", when);
    const listed = await server.http("GET", "/api/projects?limit=100", { token });
    assert.equal(listed.body.projects.length, 20, `${when}: nothing happened twice`);
  };
  await holds("at once");
  const { pid } = server;
  process.kill(pid, "SIGTERM");
  await until(() => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  }, "the server to stop");
  await server.restart();
  socket = await connect(t, server.url, token);
  await holds("after a stop");
  await server.kill9();
  await server.restart();
  socket = await connect(t, server.url, token);
  await holds("after a kill");
});

test("beyond the bound of commands new ids are overloaded, repeats and reads and others are not", async (t) => {
  const server = await started(t, "commands_per_user = 3");
  const token = await server.admin();
  const socket = await connect(t, server.url, token);
  const [first] = await register(socket, server, 3);
  const more = { name: "more", root: await server.directory(), commandId: "more" };
  assert.equal((await ask(socket, "project.register", more)).error.code, "overloaded");
  assert.deepEqual(await ask(socket, "project.register", first.command), first.answer);
  for (let n = 0; n < 5; n += 1) {
    assert.equal((await ask(socket, "project.list", { commandId: `l-${n}` })).data.projects.length, 3);
  }
  await server.kill9();
  await server.restart();
  const again = await connect(t, server.url, token);
  assert.equal((await ask(again, "project.register", more)).error.code, "overloaded", "also after a kill");
  const other = await connect(t, server.url, await server.token({ user: "other", roles: ["admin"] }));
  assert.equal((await ask(other, "project.register", more)).ok, true);
  assert.ok((await metric(server, 'tidings_log_allowance_refused_total{what="command"}')) >= 1);
});

test("a producer is bounded in ids and new channels, and holds nobody else back", async (t) => {
  const server = await started(t, "ids_per_user = 3\nchannels_per_user = 2");
  const grants = ["session:*=publish,subscribe"];
  const one = await connect(t, server.url, await server.token({ user: "one", grants }));
  const two = await connect(t, server.url, await server.token({ user: "two", grants }));
  const [a, b, c] = [thing(), thing(), thing()];
  const say = (socket, about, n, id) => ask(socket, "publish", { ...about.note(n), channel: about.channel, id });
  assert.equal((await say(one, a, 1, "1")).seq, 1);
  assert.equal((await say(one, b, 1, "1")).seq, 1);
  assert.equal((await say(one, c, 1)).error.code, "overloaded", "a third channel");
  assert.equal((await say(one, a, 2, "2")).seq, 2);
  assert.equal((await say(one, a, 3, "3")).error.code, "overloaded", "a fourth id");
  assert.equal((await say(one, a, 1, "1")).seq, 1, "a repeat is not new");
  assert.equal((await say(one, a, 3)).seq, 3, "without an id");
  assert.equal((await say(two, c, 1, "1")).seq, 1);
  await server.publishNotes(a, 10, 20);
});
