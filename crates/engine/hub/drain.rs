//! The drain of a connection: it serves whoever is behind, from memory or the log, until nobody is.
//!
//! Guarantees: it runs only while something waits; one chunk for each subscription in turn; it
//! reads no more than the outlet can take next; what the log no longer has is told, never skipped.
//! It is not a queue: between two chunks only cursors remain.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    Channel, Message, Result, Seq,
    log::{Page, Read},
    outlet::Frame,
};

use super::{
    connection::{Connection, Out},
    notice::Notice,
    subscription::{Owed, Phase, Subscription},
};

/// One chunk of a replay.
const CHUNK_MESSAGES: usize = 128;
const CHUNK_BYTES: usize = 128 * 1024;
/// How many messages a filtered `last` looks through at most.
const SCAN: u64 = 10_000;
/// How long a log that cannot be read is waited for.
const RETRY: Duration = Duration::from_millis(250);
/// How often a subscription that is behind is told where it stands.
const POSITION_PERIOD: Duration = Duration::from_secs(1);

/// What is to be done next.
enum Job {
    /// The outlet is full: wait for room.
    Wait,
    /// A subscription that is behind.
    Serve { channel: Channel, id: u64, cursor: Seq, owed: Owed },
    /// Nobody is behind.
    Done,
}

impl Connection {
    pub(super) async fn drain(self: Arc<Self>) {
        loop {
            match self.next_job() {
                Job::Done => return,
                Job::Wait => self.wake.notified().await,
                Job::Serve { channel, id, cursor, owed } => match self.serve(&channel, id, cursor, owed).await {
                    Ok(()) => {}
                    Err(error) if error.code().retryable() => {
                        metrics::counter!("tidings_replay_failures_total").increment(1);
                        tracing::warn!(%channel, %error, "the log could not be read for a subscriber; it is tried again");
                        tokio::time::sleep(RETRY).await;
                    }
                    Err(error) => {
                        tracing::warn!(%channel, %error, "a subscription could not be served and was closed");
                        self.close_subscription(&channel, error.code(), error.message());
                    }
                },
            }
        }
    }

    fn next_job(&self) -> Job {
        let mut out = self.out.lock();
        let out = &mut *out;
        let flushed = self.flush(out);
        if out.closed {
            out.draining = false;
            return Job::Done;
        }
        if !flushed || self.is_blocked() {
            return Job::Wait;
        }
        let behind = |known: &&Subscription| known.phase == Phase::Behind;
        let mut next: Option<&Subscription> = None;
        for known in out.subscriptions.values().filter(behind) {
            // The one after the last served; at the end, the first.
            let rank = |known: &Subscription| (known.id <= out.turn, known.id);
            if next.is_none_or(|best| rank(known) < rank(best)) {
                next = Some(known);
            }
        }
        let Some(next) = next else {
            out.draining = false;
            return Job::Done;
        };
        let job =
            Job::Serve { channel: next.request.channel.clone(), id: next.id, cursor: next.cursor, owed: next.owed };
        out.turn = next.id;
        job
    }

    /// Runs `change` on a subscription if it is still the same one.
    fn with<T>(&self, channel: &Channel, id: u64, change: impl FnOnce(&Self, &mut Out) -> T) -> Option<T> {
        let mut out = self.out.lock();
        out.subscriptions.get(channel).filter(|known| known.id == id)?;
        Some(change(self, &mut out))
    }

    async fn serve(&self, channel: &Channel, id: u64, cursor: Seq, owed: Owed) -> Result<()> {
        match owed {
            Owed::Nothing => self.replay(channel, id, cursor).await,
            Owed::Reset(reason) => {
                let epoch = self.hub.log.epoch();
                self.with(channel, id, |this, out| {
                    this.note(out, &Notice::Reset { channel, epoch: &epoch, seq: cursor, reason });
                    set_owed(out, channel, Owed::Nothing);
                });
                metrics::counter!("tidings_gaps_total", "reason" => "reset").increment(1);
                Ok(())
            }
            Owed::Snapshot(reason) => self.snapshot(channel, id, reason).await,
            Owed::SnapshotAfterHistory => self.history_then_snapshot(channel, id, cursor).await,
            Owed::Last { count, head, snapshot } => {
                let from = self.scan_back(channel, id, count, head).await?;
                self.with(channel, id, |_, out| {
                    set_owed(out, channel, if snapshot { Owed::SnapshotAfterHistory } else { Owed::Nothing });
                    set_cursor(out, channel, from);
                });
                Ok(())
            }
        }
    }

