// Terminals: many viewers see one screen, whoever joins gets it at once, and nobody waits for anybody.
//
// The viewers' terminals are xterm.js without a page; the programs are the system's own.
import assert from "node:assert/strict";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ask, Cable, connect, message, open } from "./client.js";
import { Server, until } from "./server.js";
import { Viewer, assertSame, marked } from "./viewer.js";

let server;
let token;
let projectId;
let folder;
before(async () => {
  server = await Server.start({ config: '[log]\ndurability = "process"\n[run]\ngrace_ms = 1000\n' });
  token = await server.admin();
  [folder, projectId] = await project();
});
after(() => server?.stop());

async function project() {
  const root = await server.directory();
  const made = await server.http("POST", "/api/projects", { token, body: { name: "one", root } });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  return [root, made.body.projectId];
}

async function openShell(socket, more = {}) {
  const opened = await ask(socket, "shell.open", { projectId, cols: 80, rows: 24, ...more });
  assert.equal(opened.ok, true, JSON.stringify(opened));
  return opened.data;
}

const keys = async (socket, terminalId, data, more = {}) => {
  const typed = await ask(socket, "shell.input", { terminalId, data, ...more });
  assert.equal(typed.ok, true, JSON.stringify(typed));
  return typed.data;
};

const state = async (terminalId) => (await server.http("GET", `/api/shells/${terminalId}`, { token })).body;

test("a viewer who joins an editor sees the screen of the one who was there all the time, also after a resize", async (t) => {
  const [first, second] = [await connect(t, server.url, token), await connect(t, server.url, token)];
  const { terminalId, channel } = await openShell(first, { command: ["sh"], env: { PS1: "$ " } });
  const watching = new Viewer(first, channel, { from: { since: { seq: 0 } } });
  await watching.shows("$");
  await writeFile(join(folder, "text"), "line 1 界\nline 2 界\nline 3 界\n");
  await keys(first, terminalId, "vi -u NONE -N -c 'set ruler title mouse=a' text\r");
  await watching.shows("line 3 界");
  await keys(first, terminalId, "oinserted\u001b:syntax on\r:split\rGoattended\u001b");
  await watching.shows("attended");
  const joined = new Viewer(second, channel);
  await until(() => joined.snapshots.length > 0, "the snapshot");
  assert.equal(joined.snapshots[0].snapshot.status, "running");
  await assertSame(watching, joined);
  assert.equal((await joined.screen()).type, "alternate");

  const resized = await ask(second, "shell.resize", { terminalId, cols: 100, rows: 30 });
  assert.equal(resized.ok, true, JSON.stringify(resized));
  await message(first, "shell.resized", (seen) => seen.channel === channel && seen.data.cols === 100);
  await keys(first, terminalId, "Goagain\u001b");
  await watching.shows("again");
  await joined.shows("again");
  await assertSame(watching, joined);
  const third = new Viewer(await connect(t, server.url, token), channel);
  await third.shows("again");
  await assertSame(watching, third);

  await keys(first, terminalId, ":qa!\r");
  // An editor throws away what was typed before it left.
  await until(async () => (await watching.screen()).type === "normal", "the editor to leave");
  await keys(first, terminalId, "exit 7\r");
  assert.deepEqual(await watching.end(), { type: "shell.exit", terminalId, code: 7, signal: null, reason: "exited" });
  const late = new Viewer(await connect(t, server.url, token), channel);
  await until(() => late.snapshots.length > 0, "the snapshot");
  assert.equal(late.snapshots[0].snapshot.status, "exited");
  await assertSame(watching, late);
});

test("much output costs who joins one screen and the newest lines, not a replay", async (t) => {
  const socket = await connect(t, server.url, token);
  const { terminalId, channel } = await openShell(socket, { command: ["sh", "-c", "seq 1 200000; echo do''ne; cat"] });
  const watching = new Viewer(socket, channel);
  await watching.shows("done");
  const joined = new Viewer(await connect(t, server.url, token), channel);
  await joined.shows("done");
  assert.equal(joined.bytes, 0);
  assert.ok(JSON.stringify(joined.snapshots[0]).length < 100_000);
  const lines = (await joined.text()).split("\n").map((line) => line.trimEnd()).filter((line) => line !== "");
  assert.deepEqual(lines.slice(-3), ["199999", "200000", "done"]);
  assert.deepEqual(lines.slice(0, -1), Array.from({ length: lines.length - 1 }, (_, at) => `${200_002 - lines.length + at}`));
  assert.equal(lines.length, 1023);
  await ask(socket, "shell.close", { terminalId });
  assert.equal((await watching.end()).reason, "closed");
});

