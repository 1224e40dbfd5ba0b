//! The mailbox of a connection: its commands in the order sent, taken at its rate.
//!
//! Guarantees: bounded; nothing that was put in is thrown away while the connection lives; from
//! half full on the connection is to be left unread.
//! It is not a queue of work: what a taken command starts may run beside the next.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use socketioxide::extract::AckSender;
use tidings_core::runtime::Clock;
use tokio::sync::mpsc;

/// An event of the client, as it came.
pub(super) struct Incoming {
    /// The packet's JSON: an array of the event's name and its arguments.
    pub(super) text: String,
    /// Whether binary attachments came along.
    pub(super) binary: bool,
    /// The acknowledgement, if one was asked for.
    pub(super) ack: Option<AckSender>,
}

/// The putting side.
pub(super) struct Mailbox {
    sender: Mutex<Option<mpsc::Sender<Incoming>>>,
    capacity: usize,
}

impl Mailbox {
    pub(super) fn new(capacity: usize) -> (Self, mpsc::Receiver<Incoming>) {
        let (sender, receiver) = mpsc::channel(capacity.max(4));
        (Self { sender: Mutex::new(Some(sender)), capacity: capacity.max(4) }, receiver)
    }

    /// Puts an event in. False when there is no room, or no longer anybody who takes.
    pub(super) fn put(&self, incoming: Incoming) -> bool {
        self.sender.lock().as_ref().is_some_and(|sender| sender.try_send(incoming).is_ok())
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.sender.lock().as_ref().is_some_and(|sender| sender.capacity() < self.capacity / 2)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sender.lock().as_ref().is_none_or(|sender| sender.capacity() == self.capacity)
    }

    pub(super) fn close(&self) {
        self.sender.lock().take();
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
