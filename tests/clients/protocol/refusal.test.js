// Refusals at CONNECT that are Tidings' own: too many connections, and a version of the wire that it does not speak.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { notOfTheReference, start } from "./target.js";
import { Session, each } from "./wire.js";

const ownLimits = notOfTheReference("it has no such limits");

let target;
let roomy;
before(async () => {
  [target, roomy] = [await start({ socket: { max_connections: 1 } }), await start()];
});
after(() => Promise.all([target?.stop(), roomy?.stop()]));

/** Sends a CONNECT that is refused, and gives what the refusal says. */
async function refusal(session, auth) {
  await session.send(`40${JSON.stringify(auth)}`);
  const answer = await session.next((packet) => /^4[04]/.test(packet), "the refusal");
  assert.match(answer, /^44\{/, answer);
  return JSON.parse(answer.slice(2));
}

each(test, "a version of the wire that is not spoken is refused for good", ownLimits, async (t, transport) => {
  const session = await Session.open(t, roomy, transport);
  const { message, data } = await refusal(session, { token: roomy.good, protocol: 99 });
  assert.match(message, /protocol/);
  assert.deepEqual([data?.code, data?.retryable], ["bad_request", false]);
});

test("one connection too many is refused as overloaded, and may come back", ownLimits, async (t) => {
  const [first, second] = [await Session.open(t, target, "polling"), await Session.open(t, target, "polling")];
  await first.connect({ token: target.good });
  const { data } = await refusal(second, { token: target.good });
  assert.deepEqual([data?.code, data?.retryable], ["overloaded", true]);
  await first.send("1");
  await first.ended();
  await second.connect({ token: target.good });
});
