//! The tables of `users.db`.
//!
//! Guarantees: a file has exactly one version, in `user_version`; a newer one is refused, and so is one without
//! tables: those are made together with the file, in [`crate::file`].
//! It is not where rows are read or written: each noun has its own file.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::error::AuthError;

/// The version that this server writes.
const VERSION: i64 = 1;

/// Every change of users, revocations or keys carries the next revision, so that each process
/// learns what is new by asking for rows above the revision it knows.
const TABLES: &str = "
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
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Sets a connection up to a file that has its tables.
pub(crate) fn prepare(connection: &Connection, path: &Path) -> Result<(), AuthError> {
    set_up(connection)?;
    match connection.pragma_query_value(None, "user_version", |row| row.get(0))? {
        0 => Err(AuthError::Empty { path: path.to_owned() }),
        VERSION => Ok(()),
        found => Err(AuthError::NewerSchema { found, known: VERSION }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_prepared_again_as_it_is_and_one_of_a_newer_version_or_of_none_is_refused() {
        let mut connection = Connection::open_in_memory().expect("a database");
        let prepare = |connection: &Connection| prepare(connection, Path::new("users.db"));
        let error = prepare(&connection).expect_err("nothing is in it");
        assert!(matches!(error, AuthError::Empty { .. }), "{error}");
        make(&mut connection).expect("made");
        connection.execute("UPDATE meta SET value = 7", ()).expect("written");
        prepare(&connection).expect("again");
        let kept: i64 = connection.query_row("SELECT value FROM meta LIMIT 1", (), |row| row.get(0)).expect("a row");
        assert_eq!(kept, 7);
        connection.pragma_update(None, "user_version", 2).expect("written");
        let error = prepare(&connection).expect_err("newer");
        assert!(matches!(error, AuthError::NewerSchema { found: 2, known: 1 }), "{error}");
    }
}
