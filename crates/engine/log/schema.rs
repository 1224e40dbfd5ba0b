//! The log's file: its tables, their versions, and how a connection is set up.
//!
//! Guarantees: a new file gets its name when its tables are in it, so that one without tables is damage and never
//! the beginning of a log. An older file is brought to this version in one transaction for each step, a newer
//! one is refused untouched. The file is readable by its owner only.
//! It is not the place of any query but those that make the tables.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};
use tidings_core::{
    damage::{Damage, beside},
    own_file,
};

use super::{Durability, OpenError};

/// What a log has.
const HAD: &str = "messages";

/// Each takes the schema one version up. Never edited once released, only added to.
pub(super) const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5];

pub(super) const V1: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    -- The newest number of the whole log, and the newest time given.
    CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), global INTEGER NOT NULL, time INTEGER NOT NULL);
    INSERT INTO head VALUES (1, 0, 0);

    -- Messages below `first` are gone for every reader; rows from `lowest` on may still lie there.
    CREATE TABLE channel (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL,
        first INTEGER NOT NULL,
        lowest INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        oldest INTEGER,
        owner TEXT,
        project TEXT,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    );
    CREATE INDEX channel_project ON channel (project, name) WHERE project IS NOT NULL;
    CREATE INDEX channel_deleted ON channel (id) WHERE lowest < first;

    CREATE TABLE state (
        channel INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        version INTEGER NOT NULL,
        bytes BLOB NOT NULL
    );

    CREATE TABLE message (
        id INTEGER PRIMARY KEY,
        channel INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        time INTEGER NOT NULL,
        type TEXT NOT NULL,
        by TEXT,
        key TEXT,
        data TEXT NOT NULL,
        UNIQUE (channel, seq)
    );

    -- Idempotency ids. `places` are the numbers of what was published under one, as JSON.
    CREATE TABLE sent (
        channel INTEGER NOT NULL,
        user TEXT NOT NULL,
        id TEXT NOT NULL,
        digest BLOB NOT NULL,
        places TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (channel, user, id)
    ) WITHOUT ROWID;
    CREATE INDEX sent_at ON sent (at);

    CREATE TABLE command (
        user TEXT NOT NULL,
        id TEXT NOT NULL,
        digest TEXT NOT NULL,
        answer TEXT,
        at INTEGER NOT NULL,
        PRIMARY KEY (user, id)
    ) WITHOUT ROWID;
    CREATE INDEX command_at ON command (at);
";

/// The index over channels and numbers is a table of its own, which is written in large parts:
/// `indexed` is the last message in it. `head` is as of that message.
const V2: &str = "
    CREATE TABLE message2 (
        id INTEGER PRIMARY KEY,
        channel INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        time INTEGER NOT NULL,
        type TEXT NOT NULL,
        by TEXT,
        key TEXT,
        data TEXT NOT NULL
    );
    INSERT INTO message2 SELECT * FROM message ORDER BY id;
    CREATE TABLE place (
        channel INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        message INTEGER NOT NULL,
        PRIMARY KEY (channel, seq)
    ) WITHOUT ROWID;
    INSERT INTO place SELECT channel, seq, id FROM message ORDER BY channel, seq;
    DROP TABLE message;
    ALTER TABLE message2 RENAME TO message;
    ALTER TABLE head ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
    UPDATE head SET indexed = global;
";

/// No other tables, but a channel's row is only as of its `head`: who does not know that messages may
/// follow would give their numbers again.
const V3: &str = "";

