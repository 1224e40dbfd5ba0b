//! The mailbox of a connection: its commands in the order sent, taken at its rate.
//!
//! Guarantees: bounded; nothing that was put in is thrown away while the connection lives; from
//! half full on the connection is to be left unread. One that is empty costs nothing but itself: who
//! takes the commands runs only while there are some.
//! It is not a queue of work: what a taken command starts may run beside the next.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::runtime::Clock;

/// An event of the client, as it came.
pub(super) struct Incoming {
    /// The packet's JSON: an array of the event's name and its arguments.
    pub(super) text: Box<str>,
    /// Whether binary attachments came along.
    pub(super) binary: bool,
    /// The number of the acknowledgement, if one was asked for.
    pub(super) ack: Option<u64>,
}

/// What became of an event that was put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// Somebody takes already.
    Waits,
    /// Nobody takes: whoever put it in has to see to that.
    Serve,
    /// There is no room, or the connection is over.
    Full,
}

/// What is to be done next.
pub(super) enum Next {
    /// This command.
    Take(Incoming),
    /// The connection has used up its rate: wait so long.
    Pause(Duration),
    /// Nothing waits. Whoever took is not needed any longer.
    Nothing,
}

struct Inner {
    waiting: VecDeque<Incoming>,
    bucket: Bucket,
    /// Somebody takes what waits.
    served: bool,
    closed: bool,
}

/// The mailbox.
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    capacity: usize,
}

impl Mailbox {
    pub(super) fn new(capacity: usize, bucket: Bucket) -> Self {
        let inner = Inner { waiting: VecDeque::new(), bucket, served: false, closed: false };
        Self { inner: Mutex::new(inner), capacity: capacity.max(4) }
    }

    /// Puts an event in.
    pub(super) fn put(&self, incoming: Incoming) -> Put {
        let mut inner = self.inner.lock();
        if inner.closed || inner.waiting.len() >= self.capacity {
            return Put::Full;
        }
        inner.waiting.push_back(incoming);
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
        match inner.bucket.take() {
            Some(pause) => Next::Pause(pause),
            None => inner.waiting.pop_front().map_or(Next::Nothing, Next::Take),
        }
    }

    /// Whoever takes what waits. Dropped before its time, the next event that is put in finds nobody taking.
    pub(super) fn serving(&self) -> Serving<'_> {
        Serving { mailbox: self, is_over: false }
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.inner.lock().waiting.len() > self.capacity / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner.lock().waiting.is_empty()
    }

    /// Throws away what waits: there is nobody left to answer.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
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

/// A token bucket: `burst` at once, then `per_second`; 0 a second means no limit.
pub(super) struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    at: Duration,
    clock: Arc<dyn Clock>,
}

impl Bucket {
    pub(super) fn new(burst: u32, per_second: u32, clock: Arc<dyn Clock>) -> Self {
        let (burst, at) = (f64::from(burst.max(1)), clock.monotonic());
        Self { burst, per_second: f64::from(per_second), tokens: burst, at, clock }
    }

    /// Takes a token: none to wait, or how long until there is one.
    pub(super) fn take(&mut self) -> Option<Duration> {
        if self.per_second == 0.0 {
            return None;
        }
        let now = self.clock.monotonic();
        let earned = now.saturating_sub(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(self.burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        Some(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }
}
