//! Who asks: the bearer token of a request, made a principal.
//!
//! Guarantees: the `Authorization` header is the only place where a token counts; a refused one says
//! no more than its code.
//! It is not the judgement of what may be done: that is the gate's, but for what only administrators do.

use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request::Parts};
use tidings_core::{Code, Error, Principal, Result};

use super::{Shared, limits::Asker, problem::Problem};

/// Somebody with a valid token.
pub(super) struct Caller(pub(super) Principal);

/// Somebody with a valid token who administrates.
pub(super) struct Admin(pub(super) Principal);

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        // Whoever counted the request has looked already.
        match parts.extensions.remove::<Asker>() {
            Some(Asker(asker)) => Ok(Self(asker?)),
            None => Ok(Self(state.identity.verify(bearer(&parts.headers)?)?)),
        }
    }
}

impl FromRequestParts<Shared> for Admin {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let Caller(principal) = Caller::from_request_parts(parts, state).await?;
        if principal.is_admin() { Ok(Self(principal)) } else { Err(Error::forbidden().into()) }
    }
}

/// The token of the one `Authorization` header.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str> {
    let refused = |why: &'static str| Error::new(Code::Unauthenticated, why);
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| refused("a bearer token is needed, in the Authorization header"))?;
    if values.next().is_some() {
        return Err(refused("more than one Authorization header"));
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| refused("the Authorization header is not of the form: Bearer TOKEN"))?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(refused("the Authorization header is not of the form: Bearer TOKEN"));
    }
    Ok(token)
}
