//! The gate: the one way in for all transports. It parses, validates, authorises, runs and answers.
//!
//! Guarantees: the check comes before any effect; no is the default; a command that was accepted
//! runs to its end even if the asker goes away, and counts as its user's until then; a `commandId` makes it
//! happen once within 24 h.
//! It is not a transport and knows no domain: it reads the rows of the registry.

mod command;
mod existing;
mod judge;
mod opening;
mod publish;
mod rejudge;
mod subscribe;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tidings_core::{
    Action, Channel, Principal, Result, UserId,
    command::{Answer, Command},
    log::EventLog,
    runtime::{Clock, Memberships, Tasks},
};

use crate::{
    bus::Bus,
    registry::Registry,
    seats::{Seats, SeatsConfig},
};

pub use self::{
    command::GateCalls,
    existing::Existing,
    judge::Judge,
    publish::{History, HistoryQuery, NewEvent},
    rejudge::Rejudge,
};

/// What the gate is made of.
pub struct GateParts {
    /// Who owns what.
    pub registry: Arc<Registry>,
    /// Where events go in.
    pub bus: Arc<Bus>,
    /// What is read for facts and history.
    pub log: Arc<dyn EventLog>,
    /// Who is a member of what.
    pub memberships: Arc<dyn Memberships>,
    /// Where commands run.
    pub tasks: Arc<dyn Tasks>,
    /// For what the gate times.
    pub clock: Arc<dyn Clock>,
    /// The most bytes of one event's data.
    pub max_message_bytes: usize,
    /// How many commands may run at once, whether or not somebody still waits for their answers.
    pub commands: SeatsConfig,
}

impl std::fmt::Debug for GateParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GateParts")
    }
}

type Running = Shared<BoxFuture<'static, Result<Answer>>>;

/// The gate of a server.
pub struct Gate {
    parts: GateParts,
    judge: Arc<Judge>,
    /// Commands with an id that run now, so that a repeat waits for the same answer.
    running: Mutex<HashMap<(UserId, String), (String, Running)>>,
    /// The commands that run, with an id or without.
    seats: Arc<Seats>,
    /// Services of the server stop taking work before the transports do.
    draining: AtomicBool,
    /// Counts the changes of who may read what.
    rights: AtomicU64,
    /// Counts the reasons to judge subscriptions anew.
    reasons: AtomicU64,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl Gate {
    /// The gate over these parts.
    #[must_use]
    pub fn new(parts: GateParts) -> Arc<Self> {
        let judge = Arc::new(Judge::new(parts.registry.clone(), parts.memberships.clone()));
        let seats = Seats::new(parts.commands);
        Arc::new(Self {
            parts,
            judge,
            running: Mutex::default(),
            seats,
            draining: false.into(),
            rights: 0.into(),
            reasons: 0.into(),
        })
    }

    /// All commands, for transports that mount routes.
    #[must_use]
    pub fn commands(&self) -> &[Command] {
        self.parts.registry.commands()
    }

    /// A command by its name.
    #[must_use]
    pub fn command(&self, name: &str) -> Option<&Command> {
        self.parts.registry.command(name)
    }

    /// How many commands run now, whether or not somebody waits for them.
    #[must_use]
    pub fn running(&self) -> usize {
        self.seats.taken()
    }

    /// Refuses new work from now on, with `draining`.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Somebody may read less than before: what is under way looks again.
    pub(super) fn rights_changed(&self) {
        self.rights.fetch_add(1, Ordering::SeqCst);
    }

    fn rights(&self) -> u64 {
        self.rights.load(Ordering::SeqCst)
    }

    /// Whether a principal may do this on a channel: by grant, by ownership, by membership.
    ///
    /// # Errors
    /// `invalid_channel` when nobody owns its namespace, `forbidden`, `unavailable`.
    pub async fn authorise(&self, principal: &Principal, action: Action, channel: &Channel) -> Result<()> {
        self.judge.authorise(&*self.parts.log, principal, action, channel).await
    }
}
