// Clients that speak something else: socket.io-client 2 (Engine.IO 3), and 4 with the parser of msgpack.
// Each is refused once, in words that a person can read, and nothing of it stays.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";

import { until } from "../server.js";
import { notOfTheReference, start } from "./target.js";
import { Line, Poller, Session, request } from "./wire.js";
import { FRAME, RawLine } from "./raw.js";

const require = createRequire(import.meta.url);

let target;
before(async () => {
  target = await start();
});
after(() => target?.stop());

/** Opens a client with a library; gives it and what it is told, in order. */
function open(t, library, transports, options = {}) {
  const socket = library(target.url, { transports, forceNew: true, reconnection: false, timeout: 5000, ...options });
  const told = [];
  socket.on("connect", () => told.push(["connect"]));
  socket.on("connect_error", (error) => told.push(["connect_error", error]));
  socket.on("disconnect", (reason, details) => told.push(["disconnect", reason, details]));
  t.after(() => socket.close());
  return { socket, told };
}

describe("socket.io-client 2", () => {
  test("the answer to its polling says which versions are spoken", async () => {
    const { status, json } = await request(target, "GET", { EIO: "3", b64: "1" });
    assert.equal(status, 400);
    assert.equal(json.code, 5);
    assert.match(json.message, /^Unsupported protocol version/);
  });

  test("the answer to its polling names the client that is wanted", notOfTheReference("it gives no advice"), async () => {
    const { json } = await request(target, "GET", { EIO: "3", b64: "1" });
    assert.match(json.message, /socket\.io-client 3|version 4 of the engine|EIO=4/i);
  });

  for (const transport of ["polling", "websocket"]) {
    test(`is refused once and never connected (${transport})`, { timeout: 20_000 }, async (t) => {
      const { told } = open(t, require("sio-2.5"), [transport]);
      await until(() => told.length > 0, "a refusal", 3000);
      assert.deepEqual(told.map(([event]) => event), ["connect_error"]);
    });
  }
});

describe("the parser of msgpack", () => {
  for (const transport of ["polling", "websocket"]) {
    test(`its client is never connected, and is told at once (${transport})`, { timeout: 20_000 }, async (t) => {
      const parser = require("socket.io-msgpack-parser");
      const { io } = require("sio-4.8");
      const { told } = open(t, io, [transport], { parser, auth: { token: target.good } });
      await until(() => told.length > 0, "a refusal", 3000);
      assert.ok(told.every(([event]) => event !== "connect"), JSON.stringify(told));
    });
  }

  test("the WebSocket ends with a reason that a person can read", notOfTheReference("it ends without a reason"), async (t) => {
    const raw = await RawLine.open(t, target);
    raw.send(FRAME.binary, [0x83, 0xa4, 0x74, 0x79, 0x70, 0x65, 0x00]);
    const { code, reason } = await raw.next(({ opcode }) => opcode === FRAME.close);
    assert.equal(code, 1003);
    assert.match(reason, /parser/);
  });

  test("the post is refused with a reason that a person can read", notOfTheReference("it ends the session by a later 400"), async () => {
    const poller = await Poller.open(target);
    const answer = await poller.post("bg6R0eXBlAKNuc3ChLw==");
    assert.equal(answer.status, 400);
    assert.equal(answer.json?.code, 3);
    assert.match(answer.json.message, /parser/);
    await poller.isOver();
  });

  for (const transport of ["polling", "websocket"]) {
    test(`leaves nothing behind (${transport})`, { timeout: 20_000 }, async (t) => {
      const session = await Session.open(t, target, transport);
      await session.send(Buffer.from([0x83, 0xa4])).catch(() => {});
      await session.ended(2000);
      const line = Line.begin(t, target, { parameters: { sid: session.sid } });
      const end = await line.ended(1000);
      assert.ok(end.status === 400 || end.code, JSON.stringify(end));
    });
  }
});
