//! The pulse of a session: what it does at this moment, for heartbeats and watchdogs.
//!
//! Guarantees: a look at it never waits.
//! It is not the state: that follows from what was told.

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{adapter::Activity, contract::Phase};

/// What a session does.
pub(super) struct Pulse {
    beat: Mutex<Beat>,
    /// Whether a turn was completed.
    answered: watch::Sender<bool>,
}

#[derive(Default)]
struct Beat {
    /// None for a program that does not tell.
    activity: Option<Activity>,
    paused: bool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { beat: Mutex::default(), answered: watch::Sender::new(false) }
    }
}

impl Pulse {
    /// The agent tells what it does.
    pub(super) fn set(&self, activity: Activity) {
        self.beat.lock().activity = Some(activity);
    }

    /// The program stands still, or goes on. Whether that is new.
    pub(super) fn pause(&self, paused: bool) -> bool {
        std::mem::replace(&mut self.beat.lock().paused, paused) != paused
    }

    /// A turn was completed.
    pub(super) fn answered(&self) {
        self.answered.send_replace(true);
    }

    /// Resolves once a turn was completed.
    pub(super) async fn has_answered(&self) {
        // The sender lives as long as this value, so the wait ends only with the condition.
        drop(self.answered.subscribe().wait_for(|answered| *answered).await);
    }

    /// For a heartbeat.
    pub(super) fn phase(&self) -> Phase {
        let beat = self.beat.lock();
        match (beat.paused, beat.activity) {
            (true, _) => Phase::Paused,
            (false, None) => Phase::Running,
            (false, Some(Activity::Working)) => Phase::Working,
            (false, Some(Activity::Waiting)) => Phase::Waiting,
            (false, Some(Activity::Idle)) => Phase::Idle,
        }
    }

    /// Whether it should be heard of: it neither waits for somebody nor stands still.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.phase(), Phase::Running | Phase::Working)
    }
}
