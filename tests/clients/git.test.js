// Git in projects: what is changed, operations from their start to their one end, and repositories that mean harm.
import assert from "node:assert/strict";
import { access, chmod, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ask, connect, message } from "./client.js";
import { CONFIG, bare, children, descriptors, git, processes, project, repository, silent, write } from "./repository.js";
import { Server, until } from "./server.js";

const END = /^git\.operation\.(completed|failed|cancelled)$/;

let server;
let token;
before(async () => {
  server = await Server.start({ config: CONFIG });
  token = await server.admin();
});
after(() => server?.stop());

/** A project around a new repository, and a client that follows it. */
async function room(t, files) {
  const made = await project(server, await repository(await server.directory(), files));
  return { ...made, socket: await follow(t, made) };
}

async function follow(t, { channel }) {
  const socket = await connect(t, server.url, token);
  assert.equal((await ask(socket, "subscribe", { channel, since: { seq: 0 } })).ok, true);
  return socket;
}

/** What a command that must succeed gives. */
async function done(socket, command, input) {
  const answer = await ask(socket, command, input);
  assert.equal(answer.ok, true, `${command} ${JSON.stringify(input)}: ${JSON.stringify(answer)}`);
  return answer.data;
}

async function refused(socket, command, input) {
  const answer = await ask(socket, command, input);
  assert.equal(answer.ok, false, `${command} ${JSON.stringify(input)}: ${JSON.stringify(answer)}`);
  return answer.error;
}

/** Begins an operation and waits for its end. */
async function operate({ socket, projectId }, name, input = {}) {
  const { operationId } = await done(socket, `git.${name}`, { projectId, ...input });
  const of = (seen) => END.test(seen.type) && seen.data.operationId === operationId;
  await until(() => socket.seen.some(of), () => `the end of ${name}: ${JSON.stringify(socket.seen.slice(-4))}`);
  const ends = socket.seen.filter(of);
  assert.equal(ends.length, 1);
  return { ...ends[0].data, end: END.exec(ends[0].type)[1], operationId };
}

async function succeed(where, name, input) {
  const ended = await operate(where, name, input);
  assert.equal(ended.end, "completed", JSON.stringify(ended));
  return ended;
}

test("a repository is cloned with progress, edited, committed and pushed, and everybody sees it", async (t) => {
  const files = Object.fromEntries(Array.from({ length: 400 }, (_, n) => [`src/f${n}.txt`, `${n}\n`.repeat(50)]));
  const remote = await bare(server, files);
  const made = await project(server, await server.directory());
  const where = { ...made, socket: await follow(t, made) };
  const { socket, projectId, root } = where;
  const cloned = await succeed(where, "clone", { url: `file://${remote}` });
  assert.equal(cloned.head, await git(root, "rev-parse", "HEAD"));
  const phases = socket.seen.filter((seen) => seen.type === "git.operation.progress").map((seen) => seen.data.progress);
  const receiving = phases.filter((progress) => progress.phase === "Receiving objects");
  assert.equal(receiving.at(-1)?.percentage, 100, JSON.stringify(phases));
  assert.equal((await message(socket, "git.head.changed")).data.branch, "main");
  const types = socket.seen.filter((seen) => seen.type.startsWith("git.operation.")).map((seen) => seen.type);
  assert.deepEqual([types[0], types.at(-1)], ["git.operation.started", "git.operation.completed"]);

  await write(root, { "src/f1.txt": "changed\n", "new file.txt": "new\n" });
  const status = await done(socket, "git.status", { projectId });
  assert.deepEqual(status.counts, { staged: 0, unstaged: 1, untracked: 1, conflicts: 0 });
  assert.deepEqual(status.files.map((file) => file.path).sort(), ["new file.txt", "src/f1.txt"]);
  const diff = await done(socket, "git.diff", { projectId, paths: ["src"] });
  assert.deepEqual(diff.files, [{ path: "src/f1.txt", added: 1, removed: 50 }]);
  assert.match(diff.patch, /^\+changed$/m);
  await succeed(where, "add", { paths: ["."] });
  const committed = await succeed(where, "commit", { message: "--amend is no option here\n\nand this is the rest" });
  await message(socket, "git.head.changed", (seen) => seen.data.head === committed.head && seen.data.previous === cloned.head);
  const { commits } = await done(socket, "git.log", { projectId, limit: 5 });
  assert.deepEqual(commits.map((commit) => commit.subject), ["--amend is no option here", "first"]);
  const shown = await done(socket, "git.show", { projectId, rev: "HEAD" });
  assert.deepEqual([shown.commit.body, shown.files.length], ["and this is the rest", 2]);
  await succeed(where, "push", { branch: "main" });
  assert.equal(await git(remote, "rev-parse", "main"), committed.head);
  const state = await server.http("GET", `/api/projects/${projectId}`, { token });
  assert.deepEqual([state.body.git.operations, state.body.git.status.head], [{}, committed.head]);
});

