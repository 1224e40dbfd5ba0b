//! Changes from polling to a WebSocket: which sessions probe, and which of their polls are under way.
//!
//! Guarantees: while a session probes, a waiting poll ends and a new one is answered at once, both
//! with nothing, so that its client can stop polling; a probe that dies leaves polling as it was. What
//! is kept of a session goes with its last poll and probe.
//! It is not the change itself: see `upgrade`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

/// How long a poll of a session that probes is held, so that it does not come again at once.
const HELD: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Change {
    polls: usize,
    probes: usize,
    moved: Arc<Notify>,
}

/// The sessions that poll or probe at this moment, by their engine id.
#[derive(Default)]
pub(super) struct Changes(Mutex<HashMap<String, Change>>);

impl Changes {
    /// A poll begins; it is over when the turn is dropped.
    pub(super) fn poll(&self, sid: &str) -> Turn<'_> {
        self.enter(sid, |change| &mut change.polls)
    }

    /// A probe begins; it is over when the turn is dropped.
    pub(super) fn probe(&self, sid: &str) -> Turn<'_> {
        self.enter(sid, |change| &mut change.probes)
    }

    fn enter(&self, sid: &str, count: fn(&mut Change) -> &mut usize) -> Turn<'_> {
        let mut changes = self.0.lock();
        let change = changes.entry(sid.to_owned()).or_default();
        *count(change) += 1;
        let moved = change.moved.clone();
        moved.notify_waiters();
        Turn { changes: self, sid: sid.to_owned(), count, moved }
    }
}

/// A poll or a probe that is under way.
pub(super) struct Turn<'a> {
    changes: &'a Changes,
    sid: String,
    count: fn(&mut Change) -> &mut usize,
    moved: Arc<Notify>,
}

impl Turn<'_> {
    fn counts(&self) -> (usize, usize) {
        self.changes.0.lock().get(&self.sid).map_or((0, 0), |change| (change.polls, change.probes))
    }

    async fn until(&self, reached: impl Fn((usize, usize)) -> bool) {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if reached(self.counts()) {
                return;
            }
            moved.await;
        }
    }

    /// Resolves when the session probes.
    pub(super) async fn probes(&self) {
        self.until(|(_, probes)| probes > 0).await;
    }

    /// Holds a poll of a session that probes for a moment. Whether it still probes then.
    pub(super) async fn held(&self) -> bool {
        self.counts().1 > 0 && timeout(HELD, self.until(|(_, probes)| probes == 0)).await.is_err()
    }

    /// Resolves when none of the session's polls is under way.
    pub(super) async fn polls_over(&self) {
        self.until(|(polls, _)| polls == 0).await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut changes = self.changes.0.lock();
        let Some(change) = changes.get_mut(&self.sid) else { return };
        *(self.count)(change) -= 1;
        if change.polls == 0 && change.probes == 0 {
            changes.remove(&self.sid);
        }
        self.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_ends_a_waiting_poll_and_waits_for_it_and_nothing_is_kept() {
        let changes = Changes::default();
        let poll = changes.poll("a");
        let probe = changes.probe("a");
        poll.probes().await;
        assert!(poll.held().await, "it still probes");
        drop(poll);
        probe.polls_over().await;
        drop(probe);
        assert!(!changes.poll("a").held().await);
        assert!(changes.0.lock().is_empty());
    }
}
