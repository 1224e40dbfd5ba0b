//! Tokens that belong to no login: their making, and the list of them.
//!
//! Guarantees: what is on the list is good as long as it stands there: a token goes from it when it ends, when it is
//! revoked, and with all others of its user; the token itself is kept nowhere. A token that is made here also
//! verifies here.
//! It is not the revoking: see [`crate::revocations`].

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, params_from_iter, types::Value};
use tidings_core::{
    Code, Error, Grant, Result, Timestamp, UserId,
    identity::{IssuedToken, IssuedTokens, User},
    principal::Role,
};

use crate::{
    auth::Auth,
    claims::{MOST_GRANTS, is_reserved},
    error::Fault,
    keys::MOST_BYTES,
    login::{self, Token},
    random, revocations, users,
};

/// The longest life of a token.
const LONGEST_TTL: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// The longest name of a token, in bytes.
const MOST_NAME_BYTES: usize = 100;

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// A user of this server, by name or id. The token ends with the user.
    User(String),
    /// Somebody who is no user of this server.
    Subject(UserId),
}

/// A token to be made and put on the list.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is.
    pub whose: Whose,
    /// What it is for, to be shown in the list: at most 100 bytes; none by default.
    pub name: Option<String>,
    /// Its roles, which it has to its end.
    pub roles: Vec<Role>,
    /// Its grants, beside those of its roles: at most 200.
    pub grants: Vec<Grant>,
    /// How long it is good: a second to ten years.
    pub ttl: Duration,
}

/// Whether a token is put on the list, and under which name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing<'a> {
    Listed(Option<&'a str>),
    Unlisted,
}

impl Auth {
    /// Makes a token that belongs to no login, signed with the server's key, and puts it on the list. It is good
    /// until its end, unless it, or whose it is, is revoked. Works on the disk for a moment, on this thread.
    ///
    /// # Errors
    /// `not_found` for a user who is not there, `conflict` for a disabled one and for a subject that is the id of a
    /// user, also of one who was deleted; `invalid_data` by field; `unavailable`.
    pub fn issue(&self, new: &NewToken) -> Result<(String, Timestamp)> {
        check_name(new.name.as_deref())?;
        let mut roles = new.roles.clone();
        roles.sort_unstable();
        roles.dedup();
        self.sign_for(&new.whose, (&roles, &new.grants), new.ttl, Listing::Listed(new.name.as_deref()))
    }

    /// A token for the program itself, which is on no list: for a user who need not be one of ours.
    ///
    /// # Errors
    /// `invalid_data` by field; `unavailable`.
    pub fn mint(&self, user: UserId, roles: &[Role], grants: &[Grant], ttl: Duration) -> Result<(String, Timestamp)> {
        self.sign_for(&Whose::Subject(user), (roles, grants), ttl, Listing::Unlisted)
    }

    fn sign_for(
        &self,
        whose: &Whose,
        (roles, grants): (&[Role], &[Grant]),
        ttl: Duration,
        listing: Listing<'_>,
    ) -> Result<(String, Timestamp)> {
        check(ttl, grants)?;
        let now = self.clock.now();
        // Learns first what another process changed: the keys may have been rotated a moment ago.
        self.store.poll();
        self.store.run_here(|store, transaction| {
            let user = subject(transaction, whose, listing)?;
            let (ring, issued) = (store.ring(), store.stamp_for(&user, now));
            let until = login::end_of(now.0, i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
            let id = random::id::<16>();
            let token = Token { user: &user, roles, grants, issued, until, id: &id, family: None };
            let text = self.terms.sign(&ring, &token);
            if text.len() > MOST_BYTES {
                return Err(Error::invalid_field("grants", "the token would be too long").into());
            }
            remember_key(transaction, ring.kid(), until)?;
            if let Listing::Listed(name) = listing {
                insert(transaction, &token, name, now)?;
            }
            Ok((text, Timestamp(until)))
        })
    }
}

/// A key goes on verifying until its last token ends.
fn remember_key(transaction: &Transaction<'_>, kid: &str, until: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO signing_keys VALUES (?1, ?2) ON CONFLICT (kid) DO UPDATE SET last_expiry = max(last_expiry, ?2)",
        params![kid, until],
    )?;
    Ok(())
}

fn check(ttl: Duration, grants: &[Grant]) -> Result<()> {
    if ttl < Duration::from_secs(1) || ttl > LONGEST_TTL {
        return Err(Error::invalid_field("ttl", "from one second to ten years"));
    }
    if grants.len() > MOST_GRANTS {
        return Err(Error::invalid_field("grants", format!("at most {MOST_GRANTS}")));
    }
    Ok(())
}

fn check_name(name: Option<&str>) -> Result<()> {
    let fits = |name: &str| (1..=MOST_NAME_BYTES).contains(&name.len()) && !name.contains(char::is_control);
    let why = "1 to 100 bytes without control characters";
    if name.is_none_or(fits) { Ok(()) } else { Err(Error::invalid_field("name", why)) }
}