test("branches, stashes, working trees and pages of the log work by name", async (t) => {
  const where = await room(t);
  const { socket, projectId, root } = where;
  await succeed(where, "checkout", { branch: "feature/x", create: true });
  await write(root, { "a.txt": "two\n", "b.txt": "b\n" });
  await succeed(where, "stash", { action: "push", message: "aside", untracked: true });
  assert.equal((await done(socket, "git.status", { projectId })).counts.unstaged, 0);
  await succeed(where, "stash", { action: "pop" });
  await succeed(where, "add", { paths: ["a.txt", "b.txt"] });
  await succeed(where, "unstage", { paths: ["b.txt"] });
  assert.deepEqual((await done(socket, "git.status", { projectId })).counts, { staged: 1, unstaged: 0, untracked: 1, conflicts: 0 });
  for (const n of [2, 3, 4]) await succeed(where, "commit", { message: `commit ${n}`, all: true }).then(() => write(root, { "a.txt": `${n}\n` }));
  const first = await done(socket, "git.log", { projectId, limit: 2 });
  const rest = await done(socket, "git.log", { projectId, limit: 2, after: first.cursor });
  assert.deepEqual([...first.commits, ...rest.commits].map((commit) => commit.subject), ["commit 4", "commit 3", "commit 2", "first"]);
  assert.equal(rest.cursor, undefined);
  await succeed(where, "worktree_add", { name: "agent-1" });
  await access(join(root, ".worktrees/agent-1/a.txt"));
  const { worktrees } = await done(socket, "git.worktrees", { projectId });
  assert.deepEqual(worktrees.map((tree) => tree.branch), ["feature/x", "agent-1"]);
  assert.equal((await done(socket, "git.status", { projectId })).counts.untracked, 1, "a working tree is nobody's new file");
  await succeed(where, "worktree_remove", { name: "agent-1" });
  const { branches } = await done(socket, "git.branches", { projectId });
  assert.deepEqual(branches.map((branch) => [branch.name, branch.current]), [["agent-1", false], ["feature/x", true], ["main", false]]);
});

test("a conflict is told with its paths, shows in the status, and is resolved or taken back", async (t) => {
  const where = await room(t, { "a.txt": "one\n", "b.txt": "b\n" });
  const { socket, projectId, root } = where;
  await succeed(where, "checkout", { branch: "other", create: true });
  await write(root, { "a.txt": "theirs\n" });
  await succeed(where, "commit", { message: "theirs", all: true });
  await succeed(where, "checkout", { branch: "main" });
  await write(root, { "a.txt": "ours\n" });
  await succeed(where, "commit", { message: "ours", all: true });
  for (const [name, input] of [["merge", { rev: "other" }], ["rebase", { onto: "other" }]]) {
    const ended = await operate(where, name, input);
    assert.deepEqual([ended.end, ended.code, ended.conflicts], ["failed", "conflict", ["a.txt"]], JSON.stringify(ended));
    await message(socket, "git.status.changed", (seen) => seen.data.unfinished === name && seen.data.counts.conflicts === 1);
    await succeed(where, name, { resume: "abort" });
    assert.equal((await done(socket, "git.status", { projectId })).unfinished, undefined);
  }
  assert.equal((await operate(where, "merge", { rev: "other" })).code, "conflict");
  await write(root, { "a.txt": "both\n" });
  await succeed(where, "add", { paths: ["a.txt"] });
  await succeed(where, "merge", { resume: "continue" });
  const { commits } = await done(socket, "git.log", { projectId, limit: 1 });
  assert.equal(commits[0].parents.length, 2);
});

