//! Which works there are, who takes part in them, and how large they are where that is not usual.
//!
//! Guarantees: Tidings always does the whole work.
//! How large a work usually is stands in the load generator.

use std::fmt;

/// A work, as the load generator names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Work {
    /// 1,000 subscribers, 100 events a second.
    Paced,
    /// 2,000 subscribers, batches of 50 as fast as they go.
    Burst,
    /// 2,000 channels with one subscriber, 100,000 events.
    Spread,
    /// 10,000 connections.
    Idle,
    /// 10,000 connections, made as fast as they are answered.
    Connect,
    /// 200 of 2,000 subscribers stop reading.
    Slow,
    /// One client reads 1,000,000 messages.
    Replay,
    /// 200 runs of 20 quick steps at once.
    Runs,
    /// 5,000 lose their connections and come back.
    Storm,
}

/// Somebody to compare with. In this order they run, so that the closest run just before Tidings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Peer {
    /// Node Socket.IO.
    Node,
    /// socketioxide alone.
    Socketioxide,
    /// One write for a delivery, and nothing else.
    Floor,
}

impl Work {
    pub(crate) const ALL: [Self; 9] = [
        Self::Paced,
        Self::Burst,
        Self::Spread,
        Self::Idle,
        Self::Connect,
        Self::Slow,
        Self::Replay,
        Self::Runs,
        Self::Storm,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Paced => "paced",
            Self::Burst => "burst",
            Self::Spread => "spread",
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Slow => "slow",
            Self::Replay => "replay",
            Self::Runs => "runs",
            Self::Storm => "storm",
        }
    }
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Node, Self::Socketioxide, Self::Floor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Socketioxide => "socketioxide",
            Self::Floor => "floor",
        }
    }

    /// Its package in the bench workspace.
    pub(crate) fn package(self) -> Option<&'static str> {
        match self {
            Self::Node => None,
            Self::Socketioxide => Some("tidings-peer-socketioxide"),
            Self::Floor => Some("tidings-floor"),
        }
    }

    /// The floor has one channel and no tokens; nobody but Tidings keeps anything.
    pub(crate) fn takes_part_in(self, work: Work) -> bool {
        match work {
            Work::Paced | Work::Burst => true,
            Work::Spread | Work::Idle | Work::Connect => self != Self::Floor,
            Work::Slow | Work::Replay | Work::Runs | Work::Storm => false,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// How often a work is done on each server, in turn. A machine that others share is slower by a third
/// for some seconds, so what decides by a ratio of short works is taken more than once.
pub(crate) fn rounds(work: Work) -> usize {
    match work {
        Work::Paced => 9,
        Work::Spread => 5,
        Work::Slow | Work::Runs | Work::Storm => 3,
        Work::Burst | Work::Idle | Work::Connect | Work::Replay => 1,
    }
}

/// How often, when two programs are held against each other: often enough that the rounds of one show how much
/// they differ by themselves.
pub(crate) fn rounds_against(work: Work) -> usize {
    rounds(work).max(5)
}

/// What peers are spared. The burst takes Node a minute and a half; its rate is the same after ten seconds.
pub(crate) fn shorter_for_peers(work: Work) -> &'static [&'static str] {
    match work {
        Work::Burst => &["--limit", "8"],
        _ => &[],
    }
}

/// The settings of Tidings that a work needs. By default one user may have fewer connections, and fewer runs open,
/// than there are here, so that one user alone cannot fill a server that others share; whoever wants more says so, as
/// here.
pub(crate) fn settings(work: Work) -> &'static [(&'static str, &'static str)] {
    match work {
        Work::Runs => &[("TIDINGS_WORKFLOW__MAX_PER_USER", "200"), ("TIDINGS_WORKFLOW__MAX_PER_PROJECT", "200")],
        _ => &[("TIDINGS_SOCKET__MAX_CONNECTIONS_PER_USER", "0")],
    }
}

/// The sizes of a run that only shows that everything runs.
pub(crate) fn quick(work: Work) -> &'static [&'static str] {
    match work {
        Work::Paced => &["--subscribers", "20", "--events", "20", "--settle", "0.1"],
        Work::Burst => &["--subscribers", "20", "--events", "500", "--settle", "0.1"],
        Work::Spread => &["--subscribers", "20", "--events", "1000", "--settle", "0.1"],
        Work::Idle | Work::Connect => &["--subscribers", "50", "--settle", "0.2"],
        Work::Slow => &["--subscribers", "20", "--stalled", "5", "--events", "200", "--batch", "10", "--settle", "0.1"],
        Work::Replay => &["--subscribers", "5", "--events", "5000", "--settle", "0.1"],
        Work::Runs => &["--subscribers", "5", "--runs", "10", "--steps", "6", "--settle", "0.1"],
        Work::Storm => &["--subscribers", "120", "--stalled", "100", "--events", "50", "--settle", "0.1"],
    }
}