/// The id that the token names.
fn subject(connection: &Connection, whose: &Whose, listing: Listing<'_>) -> Result<UserId, Fault> {
    match whose {
        Whose::User(text) => {
            let no_such = || Error::new(Code::NotFound, "there is no user of this name or id");
            let User { id, disabled, .. } = named(connection, text)?.ok_or_else(no_such)?;
            if disabled {
                return Err(Error::new(Code::Conflict, "the user is disabled").into());
            }
            Ok(id)
        }
        Whose::Subject(id) if is_reserved(id) => {
            Err(Error::invalid_field("subject", "is what the server calls itself").into())
        }
        Whose::Subject(id) if listing != Listing::Unlisted && users::by_id(connection, id)?.is_some() => {
            Err(Error::new(Code::Conflict, "this subject is the id of a user here").into())
        }
        Whose::Subject(id) if listing != Listing::Unlisted && revocations::is_for_good(connection, id)? => {
            let why = "this subject is the id of a user who was deleted: no token of it is ever good";
            Err(Error::new(Code::Conflict, why).into())
        }
        Whose::Subject(id) => Ok(id.clone()),
    }
}

/// The user of an id or a name.
fn named(connection: &Connection, text: &str) -> rusqlite::Result<Option<User>> {
    let by_id = match text.parse() {
        Ok(id) => users::by_id(connection, &id)?,
        Err(_) => None,
    };
    let found = if by_id.is_some() { by_id } else { users::by_name(connection, text)? };
    Ok(found.map(|account| account.user))
}

fn insert(
    transaction: &Transaction<'_>,
    token: &Token<'_>,
    name: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let grants: Vec<String> = token.grants.iter().map(ToString::to_string).collect();
    transaction
        .prepare_cached(
            "INSERT INTO issued_tokens (id, user, name, roles, grants, issued, created, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            token.id,
            token.user.as_str(),
            name,
            users::as_text(token.roles),
            grants.join(" "),
            token.issued,
            now.0,
            token.until
        ])?;
    Ok(())
}

/// A page of the list, the newest first.
pub(crate) fn list(
    connection: &Connection,
    of: Option<&UserId>,
    after: Option<i64>,
    limit: usize,
    now: i64,
) -> rusqlite::Result<IssuedTokens> {
    let of_user = if of.is_some() { "AND t.user = ?3" } else { "" };
    let sql = format!(
        "SELECT t.number, t.id, t.user, u.username, t.name, t.roles, t.grants, t.created, t.expires
         FROM issued_tokens t LEFT JOIN users u ON u.id = t.user
         WHERE t.number < ?1 AND t.expires > ?2 {of_user} ORDER BY t.number DESC LIMIT {}",
        limit.saturating_add(1)
    );
    let mut values = vec![Value::from(after.unwrap_or(i64::MAX)), Value::from(now)];
    values.extend(of.map(|user| Value::from(user.as_str().to_owned())));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get::<_, i64>(0)?, issued(row)?)))?;
    let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let cursor = rows.last().filter(|_| more).map(|(number, _)| number.to_string());
    Ok(IssuedTokens { tokens: rows.into_iter().map(|(_, token)| token).collect(), cursor })
}

fn issued(row: &Row<'_>) -> rusqlite::Result<IssuedToken> {
    let grants = row.get_ref(6)?.as_str()?.split_whitespace().map(str::parse);
    Ok(IssuedToken {
        id: row.get(1)?,
        user_id: users::id_of(row.get_ref(2)?.as_str()?)?,
        username: row.get(3)?,
        name: row.get(4)?,
        roles: users::from_text(row.get_ref(5)?.as_str()?),
        grants: grants.collect::<Result<_>>().map_err(|_| rusqlite::Error::InvalidQuery)?,
        created_at: Timestamp(row.get(7)?),
        expires_at: Timestamp(row.get(8)?),
    })
}

/// Whose a token of the list is, and when it ends.
pub(crate) fn find(connection: &Connection, id: &str, now: i64) -> rusqlite::Result<Option<(UserId, i64)>> {
    connection
        .prepare_cached("SELECT user, expires FROM issued_tokens WHERE id = ?1 AND expires > ?2")?
        .query_row(params![id, now], |row| Ok((users::id_of(row.get_ref(0)?.as_str()?)?, row.get(1)?)))
        .optional()
}

/// Takes a token from the list.
pub(crate) fn remove(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM issued_tokens WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// When the newest token of a user was issued: what revokes them all has to be later, also if another process made
/// it whose clock was ahead.
pub(crate) fn newest(connection: &Connection, user: &UserId) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(max(issued), 0) FROM issued_tokens WHERE user = ?1")?
        .query_row([user.as_str()], |row| row.get(0))
}

/// Takes all tokens of a user from the list: they were revoked.
pub(crate) fn remove_all(transaction: &Transaction<'_>, user: &UserId) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM issued_tokens WHERE user = ?1")?.execute([user.as_str()])?;
    Ok(())
}

/// Forgets those that ended before a time.
pub(crate) fn prune(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM issued_tokens WHERE expires < ?1", [before])?;
    Ok(())
}

/// A cursor of the list, as it was given.
pub(crate) fn cursor(text: &str) -> Result<i64> {
    text.parse().map_err(|_| Error::invalid_field("cursor", "is none of this list"))
}
