// Socket.IO 5, events and acknowledgements: their form, their numbers, their bytes, and what is none.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { thing } from "../server.js";
import { notOfTheReference, start } from "./target.js";
import { Session, each } from "./wire.js";

let target;
before(async () => {
  target = await start();
});
after(() => target?.stop());

/** Asserts that each of these, sent by somebody who is connected, ends the connection; names all that do not. */
async function eachEnds(t, transport, all) {
  const stayed = [];
  for (const sent of all) {
    const session = await connected(t, transport);
    await session.send(...[sent].flat()).catch(() => {});
    await session.ended(1000).catch(() => stayed.push(sent));
  }
  assert.deepEqual(stayed, [], "the connection stays");
}

async function connected(t, transport) {
  const session = await Session.open(t, target, transport);
  await session.connect({ token: target.good });
  return session;
}

each(test, "an event with a number is acknowledged under it, one without is not", async (t, transport) => {
  const session = await connected(t, transport);
  await session.send('42["nothing.like_this"]', '42456["nothing.like_this",1,"2",{"3":[false]}]');
  const packet = await session.next((one) => one.startsWith("43"));
  assert.match(packet, /^43456\[\{"ok":false,/);
});

each(test, "acknowledgements come in the order of the events", async (t, transport) => {
  const session = await connected(t, transport);
  const numbers = Array.from({ length: 100 }, (_, n) => n);
  await session.send(...numbers.map((n) => `42${n}["nothing.like_this"]`));
  for (const n of numbers) {
    const packet = await session.next((one) => one.startsWith("43"));
    assert.ok(packet.startsWith(`43${n}[`), `${packet} instead of ${n}`);
  }
});

each(test, "a number of any size comes back as the number that it is", async (t, transport) => {
  const session = await connected(t, transport);
  for (const id of ["0", "007", "2147483648", "4294967296", "9007199254740991", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1".padEnd(40, "0")]) {
    await session.send(`42${id}["nothing.like_this"]`);
    await session.acknowledged(id);
  }
  await session.goesOn();
});

each(test, "the name of an event may be a number", async (t, transport) => {
  const session = await connected(t, transport);
  for (const name of [1, 0, -5, 1.5, 1e300]) assert.equal((await session.ask(name, "x")).ok, false);
  await session.goesOn();
});

each(test, "an event takes effect without an acknowledgement, and its message is an event", async (t, transport) => {
  const session = await connected(t, transport);
  const about = thing();
  assert.equal((await session.ask("subscribe", about.channel)).ok, true);
  await session.send(`42${JSON.stringify(["publish", { channel: about.channel, ...about.note(1) }])}`);
  const packet = await session.next((one) => one.includes('"session.note"'), "the message");
  const [name, message, ...rest] = JSON.parse(packet.slice(2));
  assert.deepEqual([name, message.type, message.data.n, message.seq, rest], ["message", "session.note", 1, 1, []]);
});

each(test, "the namespace may be named in every packet", async (t, transport) => {
  const session = await connected(t, transport);
  await session.send('42/,7["nothing.like_this"]');
  assert.match(await session.next((one) => one.startsWith("43")), /^437\[/);
});

each(test, "an event with bytes is acknowledged once all of them came", async (t, transport) => {
  const session = await connected(t, transport);
  const placeholder = (num) => ({ _placeholder: true, num });
  await session.send(`451-7${JSON.stringify(["publish", placeholder(0)])}`, Buffer.from([1, 2, 3]));
  assert.equal((await session.acknowledged("7")).answer.ok, false);
  await session.send(`452-8${JSON.stringify(["publish", { channel: "session:1", a: placeholder(0), b: [placeholder(1)] }])}`, Buffer.from([1]), Buffer.alloc(0));
  await session.acknowledged("8");
  await session.goesOn();
});

each(test, "an acknowledgement that nobody asked for does no harm", async (t, transport) => {
  const session = await connected(t, transport);
  await session.send("430[]", '4399["x"]', `461-5${JSON.stringify([{ _placeholder: true, num: 0 }])}`, Buffer.from([1]));
  await session.goesOn();
});

each(test, "what is no packet ends the connection", async (t, transport) => {
  const wrong = [
    "4abc", "47", "49[]", "4", // no such type
    "42{}", '42"x"', "42[]", '42{"0":"x"}', "42[null]", "42[{}]", "42[[]]", // no array that begins with a name
    '42["x"', '42["x"]]', "42['x']", "42[x]", // no JSON
    '42abc["x"]', '42-1["x"]', '421.5["x"]', // no number
    "431{}", '431"x"', // an acknowledgement without an array
    '41{"x":1}', "44{}", // not for a client to say
    '45x-["x"]', '45["x"]', '45-1-["x"]', '451.5-["x"]', '4599999-["x"]', // no count of attachments
    '42/other,["x"]', '42/other,5["x"]', "41/other,", // a namespace that was not joined
  ];
  await eachEnds(t, transport, wrong);
});

each(test, "an event or an acknowledgement without an array ends the connection", notOfTheReference("it takes it as an empty one"), async (t, transport) => {
  await eachEnds(t, transport, ["42", "425", "431"]);
});

each(test, "bytes that no event announced, and text where bytes were announced, end the connection", async (t, transport) => {
  const placeholder = JSON.stringify(["x", { _placeholder: true, num: 0 }]);
  const beyond = JSON.stringify(["x", { _placeholder: true, num: 5 }]);
  await eachEnds(t, transport, [[Buffer.from([1])], [`451-${placeholder}`, '42["x"]'], [`451-${beyond}`, Buffer.from([1])]]);
});
