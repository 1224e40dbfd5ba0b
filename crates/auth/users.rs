//! Users: their rows and the rules over them.
//!
//! Guarantees: names are compared without regard to case; an enabled admin always remains once
//! there was one; whatever takes a right away refuses the tokens issued before; a name that is given again
//! takes no token along that was for whoever had it.
//! It is not where passwords are hashed or checked: see [`crate::passwords`].

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use tidings_core::{
    Code, Error, Result, Timestamp, UserId,
    identity::{Secret, User},
    principal::Role,
};

use crate::{
    error::{AuthError, Fault},
    known, logins,
    mirror::Standing,
    revocations,
    store::next_revision,
};

const COLUMNS: &str = "id, username, roles, disabled, created, password";

/// A user with the hash of its password.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) password: String,
}

/// What to change, with the new password already hashed.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) password: Option<String>,
    pub(crate) roles: Option<Vec<Role>>,
    pub(crate) disabled: Option<bool>,
}

/// The form of a name by which it is found.
pub(crate) fn name_key(username: &str) -> String {
    username.to_ascii_lowercase()
}

/// Refuses a name outside the grammar.
pub(crate) fn check_name(username: &str) -> Result<()> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if (1..=64).contains(&username.len()) && username.bytes().all(good) {
        return Ok(());
    }
    Err(Error::invalid_field("username", "1 to 64 letters, digits, '.', '_', '@' or '-'"))
}

/// Refuses a password that is too short or too long.
pub(crate) fn check_password(password: &Secret) -> Result<()> {
    // A character has at most four bytes: what is longer need not be counted.
    if password.0.len() <= 4 * 256 && (12..=256).contains(&password.0.chars().count()) {
        return Ok(());
    }
    Err(Error::invalid_field("password", "12 to 256 characters"))
}

fn normal(mut roles: Vec<Role>) -> Vec<Role> {
    roles.sort_unstable();
    roles.dedup();
    roles
}

pub(crate) fn as_text(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn from_text(text: &str) -> Vec<Role> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

pub(crate) fn id_of(text: &str) -> rusqlite::Result<UserId> {
    text.parse().map_err(|_| rusqlite::Error::InvalidQuery)
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let user = User {
        id: id_of(row.get_ref(0)?.as_str()?)?,
        username: row.get(1)?,
        roles: from_text(row.get_ref(2)?.as_str()?),
        disabled: row.get(3)?,
        created_at: Timestamp(row.get(4)?),
    };
    Ok(Account { user, password: row.get(5)? })
}

pub(crate) fn by_name(connection: &Connection, username: &str) -> rusqlite::Result<Option<Account>> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE name_key = ?1");
    connection.prepare_cached(&sql)?.query_row([name_key(username)], account).optional()
}

pub(crate) fn by_id(connection: &Connection, id: &UserId) -> rusqlite::Result<Option<Account>> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.as_str()], account).optional()
}

pub(crate) fn list(connection: &Connection, after: Option<&str>, limit: usize) -> rusqlite::Result<Vec<User>> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE name_key > ?1 ORDER BY name_key LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![after.map(name_key).unwrap_or_default(), limit], account)?;
    rows.map(|row| Ok(row?.user)).collect()
}

pub(crate) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM users)", (), |row| row.get(0))
}

