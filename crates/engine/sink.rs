//! The engine's ear on the log: what is committed goes to the hub, the bus's listeners and the states.
//!
//! Guarantees: called on the log's writer thread and never waits there; one of the three that panics takes
//! nothing from the others, and reads from the log what it missed.
//! It is not a queue: each of the three keeps its own bounds.

use std::sync::Arc;

use tidings_core::{
    Channel, Seq, fault,
    log::{Committed, LogSink},
    panics::caught,
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
        // One of them that panics has gathered less than it might: there is nothing to be read again.
        drop(caught("sink.states", || self.states.committed(batch)));
        let heard = caught("sink.hub", || {
            fault::here("sink.hub");
            self.hub.committed(batch);
        });
        if heard.is_err() {
            self.hub.uncertain();
        }
        let heard = caught("sink.bus", || {
            fault::here("sink.bus");
            self.bus.committed(batch);
        });
        if heard.is_err() {
            self.bus.uncertain();
        }
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
