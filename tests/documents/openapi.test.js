// The OpenAPI document, by Redocly's linter.

import assert from "node:assert/strict";
import test from "node:test";

import { createConfig, lintFromString } from "@redocly/openapi-core";

import { declared, kept } from "./generated.js";

/** What is wrong with a document, and what is only advice but taken. */
const problems = async (text) => {
  const config = await createConfig({ extends: ["recommended"] });
  const found = await lintFromString({ source: text, absoluteRef: "openapi.json", config });
  // Nothing that a client could do makes the server's health refuse an answer.
  const healthy = ({ ruleId, location }) => ruleId === "operation-4xx-response" && /^#\/paths\/~1health/.test(location[0]?.pointer);
  return found.filter((problem) => !healthy(problem)).map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`);
};

test("the linter has nothing to say of the OpenAPI document", async () => {
  assert.deepEqual(await problems(kept("openapi.json")), []);
});

test("the linter has nothing to say of the document of a configuration with a domain of its own", async () => {
  assert.deepEqual(await problems(declared("openapi")), []);
});

test("the linter refuses a document with a reference that leads nowhere", async () => {
  const broken = kept("openapi.json").replace("#/components/schemas/ProjectState", "#/components/schemas/Nobody");
  assert.notDeepEqual(await problems(broken), []);
});
