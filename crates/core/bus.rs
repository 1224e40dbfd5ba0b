//! The EventBus as services see it: emit, reserve and send, listen.
//!
//! Guarantees of every implementation: bounded (waiting for room is the emitter's, never growth);
//! the order of the sends into one channel is the order of its messages; a listener hears an event
//! after its commit, in order, and one that fails or panics is counted, logged and takes nothing
//! else with it; a listener that is behind reads on from the log and never holds an emitter back.
//! It is not a queue of work: an event is a fact, and whoever hears it cannot refuse it.

use std::{fmt, future::Future, pin::Pin, sync::Arc, task};

use futures_util::future::BoxFuture;

use crate::{Channel, Event, Message, Pattern, Position, Result, UserId};

/// Where an event was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its home channel.
    pub channel: Channel,
    /// Its position; none for an ephemeral event.
    pub position: Option<Position>,
}

/// Resolves once the events of one send are durable: to where they stand, in their order.
///
/// Durable, not delivered. Dropping it cancels nothing; a failure that nobody awaits is counted.
#[must_use = "await it to know that the event is durable, or drop it on purpose"]
pub struct Receipt(BoxFuture<'static, Result<Vec<Placed>>>);

impl Receipt {
    /// A receipt that resolves as this future does.
    pub fn new(future: impl Future<Output = Result<Vec<Placed>>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }

    /// Where the one event of the send stands; none if it is ephemeral.
    ///
    /// # Errors
    /// As the receipt.
    pub async fn position(self) -> Result<Option<Position>> {
        Ok(self.await?.into_iter().next().and_then(|placed| placed.position))
    }
}

impl Future for Receipt {
    type Output = Result<Vec<Placed>>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> task::Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

/// Room on the bus for one send, which then waits for nothing: it may happen under a service's own lock.
pub struct Slot(Box<dyn SendSlot>);

/// What an implementation of the bus puts into a [`Slot`].
pub trait SendSlot: Send {
    /// Sends the events as one unit: all of them become durable, or none.
    fn send(self: Box<Self>, events: Vec<Event>) -> Receipt;

    /// The same for a user, whose allowances of the log it counts against.
    fn send_for(self: Box<Self>, _user: UserId, events: Vec<Event>) -> Receipt {
        self.send(events)
    }
}

impl Slot {
    /// Room that this implementation reserved.
    #[must_use]
    pub fn new(slot: Box<dyn SendSlot>) -> Self {
        Self(slot)
    }

    /// Sends an event. Never waits.
    pub fn send(self, event: Event) -> Receipt {
        self.0.send(vec![event])
    }

    /// Sends an event with an id that a user chose: the id counts against what the log allows the user,
    /// and beyond that the receipt is `overloaded`. Never waits.
    pub fn send_for(self, user: UserId, event: Event) -> Receipt {
        self.0.send_for(user, vec![event])
    }

    /// Sends events as one unit: all of them become durable, or none. Never waits.
    pub fn send_all(self, events: Vec<Event>) -> Receipt {
        self.0.send(events)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

/// What hears events. Several may listen to the same ones.
pub trait Listener: Send + Sync + 'static {
    /// A name for logs and counters, such as `project.board`.
    fn name(&self) -> &str;

    /// Hears a message after its commit. A synchronous listener does its work and returns a ready future.
    ///
    /// # Errors
    /// A failure is counted and logged; the next message comes all the same.
    fn hear(&self, message: Arc<Message>) -> BoxFuture<'_, Result<()>>;
}

/// A subscription of a listener; dropping it ends the subscription.
pub struct Listening(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Listening {
    /// A handle that runs `end` when dropped.
    #[must_use]
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listening")
    }
}

/// The bus.
pub trait EventBus: Send + Sync {
    /// Waits for room for one send.
    ///
    /// # Errors
    /// `unavailable` or `draining` when there will be none.
    fn reserve(&self) -> BoxFuture<'_, Result<Slot>>;

    /// Room for one send, if there is some now.
    ///
    /// # Errors
    /// `overloaded` when there is none; `unavailable` or `draining`.
    fn try_reserve(&self) -> Result<Slot>;

    /// Waits for room and sends. The receipt resolves when the event is durable.
    ///
    /// # Errors
    /// As [`EventBus::reserve`].
    fn emit(&self, event: Event) -> BoxFuture<'_, Result<Receipt>> {
        Box::pin(async move { Ok(self.reserve().await?.send(event)) })
    }

    /// Listens to the events of a pattern, until the handle is dropped. The same listener
    /// registered twice for the same pattern hears each event once.
    #[must_use = "dropping the handle ends the subscription"]
    fn on(&self, pattern: Pattern, listener: Arc<dyn Listener>) -> Listening;
}
