// The AsyncAPI document, by the parser of the AsyncAPI initiative.

import assert from "node:assert/strict";
import test from "node:test";

import parsing from "@asyncapi/parser";

import { declared, kept } from "./generated.js";

/** What is wrong with a document; advice such as "add a tag" is not. */
const errors = async (text) => {
  const { document, diagnostics } = await new parsing.Parser().parse(text);
  const wrong = diagnostics.filter(({ severity }) => severity === 0);
  return { document, wrong: wrong.map(({ message, path }) => `${path.join("/")}: ${message}`) };
};

test("the parser takes the AsyncAPI document, and finds the messages of a session in it", async () => {
  const { document, wrong } = await errors(kept("asyncapi.json"));
  assert.deepEqual(wrong, []);
  const session = document.channels().get("session");
  assert.equal(session.address(), "session:{sessionId}");
  assert.ok(session.messages().get("SessionStartedMessage"));
});

test("a domain by configuration alone is in a document that the parser takes", async () => {
  const { document, wrong } = await errors(declared("asyncapi"));
  assert.deepEqual(wrong, []);
  assert.equal(document.channels().get("build").address(), "build:{buildId}");
});

test("the parser refuses a document with a reference that leads nowhere", async () => {
  const broken = kept("asyncapi.json").replace("#/components/messages/SessionStartedMessage", "#/components/messages/Nobody");
  assert.notDeepEqual((await errors(broken)).wrong, []);
});