    async fn snapshot(&self, channel: &Channel, id: u64, reason: &str) -> Result<()> {
        let at = self.hub.states.at_head(channel).await?;
        let epoch = self.hub.log.epoch();
        self.with(channel, id, |this, out| {
            if let Some(at) = at {
                let snapshot = at.state.snapshot();
                this.note(out, &Notice::Snapshot { channel, epoch: &epoch, seq: at.seq, reason, snapshot: &snapshot });
                set_cursor(out, channel, at.seq);
            }
            set_owed(out, channel, Owed::Nothing);
        });
        Ok(())
    }

    /// History up to the state, then the state: before it show, after it fold.
    async fn history_then_snapshot(&self, channel: &Channel, id: u64, cursor: Seq) -> Result<()> {
        let at = self.hub.states.at_head(channel).await?;
        let Some(at) = at.filter(|at| at.seq > cursor) else {
            return self.snapshot(channel, id, "joined").await;
        };
        let reached = self.replay_until(channel, id, cursor, at.seq).await?;
        let epoch = self.hub.log.epoch();
        if reached == Some(at.seq) {
            self.with(channel, id, |this, out| {
                let snapshot = at.state.snapshot();
                let seq = at.seq;
                this.note(
                    out,
                    &Notice::Snapshot { channel, epoch: &epoch, seq, reason: "joined", snapshot: &snapshot },
                );
                set_owed(out, channel, Owed::Nothing);
            });
        }
        Ok(())
    }

