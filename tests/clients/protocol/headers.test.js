// HTTP around the protocol: subprotocols, and pages of other origins, with credentials.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { notOfTheReference, start } from "./target.js";
import { Line, Poller, address, request } from "./wire.js";

const LISTED = "https://app.example.com";
const OTHER = "https://evil.example.com";

let target;
before(async () => {
  target = await start({ origins: [LISTED, "https://two.example.com"] });
});
after(() => target?.stop());

describe("subprotocols of a WebSocket", () => {
  // RFC 6455, section 4.2.2: one of those that were asked for, or none. The reference takes the first.
  test("the first one that a client asks for is answered, and none where none is asked for", async (t) => {
    for (const [protocols, answered] of [[["one", "two"], "one"], [["only"], "only"], [[], ""]]) {
      const line = await Line.session(t, target, { protocols });
      assert.equal(line.socket.protocol, answered);
    }
  });

  test("an upgrade answers one, too", async (t) => {
    const poller = await Poller.open(target);
    const line = await Line.open(t, target, { parameters: { sid: poller.sid }, protocols: ["one", "two"] });
    assert.equal(line.socket.protocol, "one");
    line.send("2probe");
    assert.equal(await line.next(), "3probe");
  });
});

describe("pages of other origins", () => {
  const allowed = (answer) => [answer.headers.get("access-control-allow-origin"), answer.headers.get("access-control-allow-credentials")];

  test("a listed origin may use the session with credentials: each answer names it, and only it", async () => {
    const headers = { origin: LISTED };
    const opened = await request(target, "GET", {}, { headers });
    const { sid } = JSON.parse(opened.text.slice(1));
    const posted = await request(target, "POST", { sid }, { headers, body: "40" });
    const polled = await request(target, "GET", { sid }, { headers });
    const refused = await request(target, "GET", { sid: "unknown" }, { headers });
    for (const answer of [opened, posted, polled, refused]) {
      assert.deepEqual(allowed(answer), [LISTED, "true"], `${answer.status} ${answer.text}`);
      assert.match(answer.headers.get("vary") ?? "", /origin/i);
    }
  });

  test("the question before a post is answered with credentials", async () => {
    const headers = { origin: LISTED, "access-control-request-method": "POST", "access-control-request-headers": "content-type" };
    const answer = await fetch(address(target, "polling"), { method: "OPTIONS", headers });
    assert.ok([200, 204].includes(answer.status), String(answer.status));
    assert.deepEqual(allowed(answer), [LISTED, "true"]);
    assert.match(answer.headers.get("access-control-allow-methods") ?? "", /POST/);
    assert.match(answer.headers.get("access-control-allow-headers") ?? "", /content-type/i);
  });

  test("an origin that is not listed is named in no answer", async () => {
    for (const origin of [OTHER, `${LISTED}.evil.example.com`, "null", "http://app.example.com", `${LISTED}:8443`]) {
      const headers = { origin };
      const opened = await request(target, "GET", {}, { headers });
      const asked = { ...headers, "access-control-request-method": "POST" };
      const question = await fetch(address(target, "polling"), { method: "OPTIONS", headers: asked });
      for (const answer of [opened, question]) {
        assert.notEqual(answer.headers.get("access-control-allow-origin"), origin);
        assert.notEqual(answer.headers.get("access-control-allow-origin"), "*");
      }
    }
  });

  test("where every origin may, none may with credentials", notOfTheReference("an application has to say so itself"), async (t) => {
    const open = await start({ origins: ["*"] });
    t.after(() => open.stop());
    const answer = await request(open, "GET", {}, { headers: { origin: LISTED } });
    assert.equal(answer.status, 200);
    assert.deepEqual(allowed(answer), ["*", null]);
  });

  test("a WebSocket of a listed origin opens", async (t) => {
    await Line.session(t, target, { headers: { origin: LISTED } });
  });
});
