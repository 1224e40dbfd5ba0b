// Agents: what a recorded agent prints is seen as messages, tools and requests, whole, whoever comes when.
//
// The agents' programs are not here: `tidings-player` plays their recorded lines as a real process.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { ask, Cable, connect, message, open } from "./client.js";
import { Watch } from "./conversation.js";
import { Server, until } from "./server.js";

const PLAYER = process.env.PLAYER_BINARY ?? fileURLToPath(new URL("../../target/debug/tidings-player", import.meta.url));
const SCRIPTS = fileURLToPath(new URL("../../crates/testkit/agents/", import.meta.url));
const CLAUDE = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--permission-prompt-tool", "stdio"];

let server;
let token;
let projectId;
let folder;
before(async () => {
  const agent = (name, adapter, stdin, ...flags) =>
    `[agents.${name}]\nadapter = "${adapter}"\nstdin = "${stdin}"\ncommand = ${JSON.stringify([PLAYER, `${name}.script`, ...flags])}\n`;
  const config = [
    agent("claude", "claude-code", "open", ...CLAUDE),
    agent("slow", "claude-code", "open", ...CLAUDE),
    agent("codex", "codex", "close"),
    agent("gemini", "gemini", "close"),
    agent("acp", "acp", "open"),
  ];
  server = await Server.start({ config: config.join("\n") });
  token = await server.admin();
  folder = await server.directory();
  const made = await server.http("POST", "/api/projects", { token, body: { name: "one", root: folder } });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  projectId = made.body.projectId;
  for (const name of ["claude", "codex", "gemini", "acp"]) {
    const script = await readFile(join(SCRIPTS, `${name}_turn.script`), "utf8");
    await writeFile(join(folder, `${name}.script`), script.replaceAll('"cwd":"/w"', `"cwd":${JSON.stringify(folder)}`));
  }
  await writeFile(join(folder, "slow.script"), slow());
});
after(() => server?.stop());

/** A message that stops in its middle until a person allows it to go on. */
function slow() {
  const line = (json) => `> ${JSON.stringify(json)}`;
  const event = (event) => line({ type: "stream_event", event, parent_tool_use_id: null, session_id: "s", uuid: "u" });
  const delta = (text) => event({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } });
  const text = (part) => Array.from({ length: 40 }, (_, n) => `${part}${n} 🦀 `);
  const whole = [...text("a"), ...text("b")].join("");
  const request = { subtype: "can_use_tool", tool_name: "Bash", input: { command: "ls" }, tool_use_id: "toolu_1" };
  return [
    'expect {"type":"user"}',
    line({ type: "system", subtype: "init", session_id: "s", tools: [], model: "m" }),
    event({ type: "message_start", message: { id: "msg_1", role: "assistant", content: [] } }),
    event({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }),
    ...text("a").map(delta),
    line({ type: "control_request", request_id: "go", request }),
    'expect {"type":"control_response"}',
    ...text("b").map(delta),
    line({ type: "assistant", message: { id: "msg_1", role: "assistant", content: [{ type: "text", text: whole }] }, parent_tool_use_id: null, session_id: "s" }),
    line({ type: "result", subtype: "success", is_error: false, result: "done", session_id: "s", total_cost_usd: 0.01, usage: { input_tokens: 1, output_tokens: 2 } }),
    'expect {"type":"user"}',
    line({ type: "result", subtype: "success", is_error: false, result: "again", session_id: "s", total_cost_usd: 0.03, usage: { input_tokens: 3, output_tokens: 4 } }),
    "exit 0",
  ].join("\n");
}

async function start(socket, agent, prompt = "look") {
  const started = await ask(socket, "session.start", { projectId, agent, prompt });
  assert.equal(started.ok, true, JSON.stringify(started));
  return started.data;
}

const types = (socket, channel) => socket.seen.filter((seen) => seen.channel === channel && seen.seq).map((seen) => seen.type);

const of = (socket, channel, type) =>
  socket.seen.filter((seen) => seen.channel === channel && seen.type === type).map((seen) => seen.data);

/** Everything that was begun has its one end, of tools, subagents and requests. */
function assertClosed(socket, channel) {
  for (const [begun, done, id] of [
    ["session.tool_started", "session.tool_completed", "executionId"],
    ["session.subagent_started", "session.subagent_completed", "executionId"],
    ["session.permission_requested", "session.permission_resolved", "requestId"],
    ["session.question_requested", "session.question_resolved", "requestId"],
  ]) {
    const ids = (type) => of(socket, channel, type).map((data) => data[id]).sort();
    assert.deepEqual(ids(done), ids(begun), begun);
  }
}