/// Users changed above a revision, for the mirror.
pub(crate) fn changed_since(connection: &Connection, revision: i64) -> Result<Vec<(UserId, Standing)>, AuthError> {
    let mut statement =
        connection.prepare_cached("SELECT id, roles, disabled, name_key, created FROM users WHERE revision > ?1")?;
    let rows = statement.query_map([revision], |row| {
        let roles = from_text(row.get_ref(1)?.as_str()?);
        let name = row.get_ref(3)?.as_str()?.into();
        let standing = Standing { name, roles, disabled: row.get(2)?, created: row.get(4)? };
        Ok((id_of(row.get_ref(0)?.as_str()?)?, standing))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn insert(
    transaction: &Transaction<'_>,
    username: String,
    password: &str,
    roles: Vec<Role>,
    now: Timestamp,
) -> Result<User, Fault> {
    if by_name(transaction, &username)?.is_some() {
        return Err(Error::new(Code::Conflict, "there is a user of this name").into());
    }
    let roles = normal(roles);
    let user = User { id: UserId::random(), username, roles, disabled: false, created_at: now };
    let revision = next_revision(transaction)?;
    transaction.prepare_cached("INSERT INTO users VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7)")?.execute(params![
        user.id.as_str(),
        user.username,
        name_key(&user.username),
        password,
        as_text(&user.roles),
        now.0,
        revision
    ])?;
    if let Some(gone) = revocations::name_was_free(transaction, &name_key(&user.username))? {
        // Another application's tokens for whoever had the name before are none for this one.
        revocations::user(transaction, &user.id, gone.max(now.0), false)?;
    }
    Ok(user)
}

/// Changes a user; `now` is a stamp of the store.
pub(crate) fn change(transaction: &Transaction<'_>, id: &UserId, change: Change, now: i64) -> Result<User, Fault> {
    let Account { mut user, password } = by_id(transaction, id)?.ok_or_else(Error::not_found)?;
    let before = user.clone();
    let ends_logins = change.password.is_some() || (change.disabled == Some(true) && !user.disabled);
    user.roles = change.roles.map_or(user.roles, normal);
    user.disabled = change.disabled.unwrap_or(user.disabled);
    if is_active_admin(&before) && !is_active_admin(&user) {
        another_admin_than(transaction, id)?;
    }
    let revision = next_revision(transaction)?;
    transaction
        .prepare_cached("UPDATE users SET password = ?2, roles = ?3, disabled = ?4, revision = ?5 WHERE id = ?1")?
        .execute(params![
            id.as_str(),
            change.password.unwrap_or(password),
            as_text(&user.roles),
            user.disabled,
            revision
        ])?;
    if ends_logins {
        logins::end_all(transaction, id)?;
    }
    if user.disabled {
        known::forget(transaction, id)?;
    }
    let lost_a_role = before.roles.iter().any(|role| !user.roles.contains(role));
    if ends_logins || before.roles != user.roles {
        // More rights wait for the client's next token; fewer must not.
        revocations::user(transaction, id, now, ends_logins || lost_a_role)?;
    }
    Ok(user)
}

/// Deletes a user; `now` is a stamp of the store.
pub(crate) fn delete(transaction: &Transaction<'_>, id: &UserId, now: i64) -> Result<(), Fault> {
    let account = by_id(transaction, id)?.ok_or_else(Error::not_found)?;
    if is_active_admin(&account.user) {
        another_admin_than(transaction, id)?;
    }
    transaction.execute("DELETE FROM users WHERE id = ?1", [id.as_str()])?;
    logins::end_all(transaction, id)?;
    known::forget(transaction, id)?;
    revocations::free_name(transaction, &name_key(&account.user.username), now)?;
    revocations::user_for_good(transaction, id)?;
    Ok(())
}

/// Gives a user a new password, and leaves everything else as it is.
pub(crate) fn set_password(transaction: &Transaction<'_>, id: &UserId, password: &str) -> rusqlite::Result<()> {
    let revision = next_revision(transaction)?;
    transaction.prepare_cached("UPDATE users SET password = ?2, revision = ?3 WHERE id = ?1")?.execute(params![
        id.as_str(),
        password,
        revision
    ])?;
    Ok(())
}

fn is_active_admin(user: &User) -> bool {
    !user.disabled && user.roles.contains(&Role::Admin)
}

fn another_admin_than(transaction: &Transaction<'_>, id: &UserId) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached("SELECT roles FROM users WHERE id <> ?1 AND disabled = 0")?;
    let mut rows = statement.query([id.as_str()])?;
    while let Some(row) = rows.next()? {
        if from_text(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?).contains(&Role::Admin) {
            return Ok(());
        }
    }
    Err(Error::new(Code::Conflict, "an enabled admin must remain").into())
}
