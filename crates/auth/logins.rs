//! Logins and their refresh tokens.
//!
//! A login is a family of refresh tokens, each made from the one before: its successor is a keyed
//! hash of it, so that the answer to a lost response can be made again, also after a restart,
//! while the disk has only SHA-256 of every token.
//!
//! Guarantees: a refresh token is used once; whoever brings it again within the grace gets the same
//! successor; later use ends the login, whoever brought it.
//! It is not where access tokens are made or checked: see [`crate::login`] and [`crate::claims`].

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tidings_core::{Code, Error, UserId};

use crate::{error::Fault, keys::Ring, random::fingerprint, revocations};

/// How long after its end a login is remembered: the wall clock may have leapt, in milliseconds.
const MARGIN_MS: i64 = 24 * 3600 * 1000;

/// The times of an answer, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// What the wall clock says.
    pub(crate) now: i64,
    /// When the access token is issued.
    pub(crate) issued: i64,
    /// When it ends.
    pub(crate) access_until: i64,
    /// When the new refresh token ends.
    pub(crate) refresh_until: i64,
    /// How long a used refresh token gets the same answer.
    pub(crate) grace: i64,
}

/// A refresh that may be answered.
#[derive(Debug)]
pub(crate) struct Refreshed {
    pub(crate) family: String,
    /// The refresh token of the answer.
    pub(crate) next: String,
    /// The first such answer, if it was given before.
    pub(crate) first: Option<First>,
}

/// When an answer was first given, and what its access token says of when it was issued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First {
    pub(crate) now: i64,
    pub(crate) issued: i64,
}

struct Found {
    login: i64,
    expires: i64,
    used: Option<First>,
    family: String,
    user: UserId,
    ended: bool,
}

/// Begins a login with its first refresh token.
pub(crate) fn begin(
    transaction: &Transaction<'_>,
    user: &UserId,
    family: &str,
    refresh_token: &str,
    times: Times,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO logins (family, user, expires, access_until, ended) VALUES (?1, ?2, ?3, ?4, 0)")?
        .execute(params![family, user.as_str(), times.refresh_until, times.access_until])?;
    add_token(transaction, transaction.last_insert_rowid(), refresh_token, times)
}

fn add_token(transaction: &Transaction<'_>, login: i64, token: &str, times: Times) -> rusqlite::Result<()> {
    transaction.prepare_cached("INSERT INTO refresh_tokens VALUES (?1, ?2, ?3, NULL, NULL)")?.execute(params![
        fingerprint(token),
        login,
        times.refresh_until
    ])?;
    Ok(())
}

fn find(connection: &Connection, token: &str) -> rusqlite::Result<Option<Found>> {
    connection
        .prepare_cached(
            "SELECT t.login, t.expires, t.used, t.issued, l.family, l.user, l.ended
             FROM refresh_tokens t JOIN logins l ON l.id = t.login WHERE t.hash = ?1",
        )?
        .query_row([fingerprint(token)], |row| {
            let user: String = row.get(5)?;
            let (used, issued): (Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?);
            Ok(Found {
                login: row.get(0)?,
                expires: row.get(1)?,
                used: used.zip(issued).map(|(now, issued)| First { now, issued }),
                family: row.get(4)?,
                user: user.parse().map_err(|_| rusqlite::Error::InvalidQuery)?,
                ended: row.get(6)?,
            })
        })
        .optional()
}

/// Whose refresh token it is; none for one that is not known here.
pub(crate) fn user_of(connection: &Connection, token: &str) -> rusqlite::Result<Option<UserId>> {
    Ok(find(connection, token)?.map(|found| found.user))
}

