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

import { Server, until } from "./server.js";

const README = fileURLToPath(new URL("../../README.md", import.meta.url));
const CLIENT = fileURLToPath(new URL("node_modules/sio-4.8", import.meta.url));

async function folder(t) {
  const dir = await mkdtemp(join(tmpdir(), "tidings-readme-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const code = (await readFile(README, "utf8")).match(/```js\n([\s\S]*?)```/)[1];
  await writeFile(join(dir, "watch.mjs"), code);
  await mkdir(join(dir, "node_modules"));
  await symlink(CLIENT, join(dir, "node_modules", "socket.io-client"));
  return dir;
}

test("the README's first subscription shows a real program's output to its end", { timeout: 60_000 }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const dir = await folder(t);
  const env = { ...process.env, SERVER: server.url };
  const { stdout } = await promisify(execFile)("node", ["watch.mjs", server.password], { cwd: dir, env });
  for (const n of [1, 2, 3, 4, 5]) assert.equal(stdout.split(`tick ${n}\n`).length, 2, stdout);
  assert.match(stdout, /\ncompleted 0\n$/);
});

test("the README's watcher outlives a killed server and learns how its session ended", { timeout: 60_000 }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
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
