//! What the table tells: which figures, against what, and what must and what should be.
//!
//! Guarantees: every target stands here, once; one whose figure or measure is missing is not judged.
//! It does not measure.

use super::{
    Found,
    plan::{Peer, Work},
    server::Kind,
    table::{Measure, Row, Target},
};

/// Counts of which each has to be nothing, by the prefix of the group.
pub(super) const WRONGS: [&str; 4] = ["lost", "doubles", "late", "seq_breaks"];

/// Where rows get their figures from.
struct Source<'a> {
    found: &'a Found,
    work: Work,
}

/// All rows of the works that were done.
pub(crate) fn of(found: &Found) -> Vec<Row> {
    let done = |work: &Work| found.all.contains_key(&(*work, Kind::Tidings));
    Work::ALL.into_iter().filter(done).flat_map(|work| rows(&Source { found, work })).collect()
}

fn rows(source: &Source<'_>) -> Vec<Row> {
    match source.work {
        Work::Paced => paced(source),
        Work::Burst => burst(source),
        Work::Spread => spread(source),
        Work::Idle => idle(source),
        Work::Connect => connect(source),
        Work::Slow => slow(source),
        Work::Replay => replay(source),
        Work::Runs => runs(source),
        Work::Storm => storm(source),
    }
}

fn paced(source: &Source<'_>) -> Vec<Row> {
    let floor = source.peer(Peer::Floor, "delivery_cpu_us");
    let bare = source.peer(Peer::Socketioxide, "p99_ms");
    let commit = source.own("commit_p99_ms");
    vec![
        source
            .row("CPU for a delivery, us", "delivery_cpu_us")
            .against(Measure::new("floor", floor))
            .must(Target::most("1.3 x floor", floor.map(|floor| floor * 1.3)))
            .aim(Target::most("1.1 x floor", floor.map(|floor| floor * 1.1))),
        source
            .row("p99 from POST to client, ms", "p99_ms")
            .against(Measure::new("socketioxide", bare))
            .must(Target::most("socketioxide + commit p99", bare.zip(commit).map(|(bare, commit)| bare + commit)))
            .aim(Target::most("socketioxide", bare)),
        source.row("p50 from POST to client, ms", "p50_ms"),
        source.wrong("lost, doubled, late", ""),
        source.row("commit p50, ms", "commit_p50_ms"),
        source.row("commit p99, ms", "commit_p99_ms"),
        source.row("kernel's socket memory, MB", "kernel_mb"),
    ]
}

fn burst(source: &Source<'_>) -> Vec<Row> {
    let node = source.peer(Peer::Node, "deliveries_per_s");
    vec![
        source
            .row("deliveries a second", "deliveries_per_s")
            .against(Measure::new("Node", node))
            .must(Target::least("25 x Node", node.map(|node| node * 25.0)))
            .aim(Target::least("3,000,000", Some(3e6))),
        source.wrong("lost, doubled, late", ""),
        source
            .row("memory above idle, MB", "above_idle_mb")
            .must(Target::most("64", Some(64.0)))
            .aim(Target::most("16", Some(16.0))),
        source.row("kernel's socket memory, MB", "kernel_mb"),
        source.row("CPU for a delivery, us", "delivery_cpu_us"),
        source.row("p50 from POST to client, ms", "p50_ms"),
        source.row("p99 from POST to client, ms", "p99_ms"),
        source.row("commit p50, ms", "commit_p50_ms"),
        source.row("commit p99, ms", "commit_p99_ms"),
    ]
}

fn spread(source: &Source<'_>) -> Vec<Row> {
    let node = source.peer(Peer::Node, "event_cpu_us");
    let bare = source.peer(Peer::Socketioxide, "event_cpu_us");
    vec![
        source
            .row("CPU for an event, us", "event_cpu_us")
            .against(Measure::new("Node", node))
            .must(Target::most("0.7 x Node", node.map(|node| node * 0.7)))
            .aim(Target::most("socketioxide", bare)),
        source.wrong("lost, doubled, late", ""),
        source.row("p50 from POST to client, ms", "p50_ms"),
        source.row("p99 from POST to client, ms", "p99_ms"),
        source.row("commit p50, ms", "commit_p50_ms"),
        source.row("commit p99, ms", "commit_p99_ms"),
        source.row("memory above idle, MB", "above_idle_mb"),
    ]
}

