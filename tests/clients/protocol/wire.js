// The wire by hand: Engine.IO 4 over polling and over a WebSocket, packet by packet.
//
// Guarantees: nothing is sent that a test did not ask for, but the answers to pings of a `Session`; what was opened is
// closed at the end of its test.
// It is not a client library: it can be wrong on purpose.
import assert from "node:assert/strict";
import { once } from "node:events";

import { WebSocket } from "ws";

import { until } from "../server.js";

const SEPARATOR = "\x1e";
const PATIENCE_MS = 5000;
/** The transports that a session may be on; `upgraded` began with polling. */
export const TRANSPORTS = ["polling", "websocket", "upgraded"];

/** The address of the engine, with these parameters. */
export function address(target, transport, parameters = {}) {
  const query = new URLSearchParams({ EIO: "4", transport });
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) query.delete(name);
    else query.set(name, value);
  }
  return `${target.url}/socket.io/?${query}`;
}

/** An HTTP request to the engine; gives `{status, headers, text}`, and `json` where the answer is some. */
export async function request(target, method, parameters = {}, { body, headers, signal } = {}) {
  const response = await fetch(address(target, "polling", parameters), { method, body, headers, signal });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json");
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
}

/** The packets of a payload. */
export function packets(payload) {
  return payload === "" ? [] : payload.split(SEPARATOR);
}

/** Whether a packet is the hello. */
export function isHello(packet) {
  return typeof packet === "string" && packet.startsWith('42["message",') && JSON.parse(packet.slice(2))[1].type === "server.hello";
}

/** A session over polling, request by request. */
export class Poller {
  static async open(target, parameters = {}) {
    const answer = await request(target, "GET", parameters);
    assert.equal(answer.status, 200, answer.text);
    const poller = new Poller();
    poller.target = target;
    poller.opened = JSON.parse(answer.text.slice(1));
    poller.sid = poller.opened.sid;
    return poller;
  }

  poll(options) {
    return request(this.target, "GET", { sid: this.sid }, options);
  }

  post(payload, options = {}) {
    const body = Array.isArray(payload) ? payload.join(SEPARATOR) : payload;
    return request(this.target, "POST", { sid: this.sid }, { body, ...options });
  }

  /** Asserts that the server does not know the session any more, once one poll was told of its end at most. */
  async isOver() {
    let answer = await this.poll();
    if (answer.status === 200 && packets(answer.text).at(-1) === "1") answer = await this.poll();
    assert.equal(answer.status, 400, `a poll was answered with ${answer.status} ${answer.text}`);
  }
}

/** A WebSocket, frame by frame. */
export class Line {
  frames = [];
  /** How it ended: `{status}` where HTTP refused it, else `{code, reason}`. */
  end = undefined;

  /** Begins to open; `sid` is of a session that shall change to it. */
  static begin(t, target, { parameters = {}, protocols = [], headers = {} } = {}) {
    const line = new Line();
    const url = address(target, "websocket", parameters).replace("http", "ws");
    line.socket = new WebSocket(url, protocols, { headers, perMessageDeflate: false, maxPayload: 0 });
    line.socket.on("message", (data, isBinary) => line.take(isBinary ? data : data.toString()));
    line.socket.on("unexpected-response", (_, response) => {
      response.resume();
      line.end = { status: response.statusCode };
    });
    line.socket.on("error", (error) => {
      line.error = error;
    });
    line.socket.on("close", (code, reason) => {
      line.end ??= { code, reason: reason.toString() };
    });
    t.after(() => line.socket.terminate());
    return line;
  }

  /** Opens one, without reading anything. */
  static async open(t, target, options) {
    const line = Line.begin(t, target, options);
    await until(() => line.socket.readyState === WebSocket.OPEN || line.end, "the WebSocket to open", PATIENCE_MS);
    return line;
  }

  /** Opens a session; its open packet is read. */
  static async session(t, target, options) {
    const line = await Line.open(t, target, options);
    const open = await line.next();
    assert.match(open, /^0\{/);
    line.opened = JSON.parse(open.slice(1));
    line.sid = line.opened.sid;
    return line;
  }

  /** What is done with a frame that comes; a session has it another way. */
  take(frame) {
    this.frames.push(frame);
  }

  send(frame) {
    this.socket.send(frame);
  }

  /** The next frame that is `wanted`; those before it are dropped. */
  async next(wanted = () => true, patience = PATIENCE_MS) {
    let found;
    const search = () => {
      while (found === undefined && this.frames.length > 0) {
        const frame = this.frames.shift();
        if (wanted(frame)) found = frame;
      }
      return found !== undefined || this.end;
    };
    await until(search, "a frame", patience);
    if (found === undefined) throw new Error(`the WebSocket ended instead: ${JSON.stringify(this.end)} ${this.error ?? ""}`);
    return found;
  }

  /** Waits for its end, and gives it. */
  async ended(patience = PATIENCE_MS) {
    await until(() => this.end, () => `the WebSocket to end; there came ${JSON.stringify(this.frames)}`, patience);
    return this.end;
  }
}

/** A session over any transport: packets in, packets out, pings answered. */
export class Session {
  seen = [];
  isOver = false;
  /** How often the server pinged. */
  pings = 0;
  #acknowledged = 1000;

