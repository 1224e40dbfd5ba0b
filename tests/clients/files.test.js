// Files of projects: read and listed, and watched while somebody looks.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, rename, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { ask, connect, message } from "./client.js";
import { CONFIG, descriptors, git, memory, project, repository, watches, write } from "./repository.js";
import { Server, until } from "./server.js";

let server;
let token;
before(async () => {
  server = await Server.start({ config: `${CONFIG}[fs]\nlinger = "0s"\nmax_read_bytes = "4KiB"\nmax_entries = 100\n` });
  token = await server.admin();
});
after(() => server?.stop());

/** A project that is watched, and a client that follows it. */
async function watched(t, files = {}) {
  const made = await project(server, await server.directory());
  await write(made.root, files);
  const socket = await connect(t, server.url, token);
  assert.equal((await ask(socket, "subscribe", { channel: made.channel, since: { seq: 0 } })).ok, true);
  const answer = await ask(socket, "fs.watch", { projectId: made.projectId });
  assert.equal(answer.ok, true, JSON.stringify(answer));
  return { ...made, socket, watch: answer.data };
}

const changes = (socket) => socket.seen.filter((seen) => seen.type === "fs.changed").flatMap((seen) => seen.data.changes);

/** Waits until changes say this, and nothing else of these paths. */
async function told(socket, expected) {
  const seen = () => changes(socket).map(({ path, kind, from }) => [kind, path, from].filter(Boolean).join(" "));
  await until(() => expected.every((line) => seen().includes(line)), () => `${expected}; there came ${seen()}`);
  return seen();
}

test("files that come, change, move and go are told, and what is ignored is not", async (t) => {
  const { socket, root, projectId } = await watched(t, { ".gitignore": "*.log\nbuild/\n", "a.txt": "a", "old.txt": "o", "gone.txt": "g", "src/x.txt": "x" });
  await write(root, { "new.txt": "n", "debug.log": "d", "build/out.o": "o" });
  await writeFile(join(root, "a.txt"), "aa");
  await rename(join(root, "old.txt"), join(root, "src/moved.txt"));
  await unlink(join(root, "gone.txt"));
  await write(root, { "deep/er/and/deeper.txt": "d" });
  const seen = await told(socket, ["created new.txt", "modified a.txt", "renamed src/moved.txt old.txt", "removed gone.txt", "created deep", "created deep/er/and/deeper.txt"]);
  assert.ok(!seen.some((line) => /debug|build/.test(line)), String(seen));
  for (const change of socket.seen.filter((one) => one.type === "fs.changed")) assert.equal(change.data.projectId, projectId);

  await write(root, { "deep/er/later.txt": "l" });
  await told(socket, ["created deep/er/later.txt"]);
  await rename(join(root, "deep"), join(root, "shallow"));
  await told(socket, ["renamed shallow deep"]);
  await write(root, { "shallow/er/last.txt": "l" });
  await told(socket, ["created shallow/er/last.txt"]);
  await rm(join(root, "shallow"), { recursive: true });
  await told(socket, ["removed shallow"]);

  await writeFile(join(root, ".gitignore"), "new.txt\n");
  await told(socket, ["modified .gitignore"]);
  await write(root, { "build/now.o": "o" });
  await told(socket, ["created build/now.o"]);
});

