//! One connection: its subscriptions, what the server owes it, and its way out.
//!
//! Guarantees: everything that leaves a connection leaves under its one short lock, so that an
//! answer comes before the first message of its subscription and nothing after an unsubscribe;
//! answers and notices go before messages; what was not taken by the outlet is kept only for
//! answers and notices: from a bound on no further command is taken, and far beyond it the connection ends.
//! It is not a transport: parsing, tokens and timers are elsewhere.

use std::sync::{Arc, atomic::Ordering};

use parking_lot::{Mutex, MutexGuard};
use tidings_core::{
    Channel, Code, Error, Principal, Result,
    outlet::{Ending, Offered, Outlet, Said},
    parcel::Parcel,
};
use tokio::sync::Notify;

use super::{
    Hub,
    channel::{Pinned, Subscriber},
    notice::Notice,
    subscription::{Outcome, Owed, Phase, Plan, SubscribeRequest, Subscription},
    subscriptions::{Key, Place, Subscriptions},
    waiting::Waiting,
};
use crate::budget::{Bound, Held, Share, Who};

/// So many answers and notices may wait for a connection before its transport takes no more commands.
pub const MAX_WAITING_ANSWERS: usize = 256;

/// So many times the bytes from which on no command is taken may wait: the answers of commands that ran already.
const BEYOND: usize = 4;

/// How an end is counted that was the client's.
const LEFT: &str = "left";

/// A connection of the hub.
pub struct Connection {
    pub(super) id: u64,
    pub(super) hub: Arc<Hub>,
    pub(super) outlet: Arc<dyn Outlet>,
    principal: Mutex<Arc<Principal>>,
    /// What is held for its user.
    share: Arc<Share>,
    pub(super) out: Mutex<Out>,
    /// It was closed.
    pub(super) over: Notify,
    /// Answers have left.
    room: Notify,
}

/// What is under the connection's lock.
#[derive(Default)]
pub(super) struct Out {
    pub(super) subscriptions: Subscriptions,
    /// Answers and notices that the outlet did not take yet.
    pub(super) control: Waiting,
    /// The outlet took less than it was offered and has had no room since.
    pub(super) full: bool,
    /// A drain task runs.
    pub(super) draining: bool,
    /// Somebody finds out what of the held subscriptions may be read, again and again.
    pub(super) judging: bool,
    /// Something is being offered to the outlet. Where this is seen, that panicked: nobody knows what was written,
    /// so nothing is any more, and the drain ends the connection.
    pub(super) offering: bool,
    pub(super) closed: bool,
    /// Where the subscription stands that the drain served last.
    pub(super) turn: Place,
    last_subscription: u64,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.id)
    }
}

impl Connection {
    pub(super) fn new(id: u64, hub: Arc<Hub>, principal: Principal, outlet: Arc<dyn Outlet>) -> Arc<Self> {
        let share = hub.budget.share(&Who::User(principal.user.clone()));
        Arc::new(Self {
            id,
            hub,
            outlet,
            principal: Mutex::new(Arc::new(principal)),
            share,
            out: Mutex::default(),
            over: Notify::new(),
            room: Notify::new(),
        })
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
        self.out.lock().subscriptions.channels()
    }

    /// Whether it subscribes to a channel.
    pub(super) fn subscribes_to(&self, channel: &Channel) -> bool {
        self.out.lock().subscriptions.of(channel).is_some()
    }