/// What is in the file is counted, each by whose it is: messages and their bytes in `head`, as of `indexed`;
/// what users have besides in `account`. `ended` is the code of a command's error, empty when all went well,
/// and null while nobody knows; an answer may be gone. Not every id counts for its user.
const V4: &str = r#"
    ALTER TABLE head ADD COLUMN messages INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE head ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE head ADD COLUMN answers INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sent ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE command ADD COLUMN ended TEXT;
    UPDATE command SET
        ended = iif(answer LIKE '{"error":{"code":"%', substr(answer, 19, instr(substr(answer, 19), '"') - 1), ''),
        answer = iif(octet_length(answer) > 65536, NULL, answer)
        WHERE answer IS NOT NULL;
    CREATE INDEX command_answers ON command (at) WHERE answer IS NOT NULL;
    CREATE INDEX command_answers_of ON command (user, at) WHERE answer IS NOT NULL;
    CREATE TABLE account (
        user TEXT PRIMARY KEY,
        commands INTEGER NOT NULL DEFAULT 0,
        answers INTEGER NOT NULL DEFAULT 0,
        ids INTEGER NOT NULL DEFAULT 0,
        channels INTEGER NOT NULL DEFAULT 0,
        day INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    INSERT INTO account (user, commands, answers)
        SELECT user, count(*), coalesce(sum(octet_length(answer)), 0) FROM command GROUP BY user;
    UPDATE head SET
        (messages, bytes) = (SELECT count(*), coalesce(sum(octet_length(data)), 0) FROM message WHERE id <= indexed),
        answers = (SELECT coalesce(sum(answers), 0) FROM account);
"#;

/// Which channels a start has to look at: until a state says that nothing is open, each is.
const V5: &str = "
    ALTER TABLE channel ADD COLUMN open INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX channel_open ON channel (name) WHERE open = 1;
";

/// Long enough for a reader's recovery of the file after a crash, short enough to answer senders.
const BUSY: Duration = Duration::from_secs(1);

/// The log's file in a data directory.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("log.db")
}

/// Says which file an error of SQLite is about.
pub(super) fn of_file(dir: &Path) -> impl Fn(rusqlite::Error) -> OpenError + use<> {
    let path = file(dir);
    move |source| OpenError::Sqlite { path: path.clone(), source }
}

/// Makes the file if it is not there, brings its schema up to date, and opens it for the writer.
pub(super) fn prepare(dir: &Path) -> Result<Connection, OpenError> {
    let path = file(dir);
    match own_file::facts(&path) {
        Ok(found) if found.len() == 0 => return Err(empty(path)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(dir, &path)?,
        Err(source) => return Err(OpenError::File { path, source }),
    }
    let mut connection = writer(dir).map_err(of_file(dir))?;
    if version(&connection).map_err(of_file(dir))? == 0 {
        return Err(empty(path));
    }
    migrate(&mut connection, &path)?;
    Ok(connection)
}

fn empty(file: PathBuf) -> OpenError {
    Damage::Empty { file, had: HAD }.into()
}

/// Makes the file, under another name until it is whole: a start that is killed meanwhile leaves nothing that looks
/// like a log.
fn make(dir: &Path, path: &Path) -> Result<(), OpenError> {
    let left = beside(path, "-wal");
    if fs::metadata(&left).is_ok_and(|left| left.len() > 0) {
        return Err(Damage::Missing { file: path.to_owned(), beside: left, had: HAD }.into());
    }
    let draft = beside(path, ".new");
    let made = sweep(&[path, &draft]).and_then(|()| make_as(&draft)).and_then(|()| {
        let moved = fs::rename(&draft, path).and_then(|()| File::open(dir)?.sync_all());
        moved.map_err(|source| OpenError::File { path: path.to_owned(), source })
    });
    if made.is_err()
        && let Err(error) = sweep(&[&draft]).and_then(|()| remove(&draft))
    {
        tracing::debug!(%error, "what was made of a log stays until the next start");
    }
    made
}

/// The whole log of no message, and nothing beside it.
fn make_as(draft: &Path) -> Result<(), OpenError> {
    let of_file = |source| OpenError::File { path: draft.to_owned(), source };
    let of_sqlite = |source| OpenError::Sqlite { path: draft.to_owned(), source };
    remove(draft)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft).map_err(of_file)?;
    let mut connection = writer_of(draft).map_err(of_sqlite)?;
    migrate(&mut connection, draft)?;
    connection.close().map_err(|(_, source)| of_sqlite(source))?;
    File::open(draft).and_then(|file| file.sync_all()).map_err(of_file)
}

/// Removes what SQLite may have left beside files that are not there.
fn sweep(paths: &[&Path]) -> Result<(), OpenError> {
    paths
        .iter()
        .flat_map(|path| ["-wal", "-shm", "-journal"].map(|end| beside(path, end)))
        .try_for_each(|it| remove(&it))
}

