//! The engine's ear on the log: what is committed goes to the hub, the bus's listeners and the states.
//!
//! Guarantees: called on the log's writer thread and never waits there.
//! It is not a queue: each of the three keeps its own bounds.

use std::sync::Arc;

use tidings_core::{
    Channel, Seq,
    log::{Committed, LogSink},
};

use crate::{bus::Bus, hub::Hub, states::StateStore};

/// Passes on what the log says.
#[derive(Debug)]
pub struct EngineSink {
    /// Gives messages to subscribers.
    pub hub: Arc<Hub>,
    /// Gives messages to listeners.
    pub bus: Arc<Bus>,
    /// Gathers drafts, and saves states that the log needs before it trims.
    pub states: Arc<StateStore>,
}

impl LogSink for EngineSink {
    fn committed(&self, batch: &[Committed]) {
        // First the drafts: whoever goes live by what the hub hears finds in them at least as much.
        self.states.committed(batch);
        self.hub.committed(batch);
        self.bus.committed(batch);
    }
    fn trimmed(&self, channel: &Channel, first: Seq) {
        self.hub.trimmed(channel, first);
    }
    fn state_wanted(&self, channel: &Channel, through: Seq) {
        self.states.wanted(channel, through);
    }
    fn deleted(&self, channel: &Channel) {
        self.states.forget(channel);
        self.hub.deleted(channel);
    }
    fn uncertain(&self) {
        self.hub.uncertain();
        self.bus.uncertain();
    }
}
