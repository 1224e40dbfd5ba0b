//! A logged-in Socket.IO connection, driven by whoever holds it.
//!
//! Guarantees: the server's heartbeat is answered whenever the connection is read, also during the
//! handshake; a silent server is given up after its own heartbeat's time; `next` may be cancelled
//! without losing a packet. While it is not read nothing is kept here: the server waits.
//! It is not reconnecting: see [`Follower`](crate::Follower).

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{BadUrl, Endpoint, Packet, Raw, Why, decode, encode_event};

/// How long connecting and logging in may take.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not usable.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// Nobody listens there, or the connection broke.
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
    /// The server answered the request with this HTTP status instead of opening a connection.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// The server refused the login; the texts are its own.
    #[error("{message}{}", said(why.as_ref()))]
    Refused {
        /// The server's text, such as `Authentication error`.
        message: String,
        /// Why, where the server says more.
        why: Option<Why>,
    },
    /// What answered does not speak Socket.IO.
    #[error("what answered does not speak Socket.IO")]
    Protocol,
    /// The handshake took too long.
    #[error("no answer within 15 seconds")]
    Late,
}

/// What is said behind the text of a refusal.
fn said(why: Option<&Why>) -> String {
    why.map(|why| format!(": {} ({})", why.message, why.code)).unwrap_or_default()
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The server ended it for good: it should not be opened again.
    #[error("the server ended the connection")]
    Disconnected,
    /// The transport is gone: it may be opened again.
    #[error("the connection is gone")]
    Gone,
    /// Nothing came for longer than the server's heartbeat allows.
    #[error("the server fell silent")]
    Silent,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    sid: String,
    ping_interval: u64,
    ping_timeout: u64,
}

/// The connection.
#[derive(Debug)]
pub struct Socket {
    raw: Raw,
    engine_id: String,
    silence: Duration,
    heard: Instant,
    pong_due: bool,
    unflushed: bool,
    next_id: u64,
}

impl Socket {
    /// Connects and logs in with this handshake payload.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(endpoint: &Endpoint, auth: &Value) -> Result<Self, ConnectError> {
        timeout(HANDSHAKE, Self::log_in(endpoint, auth)).await.map_err(|_| ConnectError::Late)?
    }

    async fn log_in(endpoint: &Endpoint, auth: &Value) -> Result<Self, ConnectError> {
        let mut raw = Raw::connect(endpoint).await?;
        let first = raw.next_text().await.ok_or_else(|| ConnectError::Unreachable(Lost::Gone.to_string()))?;
        let open: Open =
            first.strip_prefix('0').and_then(|json| serde_json::from_str(json).ok()).ok_or(ConnectError::Protocol)?;
        let silence = Duration::from_millis(open.ping_interval.saturating_add(open.ping_timeout));
        let mut socket = Self {
            raw,
            engine_id: open.sid,
            silence,
            heard: Instant::now(),
            pong_due: false,
            unflushed: false,
            next_id: 0,
        };
        let lost = |lost: Lost| ConnectError::Unreachable(lost.to_string());
        socket.send_raw(format!("40{auth}")).await.map_err(lost)?;
        match socket.next().await {
            Ok(Packet::Connect) => Ok(socket),
            Ok(Packet::ConnectError { message, why }) => Err(ConnectError::Refused { message, why }),
            Ok(Packet::Disconnect | Packet::Event { .. } | Packet::Ack { .. }) => Err(ConnectError::Protocol),
            Err(error) => Err(lost(error)),
        }
    }

    /// The id of the Engine.IO session. It must not be shown: in polling it is a credential.
    #[must_use]
    pub fn engine_id(&self) -> &str {
        &self.engine_id
    }

    /// Sends an event that wants no answer.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn emit(&mut self, event: &str, args: &[Value]) -> Result<(), Lost> {
        self.send_raw(encode_event(event, args, None)).await
    }

    /// Sends an event; its answer will come as [`Packet::Ack`] with the id that this returns.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn request(&mut self, event: &str, args: &[Value]) -> Result<u64, Lost> {
        let id = self.next_id;
        self.next_id += 1;
        self.send_raw(encode_event(event, args, Some(id))).await?;
        Ok(id)
    }

    /// Sends a whole Engine.IO message.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn send_raw(&mut self, text: String) -> Result<(), Lost> {
        self.unflushed = true;
        let sending = async {
            self.raw.feed_text(text).await?;
            self.raw.flush().await
        };
        self.unflushed = match timeout(self.silence, sending).await {
            Ok(Ok(())) => false,
            Ok(Err(_)) => return Err(Lost::Gone),
            Err(_) => return Err(Lost::Silent),
        };
        Ok(())
    }

    /// The next packet. Heartbeats are answered on the way, packets of other protocols passed over.
    ///
    /// # Errors
    /// [`Lost`]; the connection is over then.
    pub async fn next(&mut self) -> Result<Packet, Lost> {
        loop {
            // Measured from what came last, so that callers who cancel often still notice a silence.
            // What has arrived is taken first, however late the caller is.
            let text = timeout_at(self.heard + self.silence, self.next_text()).await.map_err(|_| Lost::Silent)??;
            self.heard = Instant::now();
            match text.split_at_checked(1) {
                // Answered on the next turn, so that being cancelled in between loses nothing.
                Some(("2", _)) => self.pong_due = true,
                Some(("1", _)) => return Err(Lost::Gone),
                Some(("4", packet)) => match decode(packet) {
                    Ok(Packet::Disconnect) => return Err(Lost::Disconnected),
                    Ok(packet) => return Ok(packet),
                    Err(error) => tracing::debug!(%error, "a packet was passed over"),
                },
                _ => {}
            }
        }
    }

    async fn next_text(&mut self) -> Result<String, Lost> {
        if self.pong_due {
            self.unflushed = true;
            self.raw.feed_text("3").await.map_err(|_| Lost::Gone)?;
            self.pong_due = false;
        }
        if self.unflushed {
            self.raw.flush().await.map_err(|_| Lost::Gone)?;
            self.unflushed = false;
        }
        self.raw.next_text().await.ok_or(Lost::Gone)
    }

    /// Leaves in order: says goodbye and closes. A connection that is gone already is left silently.
    pub async fn close(mut self) {
        let leaving = async {
            if self.send_raw("41".to_owned()).await.is_ok() {
                drop(self.raw.close().await);
            }
        };
        drop(timeout(Duration::from_secs(1), leaving).await);
    }
}
