//! A client of Tidings over plain HTTP and WebSocket: for the command line and for tests.
//!
//! - [`Client`]: one logged-in Socket.IO connection with acknowledged requests.
//! - [`Follower`]: follows channels through lost connections and server restarts, each message once.
//! - [`http`]: single HTTP requests.
//! - [`Raw`] and [`Polling`]: the bare transports, for tests that want to be wrong on purpose.
//!
//! Guarantees: speaks Engine.IO protocol 4 and Socket.IO protocol 5 (one namespace, no binary packets); nothing
//! grows without a bound; a token travels in the handshake's payload or in a header, never in a URL.
//! It is not a client for the open network: it speaks no TLS and says so.

mod client;
mod endpoint;
pub mod follower;
pub mod http;
mod packet;
mod polling;
mod raw;
mod socket;

pub use client::{Client, RequestError};
pub use endpoint::{BadUrl, Endpoint};
pub use follower::{Ended, Follow, Follower, Item, Message, Position, Start};
pub use packet::{BadPacket, Packet, Why, decode, encode_event};
pub use polling::Polling;
pub use raw::Raw;
pub use socket::{ConnectError, Lost, Socket};

/// Makes the payload of the handshake, such as `{"token": "…"}`. Asked anew for every connection; an error says
/// why there is none now, and counts as a server that is not reached.
pub type Auth = std::sync::Arc<dyn Fn() -> Result<serde_json::Value, String> + Send + Sync>;

/// An [`Auth`] that always gives this token.
#[must_use]
pub fn token(token: impl Into<String>) -> Auth {
    let token = token.into();
    std::sync::Arc::new(move || Ok(serde_json::json!({ "token": token })))
}
