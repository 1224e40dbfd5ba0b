//! Panics: caught where work is handed to somebody, counted and named.
//!
//! Guarantees: each panic that is caught here is one of `tidings_panics_total{task}` and one line of the
//! server's log, with what it said and the id that whoever asked is told; what panics again and again is
//! given up after a bounded number of times.
//! It is not a clean-up: what a task holds is released by what it drops.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use futures_util::FutureExt;

use crate::{Error, Result};

/// So many panics within [`WINDOW`] are too many.
pub const MOST: usize = 5;
/// How long a panic counts.
pub const WINDOW: Duration = Duration::from_secs(60);
/// From a panic until the work goes on: at first; each further one within the window waits four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Does something. `task` names it, such as `states.draft`.
///
/// # Errors
/// `internal` when it panicked.
pub fn caught<T>(task: &'static str, work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| noted(task, &*panic))
}

/// Runs a future to its end. `task` names it, such as `git.refresh`.
///
/// # Errors
/// `internal` when it panicked.
pub async fn caught_in<F: Future>(task: &'static str, work: F) -> Result<F::Output> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| noted(task, &*panic))
}

/// Counts and names a panic that was caught elsewhere. What is told of it: an error that says nothing, whose
/// id is in the log.
#[must_use]
pub fn noted(task: &'static str, panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let error = Error::internal();
    metrics::counter!("tidings_panics_total", "task" => task).increment(1);
    tracing::error!(task, %error, panic = said.unwrap_or("without a text"), "a task panicked");
    error
}

/// The panics of something that is restarted.
#[derive(Debug, Default)]
pub struct Panics(VecDeque<Duration>);

impl Panics {
    /// Notes one. `now` is monotonic. How long to wait before the work goes on; none if it is to be given up.
    pub fn again(&mut self, now: Duration) -> Option<Duration> {
        self.0.push_back(now);
        while self.0.front().is_some_and(|first| now.saturating_sub(*first) >= WINDOW) {
            self.0.pop_front();
        }
        let before = self.0.len() - 1;
        (before + 1 < MOST).then(|| FIRST_PAUSE * 4u32.pow(before as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn a_panic_becomes_an_internal_error_and_what_returns_is_passed_on() {
        assert_eq!(caught("test", || 7), Ok(7));
        let error = caught("test", || panic!("of the test")).expect_err("it panicked");
        assert_eq!(error.code(), Code::Internal);
        assert!(!error.message().contains("of the test"), "{error}");
        let pending = caught_in("test", async { panic!("of the test") });
        assert_eq!(pending.now_or_never().expect("is over").expect_err("it panicked").code(), Code::Internal);
    }

    #[test]
    fn what_panics_again_and_again_is_given_up_and_what_does_so_seldom_is_not() {
        let (mut often, mut seldom) = (Panics::default(), Panics::default());
        let pauses: Vec<Option<u64>> = (0..MOST as u64)
            .map(|n| often.again(Duration::from_secs(n)).map(|pause| pause.as_millis() as u64))
            .collect();
        assert_eq!(pauses, [Some(10), Some(40), Some(160), Some(640), None]);
        for n in 0..100 {
            assert!(seldom.again(WINDOW / (MOST as u32 - 1) * n).is_some());
        }
    }
}
