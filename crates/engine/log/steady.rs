//! A wall clock for ages that does not believe a leap at once.
//!
//! Guarantees: while the wall clock and the monotonic one part by more than a minute, time goes on
//! at the monotonic one's pace, so that a clock set wrong ages nothing; after an hour the wall clock is believed.
//! It is not what messages are stamped with.

use std::time::Duration;

use tidings_core::runtime::Clock;

const TOLERANCE_MS: i64 = 60_000;
const BELIEVED_AFTER: Duration = Duration::from_secs(60 * 60);

/// The clock.
#[derive(Debug)]
pub(super) struct Steady {
    wall_ms: i64,
    monotonic: Duration,
    doubted_since: Option<Duration>,
}

impl Steady {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Self { wall_ms: clock.now().0, monotonic: clock.monotonic(), doubted_since: None }
    }

    /// Milliseconds since 1970, as far as they can be believed.
    pub(super) fn now_ms(&mut self, clock: &dyn Clock) -> i64 {
        let (wall, monotonic) = (clock.now().0, clock.monotonic());
        let passed = i64::try_from(monotonic.saturating_sub(self.monotonic).as_millis()).unwrap_or(i64::MAX);
        let steady = self.wall_ms.saturating_add(passed);
        let near = (wall - steady).abs() <= TOLERANCE_MS;
        let since = *self.doubted_since.get_or_insert(monotonic);
        if near || monotonic.saturating_sub(since) >= BELIEVED_AFTER {
            *self = Self { wall_ms: wall, monotonic, doubted_since: None };
            return wall;
        }
        if since == monotonic {
            tracing::warn!(
                leap_ms = wall - steady,
                "the wall clock leapt: messages age by the monotonic one for an hour"
            );
        }
        steady
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Timestamp;
    use tidings_testkit::TestClock;

    use super::*;

    #[test]
    fn a_leap_is_believed_only_after_an_hour() {
        let clock = TestClock::at(Timestamp(1_000_000));
        let mut steady = Steady::new(&*clock);
        clock.advance(Duration::from_secs(600));
        clock.leap_to(Timestamp(1_630_000));
        assert_eq!(steady.now_ms(&*clock), 1_630_000, "a small correction is believed");
        clock.leap_to(Timestamp(900_000_000));
        assert_eq!(steady.now_ms(&*clock), 1_630_000);
        clock.advance(Duration::from_secs(59 * 60));
        assert_eq!(steady.now_ms(&*clock), 1_630_000 + 59 * 60_000);
        clock.advance(Duration::from_secs(60));
        assert_eq!(steady.now_ms(&*clock), 900_000_000 + 60 * 60_000);
        clock.advance(Duration::from_secs(1));
        assert_eq!(steady.now_ms(&*clock), 900_000_000 + 60 * 60_000 + 1000);
    }

    #[test]
    fn a_leap_that_is_taken_back_leaves_nothing() {
        let clock = TestClock::at(Timestamp(1_000_000));
        let mut steady = Steady::new(&*clock);
        clock.leap_to(Timestamp(0));
        assert_eq!(steady.now_ms(&*clock), 1_000_000);
        clock.leap_to(Timestamp(1_000_010));
        assert_eq!(steady.now_ms(&*clock), 1_000_010);
    }
}
