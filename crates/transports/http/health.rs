//! For operators: liveness, readiness, metrics; the documents; and the refusal of new work while the server is stopping.
//!
//! Guarantees: liveness answers always; neither health route asks for a token or tells more than its state.
//! It is not the probe: that is the hub's.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderMap, Method, header};
use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::Error;

use super::{Shared, access::Caller, problem::Problem, readiness::draining};

/// That it is well.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    /// `live` or `ready`.
    status: &'static str,
    /// How long the delivery of the probe took.
    #[serde(skip_serializing_if = "Option::is_none")]
    probe_ms: Option<u64>,
}

pub(super) async fn live() -> Answer<Health> {
    Answer(Health { status: "live", probe_ms: None })
}

pub(super) async fn ready(State(state): State<Shared>) -> Result<Answer<Health>, Problem> {
    let hub = Arc::clone(&state.hub);
    let start = move || async move { hub.probe().await }.boxed();
    let took = state.readiness.check(state.clock.monotonic(), start).await?;
    Ok(Answer(Health { status: "ready", probe_ms: Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)) }))
}

pub(super) async fn metrics(State(state): State<Shared>, request: Request) -> Result<Response, Problem> {
    if !state.config.metrics_public {
        let (mut parts, _) = request.into_parts();
        let Caller(principal) = Caller::from_request_parts(&mut parts, &state).await?;
        // Every role reads everything; a token without one sees its own channels only.
        if principal.roles.is_empty() {
            return Err(Error::forbidden().into());
        }
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, (state.metrics_render)()).into_response())
}

/// The routes and commands as an OpenAPI document, for everybody.
pub(super) async fn openapi(State(state): State<Shared>, headers: HeaderMap) -> Response {
    state.documents.openapi.answer(&headers)
}

/// The channels, messages and commands as an AsyncAPI document, for everybody.
pub(super) async fn asyncapi(State(state): State<Shared>, headers: HeaderMap) -> Response {
    state.documents.asyncapi.answer(&headers)
}

/// Refuses what would change something while the server is stopping; reads go on until the end.
pub(super) async fn refuse_while_draining(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if state.readiness.is_draining() && !reads {
        return Problem::from(draining()).into_response();
    }
    next.run(request).await
}
