//! Telling: how a session's events get onto the bus, each exactly once.
//!
//! Guarantees: what was told is durable; when a send fails and nobody knows whether it was kept, the
//! session's own state says so, and what is missing is sent again, in its order.
//! It is not for ephemeral events: those may be lost.

use std::{sync::Arc, time::Duration};

use tidings_core::{Code, Error, Event, Result, bus::EventBus, projection::States};

use super::{contract::SessionId, state::SessionState};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The domain, as states are read back by it.
pub(super) const DOMAIN: &str = "session";

/// What tells the events of one session.
#[derive(Clone)]
pub(super) struct Telling {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) states: Arc<dyn States>,
    pub(super) id: SessionId,
}

impl Telling {
    /// Tells events as one unit. `kept` says of a state whether they are in it. Without `tries`,
    /// it goes on until the log works again.
    ///
    /// # Errors
    /// Those of the bus that no repeat can mend; after the last of the `tries`, any.
    pub(super) async fn tell(
        &self,
        events: Vec<Event>,
        tries: Option<u32>,
        kept: impl Fn(&SessionState) -> bool + Send,
    ) -> Result<()> {
        let mut wait = FIRST_WAIT;
        let mut failures = 0;
        loop {
            let error = match self.send(events.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            failures += 1;
            if !is_passing(&error) || tries.is_some_and(|tries| failures >= tries) {
                return Err(error);
            }
            tracing::warn!(session = %self.id, %error, failures, "events of a session were not taken; trying again");
            if self.find(&mut wait).await.is_some_and(|state| kept(&state)) {
                return Ok(());
            }
        }
    }

    async fn send(&self, events: Vec<Event>) -> Result<()> {
        let slot = self.bus.reserve().await?;
        slot.send_all(events).await.map(drop)
    }

    /// The state, as soon as it can be read.
    async fn find(&self, wait: &mut Duration) -> Option<SessionState> {
        loop {
            tokio::time::sleep(*wait).await;
            *wait = (*wait * 2).min(LONGEST_WAIT);
            match self.states.get(DOMAIN, self.id.as_str()).await {
                Ok(view) => return view.and_then(|view| view.state::<SessionState>().cloned()),
                Err(error) => tracing::warn!(session = %self.id, %error, "the state of a session cannot be read"),
            }
        }
    }

    /// Tells the end, unless the session has one or never came to be.
    pub(super) async fn end_if_open(&self, end: Event) -> Result<()> {
        let mut wait = FIRST_WAIT;
        match self.find(&mut wait).await {
            Some(state) if state.session_id.is_some() && state.status.is_open() => {
                self.tell(vec![end], None, |state| !state.status.is_open()).await
            }
            _ => Ok(()),
        }
    }
}

fn is_passing(error: &Error) -> bool {
    matches!(error.code(), Code::Unavailable | Code::Overloaded | Code::Internal)
}
