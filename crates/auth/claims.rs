//! Claims: what a token says, written and judged.
//!
//! Guarantees: times are judged by the house's clock, and are seconds; of another application's token only the
//! configured claims are believed, and it names a user of this server only where its key may; no token that existed
//! when its user was revoked outlives that, as far as the clock of whoever dated it is off by no more than the leeway; a
//! claim that does not make sense refuses the whole token.
//! It is not the signature: see [`crate::keys`].

use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;
use tidings_core::{Code, Error, Grant, Principal, Result, Timestamp, UserId, principal::Role};

use crate::{
    config::{BelievedClaims, KeyUsers},
    keys::Owner,
    logins::{expired, not_valid, revoked},
    mirror::{Marks, Mirror},
};

/// The most grants of a token.
pub(crate) const MOST_GRANTS: usize = 200;
/// The longest `jti`, in bytes.
const MOST_TOKEN_ID_BYTES: usize = 256;
/// From here on a time is no number of seconds: they would be those of the year 5138, and as milliseconds it is one
/// of 1973.
const NO_SECONDS: i64 = 100_000_000_000;
/// What the server calls itself.
const SERVER: &str = "server";

/// The claims of a token of this server. `iatMs` is `iat` in milliseconds, so that a revocation
/// and a login of the same second are told apart.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claims<'a> {
    pub(crate) sub: &'a UserId,
    pub(crate) roles: &'a [Role],
    pub(crate) grants: &'a [Grant],
    pub(crate) iat: i64,
    pub(crate) iat_ms: i64,
    pub(crate) exp: i64,
    pub(crate) iss: &'a str,
    pub(crate) aud: &'a str,
    pub(crate) jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fam: Option<&'a str>,
}

/// Judges claims whose signature is right.
///
/// # Errors
/// `unauthenticated`, `token_expired`, `token_revoked`.
pub(crate) fn principal(
    claims: &Value,
    owner: &Owner,
    mirror: &Mirror,
    now: Timestamp,
    leeway_ms: i64,
) -> Result<Principal> {
    let expires = judge_times(claims, owner, now.0, leeway_ms)?;
    let token_id = text(claims, "jti")?.filter(|id| !id.is_empty());
    if token_id.is_some_and(|id| id.len() > MOST_TOKEN_ID_BYTES) {
        return Err(not_valid());
    }
    let (user, application, family) = match owner {
        Owner::Here { .. } => (subject(&named(claims, "sub")?)?, None, text(claims, "fam")?),
        Owner::Elsewhere { application, believed, users } => {
            (user_of(&named(claims, &believed.user)?, *users, mirror)?, Some(application), None)
        }
    };
    let issued = issued(claims, owner)?;
    let surely_issued = surely_issued(issued, stamped(claims, owner).is_some(), leeway_ms);
    let application_name = application.map(SmolStr::as_str);
    let marks = Marks { user: &user, issued_ms: surely_issued, token_id, application: application_name, family };
    if mirror.revoked(&marks) || is_from_before(issued, owner, mirror, &user, leeway_ms) {
        return Err(revoked());
    }
    let (roles, grants) = rights(claims, owner, mirror, &marks)?;
    let mut principal = Principal::new(user.clone(), roles, grants);
    principal.token_id = token_id.map(SmolStr::new);
    principal.application = application.cloned();
    principal.family = family.map(SmolStr::new);
    principal.issued_at = Some(issued.map_or(now, Timestamp));
    principal.expires_at = Some(Timestamp(expires));
    Ok(principal)
}

/// When the token ends for us, in milliseconds: for a token from elsewhere after the leeway.
fn judge_times(claims: &Value, owner: &Owner, now: i64, leeway: i64) -> Result<i64> {
    let exp = time(claims, "exp")?.ok_or_else(not_valid)?;
    if stamped(claims, owner).is_none() && time(claims, "iat")?.is_some_and(|iat| iat > now.saturating_add(leeway)) {
        // A token from the future would outlive the revocations until then.
        return Err(not_valid());
    }
    let ends = match owner {
        Owner::Here { until } => {
            if until.is_some_and(|until| now > until) {
                return Err(expired());
            }
            exp
        }
        Owner::Elsewhere { .. } => exp.saturating_add(leeway),
    };
    if now >= ends {
        return Err(expired());
    }
    if time(claims, "nbf")?.is_some_and(|nbf| nbf > now.saturating_add(leeway)) {
        return Err(not_valid());
    }
    Ok(ends)
}

/// When this server issued it, in milliseconds; none for what another program dated, also with this server's secret.
fn stamped(claims: &Value, owner: &Owner) -> Option<i64> {
    match owner {
        Owner::Here { .. } => claims.get("iatMs").and_then(Value::as_i64),
        Owner::Elsewhere { .. } => None,
    }
}

/// When it was issued by the clock of whoever did so, in milliseconds, if it says so. Where only seconds are known, the
/// beginning of that second.
fn issued(claims: &Value, owner: &Owner) -> Result<Option<i64>> {
    Ok(match stamped(claims, owner) {
        Some(ms) => Some(ms),
        None => time(claims, "iat")?.map(|ms| ms.saturating_sub(ms.rem_euclid(1000))),
    })
}

