// Where a session's program runs: in a terminal of its own, in a working tree of its own, or in both.
import assert from "node:assert/strict";
import { access, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ask, connect, message, open } from "./client.js";
import { CONFIG, git, project, repository, silent } from "./repository.js";
import { Server, until } from "./server.js";
import { Viewer, assertSame, marked } from "./viewer.js";

const END = /^session\.(completed|error|cancelled)$/;
const MARK = `MARK_${process.pid}`;

/** An agent for people: it shows what it was asked, clears the screen at each message, and leaves on "bye". */
const SCRIPT = `#!/bin/sh
printf '\\033]0;agent at work\\007\\033[2J\\033[Hprompt: %s\\r\\n' "$1"
while read -r line; do
  [ "$line" = bye ] && exit 3
  printf '\\033[2J\\033[1;31mheard %s in %s\\033[0m\\r\\n' "$line" "$(stty size)"
done
`;

let server;
let token;
let where;
before(async () => {
  const agents = [
    '[agents.full]\nadapter = "claude-code"\ncommand = ["false"]\nterminal = ["sh", "agent.sh", "{prompt}"]\n',
    '[agents.pipes]\nadapter = "claude-code"\ncommand = ["false"]\n',
    '[agents.plain]\ncommand = ["sh", "agent.sh", "none"]\n',
    '[agents.tree]\ncommand = ["sh", "-c", "pwd; echo {prompt} > made.txt; git branch --show-current; cat"]\n',
  ];
  const said = [
    { type: "system", subtype: "init", session_id: "s", tools: [], model: "m" },
    { type: "result", subtype: "success", is_error: false, result: "done", session_id: "s", usage: {} },
  ];
  const talks = ["sh", "-c", `printf '%s\\n' ${said.map((line) => `'${JSON.stringify(line)}'`).join(" ")}`];
  agents.push(`[agents.talks]\nadapter = "claude-code"\nstdin = "close"\ncommand = ${JSON.stringify(talks)}\nresume = ["pwd"]\n`);
  const config = CONFIG.replace("[run]\n", `[run]\nheartbeat_ms = 100\nenv = ["PATH"]\n`) + `[shell]\nidle = "1s"\n${agents.join("")}`;
  server = await Server.start({ config });
  token = await server.admin();
  where = await project(server, await repository(await server.directory(), { "agent.sh": SCRIPT, "a.txt": "one\n" }));
});
after(() => server?.stop());

/** Starts a session, and follows it from its beginning. */
async function start(socket, input) {
  const started = await ask(socket, "session.start", { projectId: where.projectId, ...input });
  assert.equal(started.ok, true, JSON.stringify(started));
  const { channel, sessionId } = started.data;
  assert.equal((await ask(socket, "subscribe", { channel, since: { seq: 0 } })).ok, true);
  const of = (seen) => seen.channel === channel;
  const terminal = async () => {
    const { data } = await message(socket, "session.terminal_opened", of);
    return { terminalId: data.terminalId, channel: `shell:terminal:${data.terminalId}` };
  };
  const ended = async () => {
    await until(
      () => socket.seen.some((seen) => of(seen) && END.test(seen.type)),
      () => `the end of ${sessionId}: ${JSON.stringify(socket.seen.slice(-4))}`,
    );
    const ends = socket.seen.filter((seen) => of(seen) && END.test(seen.type));
    assert.equal(ends.length, 1);
    return ends[0];
  };
  const printed = () =>
    socket.seen.filter((seen) => of(seen) && seen.type === "session.stream_output" && seen.data.type === "stdout")
      .map((seen) => seen.data.content).join("");
  return { sessionId, channel, terminal, ended, printed };
}

const session = async (id) => (await server.http("GET", `/api/sessions/${id}`, { token })).body;
const shell = async (id) => (await server.http("GET", `/api/shells/${id}`, { token })).body;

