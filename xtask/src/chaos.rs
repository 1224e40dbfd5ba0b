//! `cargo xtask chaos`: breaks the server in every way that the chaos harness knows, seed after seed.
//!
//! Guarantees: the server and the harness are built first, unless a program is given; the run fails on any
//! hole, double, disorder, unanswered command or gap that nobody was told of.
//! It judges nothing itself: `tidings-chaos` in the workspace `bench` does.

use std::{path::PathBuf, process::Command};

use crate::{
    outside,
    step::{self, Outcome},
};

/// What to break, how hard, and with which seeds.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these parts, or faults of them, with commas: jitter, redeploy, stalls, disk, rubbish, panics.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Clients; a redeploy has two and a half times as many. 2,000 by default.
    #[arg(long)]
    clients: Option<usize>,
    /// How long connections are cut; the other faults take a part of it. 1 by default.
    #[arg(long)]
    minutes: Option<f64>,
    /// The seed; by chance otherwise, and told.
    #[arg(long)]
    seed: Option<u64>,
    /// So many seeds in a row, from that one on.
    #[arg(long)]
    seeds: Option<u64>,
    /// This program instead of the release binary, which is built otherwise.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Also writes the table as Markdown to a file.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Fails when a fault could not be made on this machine.
    #[arg(long)]
    strict: bool,
    /// Everything in small: some thirty clients and a few seconds for each fault.
    #[arg(long)]
    quick: bool,
}

/// Builds what is needed, and runs the harness.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let programs = outside::build(arguments.binary.as_deref(), &["tidings-chaos"], arguments.quick)?;
    let mut command = Command::new(programs.bench.join("tidings-chaos"));
    command.arg("--binary").arg(programs.tidings).arg("--scratch").arg(programs.scratch.join("chaos"));
    // What is shipped cannot be told to panic: for that there is another build.
    if arguments.binary.is_none() && (arguments.only.is_empty() || arguments.only.iter().any(|it| it == "panics")) {
        command.arg("--with-faults").arg(outside::build_with_faults()?);
    }
    if !arguments.only.is_empty() {
        command.args(["--only", &arguments.only.join(",")]);
    }
    let usual = if arguments.quick { (Some(30), Some(0.08)) } else { (None, None) };
    let numbers = [
        ("--clients", arguments.clients.or(usual.0).map(|it| it.to_string())),
        ("--minutes", arguments.minutes.or(usual.1).map(|it| it.to_string())),
        ("--seed", arguments.seed.map(|it| it.to_string())),
        ("--seeds", arguments.seeds.map(|it| it.to_string())),
    ];
    for (name, number) in numbers {
        command.args(number.map(|number| [name.to_owned(), number]).into_iter().flatten());
    }
    if let Some(place) = &arguments.markdown {
        command.arg("--markdown").arg(std::path::absolute(place).map_err(|error| error.to_string())?);
    }
    command.args(arguments.strict.then_some("--strict")).args(arguments.quick.then_some("--quick"));
    step::run(&mut command)
}

/// The step `chaos` of `cargo xtask test`: the harness's own tests, and every fault in small.
pub(crate) fn test() -> Outcome {
    outside::check(&["tidings-chaos"])?;
    run(&Arguments {
        only: Vec::new(),
        clients: None,
        minutes: None,
        // One that is the same for everybody: a test fails for who broke something.
        seed: Some(1),
        seeds: None,
        binary: None,
        markdown: None,
        strict: false,
        quick: true,
    })
}
