// The real server under test: started, killed, started again and stopped by the tests.
//
// Guarantees: a data directory and a working directory of its own, port 0, nothing of the tests'
// environment; what it started is ended by `stop`.
// It is not a mock: it runs the built binary that SERVER_BINARY names.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const BINARY = process.env.SERVER_BINARY ?? fileURLToPath(new URL("../../target/debug/tidings", import.meta.url));
const ENVIRONMENT = { PATH: process.env.PATH, LANG: "C.UTF-8" };
const PATIENCE_MS = 30_000;

/** Waits until `condition` gives something true, and gives that. Fails naming `what` was waited for. */
export async function until(condition, what, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${typeof what === "function" ? what() : what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export class Server {
  #child;
  #log = [];

  /** Starts a server. `config` is the text of its tidings.toml. */
  static async start({ config = "" } = {}) {
    const server = new Server();
    server.home = await mkdtemp(join(tmpdir(), "tidings-clients-"));
    await writeFile(join(server.home, "tidings.toml"), config);
    await server.#spawn("127.0.0.1:0");
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The process. */
  get pid() {
    return this.#child.pid;
  }

  get #data() {
    return join(this.home, "data");
  }

  async #spawn(listen) {
    const child = spawn(BINARY, ["serve", "--listen", listen, "--data-dir", this.#data], {
      cwd: this.home,
      env: ENVIRONMENT,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    const listening = new Promise((resolve, reject) => {
      const read = (line) => {
        this.#log = [...this.#log.slice(-199), line];
        const password = line.match(/admin password: (\S+)/);
        if (password) this.password = password[1];
        const address = line.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
        if (address) resolve(Number(address[1]));
      };
      createInterface({ input: child.stdout }).on("line", read);
      createInterface({ input: child.stderr }).on("line", read);
      child.once("error", reject);
      child.once("exit", (code, signal) => reject(new Error(`the server ended (${code ?? signal}):\n${this.log}`)));
    });
    const patience = new AbortController();
    const tooLong = new Promise((_, reject) => {
      const timer = setTimeout(() => reject(new Error(`the server does not listen:\n${this.log}`)), PATIENCE_MS);
      patience.signal.addEventListener("abort", () => clearTimeout(timer));
    });
    try {
      this.port = await Promise.race([listening, tooLong]);
    } finally {
      patience.abort();
      listening.catch(() => {});
    }
  }

  /** The id of its process. */
  get pid() {
    return this.#child.pid;
  }

  /** The newest lines that the server wrote. */
  get log() {
    return this.#log.join("\n");
  }

  async #end(signal) {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  /** Kills the server as the kernel does: nothing is flushed, nobody is told. */
  async kill9() {
    await this.#end("SIGKILL");
  }

  /** Starts the server again on the same port and data. */
  async restart() {
    await this.#spawn(`127.0.0.1:${this.port}`);
  }

  /** Ends the server and removes what it wrote. */
  async stop() {
    await this.#end("SIGKILL");
    await rm(this.home, { recursive: true, force: true });
  }

  /** A new directory beside the server's own, removed with it. */
  directory() {
    return mkdtemp(join(this.home, "root-"));
  }

  /** A token signed with the server's key, by its command line: of a subject, or, with `known`, of a user of the server. */
  async token({ user = "tester", known = false, roles = [], grants = [], ttl = "1h" } = {}) {
    const words = ["token", "--data-dir", this.#data, known ? "--user" : "--subject", user, "--ttl", ttl];
    for (const role of roles) words.push("--role", role);
    for (const grant of grants) words.push("--grant", grant);
    const { stdout } = await promisify(execFile)(BINARY, words, { cwd: this.home, env: ENVIRONMENT });
    return stdout.trim();
  }

  /** A token that may do everything; one for each server, unless a `ttl` asks for another. */
  async admin() {
    this.adminToken ??= await this.token({ user: "root", roles: ["admin"] });
    return this.adminToken;
  }

  /** An HTTP request; gives `{status, body}`. */
  async http(method, path, { token, body } = {}) {
    const headers = {};
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const response = await fetch(this.url + path, { method, headers, body: JSON.stringify(body) });
    const text = await response.text();
    const json = response.headers.get("content-type")?.includes("json");
    return { status: response.status, body: json ? JSON.parse(text) : text };
  }

  /** Logs in over HTTP. */
  async login(username, password) {
    const answer = await this.http("POST", "/api/auth/login", { body: { username, password } });
    if (answer.status !== 200) throw new Error(`no login: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** Publishes events as an administrator, and fails if they are refused. */
  async publish(events) {
    const answer = await this.http("POST", "/api/events", { token: await this.admin(), body: events });
    if (answer.status !== 200) throw new Error(`not published: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body.results;
  }

  /** Publishes the notes `from` to `to` of a thing, again and again with the same ids until each is there. */
  async publishNotes(thing, from, to, each = 50) {
    await this.admin();
    for (let first = from; first <= to; first += each) {
      const notes = [];
      for (let n = first; n < first + each && n <= to; n += 1) notes.push(thing.note(n));
      await until(
        () => this.publish(notes).then(() => true, (error) => {
          if (error instanceof TypeError || /not published: 503/.test(error.message)) return false;
          throw error;
        }),
        `the notes from ${first} to be published`,
      );
    }
  }
}

let things = 0;

/** A channel that no other test uses, and the events that producers outside publish there. */
export function thing() {
  things += 1;
  const id = `thing-${process.pid}-${things}`;
  return {
    id,
    channel: `session:${id}`,
    note: (n) => ({ type: "session.note", data: { sessionId: id, n }, id: `${id}-${n}` }),
  };
}
