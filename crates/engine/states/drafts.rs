//! Drafts: what the ephemeral messages of channels have built up, in memory only.
//!
//! Guarantees: folded in the order of the log's news; a channel without one costs nothing; a draft
//! that is empty again is let go, and so is one that panics, which costs nothing else.
//! It is not durable: a server that starts anew has none, and its programs have ended.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tidings_core::{
    Channel, Message, Timestamp, fault,
    log::Committed,
    panics::caught,
    projection::{Draft, Folded},
};

/// What a panic of one is counted as.
const TASK: &str = "states.draft";

/// How many channels may have one at once. The one that was quiet for the longest gives way.
const MOST: usize = 4096;

struct Gathered {
    draft: Box<dyn Draft>,
    /// When its newest message was published.
    time: Timestamp,
    /// Another one with each message.
    number: u64,
}

/// The drafts of a server.
#[derive(Default)]
pub(super) struct Drafts {
    gathered: Mutex<HashMap<Channel, Gathered>>,
    /// How many there are, so that nobody takes the lock where there are none.
    count: AtomicUsize,
    /// How many messages were folded in.
    folded: AtomicU64,
}

impl Drafts {
    /// Folds news in. `begin` makes the draft of a channel, where its messages are gathered.
    pub(super) fn committed(&self, batch: &[Committed], begin: impl Fn(&Channel) -> Option<Box<dyn Draft>>) {
        if self.is_empty() && batch.iter().all(|news| news.message.seq.is_some()) {
            return;
        }
        let mut gathered = self.gathered.lock();
        for Committed { message, .. } in batch {
            if message.seq.is_none()
                && gathered.len() <= MOST
                && !gathered.contains_key(&message.channel)
                && let Ok(Some(draft)) = caught(TASK, || begin(&message.channel))
            {
                gathered.insert(message.channel.clone(), Gathered { draft, time: message.time, number: 0 });
            }
            let Some(found) = gathered.get_mut(&message.channel) else { continue };
            found.time = message.time;
            found.number = self.folded.fetch_add(1, Ordering::Relaxed) + 1;
            let is_empty = caught(TASK, || {
                fault::here(TASK);
                found.draft.apply(message);
                found.draft.is_empty()
            });
            if is_empty.unwrap_or(true) {
                gathered.remove(&message.channel);
            }
        }
        if gathered.len() > MOST
            && let Some(quiet) = gathered.iter().min_by_key(|(_, found)| found.time).map(|(channel, _)| channel.clone())
        {
            gathered.remove(&quiet);
            metrics::counter!("tidings_drafts_dropped_total").increment(1);
        }
        self.count.store(gathered.len(), Ordering::Release);
    }

    /// Whether a channel has one.
    pub(super) fn has(&self, channel: &Channel) -> bool {
        !self.is_empty() && self.gathered.lock().contains_key(channel)
    }

    /// Which draft a channel has, if it has one: another number is another draft.
    pub(super) fn number(&self, channel: &Channel) -> Option<u64> {
        if self.is_empty() { None } else { self.gathered.lock().get(channel).map(|found| found.number) }
    }

    /// A channel's, as ephemeral messages.
    pub(super) fn messages(&self, channel: &Channel) -> Vec<Message> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut gathered = self.gathered.lock();
        let Some(found) = gathered.get(channel) else { return Vec::new() };
        match caught(TASK, || found.draft.events()) {
            Ok(events) => {
                let message = |event| Message::new(channel.clone(), None, found.time, event);
                events.into_iter().map(message).collect()
            }
            Err(_) => {
                self.let_go(&mut gathered, channel);
                Vec::new()
            }
        }
    }

    /// Puts a channel's into a state that is to be shown.
    pub(super) fn show(&self, channel: &Channel, state: &mut dyn Folded) {
        if self.is_empty() {
            return;
        }
        let mut gathered = self.gathered.lock();
        if let Some(found) = gathered.get(channel)
            && caught(TASK, || state.show(&*found.draft)).is_err()
        {
            self.let_go(&mut gathered, channel);
        }
    }

    /// A channel's log is gone.
    pub(super) fn forget(&self, channel: &Channel) {
        self.let_go(&mut self.gathered.lock(), channel);
    }

    fn let_go(&self, gathered: &mut HashMap<Channel, Gathered>, channel: &Channel) {
        gathered.remove(channel);
        self.count.store(gathered.len(), Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}
