// socket.io-client with the headers of a page: its origin, credentials, and headers of its own.
//
// Guarantees: the library sends what an application gives it, in Node, where it may name an origin.
// It is not a browser: Chromium walks with credentials in matrix/slow.js.
import assert from "node:assert/strict";
import { after, before } from "node:test";

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
