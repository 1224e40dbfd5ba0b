//! The drain of a connection: it serves whoever is behind, from memory or the log, until nobody is.
//!
//! Guarantees: it runs only while something waits; one chunk for each subscription in turn; it
//! reads no more than the outlet can take next; what the log no longer has is told, never skipped. One that
//! panics goes on, or ends its connection, whose client then comes back with its positions.
//! It is not a queue: between two chunks only cursors remain.

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{
    Channel, Code, Error, Message, Result, Seq, fault,
    log::{Page, Read},
    outlet::{Ending, Said},
    panics,
    parcel::Parcel,
};

use super::{
    channel::ChannelState,
    connection::{Connection, Out},
    notice::Notice,
    subscription::{Owed, Phase, Subscription},
    subscriptions::Key,
};
use crate::states::StateAt;

/// The least and the most messages of one chunk. Larger ones are no faster, and whoever is live waits
/// for them: the same thread serves both.
const CHUNK: (usize, usize) = (32, 128);
/// The most bytes of data of one chunk, about.
const CHUNK_BYTES: usize = 64 * 1024;
/// How many messages a filtered `last` looks through at most.
const SCAN: u64 = 10_000;
/// How long a log that cannot be read is waited for.
pub(super) const RETRY: Duration = Duration::from_millis(250);
/// How often a subscription that is behind is told where it stands.
const POSITION_PERIOD: Duration = Duration::from_secs(1);

/// So many chunks are written from memory before others run.
const CHUNKS_A_TURN: usize = 8;

/// A subscription that is being served.
struct Served {
    channel: Channel,
    state: Arc<ChannelState>,
    key: Key,
    cursor: Seq,
    owed: Owed,
}

/// What is to be done next.
enum Job {
    /// The outlet is full: wait for room.
    Wait,
    /// A chunk was written from memory.
    Written,
    /// A subscription that is behind and needs more than memory.
    Serve(Served),
    /// Nobody is behind.
    Done,
    /// Nobody knows what was written: the connection is to be ended.
    End,
}

/// How much is read at once: as much as the outlet was seen to take.
struct Pace(usize);

impl Pace {
    fn learn(&mut self, taken: usize, offered: usize) {
        if taken == offered && offered >= self.0 {
            self.0 = (self.0 * 2).min(CHUNK.1);
        } else if taken * 2 < offered {
            self.0 = (self.0 / 2).max(CHUNK.0);
        }
    }
}