test("an agent runs in a terminal that people watch, type into and send messages to, and its end is the session's", async (t) => {
  const socket = await connect(t, server.url, token);
  const started = await start(socket, { agent: "full", prompt: "fix 'it'", pty: true, cols: 100, rows: 30 });
  const { terminalId, channel } = await started.terminal();
  assert.equal((await session(started.sessionId)).terminalId, terminalId);
  const watching = new Viewer(socket, channel, { from: { since: { seq: 0 } } });
  await watching.shows("prompt: fix 'it'");
  const opened = await message(socket, "shell.opened", (seen) => seen.channel === channel);
  assert.deepEqual([opened.data.sessionId, opened.data.cols, opened.data.rows], [started.sessionId, 100, 30]);
  assert.equal(opened.data.command, undefined, "how an agent is configured is told nobody");
  assert.equal((await shell(terminalId)).title, "agent at work");

  const typed = await ask(socket, "shell.input", { terminalId, data: "typed\r" });
  assert.equal(typed.ok, true, JSON.stringify(typed));
  await watching.shows("heard typed in 30 100");
  const said = await ask(socket, "session.send_message", { sessionId: started.sessionId, content: "said\n" });
  assert.equal(said.ok, true, JSON.stringify(said));
  await watching.shows("heard said in 30 100");
  const told = await message(socket, "session.user_message", (seen) => seen.channel === started.channel);
  assert.equal(told.data.content, "said\n");
  const joined = new Viewer(await connect(t, server.url, token), channel);
  await joined.shows("heard said");
  await assertSame(watching, joined);

  const { body: metrics } = await server.http("GET", "/metrics", { token });
  for (const of of ["session", "terminal"]) assert.match(metrics, new RegExp(`^tidings_running{of="${of}"} 1$`, "m"));
  for (const command of ["session.interrupt", "session.pause"]) {
    assert.equal((await ask(socket, command, { sessionId: started.sessionId })).error?.code, "conflict", command);
  }
  const { body } = await server.http("GET", `/api/projects/${where.projectId}`, { token });
  assert.deepEqual(body.sessions.filter((each) => each.id === started.sessionId).map((each) => each.status), ["running"]);
  assert.deepEqual(body.shells.filter((each) => each.id === terminalId), [], "the board shows it once, as a session");
  await ask(socket, "session.send_message", { sessionId: started.sessionId, content: "bye" });
  const end = await started.ended();
  assert.deepEqual([end.type, end.data.exitCode], ["session.completed", 3]);
  assert.deepEqual([(await watching.end()).code, watching.ends.length], [3, 1]);
  assert.equal((await ask(socket, "session.send_message", { sessionId: started.sessionId, content: "x" })).error.code, "conflict");
});

test("a program in a terminal is asked by what is typed if it has no place for a prompt, also when pasted", async (t) => {
  const socket = await connect(t, server.url, token);
  const started = await start(socket, { agent: "plain", prompt: "the prompt", pty: true });
  const watching = new Viewer(socket, (await started.terminal()).channel, { from: { since: { seq: 0 } } });
  await watching.shows("heard the prompt in 24 80");
  await ask(socket, "session.cancel", { sessionId: started.sessionId });
  await started.ended();

  const script = "stty raw -echo; printf '\\033[?2004hready'; head -c 17 | od -An -c; stty sane; cat";
  const raw = await start(socket, { command: ["sh", "-c", script], pty: true });
  const pasting = new Viewer(socket, (await raw.terminal()).channel, { from: { since: { seq: 0 } } });
  await pasting.shows("ready");
  await ask(socket, "session.send_message", { sessionId: raw.sessionId, content: "a\nb\u001b!" });
  await pasting.shows("033   [   2   0   0   ~   a  \\r   b   !");
  await ask(socket, "session.cancel", { sessionId: raw.sessionId });
  await raw.ended();
});

test("whoever cancels the session ends its terminal, and whoever closes the terminal ends the session, with all processes", async (t) => {
  const socket = await connect(t, server.url, token);
  const command = ["sh", "-c", `export ${MARK}=1; sleep 600 & echo up; cat`];
  const other = await server.token({ user: "other", roles: ["operator"] });
  for (const how of ["cancel", "close"]) {
    const started = await start(socket, { command, pty: true });
    const { terminalId, channel } = await started.terminal();
    const watching = new Viewer(socket, channel, { from: { since: { seq: 0 } } });
    await watching.shows("up");
    const path = how === "cancel" ? ["POST", `/api/sessions/${started.sessionId}/cancel`] : ["DELETE", `/api/shells/${terminalId}`];
    const asked = await server.http(...path, { token: other });
    assert.equal(asked.status, 202, JSON.stringify(asked.body));
    const end = await started.ended();
    assert.deepEqual([end.type, end.by.userId], ["session.cancelled", "other"]);
    assert.deepEqual([(await watching.end()).reason, watching.ends.length], ["closed", 1]);
    assert.deepEqual(await marked(MARK), []);
  }
});

test("a session in a terminal goes on without viewers, unlike a terminal of a person", async (t) => {
  const socket = await connect(t, server.url, token);
  const alone = await ask(socket, "shell.open", { projectId: where.projectId, command: ["cat"] });
  const started = await start(socket, { command: ["cat"], pty: true });
  const { terminalId } = await started.terminal();
  await until(async () => (await shell(alone.data.terminalId)).status === "exited", "the end of the one that nobody watches");
  assert.equal((await shell(terminalId)).status, "running");
  await ask(socket, "session.cancel", { sessionId: started.sessionId });
  await started.ended();
});

