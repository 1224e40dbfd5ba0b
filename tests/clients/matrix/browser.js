// Chromium as a client of the matrix: a page of another origin that walks.
//
// Guarantees: the page comes from a server of its own, so it is of a foreign origin; the browser has a profile of its own
// and is ended with its test.
// It is not a browser test of any page of Tidings.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
];
const file = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Serves the page; gives its origin, and `run` for `walkWith`. */
export async function page(t, version, chromium = "chromium") {
  let current;
  const files = {
    "/": ["text/html", () => readFile(file("../browser/walk.html"))],
    "/steps.js": ["text/javascript", () => readFile(file("../node/steps.js"))],
    "/socket.io.js": ["text/javascript", () => readFile(file(`../node_modules/sio-${version}/dist/socket.io.js`))],
    "/walk.json": ["application/json", async () => JSON.stringify(current.walk)],
  };
  const server = createServer(async (request, response) => {
    if (request.method === "POST") {
      const parts = [];
      for await (const part of request) parts.push(part);
      current.take(Buffer.concat(parts).toString());
      return response.writeHead(204).end();
    }
    const found = files[request.url];
    if (!found) return response.writeHead(404).end();
    return response.writeHead(200, { "content-type": found[0] }).end(await found[1]());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  const run = async (test, walk, take) => {
    const profile = await mkdtemp(join(tmpdir(), "tidings-browser-"));
    const child = spawn(chromium, [...FLAGS, `--user-data-dir=${profile}`, `${origin}/`], { stdio: ["ignore", "ignore", "pipe"] });
    const gone = once(child, "exit");
    const end = async () => {
      child.kill("SIGKILL");
      await gone;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    };
    test.after(end);
    let isDone;
    const done = new Promise((resolve) => {
      isDone = resolve;
    });
    current = {
      walk,
      take: (line) => {
        take(line);
        if (JSON.parse(line).say === "done") isDone();
      },
    };
    // What the browser says of itself is not told: it is long, and never of the page.
    child.stderr.resume();
    return Promise.race([done.then(() => 0), gone.then(([code, signal]) => code ?? signal)]);
  };
  return { origin, run };
}
