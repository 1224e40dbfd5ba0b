// Who knows another's socket.id knows nothing that opens: it is not the engine's id of the session.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { thing, until } from "../server.js";
import { start } from "./target.js";
import { Line, Session, TRANSPORTS, each, request } from "./wire.js";

let target;
before(async () => {
  target = await start();
});
after(() => target?.stop());

async function connected(t, transport) {
  const session = await Session.open(t, target, transport);
  const id = await session.connect({ token: target.good });
  return { session, id };
}

each(test, "the socket's id is another than the session's", async (t, transport) => {
  const { session, id } = await connected(t, transport);
  assert.notEqual(id, session.sid);
});

each(test, "with the socket's id nobody publishes, reads or ends anything", async (t, transport) => {
  const { session, id } = await connected(t, transport);
  const about = thing();
  assert.equal((await session.ask("subscribe", about.channel)).ok, true);
  const publish = `42${JSON.stringify(["publish", { channel: about.channel, ...about.note(1) }])}`;
  for (const [method, body] of [["POST", publish], ["GET"], ["POST", "1"], ["POST", "41"]]) {
    const answer = await request(target, method, { sid: id }, { body });
    assert.equal(answer.status, 400, `${method} ${body}: ${answer.text}`);
    assert.equal(answer.json?.code, 1);
  }
  await session.send('427["nothing.like_this"]');
  const packet = await session.next((one) => one.startsWith("437[") || one.includes("session.note"));
  assert.match(packet, /^437\[/, "somebody else published");
});

each(test, "with the socket's id nobody takes the session over with a WebSocket", async (t, transport) => {
  const { session, id } = await connected(t, transport);
  const line = Line.begin(t, target, { parameters: { sid: id } });
  line.socket.on("open", () => {
    line.send("2probe");
    line.send("5");
  });
  const end = await line.ended(1000);
  assert.ok(end.status === 400 || end.code, JSON.stringify(end));
  await session.goesOn();
});

describe("what one user is refused ends no other", () => {
  for (const transport of TRANSPORTS) {
    test(`ending one session leaves the others (${transport})`, { timeout: 30_000 }, async (t) => {
      const [one, other] = [await connected(t, transport), await connected(t, transport)];
      await one.session.send("1");
      if (one.session.line) one.session.line.socket.close();
      await until(() => one.session.isOver, "the end of the first");
      await other.session.goesOn();
    });
  }
});