test("a terminal for an agent needs the right to execute, an agent that has one, and a size of its own", async (t) => {
  const operator = await server.token({ user: "o", grants: [`project:${where.projectId}=command,subscribe`] });
  const [socket, allowed] = [await connect(t, server.url, operator), await connect(t, server.url, token)];
  const refused = async (socket, input) => {
    const answer = await ask(socket, "session.start", { projectId: where.projectId, ...input });
    assert.equal(answer.ok, false, JSON.stringify(answer));
    return answer.error;
  };
  assert.equal((await refused(socket, { agent: "plain", pty: true })).code, "forbidden");
  const table = [
    [{ agent: "pipes", pty: true }, "pty"],
    [{ agent: "plain", cols: 80 }, "cols"],
    [{ agent: "plain", pty: true, rows: 0 }, "rows"],
    [{ agent: "full", pty: true }, "prompt"],
    [{ agent: "plain", worktree: { name: "../x" } }, "worktree.name"],
    [{ agent: "plain", worktree: { name: "x", from: "--force" } }, "worktree.from"],
  ];
  for (const [input, field] of table) {
    const error = await refused(allowed, input);
    assert.deepEqual([error.code, Object.keys(error.fields ?? {})], ["invalid_data", [field]], JSON.stringify(error));
  }
});

test("eight agents at once work in eight trees of their own, which are made, told as operations, and stay", async (t) => {
  const socket = await connect(t, server.url, token);
  assert.equal((await ask(socket, "subscribe", { channel: where.channel })).ok, true);
  const names = Array.from({ length: 8 }, (_, n) => `agent-${n}`);
  const all = await Promise.all(names.map((name) => start(socket, { agent: "tree", prompt: name, worktree: { name } })));
  for (const [n, started] of all.entries()) {
    const dir = join(where.root, ".worktrees", names[n]);
    await until(() => started.printed().split("\n").length > 2, () => `the branch: ${started.printed()}`);
    assert.deepEqual(started.printed().trim().split("\n"), [dir, names[n]]);
    assert.equal(await readFile(join(dir, "made.txt"), "utf8"), `${names[n]}\n`);
    assert.equal((await session(started.sessionId)).worktree, names[n]);
  }
  await assert.rejects(access(join(where.root, "made.txt")), "nothing was made in the project's own directory");
  await until(() => socket.seen.filter((seen) => seen.type === "git.operation.completed").length === names.length, "the ends");
  for (const started of all) await ask(socket, "session.cancel", { sessionId: started.sessionId });
  for (const started of all) assert.equal((await started.ended()).type, "session.cancelled");
  await access(join(where.root, ".worktrees/agent-3/made.txt"));

  const again = await start(socket, { command: ["cat", "made.txt"], worktree: { name: "agent-3" }, pty: true });
  const watching = new Viewer(socket, (await again.terminal()).channel, { from: { since: { seq: 0 } } });
  await watching.shows("agent-3");
  assert.equal((await again.ended()).data.exitCode, 0);
});

test("a conversation goes on in the tree where it was", async (t) => {
  const socket = await connect(t, server.url, token);
  const first = await start(socket, { agent: "talks", prompt: "look", worktree: { name: "talk", branch: "feature/talk", create: true } });
  assert.equal((await first.ended()).type, "session.completed");
  assert.equal(await git(join(where.root, ".worktrees/talk"), "branch", "--show-current"), "feature/talk");
  const next = await start(socket, { agent: "talks", prompt: "go on", resume: first.sessionId });
  await next.ended();
  assert.equal(next.printed(), `${join(where.root, ".worktrees/talk")}\n`);
  assert.equal((await session(next.sessionId)).worktree, "talk");
  await git(where.root, "worktree", "remove", "--force", ".worktrees/talk");
  const gone = { projectId: where.projectId, agent: "talks", prompt: "go on", resume: first.sessionId };
  const refused = await ask(socket, "session.start", gone);
  assert.match(refused.error?.fields?.resume ?? "", /gone/, JSON.stringify(refused));
});

