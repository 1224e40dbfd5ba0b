//! Farewell: with which words the server ends a connection, and how long those have to leave.
//!
//! Guarantees: an end that has begun has one reason and one time limit.
//! It is not the end itself: the hub says the last notice, and the transport ends what it runs on.

use std::{sync::OnceLock, time::Duration};

use tidings_core::{Code, outlet::Ending};
use tidings_engine::budget::Bound;

/// How long a closing connection has for its last words.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// The ending of a connection whose client floods it.
pub(super) fn flooding() -> Ending {
    Ending::temporary(Code::RateLimited, "the connection sent faster than its rate for too long")
}

/// The ending of a connection whose token has ended.
pub(super) fn expired() -> Ending {
    Ending::temporary(Code::TokenExpired, "the token has ended")
}

/// The ending of a connection that sent more than may wait.
pub(super) fn overfull(bound: Bound) -> Ending {
    bound.count("events");
    match bound {
        // Unread since half: what comes all the same was on its way already, and is more than fits.
        Bound::Connection => Ending::temporary(Code::RateLimited, "more was sent at once than may wait"),
        Bound::User => Ending::temporary(Code::RateLimited, "more of this user waits on all connections than may"),
        Bound::Total => Ending::temporary(Code::Overloaded, "more waits on all connections than may"),
    }
}

/// That the way out to a client is being closed: since when, and whether the client may come back.
#[derive(Default)]
pub(crate) struct Closing(OnceLock<(Duration, bool)>);

impl Closing {
    /// Closing begins now, unless it has begun. Whether this began it.
    pub(crate) fn begin(&self, now: Duration, may_return: bool) -> bool {
        self.0.set((now, may_return)).is_ok()
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.get().is_some()
    }

    /// Whether it has begun, and the client may come back.
    pub(crate) fn may_return(&self) -> bool {
        self.0.get().is_some_and(|(_, may_return)| *may_return)
    }

    /// Whether the last words had all the time that they have.
    pub(crate) fn is_late(&self, now: Duration) -> bool {
        self.0.get().is_some_and(|(since, _)| now.saturating_sub(*since) >= FAREWELL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_begins_once_and_has_its_time() {
        let (closing, begun) = (Closing::default(), Duration::from_secs(7));
        assert!(!closing.has_begun() && !closing.may_return() && !closing.is_late(begun * 2));
        assert!(closing.begin(begun, true));
        assert!(!closing.begin(begun * 2, false), "it has begun already");
        assert!(closing.has_begun() && closing.may_return());
        assert_eq!([begun, begun + FAREWELL].map(|now| closing.is_late(now)), [false, true]);
    }
}
