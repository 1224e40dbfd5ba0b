//! The tables of `users.db`.
//!
//! Guarantees: a file has exactly one version, in `user_version`; an older one is brought to this version in one
//! transaction, a newer one is refused untouched, and so is one without tables: those are made together with the
//! file, in [`crate::file`].
//! It is not where rows are read or written: each noun has its own file.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tidings_core::damage::Damage;

use crate::{error::AuthError, file::HAD};

/// The version that this server writes.
const VERSION: i64 = 2;

/// Every change of users, revocations or keys carries the next revision, so that each process
/// learns what is new by asking for rows above the revision it knows.
const V1: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('revision', 0), ('keys_revision', 0);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    username TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL,
    roles TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    created INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX users_revision ON users (revision);

CREATE TABLE revocations (
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    until INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    live_revision INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_revision ON revocations (revision);

CREATE TABLE logins (
    id INTEGER PRIMARY KEY,
    family TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    expires INTEGER NOT NULL,
    access_until INTEGER NOT NULL,
    ended INTEGER NOT NULL
) STRICT;
CREATE INDEX logins_user ON logins (user) WHERE ended = 0;
CREATE INDEX logins_expires ON logins (expires);

CREATE TABLE refresh_tokens (
    hash BLOB PRIMARY KEY,
    login INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used INTEGER,
    issued INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires);

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    last_expiry INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What a login is shown with; tokens by the handle of their login, so that those used before need no row; tokens
/// that belong to no login. What version 1 wrote is left as it is, since a server of that version may run still.
const V2: &str = "
ALTER TABLE logins ADD COLUMN handle TEXT;
ALTER TABLE logins ADD COLUMN created INTEGER;
ALTER TABLE logins ADD COLUMN refreshed INTEGER;
ALTER TABLE logins ADD COLUMN address TEXT;
ALTER TABLE logins ADD COLUMN agent TEXT;
CREATE UNIQUE INDEX logins_handle ON logins (handle);
CREATE INDEX logins_of_user ON logins (user);

CREATE TABLE refresh_line (
    hash BLOB PRIMARY KEY,
    login INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used INTEGER,
    issued INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_line_login ON refresh_line (login);
CREATE INDEX refresh_line_expires ON refresh_line (expires);
CREATE INDEX refresh_line_used ON refresh_line (used) WHERE used IS NOT NULL;

CREATE TABLE known_addresses (
    user TEXT NOT NULL,
    address TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (user, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX known_addresses_last ON known_addresses (last);

CREATE TABLE issued_tokens (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    name TEXT,
    roles TEXT NOT NULL,
    grants TEXT NOT NULL,
    issued INTEGER NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX issued_tokens_user ON issued_tokens (user);
CREATE INDEX issued_tokens_expires ON issued_tokens (expires);
";

/// How long somebody else who writes is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// How long is waited between two tries.
const TRY: Duration = Duration::from_millis(10);

/// Changes to the write-ahead log. Of several processes that do so at the same time SQLite tells one at once
/// that it is busy, whatever the timeout, so that they do not wait for each other: it tries again.
fn write_ahead(connection: &Connection) -> Result<(), AuthError> {
    let mut waited = Duration::ZERO;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && waited < BUSY => {
                std::thread::sleep(TRY);
                waited += TRY;
            }
            changed => return Ok(changed?),
        }
    }
}

fn set_up(connection: &Connection) -> Result<(), AuthError> {
    connection.busy_timeout(BUSY)?;
    write_ahead(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
    Ok(())
}

/// Sets a connection up and makes the tables of a file that has none.
pub(crate) fn make(connection: &mut Connection) -> Result<(), AuthError> {
    set_up(connection)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(V1)?;
    transaction.execute_batch(V2)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Sets a connection up to a file that has its tables, and brings an older one to this version.
pub(crate) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), AuthError> {
    set_up(connection)?;
    if version(connection, path)? < VERSION {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been first.
        if version(&transaction, path)? < VERSION {
            transaction.execute_batch(V2)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            tracing::info!(version = VERSION, "users.db was brought to this version");
        }
    }
    Ok(())
}

/// The version of a file that this server can use.
fn version(connection: &Connection, path: &Path) -> Result<i64, AuthError> {
    match connection.pragma_query_value(None, "user_version", |row| row.get(0))? {
        0 => Err(Damage::Empty { file: path.to_owned(), had: HAD }.into()),
        found if found > VERSION => Err(AuthError::NewerSchema { found, known: VERSION }),
        found => Ok(found),
    }
}

/// The tables as version 1 made them, for tests of what becomes of them.
#[cfg(test)]
pub(crate) fn make_version_1(connection: &Connection) {
    connection.execute_batch(V1).expect("made");
    connection.pragma_update(None, "user_version", 1).expect("written");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(connection: &mut Connection) -> Result<(), AuthError> {
        prepare(connection, Path::new("users.db"))
    }

    #[test]
    fn a_file_is_prepared_again_as_it_is_and_one_of_a_newer_version_or_of_none_is_refused() {
        let mut connection = Connection::open_in_memory().expect("a database");
        let error = prepared(&mut connection).expect_err("nothing is in it");
        assert!(matches!(error, AuthError::Damaged(Damage::Empty { .. })), "{error}");
        make(&mut connection).expect("made");
        connection.execute("UPDATE meta SET value = 7", ()).expect("written");
        prepared(&mut connection).expect("again");
        let kept: i64 = connection.query_row("SELECT value FROM meta LIMIT 1", (), |row| row.get(0)).expect("a row");
        assert_eq!(kept, 7);
        connection.pragma_update(None, "user_version", 3).expect("written");
        let error = prepared(&mut connection).expect_err("newer");
        assert!(matches!(error, AuthError::NewerSchema { found: 3, known: 2 }), "{error}");
    }

    /// Every table and index, as SQLite has them.
    fn shape(connection: &Connection) -> Vec<(String, Vec<String>)> {
        let columns = |table: &str| {
            let mut statement = connection.prepare("SELECT name FROM pragma_table_xinfo(?1)").expect("a query");
            let rows = statement.query_map([table], |row| row.get(0)).expect("rows");
            rows.collect::<rusqlite::Result<_>>().expect("names")
        };
        let mut statement = connection.prepare("SELECT name FROM sqlite_schema ORDER BY name").expect("a query");
        let rows = statement.query_map((), |row| row.get::<_, String>(0)).expect("rows");
        rows.map(|name| name.expect("a name")).map(|name| (name.clone(), columns(&name))).collect()
    }

    #[test]
    fn a_file_of_version_1_becomes_what_a_new_one_is_and_keeps_what_it_has() {
        let (mut old, mut new) = (Connection::open_in_memory().expect("a"), Connection::open_in_memory().expect("b"));
        make_version_1(&old);
        old.execute("INSERT INTO logins VALUES (1, 'f', 'ann', 5, 6, 0)", ()).expect("written");
        prepared(&mut old).expect("brought along");
        make(&mut new).expect("made");
        assert_eq!(shape(&old), shape(&new));
        prepared(&mut old).expect("again");
        // As a server of version 1 that runs still writes.
        old.execute("INSERT INTO logins (family, user, expires, access_until, ended) VALUES ('g', 'bob', 1, 1, 0)", ())
            .expect("written");
        old.execute("INSERT INTO refresh_tokens VALUES (x'00', 2, 1, NULL, NULL)", ()).expect("written");
        let logins: i64 = old.query_row("SELECT count(*) FROM logins", (), |row| row.get(0)).expect("counted");
        assert_eq!(logins, 2);
    }
}
