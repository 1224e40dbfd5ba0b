//! How many of something run here: for whoever waits for none, and for operators.
//!
//! Guarantees: the gauge `tidings_running` says what was set last, under `of`; who waits for none is woken
//! when there is none.
//! It is not the limit: that is the registry's whose things are counted.

use tokio::sync::watch;

/// How many run.
#[derive(Debug)]
pub(crate) struct Count {
    of: &'static str,
    now: watch::Sender<usize>,
}

impl Count {
    /// None yet, of what is called so.
    pub(crate) fn of(of: &'static str) -> Self {
        let count = Self { of, now: watch::Sender::new(0) };
        count.set(0);
        count
    }

    /// There are so many.
    pub(crate) fn set(&self, count: usize) {
        self.change(|now| *now = count);
    }

    /// There are more, or fewer, than there were.
    pub(crate) fn change(&self, change: impl FnOnce(&mut usize)) {
        self.now.send_modify(|now| {
            change(now);
            // Under the lock: the gauge never says what was before.
            metrics::gauge!("tidings_running", "of" => self.of).set(*now as f64);
        });
    }

    /// How many there are.
    pub(crate) fn now(&self) -> usize {
        *self.now.borrow()
    }

    /// Hears whenever it is set.
    pub(crate) fn subscribe(&self) -> watch::Receiver<usize> {
        self.now.subscribe()
    }

    /// Resolves when there is none.
    pub(crate) async fn none(&self) {
        // The sender lives as long as this value, so the wait ends only with the condition.
        drop(self.now.subscribe().wait_for(|count| *count == 0).await);
    }
}