    /// Where the newest `count` messages that pass begin: the seq before the first of them.
    async fn scan_back(&self, channel: &Channel, id: u64, count: u64, head: Seq) -> Result<Seq> {
        let filter =
            self.with(channel, id, |_, out| out.subscriptions.get(channel).and_then(|s| s.request.filter.clone()));
        let Some(Some(filter)) = filter else { return Ok(head) };
        let (mut found, mut before) = (0, head + 1);
        while found < count && head + 1 - before < SCAN {
            let read = Read { after: 0, before: Some(before), limit: 512, max_bytes: 1024 * 1024, newest: true };
            let page = self.hub.log.read(channel, read).await?;
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

    /// One chunk of a replay; at the head the subscription becomes live.
    async fn replay(&self, channel: &Channel, id: u64, cursor: Seq) -> Result<()> {
        let told = self.with(channel, id, |this, out| this.skip_or_settle(out, channel));
        if told != Some(true) {
            return Ok(());
        }
        self.replay_until(channel, id, cursor, Seq::MAX - 1).await?;
        self.with(channel, id, |this, out| {
            this.skip_or_settle(out, channel);
            this.tell_position(out, channel, POSITION_PERIOD, false);
        });
        Ok(())
    }

    /// Skips ahead if it lags too far, goes live if it is at the head. Whether it is to be read on.
    fn skip_or_settle(&self, out: &mut Out, channel: &Channel) -> bool {
        let Some(subscription) = out.subscriptions.get_mut(channel) else { return false };
        if subscription.owed != Owed::Nothing || subscription.phase == Phase::Live {
            return false;
        }
        let standing = subscription.channel.standing();
        if subscription.cursor >= standing.head {
            subscription.settle();
            if !subscription.initial {
                subscription.dropped += subscription.channel.ephemeral_waiting(subscription.tick);
            }
            subscription.tick = standing.tick;
            let first_time = std::mem::replace(&mut subscription.initial, false);
            self.tell_position(out, channel, if first_time { Duration::ZERO } else { POSITION_PERIOD }, true);
            return false;
        }
        if !subscription.lags(standing.head) {
            return true;
        }
        metrics::counter!("tidings_gaps_total", "reason" => "lag").increment(1);
        if subscription.request.snapshot && self.hub.states.has_projection(channel) {
            subscription.owed = Owed::Snapshot("lag");
        } else {
            let (from, to) = (subscription.cursor + 1, standing.head);
            subscription.cursor = to;
            let epoch = self.hub.log.epoch();
            self.note(out, &Notice::Gap { channel, epoch: &epoch, from, to, reason: "lag" });
        }
        false
    }

    /// Reads one chunk after the cursor, not beyond `until`, and writes it. Where the cursor stands then.
    async fn replay_until(&self, channel: &Channel, id: u64, cursor: Seq, until: Seq) -> Result<Option<Seq>> {
        let state = self.with(channel, id, |_, out| out.subscriptions.get(channel).map(|known| known.channel.clone()));
        let Some(Some(state)) = state else { return Ok(None) };
        let messages = match state.after(cursor, CHUNK_MESSAGES, CHUNK_BYTES) {
            Some(messages) => messages,
            None => {
                let read = Read {
                    after: cursor,
                    before: Some(until + 1),
                    limit: CHUNK_MESSAGES,
                    max_bytes: CHUNK_BYTES,
                    newest: false,
                };
                let page = self.hub.log.read(channel, read).await?;
                if page.first > cursor + 1 {
                    return Ok(self.with(channel, id, |this, out| this.tell_gap(out, channel, &page)));
                }
                page.messages
            }
        };
        let messages: Vec<Arc<Message>> =
            messages.into_iter().filter(|message| message.seq.is_some_and(|seq| seq <= until)).collect();
        Ok(self.with(channel, id, |this, out| this.write_chunk(out, channel, &messages)))
    }

    /// The log no longer has what comes next: a fresh state or a told gap.
    fn tell_gap(&self, out: &mut Out, channel: &Channel, page: &Page) -> Seq {
        let Some(subscription) = out.subscriptions.get_mut(channel) else { return 0 };
        metrics::counter!("tidings_gaps_total", "reason" => "trimmed").increment(1);
        if subscription.request.snapshot && self.hub.states.has_projection(channel) {
            let after_history = subscription.owed == Owed::SnapshotAfterHistory;
            if !after_history {
                subscription.owed = Owed::Snapshot("gap");
                return subscription.cursor;
            }
        }
        let (from, to) = (subscription.cursor + 1, page.first - 1);
        subscription.cursor = to;
        let epoch = self.hub.log.epoch();
        self.note(out, &Notice::Gap { channel, epoch: &epoch, from, to, reason: "trimmed" });
        to
    }

    fn write_chunk(&self, out: &mut Out, channel: &Channel, messages: &[Arc<Message>]) -> Seq {
        if !self.flush(out) {
            return out.subscriptions.get(channel).map_or(0, |known| known.cursor);
        }
        let Some(subscription) = out.subscriptions.get(channel) else { return 0 };
        let form = self.outlet.form();
        let passing: Vec<&Arc<Message>> = messages.iter().filter(|message| subscription.passes(message)).collect();
        let frames: Vec<Frame> = passing.iter().map(|message| Frame::message(message, form)).collect();
        let taken = self.write(out, &frames);
        let reached = match passing.get(taken) {
            Some(next) => next.seq.map(|seq| seq - 1),
            None => messages.last().and_then(|message| message.seq),
        };
        metrics::counter!("tidings_deliveries_total").increment(taken as u64);
        metrics::counter!("tidings_replayed_total").increment(taken as u64);
        let bytes: usize = passing[..taken].iter().map(|message| message.payload.json().len()).sum();
        metrics::counter!("tidings_delivered_bytes_total").increment(bytes as u64);
        if let Some(reached) = reached {
            set_cursor(out, channel, reached);
        }
        out.subscriptions.get(channel).map_or(0, |known| known.cursor)
    }
}

fn set_cursor(out: &mut Out, channel: &Channel, cursor: Seq) {
    if let Some(subscription) = out.subscriptions.get_mut(channel) {
        subscription.cursor = cursor;
    }
}

fn set_owed(out: &mut Out, channel: &Channel, owed: Owed) {
    if let Some(subscription) = out.subscriptions.get_mut(channel) {
        subscription.owed = owed;
    }
}
