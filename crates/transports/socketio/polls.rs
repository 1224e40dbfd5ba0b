//! The polls of a session, and its change to a WebSocket: what is under way, and what ends a poll that waits.
//!
//! Guarantees: one poll waits at a time, and one WebSocket probes; while it probes, a waiting poll ends and a new one
//! is answered at once, both with nothing, so that its client can stop polling; a probe that dies leaves polling as it
//! was.
//! It is not the answer to a poll, nor the change itself: see `polling` and `upgrade`.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

/// How long a poll of a session that probes is held, so that it does not come again at once.
const HELD: Duration = Duration::from_millis(100);
/// How far a client's close may overtake its poll.
const OVERTAKEN: Duration = Duration::from_millis(25);

#[derive(Default)]
struct State {
    polls: bool,
    probes: bool,
    /// A ping waits for a poll.
    ping: bool,
    /// The session is over: with what a poll is answered that still waits.
    end: Option<&'static str>,
}

/// Why a poll is answered before there is something to tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// The session probes.
    Probe,
    Ping,
    /// The session is over.
    End(&'static str),
}

/// What polls and probes of one session at this moment.
pub(super) struct Polls {
    state: Mutex<State>,
    moved: Notify,
    /// One POST is read at a time, in the order in which they came.
    pub(super) posting: Semaphore,
}

impl Default for Polls {
    fn default() -> Self {
        Self { state: Mutex::default(), moved: Notify::new(), posting: Semaphore::new(1) }
    }
}

impl Polls {
    /// A poll begins, unless one waits already; it is over when the turn is dropped.
    pub(super) fn poll(&self) -> Option<Turn<'_>> {
        self.enter(|state| &mut state.polls)
    }

    /// A probe begins, unless there is one; it is over when the turn is dropped.
    pub(super) fn probe(&self) -> Option<Turn<'_>> {
        self.enter(|state| &mut state.probes)
    }

    /// Whether a WebSocket probes.
    pub(super) fn is_probed(&self) -> bool {
        self.state.lock().probes
    }

    fn enter(&self, what: fn(&mut State) -> &mut bool) -> Option<Turn<'_>> {
        let begun = !std::mem::replace(what(&mut self.state.lock()), true);
        self.moved.notify_waiters();
        // Not `then_some`: a turn that is made and dropped would end the other one.
        begun.then(|| Turn { polls: self, what })
    }

    /// A ping is due: it goes with the poll that waits, or the next one.
    pub(super) fn ping(&self) {
        self.state.lock().ping = true;
        self.moved.notify_waiters();
    }

    /// The session is over.
    pub(super) fn end(&self, answer: &'static str) {
        self.state.lock().end.get_or_insert(answer);
        self.moved.notify_waiters();
    }

    /// Resolves when a poll waits, or when none was on its way: a client's close may overtake its poll, on another
    /// connection.
    pub(super) async fn overtaken(&self) {
        let waits = self.until(|| self.state.lock().polls.then_some(()));
        if timeout(OVERTAKEN, waits).await.is_err() {
            tracing::trace!("a client closes and does not poll");
        }
    }

    /// Something that is awaited with [`Polls::until`] may have come.
    pub(super) fn changed(&self) {
        self.moved.notify_waiters();
    }

    /// Resolves when this is so.
    pub(super) async fn until<T>(&self, mut reached: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if let Some(reached) = reached() {
                return reached;
            }
            moved.await;
        }
    }

    /// Resolves when the session is over.
    pub(super) async fn over(&self) {
        self.until(|| self.state.lock().end.map(drop)).await;
    }
}

/// A poll or a probe that is under way.
pub(super) struct Turn<'a> {
    polls: &'a Polls,
    what: fn(&mut State) -> &mut bool,
}

impl Turn<'_> {
    /// Resolves when the poll is to be answered though there is nothing to tell.
    pub(super) async fn interrupted(&self) -> Interrupt {
        let interrupt = || {
            let mut state = self.polls.state.lock();
            match (state.end, state.probes) {
                (Some(answer), _) => Some(Interrupt::End(answer)),
                (None, true) => Some(Interrupt::Probe),
                (None, false) => std::mem::take(&mut state.ping).then_some(Interrupt::Ping),
            }
        };
        self.polls.until(interrupt).await
    }

    /// Holds a poll of a session that probes for a moment. Whether it still probes then.
    pub(super) async fn held(&self) -> bool {
        let free = || (!self.polls.state.lock().probes).then_some(());
        free().is_none() && timeout(HELD, self.polls.until(free)).await.is_err()
    }

    /// Resolves when no poll of the session is under way.
    pub(super) async fn polls_over(&self) {
        self.polls.until(|| (!self.polls.state.lock().polls).then_some(())).await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *(self.what)(&mut self.polls.state.lock()) = false;
        self.polls.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_ends_a_waiting_poll_and_waits_for_it_and_there_is_one_of_each() {
        let polls = Polls::default();
        let poll = polls.poll().expect("the first");
        assert!(polls.poll().is_none(), "a second poll");
        let probe = polls.probe().expect("the first");
        assert!(polls.probe().is_none(), "a second probe");
        assert_eq!(poll.interrupted().await, Interrupt::Probe);
        assert!(poll.held().await, "it still probes");
        drop(poll);
        probe.polls_over().await;
        drop(probe);
        let poll = polls.poll().expect("the next");
        assert!(!poll.held().await);
    }

    #[tokio::test]
    async fn a_ping_goes_with_one_poll_and_the_first_word_of_the_end_stays() {
        let polls = Polls::default();
        polls.ping();
        let poll = polls.poll().expect("a poll");
        assert_eq!(poll.interrupted().await, Interrupt::Ping);
        polls.overtaken().await;
        polls.end("6");
        polls.end("1");
        assert_eq!(poll.interrupted().await, Interrupt::End("6"));
        polls.over().await;
    }
}
