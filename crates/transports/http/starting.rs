//! What a server answers that has not started yet.
//!
//! Guarantees: it lives; it is not ready, and says why; everything else is `unavailable`, with the same reason.
//! It is not the server: that has routes of its own, and takes the place of these.

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use tidings_core::Error;

use super::{health, problem::Problem};

/// When to come back, in milliseconds.
const LATER_MS: u64 = 1000;

/// The routes of a server that is starting. `why` says what it waits for, to anybody.
pub fn starting(why: &'static str) -> Router {
    let refuse = move || async move { refusal(why) };
    Router::new().route("/health/live", get(health::live)).route("/health/ready", get(refuse)).fallback(refuse)
}

fn refusal(why: &'static str) -> Response {
    Problem::from(Error::unavailable(why).with_retry_after_ms(LATER_MS)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::{Method, Request, StatusCode, header};
    use tower::ServiceExt;

    use super::*;

    async fn ask(method: Method, path: &str) -> (StatusCode, bool, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        let response = starting("the disk is full").oneshot(request).await.expect("an answer");
        let (status, later) = (response.status(), response.headers().contains_key(header::RETRY_AFTER));
        let body = to_bytes(response.into_body(), 10_000).await.expect("a body");
        (status, later, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn it_lives_and_says_to_everything_else_why_not_yet() {
        let (status, later, body) = ask(Method::GET, "/health/live").await;
        assert_eq!((status, later), (StatusCode::OK, false));
        assert!(body.contains("live"), "{body}");
        let others = [
            (Method::GET, "/health/ready"),
            (Method::GET, "/metrics"),
            (Method::POST, "/api/events"),
            (Method::GET, "/socket.io/?EIO=4&transport=polling"),
            (Method::GET, "/no/such/route"),
        ];
        for (method, path) in others {
            let (status, later, body) = ask(method, path).await;
            assert_eq!((status, later), (StatusCode::SERVICE_UNAVAILABLE, true), "{path}");
            assert!(body.contains("unavailable") && body.contains("the disk is full"), "{path}: {body}");
        }
    }
}
