// Engine.IO 4 over HTTP long-polling: polls, posts, and their answers.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";

import { thing, until } from "../server.js";
import { IS_REFERENCE, start } from "./target.js";
import { Poller, Session, address, packets, request } from "./wire.js";

let target;
before(async () => {
  target = await start();
});
after(() => target?.stop());

const connecting = () => `40${JSON.stringify({ token: target.good })}`;

/** A poller that is let in, with the packets that came by then and after, pings left out. */
async function connected() {
  const poller = await Poller.open(target);
  poller.seen = [];
  poller.until = async (wanted) => {
    while (!poller.seen.some(wanted)) {
      const answer = await poller.poll();
      assert.equal(answer.status, 200, answer.text);
      poller.seen.push(...packets(answer.text).filter((packet) => packet !== "2"));
    }
    return poller.seen.find(wanted);
  };
  assert.equal((await poller.post(connecting())).text, "ok");
  await poller.until((packet) => packet.includes("server.hello"));
  return poller;
}

test("a post is answered with ok and a poll with text, and no cache may keep either", async () => {
  const opened = await request(target, "GET");
  const poller = await Poller.open(target);
  const posted = await poller.post(connecting());
  const polled = await poller.poll();
  assert.equal(posted.status, 200);
  assert.equal(posted.text, "ok");
  assert.equal(polled.status, 200);
  assert.match(polled.headers.get("content-type"), /^text\/plain; ?charset=utf-8$/i);
  for (const answer of [opened, posted, polled]) assert.equal(answer.headers.get("cache-control"), "no-store");
});

