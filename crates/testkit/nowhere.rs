//! Ports that lead nowhere, for tests that ask a handler for its rows and routes only.
//!
//! Guarantees: whoever uses one of them for work is refused, or waits for ever.
//! It is not a mock: it answers nothing.

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, pending, ready};
use tidings_core::{
    Error, Message, Pattern, Result, Timestamp,
    bus::{EventBus, Listener, Listening, Slot},
    projection::{ListStates, States, View},
    runtime::{Audience, Clock, Make, Tasks},
};

/// The bus, the states, the clock and the tasks of a service that is never called.
#[derive(Debug)]
pub struct Nowhere;

impl EventBus for Nowhere {
    fn reserve(&self) -> BoxFuture<'_, Result<Slot>> {
        Box::pin(ready(self.try_reserve()))
    }
    fn try_reserve(&self) -> Result<Slot> {
        Err(Error::unavailable("nowhere"))
    }
    fn on(&self, _pattern: Pattern, _listener: Arc<dyn Listener>) -> Listening {
        Listening::new(|| ())
    }
}

impl States for Nowhere {
    fn get(&self, _domain: &'static str, _id: &str) -> BoxFuture<'_, Result<Option<View>>> {
        Box::pin(ready(Ok(None)))
    }
    fn list(&self, _domain: &'static str, _query: ListStates) -> BoxFuture<'_, Result<Vec<View>>> {
        Box::pin(ready(Ok(Vec::new())))
    }
    fn messages(
        &self,
        _domain: &'static str,
        _id: &str,
        _after: u64,
        _limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Arc<Message>>, bool)>> {
        Box::pin(ready(Ok((Vec::new(), false))))
    }
}

impl Clock for Nowhere {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

impl Audience for Nowhere {
    fn watching(&self, _domain: &'static str, _id: &str) -> usize {
        0
    }
}

impl Tasks for Nowhere {
    fn spawn(&self, _name: &'static str, future: BoxFuture<'static, ()>) {
        drop(future);
    }
    fn supervise(&self, _name: &'static str, make: Make) {
        drop(make);
    }
    fn stopping(&self) -> BoxFuture<'static, ()> {
        Box::pin(pending())
    }
}
