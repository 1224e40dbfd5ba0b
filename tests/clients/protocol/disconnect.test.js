// Socket.IO 5, the way out and in again: DISCONNECT, what stays, and a new CONNECT on the same transport.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { thing, until } from "../server.js";
import { IS_REFERENCE, SHORT, notOfTheReference, start } from "./target.js";
import { Session, each, isHello } from "./wire.js";

let target;
before(async () => {
  target = await start({ heartbeat: SHORT });
});
after(() => target?.stop());

async function connected(t, transport) {
  const session = await Session.open(t, target, transport);
  const id = await session.connect({ token: target.good });
  return { session, id };
}

each(test, "who disconnects keeps the transport, is pinged on it, and may connect again", async (t, transport) => {
  const { session, id } = await connected(t, transport);
  await session.send("41");
  const before = session.pings;
  await until(() => session.pings > before + 3 || session.isOver, "pings after it left");
  assert.equal(session.isOver, false);
  const again = await session.connect({ token: target.good });
  assert.notEqual(again, id);
  await session.goesOn();
});

async function comesBack(t, transport, leaves) {
  const { session } = await connected(t, transport);
  const about = thing();
  assert.equal((await session.ask("subscribe", about.channel)).ok, true);
  for (let n = 1; n <= 3; n += 1) {
    await leaves(session, `40${JSON.stringify({ token: target.good })}`);
    await session.next((packet) => packet.startsWith("40{"), "being let in again");
    await session.next(isHello, "the hello");
    const published = await session.ask("publish", { channel: about.channel, ...about.note(n) });
    assert.equal(published.ok, true, JSON.stringify(published));
    await session.send('428["nothing.like_this"]');
    const packet = await session.next((one) => one.startsWith("438[") || one.includes('"session.note"'));
    assert.match(packet, /^438\[/, "a subscription of before is still there");
  }
  assert.equal((await session.ask("subscribe", about.channel)).ok, true);
  await session.send(`42${JSON.stringify(["publish", { channel: about.channel, ...about.note(4) }])}`);
  await session.next((packet) => packet.includes('"session.note"'), "a message of the new subscription");
}

each(test, "who disconnects and connects is known and greeted again, with nothing of before", (t, transport) =>
  comesBack(t, transport, async (session, connecting) => {
    await session.send("41");
    await session.isRead();
    await session.send(connecting);
  }));

each(test, "a DISCONNECT and a CONNECT in one go do the same", notOfTheReference("it takes a DISCONNECT a moment after the packet that follows"), (t, transport) =>
  comesBack(t, transport, (session, connecting) => session.send("41", connecting)));

each(test, "who disconnected is not connected: an event ends the connection, and has no effect", async (t, transport) => {
  const { session } = await connected(t, transport);
  const about = thing();
  await session.send("41");
  await session.isRead();
  await session.send(`42${JSON.stringify(["publish", { channel: about.channel, ...about.note(1) }])}`).catch(() => {});
  await session.ended(2000);
  const other = await connected(t, transport);
  const answer = await other.session.ask("subscribe", { channel: about.channel, since: { seq: 0 } });
  assert.equal(answer.seq, 0);
});

each(test, "the server forgets who disconnected, whatever becomes of the transport", { skip: IS_REFERENCE && "it is about Tidings' own figures" }, async (t, transport) => {
  const { session } = await connected(t, transport);
  const figure = async () => Number((await (await fetch(`${target.url}/metrics`)).text()).match(/^tidings_connections (\d+)/m)?.[1]);
  const before = await figure();
  assert.ok(before >= 1);
  await session.send("41");
  await until(async () => (await figure()) < before, "the connection to be forgotten");
  assert.equal(session.isOver, false);
});
