// Workflows: a run is watched from its start over retries, approvals and agents to its end, whoever comes when.
//
// Programs are real; the agent's lines are played by `tidings-player`.
import assert from "node:assert/strict";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { ask, connect, message } from "./client.js";
import { Server, until } from "./server.js";
import { RunView } from "./run.js";

const PLAYER = process.env.PLAYER_BINARY ?? fileURLToPath(new URL("../../target/debug/tidings-player", import.meta.url));
const SCRIPT = fileURLToPath(new URL("../../crates/testkit/agents/gemini_turn.script", import.meta.url));
const DOCUMENT = fileURLToPath(new URL("../../docs/WORKFLOWS.md", import.meta.url));

let server;
let token;
let projectId;
let folder;
before(async () => {
  const agent = `[agents.gemini]\nadapter = "gemini"\nstdin = "close"\ncommand = ${JSON.stringify([PLAYER, "gemini.script"])}\n`;
  server = await Server.start({ config: agent });
  token = await server.admin();
  folder = await server.directory();
  const made = await server.http("POST", "/api/projects", { token, body: { name: "one", root: folder } });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  projectId = made.body.projectId;
  await copyFile(SCRIPT, join(folder, "gemini.script"));
});
after(() => server?.stop());

const get = async (runId) => (await server.http("GET", `/api/workflows/runs/${runId}`, { token })).body;
const output = async (runId, stepId, attempt) => {
  const query = attempt ? `?attempt=${attempt}` : "";
  return (await server.http("GET", `/api/workflows/runs/${runId}/steps/${stepId}/output${query}`, { token })).body;
};

async function start(definition, inputs = {}) {
  const body = { projectId, definition, inputs };
  const started = await server.http("POST", "/api/workflows/runs", { token, body });
  assert.equal(started.status, 201, JSON.stringify(started.body));
  return started.body;
}

async function ends(runId) {
  await until(async () => (await get(runId)).endedAt, `the end of run ${runId}`);
  return get(runId);
}

/** Everything that began has one end, and the run one, as its last. */
function assertClosed(view) {
  const ends = /^workflow\.run\.step\.(completed|failed|cancelled)$/;
  const key = ({ data }) => `${data.stepId}/${data.attempt}`;
  const of = (fits) => view.messages.filter(({ type, data }) => fits(type) && data.attempt > 0).map(key).sort();
  assert.deepEqual(of((type) => ends.test(type)), of((type) => type === "workflow.run.step.started"));
  const over = view.messages.filter(({ type }) => /^workflow\.run\.(completed|failed|cancelled)$/.test(type));
  assert.equal(over.length, 1);
  assert.equal(view.messages.at(-1), over[0]);
  view.messages.forEach(({ seq }, index) => assert.equal(seq, index + 1));
}

const TEN = `
name: Ten steps
inputs: {deploy: "no"}
concurrency: 8
steps:
  first:
    command: [sh, -c, "echo hello; echo password=hunter2; echo output who=world >> $WORKFLOW_REPORT"]
  left: {needs: first, command: [echo, "left of \${{ steps.first.outputs.who }}"]}
  right:
    needs: first
    command: [sh, -c, "for n in 1 2 3; do echo progress $n 3 >> $WORKFLOW_REPORT; done; echo nothing >&2"]
  flaky:
    needs: left
    command: [sh, -c, "echo attempt $WORKFLOW_ATTEMPT; test $WORKFLOW_ATTEMPT = 2"]
    retries: {max: 2, backoff: 20ms}
  slow: {needs: right, command: [sleep, "600"], timeout: 200ms, continueOnError: true}
  each: {needs: first, matrix: {os: [a, b]}, command: [echo, "on \${{ matrix.os }}"]}
  deploy: {needs: first, if: inputs.deploy == 'yes', command: [echo, no]}
  handled: {needs: slow, if: steps.slow.status == 'failed', command: ["true"]}
  ask: {needs: [flaky, each], approval: {message: "Go on with \${{ steps.first.outputs.who }}?"}}
  review: {needs: first, session: {agent: gemini, prompt: look around}}
  last: {needs: [ask, handled, review], command: [echo, "\${{ steps.review.status }}"]}
`;