test("what anybody does to a repository is told as its status and its head", async (t) => {
  const { socket, root, projectId } = await watched(t, { ".gitignore": "*.log\n" });
  await repository(root, { "a.txt": "one\n" });
  const first = await message(socket, "git.head.changed");
  assert.equal(first.data.head, await git(root, "rev-parse", "HEAD"));
  await write(root, { "a.txt": "two\n", "b.txt": "b\n" });
  const changed = await message(socket, "git.status.changed", (seen) => seen.data.counts.unstaged === 1 && seen.data.counts.untracked === 1);
  assert.deepEqual(changed.data.files.map((file) => [file.path, file.unstaged]), [["a.txt", "modified"], ["b.txt", "untracked"]]);
  await git(root, "add", "a.txt");
  await message(socket, "git.status.changed", (seen) => seen.data.counts.staged === 1);
  await git(root, "commit", "-qm", "second");
  await message(socket, "git.head.changed", (seen) => seen.data.previous === first.data.head && seen.data.branch === "main");
  await git(root, "checkout", "-qb", "topic/deep");
  await message(socket, "git.head.changed", (seen) => seen.data.branch === "topic/deep");
  await message(socket, "git.status.changed", (seen) => seen.data.branch === "topic/deep");
  const state = await server.http("GET", `/api/projects/${projectId}`, { token });
  assert.deepEqual([state.body.git.status.branch, state.body.git.status.counts.untracked], ["topic/deep", 1]);
  assert.ok(!changes(socket).some((change) => change.path.startsWith(".git/") || change.path === ".git"), "git's own folder is not told");
});

test("five thousand changes in a second are all told, or it is told that they were not, in bounded memory", async (t) => {
  const { socket, root } = await watched(t, { "d0/x": "", "d1/x": "", "d2/x": "", "d3/x": "", "d4/x": "" });
  const before = await memory(server.pid);
  const script = 'const fs = require("fs"); for (let n = 0; n < 5000; n += 1) fs.writeFileSync(`${process.argv[1]}/d${n % 5}/f${n}`, "x");';
  await promisify(execFile)(process.execPath, ["-e", script, root]);
  const paths = () => new Set(changes(socket).map((change) => change.path));
  await until(() => paths().size >= 5000 || socket.seen.some((seen) => seen.type === "fs.rescan"), () => `5000 paths; there came ${paths().size}`);
  const sizes = socket.seen.filter((seen) => seen.type === "fs.changed").map((seen) => seen.data.changes.length);
  assert.ok(Math.max(...sizes) <= 500, "an event has at most 500 changes");
  assert.ok((await memory(server.pid)) - before < 64 << 20, "memory stays small");
});

test("a hundred thousand ignored files cost no watch", async (t) => {
  const root = await server.directory();
  await write(root, { ".gitignore": "node_modules/\n", "src/a.js": "" });
  const script = `const fs = require("fs"); for (let d = 0; d < 1000; d += 1) { const dir = process.argv[1] + "/node_modules/p" + d; fs.mkdirSync(dir, { recursive: true }); for (let n = 0; n < 100; n += 1) fs.writeFileSync(dir + "/f" + n, ""); }`;
  await promisify(execFile)(process.execPath, ["-e", script, root]);
  const { projectId, channel } = await project(server, root);
  const socket = await connect(t, server.url, token);
  await until(async () => (await watches(server.pid)) === 0, "the watches of other tests to end");
  await ask(socket, "subscribe", channel);
  const answer = await ask(socket, "fs.watch", { projectId });
  assert.deepEqual([answer.data.directories, answer.data.complete], [2, true]);
  assert.equal(await watches(server.pid), 2);
  await write(root, { "node_modules/p0/new": "", "src/b.js": "" });
  const seen = await told(socket, ["created src/b.js"]);
  assert.deepEqual(seen, ["created src/b.js"]);
});

test("a project is watched for as long as somebody follows it, and a thousand watches leave nothing", async (t) => {
  const made = await project(server, await server.directory());
  await write(made.root, { "a/b/c": "" });
  const socket = await connect(t, server.url, token);
  await until(async () => (await watches(server.pid)) === 0, "the watches of other tests to end");
  const before = (await descriptors(server.pid)).length;
  await ask(socket, "subscribe", made.channel);
  const [one, two] = await Promise.all([ask(socket, "fs.watch", { projectId: made.projectId }), ask(socket, "fs.watch", { projectId: made.projectId })]);
  assert.deepEqual(one, two, "a repeat is the same watch");
  assert.equal(await watches(server.pid), 3);
  await ask(socket, "unsubscribe", made.channel);
  await until(async () => (await watches(server.pid)) === 0, "the end of the watch");
  for (let n = 0; n < 1000; n += 1) {
    const answer = await ask(socket, "fs.watch", { projectId: made.projectId });
    assert.equal(answer.ok, true, JSON.stringify(answer));
    // Nobody follows: it ends by itself when it looks, and the next one is another.
    await until(async () => (await watches(server.pid)) === 0, "the end of a watch");
  }
  await until(async () => (await descriptors(server.pid)).length <= before, "the descriptors to be given back");
});

