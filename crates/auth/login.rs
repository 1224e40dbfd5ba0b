//! Logging in and refreshing: the answer with its two tokens.
//!
//! Guarantees: an answer depends on nothing but the database, the keys and the time of its first
//! making, so it can be given again, byte for byte.
//! It is not the rate limit, nor the check of the password: see [`crate::identity`].

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rusqlite::Transaction;
use tidings_core::{
    Code, Error, Grant, Timestamp, UserId,
    identity::{Login, LoginUser, Origin, User},
    principal::Role,
};

use crate::{
    claims::Claims,
    config::AuthConfig,
    error::Fault,
    keys::Ring,
    known,
    logins::{self, Beginning},
    random,
    refresh::{self, First, Times},
    store::Store,
    users::{self, Account},
};

/// What tokens say and how long they live, in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    issuer: String,
    audience: String,
    access: i64,
    refresh: i64,
    grace: i64,
    max_logins: u32,
}

impl Terms {
    pub(crate) fn of(config: &AuthConfig) -> Self {
        let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            access: ms(config.access_ttl).max(1000),
            refresh: ms(config.refresh_ttl),
            grace: ms(config.refresh_grace),
            max_logins: config.max_logins,
        }
    }

    /// How long a used refresh token gets the same answer.
    pub(crate) fn grace(&self) -> i64 {
        self.grace
    }

    /// How long a key must go on verifying after it signed for the last time.
    pub(crate) fn longest(&self) -> i64 {
        self.access.max(self.grace).saturating_add(1000)
    }

    fn times(&self, now: i64, issued: i64) -> Times {
        Times {
            now,
            issued,
            access_until: end_of(now, self.access),
            refresh_until: now.saturating_add(self.refresh),
            grace: self.grace,
        }
    }

    /// Signs a token.
    pub(crate) fn sign(&self, ring: &Ring, token: &Token<'_>) -> String {
        ring.sign(&Claims {
            sub: token.user,
            roles: token.roles,
            grants: token.grants,
            iat: token.issued.div_euclid(1000),
            iat_ms: token.issued,
            exp: token.until.div_euclid(1000),
            iss: &self.issuer,
            aud: &self.audience,
            jti: token.id,
            fam: token.family,
        })
    }

    fn answer(&self, ring: &Ring, user: User, family: &str, refresh_token: String, first: First) -> Login {
        // From the wall clock and not from `issued`, which after a leap of that clock may be far ahead.
        let until = end_of(first.now, self.access);
        // From the refresh token, so that the same answer has the same id.
        let id = URL_SAFE_NO_PAD.encode(&random::fingerprint(&format!("jti {refresh_token}"))[..16]);
        let token = Token {
            user: &user.id,
            roles: &user.roles,
            grants: &[],
            issued: first.issued,
            until,
            id: &id,
            family: Some(family),
        };
        Login {
            token: self.sign(ring, &token),
            token_type: "Bearer",
            expires_at: Timestamp(until),
            refresh_token,
            user: LoginUser { id: user.id, username: user.username, roles: user.roles },
        }
    }
}

/// A token to be signed; times in milliseconds.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) roles: &'a [Role],
    pub(crate) grants: &'a [Grant],
    pub(crate) issued: i64,
    pub(crate) until: i64,
    pub(crate) id: &'a str,
    pub(crate) family: Option<&'a str>,
}

/// The end of a token: on a whole second, which is all that `exp` can say, and no sooner than promised.
pub(crate) fn end_of(now: i64, ttl: i64) -> i64 {
    let end = now.saturating_add(ttl).saturating_add(999);
    end - end.rem_euclid(1000)
}

/// `unauthenticated`, with the one text for a wrong name, a wrong password and a disabled user. The same again would
/// be wrong again.
pub(crate) fn wrong() -> Error {
    Error::new(Code::Unauthenticated, "wrong name or password").not_retryable()
}

/// What is said of a refresh token that is not accepted. The same one never is again, so what is wrong with it is final;
/// what is wrong with the server is not. What is none counts as a wrong try to log in.
pub(crate) fn spent(error: Error) -> Error {
    if error.code() == Code::Unauthenticated {
        metrics::counter!("tidings_logins_total", "result" => "wrong").increment(1);
    }
    match error.code() {
        Code::Unauthenticated | Code::TokenExpired | Code::TokenRevoked => error.not_retryable(),
        _ => error,
    }
}

/// Begins a login of an account whose password was right.
pub(crate) fn begin(
    store: &Store,
    transaction: &Transaction<'_>,
    terms: &Terms,
    (checked, from): (&Account, &Origin),
    now: Timestamp,
) -> Result<Login, Fault> {
    // While the password was checked, the account may have changed.
    let account = users::by_id(transaction, &checked.user.id)?.ok_or_else(wrong)?;
    if account.user.disabled || account.password != checked.password {
        return Err(wrong().into());
    }
    let issued = store.stamp_for(&account.user.id, now);
    let (family, handle) = (random::id::<16>(), refresh::handle());
    let (user, refresh_token) = (&account.user.id, refresh::first_of(&handle, &family));
    let new = Beginning { user, family: &family, handle: &handle, refresh_token: &refresh_token, from };
    logins::begin(transaction, &new, terms.times(now.0, issued), terms.max_logins)?;
    known::remember(transaction, user, from.address, now.0)?;
    Ok(terms.answer(&store.ring(), account.user, &family, refresh_token, First { now: now.0, issued }))
}

/// Answers a refresh token. The inner error keeps what the transaction did: a login may have ended.
pub(crate) fn refresh(
    store: &Store,
    transaction: &Transaction<'_>,
    terms: &Terms,
    refresh_token: &str,
    now: Timestamp,
) -> Result<Result<Login, Error>, Fault> {
    let Some(found) = refresh::find(transaction, refresh_token)? else { return Ok(Err(logins::not_valid())) };
    let user = found.user.clone();
    let account = users::by_id(transaction, &user)?.filter(|account| !account.user.disabled);
    let Some(account) = account else { return Ok(Err(logins::revoked())) };
    let ring = store.ring();
    let stamp = store.stamp_for(&user, now);
    let refreshed = match refresh::refresh(transaction, &ring, refresh_token, found, terms.times(now.0, stamp))? {
        Ok(refreshed) => refreshed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let first = match refreshed.first {
        // The same answer, unless what it held was revoked since.
        Some(first) if first.issued >= store.mirror().earliest(&user) => first,
        _ => First { now: now.0, issued: stamp },
    };
    logins::covers(transaction, &refreshed.family, end_of(first.now, terms.access))?;
    Ok(Ok(terms.answer(&ring, account.user, &refreshed.family, refreshed.next, first)))
}
