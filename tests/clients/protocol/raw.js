// A WebSocket of bytes: frames that a WebSocket library would not send.
//
// Guarantees: the handshake is right, and everything after it is what the test says.
// It is not a WebSocket library: frames that come are read without a check.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import net from "node:net";

import { until } from "../server.js";
import { address } from "./wire.js";

export const FRAME = { more: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa };
const PATIENCE_MS = 5000;

export class RawLine {
  frames = [];
  #bytes = Buffer.alloc(0);
  hasEnded = false;

  /** Opens a session; its open packet is read. */
  static async open(t, target, headers = {}) {
    const raw = new RawLine();
    const url = new URL(address(target, "websocket"));
    raw.socket = net.connect(Number(url.port), url.hostname);
    t.after(() => raw.socket.destroy());
    raw.socket.on("error", () => {});
    raw.socket.on("close", () => {
      raw.hasEnded = true;
    });
    raw.socket.on("end", () => {
      raw.hasEnded = true;
    });
    const lines = [
      `GET ${url.pathname}${url.search} HTTP/1.1`,
      `host: ${url.host}`,
      "upgrade: websocket",
      "connection: Upgrade",
      "sec-websocket-version: 13",
      `sec-websocket-key: ${randomBytes(16).toString("base64")}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    raw.socket.on("data", (bytes) => raw.#take(bytes));
    raw.socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    const opened = await raw.next(({ payload }) => payload.toString().startsWith("0{"));
    assert.equal(opened.opcode, FRAME.text);
    return raw;
  }

  #take(bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    if (this.head === undefined) {
      const end = this.#bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.head = this.#bytes.subarray(0, end).toString();
      this.#bytes = this.#bytes.subarray(end + 4);
    }
    while (this.#frame());
  }

  /** Takes one whole frame out of what came. */
  #frame() {
    const bytes = this.#bytes;
    if (bytes.length < 2) return false;
    const short = bytes[1] & 0x7f;
    const start = { 126: 4, 127: 10 }[short] ?? 2;
    if (bytes.length < start) return false;
    const lengths = { 126: () => bytes.readUInt16BE(2), 127: () => Number(bytes.readBigUInt64BE(2)) };
    const end = start + (lengths[short]?.() ?? short);
    if (bytes.length < end) return false;
    const payload = bytes.subarray(start, end);
    const frame = { opcode: bytes[0] & 0x0f, payload };
    if (frame.opcode === FRAME.close) frame.code = payload.length < 2 ? 1005 : payload.readUInt16BE(0);
    if (frame.code !== undefined) frame.reason = payload.subarray(2).toString();
    this.frames.push(frame);
    this.#bytes = bytes.subarray(end);
    return true;
  }

  /** A frame as its bytes. */
  encode(opcode, payload, { isLast = true, isMasked = true, reserved = 0 } = {}) {
    const data = Buffer.from(payload);
    const bit = isMasked ? 0x80 : 0;
    const head = Buffer.alloc(data.length < 126 ? 2 : data.length < 65_536 ? 4 : 10);
    head[0] = (isLast ? 0x80 : 0) | reserved | opcode;
    if (head.length === 2) head[1] = bit | data.length;
    else if (head.length === 4) head[1] = bit | 126;
    else head[1] = bit | 127;
    if (head.length === 4) head.writeUInt16BE(data.length, 2);
    if (head.length === 10) head.writeBigUInt64BE(BigInt(data.length), 2);
    if (!isMasked) return Buffer.concat([head, data]);
    const mask = randomBytes(4);
    return Buffer.concat([head, mask, data.map((byte, n) => byte ^ mask[n % 4])]);
  }

  write(bytes) {
    this.socket.write(bytes);
  }

  send(opcode, payload, how) {
    this.write(this.encode(opcode, payload, how));
  }

  /** The next frame that is `wanted`; those before it are dropped. */
  async next(wanted) {
    let found;
    const dropped = [];
    const search = () => {
      while (found === undefined && this.frames.length > 0) {
        const frame = this.frames.shift();
        if (wanted(frame)) found = frame;
        else dropped.push(frame);
      }
      return found !== undefined || this.hasEnded;
    };
    const shown = () => dropped.map(({ opcode, payload }) => `${opcode}:${payload.toString().slice(0, 80)}`).join(" ");
    await until(search, () => `a frame; there came ${shown()}`, PATIENCE_MS);
    if (found === undefined) throw new Error(`the stream ended instead; there came ${shown()} after ${this.head}`);
    return found;
  }

  /** Waits until the server has ended the stream. */
  ended() {
    return until(() => this.hasEnded, "the stream to end", PATIENCE_MS);
  }
}