    /// Whether it was ended or released.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.out.lock().closed
    }

    /// What is held for its user, over all connections of that.
    #[must_use]
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Notes whether the outlet takes what is offered to it.
    pub(super) fn set_full(&self, out: &mut Out, full: bool) {
        match (std::mem::replace(&mut out.full, full), full) {
            (false, true) => {
                self.hub.slow.fetch_add(1, Ordering::Relaxed);
            }
            (true, false) => {
                self.hub.slow.fetch_sub(1, Ordering::Relaxed);
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Subscribes to channels that the principal may read, and answers, as one step: the answer is
    /// on its way before any message of these subscriptions. A request that was refused already
    /// keeps its place in the answer.
    pub async fn subscribe(
        self: &Arc<Self>,
        requests: Vec<Result<SubscribeRequest>>,
        answer: impl FnOnce(Vec<Result<Outcome>>) -> Option<Said>,
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
        out.control.extend(answer(outcomes));
        self.said(out);
    }

    /// What was put to the end is said, as far as it can be now; what is too much ends the connection.
    fn said(self: &Arc<Self>, mut out: MutexGuard<'_, Out>) {
        self.flush(&mut out);
        self.drain_if_needed(&mut out);
        let excess = self.excess(&out).filter(|_| !out.closed);
        drop(out);
        let Some(bound) = excess else { return };
        bound.count("answers");
        self.end(&Ending::temporary(bound.code(), "more answers wait to be read than may"));
    }

    /// The bound that is exceeded with the answers that wait. The only one may be of any size.
    fn excess(&self, out: &Out) -> Option<Bound> {
        let own = out.control.len() > 1 && out.control.bytes() > self.hub.config.answer_bytes.saturating_mul(BEYOND);
        if own { Some(Bound::Connection) } else { out.control.exceeds() }
    }

    /// Counts a filter for its user: it is kept as long as its subscription.
    fn hold_filter(&self, request: &SubscribeRequest) -> Result<Option<Held>> {
        if request.filter_bytes == 0 {
            return Ok(None);
        }
        self.share.hold(request.filter_bytes).map(Some).map_err(|bound| {
            bound.count("filters");
            Error::new(bound.code(), "subscribe: more filters are kept than may")
        })
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
        let held;
        if let Some(known) = out.subscriptions.of(&request.channel) {
            if request.same_as(&known.request) {
                let (standing, cursor, owed) = (known.channel.standing(), known.cursor, known.owed);
                let plan = Plan::of(&SubscribeRequest::plain(request.channel), standing, epoch, false);
                return Ok(Plan { cursor, owed, ..plan }.placed().outcome);
            }
            held = self.hold_filter(&request)?;
            self.detach(out, &request.channel);
        } else if out.subscriptions.len() >= self.hub.config.subscriptions {
            let most = self.hub.config.subscriptions;
            return Err(Error::new(Code::TooLarge, format!("a connection has at most {most} subscriptions")));
        } else {
            held = self.hold_filter(&request)?;
        }
        out.last_subscription += 1;
        let (id, place) = (out.last_subscription, out.subscriptions.next_place());
        let (slot, standing) = channel.0.attach(Subscriber { connection: self.clone(), key: Key { place, id } });
        let plan = Plan::of(&request, standing, epoch, has_state);
        if plan.outcome.reason == Some(super::Unrecovered::Future) {
            metrics::counter!("tidings_subscribers_from_the_future_total").increment(1);
            tracing::debug!(channel = %request.channel, head = standing.head, "a client names a position beyond the head of the same epoch");
        }
        let at_head = plan.owed == Owed::Nothing && plan.cursor == standing.head && request.since.is_none();
        let settled = at_head && !self.hub.states.has_draft(&request.channel);
        self.hub.metrics.subscriptions.increment(1.0);
        out.subscriptions.insert(Subscription {
            id,
            channel: channel.0.clone(),
            slot,
            cursor: plan.cursor,
            tick: standing.tick,
            ephemeral: standing.ephemeral,
            phase: Phase::Live,
            owed: plan.owed,
            dropped: 0,
            told_at: self.hub.clock.monotonic(),
            initial: !settled,
            _held: held,
            request,
        });
        if !settled {
            self.fall_behind(out, place);
        }
        Ok(plan.outcome)
    }

    pub(super) fn fall_behind(&self, out: &mut Out, place: Place) {
        let before = out.subscriptions.behind();
        out.subscriptions.fall_behind(place);
        if out.subscriptions.behind() > before {
            self.hub.metrics.behind.increment(1.0);
            self.hub.metrics.fell_behind.increment(1);
        }
    }

    pub(super) fn settle(&self, out: &mut Out, place: Place) {
        let before = out.subscriptions.behind();
        out.subscriptions.settle(place);
        if out.subscriptions.behind() < before {
            self.hub.metrics.behind.decrement(1.0);
        }
    }

    /// Ends subscriptions and answers, as one step: nothing of them comes after the answer. Channels
    /// that were not subscribed to are no error. None means all.
    pub fn unsubscribe(self: &Arc<Self>, channels: Option<&[Channel]>, answer: Option<Said>) {
        let mut out = self.out.lock();
        let all: Vec<Channel>;
        let channels = match channels {
            Some(channels) => channels,
            None => {
                all = out.subscriptions.channels();
                &all
            }
        };
        for channel in channels {
            self.detach(&mut out, channel);
        }
        out.control.extend(answer);
        self.said(out);
    }

    /// Ends one subscription from the server's side, and says why.
    pub fn close_subscription(self: &Arc<Self>, channel: &Channel, code: Code, message: &str) {
        self.close_in(&mut self.out.lock(), channel, code, message);
    }

    pub(super) fn close_in(self: &Arc<Self>, out: &mut Out, channel: &Channel, code: Code, message: &str) {
        if self.detach(out, channel) {
            self.note(out, &Notice::Closed { channel, code, message });
            self.flush(out);
            self.drain_if_needed(out);
        }
    }

    pub(super) fn detach(&self, out: &mut Out, channel: &Channel) -> bool {
        let Some(subscription) = out.subscriptions.remove(channel) else { return false };
        subscription.channel.detach(subscription.slot);
        if subscription.phase == Phase::Behind {
            self.hub.metrics.behind.decrement(1.0);
        }
        self.hub.metrics.subscriptions.decrement(1.0);
        true
    }

    /// Sends an answer or a notice.
    pub fn say(self: &Arc<Self>, said: Said) {
        let mut out = self.out.lock();
        if out.closed {
            return;
        }
        out.control.push(said);
        self.said(out);
    }

    /// Sends a notice.
    pub fn notify(self: &Arc<Self>, notice: &Notice<'_>) {
        self.say(notice.said(self.hub.clock.now()));
    }

    pub(super) fn note(&self, out: &mut Out, notice: &Notice<'_>) {
        out.control.push(notice.said(self.hub.clock.now()));
    }

    /// Waits until so few answers wait, and so small ones, that another command may be taken.
    pub async fn answers_left(&self) {
        loop {
            let left = self.room.notified();
            {
                let out = self.out.lock();
                if out.closed || self.has_answers_left(&out.control) {
                    return;
                }
            }
            left.await;
        }
    }

    /// Whether there is room for more answers. Whoever has none waiting is not held back for others.
    fn has_answers_left(&self, control: &Waiting) -> bool {
        let own = control.len() < MAX_WAITING_ANSWERS && control.bytes() < self.hub.config.answer_bytes;
        control.is_empty() || (own && !self.share.is_pressed())
    }

    /// Ends the connection: a last notice, as far as it can leave at once, then the transport's close.
    pub fn end(self: &Arc<Self>, ending: &Ending) {
        let mut out = self.out.lock();
        if out.closed {
            return;
        }
        self.note(&mut out, &Notice::ConnectionClosed(ending));
        self.flush(&mut out);
        if self.release_all(&mut out, ending.code.as_str()) {
            tracing::info!(connection = self.id, code = %ending.code, why = ending.message, "a connection was ended");
        }
        drop(out);
        self.outlet.close(ending);
    }

    /// The client went, or its transport is gone: everything of the connection is let go. Idempotent.
    pub fn release(&self) {
        if self.release_all(&mut self.out.lock(), LEFT) {
            tracing::debug!(connection = self.id, "a client left");
        }
    }

    /// There has been no sign of the client for too long: everything of the connection is let go. Idempotent.
    pub fn release_silent(&self) {
        if self.release_all(&mut self.out.lock(), "silent") {
            tracing::info!(connection = self.id, code = "silent", "a client fell silent");
        }
    }

    /// Lets everything go, and counts why. Whether that was not done before.
    fn release_all(&self, out: &mut Out, why: &'static str) -> bool {
        if std::mem::replace(&mut out.closed, true) {
            return false;
        }
        metrics::counter!("tidings_connections_ended_total", "code" => why).increment(1);
        for channel in out.subscriptions.channels() {
            self.detach(out, &channel);
        }
        out.control.clear();
        self.set_full(out, false);
        self.hub.released(self.id);
        self.over.notify_one();
        self.room.notify_waiters();
        true
    }

    /// What became of an offer: how many were taken.
    pub(super) fn taken(&self, out: &mut Out, offered: Offered, all: usize) -> usize {
        match offered {
            Offered::All => all,
            Offered::Full(taken) => {
                self.set_full(out, true);
                taken
            }
            Offered::Closed => {
                if self.release_all(out, LEFT) {
                    tracing::debug!(connection = self.id, "a client was gone at a write");
                }
                0
            }
        }
    }

    /// Offers messages to the outlet.
    pub(super) fn offer(&self, out: &mut Out, parcel: &Parcel) -> Offered {
        offered(&mut out.offering, || self.outlet.deliver(parcel))
    }

    /// Offers answers and notices to the outlet.
    pub(super) fn offer_said(&self, out: &mut Out, said: &[Said]) -> Offered {
        offered(&mut out.offering, || self.outlet.say(said))
    }

    /// Whether the outlet takes messages now: nothing else waits for it.
    pub(super) fn is_writable(out: &Out) -> bool {
        !out.full && !out.closed && !out.offering && out.control.is_empty()
    }

    /// Writes answers and notices that wait. Whether none is left.
    pub(super) fn flush(&self, out: &mut Out) -> bool {
        if out.control.is_empty() {
            return true;
        }
        let mut some = false;
        while !out.full && !out.closed && !out.offering && !out.control.is_empty() {
            let portion = out.control.portion();
            let (all, offered) = (portion.len(), offered(&mut out.offering, || self.outlet.say(portion)));
            let taken = self.taken(out, offered, all);
            out.control.left(taken);
            some |= taken > 0;
        }
        out.control.settle(&self.share);
        if some {
            self.room.notify_waiters();
        }
        out.control.is_empty()
    }

    pub(super) fn drain_if_needed(self: &Arc<Self>, out: &mut Out) {
        let needed = out.full || out.offering || !out.control.is_empty() || out.subscriptions.behind() > 0;
        if needed && !out.draining && !out.closed {
            out.draining = true;
            self.hub.tasks.spawn("hub.drain", Box::pin(self.clone().drain()));
        }
    }
}

/// Makes an offer. While it is made `offering` says so, and goes on saying so if the offer panics.
fn offered(offering: &mut bool, offer: impl FnOnce() -> Offered) -> Offered {
    *offering = true;
    let offered = offer();
    *offering = false;
    offered
}
