//! Publications of a connection that are accepted and not durable yet.
//!
//! Guarantees: whatever else the connection sends after them waits for them, so that it sees what
//! they did.
//! It is not a queue: they are in the log's already.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// The publications of one connection.
#[derive(Default)]
pub(super) struct Publishing {
    count: AtomicUsize,
    done: Notify,
}

impl Publishing {
    /// Waits until none is left.
    pub(super) async fn settled(&self) {
        loop {
            let done = self.done.notified();
            if self.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            done.await;
        }
    }
}

/// One publication, until it is durable or refused.
pub(super) struct Pending(Arc<Publishing>);

impl Pending {
    pub(super) fn of(publishing: &Arc<Publishing>) -> Self {
        publishing.count.fetch_add(1, Ordering::SeqCst);
        Self(publishing.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.done.notify_waiters();
        }
    }
}
