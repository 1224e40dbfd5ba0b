//! The live way: a batch, written at once to a subscription that stands at the head.
//!
//! Guarantees: written only where it is exactly what comes next; whatever else is the case, the
//! subscription falls behind and the drain goes on from its cursor, so a lost wake-up may cost
//! delay, never a message.
//! It is not for those who are behind: see `drain`.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    Channel, Message, Seq,
    outlet::{Offered, Said},
    parcel::Parcel,
};

use super::{
    batch::Batch,
    connection::{Connection, Out},
    notice::Notice,
    subscription::Phase,
    subscriptions::Key,
};

/// How often a subscription whose filter drops everything is told where it stands.
const POSITION_PERIOD: Duration = Duration::from_secs(10);

/// What was delivered, added up before it is counted.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// How far a batch was gone through for one subscription.
#[derive(Default)]
struct Reached {
    /// So many of its messages are dealt with.
    index: usize,
    cursor: Seq,
    filtered: bool,
    hole: bool,
}

impl Connection {
    /// Writes a batch to a live subscription; one that is not contiguous with it, or whose outlet
    /// does not take it, falls behind.
    pub(super) fn deliver(self: &Arc<Self>, key: Key, batch: &Batch, tally: &mut Tally) {
        let mut out = self.out.lock();
        let out = &mut *out;
        let writable = Self::is_writable(out);
        let Some(subscription) = out.subscriptions.get(key) else { return };
        if subscription.phase != Phase::Live {
            let lost = batch.gone_before(subscription) + batch.ephemeral_missed(subscription);
            subscription.dropped += lost;
            batch.heard(subscription);
            self.hub.metrics.ephemeral_dropped.increment(lost);
            if batch.recheck {
                self.drain_if_needed(out);
            }
            return;
        }
        if writable && !batch.messages().is_empty() && batch.fits(subscription) {
            // As `offer` does, with the subscription at hand.
            out.offering = true;
            let offered = self.outlet.deliver(&batch.parcel);
            out.offering = false;
            if offered == Offered::All {
                batch.pass(subscription);
                tally.messages += batch.messages().len() as u64;
                tally.bytes += batch.bytes();
                return;
            }
            let taken = self.taken(out, offered, batch.messages().len());
            self.stop_at(out, key, batch, taken, tally);
        } else {
            self.deliver_in_parts(out, key, batch, tally);
        }
        if out.full || out.subscriptions.behind() > 0 {
            self.drain_if_needed(out);
        }
    }

    /// Only the first `taken` of a batch that fits were taken, then the outlet was full: the rest is
    /// the drain's, and what is ephemeral of it is lost.
    fn stop_at(&self, out: &mut Out, key: Key, batch: &Batch, taken: usize, tally: &mut Tally) {
        let Some(subscription) = out.subscriptions.get(key) else { return };
        let (written, rest) = batch.messages().split_at(taken);
        subscription.cursor = written.iter().rev().find_map(|message| message.seq).unwrap_or(subscription.cursor);
        batch.heard(subscription);
        let passes = |message: &&Arc<Message>| message.seq.is_none() && subscription.passes(message);
        let lost = rest.iter().filter(passes).count() as u64;
        subscription.dropped += lost;
        self.hub.metrics.ephemeral_dropped.increment(lost);
        tally.messages += written.len() as u64;
        tally.bytes += written.iter().map(|message| message.payload.json().len() as u64).sum::<u64>();
        if !rest.is_empty() {
            self.fall_behind(out, key.place);
        }
    }