async function assertSameAsState(watch, sessionId) {
  const { body } = await server.http("GET", `/api/sessions/${sessionId}`, { token });
  const restored = new Watch({ on() {} }, "", {}).conversation;
  restored.restore(body);
  assert.deepEqual(watch.conversation.whole(), restored.whole());
  return body;
}

test("a turn of Claude Code with a plan, a subagent and a permission is seen whole and answered over the socket", async (t) => {
  const socket = await connect(t, server.url, token);
  await ask(socket, "subscribe", "user:root");
  const { sessionId, channel } = await start(socket, "claude");
  const watch = new Watch(socket, channel, { since: { seq: 0 } });
  const attention = await message(socket, "user.attention_requested", (seen) => seen.data.channel === channel);
  const requested = await message(socket, "session.permission_requested", (seen) => seen.channel === channel);
  assert.equal(attention.data.id, requested.data.requestId);
  assert.equal(requested.data.tool, "Bash");
  const waiting = await server.http("GET", `/api/sessions/${sessionId}`, { token });
  assert.equal(waiting.body.conversation.activity, "waiting");
  assert.deepEqual(waiting.body.conversation.permissions.map((one) => one.requestId), [requested.data.requestId]);

  const answer = { sessionId, requestId: requested.data.requestId };
  const wrong = await ask(socket, "session.resolve_permission", { ...answer, optionId: "perhaps" });
  assert.equal(wrong.error.code, "invalid_data", JSON.stringify(wrong));
  const [first, second] = await Promise.all([
    ask(socket, "session.resolve_permission", { ...answer, decision: "allow_once" }),
    ask(socket, "session.resolve_permission", { ...answer, decision: "allow_once" }),
  ]);
  assert.deepEqual([first.ok, second.ok, second.error?.code], [true, false, "conflict"]);
  const resolved = await message(socket, "session.permission_resolved", (seen) => seen.channel === channel);
  assert.deepEqual([resolved.data.decision, resolved.by.userId], ["allowed", "root"]);
  await message(socket, "user.attention_resolved", (seen) => seen.data.id === requested.data.requestId);

  await message(socket, "session.completed", (seen) => seen.channel === channel);
  assertClosed(socket, channel);
  const { conversation } = watch;
  assert.deepEqual(conversation.messages.get("msg_1").slice(0, 2), [
    { type: "thinking", text: "Look first." },
    { type: "text", text: "Hello 🦀!" },
  ]);
  const inside = of(socket, channel, "session.tool_started").filter((data) => data.parentExecutionId === "toolu_task");
  assert.deepEqual(inside.map((data) => data.name), ["Read"]);
  assert.deepEqual(conversation.tools.get("toolu_bash"), { name: "Bash", status: "error" });
  const [turn] = of(socket, channel, "session.turn_completed");
  assert.deepEqual([turn.status, turn.result], ["success", "The entry point is empty."]);
  assert.deepEqual([conversation.plan, conversation.cost], [{ current: 1, total: 2 }, 0.0412]);
  const state = await assertSameAsState(watch, sessionId);
  assert.equal(state.conversation.agentSessionId, "6f1");
});

for (const [agent, texts] of [
  ["codex", ["Look first.", "OK"]],
  ["gemini", ["Here are the files…", "Two."]],
  ["acp", ["Hmm.", "I look.", "Done."]],
]) {
  test(`a turn of ${agent} is seen whole`, async (t) => {
    const socket = await connect(t, server.url, token);
    const { sessionId, channel } = await start(socket, agent);
    const watch = new Watch(socket, channel, { since: { seq: 0 } });
    if (agent === "acp") {
      const { data } = await message(socket, "session.permission_requested", (seen) => seen.channel === channel);
      const answer = { sessionId, requestId: data.requestId, optionId: "yes" };
      assert.equal((await ask(socket, "session.resolve_permission", answer)).ok, true);
      await message(socket, "session.turn_completed", (seen) => seen.channel === channel);
      const again = await ask(socket, "session.send_message", { sessionId, content: "again" });
      assert.equal(again.data.queued, false, JSON.stringify(again));
    }
    await message(socket, "session.completed", (seen) => seen.channel === channel);
    assertClosed(socket, channel);
    const said = [...watch.conversation.messages.values()].flat().filter((block) => block?.text).map((block) => block.text);
    assert.deepEqual(said, texts);
    assert.ok(watch.conversation.tokens.output > 0, "it told what it used");
    assert.ok(types(socket, channel).includes("session.turn_completed"));
    await assertSameAsState(watch, sessionId);
  });
}

