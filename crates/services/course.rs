//! The course of something that runs: whether it was told to end, and why; whether it has ended.
//!
//! Guarantees: it goes one way; the first reason counts, so that a wish to end it and an end of its own that race
//! give one end.
//! It is not the end: whoever runs it tells that.

use tokio::sync::watch;

/// Where something is in its course; `R` is why it is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage<R> {
    /// It runs, or is about to.
    Running,
    /// It was told to end.
    Stopping(R),
    /// It has ended; by itself, if nobody had told it to.
    Exited(Option<R>),
}

impl<R: Clone> Stage<R> {
    fn why(&self) -> Option<R> {
        match self {
            Self::Stopping(reason) | Self::Exited(Some(reason)) => Some(reason.clone()),
            Self::Running | Self::Exited(None) => None,
        }
    }
}

/// The course of one thing.
#[derive(Debug)]
pub(crate) struct Course<R>(watch::Sender<Stage<R>>);

impl<R> Default for Course<R> {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::Running))
    }
}

impl<R: Clone> Course<R> {
    /// Tells it to end. Says whether it is ending now, for this reason or an earlier one.
    pub(crate) fn ask_to_end(&self, reason: R) -> bool {
        self.0.send_if_modified(|stage| {
            let runs = matches!(stage, Stage::Running);
            if runs {
                *stage = Stage::Stopping(reason);
            }
            runs
        });
        matches!(*self.0.borrow(), Stage::Stopping(_))
    }

    /// Notes that it has ended; says why it was told to, if it was.
    pub(crate) fn exited(&self) -> Option<R> {
        let mut why = None;
        self.0.send_modify(|stage| {
            why = stage.why();
            *stage = Stage::Exited(why.clone());
        });
        why
    }

    /// Whether nobody has told it to end and it has not.
    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.0.borrow(), Stage::Running)
    }

    /// Why it was told to end, if it was.
    pub(crate) fn why(&self) -> Option<R> {
        self.0.borrow().why()
    }

    /// Resolves once it has ended.
    pub(crate) async fn over(&self) {
        // As below.
        drop(self.0.subscribe().wait_for(|stage| matches!(stage, Stage::Exited(_))).await);
    }

    /// Resolves once it was told to end, or has ended.
    pub(crate) async fn turned(&self) {
        // The sender lives as long as this value, so the wait ends only with the condition.
        drop(self.0.subscribe().wait_for(|stage| !matches!(stage, Stage::Running)).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_and_an_end_of_its_own_leaves_no_room_for_one() {
        let told = Course::default();
        assert!(told.is_running() && told.why().is_none());
        assert!(told.ask_to_end("first") && told.ask_to_end("second"));
        assert_eq!((told.exited(), told.why(), told.ask_to_end("late")), (Some("first"), Some("first"), false));
        let by_itself = Course::<&str>::default();
        assert_eq!(by_itself.exited(), None);
        assert!(!by_itself.ask_to_end("late") && by_itself.exited().is_none() && !by_itself.is_running());
    }
}