test("a failure says what to do", async (t) => {
  const where = await room(t);
  const remote = await bare(server, { "x.txt": "x\n" });
  await git(where.root, "remote", "add", "origin", `file://${remote}`);
  await git(where.root, "remote", "add", "nowhere", "file:///nowhere/at/all");
  await git(where.root, "remote", "add", "ext", "ext::sh -c touch% MARK");
  const table = [
    ["commit", { message: "nothing" }, "nothing_to_commit"],
    ["checkout", { branch: "none" }, "not_found"],
    ["checkout", { branch: "main", create: true }, "exists"],
    ["add", { paths: ["none.txt"] }, "not_found"],
    ["push", { branch: "main" }, "rejected"],
    ["fetch", { remote: "nowhere" }, "remote_not_found"],
    ["fetch", { remote: "ext" }, "protocol_not_allowed"],
    ["merge", { resume: "abort" }, "nothing_to_resume"],
    ["merge", { rev: "none" }, "not_found"],
    ["worktree_remove", { name: "none" }, "not_found"],
    ["stash", { action: "pop" }, "nothing_to_stash"],
  ];
  for (const [name, input, code] of table) {
    const ended = await operate(where, name, input);
    assert.deepEqual([ended.end, ended.code], ["failed", code], `${name}: ${JSON.stringify(ended)}`);
    assert.ok(ended.message.length > 10);
  }
  await writeFile(join(where.root, ".git/index.lock"), "");
  const locked = await operate(where, "add", { paths: ["."] });
  assert.equal(locked.code, "locked");
  assert.match(locked.message, /^\.git\/index\.lock is there since .*git\.unlock/);
  assert.deepEqual((await done(where.socket, "git.unlock", { projectId: where.projectId })).removed, [".git/index.lock"]);
  await succeed(where, "add", { paths: ["."] });
});

test("an operation is cancelled in its middle, and nothing is left of it", async (t) => {
  const made = await project(server, await server.directory());
  const socket = await follow(t, made);
  const { projectId } = made;
  const remote = await silent(t);
  const { operationId } = await done(socket, "git.clone", { projectId, url: remote.url });
  await until(remote.connected, "git to connect");
  const waiting = await done(socket, "git.clone", { projectId, url: remote.url });
  assert.equal(waiting.queued, true);
  await done(socket, "git.cancel", { projectId, operationId: waiting.operationId });
  await message(socket, "git.operation.cancelled", (seen) => seen.data.operationId === waiting.operationId);
  const held = await refused(socket, "git.unlock", { projectId });
  assert.equal(held.code, "conflict");
  assert.ok(held.message.includes(operationId), held.message);
  assert.equal((await server.http("GET", `/api/projects/${projectId}`, { token })).body.git.operations[operationId].kind, "clone");
  await done(socket, "git.cancel", { projectId, operationId });
  await message(socket, "git.operation.cancelled", (seen) => seen.data.operationId === operationId && seen.by.userId === "root");
  assert.deepEqual(await processes(remote.url), []);
  assert.equal((await refused(socket, "git.cancel", { projectId, operationId })).code, "conflict");
  assert.equal(socket.seen.filter((seen) => END.test(seen.type)).length, 2);
});

test("an operation that runs when the server is killed is ended once by the next start, and git is gone", async (t) => {
  const own = await Server.start({ config: CONFIG });
  t.after(() => own.stop());
  const bearer = await own.admin();
  const { projectId, channel } = await project(own, await own.directory());
  const remote = await silent(t);
  const begun = await own.http("POST", `/api/projects/${projectId}/git/clone`, { token: bearer, body: { url: remote.url } });
  assert.equal(begun.status, 202, JSON.stringify(begun.body));
  await until(remote.connected, "git to connect");
  for (let round = 0; round < 2; round += 1) {
    await own.kill9();
    await own.restart();
  }
  assert.deepEqual(await processes(remote.url), []);
  const history = await own.http("GET", `/api/channels/${channel}/events?after=0&limit=1000`, { token: bearer });
  const ends = history.body.events.filter((event) => END.test(event.type));
  assert.deepEqual(ends.map((event) => [event.data.operationId, event.data.code]), [[begun.body.operationId, "server_stopped"]]);
  assert.deepEqual((await own.http("GET", `/api/projects/${projectId}`, { token: bearer })).body.git.operations, {});
});

