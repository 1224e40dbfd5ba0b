// Socket.IO 5, the way in: CONNECT, its answers, and what comes in its place.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { start } from "./target.js";
import { Session, each } from "./wire.js";

let target;
before(async () => {
  target = await start();
});
after(() => target?.stop());

const isAnswer = (packet) => /^4[04]/.test(packet);

/** Sends a CONNECT and gives what the refusal says. */
async function refusal(session, packet) {
  await session.send(packet);
  const answer = await session.next(isAnswer, "the refusal");
  assert.match(answer, /^44\{/, answer);
  return JSON.parse(answer.slice(2));
}

each(test, "a good token is let in: the socket's id and nothing else, then the hello, before all else", async (t, transport) => {
  const session = await Session.open(t, target, transport);
  await session.send(`40${JSON.stringify({ token: target.good })}`);
  const answer = await session.next(() => true);
  assert.match(answer, /^40\{/);
  const handshake = JSON.parse(answer.slice(2));
  assert.deepEqual(Object.keys(handshake), ["sid"]);
  assert.match(handshake.sid, /^[\w-]{16,}$/);
  const hello = await session.next(() => true);
  assert.equal(JSON.parse(hello.slice(2))[1].type, "server.hello");
});

each(test, "the namespace may be named", async (t, transport) => {
  const session = await Session.open(t, target, transport);
  await session.send(`40/,${JSON.stringify({ token: target.good })}`);
  assert.match(await session.next(isAnswer), /^40\{"sid"/);
});

each(test, "nobody is let in without a good token, and the refusal says why, in words for people and a code for programs", async (t, transport) => {
  const table = [
    ["40", "unauthenticated"],
    ["40{}", "unauthenticated"],
    [`40${JSON.stringify({ token: target.wrong })}`, "unauthenticated"],
    [`40${JSON.stringify({ token: null })}`, "unauthenticated"],
    [`40${JSON.stringify({ token: 5 })}`, "unauthenticated"],
    [`40${JSON.stringify({ token: target.expired })}`, "token_expired"],
    [`40${JSON.stringify({ token: target.revoked })}`, "token_revoked"],
  ];
  for (const [packet, code] of table) {
    const session = await Session.open(t, target, transport);
    const { message, data, ...rest } = await refusal(session, packet);
    assert.equal(message, "Authentication error", packet);
    assert.deepEqual(rest, {}, packet);
    assert.equal(data?.code, code, `${packet}: ${JSON.stringify(data)}`);
    assert.equal(typeof data.message, "string");
    assert.equal(data.retryable, true, "with a new token, as over HTTP");
  }
});

each(test, "whoever was refused may try again on the same session", async (t, transport) => {
  const session = await Session.open(t, target, transport);
  await refusal(session, "40{}");
  await refusal(session, `40${JSON.stringify({ token: target.wrong })}`);
  await session.connect({ token: target.good });
  await session.goesOn();
});

each(test, "a namespace that is not there is refused, with and without a token, and the session stays", async (t, transport) => {
  const session = await Session.open(t, target, transport);
  for (const payload of ["", JSON.stringify({ token: target.good })]) {
    for (const namespace of ["/random", "/admin", "/?token=x"]) {
      await session.send(`40${namespace},${payload}`);
      assert.equal(await session.next(isAnswer), `44${namespace},{"message":"Invalid namespace"}`);
    }
  }
  await session.send("40/random");
  assert.equal(await session.next(isAnswer), '44/random,{"message":"Invalid namespace"}');
  await session.connect({ token: target.good });
  await session.send("40/random,");
  assert.equal(await session.next(isAnswer), '44/random,{"message":"Invalid namespace"}');
  await session.goesOn();
});

each(test, "what comes before a CONNECT and is none ends the connection at once", async (t, transport) => {
  const stayed = [];
  for (const packet of ['42["publish",{}]', '420["publish",{}]', "41", "430[]", '44{"message":"x"}', "4abc", "4", "47", "4-1"]) {
    const session = await Session.open(t, target, transport);
    await session.send(packet).catch(() => {});
    await session.ended(1000).catch(() => stayed.push(packet));
  }
  assert.deepEqual(stayed, [], "the connection stays");
});

each(test, "bytes before a CONNECT end the connection at once", async (t, transport) => {
  const session = await Session.open(t, target, transport);
  await session.send(Buffer.from([1, 2, 3])).catch(() => {});
  await session.ended(2000);
});

each(test, "a CONNECT that cannot be read lets nobody in", async (t, transport) => {
  for (const payload of ["[]", '"x"', "5", "true", "{", '{"token":', "[1]{}"]) {
    const session = await Session.open(t, target, transport);
    await session.send(`40${payload}`).catch(() => {});
    const answer = await session.next(isAnswer, "an answer").catch((error) => {
      assert.match(error.message, /^the session ended/, `${payload}: ${error.message}`);
      return "44";
    });
    assert.match(answer, /^44/, payload);
  }
});

each(test, "a second CONNECT of who is connected ends the connection", async (t, transport) => {
  const session = await Session.open(t, target, transport);
  await session.connect({ token: target.good });
  await session.send(`40${JSON.stringify({ token: target.good })}`).catch(() => {});
  await session.ended(2000);
});
