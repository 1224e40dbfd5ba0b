//! Admission: who may begin a connection, and who is let in.
//!
//! Guarantees: one count over all transports of what is open, of handshakes under way and of connections, in all and of
//! each user; no address keeps the others out by its handshakes; a refusal is counted with its reason; a token is judged
//! before anything of its connection exists, and what is wrong with it is not told.
//! It is not the gate: what a client that was let in may do is judged there.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::http::Request;
use serde::Deserialize;
use tidings_core::{
    Code, Principal,
    identity::{Identity, Secret},
    runtime::Clock,
};
use tidings_engine::{
    budget::Who,
    hub::Hub,
    seats::{Seat, Seats, SeatsConfig},
};

use super::{
    ConnectionParts, PROTOCOL,
    handshakes::{Handshake, Handshakes},
};
use crate::http::{Network, counted_address};

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
    /// Its user has as many connections as one may have.
    FullForUser,
}

impl Refused {
    /// Why, for programs.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Authentication(code) => *code,
            Self::Protocol => Code::BadRequest,
            Self::Full | Self::FullForUser => Code::Overloaded,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            // Whether a login helps is in the error beside it.
            Self::Authentication(_) | Self::Full | Self::FullForUser => "Authentication error",
            Self::Protocol => "Unsupported protocol: this server speaks 1",
        })
    }
}

/// The bounds of what is open, and what is.
pub(crate) struct Admission {
    hub: Arc<Hub>,
    identity: Arc<dyn Identity>,
    clock: Arc<dyn Clock>,
    trusted_proxies: Vec<Network>,
    max_connections: usize,
    /// Streams that are open, accepted or not.
    streams: Arc<AtomicUsize>,
    /// Handshakes under way.
    handshakes: Arc<Handshakes>,
    /// Connections of each user.
    users: Arc<Seats>,
    draining: AtomicBool,
}

impl Admission {
    pub(super) fn new(parts: &ConnectionParts) -> Self {
        let config = &parts.config;
        Self {
            hub: parts.hub.clone(),
            identity: parts.identity.clone(),
            clock: parts.clock.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            max_connections: config.max_connections,
            streams: Arc::default(),
            handshakes: Handshakes::new(config.max_handshakes),
            users: Seats::new(SeatsConfig { user: config.max_connections_per_user, total: 0 }),
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

    /// A handshake begins with this request, if it may: streams that are not accepted yet count for the connections,
    /// too, and another handshake may be ended for it. A refusal is counted.
    pub(crate) fn begin<B>(&self, request: &Request<B>) -> Option<Handshake> {
        let begun = if self.draining.load(Ordering::SeqCst) {
            Err("draining")
        } else if self.is_full() || self.streams.load(Ordering::SeqCst) >= self.max_connections {
            Err("connections")
        } else {
            let address = counted_address(&self.trusted_proxies, request);
            self.handshakes.begin(address, self.clock.monotonic()).map_err(|_| "handshakes")
        };
        let refused = |why: &&'static str| {
            metrics::counter!("tidings_handshakes_refused_total", "reason" => *why).increment(1);
            tracing::debug!(why, "a handshake was refused");
        };
        begun.inspect_err(refused).ok()
    }

    /// A stream is open.
    pub(crate) fn stream(&self) -> OpenStream {
        OpenStream::of(&self.streams)
    }

    /// Who a client is that presents this, if it may come in. None stands for what could not be read. `seat` is what
    /// its connection counts by for its user: whoever was let in before on the same transport has one, and it is
    /// another once somebody else is. A refusal is counted, and changes no seat.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn judge(&self, presented: Option<Presented>, seat: &mut Option<Seat>) -> Result<Principal, Refused> {
        let presented = presented.ok_or(Refused::Authentication(Code::Unauthenticated));
        let judged = presented.and_then(|presented| self.principal(&presented)).and_then(|principal| {
            let who = Who::User(principal.user.clone());
            if !seat.as_ref().is_some_and(|seat| seat.is_of(&who)) {
                *seat = Some(self.users.enter(who).map_err(|_| Refused::FullForUser)?);
            }
            Ok(principal)
        });
        judged.inspect_err(|why| {
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