test("nobody gets a tree that is still being made, and one that was removed comes back with its branch", async (t) => {
  const socket = await connect(t, server.url, token);
  const files = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`d${n % 50}/f${n}`, `${n}\n`]));
  const { projectId, root } = await project(server, await repository(await server.directory(), files));
  const command = ["sh", "-c", "find . -type f -name 'f*' | wc -l; git status --porcelain | wc -l; git branch --show-current"];
  const worktree = { name: "large" };
  const first = await start(socket, { projectId, command, worktree });
  await until(() => access(join(root, ".worktrees/large")).then(() => true, () => false), "the beginning of the tree");
  const second = await start(socket, { projectId, command, worktree });
  for (const started of [first, second]) {
    assert.equal((await started.ended()).type, "session.completed");
    assert.deepEqual(started.printed().split(/\s+/).filter(Boolean), ["5000", "0", "large"]);
  }
  await git(join(root, ".worktrees/large"), "commit", "-q", "--allow-empty", "-m", "kept");
  await git(root, "worktree", "remove", "--force", ".worktrees/large");
  const again = await start(socket, { projectId, command: ["git", "log", "-1", "--format=%s"], worktree });
  await again.ended();
  assert.equal(again.printed(), "kept\n");

  // What git leaves when it is killed while it makes a tree.
  const data = await git(join(root, ".worktrees/large"), "rev-parse", "--absolute-git-dir");
  await rm(join(root, ".worktrees/large/d1"), { recursive: true });
  for (const [name, text] of [["locked", "initializing"], ["index.lock", ""]]) await writeFile(join(data, name), text);
  const mended = await start(socket, { projectId, command, worktree });
  await mended.ended();
  assert.deepEqual(mended.printed().split(/\s+/).filter(Boolean), ["5000", "0", "large"]);

  await mkdir(join(root, ".worktrees/other"));
  const other = await start(socket, { projectId, command: ["true"], worktree: { name: "other" } });
  const end = await other.ended();
  assert.deepEqual([end.data.code, /remove it/.test(end.data.message)], ["worktree_failed", true], end.data.message);
});

test("a tree that cannot be made ends the session with the reason, and a cancel does not wait for it", async (t) => {
  const socket = await connect(t, server.url, token);
  const started = await start(socket, { command: ["true"], worktree: { name: "never", from: "nowhere" } });
  const end = await started.ended();
  assert.deepEqual([end.type, end.data.code], ["session.error", "worktree_failed"]);
  assert.match(end.data.message, /could not be made: .*not_found/);
  const remote = await silent(t);
  await git(where.root, "remote", "add", "origin", remote.url);
  const fetching = await ask(socket, "git.fetch", { projectId: where.projectId });
  await until(remote.connected, "git to connect");
  const waiting = await start(socket, { command: ["true"], worktree: { name: "later" } });
  const also = await start(socket, { agent: "talks", prompt: "look", worktree: { name: "later" } });
  const early = await ask(socket, "session.send_message", { sessionId: also.sessionId, content: "early" });
  assert.deepEqual([early.error?.code, early.error?.retryable], ["unavailable", true], JSON.stringify(early));
  await message(socket, "session.heartbeat", (seen) => seen.channel === also.channel);
  await ask(socket, "session.cancel", { sessionId: waiting.sessionId });
  assert.equal((await waiting.ended()).type, "session.cancelled");
  const { operationId } = fetching.data;
  await ask(socket, "git.cancel", { projectId: where.projectId, operationId });
  assert.equal((await also.ended()).data.exitCode, 0, "who waited gets it once the repository is free");

  const bare = await project(server, await server.directory());
  const nowhere = await ask(socket, "session.start", { projectId: bare.projectId, command: ["true"], worktree: { name: "x" } });
  const told = await until(async () => (await session(nowhere.data.sessionId)).error, "the end");
  assert.equal(told.code, "worktree_failed");
});

test("a killed server's session in a terminal has one end at the next start, as its terminal has", async (t) => {
  const socket = open(t, server.url, (give) => give({ token }));
  await until(() => socket.connected, "the connection");
  const started = await start(socket, { command: ["sh", "-c", `export ${MARK}=1; sh -c 'echo up; sleep 600'; true`], pty: true });
  const { channel, terminalId } = await started.terminal();
  const viewer = new Viewer(socket, channel, { from: { since: { seq: 0 } } });
  await viewer.shows("up");
  assert.ok((await marked(MARK)).length >= 1);
  await server.kill9();
  await server.restart();
  await until(async () => (await session(started.sessionId)).status === "error", "the end of the session");
  assert.equal((await session(started.sessionId)).error.code, "server_stopped");
  assert.deepEqual([(await viewer.end()).code, (await shell(terminalId)).status], ["server_stopped", "error"]);
  assert.deepEqual(await marked(MARK), []);
});
