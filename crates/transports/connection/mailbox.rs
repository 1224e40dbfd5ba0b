//! The mailbox of a connection: its commands in the order sent, taken at its rate.
//!
//! Guarantees: bounded in number and bytes, for itself, for its user and in all; nothing that was put in is thrown
//! away while the connection lives; from half full on the connection is to be left unread. The bytes of a command
//! count until it is answered. One that is empty costs nothing but itself: who takes the commands runs only while
//! there are some.
//! It is not a queue of work: what a taken command starts may run beside the next.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{
    rate::{Bucket, Rate},
    runtime::Clock,
};
use tidings_engine::budget::{Bound, Held, Share};

/// What a waiting request takes in memory beside its text, about.
const EACH: usize = 128;

/// A request of the client, as it came.
pub(crate) struct Incoming {
    /// What it says.
    pub(crate) packet: Packet,
    /// The number that it is answered under, where the transport says one beside the text.
    pub(crate) ack: Option<u64>,
}

/// What a request says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Its JSON, which the transport's [`Door`](super::Door) reads.
    Text(Box<str>),
    /// It is binary, or has something binary with it. Nothing of that is kept.
    Binary,
    /// It is larger than a message may be. Its text is not kept: it waits for its turn to be refused.
    TooLarge,
}

impl Packet {
    /// Its JSON; nothing where that is not kept.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Binary | Self::TooLarge => "",
        }
    }
}

impl Incoming {
    fn weight(&self) -> usize {
        EACH + self.packet.text().len()
    }
}

/// What became of a request that was put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// Somebody takes already.
    Waits,
    /// Nobody takes: whoever put it in has to see to that.
    Serve,
    /// The connection is over.
    Closed,
    /// There is no room.
    Full(Bound),
}

/// What is to be done next.
pub(super) enum Next {
    /// This command, and its bytes, which are held until it is answered.
    Take(Incoming, Held),
    /// The connection has used up its rate: wait so long.
    Pause(Duration),
    /// Nothing waits. Whoever took is not needed any longer.
    Nothing,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<(Incoming, Held)>,
    /// The bytes of those that wait.
    bytes: usize,
    bucket: Bucket,
    /// Somebody takes what waits.
    served: bool,
    closed: bool,
}

/// How much a mailbox takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    /// Requests that wait.
    pub(super) count: usize,
    /// Bytes of requests that wait.
    pub(super) bytes: usize,
    /// How many are taken at once and then in a second; none without a limit.
    pub(super) rate: Option<Rate>,
}

/// The mailbox.
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    capacity: Capacity,
    share: Arc<Share>,
    clock: Arc<dyn Clock>,
}

impl Mailbox {
    /// An empty one. What waits in it is counted in its user's share.
    pub(super) fn new(capacity: Capacity, share: Arc<Share>, clock: Arc<dyn Clock>) -> Self {
        let capacity = Capacity { count: capacity.count.max(4), ..capacity };
        Self { inner: Mutex::default(), capacity, share, clock }
    }

    /// Puts a request in.
    pub(super) fn put(&self, incoming: Incoming) -> Put {
        let weight = incoming.weight();
        let mut inner = self.inner.lock();
        if inner.closed {
            return Put::Closed;
        }
        if inner.waiting.len() >= self.capacity.count || inner.bytes + weight > self.capacity.bytes {
            return Put::Full(Bound::Connection);
        }
        match self.share.hold(weight) {
            Ok(held) => inner.waiting.push_back((incoming, held)),
            Err(bound) => return Put::Full(bound),
        }
        inner.bytes += weight;
        if std::mem::replace(&mut inner.served, true) { Put::Waits } else { Put::Serve }
    }

    /// The next command, if the rate allows one now.
    pub(super) fn next(&self) -> Next {
        let mut inner = self.inner.lock();
        if inner.waiting.is_empty() {
            inner.served = false;
            inner.waiting = VecDeque::new();
            return Next::Nothing;
        }
        if let Some(rate) = self.capacity.rate
            && let Err(pause) = inner.bucket.take(rate, self.clock.monotonic())
        {
            return Next::Pause(pause);
        }
        let Some((incoming, held)) = inner.waiting.pop_front() else { return Next::Nothing };
        inner.bytes -= held.bytes();
        Next::Take(incoming, held)
    }

    /// Whoever takes what waits. Dropped before its time, the next one that is put in finds nobody taking.
    pub(super) fn serving(&self) -> Serving<'_> {
        Serving { mailbox: self, is_over: false }
    }

    /// Whether so much waits that the client is not to be read. Whoever has nothing waiting is not held back for
    /// others.
    pub(crate) fn is_crowded(&self) -> bool {
        let inner = self.inner.lock();
        let own = inner.waiting.len() > self.capacity.count / 2 || inner.bytes > self.capacity.bytes / 2;
        own || (!inner.waiting.is_empty() && self.share.is_pressed())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner.lock().waiting.is_empty()
    }

    /// Throws away what waits: there is nobody left to answer.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.bytes = 0;
        inner.waiting = VecDeque::new();
    }
}