test("a workflow of ten steps is watched from its start over a retry, a timeout and an approval to its end", async (t) => {
  const socket = await connect(t, server.url, token);
  await ask(socket, "subscribe", [`project:${projectId}`, "user:root"]);
  const started = await ask(socket, "workflow.run.start", { projectId, definition: TEN });
  assert.equal(started.ok, true, JSON.stringify(started));
  const { runId, channel } = started.data;
  assert.equal(channel, `workflow:run:${runId}`);
  const view = new RunView(socket, channel, { since: { seq: 0 } });
  const waiting = await message(socket, "workflow.run.step.waiting", (seen) => seen.channel === channel);
  assert.deepEqual(waiting.data, { runId, stepId: "ask", message: "Go on with world?" });
  const attention = await message(socket, "user.attention_requested", (seen) => seen.data.channel === channel);
  assert.deepEqual([attention.data.kind, attention.data.id], ["approval", "ask"]);
  await message(socket, "workflow.run.updated", ({ data }) => data.runId === runId && data.status === "waiting");

  // Whoever comes late sees the graph, each step, its tail and its progress at once.
  const late = new RunView(await connect(t, server.url, token), channel, { snapshot: true });
  await until(() => late.steps.size, "the snapshot");
  assert.equal(late.steps.get("ask").status, "waiting");
  assert.match(late.steps.get("first").tail, /^hello\npassword=\[redacted\]\n$/);
  assert.equal(late.steps.get("right").progress.percentage, 100);

  const answer = { runId, stepId: "ask", decision: "approved" };
  const answers = await Promise.all([1, 2].map(() => ask(socket, "workflow.run.approve", answer)));
  assert.deepEqual(answers.map(({ ok }) => ok).sort(), [false, true], JSON.stringify(answers));
  assert.equal(answers.find(({ ok }) => !ok).error.code, "conflict");
  await message(socket, "workflow.run.completed", (seen) => seen.channel === channel);
  await message(socket, "user.attention_resolved", (seen) => seen.data.channel === channel);
  await message(socket, "workflow.run.summary", ({ data }) => data.id === runId && data.status === "completed");
  const state = await get(runId);
  await until(() => late.status === "completed", "the end, seen late");
  for (const seen of [view, late]) assert.deepEqual(seen.whole(), RunView.of(state).whole());
  assertClosed(view);

  const status = Object.fromEntries(state.steps.map(({ stepId, status }) => [stepId, status]));
  assert.deepEqual(status, {
    first: "completed", left: "completed", right: "completed", flaky: "completed", slow: "failed",
    "each.1": "completed", "each.2": "completed", deploy: "skipped", handled: "completed",
    ask: "completed", review: "completed", last: "completed",
  });
  const step = (id) => state.steps.find(({ stepId }) => stepId === id);
  assert.equal(step("slow").error.code, "timeout");
  assert.equal(step("ask").answeredBy, "root");
  assert.equal(step("flaky").attempt, 2);
  assert.equal(await output(runId, "flaky", 1), "attempt 1\n");
  assert.equal(await output(runId, "flaky"), "attempt 2\n");
  assert.equal(await output(runId, "left"), "left of world\n");
  assert.equal(await output(runId, "each.2"), "on b\n");
  assert.equal(await output(runId, "last"), "completed\n");
  // The run used what its session did.
  const { body: session } = await server.http("GET", `/api/sessions/${step("review").sessionId}`, { token });
  assert.equal(state.usage.outputTokens, session.conversation.usage.outputTokens);
  assert.ok(state.usage.outputTokens > 0);
  const progress = view.messages.filter(({ type }) => type === "workflow.run.step.progress").at(-1);
  assert.deepEqual(progress.data.progress, { current: 3, total: 3, percentage: 100 });
  const board = await server.http("GET", `/api/projects/${projectId}`, { token });
  assert.equal(board.body.runs[0].status, "completed");
});

