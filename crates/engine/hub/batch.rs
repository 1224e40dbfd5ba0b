//! A batch: what is new in a channel, as one worker gives it to all live subscribers.
//!
//! Guarantees: it is looked at once, and for each subscriber only compared; whoever it fits gets
//! the same shared messages.
//! It is not the writing: the connection's outlet does that.

use std::sync::Arc;

use tidings_core::{Message, Seq, parcel::Parcel};

use super::{
    channel::{Entry, Tick},
    subscription::Subscription,
};

/// Messages of one channel that follow each other, ephemeral ones in their places.
pub(super) struct Batch {
    pub(super) parcel: Parcel,
    /// Everybody's cursor is to be looked at: the channel may have more than its memory says.
    pub(super) recheck: bool,
    first_tick: Tick,
    first_seq: Option<Seq>,
    last_seq: Option<Seq>,
    contiguous: bool,
    ephemeral: usize,
    bytes: u64,
}

impl Batch {
    pub(super) fn new(entries: &[Entry], recheck: bool) -> Self {
        let messages: Vec<Arc<Message>> = entries.iter().map(|entry| entry.message.clone()).collect();
        let mut seqs = messages.iter().filter_map(|message| message.seq);
        let first_seq = seqs.next();
        let mut last_seq = first_seq;
        let contiguous = seqs.all(|seq| last_seq.replace(seq) == Some(seq - 1));
        let ephemeral = messages.iter().filter(|message| message.seq.is_none()).count();
        let bytes = messages.iter().map(|message| message.payload.json().len() as u64).sum();
        let first_tick = entries.first().map_or(0, |entry| entry.tick);
        Self { parcel: Parcel::new(messages), recheck, first_tick, first_seq, last_seq, contiguous, ephemeral, bytes }
    }

    /// The messages.
    pub(super) fn messages(&self) -> &[Arc<Message>] {
        self.parcel.messages()
    }

    /// Whether the whole batch is what a live subscription needs next.
    pub(super) fn fits(&self, subscription: &Subscription) -> bool {
        subscription.request.filter.is_none()
            && self.contiguous
            && !self.recheck
            && self.first_seq.is_none_or(|first| first == subscription.cursor + 1)
            && self.first_tick > subscription.tick
            && !(self.ephemeral > 0 && subscription.dropped > 0)
    }

    /// The tick of the message at an index: they follow each other.
    pub(super) fn tick(&self, index: usize) -> Tick {
        self.first_tick + index as Tick
    }

    /// Moves a subscription behind the whole batch.
    pub(super) fn pass(&self, subscription: &mut Subscription) {
        subscription.tick = self.tick(self.messages().len() - 1);
        subscription.cursor = self.last_seq.unwrap_or(subscription.cursor);
    }

    /// The bytes of data in it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many ephemeral messages it has that a subscription did not see.
    pub(super) fn ephemeral_after(&self, tick: Tick) -> u64 {
        if self.ephemeral == 0 {
            return 0;
        }
        let fresh = |(index, message): &(usize, &Arc<Message>)| message.seq.is_none() && self.tick(*index) > tick;
        self.messages().iter().enumerate().filter(fresh).count() as u64
    }
}
