//! Telling the events of a session: see [`crate::telling`].
//!
//! Guarantees: those of [`crate::telling`].
//! It is not for ephemeral events: those may be lost.

use super::{contract::SessionId, state::SessionState};
use crate::telling::{self, Told};

/// The domain, as states are read back by it.
pub(super) const DOMAIN: &str = SessionState::DOMAIN;

/// What tells the events of one session.
pub(super) type Telling = telling::Telling<SessionState>;

impl Told for SessionState {
    type Id = SessionId;
    const DOMAIN: &'static str = "session";

    fn is_open(&self) -> bool {
        self.session_id.is_some() && self.status.is_open()
    }
}
