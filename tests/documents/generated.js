// What is generated: the files that are kept, and those of a configuration with a domain of its own.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** A file of `schemas/`, as it is kept. */
export const kept = (name) => readFileSync(join(root, "schemas", name), "utf8");

/** What the built server makes of the example of a domain by configuration alone. */
export const declared = (form) => {
  const home = mkdtempSync(join(tmpdir(), "tidings-documents-"));
  cpSync(join(root, "examples/declared-domain/tidings.toml"), join(home, "tidings.toml"));
  return execFileSync(process.env.SERVER_BINARY, ["schema", form], { cwd: home, env: {}, encoding: "utf8" });
};
