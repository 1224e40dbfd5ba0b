// Engine.IO 4, the heartbeat: when the server pings, and when it lets a silent client go.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { IS_REFERENCE, SHORT, start } from "./target.js";
import { Line, Poller, Session, TRANSPORTS, packets, upgrade } from "./wire.js";

/** Timers of two processes may differ by this much. */
const EARLY_MS = 50;
/** Tidings pings each client at a pace of its own, so that a crowd is not pinged at once: up to a tenth early. */
const SPREAD_MS = IS_REFERENCE ? 0 : SHORT.pingInterval / 10;
/** How late a ping or an end may be on a machine that does other things, too. */
const LATE_MS = 1000;

let target;
before(async () => {
  target = await start({ heartbeat: SHORT });
});
after(() => target?.stop());

const now = () => performance.now();

/** A bare session: `next` gives its next packet, `send` sends one, and `ended` waits for its end without a sign of life. */
async function open(t, transport) {
  if (transport === "websocket") return onLine(await Line.session(t, target), now());
  const poller = await Poller.open(target);
  const opened = now();
  if (transport === "upgraded") return onLine(await upgrade(t, target, poller.sid), opened);
  const waiting = [];
  const next = async () => {
    while (waiting.length === 0) {
      const answer = await poller.poll();
      assert.equal(answer.status, 200, answer.text);
      waiting.push(...packets(answer.text));
    }
    return waiting.shift();
  };
  // Who polls shows a sign of life, so nothing is asked before the time is over.
  const ended = async () => {
    await new Promise((resolve) => setTimeout(resolve, SHORT.pingInterval + SHORT.pingTimeout + LATE_MS - EARLY_MS));
    await poller.isOver();
    return now() - EARLY_MS;
  };
  return { opened, next, send: (packet) => poller.post(packet), ended };
}

function onLine(line, opened) {
  const ended = async () => {
    await line.ended();
    return now();
  };
  return { opened, next: () => line.next(), send: (packet) => line.send(packet), ended };
}

/** Asserts that a client without a sign of life since `begun` was let go neither early nor late. */
async function endsInTime(session, begun) {
  const most = SHORT.pingInterval + SHORT.pingTimeout;
  const ended = await session.ended();
  assert.ok(ended - session.opened > most - EARLY_MS, `it ended ${ended - session.opened} ms after it opened`);
  assert.ok(ended - begun < most + LATE_MS, `it ended ${ended - begun} ms after its last sign of life`);
}

describe("the heartbeat", { concurrency: 3 }, () => {
  for (const transport of TRANSPORTS) {
    test(`pings come after each interval or a tenth of it earlier, the first one too, and pongs keep the session (${transport})`, { timeout: 60_000 }, async (t) => {
      const session = await open(t, transport);
      let last = session.opened;
      for (let n = 1; n <= 3; n += 1) {
        assert.equal(await session.next(), "2");
        const gap = now() - last;
        last = now();
        assert.ok(gap > SHORT.pingInterval - SPREAD_MS - EARLY_MS, `ping ${n} came after ${gap} ms`);
        assert.ok(gap < SHORT.pingInterval + LATE_MS, `ping ${n} came after ${gap} ms`);
        await session.send("3");
      }
    });

    test(`a client that is not connected yet and answers no ping is let go in time (${transport})`, { timeout: 60_000 }, async (t) => {
      const session = await open(t, transport);
      await endsInTime(session, now());
    });

    test(`a connected client that answers no ping is let go in time (${transport})`, { timeout: 60_000 }, async (t) => {
      const session = await open(t, transport);
      await session.send(`40${JSON.stringify({ token: target.good })}`);
      while (!(await session.next()).includes("server.hello"));
      await endsInTime(session, now());
    });

    test(`a pong that nobody asked for does no harm (${transport})`, { timeout: 60_000 }, async (t) => {
      const session = await Session.open(t, target, transport);
      await session.connect({ token: target.good });
      await session.send("3", "3");
      await session.goesOn();
    });
  }
});
