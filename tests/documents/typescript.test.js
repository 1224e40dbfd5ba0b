// The generated types, by the TypeScript compiler under `strict`.

import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import ts from "typescript";

import { declared, kept, root } from "./generated.js";

const options = {
  strict: true,
  noEmit: true,
  noUnusedLocals: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  isolatedModules: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ES2022,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.es2022.d.ts", "lib.dom.d.ts"],
  // Types of others are theirs to check.
  skipLibCheck: true,
  types: [],
};

/** What the compiler says of these files. */
const complaints = (...files) => {
  const program = ts.createProgram(files, options);
  return ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
};

test("a program that uses the generated types compiles under strict", () => {
  assert.deepEqual(complaints(join(root, "tests/documents/program.ts")), []);
});

test("a typed socket of socket.io-client compiles, with acknowledgements and a switch by channel", () => {
  assert.deepEqual(complaints(join(root, "tests/documents/client.ts")), []);
});

test("no two types have one name, and none is told from another by a number", () => {
  const names = [...kept("tidings.ts").matchAll(/^export (?:interface|type|function) (\w+)/gm)].map(([, name]) => name);
  assert.ok(names.length > 200, "the types are found");
  assert.deepEqual(names.filter((name, index) => names.indexOf(name) !== index), []);
  assert.deepEqual(names.filter((name) => /[0-9_]$/.test(name)), []);
});

test("names of a domain of one's own that would clash are kept apart", () => {
  const types = ["any.message", "any.b_c", "any.b.c", "any.b__c", "any.b_c_log"];
  const log = "{ properties = { log = { \"$ref\" = \"#/$defs/Log\" } }, \"$defs\" = { Log = { type = \"string\" } } }";
  const events = types.map((type) => `[[domains.events]]\ntype = "${type}"\nschema = ${log}\n`);
  const text = declared("typescript", `[[domains]]\nname = "any"\nchannel = "any:{id}"\n${events.join("")}`);
  const home = mkdtempSync(join(tmpdir(), "tidings-types-"));
  writeFileSync(join(home, "tidings.ts"), text);
  assert.deepEqual(complaints(join(home, "tidings.ts")), []);
  const data = types.map((type) => text.split(`"${type}": Durable<"${type}", `)[1].split(">")[0]);
  assert.equal(new Set(data).size, types.length, data.join(" "));
});

test("the types of a domain by configuration alone compile, and know its events", () => {
  const home = mkdtempSync(join(tmpdir(), "tidings-types-"));
  writeFileSync(join(home, "tidings.ts"), declared("typescript"));
  const use = `import type { AnyMessage, ChannelOf, MessageOf, Schema } from "./tidings";
    import { isOf } from "./tidings";
    export const passed = (message: AnyMessage): boolean =>
      message.type === "build.finished" ? message.data.passed : false;
    export type Heard = ChannelOf<"build:7">["message"]["type"];
    export const heard: Heard = "build.progress";
    export const done: Schema["build:{buildId}"]["build.progress"]["done"] = 0.5;
    export const told = (message: AnyMessage): string => {
      if (!isOf("build:{buildId}", message)) return "of something else";
      switch (message.type) {
        case "build.finished": return String(message.data.failures?.map(({ test }) => test));
        case "build.progress": return message.data.done.toFixed(1);
        default: return message satisfies never;
      }
    };
    export const last = (message: MessageOf<"build:7">): number | undefined => message.seq;`;
  writeFileSync(join(home, "use.ts"), use);
  assert.deepEqual(complaints(join(home, "use.ts")), []);
});

test("the compiler refuses a field that an event does not have", () => {
  const home = mkdtempSync(join(tmpdir(), "tidings-types-"));
  writeFileSync(join(home, "tidings.ts"), kept("tidings.ts"));
  writeFileSync(
    join(home, "use.ts"),
    `import type { SessionCompleted } from "./tidings";
     export const code = (data: SessionCompleted) => data.exitcode;`,
  );
  assert.equal(complaints(join(home, "use.ts")).length, 1);
});
