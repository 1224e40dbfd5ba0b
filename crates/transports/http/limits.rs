//! How much one asks over HTTP: how often, and how much at once.
//!
//! Guarantees: a request is counted for the user of its token, and without a good token for its address (of IPv6, a
//! /64) as far as trusted proxies say it; what is refused has had no effect, says when to come back, and was not
//! read; the table of whom it remembers is bounded; health and metrics are never refused.
//! It is not the limit of logins, which is identity's, nor that of the events that are published: those wait for
//! their place in the log's queue.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::Method;
use parking_lot::Mutex;
use tidings_core::{Code, Error, Principal, Result, rate::Buckets};
use tidings_engine::{
    budget::{Bound, Held, Share, Who},
    seats::{Seat, Seats},
};

use super::{HttpConfig, Shared, access::bearer, address::counted_address, problem::Problem};

/// The most users and addresses whose rate is remembered.
const MOST: usize = 32_768;
/// An answer of so many bytes is not counted: it costs no more than its request did.
const SMALL_ANSWER: usize = 64 * 1024;
/// When whoever has too much under way is asked to come back.
const LATER_MS: u64 = 1000;

/// What is counted of all requests.
pub(super) struct Limits {
    rates: Option<Mutex<Buckets<Who>>>,
    seats: Arc<Seats>,
}

/// Who asks, as the token of the request says.
#[derive(Clone)]
pub(super) struct Asker(pub(super) Result<Principal>);

/// What the body of a request is counted in, and what is held for it until the answer.
#[derive(Clone)]
pub(super) struct BodyRoom(Arc<(Arc<Share>, Mutex<Option<Held>>)>);

impl BodyRoom {
    /// Holds so many bytes for the body, in place of what was held before.
    ///
    /// # Errors
    /// `rate_limited` or `overloaded` when that is more than may be held.
    pub(super) fn hold(&self, bytes: usize) -> Result<()> {
        let (share, held) = &*self.0;
        let new = share.hold(bytes).map_err(|bound| {
            bound.count("bodies");
            too_much(bound, "more is sent at once than may")
        })?;
        *held.lock() = Some(new);
        Ok(())
    }

    /// It is no more than this.
    pub(super) fn is(&self, bytes: usize) {
        if let Some(held) = self.0.1.lock().as_mut() {
            held.set(bytes.min(held.bytes()));
        }
    }
}

impl Limits {
    pub(super) fn new(config: &HttpConfig) -> Self {
        let rates = config.rate.map(|rate| Mutex::new(Buckets::new(rate, MOST)));
        Self { rates, seats: Seats::new(config.requests) }
    }

    /// Counts a request.
    fn take(&self, who: &Who, now: Duration, is_counted: bool) -> Result<Seat> {
        if let Some(rates) = self.rates.as_ref().filter(|_| is_counted) {
            let taken = rates.lock().take(who, now);
            taken.map_err(|wait| {
                limited("requests");
                let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
                Error::new(Code::RateLimited, "too many requests").with_retry_after_ms(ms)
            })?;
        }
        self.seats.enter(who.clone()).map_err(|bound| {
            limited("requests_at_once");
            too_much(bound, "too many requests are under way")
        })
    }
}

fn limited(limit: &'static str) {
    metrics::counter!("tidings_limited_total", "limit" => limit).increment(1);
}

fn too_much(bound: Bound, why: &'static str) -> Error {
    Error::new(bound.code(), why).with_retry_after_ms(LATER_MS)
}

/// Finds out who asks, and refuses whoever asks for too much.
pub(super) async fn limit(
    State((state, limits)): State<(Shared, Arc<Limits>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path == "/metrics" || path.starts_with("/health/") {
        return next.run(request).await;
    }
    // Publishing has its own measure: its events wait for room in the log's queue.
    let is_published = path == "/api/events" && request.method() == Method::POST;
    let asker = bearer(request.headers()).and_then(|token| state.identity.verify(token));
    let who = match &asker {
        Ok(principal) => Who::User(principal.user.clone()),
        Err(_) => Who::Address(counted_address(&state.config.trusted_proxies, &request)),
    };
    let is_counted = asker.is_err() || !is_published;
    let seat = match limits.take(&who, state.clock.monotonic(), is_counted) {
        Ok(seat) => seat,
        Err(refused) => return Problem::from(refused).into_response(),
    };
    let share = state.hub.budget().share(&who);
    let room = BodyRoom(Arc::new((share.clone(), Mutex::new(None))));
    request.extensions_mut().insert(Asker(asker));
    request.extensions_mut().insert(room.clone());
    let response = next.run(request).await;
    drop((seat, room));
    held_until_sent(response, &share).await.unwrap_or_else(|refused| Problem::from(refused).into_response())
}

/// Holds the bytes of a large answer for who asked, until the client has read them. One that is larger than the
/// bound passes alone.
///
/// # Errors
/// `rate_limited` or `overloaded` when more answers are not read than may be held. Such an answer only told
/// something: what changes anything answers in few bytes.
async fn held_until_sent(response: Response, share: &Arc<Share>) -> Result<Response> {
    let bytes = response.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
    if bytes <= SMALL_ANSWER {
        return Ok(response);
    }
    let held = match share.hold(bytes) {
        Ok(held) => held,
        Err(_) if share.held() == 0 => share.hold_anyway(bytes),
        Err(bound) => {
            bound.count("answers");
            return Err(too_much(bound, "more answers are not read than may be held"));
        }
    };
    let (parts, body) = response.into_parts();
    let data = axum::body::to_bytes(body, bytes).await.map_err(|_| Error::internal())?;
    Ok(Response::from_parts(parts, Body::from(Bytes::from_owner(Answer { data, _held: held }))))
}

/// An answer, with what counts its bytes as long as anything of it waits to be sent.
struct Answer {
    data: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