test("a terminal survives its viewers, who come back and miss nothing, and input is taken once", async (t) => {
  const cable = await Cable.to(t, server.port);
  const socket = open(t, cable.url, token);
  await until(() => socket.connected, "the connection");
  const { terminalId, channel } = await openShell(socket, { command: ["sh"], env: { PS1: "$ " } });
  const viewer = new Viewer(socket, channel, { from: { since: { seq: 0 } } });
  await viewer.shows("$");
  let typed = 0;
  for (let round = 1; round <= 3; round += 1) {
    const input = { terminalId, data: `echo round $((${round} * 111))\r`, inputSeq: (typed += 1) };
    socket.emit("shell.input", input);
    cable.cut();
    await until(() => !socket.connected, "the cut");
    cable.mend();
    await until(() => socket.connected, "the connection again");
    // Nobody knows whether it arrived: it is sent again, and that is all that has to be done.
    const again = await ask(socket, "shell.input", input);
    assert.equal(again.ok, true, JSON.stringify(again));
    await viewer.shows(`round ${round * 111}`);
  }
  const hole = await ask(socket, "shell.input", { terminalId, data: "x", inputSeq: typed + 2 });
  assert.equal(hole.error.code, "conflict");
  assert.equal((await viewer.text()).split("round 222").length, 2, "once");
  assert.deepEqual(viewer.seqs, Array.from({ length: viewer.seqs.length }, (_, at) => at + 1));
  await keys(socket, terminalId, "exit\r");
  await viewer.end();
});

