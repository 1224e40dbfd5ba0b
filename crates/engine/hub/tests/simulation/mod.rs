//! Many nodes' worth of trouble in one process: a hub over a simulated log, with simulated clients, a
//! clock that stands still, and every interleaving drawn from a seed.
//!
//! Guarantees: the same seed is the same run, in any process; a run that fails says its seed and its
//! last steps.
//! It is not the network: outlets are pipes, and threads are turns.

mod client;
mod figures;
mod ledger;
mod run;
mod troubles;
mod world;

use super::super::subscription::Phase;
use run::Report;

const LIVE: Phase = Phase::Live;

/// Seeds that once failed, beyond those that are run anyway.
const SEEDS: &[u64] = &[6514, 61_988, 81_022];
/// How many seeds are run: some seconds' worth, or with the feature `long-simulation` as many as find what is rare.
const RUNS: u64 = if cfg!(feature = "long-simulation") { 100_000 } else { 2_000 };

fn run_all(seeds: impl IntoIterator<Item = u64>) -> Report {
    let mut all = Report::default();
    seeds.into_iter().for_each(|seed| all.add(&run::random(seed)));
    all
}

#[test]
fn seeds_that_once_failed_hold() {
    run_all(SEEDS.iter().copied());
}

#[test]
fn whatever_happens_in_whatever_order_every_promise_holds_and_nothing_stays() {
    let all = run_all(0..RUNS / 2);
    // A simulation that reaches no trouble proves nothing.
    let (troubles, reached) = (&all.troubles, &all.reached);
    assert!(troubles.trimmed_in_replay > 10 && troubles.closed_in_replay > 10, "{all:?}");
    assert!(troubles.asked_while_epoch_changed > 10 && troubles.unsubscribed_behind > 10, "{all:?}");
    assert!(reached.early_reads > 10 && reached.failed_reads > 10 && reached.lost_announcements > 10, "{all:?}");
    assert!(all.told.gaps > 10 && all.told.resets > 10 && all.told.snapshots > 10 && all.told.dropped > 10, "{all:?}");
}

#[test]
fn whatever_happens_in_another_order_every_promise_holds_and_nothing_stays() {
    run_all(RUNS / 2..RUNS);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(format!("{:?}", run::random(seed)), format!("{:?}", run::random(seed)), "seed {seed}");
    }
}
