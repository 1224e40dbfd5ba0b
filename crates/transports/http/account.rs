//! Logins: `/api/auth/login`, `refresh`, `logout` and `me`; the own logins and the own password.
//!
//! Guarantees: what comes from here is not to be stored by anybody (`no-store`, as all of the API);
//! passwords and tokens stand in bodies only; a client's address is what trusted proxies say, and where one that is
//! not trusted says it, the log tells so, once.
//! It is not the making of tokens: that is [`tidings_core::identity::Identity`]'s.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use axum::{
    Json as Answer,
    extract::{ConnectInfo, Extension, State},
};
use http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{
    Code, Error, Grant, Timestamp, UserId,
    identity::{Login, Origin, OwnLogin, OwnPassword, Secret},
    principal::Role,
};

use super::{
    Shared,
    access::Caller,
    address::{Network, client_address, is_trusted},
    body::Json,
    params::Path,
    problem::Problem,
};

/// What a login takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    username: String,
    password: Secret,
}

/// What a refresh takes.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RefreshBody {
    refresh_token: Secret,
}

/// Who the caller is, and what it may do.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Me {
    user: MeUser,
    roles: Vec<Role>,
    grants: Vec<Grant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// Who the caller is.
#[derive(Serialize, JsonSchema)]
struct MeUser {
    id: UserId,
    /// Absent for a token that another application minted.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    roles: Vec<Role>,
}

pub(super) async fn login(
    State(state): State<Shared>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    Json(Credentials { username, password }): Json<Credentials>,
) -> Result<Answer<Login>, Problem> {
    let Some(Extension(ConnectInfo(peer))) = peer else {
        // Without the peer's address the limit of logins would count everybody as one.
        let error = Error::internal();
        tracing::error!(error = error.message(), "requests come without ConnectInfo<SocketAddr>");
        return Err(error.into());
    };
    let address = client_address(&state.config.trusted_proxies, peer.ip(), &headers);
    note_untrusted(&headers, peer.ip(), &state.config.trusted_proxies);
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Answer(state.identity.login(username, password, Origin { address, agent }).await?))
}

/// Says once that a proxy on this machine or in its network is not trusted: all its clients count as one address,
/// where a guesser holds up everybody.
fn note_untrusted(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let is_near = match peer.to_canonical() {
        IpAddr::V4(peer) => peer.is_loopback() || peer.is_private(),
        IpAddr::V6(peer) => peer.is_loopback() || peer.is_unique_local(),
    };
    let is_passed_over = headers.contains_key("x-forwarded-for") && !is_trusted(trusted, peer);
    if is_near && is_passed_over && !TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(%peer, "X-Forwarded-For of this address does not count: name it in http.trusted_proxies if it is a proxy");
    }
}

pub(super) async fn refresh(
    State(state): State<Shared>,
    Json(RefreshBody { refresh_token }): Json<RefreshBody>,
) -> Result<Answer<Login>, Problem> {
    Ok(Answer(state.identity.refresh(refresh_token).await?))
}

pub(super) async fn logout(State(state): State<Shared>, Caller(principal): Caller) -> Result<StatusCode, Problem> {
    state.identity.logout(&principal).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn me(State(state): State<Shared>, Caller(principal): Caller) -> Result<Answer<Me>, Problem> {
    let username = match state.identity.user(&principal.user).await {
        Ok(user) => Some(user.username),
        Err(error) if error.code() == Code::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let user = MeUser { id: principal.user, username, roles: principal.roles.clone() };
    let (roles, grants) = (principal.roles, principal.grants);
    Ok(Answer(Me { user, roles, grants, expires_at: principal.expires_at }))
}

/// The own logins that go on.
#[derive(Serialize, JsonSchema)]
pub(super) struct OwnLogins {
    /// The one that was used last first.
    logins: Vec<OwnLogin>,
}

pub(super) async fn logins(
    State(state): State<Shared>,
    Caller(principal): Caller,
) -> Result<Answer<OwnLogins>, Problem> {
    Ok(Answer(OwnLogins { logins: state.identity.logins(&principal).await? }))
}

pub(super) async fn end_login(
    State(state): State<Shared>,
    Caller(principal): Caller,
    path: Path,
) -> Result<StatusCode, Problem> {
    state.identity.end_login(&principal, path.only()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn password(
    State(state): State<Shared>,
    Caller(principal): Caller,
    Json(change): Json<OwnPassword>,
) -> Result<StatusCode, Problem> {
    state.identity.change_own_password(&principal, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