fn idle(source: &Source<'_>) -> Vec<Row> {
    vec![
        source
            .row("memory for a connection, KB", "connection_kb")
            .must(Target::most("20", Some(20.0)))
            .aim(Target::most("14", Some(14.0))),
        source.row("kernel's socket memory each, KB", "connection_kernel_kb"),
        source.row("CPU while idle, %", "idle_cpu_percent"),
        source.row("not connected", "unanswered").must(Target::most("0", Some(0.0))),
    ]
}

fn connect(source: &Source<'_>) -> Vec<Row> {
    vec![
        source
            .row("CPU for connect, token, subscribe, us", "connect_cpu_us")
            .must(Target::most("200", Some(200.0)))
            .aim(Target::most("100", Some(100.0))),
        source.row("not answered", "unanswered").must(Target::most("0", Some(0.0))),
        source.row("seconds for all", "connect_s"),
    ]
}

fn slow(source: &Source<'_>) -> Vec<Row> {
    let above = source.own("stalled_kernel_kb").zip(source.own("live_kernel_kb")).map(|(slow, live)| slow - live);
    vec![
        source.row("the others' p99, times that without", "p99_times").must(Target::most("1.5", Some(1.5))),
        source.row("the others' p99, ms", "p99_ms"),
        source.row("the others' p99 without, ms", "without_p99_ms"),
        source.row("events that went out", "events").must(Target::least("20,000", Some(20_000.0))),
        source.row("memory of a stalled one above a live one, KB", "stalled_kb").must(Target::most("16", Some(16.0))),
        source.computed("kernel's socket memory of a stalled one above a live one, KB", above),
        source.wrong("lost, doubled, late of the stalled, resumed", "stalled_"),
        source.wrong("lost, doubled, late of the others", ""),
        source.row("seconds to catch up", "resumed_s"),
        source.row("commit p99, ms", "commit_p99_ms"),
    ]
}

fn replay(source: &Source<'_>) -> Vec<Row> {
    let without = source.own("without_p99_ms");
    vec![
        source
            .row("messages a second", "replay_per_s")
            .must(Target::least("150,000", Some(150_000.0)))
            .aim(Target::least("400,000", Some(400_000.0))),
        source
            .row("p99 of live others, ms", "p99_ms")
            .against(Measure::new("without", without))
            .must(Target::most("2 x without", without.map(|without| without * 2.0))),
        source.row("p99 of live others without, ms", "without_p99_ms"),
        source.wrong("lost, doubled, late of the reader", "replay_"),
        source.wrong("lost, doubled, late of the others", ""),
        source.row("memory above before, MB", "above_idle_mb"),
    ]
}

fn runs(source: &Source<'_>) -> Vec<Row> {
    vec![
        source
            .row("CPU for a delivery, of what it is without", "delivery_cpu_ratio")
            .must(Target::most("2", Some(2.0))),
        source.row("CPU for a delivery, us", "delivery_cpu_us"),
        source.row("CPU for a delivery without, us", "without_delivery_cpu_us"),
        source.row("p99 from POST to client, of what it is without", "p99_ratio").must(Target::most("2", Some(2.0))),
        source.row("p99 from POST to client, ms", "p99_ms"),
        source.row("p99 from POST to client without, ms", "without_p99_ms"),
        source.row("p50 from POST to client, ms", "p50_ms"),
        source.row("p50 from POST to client without, ms", "without_p50_ms"),
        source.wrong("lost, doubled, late", ""),
        source.row("runs completed", "runs_completed").must(Target::least("200", Some(200.0))),
        source.row("runs not completed", "runs_not_completed").must(Target::most("0", Some(0.0))),
        source.row("runs whose events are out of order", "runs_disordered").must(Target::most("0", Some(0.0))),
        source.row("seconds for all runs", "runs_s"),
        source.row("memory above before, MB", "above_idle_mb"),
        source.row("commit p99, ms", "commit_p99_ms"),
    ]
}

