//! What is known of every request: its id, its span, a line of the log, and the counters.
//!
//! Guarantees: every response carries `x-request-id`, the client's own where that is sane; a line
//! holds method, path, status and time, never a query or a header; counters are labelled by the
//! matched route, so that no client makes labels. No response is guessed at or, where it is the API's, stored.
//! It is not an audit: what was done is in the channels.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use metrics::counter;
use tracing::Instrument;

use super::{Shared, problem::Refused};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 64;
const REQUESTS: &str = "tidings_http_requests_total";
const REFUSALS: &str = "tidings_refusals_total";

pub(super) async fn observe(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("http", request = id.to_str().unwrap_or_default(), %method, path);
    let begun = state.clock.monotonic();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = state.clock.monotonic().saturating_sub(begun);
    let status = response.status().as_u16();
    span.in_scope(|| tracing::debug!(status, ms = took.as_secs_f64() * 1000.0, "answered"));
    counter!(REQUESTS, "route" => route, "status" => status.to_string()).increment(1);
    if let Some(Refused(code)) = response.extensions().get::<Refused>() {
        counter!(REFUSALS, "code" => code.as_str()).increment(1);
        span.in_scope(|| tracing::debug!(code = code.as_str(), "refused"));
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if path.starts_with("/api/") {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The client's own id if it is 1 to 64 of `[A-Za-z0-9_-]`, else a fresh one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID_BYTES).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'-')
    };
    let own = headers.get(REQUEST_ID).filter(sane).cloned();
    own.unwrap_or_else(|| {
        HeaderValue::from_str(&tidings_core::id::random()).expect("an id is letters, digits, '_' and '-'")
    })
}