test("a run is cancelled, its programs are gone and its question is withdrawn", async (t) => {
  const socket = await connect(t, server.url, token);
  await ask(socket, "subscribe", "user:root");
  const definition = {
    steps: {
      work: { command: ["sh", "-c", "echo pid=$$; sleep 600 & wait"] },
      ask: { approval: { message: "Well?" } },
      after: { needs: ["work", "ask"], command: ["true"] },
    },
  };
  const { runId, channel } = await start(definition);
  const view = new RunView(socket, channel, { since: { seq: 0 } });
  await until(() => /pid=\d+/.test(view.steps.get("work")?.tail), "the program");
  await message(socket, "user.attention_requested", (seen) => seen.data.channel === channel);
  const pid = Number(view.steps.get("work").tail.match(/pid=(\d+)/)[1]);
  assert.ok(process.kill(pid, 0));
  assert.equal((await ask(socket, "workflow.run.cancel", { runId })).ok, true);
  await until(() => view.status === "cancelled", "the end");
  assertClosed(view);
  assert.deepEqual([...view.steps.values()].map(({ status }) => status), ["cancelled", "cancelled", "cancelled"]);
  assert.throws(() => process.kill(pid, 0), /ESRCH/);
  await message(socket, "user.attention_resolved", (seen) => seen.data.channel === channel);
  assert.equal((await get(runId)).cancelledBy, "root");
  const again = await ask(socket, "workflow.run.cancel", { runId });
  assert.equal(again.error.code, "conflict");
});

test("a run is repeated from a failed step, and keeps what completed", async () => {
  const log = (name) => `echo ${name} >> rerun.log`;
  const definition = `
steps:
  a: {command: [sh, -c, "${log("a")}; echo output v=7 >> $WORKFLOW_REPORT"]}
  b: {needs: a, command: [sh, -c, "${log("b")}; test -e fixed"]}
  c: {needs: b, command: [sh, -c, "${log("c\${{ steps.a.outputs.v }}")}"]}
`;
  const first = await start(definition);
  const failed = await ends(first.runId);
  assert.deepEqual([failed.status, failed.error.message], ["failed", "the step b failed"]);
  assert.equal(failed.steps[2].skipped, "needs");
  await writeFile(join(folder, "fixed"), "");
  const path = `/api/workflows/runs/${first.runId}/rerun`;
  const unknown = await server.http("POST", path, { token, body: { from: "z" } });
  assert.equal(unknown.body.fields.from, "is not a step of the run");
  const again = await server.http("POST", path, { token, body: { from: "b" } });
  const state = await ends(again.body.runId);
  assert.deepEqual([state.status, state.rerunOf, state.steps[0].reused], ["completed", first.runId, true]);
  assert.equal(await readFile(join(folder, "rerun.log"), "utf8"), "a\nb\nb\nc7\n");
});