/// Uses a refresh token. The outer error undoes the transaction; the inner one keeps what it did.
pub(crate) fn refresh(
    transaction: &Transaction<'_>,
    ring: &Ring,
    token: &str,
    times: Times,
) -> Result<Result<Refreshed, Error>, Fault> {
    let Some(found) = find(transaction, token)? else { return Ok(Err(not_valid())) };
    if found.ended {
        return Ok(Err(revoked()));
    }
    match found.used {
        None if times.now >= found.expires => Ok(Err(expired())),
        None => use_up(transaction, ring, token, found, times).map(Ok),
        // The wall clock may have been set back since: as far off counts as late.
        Some(first) if times.grace > 0 && times.now.abs_diff(first.now) <= times.grace.unsigned_abs() => {
            again(transaction, ring, token, &found, first)
        }
        Some(_) => {
            tracing::warn!(user = %found.user, "a refresh token was used again: its login ends");
            end(transaction, &found.family)?;
            Ok(Err(revoked()))
        }
    }
}

fn use_up(
    transaction: &Transaction<'_>,
    ring: &Ring,
    token: &str,
    found: Found,
    times: Times,
) -> Result<Refreshed, Fault> {
    let next = ring.successor(token);
    transaction
        .prepare_cached("UPDATE refresh_tokens SET used = ?2, issued = ?3 WHERE hash = ?1")?
        .execute(params![fingerprint(token), times.now, times.issued])?;
    add_token(transaction, found.login, &next, times)?;
    transaction
        .prepare_cached("UPDATE logins SET expires = ?2, access_until = max(access_until, ?3) WHERE id = ?1")?
        .execute(params![found.login, times.refresh_until, times.access_until])?;
    Ok(Refreshed { family: found.family, next, first: None })
}

fn again(
    transaction: &Transaction<'_>,
    ring: &Ring,
    token: &str,
    found: &Found,
    first: First,
) -> Result<Result<Refreshed, Error>, Fault> {
    for next in ring.possible_successors(token) {
        if find(transaction, &next)?.is_some_and(|after| after.login == found.login) {
            return Ok(Ok(Refreshed { family: found.family.clone(), next, first: Some(first) }));
        }
    }
    // The key that made the answer is gone: no theft, but no answer either.
    Ok(Err(not_valid()))
}

/// Lengthens what the end of a login has to cover: an answer was given again, with a later token.
pub(crate) fn covers(transaction: &Transaction<'_>, family: &str, access_until: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE logins SET access_until = max(access_until, ?2) WHERE family = ?1")?
        .execute(params![family, access_until])?;
    Ok(())
}

/// Ends a login, its access tokens and its connections. Says whether it is known here.
pub(crate) fn end(transaction: &Transaction<'_>, family: &str) -> rusqlite::Result<bool> {
    let until: Option<i64> = transaction
        .prepare_cached("UPDATE logins SET ended = 1 WHERE family = ?1 RETURNING access_until")?
        .query_row([family], |row| row.get(0))
        .optional()?;
    if let Some(until) = until {
        revocations::family(transaction, family, until)?;
    }
    Ok(until.is_some())
}

/// Ends the refresh tokens of all logins of a user. Its access tokens are the caller's to revoke.
pub(crate) fn end_all(transaction: &Transaction<'_>, user: &UserId) -> rusqlite::Result<()> {
    transaction.execute("UPDATE logins SET ended = 1 WHERE user = ?1 AND ended = 0", [user.as_str()])?;
    Ok(())
}

/// The time before which what ended can be forgotten.
pub(crate) fn forgettable(now: i64) -> i64 {
    now.saturating_sub(MARGIN_MS)
}

/// Forgets logins and refresh tokens that ended before a time.
pub(crate) fn prune(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM refresh_tokens WHERE expires < ?1", [before])?;
    transaction.execute("DELETE FROM logins WHERE expires < ?1", [before])?;
    Ok(())
}

/// `unauthenticated`, with the one text that tells nothing.
pub(crate) fn not_valid() -> Error {
    Error::new(Code::Unauthenticated, "the token is not valid")
}

/// `token_expired`.
pub(crate) fn expired() -> Error {
    Error::new(Code::TokenExpired, "the token's time is over")
}

/// `token_revoked`.
pub(crate) fn revoked() -> Error {
    Error::new(Code::TokenRevoked, "the token was revoked")
}