test("no program that a repository names is run, by reading or by changing", async (t) => {
  const where = await room(t, { "a.txt": "one\n", ".gitattributes": "*.txt filter=evil diff=evil merge=evil\n" });
  const { socket, projectId, root } = where;
  const mark = join(root, ".git", "MARK");
  const evil = `touch ${mark}`;
  for (const [name, value] of [
    ["core.fsmonitor", evil], ["core.hooksPath", join(root, ".git/hooks")], ["core.sshCommand", evil], ["core.pager", evil],
    ["core.editor", evil], ["core.askPass", evil], ["diff.external", evil], ["diff.evil.command", evil], ["diff.evil.textconv", evil],
    ["filter.evil.clean", evil], ["filter.evil.smudge", evil], ["filter.evil.process", evil], ["filter.evil.required", "true"],
    ["merge.evil.driver", evil], ["gpg.program", evil], ["log.showSignature", "true"], ["pager.log", evil], ["alias.status", `!${evil}`],
    ["credential.helper", `!${evil}`], ["remote.origin.url", "ext::sh -c true"], ["remote.origin.uploadpack", evil],
    ["filter.a=b.clean", evil], ["core.worktree", "/etc"], ["protocol.ext.allow", "always"], ["sequence.editor", evil],
  ]) await git(root, "config", name, value);
  const hooks = ["pre-commit", "commit-msg", "post-commit", "post-checkout", "post-merge", "pre-push", "pre-rebase", "post-index-change", "reference-transaction", "prepare-commit-msg"];
  await mkdir(join(root, ".git/hooks"), { recursive: true });
  for (const hook of hooks) {
    await writeFile(join(root, ".git/hooks", hook), `#!/bin/sh\n${evil}\n`);
    await chmod(join(root, ".git/hooks", hook), 0o755);
  }
  await write(root, { "a.txt": "two\n" });
  for (const [name, input] of [["status", {}], ["diff", {}], ["diff", { from: "HEAD" }], ["log", {}], ["show", { rev: "HEAD" }], ["branches", {}], ["worktrees", {}]]) {
    await done(socket, `git.${name}`, { projectId, ...input });
    await assert.rejects(access(mark), `${name} ran something`);
  }
  assert.deepEqual((await done(socket, "git.status", { projectId })).files.map((file) => file.path), ["a.txt"], "and no other directory is looked at");
  await succeed(where, "checkout", { branch: "other", create: true });
  await succeed(where, "add", { paths: ["."] });
  await succeed(where, "commit", { message: "second" });
  await succeed(where, "checkout", { branch: "main" });
  await succeed(where, "merge", { rev: "other", noFastForward: true });
  await operate(where, "fetch");
  await operate(where, "push", { branch: "main" });
  await succeed(where, "stash", { action: "push" }).catch(() => {});
  await assert.rejects(access(mark), "something was run");
});

test("a repository's hooks are run by operations where that is configured, and by reading never", async (t) => {
  const own = await Server.start({ config: CONFIG.replace("[git]", "[git]\nrepository_programs = true") });
  t.after(() => own.stop());
  const bearer = await own.admin();
  const root = await repository(await own.directory());
  const { projectId, channel } = await project(own, root);
  const socket = await connect(t, own.url, bearer);
  await ask(socket, "subscribe", { channel, since: { seq: 0 } });
  const mark = join(root, ".git/MARK");
  await mkdir(join(root, ".git/hooks"), { recursive: true });
  await writeFile(join(root, ".git/hooks/pre-commit"), `#!/bin/sh\ntouch ${mark}\n`);
  await chmod(join(root, ".git/hooks/pre-commit"), 0o755);
  const monitor = join(root, ".git/MONITOR");
  await git(root, "config", "core.fsmonitor", `touch ${monitor}`);
  await write(root, { "a.txt": "two\n" });
  for (const name of ["status", "diff", "log"]) await done(socket, `git.${name}`, { projectId });
  await assert.rejects(access(monitor), "reading ran something");
  await succeed({ socket, projectId }, "commit", { message: "second", all: true });
  await access(mark);
});

test("a repository outside the project, a dead one and a folder that is gone are refused with the reason", async (t) => {
  const outside = await repository(await server.directory(), { "secret.txt": "s\n" });
  const socket = await connect(t, server.url, token);
  const cases = [
    [async () => {}, "conflict", /no repository/],
    [(root) => writeFile(join(root, ".git"), `gitdir: ${outside}/.git\n`), "conflict", /outside the project/],
    [(root) => symlink(join(outside, ".git"), join(root, ".git")), "conflict", /outside the project/],
    [async (root) => {
      await repository(root);
      await writeFile(join(root, ".git/commondir"), `${outside}/.git\n`);
    }, "conflict", /outside the project/],
    [(root) => write(root, { ".git/HEAD": "garbage", ".git/config": "[[[" }), "conflict", /./],
    [(root) => mkdir(join(root, ".git")), "conflict", /no repository/],
    [(root) => rm(root, { recursive: true }), "not_found", /not there any more/],
  ];
  for (const [make, code, why] of cases) {
    const { projectId, root } = await project(server, await server.directory());
    await make(root);
    for (const [command, input] of [["git.status", {}], ["git.log", {}], ["git.add", { paths: ["."] }]]) {
      const error = await refused(socket, command, { projectId, ...input });
      assert.equal(error.code, code, JSON.stringify(error));
      assert.match(error.message, why);
    }
  }
  const { projectId } = await project(server, outside);
  assert.match((await refused(socket, "git.clone", { projectId, url: "file:///x" })).message, /not empty/);
});

