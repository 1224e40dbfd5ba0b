//! A batch: what is new in a channel, as one worker gives it to all live subscribers.
//!
//! Guarantees: it is looked at once, and for each subscriber only compared; whoever it fits gets
//! the same shared messages.
//! It is not the writing: the connection's outlet does that.

use std::sync::Arc;

use tidings_core::{Epoch, Message, Seq, parcel::Parcel};

use super::{
    channel::{Entry, Tick},
    subscription::Subscription,
};

/// Messages of one channel that follow each other, ephemeral ones in their places.
pub(super) struct Batch {
    pub(super) parcel: Parcel,
    /// Everybody's cursor is to be looked at: the channel may have more than its memory says.
    pub(super) recheck: bool,
    /// The channel's head once each of them was in: its own number, or that of what it follows.
    pub(super) heads: Vec<Seq>,
    /// The head before it, and how many ephemeral messages there had been.
    base: Seq,
    before: u64,
    first_tick: Tick,
    last_seq: Option<Seq>,
    contiguous: bool,
    ephemeral: usize,
    bytes: u64,
}

impl Batch {
    /// What came into a channel, whose numbering is `epoch`.
    pub(super) fn new(entries: Vec<Entry>, epoch: Epoch, recheck: bool) -> Self {
        let last_seq = entries.iter().rev().find_map(|entry| entry.message.seq);
        let ephemeral = entries.iter().filter(|entry| entry.message.seq.is_none()).count();
        let bytes = entries.iter().map(|entry| entry.message.payload.json().len() as u64).sum();
        let first_tick = entries.first().map_or(0, |entry| entry.tick);
        let base = entries.first().map_or(0, |entry| entry.head - u64::from(entry.message.seq.is_some()));
        let before = entries.first().map_or(0, |entry| entry.ephemeral - u64::from(entry.message.seq.is_none()));
        let heads: Vec<Seq> = entries.iter().map(|entry| entry.head).collect();
        let mut at = base;
        let contiguous = entries.iter().all(|entry| {
            let follows = entry.head == at.saturating_add(u64::from(entry.message.seq.is_some()));
            at = entry.head;
            follows
        });
        let parcel = Parcel::new(entries.into_iter().map(|entry| entry.message).collect(), epoch);
        Self { parcel, recheck, heads, base, before, first_tick, last_seq, contiguous, ephemeral, bytes }
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
            && self.base == subscription.cursor
            && self.first_tick > subscription.tick
            && self.before == subscription.ephemeral
            && !(self.ephemeral > 0 && subscription.dropped > 0)
    }

    /// The tick of the message at an index: they follow each other.
    pub(super) fn tick(&self, index: usize) -> Tick {
        self.first_tick + index as Tick
    }

    /// How many ephemeral messages a subscription lacks that left the channel's memory before they were
    /// fanned out. Which of them a filter would have dropped is not known any more.
    pub(super) fn gone_before(&self, subscription: &Subscription) -> u64 {
        self.before.saturating_sub(subscription.ephemeral)
    }

    /// A subscription is done with the ephemeral messages of the batch.
    pub(super) fn heard(&self, subscription: &mut Subscription) {
        if !self.messages().is_empty() {
            subscription.tick = subscription.tick.max(self.tick(self.messages().len() - 1));
            subscription.ephemeral = subscription.ephemeral.max(self.before + self.ephemeral as u64);
        }
    }

    /// Moves a subscription behind the whole batch.
    pub(super) fn pass(&self, subscription: &mut Subscription) {
        self.heard(subscription);
        subscription.cursor = self.last_seq.unwrap_or(subscription.cursor);
    }

    /// The bytes of data in it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many ephemeral messages it has that a subscription has not seen and wants.
    pub(super) fn ephemeral_missed(&self, subscription: &Subscription) -> u64 {
        if self.ephemeral == 0 {
            return 0;
        }
        let fresh = |(index, message): &(usize, &Arc<Message>)| {
            message.seq.is_none() && self.tick(*index) > subscription.tick && subscription.passes(message)
        };
        self.messages().iter().enumerate().filter(fresh).count() as u64
    }
}
