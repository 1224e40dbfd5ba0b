//! The administration of users: `/api/users`. For administrators only.
//!
//! Guarantees: the token is judged before the body is read; no answer holds a password.
//! It is not the keeping of users: that is [`tidings_core::identity::Identity`]'s.

use axum::{Json as Answer, extract::State};
use http::{HeaderName, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{
    Error, Result, UserId,
    identity::{NewUser, User, UserChange},
};

use super::{
    Shared,
    access::Admin,
    body::Json,
    params::{Path, Query},
    problem::Problem,
};

/// A page of users.
#[derive(Serialize, JsonSchema)]
pub(super) struct Users {
    users: Vec<User>,
    /// For the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

type Created = (StatusCode, [(HeaderName, String); 1], Answer<User>);

pub(super) async fn list(State(state): State<Shared>, _: Admin, mut query: Query) -> Result<Answer<Users>, Problem> {
    let (limit, cursor) = (query.limit(100, 1000)?, query.text("cursor"));
    query.finish()?;
    // One more than asked for tells whether another page follows.
    let mut users = state.identity.users(cursor, limit.saturating_add(1)).await?;
    let more = users.len() > limit;
    users.truncate(limit);
    let cursor = users.last().filter(|_| more).map(|user| user.username.clone());
    Ok(Answer(Users { users, cursor }))
}

pub(super) async fn create(
    State(state): State<Shared>,
    _: Admin,
    Json(user): Json<NewUser>,
) -> Result<Created, Problem> {
    let user = state.identity.create_user(user).await?;
    let location = format!("/api/users/{}", user.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Answer(user)))
}

pub(super) async fn show(State(state): State<Shared>, _: Admin, path: Path) -> Result<Answer<User>, Problem> {
    Ok(Answer(state.identity.user(&user_id(&path)?).await?))
}

pub(super) async fn change(
    State(state): State<Shared>,
    _: Admin,
    path: Path,
    Json(change): Json<UserChange>,
) -> Result<Answer<User>, Problem> {
    Ok(Answer(state.identity.change_user(&user_id(&path)?, change).await?))
}

pub(super) async fn delete(State(state): State<Shared>, _: Admin, path: Path) -> Result<StatusCode, Problem> {
    state.identity.delete_user(&user_id(&path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn revoke(State(state): State<Shared>, _: Admin, path: Path) -> Result<StatusCode, Problem> {
    state.identity.revoke_user(&user_id(&path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn user_id(path: &Path) -> Result<UserId> {
    path.only().parse().map_err(|_| Error::not_found())
}
