//! Who was revoked: rows of users, tokens and logins, and of names whose users are gone.
//!
//! Guarantees: a user's `not_before` only grows, by at least one, so that a token issued between
//! two revocations of one millisecond is caught by the second; what somebody presents to be
//! revoked is revoked of whoever minted it, and of nobody else who uses the same `jti`.
//! It is not the end of a login's refresh tokens: that is in [`crate::logins`].

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use smol_str::SmolStr;
use tidings_core::{UserId, identity::Revocation, json};

use crate::{
    error::AuthError,
    issued,
    mirror::{FOR_GOOD, Mirror},
    store::next_revision,
};

const USER: i64 = 0;
const TOKEN: i64 = 1;
const FAMILY: i64 = 2;
/// A token of another application, by both their names. A server of the version before takes it for a login, and there
/// is none of such a name.
const TOKEN_OF: i64 = 3;
/// A name whose user was deleted: `not_before` says when. Nobody is revoked by it.
const NAME: i64 = 4;

/// A row that a process did not know.
#[derive(Debug)]
pub(crate) struct Row {
    what: Revocation,
    not_before: i64,
    until: i64,
    live_revision: i64,
}

impl Row {
    /// Whether live connections end by it, and that is news since a revision.
    pub(crate) fn is_live_since(&self, revision: i64) -> bool {
        self.live_revision > revision
    }

    pub(crate) fn revocation(&self) -> Revocation {
        self.what.clone()
    }

    pub(crate) fn enter(self, mirror: &mut Mirror) {
        match self.what {
            Revocation::User(id) => mirror.revoke_user(id, self.not_before),
            Revocation::Token(id) => mirror.revoke_token(id, self.until),
            Revocation::TokenOf { application, id } => mirror.revoke_token_of(application, id, self.until),
            Revocation::Family(id) => mirror.end_family(id, self.until),
        }
    }
}

/// Rows above a revision, in its order.
pub(crate) fn changed_since(connection: &Connection, revision: i64) -> Result<Vec<Row>, AuthError> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, id, not_before, until, live_revision FROM revocations
         WHERE revision > ?1 AND kind <> ?2 ORDER BY revision",
    )?;
    let mut rows = statement.query([revision, NAME])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(1)?;
        let what = match row.get::<_, i64>(0)? {
            USER => Revocation::User(id.parse().map_err(|_| rusqlite::Error::InvalidQuery)?),
            TOKEN => Revocation::Token(SmolStr::new(id)),
            TOKEN_OF => read_token_of(&id).ok_or(rusqlite::Error::InvalidQuery)?,
            _ => Revocation::Family(SmolStr::new(id)),
        };
        found.push(Row { what, not_before: row.get(2)?, until: row.get(3)?, live_revision: row.get(4)? });
    }
    Ok(found)
}

/// Refuses a user's tokens up to now, and with `live` ends its connections.
pub(crate) fn user(transaction: &Transaction<'_>, id: &UserId, now: i64, live: bool) -> rusqlite::Result<()> {
    let revision = next_revision(transaction)?;
    let now = now.max(issued::newest(transaction, id)?);
    issued::remove_all(transaction, id)?;
    transaction
        .prepare_cached(
            "INSERT INTO revocations VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (kind, id) DO UPDATE SET
                not_before = CASE not_before WHEN ?4 THEN ?4 ELSE max(not_before + 1, ?3) END,
                revision = ?5, live_revision = max(live_revision, ?6)",
        )?
        .execute(params![USER, id.as_str(), now, FOR_GOOD, revision, if live { revision } else { 0 }])?;
    Ok(())
}

/// Refuses all tokens of a user that there have been and will be, and ends its connections.
pub(crate) fn user_for_good(transaction: &Transaction<'_>, id: &UserId) -> rusqlite::Result<()> {
    user(transaction, id, FOR_GOOD, true)
}

/// Whether this was the id of a user who was deleted.
pub(crate) fn is_for_good(connection: &Connection, id: &UserId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM revocations WHERE kind = ?1 AND id = ?2 AND not_before = ?3)")?
        .query_row(params![USER, id.as_str(), FOR_GOOD], |row| row.get(0))
}

/// Remembers that a name has no user any more, since the deletion of the one it had.
pub(crate) fn free_name(transaction: &Transaction<'_>, name_key: &str, now: i64) -> rusqlite::Result<()> {
    let revision = next_revision(transaction)?;
    transaction
        .prepare_cached(
            "INSERT INTO revocations VALUES (?1, ?2, ?3, ?4, ?5, 0)
             ON CONFLICT (kind, id) DO UPDATE SET not_before = max(not_before, ?3), revision = ?5",
        )?
        .execute(params![NAME, name_key, now, FOR_GOOD, revision])?;
    Ok(())
}

/// Since when a name has no user that it had; none for a name that nobody had.
pub(crate) fn name_was_free(connection: &Connection, name_key: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT not_before FROM revocations WHERE kind = ?1 AND id = ?2")?
        .query_row(params![NAME, name_key], |row| row.get(0))
        .optional()
}

/// The id of a row for a token of another application: no two pairs have the same.
fn token_of(application: &str, id: &str) -> String {
    serde_json::json!([application, id]).to_string()
}

fn read_token_of(text: &str) -> Option<Revocation> {
    let (application, id) = json::from_str(text).ok()?;
    Some(Revocation::TokenOf { application, id })
}

/// Refuses the token that somebody presented until a time, and ends its connections.
pub(crate) fn presented(
    transaction: &Transaction<'_>,
    application: Option<&str>,
    id: &str,
    until: i64,
) -> rusqlite::Result<()> {
    match application {
        Some(application) => once(transaction, TOKEN_OF, &token_of(application, id), until),
        None => token(transaction, id, until),
    }
}

/// Refuses the tokens of a `jti`, whoever minted them, until a time, and ends their connections.
pub(crate) fn token(transaction: &Transaction<'_>, id: &str, until: i64) -> rusqlite::Result<()> {
    issued::remove(transaction, id)?;
    once(transaction, TOKEN, id, until)
}

/// Whether a token is refused by its id.
pub(crate) fn is_token(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM revocations WHERE kind = ?1 AND id = ?2)")?
        .query_row(params![TOKEN, id], |row| row.get(0))
}

/// Refuses the tokens of a login, the last of which ends at `until`, and ends its connections.
pub(crate) fn family(transaction: &Transaction<'_>, id: &str, until: i64) -> rusqlite::Result<()> {
    once(transaction, FAMILY, id, until)
}

fn once(transaction: &Transaction<'_>, kind: i64, id: &str, until: i64) -> rusqlite::Result<()> {
    let revision = next_revision(transaction)?;
    transaction
        .prepare_cached(
            "INSERT INTO revocations VALUES (?1, ?2, 0, ?3, ?4, ?4)
             ON CONFLICT (kind, id) DO UPDATE SET until = max(until, ?3), revision = ?4, live_revision = ?4",
        )?
        .execute(params![kind, id, until, revision])?;
    Ok(())
}

/// Forgets the revocations of tokens that ended before a time.
pub(crate) fn prune(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM revocations WHERE until < ?1", [before])?;
    Ok(())
}
