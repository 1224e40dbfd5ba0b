//! `cargo xtask bench`: Tidings beside its peers, each work on a fresh server, in one table.
//!
//! Guarantees: servers run one after the other on one core and the load generator on another; every
//! server is fresh for every round of every work, works in a directory of its own and is gone at the end.
//! Figures of different runs are not comparable: what counts are the ratios inside one.

mod against;
mod document;
mod machine;
mod plan;
mod rounds;
mod rows;
mod server;
mod table;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use machine::Machine;
use plan::{Peer, Work};
use server::{Kind, Running};

use crate::{
    outside::{self, Programs},
    step::{self, Outcome},
};

/// The longest that one work on one server may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// What to measure, and where the table goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these works, with commas; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Work>,
    /// Only these peers, with commas; all by default. Targets that need another are then not judged.
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// This program instead of the release binary, which is built otherwise.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Holds the program against this one, in rounds by turns, instead of against the peers: what was before a
    /// change, say. Fails when a row is worse.
    #[arg(long, conflicts_with_all = ["peers", "markdown", "write", "strict"])]
    against: Option<PathBuf>,
    /// So many rounds of each work, instead of as many as each needs.
    #[arg(long)]
    rounds: Option<usize>,
    /// Also writes the table as Markdown to a file, or with `-` to standard output.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Also puts the table into docs/BENCHMARKS.md.
    #[arg(long)]
    write: bool,
    /// Fails when a target that must be kept is missed.
    #[arg(long)]
    strict: bool,
    /// Tiny works on unoptimised programs: shows that everything runs; the figures mean nothing.
    #[arg(long)]
    quick: bool,
}

/// What one work found on one server, by name.
pub(crate) type Figures = BTreeMap<String, f64>;
/// What all works found on all servers.
#[derive(Debug, Default)]
struct Found {
    all: BTreeMap<(Work, Kind), Figures>,
    /// Of the peers, as they are compared with ours: see [`rounds::beside`].
    beside: BTreeMap<(Work, Peer), Figures>,
}

/// Builds, measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let works = if arguments.only.is_empty() { Work::ALL.to_vec() } else { arguments.only.clone() };
    if let Some(before) = &arguments.against {
        let after = build(arguments, &[])?;
        let before = after.with(before)?;
        let sides = against::Sides { before: &before, after: &after };
        return against::run(&works, &sides, &Machine::prepare()?, (arguments.rounds, arguments.quick));
    }
    let peers = if arguments.peers.is_empty() { Peer::ALL.to_vec() } else { arguments.peers.clone() };
    let programs = build(arguments, &peers)?;
    let machine = Machine::prepare()?;
    println!("\n{}", machine.description());
    let (mut found, mut failed) = (Found::default(), 0);
    for work in works {
        let others = Peer::ALL.into_iter().filter(|peer| peers.contains(peer) && peer.takes_part_in(work));
        let kinds: Vec<Kind> = others.map(Kind::Peer).chain([Kind::Tidings]).collect();
        let mut taken: BTreeMap<Kind, Vec<Figures>> = BTreeMap::new();
        let count = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { plan::rounds(work) });
        for kind in (0..count).flat_map(|_| &kinds) {
            // A run is long: what one server cannot do must not take away the figures of the others.
            match measure(&Task { work, kind: *kind, quick: arguments.quick }, &programs, &machine) {
                Ok(figures) => taken.entry(*kind).or_default().push(figures),
                Err(failure) => {
                    println!("{work} on {kind} FAILED: {failure}");
                    failed += 1;
                }
            }
        }
        let own = taken.get(&Kind::Tidings).cloned().unwrap_or_default();
        for kind in kinds {
            let figures = taken.remove(&kind).unwrap_or_default();
            if let Kind::Peer(peer) = kind {
                found.beside.insert((work, peer), rounds::beside(&own, &figures));
            }
            found.all.insert((work, kind), rounds::together(figures));
        }
    }
    let mut rows = rows::of(&found);
    if arguments.quick {
        rows = rows.into_iter().map(table::Row::in_small).collect();
    }
    println!("\n{}", table::text(&rows));
    let markdown = format!("{}\n\n{}", machine.description(), table::markdown(&rows));
    match arguments.markdown.as_deref() {
        Some(place) if place == Path::new("-") => println!("{markdown}"),
        Some(place) => std::fs::write(place, &markdown).map_err(|error| format!("{}: {error}", place.display()))?,
        None => {}
    }
    if arguments.quick {
        println!("a quick run: that nothing was lost is all that it tells");
    } else if arguments.write {
        document::write(&step::workspace().join("docs/BENCHMARKS.md"), &markdown)?;
    }
    if failed > 0 {
        return Err(format!("{failed} works could not be done"));
    }
    let missed = rows.iter().filter(|row| row.is_missed()).count();
    if arguments.strict && missed > 0 { Err(format!("{missed} targets are missed")) } else { Ok(()) }
}

fn build(arguments: &Arguments, peers: &[Peer]) -> Result<Programs, String> {
    let packages: Vec<&str> =
        ["tidings-load"].into_iter().chain(peers.iter().filter_map(|peer| peer.package())).collect();
    let programs = outside::build(arguments.binary.as_deref(), &packages, arguments.quick)?;
    if peers.contains(&Peer::Node) {
        let node = outside::folder().join("node");
        step::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(node))?;
    }
    Ok(programs)
}

/// What is to be measured.
struct Task {
    work: Work,
    kind: Kind,
    /// In small.
    quick: bool,
}

/// Starts a server, puts the load on it, and returns what the load generator found.
fn measure(task: &Task, programs: &Programs, machine: &Machine) -> Result<Figures, String> {
    let Task { work, kind, quick } = *task;
    let server = Running::start(work, kind, programs, machine)?;
    let mut command = Command::new(programs.bench.join("tidings-load"));
    command.args(["--json", "--work", work.name(), "--host", &server.host(), "--token", server.token()]);
    command.args(["--pid", &server.id().to_string()]);
    command.args(if kind == Kind::Tidings { &[] } else { plan::shorter_for_peers(work) });
    command.args(if kind == Kind::Tidings { ["--tidings"].as_slice() } else { &[] });
    command.args(if quick { plan::quick(work) } else { &[] });
    let load = machine.start_load(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let output = server::wait(load, PATIENCE)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}\n{}", said.trim(), server.last_words()));
    }
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("no report: {error}"))?;
    show(work, kind, &report);
    let figures = report["figures"].as_object().into_iter().flatten();
    Ok(figures.filter_map(|(name, figure)| Some((name.clone(), figure.as_f64()?))).collect())
}

/// One line with every figure, so that a long run tells how it goes.
fn show(work: Work, kind: Kind, report: &serde_json::Value) {
    print!("{work} on {kind}:");
    for (name, figure) in report["figures"].as_object().into_iter().flatten() {
        print!(" {name}={}", table::figure(figure.as_f64()));
    }
    for problem in report["problems"].as_array().into_iter().flatten() {
        print!(" [{}]", problem.as_str().unwrap_or_default());
    }
    println!();
}

/// The step `bench` of `cargo xtask test`: the load generator's own tests, and the whole chain in small.
pub(crate) fn test() -> Outcome {
    // The peers that pull in a stack of their own are left out: a run of the bench builds them.
    outside::check(&["tidings-load", "tidings-floor"])?;
    run(&Arguments {
        only: vec![Work::Paced, Work::Slow, Work::Replay, Work::Runs, Work::Storm],
        peers: vec![Peer::Floor],
        binary: None,
        against: None,
        rounds: None,
        markdown: None,
        write: false,
        strict: true,
        quick: true,
    })
}
