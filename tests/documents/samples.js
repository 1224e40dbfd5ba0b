// Every block of code in the pages, and what keeps it true.
//
// Guarantees: the blocks of a page in their order, each with a file that runs, a test that reads it out of the page,
// a check, or a reason why there is none.
// It is not the test: that is samples.test.js beside it.

/** The block is a part of this file, which runs in a test. */
const file = (path) => ({ file: path });
/** This test reads the page, and runs or parses what stands there. */
const read = (test) => ({ test });
/** `tidings check` takes it as a configuration. */
const config = { config: true };
/** It is JSON of this type. */
const json = (type) => ({ json: type });
/** Nothing keeps it true, for this reason. */
const because = (reason) => ({ reason });

const DRAWING = because("a drawing: nothing runs it");

export const SAMPLES = {
  "README.md": [
    DRAWING,
    because("it is how everything here is built and tested, the CI included"),
    file("examples/web/watch.mjs"),
    read("tests/clients/samples.test.js"),
  ],
  "docs/ACCESS.md": [read("tests/clients/samples.test.js")],
  "docs/ADDING_A_DOMAIN.md": [file("examples/declared-domain/tidings.toml"), read("handlers/lib.rs")],
  "docs/AGENTS.md": Array(10).fill(config),
  "docs/ARCHITECTURE.md": [DRAWING, DRAWING],
  "docs/BENCHMARKS.md": [
    read("xtask/src/main.rs"),
    because("it needs a server under load on a core of its own; `cargo xtask bench` starts the program this way"),
  ],
  "docs/GIT_AND_FILES.md": [file("examples/web/files.mjs"), config],
  "docs/OPERATIONS.md": [
    config,
    because("it makes a user of the system, which only an operator may"),
    // It looks into the unit, and runs its program.
    read("tests/it/operations.rs"),
    ...Array(4).fill(read("tests/it/operations.rs")),
    // They take the blocks from the page and walk clients through both proxies.
    read("tests/clients/matrix/proxies.js"),
    read("tests/clients/matrix/proxies.js"),
  ],
  "docs/PROTOCOL.md": [
    json("Message"),
    because("one line of the sample about logging in, which is a file"),
    file("examples/web/login.mjs"),
    file("examples/web/history.mjs"),
    json("ErrorBody"),
    config,
    // It passes requests and WebSockets on by it.
    read("tests/clients/origins.test.js"),
  ],
  "docs/RELIABILITY.md": [
    read("xtask/src/main.rs"),
    because("a hundred thousand seeds: two thousand are tried in every run"),
  ],
  "docs/TERMINALS.md": [file("examples/web/terminal.mjs")],
  "docs/WORKFLOWS.md": [
    read("tests/clients/workflow.test.js"),
    read("crates/services/workflow/definition/tests.rs"),
    read("tests/it/outputs.rs"),
  ],
};