test("a post needs no content type", async () => {
  const poller = await Poller.open(target);
  const answer = await poller.post(Buffer.from(connecting()));
  assert.equal(answer.text, "ok");
  assert.match(packets((await poller.poll()).text).find((packet) => packet !== "2"), /^40\{/);
});

test("several packets of one post take effect in their order, and several wait for one poll", async () => {
  const poller = await connected();
  const all = Array.from({ length: 50 }, (_, n) => `42${n}["nothing.like_this"]`);
  await poller.post(all);
  await poller.until((packet) => packet.startsWith("4349["));
  const answered = poller.seen.filter((packet) => packet.startsWith("43")).map((packet) => packet.match(/^43(\d+)\[/)[1]);
  assert.deepEqual(answered, all.map((_, n) => String(n)));
});

test("a poll waits until there is something to tell", async () => {
  const poller = await connected();
  let answered = false;
  const waiting = poller.poll().then((answer) => {
    answered = true;
    return answer;
  });
  // Another session is asked meanwhile, so that the poll had the time to be answered.
  const other = await connected();
  await other.post('427["nothing.like_this"]');
  await other.until((packet) => packet.startsWith("437["));
  assert.equal(answered, false);
  await poller.post('428["nothing.like_this"]');
  assert.match((await waiting).text, /^438\[/);
});

test("bytes in a post are base64 after a b", async () => {
  const poller = await connected();
  await poller.post(['451-7["nothing.like_this",{"_placeholder":true,"num":0}]', "bAQIDBA==", '428["nothing.like_this"]']);
  await poller.until((packet) => packet.startsWith("438["));
  assert.ok(poller.seen.some((packet) => packet.startsWith("437[")), JSON.stringify(poller.seen));
});

test("text of every kind comes whole", async () => {
  const poller = await connected();
  const about = thing();
  const text = "é€😀\u2028\u0000\u001f \"\\";
  await poller.post([`420${JSON.stringify(["subscribe", about.channel])}`, `421${JSON.stringify(["publish", { channel: about.channel, ...about.note(1), data: { sessionId: about.id, text } }])}`]);
  const message = await poller.until((packet) => packet.includes('"session.note"'));
  assert.equal(JSON.parse(message.slice(2))[1].data.text, text);
});

test("a packet that is none ends the session", async () => {
  for (const payload of ["abc", "9", "7x", "3\x1eabc", "3\x1e"]) {
    const poller = await Poller.open(target);
    await poller.post(payload).catch(() => {});
    await poller.isOver();
  }
});

test("a second poll at the same time is refused, the first is told of the end, and the session is over", async () => {
  for (const poller of [await Poller.open(target), await connected()]) {
    const first = poller.poll();
    const second = new Promise((resolve) => setTimeout(resolve, 50)).then(() => poller.poll());
    const [told, refused] = await Promise.all([first, second]);
    assert.equal(told.status, 200);
    assert.equal(told.text, "1");
    assert.equal(refused.status, 400);
    await poller.isOver();
  }
});

test("a poll that its client gives up ends the session", async () => {
  const poller = await connected();
  const giving = new AbortController();
  const given = assert.rejects(poller.poll({ signal: giving.signal }));
  const other = await connected();
  await other.post('427["nothing.like_this"]');
  await other.until((packet) => packet.startsWith("437["));
  giving.abort();
  await given;
  let answer;
  await until(async () => {
    answer = await Promise.race([poller.poll(), new Promise((resolve) => setTimeout(() => resolve({ status: 0 }), 300))]);
    return answer.status === 400;
  }, () => `the session to be over; a poll was answered ${answer.status}`, 3000);
});

/** A post whose body comes in two parts. Resolves when the server wants its body, to what sends it whole and its answer. */
async function inParts(poller, head, tail) {
  const url = new URL(address(target, "polling", { sid: poller.sid }));
  const length = Buffer.byteLength(head) + Buffer.byteLength(tail);
  const headers = { "content-length": length, "content-type": "text/plain", expect: "100-continue" };
  const post = http.request(url, { method: "POST", headers });
  const answer = new Promise((resolve) => {
    post.on("response", (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode));
    });
    post.on("error", () => resolve(0));
  });
  post.flushHeaders();
  await once(post, "continue");
  post.write(head);
  return { finish: () => post.end(tail), answer };
}

/** Two posts at once, of which the first to begin is the last to be whole. */
async function overlap(poller, first, second) {
  const slow = await inParts(poller, first.slice(0, 5), first.slice(5));
  const quick = poller.post(second).then(({ status }) => status, () => 0);
  await Promise.race([quick, new Promise((resolve) => setTimeout(resolve, 300))]);
  slow.finish();
  return Promise.all([slow.answer, quick]);
}

/** Either both are taken, or the session is ended as the text wants it. */
async function inOrderOrOver(poller, statuses, order) {
  if (statuses.every((status) => status === 200)) return order();
  assert.ok(IS_REFERENCE, `a post was refused: ${statuses}`);
  assert.ok(statuses.includes(400), String(statuses));
  return poller.isOver();
}

test("posts at the same time keep their order, also where the first is slow", async () => {
  const poller = await connected();
  const statuses = await overlap(poller, '421["nothing.like_this"]', '422["nothing.like_this"]');
  await inOrderOrOver(poller, statuses, async () => {
    await poller.until((packet) => packet.startsWith("432["));
    const answered = poller.seen.filter((packet) => packet.startsWith("43"));
    assert.deepEqual(answered.map((packet) => packet.slice(0, 3)), ["431", "432"]);
  });
});

test("an event that is posted beside the CONNECT does not overtake it", async () => {
  const poller = await Poller.open(target);
  const statuses = await overlap(poller, connecting(), '422["nothing.like_this"]');
  await inOrderOrOver(poller, statuses, async () => {
    const seen = [];
    while (!seen.some((packet) => packet.startsWith("432["))) {
      const answer = await poller.poll();
      assert.equal(answer.status, 200, `${answer.text} after ${seen}`);
      seen.push(...packets(answer.text));
    }
    assert.match(seen.find((packet) => packet !== "2"), /^40\{/);
  });
});

test("a payload of the size that was told is taken, and one beyond it is refused as too large", async () => {
  const poller = await connected();
  const one = (n) => `42${n}${JSON.stringify(["nothing.like_this", "x".repeat(9_900)])}`;
  const many = [];
  for (let n = 0, bytes = 0; bytes + 10_000 < poller.opened.maxPayload; n += 1) {
    many.push(one(n));
    bytes += Buffer.byteLength(many.at(-1)) + 1;
  }
  assert.equal((await poller.post(many)).status, 200);
  await poller.until((packet) => packet.startsWith(`43${many.length - 1}[`));
  const answer = await poller.post(`4${"x".repeat(poller.opened.maxPayload)}`).catch(() => ({ status: 413 }));
  assert.equal(answer.status, 413);
});

test("a stray upgrade and a stray noop are passed over", async (t) => {
  const session = await Session.open(t, target, "polling");
  await session.connect({ token: target.good });
  await session.send("5", "6");
  await session.goesOn();
});
