//! Pages of foreign origins are turned away here, before anything else of their request is looked at.
//!
//! Guarantees: a refusal has the engine's form, names the setting that would let the page in, and is counted.
//! It is not the judgement: that is one for all doors, see `http/origin`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Request, Response, header},
    middleware::Next,
};

use super::request::Refusal;
use crate::http::Origins;

/// Passes on what may use the server.
pub(super) async fn judge(State(origins): State<Arc<Origins>>, request: Request<Body>, next: Next) -> Response<Body> {
    if origins.admits(&request) {
        return next.run(request).await;
    }
    metrics::counter!("tidings_handshakes_refused_total", "reason" => "origin").increment(1);
    tracing::debug!(origin = ?request.headers().get(header::ORIGIN), "a page of a foreign origin was refused");
    let mut response = Refusal::Origin.answer();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
