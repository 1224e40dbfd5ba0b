//! Logins: who began one, from where, and when it ends.
//!
//! Guarantees: a user has a bounded number of them: beyond it that one ends which was not used for longest, which is
//! counted, logged, and told to whoever refreshes it; of those that ended as many are remembered.
//! It is not where tokens are made or used: see [`crate::login`] and [`crate::refresh`].

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tidings_core::{
    Code, Error, Timestamp, UserId,
    identity::{Origin, OwnLogin},
};

use crate::{
    refresh::{self, Times},
    revocations,
};

/// How long after its end a login is remembered: the wall clock may have leapt, in milliseconds.
const MARGIN_MS: i64 = 24 * 3600 * 1000;
/// The most bytes of what a client calls itself that are kept.
const MOST_AGENT_BYTES: usize = 256;

/// It has not ended.
pub(crate) const GOES_ON: i64 = 0;
/// It was ended.
const ENDED: i64 = 1;
/// Its user has begun too many others.
const DISPLACED: i64 = 2;

/// A login that begins.
#[derive(Debug)]
pub(crate) struct Beginning<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) family: &'a str,
    pub(crate) handle: &'a str,
    pub(crate) refresh_token: &'a str,
    pub(crate) from: &'a Origin,
}

/// Begins a login with its first refresh token, and ends those beyond `most`; zero means no limit.
pub(crate) fn begin(
    transaction: &Transaction<'_>,
    new: &Beginning<'_>,
    times: Times,
    most: u32,
) -> rusqlite::Result<()> {
    if most > 0 {
        make_room(transaction, new.user, times.now, most)?;
    }
    let agent = Some(shown(&new.from.agent)).filter(|agent| !agent.is_empty());
    transaction
        .prepare_cached(
            "INSERT INTO logins (family, user, expires, access_until, ended, handle, created, refreshed, address, agent)
             VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?6, ?7, ?8)",
        )?
        .execute(params![
            new.family,
            new.user.as_str(),
            times.refresh_until,
            times.access_until,
            new.handle,
            times.now,
            new.from.address.to_canonical().to_string(),
            agent
        ])?;
    refresh::add(transaction, transaction.last_insert_rowid(), new.refresh_token, times.refresh_until)
}

/// The beginning of what a client calls itself, in printable characters.
fn shown(agent: &str) -> String {
    let printable = agent.chars().filter(|c| !c.is_control());
    let mut bytes = 0;
    let fits = printable.take_while(|c| {
        bytes += c.len_utf8();
        bytes <= MOST_AGENT_BYTES
    });
    fits.collect::<String>().trim().to_owned()
}

/// Leaves room for one more login of a user, and forgets what ended long before others.
fn make_room(transaction: &Transaction<'_>, user: &UserId, now: i64, most: u32) -> rusqlite::Result<()> {
    let too_many: Vec<String> = transaction
        .prepare_cached(
            "SELECT family FROM logins WHERE user = ?1 AND ended = 0 AND expires > ?2
             ORDER BY refreshed DESC, id DESC LIMIT -1 OFFSET ?3",
        )?
        .query_map(params![user.as_str(), now, most - 1], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for family in &too_many {
        end_as(transaction, family, DISPLACED)?;
        tracing::info!(%user, most, "a user has begun too many logins: the one that was not used for longest ends");
        metrics::counter!("tidings_logins_ended_total", "why" => "too_many").increment(1);
    }
    transaction
        .prepare_cached(
            "DELETE FROM logins WHERE id IN (SELECT id FROM logins
             WHERE user = ?1 AND (ended <> 0 OR expires <= ?2) ORDER BY id DESC LIMIT -1 OFFSET ?3)",
        )?
        .execute(params![user.as_str(), now, most])?;
    Ok(())
}

/// The logins of a user that go on, the one that was used last first: at most 1,000.
pub(crate) fn list(connection: &Connection, user: &UserId, now: i64, own: &str) -> rusqlite::Result<Vec<OwnLogin>> {
    let mut statement = connection.prepare_cached(
        "SELECT family, created, refreshed, expires, address, agent FROM logins
         WHERE user = ?1 AND ended = 0 AND expires > ?2 ORDER BY refreshed DESC, id DESC LIMIT 1000",
    )?;
    let rows = statement.query_map(params![user.as_str(), now], |row| {
        let id: String = row.get(0)?;
        Ok(OwnLogin {
            current: id == own,
            id,
            created_at: row.get::<_, Option<i64>>(1)?.map(Timestamp),
            refreshed_at: row.get::<_, Option<i64>>(2)?.map(Timestamp),
            expires_at: Timestamp(row.get(3)?),
            address: row.get(4)?,
            agent: row.get(5)?,
        })
    })?;
    rows.collect()
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
    end_as(transaction, family, ENDED)
}

fn end_as(transaction: &Transaction<'_>, family: &str, how: i64) -> rusqlite::Result<bool> {
    let found: Option<(i64, i64)> = transaction
        .prepare_cached(
            "UPDATE logins SET ended = CASE ended WHEN 0 THEN ?2 ELSE ended END WHERE family = ?1
             RETURNING id, access_until",
        )?
        .query_row(params![family, how], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((login, until)) = found {
        transaction.prepare_cached("DELETE FROM refresh_line WHERE login = ?1")?.execute([login])?;
        revocations::family(transaction, family, until)?;
    }
    Ok(found.is_some())
}

/// Whether a login is one of this user's and goes on.
pub(crate) fn goes_on(connection: &Connection, user: &UserId, family: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM logins WHERE family = ?1 AND user = ?2 AND ended = 0)")?
        .query_row(params![family, user.as_str()], |row| row.get(0))
}

/// Ends a login if it is one of this user's and goes on. Says whether it was.
pub(crate) fn end_own(transaction: &Transaction<'_>, user: &UserId, family: &str) -> rusqlite::Result<bool> {
    Ok(goes_on(transaction, user, family)? && end(transaction, family)?)
}

/// Ends all logins of a user but one, with their access tokens and connections.
pub(crate) fn end_others(transaction: &Transaction<'_>, user: &UserId, own: &str) -> rusqlite::Result<()> {
    let others: Vec<String> = transaction
        .prepare_cached("SELECT family FROM logins WHERE user = ?1 AND ended = 0 AND family <> ?2")?
        .query_map(params![user.as_str(), own], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    others.iter().try_for_each(|family| end(transaction, family).map(drop))
}

/// Ends the refresh tokens of all logins of a user. Its access tokens are the caller's to revoke.
pub(crate) fn end_all(transaction: &Transaction<'_>, user: &UserId) -> rusqlite::Result<()> {
    let tokens = "DELETE FROM refresh_line WHERE login IN (SELECT id FROM logins WHERE user = ?1 AND ended = 0)";
    transaction.execute(tokens, [user.as_str()])?;
    transaction.execute("UPDATE logins SET ended = 1 WHERE user = ?1 AND ended = 0", [user.as_str()])?;
    Ok(())
}

/// The time before which what ended can be forgotten.
pub(crate) fn forgettable(now: i64) -> i64 {
    now.saturating_sub(MARGIN_MS)
}

/// Forgets logins and refresh tokens that ended before a time.
pub(crate) fn prune(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<()> {
    refresh::prune(transaction, before)?;
    transaction.execute("DELETE FROM logins WHERE expires < ?1", [before])?;
    Ok(())
}

/// Why a refresh token of a login that ended is refused.
pub(crate) fn why_ended(ended: i64) -> Error {
    match ended {
        DISPLACED => Error::new(Code::TokenRevoked, "the login was ended: its user has begun too many others"),
        _ => revoked(),
    }
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