  static async open(t, target, transport) {
    const session = new Session();
    session.transport = transport;
    if (transport === "websocket") {
      session.#on(await Line.session(t, target));
      session.sid = session.line.sid;
      return session;
    }
    session.poller = await Poller.open(target);
    session.sid = session.poller.sid;
    if (transport === "upgraded") {
      session.#on(await upgrade(t, target, session.sid));
    } else {
      session.#poll();
      t.after(() => session.isOver || session.poller.post("1").catch(() => {}));
    }
    return session;
  }

  #on(line) {
    this.line = line;
    line.take = (frame) => this.#take(frame);
    for (const frame of line.frames.splice(0)) this.#take(frame);
    line.socket.on("close", () => {
      this.isOver = true;
    });
  }

  async #poll() {
    while (!this.isOver) {
      const answer = await this.poller.poll().catch(() => ({ status: 0 }));
      if (answer.status !== 200) this.isOver = true;
      else for (const packet of packets(answer.text)) this.#take(packet);
    }
  }

  #take(packet) {
    if (packet === "2") this.#pong();
    else if (packet === "1") this.isOver = true;
    else this.seen.push(packet);
  }

  #pong() {
    this.pings += 1;
    // A session may be over by now; that is for the test to see.
    this.send("3").catch(() => {});
  }

  /** Waits until the server has read what was sent. */
  async isRead() {
    // A post is answered once it was read, a frame of ping once all before it were.
    if (!this.line) return;
    const pong = once(this.line.socket, "pong");
    this.line.socket.ping();
    await pong;
  }

  /** Sends packets of the engine; over polling in one payload. Bytes are sent as such. */
  async send(...all) {
    if (this.line) {
      for (const packet of all) this.line.send(packet);
      return { status: 200 };
    }
    const payload = all.map((packet) => (typeof packet === "string" ? packet : `b${Buffer.from(packet).toString("base64")}`));
    return this.poller.post(payload);
  }

  /** The next packet that is `wanted`; those before it are dropped, and a function says what was awaited. */
  async next(wanted, what = "a packet", patience = PATIENCE_MS) {
    let found;
    const before = [];
    const search = () => {
      while (found === undefined && this.seen.length > 0) {
        const packet = this.seen.shift();
        if (wanted(packet)) found = packet;
        else before.push(packet);
      }
      return found !== undefined || this.isOver;
    };
    await until(search, () => `${what}; there came ${JSON.stringify(before)}`, patience);
    if (found === undefined) throw new Error(`the session ended instead of ${what}; there came ${JSON.stringify(before)}`);
    return found;
  }

  /** Waits for its end. */
  ended(patience = PATIENCE_MS) {
    return until(() => this.isOver, () => `the session to end; there came ${JSON.stringify(this.seen)}`, patience);
  }

  /** Sends a CONNECT with this as its payload, and waits to be let in and greeted. Gives the socket's id. */
  async connect(auth) {
    await this.send(`40${JSON.stringify(auth)}`);
    const answer = await this.next((packet) => /^4[04]/.test(packet), "the answer to CONNECT");
    assert.match(answer, /^40\{/, answer);
    const { sid } = JSON.parse(answer.slice(2));
    await this.next(isHello, "the hello");
    return sid;
  }

  /** Sends an event, and gives the text of the acknowledgement's number and its one argument. */
  async ask(name, ...args) {
    const id = String((this.#acknowledged += 1));
    await this.send(`42${id}${JSON.stringify([name, ...args])}`);
    return (await this.acknowledged(id)).answer;
  }

  /** The acknowledgement with this number, compared as JavaScript reads numbers. */
  async acknowledged(id) {
    const isIt = (packet) => Number(packet.match(/^43([0-9.e+]+)\[/)?.[1]) === Number(id);
    const packet = await this.next(isIt, `the acknowledgement of ${id}`);
    return { packet, answer: JSON.parse(packet.slice(packet.indexOf("[")))[0] };
  }

  /** Asserts that the session lives and its client is connected. */
  async goesOn() {
    assert.equal((await this.ask("subscribe", "session:alive")).ok, true);
  }
}

/** Changes a session that polls to a WebSocket, as a client does. */
export async function upgrade(t, target, sid) {
  const line = await Line.open(t, target, { parameters: { sid } });
  line.send("2probe");
  assert.equal(await line.next(), "3probe");
  line.send("5");
  return line;
}

/** A test for each transport. */
export function each(test, name, options, body = options) {
  for (const transport of TRANSPORTS) {
    const settings = { timeout: 60_000, ...(typeof options === "function" ? {} : options) };
    test(`${name} (${transport})`, settings, (t) => body(t, transport));
  }
}
