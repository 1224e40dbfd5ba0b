// The matrix of foreign clients, those that are quick: socket.io-client in Node, python-socketio.
//
// Guarantees: every client is walked over every transport that it has; where a runtime is missing, its rows say so.
// It is not the slow part: see `slow.js`.
import { describe, test } from "node:test";

import { VERSIONS } from "../client.js";
import { KINDS, program, walkWith } from "./walk.js";

const PYTHON = process.env.CLIENT_PYTHON;
const node = new URL("../node/walk.js", import.meta.url).pathname;
const python = new URL("../python/walk.py", import.meta.url).pathname;

describe("the matrix", { concurrency: 2 }, () => {
  for (const kind of KINDS) {
    for (const version of VERSIONS) {
      test(`socket.io-client ${version} in Node, ${kind}`, { timeout: 120_000 }, (t) =>
        walkWith(t, program(process.execPath, [node], { WALK_VERSION: version }), kind));
    }
    for (const mode of ["sync", "async"]) {
      const missing = !PYTHON && "CLIENT_PYTHON names no interpreter that has python-socketio";
      test(`python-socketio ${mode}, ${kind}`, { timeout: 120_000, skip: missing }, (t) =>
        walkWith(t, program(PYTHON, ["-B", python, mode]), kind));
    }
  }
});
