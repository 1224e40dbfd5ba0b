// socket.io-client in three versions and three transports, as an application uses it.
//
// Guarantees: every connection is closed at the end of its test; nothing here reaches into a client.
// It is not a client library: `View` is what the documentation tells an application to do.
import { createRequire } from "node:module";
import net from "node:net";
import { describe, test } from "node:test";

import { until } from "./server.js";

const require = createRequire(import.meta.url);
export const VERSIONS = ["4.8", "4.1", "3.1"];
export const TRANSPORTS = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};
/** Every version over every transport. */
export const KINDS = VERSIONS.flatMap((version) => Object.keys(TRANSPORTS).map((transport) => ({ version, transport })));

/** One test for each kind of client; `together` where most of a test is waiting. */
export function matrix(name, body, { together = false } = {}) {
  describe(name, { concurrency: together ? KINDS.length : 1 }, () => {
    for (const kind of KINDS) {
      test(`${name} (socket.io-client ${kind.version}, ${kind.transport})`, { timeout: 120_000 }, (t) => body(t, kind));
    }
  });
}

/** A client that starts to connect. `auth` is the token, or what `io` takes. */
export function open(t, url, auth, { version = "4.8", transport = "websocket", ...options } = {}) {
  const library = require(`sio-${version}`);
  const io = library.io ?? library;
  const socket = io(url, {
    auth: typeof auth === "string" ? { token: auth } : auth,
    transports: TRANSPORTS[transport],
    forceNew: true,
    reconnectionDelay: 20,
    reconnectionDelayMax: 200,
    ...options,
  });
  socket.seen = [];
  socket.on("message", (message) => socket.seen.push(message));
  t.after(() => socket.close());
  return socket;
}

/** A connected client; over `upgrade`, one that has upgraded. */
export async function connect(t, url, auth, kind = {}) {
  const socket = open(t, url, auth, kind);
  const refused = new Promise((_, reject) => socket.once("connect_error", reject));
  refused.catch(() => {});
  await Promise.race([until(() => socket.connected, "the connection"), refused]);
  if (kind.transport === "upgrade") {
    await until(() => socket.io.engine.transport.name === "websocket", "the upgrade");
  }
  return socket;
}

/** Emits, and gives the answer. */
export function ask(socket, event, ...args) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer to ${event} ${JSON.stringify(args)}`)), 30_000);
    socket.emit(event, ...args, (answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}

/** The first message of a type that came or comes. */
export function message(socket, type, where = () => true) {
  const found = () => socket.seen.find((seen) => seen.type === type && where(seen));
  return until(found, () => `${type}; there came ${JSON.stringify(socket.seen.slice(-5))}`);
}

/** What an application keeps of a channel: its messages and where it is; it resumes at each `connect`. */
export class View {
  constructor(socket, channel) {
    this.channel = channel;
    this.messages = [];
    this.told = [];
    this.answers = [];
    socket.on("message", (message) => this.#take(message));
    socket.on("connect", () => this.#subscribe(socket));
    if (socket.connected) this.#subscribe(socket);
  }

  #subscribe(socket) {
    const since = this.position ?? { seq: 0 };
    socket.emit("subscribe", { channel: this.channel, since }, (answer) => {
      this.answers.push(answer);
      if (answer.ok) this.position ??= { epoch: answer.epoch, seq: 0 };
    });
  }

  #take(message) {
    if (message.channel === this.channel && message.seq !== undefined) {
      this.messages.push(message);
      this.position = { epoch: this.position.epoch, seq: message.seq };
    } else if (message.data?.channel === this.channel && /^channel\.(gap|reset|snapshot|closed)$/.test(message.type)) {
      this.told.push(message);
    }
  }

  get last() {
    return this.messages.at(-1)?.data.n ?? 0;
  }

  /** Waits for note `n`, and for the numbers before it to be whole. */
  async reaches(n) {
    await until(
      () => this.last >= n,
      () => `note ${n}; there came ${this.messages.length}, the last ${this.last}, ${JSON.stringify(this.told)}`,
      60_000,
    );
  }
}

/** A cable to the server that can be cut: connections through it die at once, new ones are refused. */
export class Cable {
  #ends = new Set();
  #whole = true;

  static async to(t, port) {
    const cable = new Cable();
    cable.server = net.createServer((near) => cable.#join(near, port));
    await new Promise((resolve) => cable.server.listen(0, "127.0.0.1", resolve));
    cable.url = `http://127.0.0.1:${cable.server.address().port}`;
    t.after(() => {
      cable.cut();
      cable.server.close();
    });
    return cable;
  }

  #join(near, port) {
    if (!this.#whole) {
      near.destroy();
      return;
    }
    const far = net.connect(port, "127.0.0.1");
    for (const [end, other] of [[near, far], [far, near]]) {
      this.#ends.add(end);
      end.on("error", () => {});
      end.on("close", () => {
        this.#ends.delete(end);
        other.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  }

  cut() {
    this.#whole = false;
    for (const end of this.#ends) end.destroy();
  }

  mend() {
    this.#whole = true;
  }

  /** What goes through now goes nowhere any more, and nobody is told. New connections pass. */
  goDead() {
    for (const end of this.#ends) {
      end.unpipe();
      end.resume();
    }
  }
}