fn remove(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::File { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Opens the file, which must be there, for the writer. Every commit waits for the disk until
/// [`set_durability`] says otherwise.
pub(super) fn writer(dir: &Path) -> rusqlite::Result<Connection> {
    writer_of(&file(dir))
}

fn writer_of(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    keep_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(64);
    // auto_vacuum counts only before the first table; later it changes nothing.
    connection.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 2000;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -8192;
         PRAGMA temp_store = MEMORY;
         PRAGMA mmap_size = 0;",
    )?;
    Ok(connection)
}

/// Plans a statement once, whatever is bound to it: without this SQLite prepares many of them anew
/// each time, which costs more than running them.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Says what a commit waits for.
pub(super) fn set_durability(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::Power => "FULL",
        Durability::Process => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)
}

/// Opens the file for reading only.
pub(super) fn reader(dir: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file(dir), flags)?;
    connection.busy_timeout(BUSY)?;
    keep_plans(&connection)?;
    connection.execute_batch(
        "PRAGMA query_only = 1; PRAGMA cache_size = -2048; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;",
    )?;
    Ok(connection)
}

/// The version of a file's tables; 0 where there are none.
fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let found = version(connection).map_err(failed)?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()
        });
        step.map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_file_has_this_version_and_is_opened_again_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let connection = prepare(dir.path()).unwrap();
            let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(version, MIGRATIONS.len() as i64);
            let vacuum: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
            assert_eq!(vacuum, 2, "incremental");
        }
        let mode = std::fs::metadata(file(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_without_a_log_in_it_is_damage_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        fs::write(&path, "").unwrap();
        let refused = prepare(dir.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged(Damage::Empty { .. })) && !refused.is_full_disk(), "{refused}");
        assert!(refused.to_string().contains("log.db") && refused.to_string().contains("back-up"), "{refused}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        // A database that SQLite would take, but that nobody wrote a log into.
        fs::remove_file(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = WAL; VACUUM;").unwrap();
        assert!(fs::metadata(&path).unwrap().len() > 0);
        assert!(matches!(prepare(dir.path()), Err(OpenError::Damaged(Damage::Empty { .. }))));
    }

    #[test]
    fn a_write_ahead_log_whose_database_is_gone_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let left = beside(&file(dir.path()), "-wal");
        fs::write(&left, "messages").unwrap();
        let refused = prepare(dir.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged(Damage::Missing { .. })), "{refused}");
        assert_eq!(names(dir.path()), ["log.db-wal"], "nothing was made or lost");
        fs::write(&left, "").unwrap();
        drop(prepare(dir.path()).unwrap());
    }

    #[test]
    fn what_a_killed_first_start_left_is_no_log_and_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["log.db.new", "log.db.new-wal", "log.db.new-shm", "log.db.new-journal", "log.db-shm"] {
            fs::write(dir.path().join(name), "half of something").unwrap();
        }
        prepare(dir.path()).unwrap().close().unwrap();
        assert_eq!(names(dir.path()), ["log.db"]);
    }

    #[test]
    fn a_log_that_cannot_be_made_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log.db.new")).unwrap();
        assert!(matches!(prepare(dir.path()), Err(OpenError::File { .. })));
        assert_eq!(names(dir.path()), ["log.db.new"]);
    }

    #[test]
    fn sqlite_is_compiled_to_wait_for_a_commits_data_and_not_for_the_times_of_its_file() {
        // SQLite does not tell of this option itself; the project's .cargo/config.toml sets it.
        let flags = option_env!("LIBSQLITE3_FLAGS").unwrap_or_default();
        assert!(flags.contains("-DHAVE_FDATASYNC=1"), "{flags:?}");
        let sql = Connection::open_in_memory().unwrap();
        let used =
            |option| sql.query_row("SELECT sqlite_compileoption_used(?1)", [option], |row| row.get::<_, bool>(0));
        assert!(used("DEFAULT_MEMSTATUS=0").unwrap(), "the flags of the environment were used");
    }

    #[test]
    fn a_file_of_a_newer_program_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let connection = prepare(dir.path()).unwrap();
        connection.pragma_update(None, "user_version", 999).unwrap();
        drop(connection);
        let refused = prepare(dir.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Newer { found: 999, .. }), "{refused}");
        let connection = reader(dir.path()).unwrap();
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 999);
    }
}
