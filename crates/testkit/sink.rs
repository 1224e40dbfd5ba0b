//! A sink that writes down what a log announces.
//!
//! Guarantees: everything heard is kept, in the order heard; waiting for a condition looks at all
//! of it, also at what came before the wait.
//! It is not a hub: it reads nothing back.

use std::sync::Arc;

use parking_lot::Mutex;
use tidings_core::{
    Channel, Message, Seq,
    log::{Committed, LogSink},
};
use tokio::{sync::watch, time::timeout};

use crate::PATIENCE;

/// One announcement.
#[derive(Debug, Clone)]
pub enum Heard {
    /// One message of [`LogSink::committed`].
    Committed(Committed),
    /// [`LogSink::trimmed`].
    Trimmed(Channel, Seq),
    /// [`LogSink::state_wanted`].
    StateWanted(Channel, Seq),
    /// [`LogSink::deleted`].
    Deleted(Channel),
    /// [`LogSink::uncertain`].
    Uncertain,
}

/// The [`LogSink`] of a test.
#[derive(Debug, Default)]
pub struct RecordingSink {
    heard: Mutex<Vec<Heard>>,
    count: watch::Sender<usize>,
}

impl RecordingSink {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Everything heard so far.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().clone()
    }

    /// The messages heard so far, of all channels, in the order of the announcements.
    #[must_use]
    pub fn messages(&self) -> Vec<Committed> {
        let heard = self.heard.lock();
        heard
            .iter()
            .filter_map(|heard| if let Heard::Committed(committed) = heard { Some(committed.clone()) } else { None })
            .collect()
    }

    /// The messages of one channel heard so far.
    #[must_use]
    pub fn of(&self, channel: &Channel) -> Vec<Arc<Message>> {
        let messages = self.messages().into_iter().map(|committed| committed.message);
        messages.filter(|message| message.channel == *channel).collect()
    }

    /// Waits until `found` finds something in what was heard.
    ///
    /// # Panics
    /// When it does not come. `what` says what was waited for.
    pub async fn until<T>(&self, what: &str, mut found: impl FnMut(&[Heard]) -> Option<T>) -> T {
        let mut count = self.count.subscribe();
        let waiting = async {
            loop {
                count.mark_unchanged();
                if let Some(found) = found(&self.heard.lock()) {
                    return found;
                }
                count.changed().await.expect("the sink holds the sender");
            }
        };
        match timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("never heard {what}, but {} other things", self.heard.lock().len()),
        }
    }

    /// Waits until the messages of a channel before `first` are gone.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn until_trimmed(&self, channel: &Channel, first: Seq) {
        self.until(&format!("that {channel} was trimmed to {first}"), |heard| {
            heard
                .iter()
                .any(|heard| matches!(heard, Heard::Trimmed(of, to) if of == channel && *to >= first))
                .then_some(())
        })
        .await;
    }

    /// Waits until a saved state of a channel is wanted, and tells through which message.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn until_state_wanted(&self, channel: &Channel) -> Seq {
        self.until(&format!("that a state of {channel} is wanted"), |heard| {
            heard.iter().rev().find_map(|heard| match heard {
                Heard::StateWanted(of, through) if of == channel => Some(*through),
                _ => None,
            })
        })
        .await
    }

    fn hear(&self, heard: impl IntoIterator<Item = Heard>) {
        self.heard.lock().extend(heard);
        self.count.send_modify(|count| *count += 1);
    }
}

impl LogSink for RecordingSink {
    fn committed(&self, batch: &[Committed]) {
        self.hear(batch.iter().cloned().map(Heard::Committed));
    }

    fn trimmed(&self, channel: &Channel, first: Seq) {
        self.hear([Heard::Trimmed(channel.clone(), first)]);
    }

    fn state_wanted(&self, channel: &Channel, through: Seq) {
        self.hear([Heard::StateWanted(channel.clone(), through)]);
    }

    fn deleted(&self, channel: &Channel) {
        self.hear([Heard::Deleted(channel.clone())]);
    }

    fn uncertain(&self) {
        self.hear([Heard::Uncertain]);
    }
}
