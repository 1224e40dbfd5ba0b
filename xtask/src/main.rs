//! `cargo xtask`: what people and the CI run.
//!
//! Guarantees: the steps run in order, each with a heading and its time, and the first that fails
//! ends the run with its status.
//! It is not part of the server: nothing of it is in the published binary.
#![expect(clippy::print_stdout, reason = "a command line tool says what it does")]

mod bench;
mod chaos;
mod clients;
mod dist;
mod fuzz;
mod generate;
mod old;
mod outside;
mod step;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What people and the CI run on this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything that has to hold: format, lints, documents, tests, and real clients against the real server.
    Test(test::Arguments),
    /// Tidings beside its peers under load, in one table with the targets.
    Bench(bench::Arguments),
    /// Everything that may break is broken, and every client's view is held against the ledger.
    Chaos(chaos::Arguments),
    /// What is handed to others: a tarball of the server, with licences, completions and a checksum.
    Dist(dist::Arguments),
    /// The documents and types that are made of the server's own types: `schemas/` and docs/EVENTS.md.
    Gen,
    /// A data directory of this version, kept in `tests/data` for the tests of the next ones.
    OldDirectory(old::Arguments),
    /// Every fuzz target for a few seconds, on a nightly toolchain.
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test(arguments) => test::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Chaos(arguments) => chaos::run(&arguments),
        Task::Dist(arguments) => dist::run(&arguments),
        Task::Gen => generate::run(),
        Task::OldDirectory(arguments) => old::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("\nFAILED: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Arguments;

    /// The lines of the pages that run this tool: docs/BENCHMARKS.md and docs/RELIABILITY.md.
    const PAGES: [(&str, &str); 2] = [
        ("docs/BENCHMARKS.md", include_str!("../../docs/BENCHMARKS.md")),
        ("docs/RELIABILITY.md", include_str!("../../docs/RELIABILITY.md")),
    ];

    #[test]
    fn every_line_of_the_pages_is_one_that_this_tool_takes() {
        for (page, text) in PAGES {
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("cargo xtask ")).collect();
            assert!(lines.len() > 5, "{page} has lines");
            for line in lines {
                let words = line.split(" #").next().unwrap_or(line).split_whitespace().skip(1);
                if let Err(error) = Arguments::try_parse_from(words) {
                    panic!("{page}: {line}: {error}");
                }
            }
        }
    }
}