test("a program that floods is held back, a viewer that reads nothing skips to a fresh screen, and others are live", { timeout: 120_000 }, async (t) => {
  const [busy, other] = [await connect(t, server.url, token), await connect(t, server.url, token)];
  const stalled = await connect(t, server.url, token);
  const { terminalId, channel } = await openShell(busy, { command: ["yes", "a flood of lines"] });
  const quiet = await openShell(other, { command: ["cat"] });
  const calm = new Viewer(other, quiet.channel);
  const lagging = new Viewer(stalled, channel, { maxLag: { bytes: 200_000 } });
  await until(() => lagging.bytes > 0, "the flood");
  const raw = stalled.io.engine.transport.ws._socket;
  raw.pause();
  const memory = async () => Number((await readFile(`/proc/${server.pid}/statm`, "utf8")).split(" ")[1]) * 4096;
  const delays = [];
  const sizes = [];
  for (let n = 0; n < 40; n += 1) {
    const from = performance.now();
    await keys(other, quiet.terminalId, `${n}.\r`);
    await calm.shows(`${n}.`);
    delays.push(performance.now() - from);
    sizes.push(await memory());
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  delays.sort((left, right) => left - right);
  t.diagnostic(`the other viewer's echo: median ${delays[20].toFixed(1)} ms, longest ${delays[39].toFixed(1)} ms`);
  t.diagnostic(`the server's memory: ${sizes.map((size) => Math.round(size / 1e6)).join(" ")} MB`);
  assert.ok(delays[20] < 1000, `an echo took ${delays[20]} ms`);
  assert.ok(sizes.at(-1) - sizes[10] < 64e6, "the memory grows");
  const written = (await state(terminalId)).bytes;
  t.diagnostic(`the flood: ${Math.round(written / 1e6)} MB`);
  raw.resume();
  await until(() => lagging.snapshots.some((snapshot) => snapshot.reason === "lag"), "a fresh screen");
  assert.equal(lagging.gaps, 0);
  assert.ok(lagging.bytes < written, "it read less than there was");
  await keys(other, terminalId, "\u0003");
  assert.deepEqual([(await lagging.end()).signal, lagging.ends.length], [2, 1]);
  await ask(other, "shell.close", { terminalId: quiet.terminalId });
});

test("who may watch cannot type, and who may command cannot open without the right to execute", async (t) => {
  const socket = await connect(t, server.url, token);
  const { terminalId, channel } = await openShell(socket, { command: ["cat"] });
  const viewer = await server.token({ user: "v", grants: ["shell:terminal:*=subscribe"] });
  const operator = await server.token({ user: "o", roles: ["operator"] });
  const watching = await connect(t, server.url, viewer);
  assert.equal((await ask(watching, "subscribe", channel)).ok, true);
  for (const [command, input] of [
    ["shell.input", { data: "x" }],
    ["shell.resize", { cols: 10, rows: 10 }],
    ["shell.close", {}],
  ]) {
    assert.equal((await ask(watching, command, { terminalId, ...input })).error.code, "forbidden", command);
  }
  assert.equal((await server.http("POST", "/api/shells", { token: operator, body: { projectId } })).status, 403);
  const typed = await server.http("POST", `/api/shells/${terminalId}/input`, { token: operator, body: { data: "hi\r" } });
  assert.equal(typed.status, 202, JSON.stringify(typed.body));
  const listed = await server.http("GET", `/api/shells?projectId=${projectId}&status=running`, { token: viewer });
  assert.deepEqual(listed.body.shells.filter((shell) => shell.id === terminalId).map((shell) => shell.channel), [channel]);
  const nobody = await server.token({ user: "n" });
  assert.equal((await server.http("GET", `/api/shells/${terminalId}`, { token: nobody })).status, 403);
  assert.deepEqual((await server.http("GET", "/api/shells", { token: nobody })).body.shells, []);
  const closed = await server.http("DELETE", `/api/shells/${terminalId}`, { token: operator });
  assert.equal(closed.status, 202, JSON.stringify(closed.body));
  const end = await message(watching, "shell.exit", (seen) => seen.channel === channel);
  assert.deepEqual([end.data.reason, end.by.userId], ["closed", "o"]);
});

test("a terminal runs inside its project only, with a variable of its own and none of the server's", async (t) => {
  const socket = await connect(t, server.url, token);
  const odd = "odd\n\u001b]0;x\u0007 name";
  await mkdir(join(folder, odd));
  await symlink("/etc", join(folder, "out"));
  for (const cwd of ["..", "/etc", "out", "out/..", "missing"]) {
    const refused = await ask(socket, "shell.open", { projectId, cwd });
    assert.equal(refused.error.code, "invalid_data", `${cwd} ${JSON.stringify(refused)}`);
  }
  assert.equal((await ask(socket, "shell.open", { projectId, env: { TIDINGS_X: "1" } })).error.code, "invalid_data");
  const script = "pwd | od -c | tail -2; env | grep -c TIDINGS; echo \"[$MINE]\"";
  const { channel, terminalId } = await openShell(socket, { command: ["sh", "-c", script], cwd: odd, env: { MINE: "yes" } });
  const viewer = new Viewer(socket, channel, { from: { since: { seq: 0 } } });
  await viewer.end();
  assert.match(await viewer.text(), /n {3}a {3}m {3}e[^]*\n0\n\[yes\]/);
  assert.equal((await state(terminalId)).cwd, odd);
  const [gone, goneId] = await project();
  await rm(gone, { recursive: true });
  assert.equal((await ask(socket, "shell.open", { projectId: goneId })).error.code, "conflict");
});

test("the board of a project shows its terminals", async (t) => {
  const socket = await connect(t, server.url, token);
  const { terminalId, channel } = await openShell(socket, { command: ["sh", "-c", "exit 0"] });
  await until(async () => (await state(terminalId)).status === "exited", "the end");
  const { body } = await server.http("GET", `/api/projects/${projectId}`, { token });
  const [shown] = body.shells.filter((shell) => shell.id === terminalId);
  assert.deepEqual([shown.channel, shown.status, shown.title], [channel, "exited", "sh"]);
});

test("a killed server's terminals have one end at the next start, and their processes are gone", async (t) => {
  const mark = `mark-${process.pid}`;
  const socket = open(t, server.url, (give) => give({ token }));
  await until(() => socket.connected, "the connection");
  const script = "trap '' HUP; setsid -w true; sh -c 'trap \"\" HUP; sleep 600' & echo up; sleep 600";
  const { terminalId, channel } = await openShell(socket, { command: ["sh", "-c", script], env: { MARK: mark } });
  const viewer = new Viewer(socket, channel, { from: { since: { seq: 0 } } });
  await viewer.shows("up");
  assert.ok((await marked(mark)).length >= 2);
  await server.kill9();
  await server.restart();
  const end = await viewer.end();
  assert.deepEqual([end.type, end.code], ["shell.error", "server_stopped"]);
  assert.deepEqual(await marked(mark), []);
  await until(async () => (await state(terminalId)).status === "error", "the state");
  assert.equal(viewer.ends.length, 1);
  const typed = await ask(socket, "shell.input", { terminalId, data: "x" });
  assert.equal(typed.error.code, "conflict");
});
