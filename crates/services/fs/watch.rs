//! The task of one watch: it reads what the system says, tells it, and ends when nobody looks.
//!
//! Guarantees: what is read is told before more is read, so that memory is bounded; when the bus does not take it,
//! that something was not told is told as soon as it does; with the task goes the descriptor.
//! It does not decide who is watched.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use tidings_core::{Event, Result};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};

use super::{
    batch::Batch,
    contract::{CHANGED, Changed, RESCAN, Reason, Rescan},
    files::{Files, Seat},
    tree::Tree,
};

/// From the first thing that the system says until it is read, so that more of it comes together.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two looks whether anybody is there.
const LOOK: Duration = Duration::from_secs(1);
/// Between two tries to tell.
const RETRY: Duration = Duration::from_secs(1);

/// A watch.
pub(super) struct Watching {
    pub(super) files: Arc<Files>,
    pub(super) seat: Seat,
    pub(super) tree: Tree,
    pub(super) closed: watch::Receiver<bool>,
}

impl Watching {
    /// Watches until nobody looks, the directory is gone, or the server stops.
    pub(super) async fn go(mut self, ready: AsyncFd<Arc<OwnedFd>>) {
        let mut closed = self.closed.clone();
        tokio::select! {
            () = self.run(ready) => {}
            // The sender lives as long as the service, which this task holds.
            _ = closed.wait_for(|closed| *closed) => {}
        }
    }

    async fn run(&mut self, ready: AsyncFd<Arc<OwnedFd>>) {
        let mut look = tokio::time::interval(LOOK.min(self.files.config.linger.max(Duration::from_millis(10))));
        loop {
            tokio::select! {
                readable = ready.ready(Interest::READABLE) => match readable {
                    // Before reading: what comes while it is read makes it ready again.
                    Ok(mut guard) => guard.clear_ready(),
                    Err(error) => {
                        tracing::error!(%error, "a watch cannot be waited for");
                        return;
                    }
                },
                _ = look.tick() => {
                    if self.files.is_over(&self.seat) {
                        return;
                    }
                    continue;
                }
            }
            tokio::time::sleep(PAUSE).await;
            if self.read_and_tell().await == Some(Reason::Gone) {
                return;
            }
        }
    }

    /// Reads what the system says, and tells it.
    async fn read_and_tell(&mut self) -> Option<Reason> {
        let mut batch = Batch::default();
        tokio::task::block_in_place(|| self.tree.read(&mut batch));
        if batch.is_empty() {
            return None;
        }
        let changes = batch.take();
        let rescan = batch.rescan;
        let data = changes.into_iter().map(|changes| Changed { project_id: self.seat.project_id.clone(), changes });
        let mut events: Vec<Event> = data.map(|data| Event::new(CHANGED, data)).collect();
        events.extend(rescan.map(|reason| self.rescan(reason)));
        for event in events {
            if let Err(error) = self.tell(event).await {
                tracing::warn!(project = %self.seat.project_id, %error, "changes of files were not told");
                self.tell_at_last(self.rescan(Reason::Untold)).await;
                break;
            }
        }
        self.files.witness.saw(&self.seat.project_id, &self.seat.root);
        rescan
    }

    fn rescan(&self, reason: Reason) -> Event {
        Event::new(RESCAN, Rescan { project_id: self.seat.project_id.clone(), reason })
    }

    async fn tell(&self, event: Event) -> Result<()> {
        self.files.ports.bus.emit(event).await?.await.map(drop)
    }

    async fn tell_at_last(&self, event: Event) {
        while self.tell(event.clone()).await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
    }
}