test("a folder that is gone ends its watch and says so", async (t) => {
  const { socket, root, projectId } = await watched(t, { "a.txt": "a" });
  await rm(root, { recursive: true });
  await message(socket, "fs.rescan", (seen) => seen.data.reason === "gone");
  for (const [command, input] of [["fs.read", { path: "a.txt" }], ["fs.list", {}], ["fs.watch", {}]]) {
    const answer = await ask(socket, command, { projectId, ...input });
    assert.equal(answer.error?.code, "not_found", `${command}: ${JSON.stringify(answer)}`);
  }
});

test("files are read and folders listed in parts, and no path leads out", async (t) => {
  const text = "line é\n".repeat(1000);
  const { socket, root, projectId } = await watched(t, { "text.txt": text, "src/x.txt": "x", "empty": "" });
  await writeFile(join(root, "binary"), Buffer.from([0, 1, 2, 255]));
  await symlink("/etc/passwd", join(root, "out"));
  await symlink("/etc", join(root, "folder"));
  await symlink("src/x.txt", join(root, "in"));
  await promisify(execFile)("mkfifo", [join(root, "pipe")]);
  let [read, offset] = ["", 0];
  while (offset !== undefined) {
    const { data } = await ask(socket, "fs.read", { projectId, path: "text.txt", offset });
    read += data.content;
    offset = data.next;
  }
  assert.equal(read, text);
  const { data } = await ask(socket, "fs.read", { projectId, path: "binary" });
  assert.deepEqual([data.binary, data.encoding, [...Buffer.from(data.content, "base64")]], [true, "base64", [0, 1, 2, 255]]);
  assert.equal((await ask(socket, "fs.read", { projectId, path: "in" })).data.content, "x");
  const over = await server.http("GET", `/api/projects/${projectId}/file?path=src/x.txt`, { token });
  assert.deepEqual([over.status, over.body.content], [200, "x"]);
  const listed = await server.http("GET", `/api/projects/${projectId}/files?path=.`, { token });
  assert.deepEqual(listed.body.entries.map((entry) => `${entry.kind} ${entry.name}`), [
    "file binary", "file empty", "symlink folder", "symlink in", "symlink out", "other pipe", "directory src", "file text.txt",
  ]);
  for (const [path, code] of [
    ["out", "invalid_data"], ["folder/passwd", "invalid_data"], ["../x", "invalid_data"], ["/etc/passwd", "invalid_data"],
    ["src/../../x", "invalid_data"], ["a\u0000b", "invalid_data"], ["a\u001b[0m", "not_found"], ["", "invalid_data"],
    ["pipe", "invalid_data"], ["src", "invalid_data"], ["none", "not_found"],
  ]) {
    const answer = await ask(socket, "fs.read", { projectId, path });
    assert.equal(answer.error?.code, code, `${JSON.stringify(path)}: ${JSON.stringify(answer)}`);
  }
  assert.equal((await ask(socket, "fs.list", { projectId, path: "folder" })).error.code, "invalid_data");
  await mkdir(join(root, "many"));
  await Promise.all(Array.from({ length: 250 }, (_, n) => writeFile(join(root, `many/${String(n).padStart(3, "0")}`), "")));
  const names = [];
  for (let after; ;) {
    const { data: part } = await ask(socket, "fs.list", { projectId, path: "many", after });
    names.push(...part.entries.map((entry) => entry.name));
    after = part.cursor;
    if (!after) break;
  }
  assert.deepEqual([names.length, names[0], names.at(-1)], [250, "000", "249"]);
});
