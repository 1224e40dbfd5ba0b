//! `tidings-chaos`: breaks a server in all ways asked for, with one seed or several.
//!
//! Guarantees: each outcome is told as soon as there is one; the exit code is 0 when everything was exact, 1
//! when something was not, 2 for a wrong use.
//! It builds nothing: `cargo xtask chaos` does.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool tells what it found")]

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};
use tidings_chaos::{disk, fault::Run, faults, random::Random, report, server::Yard};

/// Breaks a Tidings server and judges what its clients saw.
#[derive(Debug, Parser)]
#[command(name = "tidings-chaos")]
struct Arguments {
    /// Only these parts or faults, with commas; all by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The server's program.
    #[arg(long)]
    binary: PathBuf,
    /// The program that can be told to panic; the same one otherwise, which a release cannot.
    #[arg(long)]
    with_faults: Option<PathBuf>,
    /// Where servers get their directories: on a real disk.
    #[arg(long)]
    scratch: PathBuf,
    /// Clients; a redeploy has two and a half times as many.
    #[arg(long, default_value_t = 2_000)]
    clients: usize,
    /// How long connections are cut; the other faults take a part of it.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The seed; by chance otherwise.
    #[arg(long)]
    seed: Option<u64>,
    /// So many seeds in a row, from that one on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Also writes the table as Markdown to a file.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// A fault that cannot be made here is a failure.
    #[arg(long)]
    strict: bool,
    /// Everything in small, for programs that are not optimised.
    #[arg(long)]
    quick: bool,
    /// This process has mounts of its own. It starts itself so.
    #[arg(long, hide = true)]
    own_mounts: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.own_mounts
        && let Some(code) = disk::with_own_mounts()
    {
        return code;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::from(2)
        }
    }
}

/// Every client is a file here and one in the server, which inherits the limit.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("the limit of open files stays as it is: {error}");
    }
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    raise_file_limit();
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()));
    let (binary, scratch) = (absolute(&arguments.binary)?, absolute(&arguments.scratch)?);
    fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    let with_faults = arguments.with_faults.as_deref().map(absolute).transpose()?;
    let yard = Yard { binary, scratch, data: None, faults: false };
    yard.clear()?;
    let lasting = Duration::try_from_secs_f64(arguments.minutes * 60.0).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let first = arguments.seed.unwrap_or_else(|| u64::from(RandomState::new().build_hasher().finish() as u32));
    let faults = faults::named(&arguments.only)?;
    let mut outcomes = Vec::new();
    for seed in first..first.saturating_add(arguments.seeds) {
        println!("seed {seed}: repeat it with --seed {seed}");
        let run = Run {
            yard: yard.clone(),
            runtime: runtime.handle().clone(),
            random: Random::new(seed),
            clients: arguments.clients,
            lasting,
            quick: arguments.quick,
            mounts: arguments.own_mounts,
            with_faults: with_faults.clone(),
        };
        for fault in &faults {
            let outcome = fault.run(&run);
            println!("{}", report::text(seed, &outcome));
            outcomes.push((seed, outcome));
        }
    }
    if let Some(place) = &arguments.markdown {
        fs::write(place, report::markdown(&outcomes)).map_err(|error| format!("{}: {error}", place.display()))?;
    }
    let bad = outcomes.iter().filter(|(_, outcome)| !outcome.is_good()).count();
    let skipped = outcomes.iter().filter(|(_, outcome)| outcome.skipped.is_some()).count();
    println!("{} outcomes, {bad} failed, {skipped} skipped", outcomes.len());
    Ok(bad == 0 && (skipped == 0 || !arguments.strict))
}
