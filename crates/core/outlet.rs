//! The way out of one connection, as the hub sees it.
//!
//! Guarantees of every implementation: an offer never blocks, and takes whole things in the order
//! given; what is offered as one call leaves with nothing in between but the transport's own frames;
//! after it was full, [`Outlet::room`] resolves once there is room, or once it is closed.
//! It is not a queue for the hub: what is not taken stays where it is, in the channel's memory or the log.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Channel, Code, Position, parcel::Parcel};

/// What the server says to one connection only: an answer or a notice.
#[derive(Debug, Clone)]
pub struct Said {
    /// Which request it answers, by the number that the client gave it; none for a notice.
    pub answer_to: Option<u64>,
    /// Where the client stands in a channel once it has this; none where it stands as before.
    pub reaches: Option<Box<Reached>>,
    /// Its JSON. The connection's own way of writing it is the outlet's.
    pub json: Bytes,
}

impl Said {
    /// A notice with this envelope.
    #[must_use]
    pub fn notice(json: impl Into<Bytes>) -> Self {
        Self { answer_to: None, reaches: None, json: json.into() }
    }

    /// The answer to a request of this number.
    #[must_use]
    pub fn answer(to: u64, json: impl Into<Bytes>) -> Self {
        Self { answer_to: Some(to), reaches: None, json: json.into() }
    }
}

/// Where a client stands in a channel: it goes on after this position, also if it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The channel.
    pub channel: Channel,
    /// All up to here is known to the client, or was told not to come.
    pub position: Position,
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// All of it was taken, and there may be room for more.
    All,
    /// So many were taken, from the first on, perhaps all of them; then it was full. What was taken
    /// leaves whole, but the last of it perhaps not yet: nothing more is taken before
    /// [`Outlet::room`] resolves.
    Full(usize),
    /// The connection is gone.
    Closed,
}

/// Why and how the server ends a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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

/// The way out of one connection.
pub trait Outlet: Send + Sync + fmt::Debug + 'static {
    /// Offers answers and notices, in order. Never blocks.
    fn say(&self, said: &[Said]) -> Offered;

    /// Offers messages, in order. Never blocks. The same parcel may be offered to others too.
    fn deliver(&self, parcel: &Parcel) -> Offered;

    /// Resolves when there is room again, or when the outlet is closed. One waits at a time. Until
    /// it resolves the outlet finishes what it took, so somebody has to wait after every
    /// [`Offered::Full`].
    fn room(&self) -> BoxFuture<'_, ()>;

    /// Ends the connection, after what was taken already as far as that is possible at once.
    /// The notice `connection.closed` was offered before. Idempotent.
    fn close(&self, ending: &Ending);
}
