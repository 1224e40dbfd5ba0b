// Socket.IO 5: who opens a session, or leaves its namespace, and says nothing is let go after a time that can be configured.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { until } from "../server.js";
import { notOfTheReference, start } from "./target.js";
import { Session, TRANSPORTS } from "./wire.js";

const CONNECT_TIMEOUT_MS = 1000;

let target;
before(async () => {
  target = await start({ connectTimeout: CONNECT_TIMEOUT_MS });
});
after(() => target?.stop());

/** Asserts that a session ends when the time for a CONNECT is over. */
async function endsInTime(session, begun) {
  await session.ended(CONNECT_TIMEOUT_MS * 3);
  const lived = performance.now() - begun;
  assert.ok(lived > CONNECT_TIMEOUT_MS - 100, `it ended after ${lived} ms`);
  assert.ok(lived < CONNECT_TIMEOUT_MS + 1000, `it ended after ${lived} ms`);
}

describe("a session without a CONNECT", { concurrency: 3 }, () => {
  for (const transport of TRANSPORTS) {
    test(`ends when the time for it is over (${transport})`, { timeout: 20_000 }, async (t) => {
      const begun = performance.now();
      await endsInTime(await Session.open(t, target, transport), begun);
    });

    test(`ends when the time is over though it was refused meanwhile (${transport})`, { timeout: 20_000 }, async (t) => {
      const begun = performance.now();
      const session = await Session.open(t, target, transport);
      await session.send("40{}");
      assert.match(await session.next((packet) => packet.startsWith("44")), /Authentication error/);
      await session.send("40/random,");
      await endsInTime(session, begun);
    });

    const differs = notOfTheReference("it keeps a transport whose client left");
    test(`ends when the time after a DISCONNECT is over (${transport})`, { ...differs, timeout: 20_000 }, async (t) => {
      const session = await Session.open(t, target, transport);
      const first = performance.now();
      await session.connect({ token: target.good });
      await session.send("41");
      await session.connect({ token: target.good });
      // The time of the first DISCONNECT does not count any more.
      await until(() => session.isOver || performance.now() - first > CONNECT_TIMEOUT_MS * 1.5, "that time to be over");
      await session.goesOn();
      const begun = performance.now();
      await session.send("41");
      await endsInTime(session, begun);
    });

    test(`stays with one, however long it is silent after it (${transport})`, { timeout: 20_000 }, async (t) => {
      const session = await Session.open(t, target, transport);
      await session.connect({ token: target.good });
      const connected = performance.now();
      await until(() => session.isOver || performance.now() - connected > CONNECT_TIMEOUT_MS * 2, "the time to be over");
      await session.goesOn();
    });
  }
});
