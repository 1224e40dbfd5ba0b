// The matrix of foreign clients, those that take long: Java, Go, Rust, Chromium, and the ways through nginx and HAProxy.
//
// Guarantees: every client is walked over every transport that it has; each row names what is missing where it cannot be
// walked. `cargo xtask test --all` installs what they need.
// It is not the quick part: see `clients.js`.
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { describe, test } from "node:test";

import { VERSIONS, open } from "../client.js";
import { page } from "./browser.js";
import { haproxy, nginx } from "./proxies.js";
import { KINDS, program, walkWith } from "./walk.js";
import { Server } from "../server.js";

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

/** How a page of the visitor's own machine fares at a server of this name: what its login, its poll and its WebSocket get. */
async function fares(t, url, host, origin = "http://localhost:5173") {
  const headers = { origin, host };
  const status = async (method, path, body = "") => {
    const asked = request(url + path, { method, headers: { ...headers, "content-type": "application/json", "content-length": body.length } });
    asked.end(body);
    const [answer] = await once(asked, "response");
    answer.resume();
    return answer.statusCode;
  };
  const login = await status("POST", "/api/auth/login", "{}");
  const poll = await status("GET", "/socket.io/?EIO=4&transport=polling");
  const socket = open(t, url, "nonsense", { transport: "websocket", reconnection: false, extraHeaders: headers });
  const error = await new Promise((resolve) => socket.once("connect_error", resolve));
  return [login, poll, error.description?.message ?? error.message];
}

test("pages of this machine pass beside nginx and not through it", { skip: skipped(CLIENT_PROXIES, "CLIENT_PROXIES") }, async (t) => {
  const passes = [422, 200, "Authentication error"];
  const refused = [403, 403, "Unexpected server response: 403"];
  const here = "127.0.0.1:4100";
  for (const [config, isTrusted] of [["", false], ['[http]\ntrusted_proxies = ["127.0.0.1"]\n', true]]) {
    const server = await Server.start({ config });
    t.after(() => server.stop());
    const url = await nginx(t, server);
    assert.deepEqual(await fares(t, url, "tidings.example"), refused, config);
    // What nginx passes on for a browser of this machine is known by the addresses that it names, unless it is trusted.
    assert.deepEqual(await fares(t, url, here), isTrusted ? refused : passes, config);
    assert.deepEqual(await fares(t, server.url, here), isTrusted ? refused : passes, config);
    // A page that nginx serves is of the server's own host.
    assert.deepEqual(await fares(t, url, "tidings.example", "https://tidings.example"), passes, config);
  }
});

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
