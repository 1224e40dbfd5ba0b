//! The time, as this process counts it.
//!
//! Guarantees: it never goes back, and publisher and subscribers read the same clock.
//! It is not the time of day: a stamp means nothing to another process.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// The time since the first call in this process.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
#[must_use]
pub fn now() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// The same in nanoseconds, as it is written into events.
#[must_use]
pub fn now_ns() -> u64 {
    now().as_nanos() as u64
}

/// The time since `start`, which an earlier call returned.
#[must_use]
pub fn since(start: Duration) -> Duration {
    now().saturating_sub(start)
}
