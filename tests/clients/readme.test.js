// The README's first subscription, run as it is printed, against the real server.
//
// Guarantees: the code is read out of README.md, so that page and test cannot part.
// It is not a copy of it.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, symlink, writeFile, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Cable, VERSIONS } from "./client.js";
import { Server, until } from "./server.js";

const README = fileURLToPath(new URL("../../README.md", import.meta.url));
const client = (version) => fileURLToPath(new URL(`node_modules/sio-${version}`, import.meta.url));

// A server, and with its end also that of the folder that the printed code makes for its project.
async function serving(t, options) {
  const server = await Server.start(options);
  t.after(async () => {
    const { body } = await server.http("GET", "/api/projects", { token: await server.admin() });
    await server.stop();
    for (const { root } of body.projects) await rm(root, { recursive: true });
  });
  return server;
}

async function folder(t, version = "4.8") {
  const dir = await mkdtemp(join(tmpdir(), "tidings-readme-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const code = (await readFile(README, "utf8")).match(/```js\n([\s\S]*?)```/)[1];
  await writeFile(join(dir, "watch.mjs"), code);
  await mkdir(join(dir, "node_modules"));
  await symlink(client(version), join(dir, "node_modules", "socket.io-client"));
  return dir;
}

test("the README's first subscription shows a real program's output to its end", { timeout: 60_000 }, async (t) => {
  const server = await serving(t);
  const dir = await folder(t);
  const env = { ...process.env, SERVER: server.url };
  const { stdout } = await promisify(execFile)("node", ["watch.mjs", server.password], { cwd: dir, env });
  for (const n of [1, 2, 3, 4, 5]) assert.equal(stdout.split(`tick ${n}\n`).length, 2, stdout);
  assert.match(stdout, /\ncompleted 0\n$/);
});

test("the README's watcher ends at once where the password is wrong, and says so", { timeout: 60_000 }, async (t) => {
  const server = await serving(t);
  const dir = await folder(t);
  const run = promisify(execFile)("node", ["watch.mjs", "wrong"], { cwd: dir, env: { ...process.env, SERVER: server.url } });
  const { code, stdout, stderr } = await run.then(() => assert.fail("it succeeded"), (error) => error);
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.match(stderr, /Error: .*password/);
});

for (const version of VERSIONS) {
  test(`the README's watcher logs in again once its token's time is over (socket.io-client ${version})`, { timeout: 60_000 }, async (t) => {
    const server = await serving(t, { config: '[auth]\naccess_ttl = "1s"\n' });
    const dir = await folder(t, version);
    const env = { ...process.env, SERVER: server.url };
    const { stdout } = await promisify(execFile)("node", ["watch.mjs", server.password], { cwd: dir, env });
    assert.equal(stdout, "tick 1\ntick 2\ntick 3\ntick 4\ntick 5\ncompleted 0\n", "what the program printed, and nothing of the server's");
  });
}

test("the README's watcher outlives a killed server and learns how its session ended", { timeout: 60_000 }, async (t) => {
  const server = await serving(t);
  const dir = await folder(t);
  const watcher = spawn("node", ["watch.mjs", server.password], { cwd: dir, env: { ...process.env, SERVER: server.url } });
  t.after(() => watcher.kill());
  let seen = "";
  watcher.stdout.on("data", (chunk) => { seen += chunk; });
  await until(() => seen.includes("tick 2\n"), "two ticks");
  await server.kill9();
  await server.restart();
  const [code] = await once(watcher, "exit");
  assert.equal(code, 0, "it comes back, learns of the end and leaves by itself");
  assert.match(seen, /\nerror server_stopped\n$/);
  for (const n of [1, 2]) assert.equal(seen.split(`tick ${n}\n`).length, 2, "once each");
});

test("the README's watcher misses nothing through cuts, a dead cable and a stop of its own", { timeout: 60_000 }, async (t) => {
  const server = await serving(t, { config: "[socket]\nping_interval_ms = 1000\nping_timeout_ms = 1000\n" });
  const [dir, cable] = [await folder(t), await Cable.to(t, server.port)];
  const watcher = spawn("node", ["watch.mjs", server.password], { cwd: dir, env: { ...process.env, SERVER: cable.url } });
  t.after(() => watcher.kill("SIGKILL"));
  let seen = "";
  watcher.stdout.on("data", (chunk) => { seen += chunk; });
  const exit = once(watcher, "exit");
  await until(() => seen.includes("tick 1\n"), "the first tick");
  cable.cut();
  cable.mend();
  await until(() => seen.includes("tick 2\n"), "a tick after the cut");
  cable.goDead();
  await until(() => seen.includes("tick 3\n"), "a tick after the dead cable");
  watcher.kill("SIGSTOP");
  const token = await server.admin();
  const { body } = await server.http("GET", "/api/sessions?limit=1", { token });
  const output = async () => (await server.http("GET", `/api/sessions/${body.sessions[0].id}/output`, { token })).body;
  await until(async () => (await output()).includes("tick 5\n"), "the program's last tick");
  watcher.kill("SIGCONT");
  const [code] = await exit;
  assert.equal(code, 0, seen);
  for (const n of [1, 2, 3, 4, 5]) assert.equal(seen.split(`tick ${n}\n`).length, 2, seen);
  assert.match(seen, /\ncompleted 0\n$/);
});