test("definitions that are none are refused with the line and the reason, and nothing runs", async () => {
  const axis = (name) => `${name}: [${Array.from({ length: 100 }, (_, n) => n)}]`;
  const lines = (...lines) => lines.join("\n");
  const table = [
    [lines("steps:", "  a: {needs: b, command: [ls]}", "  b: {needs: a, command: [ls]}"), 3, /circle: a needs b needs a/],
    [lines("steps:", "  a: {needs: nobody, command: [ls]}"), 2, /'nobody', which is no step/],
    [lines("steps:", "  a:", "    if: 1 +", "    command: [ls]"), 3, /'1 \+' cannot be read/],
    [lines("steps:", "  a:", "    command: ls"), 3, /is a list/],
    [lines("steps:", "  a:", `    matrix: {${["x", "y", "z"].map(axis)}}`, "    command: [ls]"), 3, /makes 1000000 steps/],
    [lines("a: &a [x, x]", "b: [*a, *a]"), 1, /anchors and aliases/],
    [lines("steps:", "  a: {session: {agent: nobody, prompt: x}}"), 2, /'nobody' is not a configured agent/],
    [lines("steps:", "  a: [", "}"), 3, /is no YAML/],
    ["[".repeat(100_000), 1, /nested deeper|is no YAML/],
    [{ steps: { a: { command: ["touch", "ran"], timeout: 5 } } }, 1, /'timeout' is a duration/],
  ];
  const before = await server.http("GET", "/api/workflows/runs?limit=200", { token });
  for (const [definition, line, reason] of table) {
    const body = { projectId, definition };
    const verdict = await server.http("POST", "/api/workflows/validate", { token, body });
    assert.equal(verdict.status, 200, JSON.stringify(verdict.body));
    assert.equal(verdict.body.valid, false);
    const flaw = verdict.body.flaws.find((flaw) => reason.test(flaw.reason));
    assert.equal(flaw?.line, line, JSON.stringify(verdict.body));
    const refused = await server.http("POST", "/api/workflows/runs", { token, body });
    assert.equal(refused.status, 422, JSON.stringify(refused.body));
    assert.match(refused.body.fields.definition, new RegExp(`line ${line}: .*${reason.source}`));
  }
  const missing = await server.http("POST", "/api/workflows/runs", { token, body: { projectId, definition: TEN, inputs: { x: 1 } } });
  assert.equal(missing.body.fields["inputs.x"], "is not an input of this workflow");
  const after = await server.http("GET", "/api/workflows/runs?limit=200", { token });
  assert.equal(after.body.runs.length, before.body.runs.length);
});

test("who may not execute starts no commands, and who may not command starts nothing", async () => {
  const operator = await server.token({ user: "op", roles: ["operator"] });
  const viewer = await server.token({ user: "eye", roles: ["viewer"] });
  const begin = (token, definition) => server.http("POST", "/api/workflows/runs", { token, body: { projectId, definition } });
  const asks = { steps: { ask: { approval: { message: "Well?" } } } };
  assert.equal((await begin(operator, { steps: { a: { command: ["ls"] } } })).status, 403);
  assert.equal((await begin(viewer, asks)).status, 403);
  const { body } = await begin(operator, asks);
  const path = `/api/workflows/runs/${body.runId}`;
  await until(async () => (await get(body.runId)).status === "waiting", "the question");
  const answer = { decision: "rejected" };
  assert.equal((await server.http("POST", `${path}/steps/ask/approve`, { token: viewer, body: answer })).status, 403);
  assert.equal((await server.http("POST", `${path}/cancel`, { token: viewer, body: {} })).status, 403);
  assert.equal((await server.http("POST", `${path}/steps/ask/approve`, { token: operator, body: answer })).status, 200);
  const state = await ends(body.runId);
  assert.deepEqual([state.status, state.steps[0].error.code, state.steps[0].answeredBy], ["failed", "rejected", "op"]);
});

test("the example of the documentation runs as it is printed, from a file of the project", async (t) => {
  const example = (await readFile(DOCUMENT, "utf8")).match(/```yaml\n([\s\S]*?)```/)[1];
  await writeFile(join(folder, "release.yml"), example);
  const socket = await connect(t, server.url, token);
  const started = await ask(socket, "workflow.run.start", { projectId, file: "release.yml", inputs: { version: "2.0" } });
  assert.equal(started.ok, true, JSON.stringify(started));
  const { runId } = started.data;
  await until(async () => (await get(runId)).status === "waiting", "the question");
  const asked = (await get(runId)).steps.find(({ stepId }) => stepId === "ask");
  assert.equal(asked.message, "Release release-2.0.tar?");
  await ask(socket, "workflow.run.approve", { runId, stepId: "ask", decision: "approved" });
  const state = await ends(runId);
  assert.equal(state.status, "completed", JSON.stringify(state.error));
  assert.equal(await output(runId, "release"), "released release-2.0.tar\n");
  const build = state.steps.find(({ stepId }) => stepId === "build");
  assert.deepEqual(build.progress, { current: 3, total: 3, percentage: 100 });
  assert.equal(state.steps.find(({ stepId }) => stepId === "explain").status, "skipped");
});
