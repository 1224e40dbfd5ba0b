// What is generated: the files that are kept, and those of a configuration with a domain of its own.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** A file of `schemas/`, as it is kept. */
export const kept = (name) => readFileSync(join(root, "schemas", name), "utf8");

const EXAMPLE = join(root, "examples/declared-domain/tidings.toml");

/** What the built server makes of a configuration, by default of the example of a domain by configuration alone. */
export const declared = (form, config = readFileSync(EXAMPLE, "utf8")) => {
  const home = mkdtempSync(join(tmpdir(), "tidings-documents-"));
  writeFileSync(join(home, "tidings.toml"), config);
  return execFileSync(process.env.SERVER_BINARY, ["schema", form], { cwd: home, env: {}, encoding: "utf8" });
};
