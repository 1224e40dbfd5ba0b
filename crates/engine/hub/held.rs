//! Subscriptions that are held: nothing is given to them while it is not known whether they may be read.
//!
//! Guarantees: the cursor of a held subscription stands still, so it goes on without a hole or ends with the
//! reason; a judgement that is older than the reason to hold changes nothing.
//! It is not the judge: that is the gate.

use std::sync::Arc;

use tidings_core::{Channel, Code, Result};

use super::connection::Connection;

impl Connection {
    /// Gives nothing to the subscriptions of these channels until they are judged, for a reason of this
    /// number: the newest there is. Whether one of them is there.
    pub(crate) fn hold(&self, channels: &[Channel], reason: u64) -> bool {
        let mut out = self.out.lock();
        let behind = out.subscriptions.behind();
        let mut any = false;
        for channel in channels {
            any |= out.subscriptions.hold(channel, reason);
        }
        self.hub.metrics.behind.decrement((behind - out.subscriptions.behind()) as f64);
        any
    }

    /// The channels whose subscriptions are held.
    pub(crate) fn held(&self) -> Vec<Channel> {
        self.out.lock().subscriptions.held()
    }

    /// What a judgement says of a subscription that is held: it goes on from where it stands, or ends. A
    /// judgement that began before reason `as_of` had come changes nothing if the subscription is held for a
    /// newer one.
    pub(crate) fn judged(self: &Arc<Self>, channel: &Channel, as_of: u64, judgement: Result<(), (Code, &str)>) {
        let mut out = self.out.lock();
        if out.subscriptions.is_held(channel).is_none_or(|reason| reason > as_of) {
            return;
        }
        match judgement {
            Ok(()) => {
                out.subscriptions.let_go(channel);
                self.hub.metrics.behind.increment(1.0);
                self.drain_if_needed(&mut out);
            }
            Err((code, why)) => self.close_in(&mut out, channel, code, why),
        }
    }

    /// Whether somebody has to begin finding out what may be read: there is something held, and nobody does.
    pub(crate) fn begin_judging(&self) -> bool {
        let mut out = self.out.lock();
        let begins = !out.judging && !out.subscriptions.held().is_empty();
        out.judging |= begins;
        begins
    }

    /// Whether whoever finds out what may be read is through: nothing is held any more.
    pub(crate) fn end_judging(&self) -> bool {
        let mut out = self.out.lock();
        out.judging = !out.subscriptions.held().is_empty();
        !out.judging
    }
}