fn storm(source: &Source<'_>) -> Vec<Row> {
    let without = source.own("without_p99_ms");
    vec![
        source.row("seconds until all are back and complete", "back_s").must(Target::most("0.75", Some(0.75))),
        source.row("seconds until all are subscribed again", "subscribed_s"),
        source.row("CPU for one that comes back, us", "return_cpu_us"),
        source.row("p99 of those who stay, ms", "p99_ms").against(Measure::new("without", without)),
        source.row("p99 of those who stay without, ms", "without_p99_ms"),
        source.wrong("lost, doubled, late of those who come back", "storm_"),
        source.wrong("lost, doubled, late of those who stay", ""),
        source.row("turned away and come again", "turned_away"),
        source.row("commit p99, ms", "commit_p99_ms"),
    ]
}

impl Source<'_> {
    fn figure(&self, kind: Kind, name: &str) -> Option<f64> {
        self.found.all.get(&(self.work, kind))?.get(name).copied()
    }

    fn own(&self, name: &str) -> Option<f64> {
        self.figure(Kind::Tidings, name)
    }

    /// What ours is compared with.
    fn peer(&self, peer: Peer, name: &str) -> Option<f64> {
        self.found.beside.get(&(self.work, peer))?.get(name).copied()
    }

    /// A figure of everybody who has it.
    fn row(&self, what: &str, name: &str) -> Row {
        let peers = Row::PEERS.map(|peer| self.figure(Kind::Peer(peer), name));
        Row::new(self.work.name(), what, self.own(name), peers)
    }

    /// A figure that only Tidings has, made of others.
    fn computed(&self, what: &str, figure: Option<f64>) -> Row {
        Row::new(self.work.name(), what, figure, [None; 3])
    }

    /// Everything that went wrong with the messages of a group; of Tidings nothing may.
    fn wrong(&self, what: &str, prefix: &str) -> Row {
        let count = |kind| WRONGS.iter().map(|name| self.figure(kind, &format!("{prefix}{name}"))).sum();
        let peers = Row::PEERS.map(|peer| count(Kind::Peer(peer)));
        Row::new(self.work.name(), what, count(Kind::Tidings), peers).must(Target::most("0", Some(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Figures;

    fn figures(of: &[(&str, f64)]) -> Figures {
        of.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect()
    }

    fn own(work: Work, of: &[(&str, f64)]) -> Found {
        let mut found = Found::default();
        found.all.insert((work, Kind::Tidings), figures(of));
        found
    }

    #[test]
    fn a_ratio_is_taken_inside_the_run() {
        let mut found = own(Work::Paced, &[("delivery_cpu_us", 6.6), ("p99_ms", 3.0)]);
        found.beside.insert((Work::Paced, Peer::Floor), figures(&[("delivery_cpu_us", 5.0)]));
        let rows = of(&found);
        assert!(rows[0].is_missed(), "1.32 is more than 1.3");
        assert!(!rows[1].is_missed(), "a peer that did not run judges nothing");
    }

    #[test]
    fn a_single_lost_message_is_a_missed_target() {
        let wrongs = [("lost", 1.0), ("doubles", 0.0), ("late", 0.0), ("seq_breaks", 0.0)];
        let found = own(Work::Burst, &wrongs);
        let missed: Vec<_> = of(&found).into_iter().filter(Row::is_missed).collect();
        assert_eq!(missed.len(), 1);
    }

    #[test]
    fn every_work_has_something_that_it_must() {
        for work in Work::ALL {
            let found = own(work, &[]);
            assert!(of(&found).iter().any(Row::has_to), "{work}");
        }
    }
}