test("nothing that is sent becomes an option or a path outside, and nothing asks for a password", async (t) => {
  const { socket, projectId } = await room(t);
  for (const [command, input, field] of [
    ["git.diff", { from: "--output=/tmp/x" }, "from"],
    ["git.diff", { paths: ["../../etc/passwd"] }, "paths"],
    ["git.diff", { paths: ["a\u0000b"] }, "paths"],
    ["git.log", { rev: "-n1" }, "rev"],
    ["git.show", { rev: "HEAD:a.txt" }, "rev"],
    ["git.checkout", { branch: "--orphan" }, "branch"],
    ["git.add", { paths: ["/etc/passwd"] }, "paths"],
    ["git.add", { paths: [".git/config"] }, "paths"],
    ["git.fetch", { remote: "--upload-pack=touch x" }, "remote"],
    ["git.push", { remote: "ext::sh" }, "remote"],
    ["git.merge", { rev: "-Xours" }, "rev"],
    ["git.clone", { url: "--upload-pack=x" }, "url"],
    ["git.clone", { url: "https://user:secret@host/x" }, "url"],
    ["git.clone", { url: "ssh://-oProxyCommand=x/y" }, "url"],
    ["git.clone", { url: "https://host/x" }, "url"],
    ["git.worktree_add", { name: ".." }, "name"],
  ]) {
    const error = await refused(socket, command, { projectId, ...input });
    assert.equal(error.code, "invalid_data", `${command} ${JSON.stringify(input)}: ${JSON.stringify(error)}`);
    assert.ok(error.fields[field], JSON.stringify(error));
    assert.ok(!JSON.stringify(error).includes("secret"));
  }
});

test("a huge difference is cut at a line and says so", async (t) => {
  const { socket, projectId, root } = await room(t, { "big.txt": "x\n" });
  await write(root, { "big.txt": `${"é".repeat(50)}\n`.repeat(40_000) });
  const diff = await done(socket, "git.diff", { projectId });
  assert.deepEqual([diff.truncated, diff.files[0].added], [true, 40_000]);
  assert.ok(diff.patch.length <= 128 * 1024 && diff.patch.endsWith("\n"));
  await git(root, "commit", "-qam", "big");
  assert.equal((await done(socket, "git.show", { projectId, rev: "HEAD" })).truncated, true);
});

test("whoever may only see a project reads its repository and changes nothing", async (t) => {
  const { projectId, channel } = await room(t);
  const viewer = await connect(t, server.url, await server.token({ user: "eve", grants: [`${channel}=subscribe`] }));
  const stranger = await connect(t, server.url, await server.token({ user: "mallory" }));
  await done(viewer, "git.status", { projectId });
  assert.equal((await refused(viewer, "git.add", { projectId, paths: ["."] })).code, "forbidden");
  for (const command of ["git.status", "git.log", "fs.list", "fs.watch"]) {
    assert.equal((await refused(stranger, command, { projectId })).code, "forbidden", command);
  }
});

test("after a thousand operations no process and no descriptor is left", async (t) => {
  const rooms = await Promise.all(Array.from({ length: 4 }, () => room(t)));
  const work = async (where, times) => {
    for (let n = 0; n < times; n += 1) await succeed(where, "add", { paths: ["."] });
  };
  await Promise.all(rooms.map((where) => work(where, 5)));
  const before = (await descriptors(server.pid)).length;
  await Promise.all(rooms.map((where) => work(where, 250)));
  // A few come and go with connections and readers of the log; what is forgotten would be one for each operation.
  const left = async () => (await descriptors(server.pid)).length <= before + 10;
  await until(left, "the descriptors to be given back");
  assert.deepEqual(await children(server.pid), []);
});
