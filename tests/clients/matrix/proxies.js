// nginx and HAProxy between a client and the server, configured as docs/OPERATIONS.md has it.
//
// Guarantees: the configuration is taken from the page; only where it listens and where the server is are put in. What is
// started is ended with its test.
// It is not a configuration of its own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { until } from "../server.js";

const PAGE = fileURLToPath(new URL("../../../docs/OPERATIONS.md", import.meta.url));

/** The block of a language on the page, with these texts replaced; each must be there. */
async function documented(language, replacements) {
  const page = await readFile(PAGE, "utf8");
  let block = page.match(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``))?.[1];
  assert.ok(block, `the page has a configuration for ${language}`);
  for (const [from, to] of replacements) {
    assert.ok(block.includes(from), `the configuration for ${language} has '${from}'`);
    block = block.replaceAll(from, to);
  }
  return block;
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function started(t, home, port, command, args) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => said.push(bytes));
  const gone = once(child, "exit");
  t.after(async () => {
    child.kill("SIGTERM");
    await gone;
    await rm(home, { recursive: true, force: true });
  });
  const isThere = () => new Promise((resolve) => {
    const probe = net.connect(port, "127.0.0.1");
    probe.on("error", () => resolve(false));
    probe.on("connect", () => {
      probe.destroy();
      resolve(true);
    });
  });
  await until(async () => (await isThere()) || child.exitCode !== null, `${command} to listen`);
  assert.equal(child.exitCode, null, Buffer.concat(said).toString());
  return `http://127.0.0.1:${port}`;
}

/** For `walkWith`: nginx before the server. */
export async function nginx(t, server) {
  const home = await mkdtemp(join(tmpdir(), "tidings-nginx-"));
  const port = await freePort();
  const block = await documented("nginx", [["listen 443 ssl;", `listen 127.0.0.1:${port};`], ["127.0.0.1:4100", `127.0.0.1:${server.port}`]]);
  const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${home}/${name};`);
  const config = `daemon off;\nmaster_process off;\npid ${home}/pid;\nerror_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n${places.join("\n")}\n${block}\n}\n`;
  await writeFile(join(home, "nginx.conf"), config);
  return started(t, home, port, "nginx", ["-p", home, "-e", "stderr", "-c", join(home, "nginx.conf")]);
}

/** For `walkWith`: HAProxy before the server. */
export async function haproxy(t, server) {
  const home = await mkdtemp(join(tmpdir(), "tidings-haproxy-"));
  const port = await freePort();
  const block = await documented("haproxy", [[":443 ssl crt /etc/haproxy/tidings.pem", `127.0.0.1:${port}`], ["127.0.0.1:4100", `127.0.0.1:${server.port}`]]);
  await writeFile(join(home, "haproxy.cfg"), block);
  return started(t, home, port, "haproxy", ["-db", "-f", join(home, "haproxy.cfg")]);
}
