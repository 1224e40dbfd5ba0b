//! How fast connections come in: freely, or at a rate for as long as others suffer for it.
//!
//! The measure is a round of the runtime: how long a task that gives up its turn waits for the next. A message
//! on its way to its subscribers waits as long before each of its steps, behind the same tasks.
//!
//! Guarantees: while rounds are short nobody is held back, but so few come at once that their first steps alone do not make
//! a round long; after a long one, connections come at the rate, without a burst, until none was long for a while.
//! It reads no clock and waits for nothing: the door does.

use std::time::Duration;

/// A round as long as this is felt: a delivery has several before it.
const LONG: Duration = Duration::from_millis(20);
/// For how long after a long round connections come at the rate. One long round alone, such as that in which
/// thousands are found to be gone, must not cost who comes back much.
const HOLD: Duration = Duration::from_millis(100);
/// How many come in in one round while nobody is held back.
const AT_ONCE: usize = 16;
/// How long whoever is held back waits: coming in by the dozen costs less for each than one by one.
pub(super) const GRAIN: Duration = Duration::from_millis(20);

/// The decision, from round to round.
#[derive(Debug)]
pub(super) struct Pace {
    /// Connections a second while others suffer; 0 means that nobody is ever held back.
    per_second: f64,
    /// Until when connections come at the rate.
    held_until: Duration,
    /// What the rate has given since `counted` was reckoned, and nobody has used.
    credit: f64,
    counted: Duration,
}

impl Pace {
    /// Holding back nobody, for this rate.
    pub(super) fn new(per_second: u32) -> Self {
        let zero = Duration::ZERO;
        Self { per_second: f64::from(per_second), held_until: zero, credit: 0.0, counted: zero }
    }

    /// A round took so long, up to now.
    pub(super) fn saw(&mut self, round: Duration, now: Duration) {
        if round < LONG || self.per_second == 0.0 {
            return;
        }
        if !self.holds(now) {
            (self.credit, self.counted) = (0.0, now);
        }
        self.held_until = now + HOLD;
    }

    /// Whether connections come at the rate now.
    pub(super) fn holds(&self, now: Duration) -> bool {
        now < self.held_until
    }

    /// How many may come in until the next round.
    pub(super) fn admit(&mut self, now: Duration) -> usize {
        if !self.holds(now) {
            return AT_ONCE;
        }
        let earned = now.saturating_sub(self.counted).as_secs_f64() * self.per_second;
        // What was not used within two grains is no claim for later.
        let most = (GRAIN * 2).as_secs_f64() * self.per_second;
        self.credit = (self.credit + earned).min(most.max(1.0));
        self.counted = now;
        let whole = self.credit.floor();
        self.credit -= whole;
        whole as usize
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::runtime::Clock;
    use tidings_testkit::TestClock;

    use super::*;

    const SHORT: Duration = Duration::from_millis(2);

    /// How many come in during this time, a grain after the other, when each round takes so long.
    fn during(pace: &mut Pace, clock: &TestClock, time: Duration, round: Duration) -> usize {
        let rounds = time.as_millis() / GRAIN.as_millis();
        let one = |_| {
            clock.advance(GRAIN);
            pace.saw(round, clock.monotonic());
            pace.admit(clock.monotonic())
        };
        (0..rounds).map(one).sum()
    }

    #[test]
    fn nobody_is_held_back_while_rounds_are_short() {
        let (mut pace, clock) = (Pace::new(100), TestClock::new());
        assert_eq!(during(&mut pace, &clock, Duration::from_secs(1), SHORT), 50 * AT_ONCE);
        assert!(!pace.holds(clock.monotonic()));
    }

    #[test]
    fn after_a_long_round_they_come_at_the_rate_and_without_a_burst() {
        let (mut pace, clock) = (Pace::new(2500), TestClock::new());
        clock.advance(Duration::from_secs(100));
        pace.saw(LONG, clock.monotonic());
        assert_eq!(pace.admit(clock.monotonic()), 0, "what was free until now is no credit");
        let come = during(&mut pace, &clock, Duration::from_secs(4), LONG);
        assert!((9_950..=10_000).contains(&come), "{come}");
    }

    #[test]
    fn a_rate_of_less_than_one_in_a_grain_is_kept_too() {
        let (mut pace, clock) = (Pace::new(3), TestClock::new());
        pace.saw(LONG, clock.monotonic());
        let come = during(&mut pace, &clock, Duration::from_secs(10), LONG);
        assert!((29..=30).contains(&come), "{come}");
    }

    #[test]
    fn whoever_stayed_away_while_it_held_has_no_claim_to_a_crowd() {
        let (mut pace, clock) = (Pace::new(2500), TestClock::new());
        pace.saw(LONG, clock.monotonic());
        clock.advance(HOLD - Duration::from_millis(1));
        assert_eq!(pace.admit(clock.monotonic()), 100, "two grains");
    }

    #[test]
    fn it_ends_a_while_after_the_last_long_round() {
        let (mut pace, clock) = (Pace::new(100), TestClock::new());
        pace.saw(LONG, clock.monotonic());
        clock.advance(HOLD / 2);
        pace.saw(SHORT, clock.monotonic());
        assert!(pace.holds(clock.monotonic()), "one short round is no end");
        pace.saw(LONG * 3, clock.monotonic());
        clock.advance(HOLD - Duration::from_millis(1));
        assert!(pace.holds(clock.monotonic()), "counted from the last");
        clock.advance(Duration::from_millis(1));
        assert!(!pace.holds(clock.monotonic()));
        assert_eq!(pace.admit(clock.monotonic()), AT_ONCE);
    }

    #[test]
    fn a_rate_of_zero_never_holds_back() {
        let (mut pace, clock) = (Pace::new(0), TestClock::new());
        assert_eq!(during(&mut pace, &clock, Duration::from_secs(1), LONG * 10), 50 * AT_ONCE);
    }
}
