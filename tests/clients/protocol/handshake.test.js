// Engine.IO 4, the handshake: what is told, and which requests are none.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { LONG, start } from "./target.js";
import { Line, Poller, request } from "./wire.js";

const KEYS = ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"];
const TRANSPORT_UNKNOWN = { code: 0, message: "Transport unknown" };
const SESSION_UNKNOWN = { code: 1, message: "Session ID unknown" };
const BAD_METHOD = { code: 2, message: "Bad handshake method" };
const BAD_REQUEST = { code: 3, message: "Bad request" };
const BAD_VERSION = { code: 5, message: "Unsupported protocol version" };

let target;
before(async () => {
  target = await start();
});
after(() => target?.stop());

async function refused(method, parameters, expected, options) {
  const answer = await request(target, method, parameters, options);
  const shown = `${method} ${JSON.stringify(parameters)}: ${answer.status} ${answer.text}`;
  assert.equal(answer.status, 400, shown);
  assert.equal(answer.json?.code, expected.code, shown);
  assert.ok(answer.json.message.startsWith(expected.message), shown);
}

describe("over polling", () => {
  test("a session opens with its id, the upgrade to a WebSocket, the heartbeat and the largest payload", async () => {
    const answer = await request(target, "GET", { t: "abc" });
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("content-type"), /^text\/plain; ?charset=utf-8$/i);
    assert.equal(answer.text[0], "0");
    const opened = JSON.parse(answer.text.slice(1));
    assert.deepEqual(Object.keys(opened).sort(), KEYS);
    assert.match(opened.sid, /^[\w-]{16,}$/);
    assert.deepEqual(opened.upgrades, ["websocket"]);
    assert.equal(opened.pingInterval, LONG.pingInterval);
    assert.equal(opened.pingTimeout, LONG.pingTimeout);
    assert.ok(Number.isInteger(opened.maxPayload) && opened.maxPayload > 0, String(opened.maxPayload));
  });

  test("no two sessions have the same id", async () => {
    const opened = await Promise.all(Array.from({ length: 20 }, () => Poller.open(target)));
    assert.equal(new Set(opened.map(({ sid }) => sid)).size, 20);
  });

  test("a version of the protocol that is not spoken is refused with its code", async () => {
    for (const EIO of [undefined, "abc", "3", "5", "04"]) await refused("GET", { EIO }, BAD_VERSION);
  });

  test("a transport that is not there is refused with its code", async () => {
    for (const transport of [undefined, "abc", "Polling", "webtransport"]) await refused("GET", { transport }, TRANSPORT_UNKNOWN);
  });

  test("a session opens by GET only", async () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH"]) await refused(method, {}, BAD_METHOD);
  });

  test("a request that names the WebSocket transport and is none is refused", async () => {
    await refused("GET", { transport: "websocket" }, BAD_REQUEST);
  });

  test("an id that nobody has is refused with its code, whatever it looks like", async () => {
    for (const sid of ["unknown", "AAAAAAAAAAAAAAAAAAAA", "a".repeat(3000), "../../x", "\u0000", "toString"]) {
      await refused("GET", { sid }, SESSION_UNKNOWN);
      await refused("POST", { sid }, SESSION_UNKNOWN, { body: "40" });
    }
  });

  test("a session on a WebSocket takes no polls and no posts, and goes on", async (t) => {
    const line = await Line.session(t, target);
    await refused("GET", { sid: line.sid }, BAD_REQUEST);
    await refused("POST", { sid: line.sid }, BAD_REQUEST, { body: `40${JSON.stringify({ token: target.good })}` });
    line.send(`40${JSON.stringify({ token: target.good })}`);
    assert.match(await line.next((frame) => frame !== "2"), /^40\{/);
  });
});

describe("over a WebSocket", () => {
  test("a session opens with its id, the heartbeat and the largest payload, and nothing to upgrade to", async (t) => {
    const { opened } = await Line.session(t, target);
    assert.deepEqual(Object.keys(opened).sort(), KEYS);
    assert.match(opened.sid, /^[\w-]{16,}$/);
    assert.deepEqual(opened.upgrades, []);
    assert.equal(opened.pingInterval, LONG.pingInterval);
    assert.equal(opened.pingTimeout, LONG.pingTimeout);
    assert.ok(Number.isInteger(opened.maxPayload) && opened.maxPayload > 0, String(opened.maxPayload));
  });

  test("a version of the protocol or a transport that is not spoken opens nothing and ends at once", async (t) => {
    const wrong = [{ EIO: undefined }, { EIO: "abc" }, { EIO: "3" }, { transport: undefined }, { transport: "abc" }];
    for (const parameters of wrong) {
      const line = Line.begin(t, target, { parameters });
      const end = await line.ended(1000);
      assert.ok(end.status === 400 || end.code, `${JSON.stringify(parameters)}: ${JSON.stringify(end)}`);
      assert.deepEqual(line.frames, [], JSON.stringify(parameters));
    }
  });

  test("an id that nobody has is refused or ends at once", async (t) => {
    for (const sid of ["unknown", "AAAAAAAAAAAAAAAAAAAA", "a".repeat(3000), "toString"]) {
      const line = Line.begin(t, target, { parameters: { sid } });
      const end = await line.ended(1000);
      assert.ok(end.status === 400 || end.code, JSON.stringify(end));
      assert.deepEqual(line.frames, []);
    }
  });
});
