// The samples of the pages that are files of their own, run as they are, and the lines of commands.
//
// Guarantees: the code is that of examples/web, which tests/documents holds against the pages; a line of a command is
// read out of its page.
// It is not the README's watcher: that is readme.test.js.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { follow } from "../../examples/web/files.mjs";
import { view } from "../../examples/web/history.mjs";
import { connected } from "../../examples/web/login.mjs";
import { terminal } from "../../examples/web/terminal.mjs";
import { VERSIONS, connect, open } from "./client.js";
import { Server, until } from "./server.js";

const require = createRequire(import.meta.url);
const headless = require("@xterm/headless");
const PASSWORD = "correct horse battery";

const page = (name) => readFile(fileURLToPath(new URL(`../../${name}`, import.meta.url)), "utf8");

async function serving(t, options) {
  const server = await Server.start(options);
  t.after(() => server.stop());
  return server;
}

/** A project with a folder of its own. */
async function project(t, server) {
  const root = await mkdtemp(join(tmpdir(), "tidings-samples-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const token = await server.admin();
  const { body } = await server.http("POST", "/api/projects", { token, body: { name: "one", root } });
  return { root, projectId: body.id, token };
}

for (const version of VERSIONS) {
  test(`the sample of a login stays logged in until it is revoked (socket.io-client ${version})`, { timeout: 60_000 }, async (t) => {
    const server = await serving(t, { config: '[auth]\naccess_ttl = "3s"\n' });
    const token = await server.admin();
    const made = await server.http("POST", "/api/users", { token, body: { username: "ada", password: PASSWORD, roles: ["viewer"] } });
    const library = require(`sio-${version}`);
    const seen = [];
    let over = 0;
    const socket = await connected({ io: library.io ?? library, url: server.url, username: "ada", password: PASSWORD, ended: () => { over += 1; } });
    t.after(() => socket.close());
    const count = (type) => seen.filter((message) => message.type === type).length;
    socket.on("message", (message) => seen.push(message));
    await until(() => count("auth.expiring") >= 3, "three tokens on one connection");
    assert.equal(count("server.hello"), 1, "the connection is the first one");
    await server.kill9();
    await server.restart();
    await until(() => count("server.hello") === 2, "a new connection, with a fresh token");
    assert.equal(over, 0);
    await server.http("POST", `/api/users/${made.body.id}/revoke`, { token: await server.admin() });
    await until(() => over > 0, "the end of the login");
    assert.equal(over, 1);
  });
}

test("the sample of a login says a wrong password, and connects to nothing", async (t) => {
  const server = await serving(t);
  const io = () => assert.fail("nothing to connect with");
  const wrong = connected({ io, url: server.url, username: "admin", password: "wrong", ended: () => {} });
  await assert.rejects(wrong, { status: 401 });
});

test("the sample of a history has every message once and in order, whichever way it came", { timeout: 60_000 }, async (t) => {
  const server = await serving(t);
  const token = await server.admin();
  const publish = async (from, to) => {
    const events = [];
    for (let n = from; n <= to; n += 1) events.push({ type: "session.note", data: { sessionId: "long", n } });
    await server.http("POST", "/api/events", { token, body: events });
  };
  await publish(1, 130);
  const socket = open(t, server.url, token);
  const get = async (path) => (await server.http("GET", path, { token: await server.admin() })).body;
  const { older, shown } = view({ socket, channel: "session:long", get });
  const numbers = () => shown().map(({ data }) => data.n);
  const upTo = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
  await until(() => numbers().at(-1) === 130, "the newest");
  assert.deepEqual(numbers(), upTo(81, 130), "the newest fifty");
  assert.equal(await older(), true);
  assert.deepEqual(numbers(), upTo(31, 130));
  await publish(131, 140);
  await server.kill9();
  await server.restart();
  await publish(141, 150);
  await until(() => numbers().at(-1) === 150, "what came meanwhile");
  while (await older());
  assert.deepEqual(numbers(), upTo(1, 150));
});

test("the sample of a terminal shows what a program prints, and types", { timeout: 60_000 }, async (t) => {
  const server = await serving(t, { config: '[shell]\ncommand = ["sh"]\n' });
  const { projectId, token } = await project(t, server);
  const socket = await connect(t, server.url, token);
  const terminals = [];
  class Terminal extends headless.Terminal {
    constructor() {
      super({ allowProposedApi: true });
      terminals.push(this);
    }
  }
  terminal({ socket, projectId, Terminal });
  await until(() => terminals.length === 1, "the terminal");
  const screen = () => {
    const { active } = terminals[0].buffer;
    return Array.from({ length: active.length }, (_, line) => active.getLine(line).translateToString(true)).join("\n");
  };
  terminals[0].input("echo $((40 + 2)) is the answer\r");
  await until(() => screen().includes("42 is the answer"), () => screen());
  await server.kill9();
  await server.restart();
  await until(() => terminals[0].options.disableStdin, "the terminal's end, told after a restart");
});

test("the sample of files is told what changes, also after a restart", { timeout: 60_000 }, async (t) => {
  const server = await serving(t);
  const { projectId, root, token } = await project(t, server);
  const socket = open(t, server.url, token);
  follow({ socket, projectId });
  const changed = (path) => socket.seen.some(({ type, data }) => type === "fs.changed" && data.changes.some((change) => change.path === path));
  const write = async (path) => {
    // Until the server looks, nothing is told.
    await until(async () => {
      await writeFile(join(root, path), String(Math.random()));
      return changed(path);
    }, `a change of ${path}`);
  };
  await write("one.txt");
  await server.kill9();
  await server.restart();
  await write("two.txt");
});

test("the origin of the sample may use the server, and another may not", async (t) => {
  const [, config, origin] = (await page("docs/PROTOCOL.md")).match(/```toml\n(\[http\]\ncors_origins = \["(.*)"\]\n)```/);
  const server = await serving(t, { config });
  const asked = async (from) => {
    const headers = { origin: from, "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type" };
    const answer = await fetch(`${server.url}/api/events`, { method: "OPTIONS", headers });
    return answer.headers.get("access-control-allow-origin");
  };
  assert.deepEqual([await asked(origin), await asked("https://pages.example")], [origin, null]);
});

/** The lines of a block that run this program. */
const lines = (text, heading) => {
  const [, block] = text.slice(text.indexOf(heading)).match(/```(?:sh)?\n([\s\S]*?)```/);
  return block.split("\n").filter((line) => line.startsWith("tidings "));
};

test("the lines of the README and of ACCESS.md do on the command line what they say", { timeout: 60_000 }, async (t) => {
  const server = await serving(t);
  await writeFile(join(server.home, "tidings.toml"), `listen = "127.0.0.1:${server.port}"\ndata_dir = "data"\n`);
  const { projectId, token } = await project(t, server);
  const { body } = await server.http("POST", "/api/sessions", { token, body: { projectId, command: ["echo", "hello"] } });
  const commands = [...lines(await page("README.md"), "## From the command line"), ...lines(await page("docs/ACCESS.md"), "## Grants")];
  assert.equal(commands.length, 10);
  let listed = "";
  const path = `${fileURLToPath(new URL(".", `file://${process.env.SERVER_BINARY}`))}:${process.env.PATH}`;
  for (const command of commands) {
    // A session and a token that there are, and a password.
    const line = command.replace("session:ID", body.channel).replace(/revoke ID$/, `revoke ${listed}`);
    const child = spawn("sh", ["-c", `exec ${line}`], { cwd: server.home, env: { PATH: path }, stdio: ["pipe", "pipe", "pipe"] });
    child.stdin.end(`${PASSWORD}\n`);
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => { said += chunk; });
    const exit = once(child, "exit");
    if (line.startsWith("tidings tail")) {
      await until(() => said.includes("hello"), () => said);
      child.kill();
      await exit;
      continue;
    }
    const [code] = await exit;
    assert.equal(code, 0, `${line}: ${said}`);
    if (line === "tidings token list") listed = said.split(" ", 1)[0];
  }
});