test("whoever saw everything, came in the middle, reconnected or lost deltas ends with the same state", async (t) => {
  const socket = await connect(t, server.url, token);
  const cable = await Cable.to(t, server.port);
  const { sessionId, channel } = await start(socket, "slow");
  const all = new Watch(socket, channel, { since: { seq: 0 } });
  const cut = open(t, cable.url, (give) => give({ token }));
  const returning = new Watch(cut, channel, { since: { seq: 0 } });
  const losing = new Watch(await connect(t, server.url, token), channel, { since: { seq: 0 } });
  let seed = 7;
  losing.lose = (seen) => {
    seed = (seed * 48271) % 2147483647;
    return /_delta$/.test(seen.type) && seed % 3 === 0;
  };
  await message(socket, "session.permission_requested", (seen) => seen.channel === channel);
  const half = Array.from({ length: 40 }, (_, n) => `a${n} 🦀 `).join("");
  const inProgress = (watch) => watch.conversation.progress.get("msg_1/0/text") ?? "";
  await until(() => inProgress(all) === half, () => `the half text; there is ${inProgress(all)}`);
  await until(() => losing.deltas > 0 && half.startsWith(inProgress(losing)), "a beginning for whoever lost some");

  cable.cut();
  await until(() => !cut.connected, "the client to notice the cut");
  const late = new Watch(await connect(t, server.url, token), channel, { snapshot: true });
  await until(() => inProgress(late) === half, () => `the half text for a late one; there is ${inProgress(late)}`);
  assert.ok(late.deltas <= 1, "as one piece, not delta by delta");
  cable.mend();
  await until(() => inProgress(returning) === half, "the half text for whoever came back");

  assert.equal((await ask(socket, "session.send_message", { sessionId, content: "more", clientMessageId: "k1" })).data.queued, true);
  assert.equal((await ask(socket, "session.send_message", { sessionId, content: "more", clientMessageId: "k1" })).data.queued, true);
  await ask(socket, "session.resolve_permission", { sessionId, requestId: "go", decision: "allow_once" });
  await message(socket, "session.completed", (seen) => seen.channel === channel);
  const said = of(socket, channel, "session.user_message").filter((data) => data.clientMessageId === "k1");
  assert.equal(said.length, 1, "a repeat under the same key changes nothing");
  const state = await assertSameAsState(all, sessionId);
  assert.equal(state.conversation.usage.turns, 2);
  assert.equal(state.conversation.usage.costUsd.toFixed(2), "0.03");
  for (const watch of [late, returning, losing]) {
    await until(() => watch.conversation.status === "completed", "the end for everybody");
    assert.deepEqual(watch.conversation.whole(), all.conversation.whole());
  }
  const late2 = new Watch(await connect(t, server.url, token), channel, { snapshot: true });
  await until(() => late2.conversation.status === "completed", "the state after the end");
  assert.deepEqual(late2.conversation.whole(), all.conversation.whole());
});

