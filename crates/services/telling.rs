//! Telling: how the events of a long-running thing get onto the bus, each exactly once.
//!
//! Guarantees: what was told is durable; when a send fails and nobody knows whether it was kept, the
//! thing's own state says so, or the events' own ids, and what is missing is sent again, in its order; what a
//! former life of the server left open is ended once, before the first request.
//! It is not for ephemeral events: those may be lost.

use std::{any::Any, fmt::Display, sync::Arc, time::Duration};

use tidings_core::{
    Code, Error, Event, Result,
    bus::EventBus,
    id, panics,
    projection::{ListStates, States},
};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How many states are looked through at once when the server starts.
const RECOVER_PAGE: usize = 200;

/// The state of a thing whose events are told.
pub(crate) trait Told: Clone + Send + 'static {
    /// The thing's id.
    type Id: Display + Send + Sync;
    /// Its domain, as states are read back by it.
    const DOMAIN: &'static str;
    /// Whether its start was told and its end was not.
    fn is_open(&self) -> bool;
}

/// What tells the events of one thing.
pub(crate) struct Telling<S: Told> {
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) states: Arc<dyn States>,
    pub(crate) id: S::Id,
}

impl<S: Told> Telling<S> {
    /// Tells events as one unit. `kept` says of a state whether they are in it. Without `tries`,
    /// it goes on until the log works again.
    ///
    /// # Errors
    /// Those of the bus that no repeat can mend; after the last of the `tries`, any.
    pub(crate) async fn tell(
        &self,
        events: Vec<Event>,
        tries: Option<u32>,
        kept: impl Fn(&S) -> bool + Send,
    ) -> Result<()> {
        let mut wait = FIRST_WAIT;
        let mut failures = 0;
        loop {
            let error = match send(&*self.bus, events.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            failures += 1;
            if !is_passing(&error) || tries.is_some_and(|tries| failures >= tries) {
                return Err(error);
            }
            tracing::warn!(domain = S::DOMAIN, id = %self.id, %error, failures, "events were not taken; trying again");
            if self.find(&mut wait).await.is_some_and(|state| kept(&state)) {
                return Ok(());
            }
        }
    }

    /// The state, as soon as it can be read.
    async fn find(&self, wait: &mut Duration) -> Option<S> {
        loop {
            tokio::time::sleep(*wait).await;
            *wait = (*wait * 2).min(LONGEST_WAIT);
            match self.states.get(S::DOMAIN, &self.id.to_string()).await {
                Ok(view) => return view.and_then(|view| view.state::<S>().cloned()),
                Err(error) => tracing::warn!(domain = S::DOMAIN, id = %self.id, %error, "a state cannot be read"),
            }
        }
    }

    /// Tells the end, unless the thing has one or never came to be.
    pub(crate) async fn end_if_open(&self, end: Event) -> Result<()> {
        let mut wait = FIRST_WAIT;
        match self.find(&mut wait).await {
            Some(state) if state.is_open() => self.tell(vec![end], None, |state| !state.is_open()).await,
            _ => Ok(()),
        }
    }
}

/// Tells the end of everything of a domain that a former life of the server left open.
///
/// # Errors
/// `unavailable` when the log does not work.
pub(crate) async fn end_abandoned(bus: &dyn EventBus, states: &dyn States, domain: &'static str) -> Result<()> {
    let mut below = None;
    loop {
        let query = ListStates { project: None, below, open: true, limit: RECOVER_PAGE };
        let views = states.list(domain, query).await?;
        let Some(last) = views.last() else { return Ok(()) };
        below = Some(last.id.clone());
        for event in views.iter().flat_map(|view| view.state.abandoned()) {
            // The receipt is awaited: the server is not ready before the end is durable.
            bus.emit(event).await?.await?;
        }
    }
}

/// Tells events as one unit, each under an id of its own: a repeat changes nothing if they were kept. Without
/// `tries`, it goes on until the log works again.
///
/// # Errors
/// Those of the bus that no repeat can mend; after the last of the `tries`, any.
pub(crate) async fn tell_by_id(bus: &dyn EventBus, mut events: Vec<Event>, tries: Option<u32>) -> Result<()> {
    for event in &mut events {
        event.id.get_or_insert_with(id::random);
    }
    let (mut wait, mut failures) = (FIRST_WAIT, 0);
    loop {
        let error = match send(bus, events.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        failures += 1;
        if !is_passing(&error) || tries.is_some_and(|tries| failures >= tries) {
            return Err(error);
        }
        tracing::warn!(%error, failures, "events were not taken; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// What is told of a task that panicked: an error that says nothing, whose id is in the log with what it said.
pub(crate) fn after_panic(whose: &'static str, panic: &(dyn Any + Send)) -> Error {
    panics::noted(whose, panic)
}

async fn send(bus: &dyn EventBus, events: Vec<Event>) -> Result<()> {
    bus.reserve().await?.send_all(events).await.map(drop)
}

fn is_passing(error: &Error) -> bool {
    matches!(error.code(), Code::Unavailable | Code::Overloaded | Code::Internal)
}
