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
    /// Only these steps, in their own order; all that are not slow by default.
    #[arg(value_parser = STEPS.map(|step| step.name))]
    steps: Vec<String>,
    /// The slow steps, too: they install a browser, proxies and the tools of other languages.
    #[arg(long)]
    all: bool,
}

struct Step {
    name: &'static str,
    doc: &'static str,
    run: fn() -> Outcome,
    /// It runs only with `--all`, or when it is named.
    slow: bool,
}

impl Step {
    const fn new(name: &'static str, doc: &'static str, run: fn() -> Outcome) -> Self {
        Self { name, doc, run, slow: false }
    }

    const fn slow(name: &'static str, doc: &'static str, run: fn() -> Outcome) -> Self {
        Self { name, doc, run, slow: true }
    }
}

const STEPS: [Step; 15] = [
    Step::new("fmt", "the code is formatted", fmt),
    Step::new("clippy", "no lint warns", clippy),
    Step::new("doc", "the documentation builds without a warning", doc),
    Step::new("build", "the server builds as it is shipped", build),
    Step::new("rust", "the Rust tests pass, those of the documents included", rust),
    Step::new("bench", "the load generator, and every kind of work in small", bench::test),
    Step::new("chaos", "everything that may break, broken in small", chaos::test),
    Step::new("documents", "parsers, a linter and a compiler take what is generated", clients::documents),
    Step::new("openapi", "the server does what its OpenAPI document says", clients::openapi),
    Step::new("js", "socket.io-client, new and old, against the server", clients::js),
    Step::new("python", "python-socketio against the server", clients::python),
    Step::new("matrix", "clients of Node and Python, one walk for each over each transport", clients::matrix),
    Step::slow("foreign", "the same walk in Java, Go, Rust and a browser, and through proxies", clients::foreign),
    Step::slow("control", "the tests of the protocol hold for Node's own server, too", clients::control),
    Step::new("dist", "the tarball for others has what it should", dist::test),
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
    let is_named = arguments.steps.iter().any(|name| name == step.name);
    is_named || (arguments.steps.is_empty() && (arguments.all || !step.slow))
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
    // A test watches it save a file.
    let has_vim = ["vim", "vim.tiny"].iter().any(|name| step::works(name, &["--version"]));
    step::need_if(!has_vim, "vim", &["vim-tiny"])?;
    let server = step::server()?;
    step::run(step::cargo(&["test", "--workspace"]).env(clients::BINARY, server))
}

fn build() -> Outcome {
    step::server().map(drop)
}
