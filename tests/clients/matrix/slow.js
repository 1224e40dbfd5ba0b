// The matrix of foreign clients, those that take long: Java, Go, Rust, Chromium, and the ways through nginx and HAProxy.
//
// Guarantees: every client is walked over every transport that it has; each row names what is missing where it cannot be
// walked. `cargo xtask test --all` installs what they need.
// It is not the quick part: see `clients.js`.
import { describe, test } from "node:test";

import { VERSIONS } from "../client.js";
import { page } from "./browser.js";
import { haproxy, nginx } from "./proxies.js";
import { KINDS, program, walkWith } from "./walk.js";

const { CLIENT_PYTHON, CLIENT_GO, CLIENT_RUST, CLIENT_JAVA, CLIENT_BROWSER, CLIENT_PROXIES } = process.env;
const file = (path) => new URL(path, import.meta.url).pathname;
const node = (version) => program(process.execPath, [file("../node/walk.js")], { WALK_VERSION: version });
const skipped = (variable, name) => !variable && `${name} is set by cargo xtask test --all`;

function row(name, skip, walk) {
  for (const kind of KINDS) test(`${name}, ${kind}`, { timeout: 120_000, skip }, (t) => walk(t, kind));
}

/** A page in the browser, whose origin the server is told. */
async function browse(t, version, kind, options = {}) {
  const { origin, run } = await page(t, version, CLIENT_BROWSER);
  return walkWith(t, run, kind, { ...options, config: `[http]\ncors_origins = ["${origin}"]\n` });
}

describe("the matrix, the slow part", { concurrency: 2 }, () => {
  row("socket.io-client-java 2.1.2", skipped(CLIENT_JAVA, "CLIENT_JAVA"), (t, kind) =>
    walkWith(t, program("java", ["-cp", `${CLIENT_JAVA}/*`, file("../java/Walk.java")]), kind));
  row("zishang520's client for Go 3.0.6", skipped(CLIENT_GO, "CLIENT_GO"), (t, kind) => walkWith(t, program(CLIENT_GO), kind));
  row("rust_socketio 0.6.0", skipped(CLIENT_RUST, "CLIENT_RUST"), (t, kind) => walkWith(t, program(CLIENT_RUST), kind));

  for (const version of VERSIONS) {
    row(`socket.io-client ${version} in Chromium`, skipped(CLIENT_BROWSER, "CLIENT_BROWSER"), (t, kind) => browse(t, version, kind));
  }

  const missing = skipped(CLIENT_PROXIES, "CLIENT_PROXIES");
  row("socket.io-client 4.8 in Node through nginx", missing, (t, kind) => walkWith(t, node("4.8"), kind, { through: nginx }));
  row("socket.io-client 4.8 in Node through HAProxy", missing, (t, kind) => walkWith(t, node("4.8"), kind, { through: haproxy }));
  for (const [name, through] of Object.entries({ nginx, HAProxy: haproxy })) {
    row(`socket.io-client 4.8 in Chromium through ${name}`, missing || skipped(CLIENT_BROWSER, "CLIENT_BROWSER"), (t, kind) =>
      browse(t, "4.8", kind, { through }));
    row(`python-socketio async through ${name}`, missing || skipped(CLIENT_PYTHON, "CLIENT_PYTHON"), (t, kind) =>
      walkWith(t, program(CLIENT_PYTHON, ["-B", file("../python/walk.py"), "async"]), kind, { through }));
  }
});