/// The first moment of our clock at which it may have been issued: what a revocation by time is held against. The clock
/// of another program may be ahead by the leeway, so a token that it dates later may be from before.
fn surely_issued(issued: Option<i64>, is_stamped: bool, leeway: i64) -> i64 {
    match issued {
        Some(issued) if is_stamped => issued,
        Some(issued) => issued.saturating_sub(leeway),
        None => i64::MIN,
    }
}

/// Whether a token that names a user of this server was surely issued before there was that user: somebody else may have
/// had the name.
fn is_from_before(issued: Option<i64>, owner: &Owner, mirror: &Mirror, user: &UserId, leeway: i64) -> bool {
    let Owner::Elsewhere { users: KeyUsers::Local, .. } = owner else { return false };
    // `iat` may have seconds only.
    let created = mirror.user(user).map(|standing| standing.created.div_euclid(1000) * 1000);
    issued.zip(created).is_some_and(|(issued, created)| issued.saturating_add(leeway) < created)
}

fn rights(claims: &Value, owner: &Owner, mirror: &Mirror, marks: &Marks<'_>) -> Result<(Vec<Role>, Vec<Grant>)> {
    match owner {
        // A login's roles are those the user has now.
        Owner::Here { .. } if marks.family.is_some() => {
            let standing = mirror.user(marks.user).ok_or_else(revoked)?;
            Ok((standing.roles.clone(), grants(claims.get("grants"))?))
        }
        Owner::Here { .. } => Ok((roles(claims.get("roles")), grants(claims.get("grants"))?)),
        Owner::Elsewhere { believed, .. } => {
            let BelievedClaims { roles: role_claim, grants: grant_claim, .. } = believed;
            let role_claim = role_claim.as_ref().and_then(|name| find(claims, name));
            let grant_claim = grant_claim.as_ref().and_then(|name| find(claims, name));
            Ok((roles(role_claim), grants(grant_claim)?))
        }
    }
}

fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// The text that names whose token it is.
fn named(claims: &Value, name: &str) -> Result<String> {
    let value = match find(claims, name) {
        None if name == "sub" => claims.get("userId"),
        found => found,
    };
    match value {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        _ => Err(not_valid()),
    }
}

/// Somebody that a token may name: not the server itself.
fn subject(text: &str) -> Result<UserId> {
    text.parse().ok().filter(|id: &UserId| !is_reserved(id)).ok_or_else(not_valid)
}

/// Whether it is what the server calls itself, which nobody else may.
pub(crate) fn is_reserved(id: &UserId) -> bool {
    id.as_str() == SERVER
}

/// Whose token it is, by the text that its claims have for it.
fn user_of(text: &str, users: KeyUsers, mirror: &Mirror) -> Result<UserId> {
    match users {
        KeyUsers::Local => mirror.named(text).cloned().ok_or_else(not_valid),
        KeyUsers::Foreign => {
            let id = subject(text)?;
            if mirror.user(&id).is_some() {
                tracing::debug!(user = %id, "a token names a user of this server, and its key may not");
                return Err(not_valid());
            }
            Ok(id)
        }
    }
}

/// Roles that are not ours say nothing here.
fn roles(value: Option<&Value>) -> Vec<Role> {
    let mut roles: Vec<Role> = match value {
        Some(Value::Array(items)) => {
            items.iter().filter_map(Value::as_str).filter_map(|word| word.parse().ok()).collect()
        }
        Some(Value::String(words)) => words.split([' ', ',']).filter_map(|word| word.parse().ok()).collect(),
        _ => Vec::new(),
    };
    roles.sort_unstable();
    roles.dedup();
    roles
}

fn grants(value: Option<&Value>) -> Result<Vec<Grant>> {
    let items = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MOST_GRANTS => items,
        Some(_) => return Err(not_valid()),
    };
    let parsed = items.iter().map(|item| item.as_str().ok_or_else(not_valid)?.parse().map_err(|_: Error| not_valid()));
    parsed.collect()
}

/// A claim that is a text where it is there.
fn text<'a>(claims: &'a Value, name: &str) -> Result<Option<&'a str>> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(not_valid()),
    }
}

/// A claim that is a time in seconds where it is there; in milliseconds.
fn time(claims: &Value, name: &str) -> Result<Option<i64>> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let ms = match value.as_i64() {
        Some(seconds) => seconds.saturating_mul(1000),
        None => {
            let seconds = value.as_f64().ok_or_else(not_valid)?;
            // `as` saturates here, and JSON has no NaN.
            #[expect(clippy::cast_possible_truncation, reason = "milliseconds are whole")]
            let ms = (seconds * 1000.0) as i64;
            ms
        }
    };
    if ms >= NO_SECONDS * 1000 {
        return Err(Error::new(Code::Unauthenticated, "the token's times are not in seconds"));
    }
    Ok(Some(ms))
}