impl Connection {
    /// Drains, and outlives a panic of that: a connection whose drain is gone would be behind for ever.
    pub(super) async fn drain(self: Arc<Self>) {
        for _ in 1..panics::MOST {
            if panics::caught_in("hub.drain", self.drain_on()).await.is_ok() {
                return;
            }
            if self.out.lock().offering {
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
        self.end_torn();
    }

    /// Ends the connection if a write to it panicked.
    pub(super) fn end_if_torn(self: &Arc<Self>) {
        let is_torn = self.out.lock().offering;
        if is_torn {
            self.end_torn();
        }
    }

    fn end_torn(self: &Arc<Self>) {
        self.end(&Ending::temporary(Code::Internal, "the server failed to write to this connection"));
    }

    async fn drain_on(self: &Arc<Self>) {
        let (mut written, mut pace) = (0, Pace(CHUNK.0 * 4));
        loop {
            match self.next_job(&mut pace) {
                Job::Done => return,
                Job::End => return self.end_torn(),
                Job::Wait => self.wait_for_room().await,
                Job::Written if written < CHUNKS_A_TURN => written += 1,
                Job::Written => {
                    written = 0;
                    tokio::task::yield_now().await;
                }
                Job::Serve(served) => {
                    if let Err(error) = self.serve(&served, &mut pace).await {
                        self.could_not_serve(&served.channel, &error).await;
                    }
                }
            }
        }
    }

    async fn could_not_serve(self: &Arc<Self>, channel: &Channel, error: &Error) {
        // A fault of the server is there again at the next try: its client hears of it, and may come again.
        if error.retryable() && error.code() != Code::Internal {
            metrics::counter!("tidings_replay_failures_total").increment(1);
            tracing::warn!(%channel, %error, "the log could not be read for a subscriber; it is tried again");
            tokio::time::sleep(RETRY).await;
        } else {
            tracing::warn!(%channel, %error, "a subscription could not be served and was closed");
            self.close_subscription(channel, error.code(), error.message());
        }
    }

    async fn wait_for_room(&self) {
        let over = std::pin::pin!(self.over.notified());
        if let Either::Left(((), _)) = select(self.outlet.room(), over).await {
            self.set_full(&mut self.out.lock(), false);
        }
    }

    fn next_job(&self, pace: &mut Pace) -> Job {
        let mut out = self.out.lock();
        let out = &mut *out;
        self.flush(out);
        if out.closed {
            out.draining = false;
            return Job::Done;
        }
        if out.offering {
            return Job::End;
        }
        fault::here("hub.drain");
        if !Self::is_writable(out) {
            return Job::Wait;
        }
        let Some((key, next)) = out.subscriptions.next_behind(out.turn) else {
            out.draining = false;
            return Job::Done;
        };
        out.turn = key.place;
        let (channel, state) = (next.request.channel.clone(), next.channel.clone());
        let served = Served { channel, state: state.clone(), key, cursor: next.cursor, owed: next.owed };
        if served.owed != Owed::Nothing {
            return Job::Serve(served);
        }
        if self.skip_or_settle(out, key) {
            let Some(messages) = state.after(served.cursor, pace.0, CHUNK_BYTES) else { return Job::Serve(served) };
            self.write_chunk(out, &served, messages, pace);
            self.go_on(out, key);
        }
        Job::Written
    }

    /// After a chunk: live if that was all, else told once in a while where it stands.
    fn go_on(&self, out: &mut Out, key: Key) {
        if self.skip_or_settle(out, key) {
            self.tell_position(out, key, POSITION_PERIOD, false);
        }
    }

    /// Runs `change` on the connection if the subscription is still the same one, and not held.
    fn with<T>(&self, served: &Served, change: impl FnOnce(&Self, &mut Out) -> T) -> Option<T> {
        let mut out = self.out.lock();
        out.subscriptions.served(served.key)?;
        Some(change(self, &mut out))
    }

    /// Changes a subscription if it is still the same one, and not held.
    fn change(&self, served: &Served, change: impl FnOnce(&mut Subscription)) {
        if let Some(subscription) = self.out.lock().subscriptions.served(served.key) {
            change(subscription);
        }
    }

    /// What was owed was given, under the same lock.
    fn is_paid(out: &mut Out, served: &Served) {
        if let Some(subscription) = out.subscriptions.served(served.key) {
            subscription.owed = Owed::Nothing;
        }
    }

    async fn serve(&self, served: &Served, pace: &mut Pace) -> Result<()> {
        match served.owed {
            Owed::Nothing => {
                self.replay_until(served, Seq::MAX - 1, pace).await?;
                self.with(served, |this, out| this.go_on(out, served.key));
                Ok(())
            }
            Owed::Reset(reason) => {
                let epoch = self.hub.log.epoch();
                let (channel, seq) = (&served.channel, served.cursor);
                self.with(served, |this, out| {
                    this.note(out, &Notice::Reset { channel, epoch: &epoch, seq, reason });
                    Self::is_paid(out, served);
                    metrics::counter!("tidings_gaps_total", "reason" => "reset").increment(1);
                });
                Ok(())
            }
            Owed::Snapshot(reason) => self.snapshot(served, reason).await,
            Owed::SnapshotAfterHistory => self.history_then_snapshot(served, pace).await,
            Owed::Last { count, head, snapshot } => {
                let from = self.scan_back(served, count, head).await?;
                self.change(served, |subscription| {
                    subscription.owed = if snapshot { Owed::SnapshotAfterHistory } else { Owed::Nothing };
                    subscription.cursor = from;
                });
                Ok(())
            }
        }
    }

    /// The state of a channel. A reducer that panics costs the subscription, not the connection.
    async fn state_of(&self, served: &Served) -> Result<Option<StateAt>> {
        panics::caught_in("states.fold", self.hub.states.at_head(&served.channel)).await?
    }

    async fn snapshot(&self, served: &Served, reason: &str) -> Result<()> {
        let at = self.state_of(served).await?;
        let seq = at.as_ref().map_or(served.cursor, |at| at.seq);
        let said = at.map(|at| self.snapshot_of(served, &at, reason));
        served.state.reaches(seq);
        let mut out = self.out.lock();
        let Some(subscription) = out.subscriptions.served(served.key) else { return Ok(()) };
        subscription.cursor = seq;
        subscription.owed = Owed::Nothing;
        out.control.extend(said);
        Ok(())
    }

    /// The notice with a state. Made without the connection's lock, which the fan-out waits for.
    fn snapshot_of(&self, served: &Served, at: &StateAt, reason: &str) -> Said {
        let (channel, epoch, snapshot) = (&served.channel, self.hub.log.epoch(), at.state.snapshot());
        let notice = Notice::Snapshot { channel, epoch: &epoch, seq: at.seq, reason, snapshot: &snapshot };
        notice.said(self.hub.clock.now())
    }

    /// History up to the state, then the state: before it show, after it fold.
    async fn history_then_snapshot(&self, served: &Served, pace: &mut Pace) -> Result<()> {
        let at = self.state_of(served).await?;
        let Some(at) = at else {
            self.change(served, |subscription| subscription.owed = Owed::Nothing);
            return Ok(());
        };
        // Not a newer state than this one: what lies between was not shown.
        if at.seq <= served.cursor || self.replay_until(served, at.seq, pace).await? == Some(at.seq) {
            let said = self.snapshot_of(served, &at, "joined");
            self.with(served, |_, out| {
                out.control.push(said);
                Self::is_paid(out, served);
            });
        }
        Ok(())
    }

    /// Where the newest `count` messages that pass begin: the seq before the first of them.
    async fn scan_back(&self, served: &Served, count: u64, head: Seq) -> Result<Seq> {
        let mut filter = None;
        self.change(served, |subscription| filter.clone_from(&subscription.request.filter));
        let Some(filter) = filter else { return Ok(head) };
        let (mut found, mut before) = (0, head + 1);
        while found < count && head + 1 - before < SCAN {
            let read = Read { after: 0, before: Some(before), limit: 512, max_bytes: 1024 * 1024, newest: true };
            let page = self.hub.log.read(&served.channel, read).await?;
            if page.messages.is_empty() {
                break;
            }
            for message in page.messages.iter().rev() {
                before = message.seq.unwrap_or(before);
                found += u64::from(filter.passes(message));
                if found == count {
                    break;
                }
            }
        }
        Ok(before - 1)
    }

    /// Skips ahead if it lags too far, goes live if it is at the head. Whether it is to be read on.
    fn skip_or_settle(&self, out: &mut Out, key: Key) -> bool {
        let Some(subscription) = out.subscriptions.get(key) else { return false };
        if subscription.owed != Owed::Nothing || subscription.phase != Phase::Behind {
            return false;
        }
        let standing = subscription.channel.standing();
        if subscription.cursor >= standing.head {
            let lost = subscription.channel.ephemeral_missed(subscription);
            subscription.dropped += lost;
            self.hub.metrics.ephemeral_dropped.increment(lost);
            (subscription.tick, subscription.ephemeral) = (standing.tick, standing.ephemeral);
            let first_time = std::mem::replace(&mut subscription.initial, false);
            self.settle(out, key.place);
            self.tell_draft(out, key);
            self.tell_position(out, key, if first_time { Duration::ZERO } else { POSITION_PERIOD }, true);
            return false;
        }
        if !subscription.lags(standing.head) {
            return true;
        }
        metrics::counter!("tidings_gaps_total", "reason" => "lag").increment(1);
        if subscription.request.snapshot && self.hub.states.has_projection(&subscription.request.channel) {
            subscription.owed = Owed::Snapshot("lag");
        } else {
            self.note_gap(out, key, standing.head, "lag");
        }
        false
    }

    /// Gives whoever goes live what it missed of ephemeral messages and nothing durable has replaced,
    /// as few whole ones.
    fn tell_draft(&self, out: &mut Out, key: Key) {
        let Some(subscription) = out.subscriptions.get(key) else { return };
        for message in self.hub.states.draft(&subscription.request.channel) {
            if subscription.passes(&message) {
                let dropped = std::mem::take(&mut subscription.dropped);
                out.control.push(Said::notice(message.to_json(dropped)));
            }
        }
    }

    /// Tells that what comes up to `to` will not come, and moves the cursor there.
    fn note_gap(&self, out: &mut Out, key: Key, to: Seq, reason: &str) {
        let Some(subscription) = out.subscriptions.get(key) else { return };
        let (from, channel) = (subscription.cursor + 1, subscription.request.channel.clone());
        subscription.cursor = to;
        let epoch = self.hub.log.epoch();
        self.note(out, &Notice::Gap { channel: &channel, epoch: &epoch, from, to, reason });
    }

    /// Reads one chunk after the cursor, not beyond `until`, and writes it. Where the cursor stands then.
    async fn replay_until(&self, served: &Served, until: Seq, pace: &mut Pace) -> Result<Option<Seq>> {
        let read = Read {
            after: served.cursor,
            before: Some(until + 1),
            limit: pace.0,
            max_bytes: CHUNK_BYTES,
            newest: false,
        };
        let page = self.hub.log.read(&served.channel, read).await?;
        served.state.reaches(page.head);
        if page.first > served.cursor + 1 {
            return Ok(self.with(served, |this, out| this.tell_gap(out, served, &page)));
        }
        Ok(self.with(served, |this, out| this.write_chunk(out, served, page.messages, pace)))
    }

    /// The log no longer has what comes next: a fresh state or a told gap.
    fn tell_gap(&self, out: &mut Out, served: &Served, page: &Page) -> Seq {
        let Some(subscription) = out.subscriptions.get(served.key) else { return 0 };
        metrics::counter!("tidings_gaps_total", "reason" => "trimmed").increment(1);
        let snapshot = subscription.request.snapshot && self.hub.states.has_projection(&served.channel);
        if snapshot && subscription.owed != Owed::SnapshotAfterHistory {
            subscription.owed = Owed::Snapshot("gap");
            return subscription.cursor;
        }
        self.note_gap(out, served.key, page.first - 1, "trimmed");
        page.first - 1
    }

    fn write_chunk(&self, out: &mut Out, served: &Served, mut messages: Vec<Arc<Message>>, pace: &mut Pace) -> Seq {
        self.flush(out);
        let writable = Self::is_writable(out);
        let Some(subscription) = out.subscriptions.get(served.key) else { return 0 };
        // What was replaced meanwhile is not this chunk's.
        if !writable || subscription.cursor != served.cursor {
            return subscription.cursor;
        }
        let last = messages.last().and_then(|message| message.seq);
        if subscription.request.filter.is_some() {
            messages.retain(|message| subscription.passes(message));
        }
        let parcel = Parcel::new(messages, self.hub.log.epoch());
        let passing = parcel.messages();
        let offered = self.offer(out, &parcel);
        let taken = self.taken(out, offered, passing.len());
        pace.learn(taken, passing.len());
        let reached = match passing.get(taken) {
            Some(next) => next.seq.map(|seq| seq - 1),
            None => last,
        };
        let bytes: usize = passing[..taken].iter().map(|message| message.payload.json().len()).sum();
        self.hub.metrics.delivered(taken as u64, bytes as u64);
        self.hub.metrics.replayed.increment(taken as u64);
        let Some(subscription) = out.subscriptions.get(served.key) else { return 0 };
        subscription.cursor = reached.unwrap_or(subscription.cursor);
        subscription.cursor
    }
}
