//! The way out of one connection, as the hub sees it.
//!
//! Guarantees of every implementation: `offer` never blocks, takes whole frames in the order given
//! and none out of order; after it took fewer than offered, the waker is called once there is room.
//! It is not a queue for the hub: what is not taken stays where it is, in the channel's memory or the log.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{Code, Message};

/// How one kind of transport writes a message. The same bytes serve every connection of the kind.
pub trait WireForm: Send + Sync + 'static {
    /// Which of a message's [`WIRE_SLOTS`](crate::message::WIRE_SLOTS) keeps this form; one kind, one slot.
    fn slot(&self) -> usize;

    /// The form of a message or notice whose JSON envelope is given.
    fn message(&self, json: &str) -> Bytes;
}

/// One whole thing to be written.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Which request this answers, as the transport numbers them; none for messages and notices.
    pub answer_to: Option<u64>,
    /// The bytes, in the connection's wire form.
    pub body: Bytes,
}

impl Frame {
    /// The frame of a message, in the form of this kind of transport.
    #[must_use]
    pub fn message(message: &Message, form: &dyn WireForm) -> Self {
        Self { answer_to: None, body: message.wire(form).clone() }
    }
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// All of it was taken.
    All,
    /// Only so many frames were; the waker will be called when there is room.
    Some(usize),
    /// The connection is gone.
    Closed,
}

/// Why and how the server ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub code: Code,
    /// For people.
    pub message: String,
    /// Whether the client should come back by itself.
    pub retry: bool,
}

impl Ending {
    /// An ending after which the client comes back by itself.
    #[must_use]
    pub fn temporary(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry: true }
    }

    /// An ending after which the client stays away.
    #[must_use]
    pub fn permanent(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry: false }
    }
}

/// Called when an outlet that was full has room again. It must not wait.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The way out of one connection.
pub trait Outlet: Send + Sync + fmt::Debug + 'static {
    /// The connection's wire form.
    fn form(&self) -> &'static dyn WireForm;

    /// Says whom to call when there is room again. Called once, before the first offer.
    fn set_waker(&self, waker: Waker);

    /// Offers frames, in order. Never blocks.
    fn offer(&self, frames: &[Frame]) -> Offered;

    /// Ends the connection, after what was taken already as far as that is possible at once.
    /// The notice `connection.closed` was offered before. Idempotent.
    fn close(&self, ending: &Ending);
}
