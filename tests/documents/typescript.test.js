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
  lib: ["lib.es2022.d.ts"],
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

test("the types of a domain by configuration alone compile, and know its events", () => {
  const home = mkdtempSync(join(tmpdir(), "tidings-types-"));
  writeFileSync(join(home, "tidings.ts"), declared("typescript"));
  const use = `import type { AnyMessage, ChannelOf } from "./tidings";
    export const passed = (message: AnyMessage): boolean =>
      message.type === "build.finished" ? message.data.passed : false;
    export type Heard = ChannelOf<"build:7">["message"]["type"];
    export const heard: Heard = "build.progress";`;
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
