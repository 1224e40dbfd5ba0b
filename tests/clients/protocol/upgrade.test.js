// Engine.IO 4, the change from polling to a WebSocket: what it takes, and what must not be taken.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { until } from "../server.js";
import { notOfTheReference, start } from "./target.js";
import { Line, Poller, Session, packets, upgrade } from "./wire.js";

let target;
before(async () => {
  target = await start();
});
after(() => target?.stop());

const connecting = () => `40${JSON.stringify({ token: target.good })}`;
const isNoPing = (packet) => packet !== "2";

/** A session on a WebSocket whose client is connected, however it came there. */
async function live(t, transport) {
  const session = await Session.open(t, target, transport);
  await session.connect({ token: target.good });
  return session;
}

/** Asserts that a WebSocket that was opened for a session is refused or ends at once. */
async function turnedAway(line) {
  const end = await line.ended(1000);
  assert.ok(end.status === 400 || end.code, JSON.stringify(end));
}

test("a probe is answered, the waiting poll ends with a noop, and after the upgrade the WebSocket has the session", async (t) => {
  const poller = await Poller.open(target);
  await poller.post(connecting());
  let greeted = "";
  while (!greeted.includes("server.hello")) greeted += (await poller.poll()).text;
  const waiting = poller.poll();
  const line = await Line.open(t, target, { parameters: { sid: poller.sid } });
  line.send("2probe");
  assert.equal(await line.next(), "3probe");
  const ended = await waiting;
  assert.equal(ended.status, 200);
  assert.deepEqual(packets(ended.text).filter(isNoPing), ["6"]);
  line.send("5");
  line.send('427["nothing.like_this"]');
  assert.match(await line.next(isNoPing), /^437\[/);
});

test("a client can change before its CONNECT", async (t) => {
  const session = await Session.open(t, target, "upgraded");
  await session.connect({ token: target.good });
  await session.goesOn();
});

test("what a session was told while it changed comes over the WebSocket, once", async (t) => {
  const poller = await Poller.open(target);
  const line = await Line.open(t, target, { parameters: { sid: poller.sid } });
  line.send("2probe");
  assert.equal(await line.next(), "3probe");
  await poller.post(connecting());
  await poller.post(['421["nothing.like_this"]', '422["nothing.like_this"]']);
  line.send("5");
  line.send('423["nothing.like_this"]');
  const told = [];
  while (!told.some((packet) => packet.startsWith("433["))) told.push(await line.next(isNoPing));
  assert.deepEqual(told.filter((packet) => packet.startsWith("43")).map((packet) => packet.slice(0, 3)), ["431", "432", "433"]);
  assert.match(told[0], /^40\{/);
});

test("a session that has changed takes no polls and no posts, and goes on", async (t) => {
  const session = await live(t, "upgraded");
  assert.equal((await session.poller.poll()).status, 400);
  assert.equal((await session.poller.post('427["nothing.like_this"]')).status, 400);
  assert.equal((await session.poller.post("1")).status, 400);
  await session.goesOn();
});

describe("a second WebSocket", () => {
  for (const transport of ["websocket", "upgraded"]) {
    const differs = transport === "websocket" ? notOfTheReference("it lets a session that began on a WebSocket be taken by another") : {};
    test(`does not take a session away that is on one, nor end it (${transport})`, { timeout: 60_000, ...differs }, async (t) => {
      const session = await live(t, transport);
      for (const words of [[], ["2probe"], ["2probe", "5"], ["5"], ["1"], ['427["nothing.like_this"]']]) {
        const line = Line.begin(t, target, { parameters: { sid: session.sid } });
        line.socket.on("open", () => words.forEach((word) => line.send(word)));
        await turnedAway(line);
        assert.ok(line.frames.every((frame) => frame !== "3probe"), JSON.stringify(line.frames));
        await session.goesOn();
      }
    });
  }

  test("is turned away while the first one probes, and the first one goes on", async (t) => {
    const poller = await Poller.open(target);
    const first = await Line.open(t, target, { parameters: { sid: poller.sid } });
    first.send("2probe");
    assert.equal(await first.next(), "3probe");
    await turnedAway(Line.begin(t, target, { parameters: { sid: poller.sid } }));
    first.send("5");
    first.send(connecting());
    assert.match(await first.next(isNoPing), /^40\{/);
  });
});

describe("a change that is not gone through with", () => {
  for (const words of [["2"], ["2wrong"], ["5"], ["4hello"], ["2probe", "4hello"], ["2probe", "2probe", "1"], [Buffer.from("2probe")]]) {
    test(`ends its WebSocket and leaves the session polling: ${words}`, { timeout: 60_000 }, async (t) => {
      // The reference takes `5` without a probe as an upgrade, as the text does not forbid it.
      const session = await live(t, "polling");
      const line = await Line.open(t, target, { parameters: { sid: session.sid } });
      for (const word of words) line.send(word);
      if (words[0] === "5") return endsOrChanges(session, line);
      await line.ended();
      return session.goesOn();
    });
  }

  test("a WebSocket that dies after its probe leaves the session polling, and another one may try", async (t) => {
    const session = await live(t, "polling");
    for (let n = 0; n < 3; n += 1) {
      const line = await Line.open(t, target, { parameters: { sid: session.sid } });
      line.send("2probe");
      assert.equal(await line.next(), "3probe");
      line.socket.terminate();
      await session.goesOn();
    }
  });
});

/** An upgrade without a probe is either refused or carried out; the session is somewhere, whole. */
async function endsOrChanges(session, line) {
  await until(() => line.end || session.isOver || line.frames.length > 0, "something to happen", 3000).catch(() => {});
  if (line.end) return session.goesOn();
  line.send('427["nothing.like_this"]');
  return assert.match(await line.next(isNoPing), /^437\[/);
}

test("who ends a session ends the WebSocket that probes for it, too", async (t) => {
  const poller = await Poller.open(target);
  const line = await Line.open(t, target, { parameters: { sid: poller.sid } });
  line.send("2probe");
  assert.equal(await line.next(), "3probe");
  await poller.post("1");
  await line.ended(2000);
  await poller.isOver();
});

test("who ends a session that has changed leaves nothing of it: no poll, no other WebSocket", async (t) => {
  const poller = await Poller.open(target);
  const line = await upgrade(t, target, poller.sid);
  line.send(connecting());
  await line.next((frame) => frame.includes("server.hello"));
  line.socket.close();
  await line.ended();
  await until(async () => (await poller.poll()).status === 400, "the session to be over");
  await turnedAway(Line.begin(t, target, { parameters: { sid: poller.sid } }));
});
