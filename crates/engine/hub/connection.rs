//! One connection: its subscriptions, what the server owes it, and its way out.
//!
//! Guarantees: everything that leaves a connection leaves under its one short lock, so that an
//! answer comes before the first message of its subscription and nothing after an unsubscribe;
//! answers and notices go before messages; what was not taken by the outlet is kept only for
//! answers and notices, whose number the transport bounds.
//! It is not a transport: parsing, tokens and timers are elsewhere.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{
    Channel, Code, Error, Principal, Result, Seq,
    outlet::{Ending, Frame, Offered, Outlet},
};
use tokio::sync::Notify;

use super::{
    Hub,
    channel::{Entry, Pinned, Subscriber},
    fanout::Prepared,
    notice::Notice,
    subscription::{Outcome, Owed, Phase, Plan, SubscribeRequest, Subscription},
};

/// So many answers and notices may wait for a connection before its transport takes no more commands.
pub const MAX_WAITING_ANSWERS: usize = 256;
/// How often a subscription whose filter drops everything is told where it stands.
const POSITION_PERIOD: Duration = Duration::from_secs(10);

/// A connection of the hub.
pub struct Connection {
    pub(super) id: u64,
    pub(super) hub: Arc<Hub>,
    pub(super) outlet: Arc<dyn Outlet>,
    principal: Mutex<Arc<Principal>>,
    pub(super) out: Mutex<Out>,
    /// The outlet took less than it was offered and has not called since.
    blocked: AtomicBool,
    /// The outlet has room again.
    pub(super) wake: Notify,
    /// Answers have left.
    room: Notify,
    next_subscription: AtomicU64,
}

/// What is under the connection's lock.
#[derive(Default)]
pub(super) struct Out {
    pub(super) subscriptions: HashMap<Channel, Subscription>,
    /// Answers and notices that the outlet did not take yet.
    pub(super) control: VecDeque<Frame>,
    /// A drain task runs.
    pub(super) draining: bool,
    pub(super) closed: bool,
    /// The subscription that the drain served last.
    pub(super) turn: u64,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.id)
    }
}

impl Connection {
    pub(super) fn new(id: u64, hub: Arc<Hub>, principal: Principal, outlet: Arc<dyn Outlet>) -> Arc<Self> {
        let connection = Arc::new(Self {
            id,
            hub,
            outlet,
            principal: Mutex::new(Arc::new(principal)),
            out: Mutex::default(),
            blocked: AtomicBool::new(false),
            wake: Notify::new(),
            room: Notify::new(),
            next_subscription: AtomicU64::new(1),
        });
        let weak: Weak<Self> = Arc::downgrade(&connection);
        connection.outlet.set_waker(Arc::new(move || {
            if let Some(connection) = weak.upgrade() {
                connection.blocked.store(false, Ordering::SeqCst);
                connection.wake.notify_one();
            }
        }));
        connection
    }

    /// Its number, for logs. Not known to any client.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whose connection it is.
    #[must_use]
    pub fn principal(&self) -> Arc<Principal> {
        self.principal.lock().clone()
    }

    /// Gives it the principal of a newer token. The caller ends the subscriptions that lost their grant.
    pub fn set_principal(&self, principal: Principal) {
        *self.principal.lock() = Arc::new(principal);
    }

    /// The channels it subscribes to.
    #[must_use]
    pub fn channels(&self) -> Vec<Channel> {
        self.out.lock().subscriptions.keys().cloned().collect()
    }

