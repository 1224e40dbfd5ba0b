//! `users.db` as a file: how it comes to be, and how it is opened.
//!
//! Guarantees: a new file gets its name when its tables are in it, so that one without tables is damage and never a
//! first start; of several processes that start at once one makes it. It is readable by its owner only.
//! It is not what is in it: see [`crate::schema`].

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use tidings_core::{
    damage::{Damage, beside},
    own_file,
};

use crate::{error::AuthError, mark::Mark, schema};

/// What the file has.
pub(crate) const HAD: &str = "users";

/// `users.db` of a data directory.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("users.db")
}

/// Opens `users.db` in a directory that is there; makes it if it is not there.
pub(crate) fn open(dir: &Path) -> Result<Connection, AuthError> {
    let path = path(dir);
    if !is_there(&path)? {
        make(dir, &path)?;
    }
    let mut connection = Connection::open_with_flags(&path, flags())?;
    schema::prepare(&mut connection, &path)?;
    Ok(connection)
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn is_there(path: &Path) -> Result<bool, AuthError> {
    match own_file::facts(path) {
        Ok(found) if found.len() == 0 => Err(Damage::Empty { file: path.to_owned(), had: HAD }.into()),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(AuthError::io(path, error)),
    }
}

/// Makes the file, under another name until it is whole: a start that is killed meanwhile leaves nothing that looks
/// like users. Of several processes one makes it, and the others wait.
fn make(dir: &Path, path: &Path) -> Result<(), AuthError> {
    let failed = |error| AuthError::io(dir, error);
    // A lock of the directory itself: it ends with this process at the latest, and leaves no file.
    let folder = File::open(dir).map_err(failed)?;
    folder.lock().map_err(failed)?;
    if is_there(path)? {
        return Ok(());
    }
    let left = beside(path, "-wal");
    let mark = Mark::of(path);
    if fs::metadata(&left).is_ok_and(|left| left.len() > 0) {
        return Err(Damage::Missing { file: path.to_owned(), beside: left, had: HAD }.into());
    }
    if mark.is_there()? {
        return Err(Damage::Missing { file: path.to_owned(), beside: mark.path().to_owned(), had: HAD }.into());
    }
    let draft = beside(path, ".new");
    let made = sweep(path)
        .and_then(|()| make_as(&draft))
        .and_then(|()| fs::rename(&draft, path).map_err(|error| AuthError::io(path, error)))
        .and_then(|()| folder.sync_all().map_err(failed));
    if made.is_err()
        && let Err(error) = sweep(&draft).and_then(|()| remove(&draft))
    {
        tracing::debug!(%error, "what was made of users.db stays until the next start");
    }
    made
}

/// Users of nobody, and nothing beside them.
fn make_as(draft: &Path) -> Result<(), AuthError> {
    let failed = |error| AuthError::io(draft, error);
    sweep(draft)?;
    remove(draft)?;
    // SQLite gives the files beside a database the database's own mode.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft).map_err(failed)?;
    let mut connection = Connection::open_with_flags(draft, flags())?;
    schema::make(&mut connection)?;
    connection.close().map_err(|(_, error)| error)?;
    File::open(draft).and_then(|file| file.sync_all()).map_err(failed)
}

/// Removes what SQLite may have left beside a file that is not there.
fn sweep(path: &Path) -> Result<(), AuthError> {
    ["-wal", "-shm", "-journal"].into_iter().try_for_each(|end| remove(&beside(path, end)))
}

fn remove(path: &Path) -> Result<(), AuthError> {
    fs::remove_file(path).or_else(missing_is_fine).map_err(|error| AuthError::io(path, error))
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, thread};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_without_tables_is_damage_and_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("users.db");
        fs::write(&path, "").expect("writes");
        let error = open(dir.path()).expect_err("damaged");
        assert!(matches!(error, AuthError::Damaged(Damage::Empty { .. })) && !error.is_full_disk(true), "{error}");
        assert!(error.to_string().contains("users.db") && error.to_string().contains("back-up"), "{error}");
        assert_eq!(fs::metadata(&path).expect("there").len(), 0);
        fs::remove_file(&path).expect("removed");
        let other = Connection::open(&path).expect("a database");
        other.execute_batch("PRAGMA journal_mode = WAL; VACUUM;").expect("written");
        drop(other);
        assert!(matches!(open(dir.path()), Err(AuthError::Damaged(Damage::Empty { .. }))));
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_refused() {
        let (dir, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        drop(open(other.path()).expect("a first start"));
        std::os::unix::fs::symlink(path(other.path()), path(dir.path())).expect("made");
        let error = open(dir.path()).expect_err("refused").to_string();
        assert!(error.contains("users.db") && error.contains("symbolic link"), "{error}");
    }

    #[test]
    fn what_lies_beside_a_file_that_is_gone_is_damage_if_it_has_users() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("users.db-wal"), "users").expect("writes");
        assert!(matches!(open(dir.path()), Err(AuthError::Damaged(Damage::Missing { .. }))));
        assert_eq!(names(dir.path()), ["users.db-wal"]);
        fs::write(dir.path().join("users.db-wal"), "").expect("writes");
        drop(open(dir.path()).expect("a first start"));
    }

    #[test]
    fn a_file_that_is_gone_is_damage_where_there_were_users() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(open(dir.path()).expect("a first start"));
        Mark::of(&path(dir.path())).make();
        drop(open(dir.path()).expect("as it is"));
        fs::remove_file(path(dir.path())).expect("removed");
        let error = open(dir.path()).expect_err("damaged");
        assert!(matches!(error, AuthError::Damaged(Damage::Missing { .. })), "{error}");
        assert!(error.to_string().contains("users.db.had-users"), "{error}");
        fs::remove_file(dir.path().join("users.db.had-users")).expect("removed");
        drop(open(dir.path()).expect("a first start"));
    }

    #[test]
    fn what_a_killed_first_start_left_is_in_nobodys_way() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["users.db.new", "users.db.new-wal", "users.db.new-shm", "users.db.new-journal", "users.db-shm"] {
            fs::write(dir.path().join(name), "half of something").expect("writes");
        }
        open(dir.path()).expect("a first start").close().expect("closes");
        assert_eq!(names(dir.path()), ["users.db"]);
        let mode = fs::metadata(dir.path().join("users.db")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn of_several_that_start_at_once_one_makes_it() {
        let dir = tempfile::tempdir().expect("a directory");
        thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|number| {
                    let dir = dir.path();
                    scope.spawn(move || {
                        let connection = open(dir).expect("opens");
                        connection
                            .execute("INSERT INTO signing_keys VALUES (?1, 1)", [number.to_string()])
                            .expect("written");
                    })
                })
                .collect();
            starts.into_iter().for_each(|start| start.join().expect("no panic"));
        });
        let connection = open(dir.path()).expect("opens");
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM signing_keys", (), |row| row.get(0)).expect("counted");
        assert_eq!(rows, 8, "all of them wrote into the same file");
    }
}
