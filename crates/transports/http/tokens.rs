//! Tokens that belong to no login: `/api/tokens`. One's own for everybody, all for administrators.
//!
//! Guarantees: no answer holds a token; whoever does not administrate is told of others' no more than of what is not
//! there.
//! It is not the making of tokens: only the command line does that.

use axum::{Json as Answer, extract::State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{
    Error, UserId,
    identity::{IssuedToken, IssuedTokens},
};

use super::{
    Shared,
    access::Caller,
    params::{Path, Query},
    problem::Problem,
};

/// A page of tokens.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tokens {
    /// The newest first.
    tokens: Vec<IssuedToken>,
    /// For the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

pub(super) async fn list(
    State(state): State<Shared>,
    Caller(principal): Caller,
    mut query: Query,
) -> Result<Answer<Tokens>, Problem> {
    let (limit, cursor, of) = (query.limit(100, 1000)?, query.text("cursor"), query.text("userId"));
    query.finish()?;
    let of = of.map(|of| of.parse::<UserId>()).transpose().map_err(|_| Error::invalid_field("userId", "is no id"))?;
    let of = match of {
        Some(of) if !principal.is_admin() && of != principal.user => return Err(Error::forbidden().into()),
        None if !principal.is_admin() => Some(principal.user),
        of => of,
    };
    let IssuedTokens { tokens, cursor } = state.identity.tokens(of, cursor, limit).await?;
    Ok(Answer(Tokens { tokens, cursor }))
}

pub(super) async fn revoke(
    State(state): State<Shared>,
    Caller(principal): Caller,
    path: Path,
) -> Result<StatusCode, Problem> {
    let of = (!principal.is_admin()).then_some(&principal.user);
    state.identity.revoke_token(path.only(), of).await?;
    Ok(StatusCode::NO_CONTENT)
}
