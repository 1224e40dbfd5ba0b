//! `cargo xtask test`: everything that has to hold, in order, up to the first failure.
//!
//! Guarantees: it passes from a clean clone with Rust and Node alone; it leaves nothing running and
//! writes only below the target folder and the folders `node_modules` of the tests.
//! What meets the server from outside meets the release binary: what is tested is what is shipped.
//! It is not the fuzzer, and it runs no audit of licences or advisories: those need the network each time.

use std::time::{Duration, Instant};

use crate::{
    bench, chaos, clients, dist,
    step::{self, Outcome},
};

/// Which steps to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these steps, in their own order; all of them by default.
    #[arg(value_parser = STEPS.map(|step| step.name))]
    steps: Vec<String>,
}

struct Step {
    name: &'static str,
    doc: &'static str,
    run: fn() -> Outcome,
}

const STEPS: [Step; 12] = [
    Step { name: "fmt", doc: "the code is formatted", run: fmt },
    Step { name: "clippy", doc: "no lint warns", run: clippy },
    Step { name: "doc", doc: "the documentation builds without a warning", run: doc },
    Step { name: "build", doc: "the server builds as it is shipped", run: build },
    Step { name: "rust", doc: "the Rust tests pass, those of the documents included", run: rust },
    Step { name: "bench", doc: "the load generator, and every kind of work in small", run: bench::test },
    Step { name: "chaos", doc: "everything that may break, broken in small", run: chaos::test },
    Step { name: "documents", doc: "parsers, a linter and a compiler take what is generated", run: clients::documents },
    Step { name: "openapi", doc: "the server does what its OpenAPI document says", run: clients::openapi },
    Step { name: "js", doc: "socket.io-client, new and old, against the server", run: clients::js },
    Step { name: "python", doc: "python-socketio against the server", run: clients::python },
    Step { name: "dist", doc: "the tarball for others has what it should", run: dist::test },
];

/// Runs the steps.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let mut times = Vec::new();
    for step in STEPS.iter().filter(|step| chosen(arguments, step)) {
        println!("\n== {}: {}", step.name, step.doc);
        let start = now();
        (step.run)().map_err(|failure| format!("{}: {failure}", step.name))?;
        times.push((step.name, now().saturating_sub(start)));
    }
    println!();
    for (name, time) in &times {
        println!("{name:>8} {:>7.1} s", time.as_secs_f64());
    }
    println!("{} steps passed", times.len());
    Ok(())
}

fn chosen(arguments: &Arguments, step: &Step) -> bool {
    arguments.steps.is_empty() || arguments.steps.iter().any(|name| name == step.name)
}

#[expect(clippy::disallowed_methods, reason = "this tool has no Clock port, and measures its steps for people")]
fn now() -> Duration {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

fn fmt() -> Outcome {
    step::run(&mut step::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Outcome {
    step::run(&mut step::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn doc() -> Outcome {
    step::run(step::cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn rust() -> Outcome {
    step::need_git()?;
    // The page about backing up is run as it stands.
    step::need("sqlite3", "sqlite3")?;
    let server = step::server()?;
    step::run(step::cargo(&["test", "--workspace"]).env(clients::BINARY, server))
}

fn build() -> Outcome {
    step::server().map(drop)
}
