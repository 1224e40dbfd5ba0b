//! What stands before every route because of browsers: foreign pages are turned away, and others are told by CORS what
//! they may.
//!
//! Guarantees: a request of a foreign page, whatever its method, is refused before anything else of it is looked at;
//! the refusal names the setting that would let the page in, is not kept by anybody, and is counted. A browser may send
//! credentials where its page's origin is named, never where `*` lets it in; the server reads none of them: a token
//! stands in a header. The question before a request (`OPTIONS`) is answered by CORS where any page of another origin
//! may use the server.
//! It is not the judgement: that is `origin`.

use std::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, header};
use tidings_core::{Code, Error};
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer};

use super::{origin::Origins, prefer::PREFERENCE_APPLIED, problem::Problem};

/// What a foreign page's request is told, whatever door it came to.
pub(crate) const REFUSAL: &str = "pages of this origin may not use the server, http.cors_origins lists those that may";

/// The judgement, and how a door refuses.
type Judge = (Origins, fn() -> Response);

impl Origins {
    /// Puts the judgement and CORS before all of these routes. `refuse` is the answer in the door's own form.
    pub(crate) fn guard<S: Clone + Send + Sync + 'static>(
        self,
        routes: Router<S>,
        refuse: fn() -> Response,
    ) -> Router<S> {
        let cors = cors(&self);
        let judge: Judge = (self, refuse);
        routes.layer(middleware::from_fn_with_state(judge, pass)).layer(tower::util::option_layer(cors))
    }
}

/// Passes on what may use the server.
async fn pass(State((origins, refuse)): State<Judge>, request: Request, next: Next) -> Response {
    if origins.admits(&request) {
        return next.run(request).await;
    }
    metrics::counter!("tidings_handshakes_refused_total", "reason" => "origin").increment(1);
    tracing::debug!(origin = ?request.headers().get(header::ORIGIN), "a page of a foreign origin was refused");
    let mut response = refuse();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The refusal of the routes of HTTP.
pub(super) fn refuse() -> Response {
    Problem::from(Error::new(Code::Forbidden, REFUSAL)).into_response()
}

/// The CORS layer for these origins; none where no foreign page may use the server.
fn cors(origins: &Origins) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let request_id = HeaderName::from_static("x-request-id");
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        // Which headers a program sets is its own affair: none of them gives a right but the token's.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([request_id, header::RETRY_AFTER, header::WWW_AUTHENTICATE, PREFERENCE_APPLIED])
        .max_age(Duration::from_secs(600));
    if origins.is_all() {
        return Some(layer.allow_origin(AllowOrigin::any()));
    }
    let (readable, trusted) = (origins.clone(), origins.clone());
    let layer = layer
        .allow_origin(AllowOrigin::predicate(move |origin, request| readable.names(origin, request)))
        .allow_credentials(AllowCredentials::predicate(move |origin, request| trusted.names(origin, request)));
    Some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpConfig;

    #[test]
    fn nothing_is_said_of_cors_where_no_other_origin_may_use_the_server() {
        assert!(cors(&Origins::new(&HttpConfig::default()).expect("no origin is fine")).is_none());
    }
}