/// Whoever takes from a mailbox.
pub(super) struct Serving<'a> {
    mailbox: &'a Mailbox,
    is_over: bool,
}

impl Serving<'_> {
    /// Nothing waited: it is over already.
    pub(super) fn is_over(&mut self) {
        self.is_over = true;
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.mailbox.inner.lock().served = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_engine::budget::{Budget, BudgetConfig, Who};
    use tidings_testkit::TestClock;

    use super::*;

    fn text(bytes: usize) -> Incoming {
        Incoming { packet: Packet::Text("x".repeat(bytes).into()), ack: None }
    }

    fn mailbox(budget: &Arc<Budget>, user: &str, capacity: Capacity) -> Mailbox {
        Mailbox::new(capacity, budget.share(&Who::User(user.parse().expect("an id"))), TestClock::new())
    }

    const WIDE: Capacity = Capacity { count: 1000, bytes: 1 << 20, rate: None };

    #[test]
    fn bytes_fill_a_mailbox_as_their_number_does_and_half_of_them_is_a_crowd() {
        let budget = Budget::new(BudgetConfig::default());
        let mailbox = mailbox(&budget, "ada", Capacity { bytes: 10_000, ..WIDE });
        assert_eq!(mailbox.put(text(4000)), Put::Serve);
        assert!(!mailbox.is_crowded());
        assert_eq!(mailbox.put(text(4000)), Put::Waits);
        assert!(mailbox.is_crowded());
        assert_eq!(mailbox.put(text(4000)), Put::Full(Bound::Connection));
        let Next::Take(..) = mailbox.next() else { panic!("one waits") };
        assert!(!mailbox.is_crowded());
        assert_eq!(mailbox.put(text(4000)), Put::Waits);
    }

    #[test]
    fn the_bytes_of_a_command_count_until_it_is_answered_or_its_connection_is_over() {
        let budget = Budget::new(BudgetConfig::default());
        let mailbox = mailbox(&budget, "ada", WIDE);
        mailbox.put(text(1000));
        mailbox.put(text(500));
        assert_eq!(budget.held(), 1500 + 2 * EACH);
        let Next::Take(_, held) = mailbox.next() else { panic!("two wait") };
        assert_eq!(budget.held(), 1500 + 2 * EACH, "it runs");
        drop(held);
        assert_eq!(budget.held(), 500 + EACH);
        mailbox.close();
        assert_eq!(budget.held(), 0);
        assert_eq!((mailbox.put(text(1)), budget.held()), (Put::Closed, 0));
    }

    #[test]
    fn a_user_shares_one_bound_over_all_connections_and_others_have_their_own() {
        let budget = Budget::new(BudgetConfig { user: 10_000, total: 24_000 });
        let [one, two] = [(); 2].map(|()| mailbox(&budget, "ada", WIDE));
        assert_eq!(one.put(text(6000)), Put::Serve);
        assert!(one.is_crowded(), "more than half of what the user may");
        assert!(!two.is_crowded(), "it holds nothing itself");
        assert_eq!(two.put(text(6000)), Put::Full(Bound::User));
        let bobs = mailbox(&budget, "bob", WIDE);
        assert_eq!(bobs.put(text(9000)), Put::Serve);
        let eves = mailbox(&budget, "eve", WIDE);
        assert_eq!(eves.put(text(9500)), Put::Full(Bound::Total));
        drop(one);
        assert_eq!(eves.put(text(9500)), Put::Serve);
    }

    #[test]
    fn what_is_too_large_or_binary_holds_no_more_than_its_place() {
        let budget = Budget::new(BudgetConfig::default());
        let mailbox = mailbox(&budget, "ada", WIDE);
        for packet in [Packet::TooLarge, Packet::Binary] {
            mailbox.put(Incoming { packet, ack: Some(1) });
        }
        assert_eq!(budget.held(), 2 * EACH);
    }

    #[test]
    fn commands_are_taken_at_the_rate_of_the_connection() {
        let budget = Budget::new(BudgetConfig::default());
        let mailbox = mailbox(&budget, "ada", Capacity { rate: Rate::per_second(10, 2), ..WIDE });
        assert!((0..3).all(|_| matches!(mailbox.put(text(1)), Put::Serve | Put::Waits)));
        let taken = (0..3).filter(|_| matches!(mailbox.next(), Next::Take(..))).count();
        assert_eq!(taken, 2);
        assert!(matches!(mailbox.next(), Next::Pause(pause) if pause == Duration::from_millis(100)));
    }
}
