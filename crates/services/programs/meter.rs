//! How much a program prints, and how long it has printed nothing.
//!
//! Guarantees: bytes beyond the limit do not pass, whichever stream they come from.
//! It is not the decision to end the program: whoever holds it makes that.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tidings_core::runtime::Clock;

/// What all streams of a program share.
#[derive(Debug)]
pub(crate) struct Meter {
    read: AtomicU64,
    limit: u64,
    heard_ms: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Meter {
    /// A meter that lets `limit` bytes pass; zero is no limit.
    pub(crate) fn new(limit: u64, clock: Arc<dyn Clock>) -> Self {
        let meter = Self { read: AtomicU64::new(0), limit, heard_ms: AtomicU64::new(0), clock };
        meter.heard_ms.store(meter.now_ms(), Ordering::Relaxed);
        meter
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// As if something had been read now: it is not silent that there is nothing.
    pub(crate) fn hear(&self) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// How long nothing was read, in milliseconds.
    pub(crate) fn silent_ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.heard_ms.load(Ordering::Relaxed))
    }

    /// Whether more was read than may pass.
    pub(crate) fn is_over(&self) -> bool {
        self.limit > 0 && self.read.load(Ordering::Relaxed) > self.limit
    }

    /// How many of the `count` bytes just read may pass.
    pub(crate) fn pass(&self, count: usize) -> usize {
        self.hear();
        let before = self.read.fetch_add(count as u64, Ordering::Relaxed);
        if self.limit == 0 {
            return count;
        }
        usize::try_from(self.limit.saturating_sub(before)).map_or(count, |left| left.min(count))
    }
}
