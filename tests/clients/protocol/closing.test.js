// How sessions end: by a packet of the engine, by a frame of the WebSocket, by what is no frame.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { IS_REFERENCE, start } from "./target.js";
import { Line, Poller, Session, packets } from "./wire.js";
import { FRAME, RawLine } from "./raw.js";

let target;
before(async () => {
  target = await start();
});
after(() => target?.stop());

const connecting = () => `40${JSON.stringify({ token: target.good })}`;
const isNoPing = (packet) => packet !== "2";

describe("over polling", () => {
  test("a close packet answers the waiting poll with a noop, and the session is over", async () => {
    const poller = await Poller.open(target);
    await poller.post(connecting());
    let greeted = "";
    while (!greeted.includes("server.hello")) greeted += (await poller.poll()).text;
    const waiting = poller.poll();
    assert.equal((await poller.post("1")).status, 200);
    const answer = await waiting;
    assert.equal(answer.status, 200);
    assert.deepEqual(packets(answer.text).filter(isNoPing), ["6"]);
    await poller.isOver();
    assert.equal((await poller.post("3")).status, 400);
  });

  test("a close packet before the CONNECT does the same", async () => {
    const poller = await Poller.open(target);
    const waiting = poller.poll();
    await poller.post("1");
    assert.deepEqual(packets((await waiting).text).filter(isNoPing), ["6"]);
    await poller.isOver();
  });

  for (const refused of [false, true]) {
    const name = `a poll at the moment of a close packet is answered, whichever comes first (${refused ? "after a refusal" : "before the CONNECT"})`;
    test(name, { timeout: 60_000 }, async () => {
      for (let n = 0; n < 100; n += 1) {
        const poller = await Poller.open(target);
        if (refused) {
          await poller.post("40{}");
          let told = "";
          while (!told.includes("44{")) told += (await poller.poll()).text;
        }
        const begun = performance.now();
        const both = n % 2 ? [poller.poll(), poller.post("1")] : [poller.post("1"), poller.poll()];
        const answers = await Promise.all(both);
        const poll = answers[n % 2 ? 0 : 1];
        assert.ok(poll.status === 400 || ["6", "2\x1e6", "2"].includes(poll.text), `${n}: ${poll.status} ${poll.text}`);
        await poller.isOver();
        const took = performance.now() - begun;
        assert.ok(took < 2000, `${n}: a poll was held for ${took} ms`);
      }
    });
  }
});

