// The walk that every client of the matrix takes, in whatever language: the driver of it, and its judge.
//
// A client is a program that gets its settings as JSON in the variable WALK: `url`, `token`, `wrong` (a token that is
// none), `channel`, `publication` (what it publishes), `live` and `last` (notes), `transport` and `transports`. It says
// one JSON object a line on standard output, in the field `say` what it is:
//   refused     it came with the wrong token: `message` and `data` of the error, `afterMs`
//   hello       it came with the token: `data` of the hello
//   subscribed  after each connect it subscribes from where it is: `answer`
//   note        a message of the channel came: its `n` and `seq`
//   published   at the note `live` it publishes: `answer`
//   done        the note `last` came; it then exits with 0
//
// Guarantees: the server is killed and started again in the middle of each walk; what is judged is what the client said;
// the program is ended with its test.
// It is not a client.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { Server, thing, until } from "../server.js";

const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
/** How long a client may take to end a connection that is refused: python-socketio by polling, whose own close is
 * sometimes never sent, ends with the server's, a second and a half after the refusal. */
const REFUSAL_MS = 5000;
const BEFORE = 250;
const LIVE = 500;
const PUBLISHED = LIVE + 1;
const LAST = 750;
const PATIENCE_MS = 30_000;

/** The names of the transports that a client may be walked over. */
export const KINDS = Object.keys(TRANSPORTS);

/** Starts a program as a client; what it says is taken by `take`. Gives a promise of its exit code. */
export function program(command, args = [], env = {}) {
  return (t, walk, take) => {
    const child = spawn(command, args, {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, LANG: "C.UTF-8", ...env, WALK: JSON.stringify(walk) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    t.after(() => child.kill("SIGKILL"));
    createInterface({ input: child.stdout }).on("line", (line) => take(line));
    createInterface({ input: child.stderr }).on("line", (line) => take(line));
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (code, signal) => resolve(code ?? signal));
    });
  };
}

/** What a client said so far. */
class Told {
  lines = [];
  others = [];

  take(line) {
    let said;
    try {
      said = JSON.parse(line);
    } catch {
      // What a library or a runtime prints for people is shown where a walk fails.
    }
    if (said?.say) this.lines.push(said);
    else this.others = [...this.others.slice(-19), line];
  }

  all(name) {
    return this.lines.filter(({ say }) => say === name);
  }

  async first(name, count = 1) {
    const failure = () => this.all("failed").length > 0 || this.ended !== undefined;
    await until(() => this.all(name).length >= count || failure(), () => this.shown(name), PATIENCE_MS);
    const found = this.all(name)[count - 1];
    if (!found) throw new Error(`the client ended (${this.ended}) without ${this.shown(name)}`);
    return found;
  }

  shown(name) {
    const notes = this.all("note");
    const rest = this.lines.filter(({ say }) => say !== "note").map((line) => JSON.stringify(line));
    return `'${name}': ${notes.length} notes, the last ${notes.at(-1)?.n}; ${rest.join(" ")}; ${this.others.join("\n")}`;
  }
}

/**
 * Walks with a client (`run`, of `program` or the like) over a transport. `through` makes the way to the server, such as a
 * proxy, and gives its address. `lacks` names what the client's library cannot do, which is then not asked of it.
 */
export async function walkWith(t, run, transport, { config = "", through = async (_, server) => server.url, lacks = [] } = {}) {
  const server = await Server.start({ config });
  t.after(() => server.stop());
  const about = thing();
  const walk = {
    url: await through(t, server),
    token: await server.admin(),
    wrong: "nonsense",
    channel: about.channel,
    publication: { channel: about.channel, type: "session.note", data: about.note(PUBLISHED).data },
    live: LIVE,
    last: LAST,
    transport,
    transports: TRANSPORTS[transport],
  };
  await server.publishNotes(about, 1, BEFORE);
  const told = new Told();
  const exit = run(t, walk, (line) => told.take(line)).then((code) => {
    told.ended = code;
    return code;
  });
  await told.first("refused");
  assert.equal((await told.first("hello")).data.protocol, 1);
  const first = await told.first("subscribed");
  assert.equal(first.answer.ok, true, JSON.stringify(first));
  await server.publishNotes(about, BEFORE + 1, LIVE);
  const { answer } = await told.first("published");
  assert.deepEqual({ ok: answer.ok, channel: answer.channel, seq: answer.seq }, { ok: true, channel: about.channel, seq: PUBLISHED });
  await server.kill9();
  await server.restart();
  await server.publishNotes(about, PUBLISHED + 1, LAST);
  await told.first("done");
  assert.equal(await exit, 0, told.shown("an exit with 0"));
  const expected = Array.from({ length: LAST }, (_, n) => n + 1);
  assert.deepEqual(told.all("note").map(({ n }) => n), expected, "the notes are whole and in order");
  assert.deepEqual(told.all("note").map(({ seq }) => seq), expected, "so are their numbers");
  assert.equal(told.all("subscribed").at(-1).answer.recovered, true, told.shown("a recovery"));
  assert.ok(told.all("subscribed").length >= 2, "it came back");
  assert.ok(told.all("hello").length >= 2, "it was greeted again");
  judgeRefusal(told, lacks);
}

function judgeRefusal(told, lacks) {
  const [refused] = told.all("refused");
  if (!lacks.includes("message")) assert.equal(refused.message, "Authentication error", told.shown("the message"));
  if (!lacks.includes("data")) {
    assert.equal(refused.data?.code, "unauthenticated", told.shown("the data of the refusal"));
    assert.equal(refused.data.retryable, true, told.shown("whether it may go well later"));
  }
  assert.ok(refused.afterMs < REFUSAL_MS, `it was refused after ${refused.afterMs} ms`);
}
