//! A clock that stands still until a test moves it.
//!
//! Guarantees: the monotonic side never goes back; the wall clock leaps only when told to.
//! It is not a timer: nothing wakes when it moves.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{Timestamp, runtime::Clock};

/// The [`Clock`] of a test.
#[derive(Debug)]
pub struct TestClock(Mutex<(Timestamp, Duration)>);

impl TestClock {
    /// A clock at 2026-11-20T20:00:00Z.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::at(Timestamp(1_795_204_800_000))
    }

    /// A clock at this instant.
    #[must_use]
    pub fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new((now, Duration::from_secs(1)))))
    }

    /// Lets time pass, on both sides.
    pub fn advance(&self, time: Duration) {
        let mut both = self.0.lock();
        both.0 = both.0.plus_ms(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        both.1 += time;
    }

    /// Sets the wall clock, as an operator or a time server does. The monotonic side stays.
    pub fn leap_to(&self, now: Timestamp) {
        self.0.lock().0 = now;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.0.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().1
    }
}
