//! What is kept of a client's stream: a message that has not come whole, or some that cannot be taken yet.
//!
//! Guarantees: its bytes are counted in its user's share like those of a body; a message that would not fit, or that does
//! not come whole in its time, is not waited for.
//! It is not where the bytes are: the stream keeps them. It arms nothing: a client that sends nothing at all falls
//! silent, and one that sends anything is asked here.

use std::{sync::Arc, time::Duration};

use tidings_engine::budget::{Held, Share};

use super::close_code;
use crate::patience::Patience;

/// What is kept.
pub(crate) struct Unfinished {
    held: Held,
    /// Since when a message is waited for.
    since: Duration,
}

impl Unfinished {
    /// So many bytes are kept now, in place of what was kept before. `is_awaited` says that the client is to send the
    /// rest of a message, and not that others are to take what came.
    ///
    /// # Errors
    /// The code to close the stream with, and why. Nothing is held then.
    pub(crate) fn keep(
        kept: &mut Option<Box<Self>>,
        (bytes, is_awaited): (usize, bool),
        (share, patience): (&Arc<Share>, Patience),
        now: Duration,
    ) -> Result<(), (u16, &'static str)> {
        let Some(mut known) = kept.take().filter(|_| bytes > 0) else {
            if bytes > 0 {
                let held = if is_awaited { hold(share, bytes)? } else { share.hold_anyway(bytes) };
                *kept = Some(Box::new(Self { held, since: now }));
            }
            return Ok(());
        };
        known.goes_on((bytes, is_awaited), patience, now)?;
        *kept = Some(known);
        Ok(())
    }

    fn goes_on(
        &mut self,
        (bytes, is_awaited): (usize, bool),
        patience: Patience,
        now: Duration,
    ) -> Result<(), (u16, &'static str)> {
        let grows = bytes > self.held.bytes();
        self.held.set(bytes);
        if !is_awaited || (grows && patience.bytes_per_second == 0) {
            self.since = now;
        }
        if grows
            && is_awaited
            && let Some(bound) = self.held.exceeds()
        {
            bound.count("messages");
            return Err(TOO_MUCH);
        }
        if !patience.time.is_zero() && now.saturating_sub(self.since) > allowed(patience, bytes) {
            metrics::counter!("tidings_messages_timed_out_total").increment(1);
            return Err((close_code::POLICY, "a message does not come whole in its time"));
        }
        Ok(())
    }
}

const TOO_MUCH: (u16, &str) = (close_code::TRY_AGAIN, "more of this user waits on all connections than may");

fn hold(share: &Arc<Share>, bytes: usize) -> Result<Held, (u16, &'static str)> {
    share.hold(bytes).map_err(|bound| {
        bound.count("messages");
        TOO_MUCH
    })
}

/// How long a message may take of which so many bytes have come.
fn allowed(patience: Patience, bytes: usize) -> Duration {
    match u64::try_from(bytes).unwrap_or(u64::MAX).checked_div(patience.bytes_per_second) {
        Some(seconds) => patience.time.saturating_add(Duration::from_secs(seconds)),
        None => patience.time,
    }
}

#[cfg(test)]
mod tests {
    use tidings_engine::budget::{Budget, BudgetConfig, Who};

    use super::*;

    const PATIENCE: Patience = Patience { time: Duration::from_secs(10), bytes_per_second: 1000 };

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_kept_counts_for_its_user_until_it_is_whole_and_no_more_is_kept_than_may() {
        let budget = Budget::new(BudgetConfig { user: 10_000, total: 100_000 });
        let share = budget.share(&Who::User("ada".parse().expect("an id")));
        let (mut one, mut two) = (None, None);
        let keep = |kept: &mut _, bytes, is_awaited| {
            Unfinished::keep(kept, (bytes, is_awaited), (&share, PATIENCE), second(0))
        };
        assert_eq!((keep(&mut one, 6000, true), budget.held()), (Ok(()), 6000));
        assert_eq!((keep(&mut two, 6000, true), budget.held()), (Err(TOO_MUCH), 6000));
        assert_eq!(
            (keep(&mut two, 6000, false), budget.held()),
            (Ok(()), 12_000),
            "it came, and others are to take it"
        );
        assert_eq!((keep(&mut one, 0, true), budget.held()), (Ok(()), 6000));
        assert_eq!(keep(&mut one, 3000, true), Ok(()));
        assert_eq!(keep(&mut one, 5000, true), Err(TOO_MUCH));
        drop((one, two));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_message_that_stops_or_trickles_is_given_up_and_one_that_comes_at_the_rate_is_not() {
        let budget = Budget::new(BudgetConfig::default());
        let share = budget.share(&Who::User("ada".parse().expect("an id")));
        // How long a message lives of which so many bytes come at first, and then so many each second.
        let life = |patience, first: usize, each: usize, is_awaited| {
            let (mut kept, mut bytes) = (None, first);
            (0..100).find(|&now| {
                let keeps = Unfinished::keep(&mut kept, (bytes, is_awaited), (&share, patience), second(now));
                bytes += each;
                keeps.is_err()
            })
        };
        assert_eq!(life(PATIENCE, 1, 0, true), Some(11));
        assert_eq!(life(PATIENCE, 1, 1, true), Some(11));
        assert_eq!(life(PATIENCE, 5000, 1, true), Some(16));
        assert_eq!(life(PATIENCE, 1, 1000, true), None);
        assert_eq!(life(PATIENCE, 5000, 0, false), None, "it is not the client that is waited for");
        assert_eq!(life(Patience { bytes_per_second: 0, ..PATIENCE }, 1, 1, true), None);
        assert_eq!(life(Patience { time: Duration::ZERO, ..PATIENCE }, 1, 0, true), None);
    }
}
