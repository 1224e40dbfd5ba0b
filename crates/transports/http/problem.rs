//! The one form of every error: `application/problem+json` (RFC 9457) with the fields of the wire's error.
//!
//! Guarantees: `status`, `title` and the HTTP status agree; `detail` is the error's message; 401 asks
//! for a bearer token, and `Retry-After` says in whole seconds what `retryAfterMs` says.
//! Four statuses that only HTTP knows (404 for a path, 405, 408, 415) carry the nearest code.
//! It is not where errors are made: routes return [`tidings_core::Error`].

use std::any::Any;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use tidings_core::{Code, Error, panics};

/// An error on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    error: Error,
}

/// Which code a response carries: an extension of the response, for the counters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(pub(super) Code);

/// An error over HTTP: RFC 9457, and the fields that an error has everywhere.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
struct Body<'a> {
    /// Always `about:blank`: the code says more.
    // No page describes a problem apart from its code, and for that RFC 9457 has this very value.
    r#type: &'static str,
    /// The name of the status.
    title: &'static str,
    /// The status.
    status: u16,
    /// For people: the message.
    detail: &'a str,
    #[serde(flatten)]
    error: &'a Error,
}

/// The schema of every error over HTTP.
pub fn problem_shape(generator: &mut SchemaGenerator) -> Schema {
    Body::<'static>::json_schema(generator)
}

impl Problem {
    /// An error under a status that only HTTP has.
    pub(super) fn with_status(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(error.code().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, error } = self;
        let body = Body {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: error.message(),
            error: &error,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge(error.code())));
        }
        if let Some(ms) = error.retry_after_ms() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        response.extensions_mut().insert(Refused(error.code()));
        response
    }
}

/// What 401 asks for (RFC 6750): a token, or another one than this.
fn challenge(code: Code) -> &'static str {
    if matches!(code, Code::TokenExpired | Code::TokenRevoked) { r#"Bearer error="invalid_token""# } else { "Bearer" }
}

/// The answer to a path that nobody serves.
pub(super) async fn no_route() -> Problem {
    Error::new(Code::NotFound, "no such route").into()
}

/// The answer to a method that a route does not have: which ones it has stands in `Allow`.
pub(super) async fn wrong_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let error = Error::bad_request("this route does not have this method; the header Allow says which it has");
    Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, error).into_response()
}

/// The answer to a request whose handler panicked.
#[expect(clippy::needless_pass_by_value, reason = "the signature of tower-http's panic handlers")]
pub(super) fn of_panic(panic: Box<dyn Any + Send>) -> Response {
    Problem::from(panics::noted("http.request", &*panic)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_status_of_the_table_and_its_headers() {
        for code in Code::ALL {
            let error = Error::new(*code, "why").with_retry_after_ms(1001);
            let response = Problem::from(error).into_response();
            assert_eq!(response.status().as_u16(), code.http_status());
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(response.headers()[header::RETRY_AFTER], "2");
            let asks = response.headers().contains_key(header::WWW_AUTHENTICATE);
            assert_eq!(asks, code.http_status() == 401, "{code}");
        }
    }
}
