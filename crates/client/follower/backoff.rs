//! How long to wait before the next connection.
//!
//! Guarantees: nothing the first time, then 1 to 30 seconds, doubling, with up to half of it taken off at
//! random, so that many clients do not come back at one moment; a connection that held for 10 seconds
//! makes it start anew.
//! It is not a timer: the caller waits, and says what time it is.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);
/// A connection that ends sooner did not work: trying again at once would be a busy loop.
const HELD: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    up_since: Option<Instant>,
    once: Option<Duration>,
}

impl Backoff {
    /// The connection is up.
    pub(super) fn connected(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// The server named a time for the next connection, in milliseconds; at most 30 seconds of it count.
    pub(super) fn wait_once(&mut self, ms: u64) {
        self.once = Some(Duration::from_millis(ms).min(MOST));
    }

    /// The connection is down: how long to wait.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        if self.up_since.take().is_some_and(|since| now.duration_since(since) >= HELD) {
            self.failures = 0;
        }
        let full = match self.failures {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(5)).min(MOST),
        };
        self.failures += 1;
        // Without randomness the wait is the full one: later than needed, never a stampede of this client.
        let share = getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX));
        let delay = full.mul_f64(1.0 - share / 2.0);
        self.once.take().map_or(delay, |once| once.max(delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_once_and_grows_to_half_a_minute() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert_eq!(backoff.next(now), Duration::ZERO);
        let mut least = FIRST / 2;
        for _ in 0..10 {
            let delay = backoff.next(now);
            assert!(delay >= least && delay <= MOST, "{delay:?}");
            least = (least * 2).min(MOST / 2);
        }
    }

    #[test]
    fn only_a_connection_that_held_makes_it_start_anew() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.next(now);
        backoff.connected(now);
        assert!(backoff.next(now) > Duration::ZERO);
        backoff.connected(now);
        assert_eq!(backoff.next(now + HELD), Duration::ZERO);
    }

    #[test]
    fn the_server_may_ask_for_a_longer_wait() {
        let mut backoff = Backoff::default();
        backoff.wait_once(5000);
        assert_eq!(backoff.next(Instant::now()), Duration::from_secs(5));
    }
}