    /// Whether it was ended or released.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.out.lock().closed
    }

    /// Whether the outlet is full and has not called since.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }

    /// Subscribes to channels that the principal may read, and answers, as one step: the answer is
    /// on its way before any message of these subscriptions. A request that was refused already
    /// keeps its place in the answer.
    pub async fn subscribe(
        self: &Arc<Self>,
        requests: Vec<Result<SubscribeRequest>>,
        answer: impl FnOnce(Vec<Result<Outcome>>) -> Option<Frame>,
    ) {
        let mut loaded: Vec<Result<(SubscribeRequest, Pinned)>> = Vec::with_capacity(requests.len());
        for request in requests {
            loaded.push(match request {
                Ok(request) => self.hub.load(&request.channel).await.map(|channel| (request, channel)),
                Err(error) => Err(error),
            });
        }
        let epoch = self.hub.log.epoch();
        let mut out = self.out.lock();
        let outcomes = loaded
            .into_iter()
            .map(|request| request.and_then(|(request, channel)| self.attach(&mut out, request, &channel, &epoch)))
            .collect();
        if let Some(frame) = answer(outcomes) {
            out.control.push_back(frame);
        }
        self.flush(&mut out);
        self.drain_if_needed(&mut out);
    }

    fn attach(
        self: &Arc<Self>,
        out: &mut Out,
        request: SubscribeRequest,
        channel: &Pinned,
        epoch: &tidings_core::Epoch,
    ) -> Result<Outcome> {
        if out.closed {
            return Err(Error::new(Code::Unavailable, "the connection is closed"));
        }
        let has_state = self.hub.states.has_projection(&request.channel);
        if let Some(known) = out.subscriptions.get(&request.channel) {
            if request.same_as(&known.request) {
                let standing = known.channel.standing();
                return Ok(Plan::of(&SubscribeRequest::plain(request.channel), standing, epoch, false).outcome);
            }
            self.detach(out, &request.channel);
        } else if out.subscriptions.len() >= self.hub.config.subscriptions {
            let most = self.hub.config.subscriptions;
            return Err(Error::new(Code::TooLarge, format!("a connection has at most {most} subscriptions")));
        }
        let id = self.next_subscription.fetch_add(1, Ordering::Relaxed);
        let subscriber = Subscriber { connection: self.clone(), subscription: id };
        let (slot, standing) = channel.0.attach(subscriber);
        let plan = Plan::of(&request, standing, epoch, has_state);
        if plan.outcome.reason == Some(super::Unrecovered::Future) {
            metrics::counter!("tidings_subscribers_from_the_future_total").increment(1);
            tracing::error!(channel = %request.channel, head = standing.head, "a subscriber knows a position beyond the head of the same epoch");
        }
        let settled = plan.owed == Owed::Nothing && plan.cursor == standing.head && request.since.is_none();
        metrics::gauge!("tidings_subscriptions").increment(1.0);
        let mut subscription = Subscription {
            id,
            channel: channel.0.clone(),
            slot,
            cursor: plan.cursor,
            tick: standing.tick,
            phase: Phase::Live,
            owed: plan.owed,
            dropped: 0,
            told_at: self.hub.clock.monotonic(),
            initial: !settled,
            request,
        };
        if !settled {
            subscription.fall_behind();
        }
        out.subscriptions.insert(subscription.request.channel.clone(), subscription);
        Ok(plan.outcome)
    }

    /// Ends subscriptions and answers, as one step: nothing of them comes after the answer. Channels
    /// that were not subscribed to are no error. None means all.
    pub fn unsubscribe(self: &Arc<Self>, channels: Option<&[Channel]>, answer: Option<Frame>) {
        let mut out = self.out.lock();
        let all: Vec<Channel>;
        let channels = match channels {
            Some(channels) => channels,
            None => {
                all = out.subscriptions.keys().cloned().collect();
                &all
            }
        };
        for channel in channels {
            self.detach(&mut out, channel);
        }
        out.control.extend(answer);
        self.flush(&mut out);
        self.drain_if_needed(&mut out);
    }

    /// Ends one subscription from the server's side, and says why.
    pub fn close_subscription(self: &Arc<Self>, channel: &Channel, code: Code, message: &str) {
        let mut out = self.out.lock();
        if self.detach(&mut out, channel) {
            self.note(&mut out, &Notice::Closed { channel, code, message });
            self.flush(&mut out);
            self.drain_if_needed(&mut out);
        }
    }

    pub(super) fn detach(&self, out: &mut Out, channel: &Channel) -> bool {
        let Some(mut subscription) = out.subscriptions.remove(channel) else { return false };
        subscription.channel.detach(subscription.slot);
        subscription.settle();
        metrics::gauge!("tidings_subscriptions").decrement(1.0);
        true
    }

    /// Sends an answer or a notice's frame.
    pub fn say(self: &Arc<Self>, frame: Frame) {
        let mut out = self.out.lock();
        if out.closed {
            return;
        }
        out.control.push_back(frame);
        self.flush(&mut out);
        self.drain_if_needed(&mut out);
    }

    /// Sends a notice.
    pub fn notify(self: &Arc<Self>, notice: &Notice<'_>) {
        self.say(notice.frame(self.hub.clock.now(), self.outlet.form()));
    }

    pub(super) fn note(&self, out: &mut Out, notice: &Notice<'_>) {
        out.control.push_back(notice.frame(self.hub.clock.now(), self.outlet.form()));
    }

    /// Waits until few enough answers wait that another command may be taken.
    pub async fn answers_left(&self) {
        loop {
            let left = self.room.notified();
            {
                let out = self.out.lock();
                if out.closed || out.control.len() < MAX_WAITING_ANSWERS {
                    return;
                }
            }
            left.await;
        }
    }

    /// Ends the connection: a last notice, as far as it can leave at once, then the transport's close.
    pub fn end(self: &Arc<Self>, ending: &Ending) {
        let mut out = self.out.lock();
        if out.closed {
            return;
        }
        self.note(&mut out, &Notice::ConnectionClosed(ending));
        self.flush(&mut out);
        self.release_all(&mut out);
        drop(out);
        metrics::counter!("tidings_connections_ended_total", "code" => ending.code.as_str()).increment(1);
        tracing::info!(connection = self.id, code = %ending.code, why = ending.message, "a connection was ended");
        self.outlet.close(ending);
    }

    /// The transport is gone: everything of the connection is let go. Idempotent.
    pub fn release(&self) {
        let mut out = self.out.lock();
        self.release_all(&mut out);
    }

    fn release_all(&self, out: &mut Out) {
        if std::mem::replace(&mut out.closed, true) {
            return;
        }
        let channels: Vec<Channel> = out.subscriptions.keys().cloned().collect();
        for channel in channels {
            self.detach(out, &channel);
        }
        out.control.clear();
        self.hub.released(self.id);
        self.wake.notify_one();
        self.room.notify_waiters();
    }

    /// Offers frames; how many were taken.
    pub(super) fn write(&self, out: &mut Out, frames: &[Frame]) -> usize {
        if frames.is_empty() || out.closed {
            return 0;
        }
        // Before the offer: the waker may call while the offer returns.
        self.blocked.store(true, Ordering::SeqCst);
        match self.outlet.offer(frames) {
            Offered::All => {
                self.blocked.store(false, Ordering::SeqCst);
                frames.len()
            }
            Offered::Some(taken) => taken,
            Offered::Closed => {
                self.release_all(out);
                0
            }
        }
    }

    /// Writes answers and notices that wait. Whether none is left.
    pub(super) fn flush(&self, out: &mut Out) -> bool {
        if out.control.is_empty() {
            return true;
        }
        if self.is_blocked() {
            return false;
        }
        let mut control = std::mem::take(&mut out.control);
        let taken = self.write(out, control.make_contiguous());
        if out.closed {
            return true;
        }
        control.drain(..taken);
        out.control = control;
        if taken > 0 {
            self.room.notify_waiters();
        }
        out.control.is_empty()
    }

    pub(super) fn drain_if_needed(self: &Arc<Self>, out: &mut Out) {
        let needed = !out.control.is_empty()
            || out.subscriptions.values().any(|subscription| subscription.phase == Phase::Behind);
        if needed && !out.draining && !out.closed {
            out.draining = true;
            self.hub.tasks.spawn("hub.drain", Box::pin(self.clone().drain()));
        }
    }

    /// Writes a batch to a live subscription; one that is not contiguous with it, or whose outlet
    /// does not take it, falls behind.
    pub(super) fn deliver(self: &Arc<Self>, channel: &Channel, id: u64, batch: &mut Prepared) {
        let mut out = self.out.lock();
        let out = &mut *out;
        let writable = out.control.is_empty() && !self.is_blocked();
        let Some(subscription) = out.subscriptions.get_mut(channel).filter(|known| known.id == id) else { return };
        if subscription.phase == Phase::Behind {
            subscription.dropped += batch.ephemeral_after(subscription.tick);
            return;
        }
        if batch.fits(subscription) && writable {
            let frames = batch.frames(self.outlet.form());
            let taken = self.write(out, frames).min(batch.entries.len());
            let (written, rest) = batch.entries.split_at(taken);
            self.advance(out, channel, written, rest);
        } else {
            self.deliver_singly(out, channel, batch, writable);
        }
        self.drain_if_fell(out, channel);
    }

    /// The general way: filters, partial overlaps, lost ephemeral messages.
    fn deliver_singly(&self, out: &mut Out, channel: &Channel, batch: &Prepared, writable: bool) {
        let Some(subscription) = out.subscriptions.get_mut(channel) else { return };
        let form = self.outlet.form();
        let mut chosen: Vec<(&Entry, Option<Frame>)> = Vec::with_capacity(batch.entries.len());
        let mut cursor = subscription.cursor;
        let mut hole = batch.recheck && batch.entries.is_empty() && subscription.channel.standing().head > cursor;
        for entry in batch.entries.iter().filter(|entry| entry.tick > subscription.tick) {
            match entry.message.seq {
                Some(seq) if seq <= cursor => continue,
                Some(seq) if seq > cursor + 1 => {
                    hole = true;
                    break;
                }
                Some(seq) => cursor = seq,
                None => {}
            }
            let passes = subscription.passes(&entry.message);
            let frame = if !passes {
                None
            } else if entry.message.seq.is_none() && subscription.dropped > 0 {
                let json = entry.message.to_json(std::mem::take(&mut subscription.dropped));
                Some(Frame { answer_to: None, body: form.message(&json) })
            } else {
                Some(Frame::message(&entry.message, form))
            };
            chosen.push((entry, frame));
        }
        let frames: Vec<Frame> = chosen.iter().filter_map(|(_, frame)| frame.clone()).collect();
        let taken = if writable { self.write(out, &frames) } else { 0 };
        let mut left = taken;
        let done = chosen.iter().position(|(_, frame)| {
            let stays = frame.is_some() && left == 0;
            left -= usize::from(frame.is_some() && left > 0);
            stays
        });
        let entries: Vec<Entry> = chosen.iter().map(|(entry, _)| (*entry).clone()).collect();
        let (written, rest) = entries.split_at(done.unwrap_or(entries.len()));
        let filtered = written.len() > taken;
        self.advance(out, channel, written, rest);
        let Some(subscription) = out.subscriptions.get_mut(channel) else { return };
        if hole {
            subscription.fall_behind();
        } else if filtered && subscription.phase == Phase::Live {
            self.tell_position(out, channel, POSITION_PERIOD, true);
        }
    }

    /// Moves a subscription past what was written. The rest falls to the drain; what is ephemeral of it is lost.
    fn advance(&self, out: &mut Out, channel: &Channel, written: &[Entry], rest: &[Entry]) {
        let Some(subscription) = out.subscriptions.get_mut(channel) else { return };
        let mut bytes = 0;
        for entry in written {
            subscription.tick = entry.tick;
            if let Some(seq) = entry.message.seq {
                subscription.cursor = seq;
            }
            bytes += entry.message.payload.json().len() as u64;
        }
        metrics::counter!("tidings_deliveries_total").increment(written.len() as u64);
        metrics::counter!("tidings_delivered_bytes_total").increment(bytes);
        if let Some(last) = rest.last() {
            let ephemeral = |entry: &&Entry| entry.message.seq.is_none() && subscription.passes(&entry.message);
            let lost = rest.iter().filter(ephemeral).count() as u64;
            metrics::counter!("tidings_ephemeral_dropped_total").increment(lost);
            subscription.dropped += lost;
            subscription.tick = last.tick;
            subscription.fall_behind();
        }
    }

    fn drain_if_fell(self: &Arc<Self>, out: &mut Out, channel: &Channel) {
        if out.subscriptions.get(channel).is_some_and(|known| known.phase == Phase::Behind) || !out.control.is_empty() {
            self.drain_if_needed(out);
        }
    }

    /// Tells where a subscription stands, unless that was done within `period`.
    pub(super) fn tell_position(&self, out: &mut Out, channel: &Channel, period: Duration, live: bool) {
        let now = self.hub.clock.monotonic();
        let Some(subscription) = out.subscriptions.get_mut(channel) else { return };
        if now.saturating_sub(subscription.told_at) < period {
            return;
        }
        subscription.told_at = now;
        let (seq, head): (Seq, Seq) = (subscription.cursor, subscription.channel.standing().head);
        let epoch = self.hub.log.epoch();
        self.note(out, &Notice::Position { channel, epoch: &epoch, seq, head, live });
        self.flush(out);
    }
}