describe("over a WebSocket", () => {
  for (const connected of [false, true]) {
    // The reference answers a close packet on a WebSocket by nothing; its heartbeat ends the session.
    const skip = IS_REFERENCE ? { skip: "the reference waits for its heartbeat" } : {};
    test(`a close packet ends it at once (${connected ? "connected" : "before the CONNECT"})`, skip, async (t) => {
      const line = await Line.session(t, target);
      if (connected) {
        line.send(connecting());
        await line.next((frame) => frame.includes("server.hello"));
      }
      line.send("1");
      await line.ended(1000);
    });
  }

  test("a close frame is answered by one with its code, and then the stream ends", async (t) => {
    // Without a code, none or the normal one is answered.
    for (const [payload, codes] of [[[0x03, 0xe8], [1000]], [[0x03, 0xe9], [1001]], [[0x0f, 0xa0, 0x68, 0x69], [4000]], [[], [1000, 1005]]]) {
      const raw = await RawLine.open(t, target);
      raw.send(FRAME.close, payload);
      const frame = await raw.next(({ opcode }) => opcode === FRAME.close);
      assert.ok(codes.includes(frame.code), `${frame.code} instead of ${codes}`);
      await raw.ended();
    }
  });

  test("a ping frame is answered by a pong frame with the same bytes, also between the parts of a message", async (t) => {
    const raw = await RawLine.open(t, target);
    raw.send(FRAME.ping, "beat");
    assert.equal((await raw.next(({ opcode }) => opcode === FRAME.pong)).payload.toString(), "beat");
    const [head, tail] = [connecting().slice(0, 9), connecting().slice(9)];
    raw.send(FRAME.text, head, { isLast: false });
    raw.send(FRAME.ping, "within");
    assert.equal((await raw.next(({ opcode }) => opcode === FRAME.pong)).payload.toString(), "within");
    raw.send(FRAME.more, tail.slice(0, 4), { isLast: false });
    raw.send(FRAME.more, tail.slice(4));
    assert.match((await raw.next(({ payload }) => /^4[04]/.test(payload))).payload.toString(), /^40\{/);
  });

  test("frames come through however the stream cuts them, and in whatever length they are written", async (t) => {
    const raw = await RawLine.open(t, target);
    for (const byte of raw.encode(FRAME.text, connecting())) {
      raw.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
    await raw.next(({ payload }) => payload.includes("server.hello"));
    const filler = (bytes) => `42${bytes}${JSON.stringify(["nothing.like_this", "x".repeat(bytes)])}`;
    raw.write(Buffer.concat([10, 200, 70_000].map((bytes) => raw.encode(FRAME.text, filler(bytes)))));
    for (const bytes of [10, 200, 70_000]) await raw.next(({ payload }) => payload.toString().startsWith(`43${bytes}[`));
  });

  // RFC 6455, sections 5 and 7.4.1.
  const wrong = {
    "a frame without a mask": [1002, (raw) => raw.send(FRAME.text, "3", { isMasked: false })],
    "a reserved bit": [1002, (raw) => raw.send(FRAME.text, "3", { reserved: 0x40 })],
    "an unknown opcode": [1002, (raw) => raw.send(0x3, "3")],
    "an unknown control frame": [1002, (raw) => raw.send(0xb, "3")],
    "a control frame in parts": [1002, (raw) => raw.send(FRAME.ping, "x", { isLast: false })],
    "a control frame of 126 bytes": [1002, (raw) => raw.send(FRAME.ping, "x".repeat(126))],
    "the rest of a message that never began": [1002, (raw) => raw.send(FRAME.more, "x")],
    "a message within another": [1002, (raw) => {
      raw.send(FRAME.text, "4", { isLast: false });
      raw.send(FRAME.text, "3");
    }],
    "a close frame of one byte": [1002, (raw) => raw.send(FRAME.close, [3])],
    "a close code that is not to be sent": [1002, (raw) => raw.send(FRAME.close, [0x03, 0xee])],
    "text that is not UTF-8": [1007, (raw) => raw.send(FRAME.text, [0x34, 0xff, 0xfe])],
    "a reason that is not UTF-8": [1007, (raw) => raw.send(FRAME.close, [0x03, 0xe8, 0xff])],
  };
  for (const [what, [code, act]] of Object.entries(wrong)) {
    test(`${what} ends it with ${code}`, async (t) => {
      const raw = await RawLine.open(t, target);
      act(raw);
      assert.equal((await raw.next(({ opcode }) => opcode === FRAME.close)).code, code);
      await raw.ended();
    });
  }

  for (const connected of [false, true]) {
    test(`a message larger than is taken ends it with 1009 (${connected ? "connected" : "before the CONNECT"})`, async (t) => {
      const raw = await RawLine.open(t, target);
      if (connected) {
        raw.send(FRAME.text, connecting());
        await raw.next(({ payload }) => payload.includes("server.hello"));
      }
      raw.send(FRAME.text, "4".repeat(5_000_000));
      assert.equal((await raw.next(({ opcode }) => opcode === FRAME.close)).code, 1009);
      await raw.ended();
    });
  }

  test("a length that is only told ends it with 1009, before anything of it came", async (t) => {
    for (const length of [5_000_000n, 2n ** 62n]) {
      const raw = await RawLine.open(t, target);
      const head = Buffer.alloc(14);
      head.writeUInt8(0x81, 0);
      head.writeUInt8(0xff, 1);
      head.writeBigUInt64BE(length, 2);
      raw.write(head);
      assert.equal((await raw.next(({ opcode }) => opcode === FRAME.close)).code, 1009);
      await raw.ended();
    }
  });

  test("a message that grows part by part beyond what is taken ends it with 1009", async (t) => {
    const raw = await RawLine.open(t, target);
    raw.send(FRAME.text, "4".repeat(60_000), { isLast: false });
    for (let n = 0; n < 80; n += 1) raw.send(FRAME.more, "4".repeat(60_000), { isLast: false });
    assert.equal((await raw.next(({ opcode }) => opcode === FRAME.close)).code, 1009);
  });

  test("a packet that is none ends it", async (t) => {
    for (const text of ["abc", "9", "x", "-1", ""]) {
      const line = await Line.session(t, target);
      line.send(text);
      await line.ended(1000);
    }
  });

  test("a stray upgrade and a stray noop are passed over", async (t) => {
    const session = await Session.open(t, target, "websocket");
    await session.send("5");
    await session.connect({ token: target.good });
    await session.send("6", "5");
    await session.goesOn();
  });
});
