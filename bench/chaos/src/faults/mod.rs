//! What is broken, one file for each.
//!
//! Guarantees: each fault has a server of its own, and says what came of it.
//! They do not judge: views, ledger and aftermath do.

use crate::{fault::Run, outcome::Outcome, server::timed};

pub mod damage;
pub mod disk;
pub mod jitter;
pub mod redeploy;
pub mod rubbish;
pub mod stalls;
pub mod vandal;

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    /// Connections that are cut.
    Jitter,
    /// A server that stops or is killed, and comes back.
    Redeploy,
    /// Clients that do not read, and connections that fall silent.
    Stalls,
    /// A disk that is full or slow, a log's file that is damaged.
    Disk,
    /// Whoever speaks wrongly, too much, or not at all.
    Rubbish,
}

/// Something that breaks.
type Break = fn(&Run) -> Result<Outcome, String>;

impl Part {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 5] = [Self::Jitter, Self::Redeploy, Self::Stalls, Self::Disk, Self::Rubbish];

    /// What it breaks, by name.
    fn faults(self) -> &'static [(&'static str, Break)] {
        match self {
            Self::Jitter => &[("jitter", jitter::run)],
            Self::Redeploy => &[("stop", redeploy::stop), ("kill", redeploy::kill)],
            Self::Stalls => &[("stalls", stalls::reading), ("half-open", stalls::half_open)],
            Self::Disk => &[
                ("full-disk", disk::full),
                ("slow-disk", disk::slow),
                ("cut-log", damage::cut),
                ("damaged-log", damage::damage),
            ],
            Self::Rubbish => &[("rubbish", rubbish::run)],
        }
    }

    /// Breaks it, and tells each outcome as soon as there is one.
    pub fn run(self, run: &Run, mut tell: impl FnMut(Outcome)) {
        for (name, fault) in self.faults() {
            let (outcome, time) = timed(|| fault(run));
            let outcome = outcome.unwrap_or_else(|why| Outcome::failed(name, &why));
            tell(Outcome { time, ..outcome });
        }
    }
}