    /// The general way: filters, partial overlaps, lost ephemeral messages, outlets that are full.
    fn deliver_in_parts(&self, out: &mut Out, key: Key, batch: &Batch, tally: &mut Tally) {
        let Some(subscription) = out.subscriptions.get(key) else { return };
        let mut reached = Reached { cursor: subscription.cursor, ..Reached::default() };
        let gone = batch.gone_before(subscription);
        subscription.dropped += gone;
        self.hub.metrics.ephemeral_dropped.increment(gone);
        let mut part: Vec<Arc<Message>> = Vec::new();
        for (index, message) in batch.messages().iter().enumerate() {
            let Some(subscription) = out.subscriptions.get(key) else { return };
            let place = batch.heads[index];
            let seen = batch.tick(index) <= subscription.tick || message.seq.is_some_and(|seq| seq <= reached.cursor);
            if seen {
                reached.index = index + 1;
                continue;
            }
            if message.seq.is_some_and(|seq| seq > reached.cursor + 1)
                || (message.seq.is_none() && place > reached.cursor)
            {
                reached.hole = true;
                break;
            }
            if message.seq.is_none() && place < reached.cursor {
                // What was read from the log was ahead of the announcements: its place has passed.
                let lost = u64::from(subscription.passes(message));
                subscription.dropped += lost;
                self.hub.metrics.ephemeral_dropped.increment(lost);
                reached.index = index + 1;
                continue;
            }
            reached.cursor = message.seq.unwrap_or(reached.cursor);
            if !subscription.passes(message) {
                reached.filtered = true;
            } else if message.seq.is_none() && subscription.dropped > 0 {
                let json = message.to_json(subscription.dropped);
                if !self.write_part(out, &mut part, batch, tally) || !self.write_said(out, json) {
                    break;
                }
                if let Some(subscription) = out.subscriptions.get(key) {
                    subscription.dropped = 0;
                }
            } else {
                part.push(message.clone());
            }
            reached.index = index + 1;
        }
        self.write_part(out, &mut part, batch, tally);
        self.settle_at(out, key, batch, &reached, &part);
    }

    /// Offers what was gathered of a batch; whether all of it was taken. What was not stays.
    fn write_part(&self, out: &mut Out, part: &mut Vec<Arc<Message>>, batch: &Batch, tally: &mut Tally) -> bool {
        if part.is_empty() {
            return true;
        }
        if !Self::is_writable(out) {
            return false;
        }
        let parcel = Parcel::new(std::mem::take(part), batch.parcel.epoch().clone());
        let messages = parcel.messages();
        let offered = self.offer(out, &parcel);
        let (written, left) = messages.split_at(self.taken(out, offered, messages.len()));
        tally.messages += written.len() as u64;
        tally.bytes += written.iter().map(|message| message.payload.json().len() as u64).sum::<u64>();
        part.extend_from_slice(left);
        part.is_empty()
    }

    fn write_said(&self, out: &mut Out, json: String) -> bool {
        if !Self::is_writable(out) {
            return false;
        }
        let offered = self.offer_said(out, &[Said::notice(json)]);
        self.taken(out, offered, 1) == 1
    }

    /// Moves a subscription as far as a batch was dealt with. `left` was gathered and not taken.
    fn settle_at(&self, out: &mut Out, key: Key, batch: &Batch, reached: &Reached, left: &[Arc<Message>]) {
        let Some(subscription) = out.subscriptions.get(key) else { return };
        // A head that was read again may be beyond what is announced.
        let beyond = batch.recheck && subscription.channel.standing().head > reached.cursor;
        let done = left.is_empty() && !reached.hole && !beyond && reached.index == batch.messages().len();
        let unwritten = left.iter().find_map(|message| message.seq);
        subscription.cursor = unwritten.map_or(reached.cursor, |seq| seq - 1);
        if !batch.messages().is_empty() {
            let rest = left.iter().chain(&batch.messages()[reached.index..]);
            let lost = rest.filter(|message| message.seq.is_none() && subscription.passes(message)).count() as u64;
            subscription.dropped += lost;
            self.hub.metrics.ephemeral_dropped.increment(lost);
            batch.heard(subscription);
        }
        if !done {
            self.fall_behind(out, key.place);
        } else if reached.filtered {
            self.tell_position(out, key, POSITION_PERIOD, true);
        }
    }

    /// Tells where a subscription stands, unless that was done within `period`.
    pub(super) fn tell_position(&self, out: &mut Out, key: Key, period: Duration, live: bool) {
        let now = self.hub.clock.monotonic();
        let Some(subscription) = out.subscriptions.get(key) else { return };
        if now.saturating_sub(subscription.told_at) < period {
            return;
        }
        subscription.told_at = now;
        let (seq, head): (Seq, Seq) = (subscription.cursor, subscription.channel.standing().head);
        let channel: Channel = subscription.request.channel.clone();
        let epoch = self.hub.log.epoch();
        self.note(out, &Notice::Position { channel: &channel, epoch: &epoch, seq, head, live });
        self.flush(out);
    }
}
