//! `cargo xtask fuzz`: every fuzz target for a few seconds.
//!
//! Guarantees: a target that crashes, hangs or does not run fails the whole, after all others had their turn;
//! what made it crash lies in `fuzz/artifacts`. It writes only below `fuzz/` and its target folder.
//! It is not part of `cargo xtask test`: it needs a nightly toolchain, and what it finds depends on luck.

use std::{fs, path::PathBuf, process::Command};

use crate::step::{self, Outcome};

/// The most memory of a target, in MiB: more is taken for a leak.
const MEMORY_MB: u32 = 2048;
/// The longest that one input may take, in seconds: more is taken for a hang.
const INPUT_SECONDS: u32 = 10;
/// How many of a crashed target's last lines are shown.
const SHOWN_LINES: usize = 40;

/// Which targets to run, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only these targets; all by default.
    targets: Vec<String>,
}

/// Builds the targets and runs them one after the other.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let targets = chosen(&arguments.targets)?;
    need_tools()?;
    // The code has no unsafe, so there is nothing for a sanitizer to see, and without one it is faster.
    step::run(&mut cargo_fuzz(&["build", "--sanitizer", "none"]))?;
    println!();
    let mut failed = Vec::new();
    for target in &targets {
        match run_one(target, arguments.seconds) {
            Ok(executions) => println!("{target:>12} {executions:>10} executions"),
            Err(failure) => {
                println!("{target:>12}     FAILED\n{failure}");
                failed.push(target.as_str());
            }
        }
    }
    if failed.is_empty() {
        println!("{} targets ran {} s each", targets.len(), arguments.seconds);
        return Ok(());
    }
    Err(format!("{}: what made it fail lies in fuzz/artifacts", failed.join(", ")))
}

fn folder() -> PathBuf {
    step::workspace().join("fuzz")
}

fn chosen(asked: &[String]) -> Result<Vec<String>, String> {
    let targets = targets()?;
    if let Some(unknown) = asked.iter().find(|name| !targets.contains(name)) {
        return Err(format!("there is no fuzz target '{unknown}'; there are {}", targets.join(", ")));
    }
    Ok(if asked.is_empty() { targets } else { asked.to_vec() })
}

/// The names of all targets: one file each.
fn targets() -> Result<Vec<String>, String> {
    let place = folder().join("fuzz_targets");
    let entries = fs::read_dir(&place).map_err(|error| format!("{} cannot be read: {error}", place.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn need_tools() -> Outcome {
    if !step::works("rustup", &["run", "nightly", "rustc", "--version"]) {
        return Err("a nightly toolchain is missing: run `rustup toolchain install nightly`".to_owned());
    }
    if step::works("cargo", &["fuzz", "--version"]) {
        return Ok(());
    }
    println!("cargo-fuzz is missing: installing it");
    step::run(&mut step::cargo(&["install", "cargo-fuzz", "--locked"]))
}

fn cargo_fuzz(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]).args(arguments).current_dir(step::workspace());
    command
}

/// Runs one target and tells how many inputs it was given.
fn run_one(target: &str, seconds: u32) -> Result<u64, String> {
    let (corpus, seeds) = (folder().join("corpus").join(target), folder().join("seeds").join(target));
    fs::create_dir_all(&corpus).map_err(|error| format!("{} cannot be made: {error}", corpus.display()))?;
    let limits = [
        format!("-max_total_time={seconds}"),
        format!("-timeout={INPUT_SECONDS}"),
        format!("-rss_limit_mb={MEMORY_MB}"),
        "-print_final_stats=1".to_owned(),
    ];
    // What it finds goes to the first folder; the seeds are only read.
    let mut command = cargo_fuzz(&["run", "--sanitizer", "none", target]);
    let output = command.args([corpus, seeds]).arg("--").args(limits).output();
    let output = output.map_err(|error| format!("cargo fuzz does not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match executions(&said) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(last_lines(&said)),
    }
}

fn executions(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_declared_and_has_seeds() {
        let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("a manifest");
        let targets = targets().expect("a folder of targets");
        assert!(targets.len() > 5, "{targets:?}");
        assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
        for target in targets {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
            let seeds = fs::read_dir(folder().join("seeds").join(&target)).expect("a folder of seeds");
            assert!(seeds.count() > 0, "{target}");
        }
    }

    #[test]
    fn a_target_that_is_not_there_is_refused_with_those_that_are() {
        let error = chosen(&["nmaes".to_owned()]).expect_err("no such target");
        assert!(error.contains("nmaes") && error.contains("names"), "{error}");
    }

    #[test]
    fn the_executions_are_read_from_what_the_fuzzer_says() {
        let said = "Done 7 runs\nstat::number_of_executed_units: 4242\nstat::average_exec_per_sec:     0\n";
        assert_eq!(executions(said), Some(4242));
        assert_eq!(executions("panicked"), None);
    }
}