test("the demo shows a front end all of an agent: pieces, a plan, a question, a permission, a second message", async (t) => {
  const socket = await connect(t, server.url, token);
  const { sessionId, channel } = await start(socket, "demo", "show me");
  const watch = new Watch(socket, channel, { since: { seq: 0 } });
  const asked = await message(socket, "session.question_requested", (seen) => seen.channel === channel);
  const [{ question, options }] = asked.data.questions;
  const request = { sessionId, requestId: asked.data.requestId };
  const allowed = await ask(socket, "session.resolve_permission", { ...request, decision: "allow_once" });
  assert.equal(allowed.error.code, "conflict", "a question is not allowed");
  assert.match(allowed.error.message, /session\.answer_question/);
  assert.equal((await ask(socket, "session.answer_question", { ...request, answers: {} })).error.code, "invalid_data");
  const [first, second] = await Promise.all([
    ask(socket, "session.answer_question", { ...request, answers: { [question]: options[0].label } }),
    ask(socket, "session.answer_question", { ...request, answers: { [question]: options[1].label } }),
  ]);
  assert.deepEqual([first.ok, second.ok, second.error?.code], [true, false, "conflict"]);
  const resolved = await message(socket, "session.question_resolved", (seen) => seen.channel === channel);
  assert.deepEqual([resolved.data.decision, resolved.by.userId], ["answered", "root"]);
  const wants = await message(socket, "session.permission_requested", (seen) => seen.channel === channel);
  const allow = { sessionId, requestId: wants.data.requestId, decision: "allow_once" };
  assert.equal((await ask(socket, "session.resolve_permission", allow)).ok, true);
  await message(socket, "session.turn_completed", (seen) => seen.channel === channel);
  assert.equal(await readFile(join(folder, "tidings-demo.md"), "utf8"), `- ${options[0].label} show me\n`);
  assert.ok(watch.deltas > 0);
  await until(async () => (await assertSameAsState(watch, sessionId)).conversation.activity === "idle", "the end of its turn");
  assert.equal((await ask(socket, "session.send_message", { sessionId, content: "again" })).ok, true);
  const again = (seen) => seen.channel === channel && seen.data.requestId !== asked.data.requestId;
  await message(socket, "session.question_requested", again);
  assert.equal((await ask(socket, "session.cancel", { sessionId })).ok, true);
  await message(socket, "session.cancelled", (seen) => seen.channel === channel);
  assertClosed(socket, channel);
});

test("what waits for a person is in the snapshot of their own channel", async (t) => {
  const socket = await connect(t, server.url, token);
  const { sessionId, channel } = await start(socket, "demo", "wait");
  await ask(socket, "subscribe", { channel, since: { seq: 0 } });
  const asked = await message(socket, "session.question_requested", (seen) => seen.channel === channel);
  const answer = await ask(socket, "subscribe", { channel: "user:root", snapshot: true });
  assert.equal(answer.snapshot, true);
  const { data } = await message(socket, "channel.snapshot", (seen) => seen.data.channel === "user:root");
  const open = data.snapshot.open.filter((one) => one.channel === channel);
  assert.deepEqual(open.map(({ kind, id }) => [kind, id]), [["question", asked.data.requestId]]);
  await ask(socket, "session.cancel", { sessionId });
  await message(socket, "user.attention_resolved", (seen) => seen.data.channel === channel);
});

test("a front end asks which agents there are, and each can what it is listed with", async (t) => {
  const socket = await connect(t, server.url, token);
  const { ok, data } = await ask(socket, "agent.list", { projectId });
  assert.equal(ok, true, JSON.stringify(data));
  const can = Object.fromEntries(data.agents.map((agent) => [agent.name, agent.can]));
  assert.deepEqual(Object.keys(can), ["acp", "claude", "codex", "demo", "gemini", "slow"]);
  assert.deepEqual(data, (await server.http("GET", `/api/agents?projectId=${projectId}`, { token })).body);
  for (const agent of Object.keys(can).filter((name) => name !== "slow")) {
    const started = await ask(socket, "session.start", { projectId, agent, prompt: "look" });
    assert.equal(started.ok, true, JSON.stringify(started));
    const { sessionId } = started.data;
    const path = `/api/sessions/${sessionId}`;
    const told = await until(async () => {
      const { body } = await server.http("GET", path, { token });
      return (body.conversation.activity ?? null) !== null && body;
    }, `${agent} to tell something`);
    if (told.status === "running" && can[agent].messages) {
      const said = await ask(socket, "session.send_message", { sessionId, content: "and then" });
      assert.equal(said.ok, true, `${agent}: ${JSON.stringify(said)}`);
    }
    await ask(socket, "session.cancel", { sessionId });
    await until(async () => (await server.http("GET", path, { token })).body.endedAt, `the end of ${agent}`);
    const resumed = await ask(socket, "session.start", { projectId, agent, prompt: "on", resume: sessionId });
    assert.equal(resumed.ok, can[agent].resume, `${agent}: ${JSON.stringify(resumed)}`);
    if (resumed.ok) await ask(socket, "session.cancel", { sessionId: resumed.data.sessionId });
    const shown = await ask(socket, "session.start", { projectId, agent, prompt: "x", pty: true });
    assert.equal(shown.ok, can[agent].terminal, `${agent}: ${JSON.stringify(shown)}`);
  }
});
