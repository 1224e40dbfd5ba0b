//! The HTTP transport: the REST side of the wire (docs/PROTOCOL.md, "Errors" and "HTTP").
//!
//! One [`router`] with logins, users, tokens, events, channels, the commands of the domains, health and
//! metrics. Domain routes are mounted from the gate's rows; none is named here.
//!
//! Guarantees: every error leaves as `application/problem+json` with a stable code; a token counts
//! in the `Authorization` header only; bodies are bounded in size; how often and how much at once
//! somebody asks is bounded; a foreign page is refused at every route; nothing of a query, a header or a body is logged.
//! It is not a listener: whoever serves the router accepts the connections, gives each request its
//! peer as axum's `ConnectInfo<SocketAddr>`, and bounds the time of the header, of the body ([`crate::body::TooSlow`])
//! and of the reading of the answer.

mod access;
mod account;
mod address;
mod body;
mod channels;
mod commands;
mod config;
mod document;
mod events;
mod front;
mod guard;
mod health;
mod limits;
mod observe;
mod origin;
mod params;
mod prefer;
mod problem;
mod readiness;
mod rows;
mod starting;
mod tokens;
mod users;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use axum::{
    Router, middleware,
    routing::{delete, get, post},
};
use tidings_core::{identity::Identity, runtime::Clock};
use tidings_engine::{gate::Gate, hub::Hub};
use tower_http::catch_panic::CatchPanicLayer;

use self::limits::Limits;

pub(crate) use address::counted_address;
pub use address::{InvalidNetwork, Network, client_address};
pub use config::{HttpConfig, InvalidOrigin};
pub use document::{Document, ROUTES};
pub(crate) use guard::REFUSAL as FOREIGN_PAGE;
pub use origin::Origins;
pub use problem::{Problem, problem_shape};
pub use readiness::Readiness;
pub use rows::RowConflict;
pub use starting::starting;

/// What the routes work with.
#[derive(Clone)]
pub struct HttpState {
    /// Judges and runs what clients ask.
    pub gate: Arc<Gate>,
    /// Knows the live channels and sends the probe.
    pub hub: Arc<Hub>,
    /// Who is who.
    pub identity: Arc<dyn Identity>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Writes the metrics as Prometheus text.
    pub metrics_render: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether the server should get traffic.
    pub readiness: Arc<Readiness>,
    /// What the server says of itself to programs.
    pub documents: Arc<Documents>,
    /// Limits and policies.
    pub config: HttpConfig,
}

impl fmt::Debug for HttpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpState").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The documents that are served, made once at the start. They hold no secret.
#[derive(Debug, Default)]
pub struct Documents {
    /// OpenAPI, as JSON.
    pub openapi: Document,
    /// AsyncAPI, as JSON.
    pub asyncapi: Document,
}

/// The state as handlers get it.
type Shared = Arc<HttpState>;

/// Why no router could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// An origin of [`HttpConfig::cors_origins`] is none.
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// Two rows want the same route, or a row wants a route of the server's own.
    #[error(transparent)]
    Rows(#[from] RowConflict),
}

/// All routes, with everything around them: request ids, the access log, counters, CORS, the refusal of foreign pages, the
/// catching of panics, and the refusal of new work while the server is stopping.
///
/// # Errors
/// [`SetupError`] when the configuration or the rows of the domains contradict themselves.
pub fn router(state: HttpState) -> Result<Router, SetupError> {
    let origins = Origins::new(&state.config)?;
    let domains = rows::mount(state.gate.commands(), &document::own_paths())?;
    let limits = Arc::new(Limits::new(&state.config));
    let state: Shared = Arc::new(state);
    let router = own_routes()
        .merge(domains)
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(middleware::from_fn_with_state((Arc::clone(&state), limits), limits::limit))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), health::refuse_while_draining))
        .layer(CatchPanicLayer::custom(problem::of_panic));
    let router = origins
        .guard(router, guard::refuse)
        .layer(middleware::from_fn_with_state(Arc::clone(&state), observe::observe));
    Ok(router.with_state(state))
}

fn own_routes() -> Router<Shared> {
    Router::new()
        .route("/api/auth/login", post(account::login))
        .route("/api/auth/refresh", post(account::refresh))
        .route("/api/auth/logout", post(account::logout))
        .route("/api/auth/me", get(account::me))
        .route("/api/auth/password", post(account::password))
        .route("/api/auth/logins", get(account::logins))
        .route("/api/auth/logins/{id}", delete(account::end_login))
        .route("/api/tokens", get(tokens::list))
        .route("/api/tokens/{id}", delete(tokens::revoke))
        .route("/api/users", get(users::list).post(users::create))
        .route("/api/users/{id}", get(users::show).patch(users::change).delete(users::delete))
        .route("/api/users/{id}/revoke", post(users::revoke))
        .route("/api/events", post(events::publish))
        .route("/api/channels", get(channels::list))
        .route("/api/channels/{channel}", get(channels::show).delete(channels::delete))
        .route("/api/channels/{channel}/events", get(channels::history))
        .route("/", get(front::page))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(health::openapi))
        .route("/asyncapi.json", get(health::asyncapi))
}
