//! The stop: its order, as a list of steps, each with what is done at once and until when.
//!
//! Guarantees: a step ends at its deadline, whatever its parts wait for; what was not done by then is named, and
//! the next step begins. So a stop ends.
//! It is not what makes the process end: that is the caller's.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use tidings_core::{BoxFuture, panics};
use tokio::time::{Instant, timeout_at};

/// A part of a step: its name and what it does.
pub(crate) type Part<'a> = (&'static str, BoxFuture<'a, ()>);

/// One step of a stop of a `T`.
pub(crate) struct Step<T> {
    /// Until when it may go on, after the time that clients and programs have.
    pub(crate) until: Duration,
    /// What is done, all at once. `left` is how much of the stop's time there is when the step begins.
    pub(crate) parts: for<'a> fn(what: &'a T, left: Duration) -> Vec<Part<'a>>,
}

/// Goes through the steps. `time` is what clients and programs have, from now on. The names of the parts that did
/// not end in time.
pub(crate) async fn stop<T>(what: &T, order: &[Step<T>], time: Duration) -> Vec<&'static str> {
    let end = Instant::now() + time;
    let mut left = Vec::new();
    for step in order {
        let parts = (step.parts)(what, end.saturating_duration_since(Instant::now()));
        let late = unfinished(parts, end + step.until).await;
        for part in &late {
            tracing::error!(part, "a part of the stop did not end in time; it goes on without");
        }
        left.extend(late);
    }
    left
}

/// The parts that have not ended at a deadline.
async fn unfinished(parts: Vec<Part<'_>>, deadline: Instant) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = parts.iter().map(|(name, _)| *name).collect();
    let under_way = parts.into_iter().map(|(name, part)| async move {
        // A part that panicked is over; that is counted and named.
        drop(panics::caught_in("server.stop", part).await);
        name
    });
    let mut under_way: FuturesUnordered<_> = under_way.collect();
    while let Ok(Some(done)) = timeout_at(deadline, under_way.next()).await {
        names.retain(|name| *name != done);
    }
    names
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_named_at_its_deadline_and_the_steps_after_it_are_gone_through() {
        let reached = AtomicBool::new(false);
        let order: [Step<AtomicBool>; 3] = [
            Step {
                until: Duration::ZERO,
                parts: |_, _| {
                    vec![
                        ("goes", Box::pin(async {})),
                        ("hangs", Box::pin(pending())),
                        ("panics", Box::pin(async { panic!("of the test") })),
                    ]
                },
            },
            Step { until: Duration::ZERO, parts: |_, _| vec![("hangs too", Box::pin(pending()))] },
            Step {
                until: Duration::from_secs(60),
                parts: |reached, left| {
                    assert!(left.is_zero());
                    vec![("last", Box::pin(async { reached.store(true, Ordering::SeqCst) }))]
                },
            },
        ];
        let left = stop(&reached, &order, Duration::from_millis(20)).await;
        assert_eq!(left, ["hangs", "hangs too"]);
        assert!(reached.load(Ordering::SeqCst));
    }
}
