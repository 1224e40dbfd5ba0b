// socket.io-client with the headers of a page: its origin, credentials, and headers of its own.
//
// Guarantees: the library sends what an application gives it, in Node, where it may name an origin.
// It is not a browser: Chromium walks with credentials in matrix/slow.js.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { ask, connect, matrix, open } from "./client.js";
import { Server } from "./server.js";

const LISTED = "https://app.example.com";
const page = (origin, headers = {}) => ({ withCredentials: true, extraHeaders: { origin, ...headers } });

let server;
before(async () => {
  server = await Server.start({ config: `[http]\ncors_origins = ["${LISTED}"]\n` });
});
after(() => server?.stop());

matrix("a listed page connects with credentials and headers of its own", async (t, kind) => {
  const headers = { "x-page": "of mine", authorization: "Basic bm9uc2Vuc2U=", cookie: "theme=dark" };
  const socket = await connect(t, server.url, await server.admin(), { ...kind, ...page(LISTED, headers) });
  const answer = await ask(socket, "subscribe", "session:origins");
  assert.equal(answer.ok, true, JSON.stringify(answer));
});

matrix("a foreign page is refused with 403 before it is asked for its token", async (t, kind) => {
  for (const origin of ["https://evil.example.com", "null"]) {
    const before = await refusals();
    const socket = open(t, server.url, await server.admin(), { ...kind, ...page(origin), reconnection: false });
    const error = await new Promise((resolve, reject) => {
      socket.once("connect", () => reject(new Error("a foreign page was let in")));
      socket.once("connect_error", resolve);
    });
    // A poll that fails says its status; a WebSocket of Node's library says it in its message.
    const said = typeof error.description === "number" ? String(error.description) : error.description?.message;
    assert.match(said ?? error.message, /403/, `${error.message}: ${error.description}`);
    assert.equal((await refusals()) - before, 1);
  }
});

/** How many requests of foreign pages were refused. */
async function refusals() {
  const { body } = await server.http("GET", "/metrics");
  return Number(body.match(/^tidings_handshakes_refused_total\{reason="origin"\} (\d+)$/m)[1]);
}

/** What a development server does with these rules of its `proxy`. */
async function passing(t, rules) {
  const ruleOf = ({ url }) => rules[Object.keys(rules).find((prefix) => url.startsWith(prefix))];
  const onward = (request) => {
    const { target, changeOrigin } = ruleOf(request);
    const headers = changeOrigin ? { ...request.headers, host: new URL(target).host } : request.headers;
    return http.request(target + request.url, { method: request.method, headers });
  };
  const development = http.createServer((request, response) => {
    const next = onward(request).on("error", () => response.destroy());
    next.on("response", (answer) => answer.pipe(response.writeHead(answer.statusCode, answer.headers)));
    request.pipe(next);
  });
  const open = new Set();
  development.on("connection", (socket) => open.add(socket));
  development.on("upgrade", (request, socket) => {
    if (!ruleOf(request).ws) return socket.destroy();
    const next = onward(request).on("error", () => socket.destroy());
    next.on("upgrade", ({ headers }, other, early) => {
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("")}\r\n`);
      socket.write(early);
      for (const [from, to] of [[socket, other], [other, socket]]) from.on("error", () => to.destroy()).pipe(to);
    });
    next.end();
  });
  development.listen(0, "127.0.0.1");
  await once(development, "listening");
  t.after(() => {
    development.close();
    for (const socket of open) socket.destroy();
  });
  return development.address().port;
}

/** The status of a login that a page of this host asks for. */
const login = async (port, host) => {
  const headers = { host, origin: `http://${host}`, "content-type": "application/json" };
  const request = http.request({ port, host: "127.0.0.1", method: "POST", path: "/api/auth/login", headers });
  request.end(JSON.stringify({ username: "nobody", password: "wrong" }));
  const [answer] = await once(request, "response");
  answer.resume();
  return answer.statusCode;
};

test("the proxy of PROTOCOL.md for development lets its pages in, over HTTP, polling and WebSocket", async (t) => {
  const text = await readFile(fileURLToPath(new URL("../../docs/PROTOCOL.md", import.meta.url)), "utf8");
  const [, code] = text.match(/```js\n(const target = [^]*?)```/);
  const config = code.replace("http://127.0.0.1:4100", server.url);
  assert.notEqual(config, code, "the page names the server");
  const { default: { server: { proxy } } } = await import(`data:text/javascript,${encodeURIComponent(config)}`);
  const port = await passing(t, proxy);
  // A page that is opened from another machine, whose origin is no `localhost`.
  const [host, local] = [`laptop.example:${port}`, `localhost:${port}`];
  assert.deepEqual([await login(port, host), await login(port, local)], [401, 401], "asked for the password");
  for (const transport of ["polling", "websocket"]) {
    const socket = await connect(t, `http://127.0.0.1:${port}`, await server.admin(), { transport, ...page(`http://127.0.0.1:${port}`) });
    assert.equal((await ask(socket, "subscribe", "session:origins")).ok, true);
  }
  // Why it passes the page's own `Host` on.
  const changed = await passing(t, { "/api": { ...proxy["/api"], changeOrigin: true } });
  assert.deepEqual([await login(changed, host), await login(changed, local)], [403, 401]);
});
