// The samples of the pages: each is held by something, and those that can be held without a server are, here.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import Ajv from "ajv/dist/2020.js";

import { kept, root } from "./generated.js";
import { SAMPLES } from "./samples.js";

// docs/EVENTS.md is made of the server's types: its examples are published by tests/it/vocabulary.rs.
const GENERATED = ["docs/EVENTS.md"];

const pages = ["README.md", "CHANGELOG.md"]
  .concat(readdirSync(join(root, "docs"), { recursive: true }).map((name) => join("docs", name)))
  .filter((path) => path.endsWith(".md") && !GENERATED.includes(path));

/** The blocks of a page: what they are said to be, and their text. */
const blocks = (page) => {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language, code]) => ({ language, code }));
};

/** A text without the white space that all of its lines begin with. */
const flush = (text) => {
  const indents = text.split("\n").filter((line) => line.trim()).map((line) => line.match(/^ */)[0].length);
  return text.replaceAll(new RegExp(`^ {${Math.min(...indents)}}`, "gm"), "");
};

/** Whether the lines of a block stand in a text one after the other, however far they are indented. */
const holds = (text, code) => {
  const [lines, wanted] = [text.split("\n"), flush(code).trimEnd().split("\n")];
  return lines.some((_, at) => flush(lines.slice(at, at + wanted.length).join("\n")) === wanted.join("\n"));
};

/** What `tidings check` says against a configuration; nothing where it takes it. */
const complaint = (code) => {
  const home = mkdtempSync(join(tmpdir(), "tidings-samples-"));
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048, publicKeyEncoding: { type: "spki", format: "pem" }, privateKeyEncoding: { type: "pkcs8", format: "pem" } });
  writeFileSync(join(home, "app.pem"), publicKey);
  // Places that only an operator's machine has.
  const config = code.replace("/etc/tidings/app.pem", join(home, "app.pem")).replace("/var/lib/tidings", join(home, "data")).replace('user = "agent"', 'user = "nobody"');
  writeFileSync(join(home, "tidings.toml"), config);
  try {
    execFileSync(process.env.SERVER_BINARY, ["check"], { cwd: home, env: { PATH: process.env.PATH }, stdio: "pipe" });
    return null;
  } catch ({ stderr }) {
    return stderr.toString();
  }
};

const judges = {
  file: ({ file }, { code }) => holds(readFileSync(join(root, file), "utf8"), code) || `${file} has no such lines`,
  test: ({ test }, _, page) => {
    const path = join(root, test);
    const name = page.split("/").at(-1);
    return (existsSync(path) && readFileSync(path, "utf8").includes(name)) || `${test} does not read the page`;
  },
  config: (_, { code }) => complaint(code) ?? true,
  json: ({ json }, { code }) => {
    const { $defs } = JSON.parse(kept("events.schema.json"));
    const ajv = new Ajv({ strict: false, validateFormats: false });
    const validate = ajv.compile({ $ref: `#/$defs/${json}`, $defs });
    return validate(JSON.parse(code)) || ajv.errorsText(validate.errors);
  },
  reason: ({ reason }) => reason.length > 20 || "that is no reason",
};

test("every block of code in the pages is held by something: a file that runs, a test, a check, or a reason", () => {
  const wrong = [];
  for (const page of pages) {
    const [there, held] = [blocks(page), SAMPLES[page] ?? []];
    if (there.length !== held.length) {
      wrong.push(`${page} has ${there.length} blocks of code, and tests/documents/samples.js says what holds ${held.length}`);
      continue;
    }
    there.forEach((block, index) => {
      const [[kind]] = Object.entries(held[index]);
      const judged = judges[kind](held[index], block, page);
      if (judged !== true) wrong.push(`${page}, block ${index + 1} (${block.code.split("\n")[0]}): ${judged}`);
    });
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(Object.keys(SAMPLES).filter((page) => !pages.includes(page)), [], "pages that there are not");
});

test("a configuration that the server does not take is no sample", () => {
  assert.match(complaint('[http]\ncors = ["http://localhost:5173"]\n'), /there is no such key/);
});
