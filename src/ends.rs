//! The end of tasks: a word to all that they stop, and a count of those that still run.
//!
//! Guarantees: whoever asks after the word was said hears it at once; a task counts until its future is gone,
//! however it ends.
//! It is not the Tasks port: that is `runtime`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

/// Says once, to everybody, that it is time to stop.
#[derive(Debug, Clone)]
pub(crate) struct CancellationToken(watch::Sender<bool>);

impl CancellationToken {
    /// Not said yet.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Says it. A second time is nothing.
    pub(crate) fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is said.
    pub(crate) fn cancelled_owned(self) -> impl Future<Output = ()> + Send + 'static {
        let mut said = self.0.subscribe();
        async move {
            // The token is here, so that the word cannot become impossible.
            let _token = self;
            drop(said.wait_for(|said| *said).await);
        }
    }
}

/// Counts tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskTracker(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    running: AtomicUsize,
    /// Told when none is left.
    none: Notify,
}

/// One that runs.
struct One(Arc<Count>);

impl Drop for One {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

impl TaskTracker {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.0.running.load(Ordering::Acquire)
    }

    /// Spawns one.
    pub(crate) fn spawn_on(&self, future: impl Future<Output = ()> + Send + 'static, runtime: &Handle) {
        self.0.running.fetch_add(1, Ordering::AcqRel);
        let one = One(self.0.clone());
        runtime.spawn(async move {
            let _one = one;
            future.await;
        });
    }

    /// Waits until none runs.
    pub(crate) async fn wait(&self) {
        loop {
            // Made before the look: an end in between is heard.
            let none = self.0.none.notified();
            if self.len() == 0 {
                return;
            }
            none.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_word_is_heard_by_who_waits_and_by_who_asks_later() {
        let token = CancellationToken::new();
        let early = token.clone().cancelled_owned();
        let mut waiting = std::pin::pin!(token.clone().cancelled_owned());
        tokio::select! {
            biased;
            () = &mut waiting => panic!("nothing was said"),
            () = std::future::ready(()) => {}
        }
        token.cancel();
        token.cancel();
        waiting.await;
        early.await;
        token.cancelled_owned().await;
    }

    #[tokio::test]
    async fn every_end_counts_also_a_panic_and_an_abortion() {
        let (tracker, (release, released)) = (TaskTracker::new(), oneshot::channel::<()>());
        tracker.wait().await;
        tracker.spawn_on(async move { drop(released.await) }, &Handle::current());
        tracker.spawn_on(async { panic!("on purpose") }, &Handle::current());
        let lost = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        tracker.spawn_on(std::future::pending(), lost.handle());
        assert!(tracker.len() >= 2);
        lost.shutdown_background();
        let waiting = tracker.wait();
        release.send(()).expect("it waits");
        waiting.await;
        assert_eq!(tracker.len(), 0);
    }
}
