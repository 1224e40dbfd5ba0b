//! Whether the server should get traffic: green means that messages flow.
//!
//! Guarantees: an answer is at most two seconds old; however many ask, one probe runs at a time;
//! a server that is stopping is never ready.
//! It is not liveness: a process that answers at all is alive.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use tidings_core::{Code, Error, Result};

/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(2);
/// How long a probe may be joined that has not ended: one that all askers left ends by nobody's polling.
const JOINABLE: Duration = Duration::from_secs(30);

/// A probe under way, or its answer: how long the delivery took.
type Probe = Shared<BoxFuture<'static, Result<Duration>>>;

/// Whether the server is stopping, and the newest probe.
#[derive(Default)]
pub struct Readiness {
    draining: AtomicBool,
    probe: Mutex<Option<(Duration, Probe)>>,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("draining", &self.is_draining()).finish_non_exhaustive()
    }
}

impl Readiness {
    /// Not stopping, and not probed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the server is stopping. There is no way back.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the server is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// How long a delivery takes, by the probe that `start` makes unless a fresh one is known.
    /// `now` is monotonic.
    ///
    /// # Errors
    /// `draining`, or what the probe failed with.
    pub async fn check<S>(&self, now: Duration, start: S) -> Result<Duration>
    where
        S: FnOnce() -> BoxFuture<'static, Result<Duration>>,
    {
        if self.is_draining() {
            return Err(draining());
        }
        let probe = self.current(now, start);
        probe.await
    }

    fn current<S>(&self, now: Duration, start: S) -> Probe
    where
        S: FnOnce() -> BoxFuture<'static, Result<Duration>>,
    {
        let mut known = self.probe.lock();
        if let Some((begun, probe)) = known.as_ref() {
            let age = now.saturating_sub(*begun);
            if age < if probe.peek().is_some() { FRESH } else { JOINABLE } {
                return probe.clone();
            }
        }
        let probe = start().shared();
        *known = Some((now, probe.clone()));
        probe
    }
}

/// What new work is told while the server is stopping.
pub(super) fn draining() -> Error {
    Error::new(Code::Draining, "the server is stopping").with_retry_after_ms(1000)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use tokio::sync::oneshot;

    use super::*;

    fn counted(count: &Arc<AtomicUsize>) -> impl Fn() -> BoxFuture<'static, Result<Duration>> + use<> {
        let count = Arc::clone(count);
        move || {
            let nth = count.fetch_add(1, Ordering::SeqCst) + 1;
            std::future::ready(Ok(Duration::from_millis(nth as u64))).boxed()
        }
    }

    #[tokio::test]
    async fn an_answer_holds_two_seconds() {
        let (readiness, count) = (Readiness::new(), Arc::new(AtomicUsize::new(0)));
        let start = counted(&count);
        let ms = |ms| Duration::from_millis(ms);
        assert_eq!(readiness.check(ms(0), &start).await, Ok(ms(1)));
        assert_eq!(readiness.check(ms(1999), &start).await, Ok(ms(1)));
        assert_eq!(readiness.check(ms(2000), &start).await, Ok(ms(2)));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn all_who_ask_at_once_share_one_probe_even_if_the_first_leaves() {
        let readiness = Readiness::new();
        let (answer, asked) = oneshot::channel::<Duration>();
        let probe = async move { asked.await.map_err(|_| Error::unavailable("no answer")) }.boxed();
        let mut first = Box::pin(readiness.check(Duration::ZERO, move || probe));
        assert!((&mut first).now_or_never().is_none());
        let second = readiness.check(Duration::from_secs(1), || unreachable!("a probe is under way"));
        drop(first);
        answer.send(Duration::from_millis(7)).expect("somebody waits");
        assert_eq!(second.await, Ok(Duration::from_millis(7)));
    }

    #[tokio::test]
    async fn a_server_that_is_stopping_is_not_ready_and_probes_nothing() {
        let readiness = Readiness::new();
        readiness.set_draining();
        let refused = readiness.check(Duration::ZERO, || unreachable!("nothing is probed")).await;
        assert_eq!(refused.expect_err("draining").code(), Code::Draining);
    }
}
