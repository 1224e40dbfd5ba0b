//! Admission: who may begin a connection, and who is let in.
//!
//! Guarantees: one count over all transports of what is open, of handshakes under way and of connections; a refusal
//! is counted with its reason; a token is judged before anything of its connection exists, and what is wrong with it
//! is not told.
//! It is not the gate: what a client that was let in may do is judged there.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde::Deserialize;
use tidings_core::{
    Code, Principal,
    identity::{Identity, Secret},
};
use tidings_engine::hub::Hub;

use super::{ConnectionConfig, PROTOCOL};

/// What a client presents.
#[derive(Deserialize)]
pub(crate) struct Presented {
    /// Whose the connection is to be.
    pub(crate) token: Option<Secret>,
    /// The version of the wire that it speaks, if it says one.
    pub(crate) protocol: Option<u32>,
}

/// Why a connection is refused. The texts are part of the wire.
#[derive(Debug)]
pub(crate) enum Refused {
    /// What is wrong with the token.
    Authentication(Code),
    Protocol,
    Full,
}

impl Refused {
    /// Why, for programs.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Authentication(code) => *code,
            Self::Protocol => Code::BadRequest,
            Self::Full => Code::Overloaded,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authentication(_) => "Authentication error",
            Self::Protocol => "Unsupported protocol: this server speaks 1",
            Self::Full => "Too many connections: try again later",
        })
    }
}

/// The bounds of what is open, and what is.
pub(crate) struct Admission {
    hub: Arc<Hub>,
    identity: Arc<dyn Identity>,
    max_connections: usize,
    max_handshakes: usize,
    /// Streams that are open, accepted or not.
    streams: Arc<AtomicUsize>,
    /// Handshakes under way.
    handshakes: Arc<AtomicUsize>,
    draining: AtomicBool,
}

impl Admission {
    pub(super) fn new(hub: Arc<Hub>, identity: Arc<dyn Identity>, config: &ConnectionConfig) -> Self {
        Self {
            hub,
            identity,
            max_connections: config.max_connections,
            max_handshakes: config.max_handshakes,
            streams: Arc::default(),
            handshakes: Arc::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Lets nobody in any more.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether no further client may be accepted.
    fn is_full(&self) -> bool {
        self.draining.load(Ordering::SeqCst) || self.hub.connection_count() >= self.max_connections
    }

    /// Why no further handshake may begin, if so: streams that are not accepted yet count, too. A refusal is counted.
    pub(crate) fn refuses(&self) -> Option<&'static str> {
        let why = if self.draining.load(Ordering::SeqCst) {
            "draining"
        } else if self.is_full() || self.streams.load(Ordering::SeqCst) >= self.max_connections {
            "connections"
        } else if self.handshakes.load(Ordering::SeqCst) >= self.max_handshakes {
            "handshakes"
        } else {
            return None;
        };
        metrics::counter!("tidings_handshakes_refused_total", "reason" => why).increment(1);
        tracing::debug!(why, "a handshake was refused");
        Some(why)
    }

    /// A handshake begins.
    pub(crate) fn begin(&self) -> Handshake {
        Handshake::of(&self.handshakes)
    }

    /// A stream is open.
    pub(crate) fn stream(&self) -> OpenStream {
        OpenStream::of(&self.streams)
    }

    /// Who a client is that presents this, if it may come in. None stands for what could not be read. A refusal is
    /// counted.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn judge(&self, presented: Option<Presented>) -> Result<Principal, Refused> {
        let presented = presented.ok_or(Refused::Authentication(Code::Unauthenticated));
        presented.and_then(|presented| self.principal(&presented)).inspect_err(|why| {
            metrics::counter!("tidings_connections_refused_total", "code" => why.code().as_str()).increment(1);
            tracing::debug!(code = %why.code(), %why, "a connection was refused");
        })
    }

    fn principal(&self, presented: &Presented) -> Result<Principal, Refused> {
        let token = presented.token.as_ref().ok_or(Refused::Authentication(Code::Unauthenticated))?;
        let principal = self.identity.verify(&token.0).map_err(|error| Refused::Authentication(error.code()))?;
        if presented.protocol.is_some_and(|protocol| protocol != PROTOCOL) {
            return Err(Refused::Protocol);
        }
        if self.is_full() {
            return Err(Refused::Full);
        }
        Ok(principal)
    }
}

/// Counts a handshake that is under way, until dropped.
pub(crate) struct Handshake(Arc<AtomicUsize>);

impl Handshake {
    pub(crate) fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts a stream as open, until dropped.
pub(crate) struct OpenStream(Arc<AtomicUsize>);

impl OpenStream {
    pub(crate) fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
