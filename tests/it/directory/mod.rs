//! Data directories of the versions before, and what a start on one of them has to bring along.
//!
//! Guarantees: what is stored is changed in no version without a start on a directory of the version before:
//! each folder of `tests/data` has one. They are made younger before, so that no age and no memory of a day
//! has run out.
//! They are not the tests of the migrations themselves, which stand beside their code.

mod check;
mod make;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::Server;
use check::Check;
use make::written_at;

pub(crate) use make::Made;

/// Where the directories are.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The archive of a directory, and what is in it.
const ARCHIVE: &str = "directory.tar.gz";
const EXPECTED: &str = "expected.json";

/// Domain, field and id of a channel.
fn names(channel: &str) -> (&str, &'static str, &str) {
    let (domain, id) = (channel.split(':').next(), channel.rsplit(':').next());
    let (domain, id) = (domain.expect("a namespace"), id.expect("an id"));
    let field = match domain {
        "session" => "sessionId",
        "user" => "userId",
        "project" => "projectId",
        "shell" => "terminalId",
        "workflow" => "runId",
        other => panic!("{other}"),
    };
    (domain, field, id)
}

/// What the files of a directory say of where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lies {
    /// Elsewhere: it is a copy.
    Elsewhere,
    /// Here: they were never moved, and another program starts on them.
    WhereItWas,
}

/// A home with the directory of this version in it, as if it had been left just now.
pub(crate) fn unpack(version: &str, lies: Lies) -> Made {
    let home = tempfile::tempdir().expect("a directory");
    let archive = kept().join(version).join(ARCHIVE);
    let unpacked = Command::new("tar").arg("-xzf").arg(&archive).current_dir(home.path()).status().expect("runs");
    assert!(unpacked.success(), "{}", archive.display());
    let expected = fs::read_to_string(home.path().join(EXPECTED)).expect("reads");
    let expected: Value = serde_json::from_str(&expected).expect("JSON");
    let now = written_at(&home.path().join("data"));
    fs::write(home.path().join("now"), "").expect("writes");
    let now = now.max(written_at(&home.path().join("now")));
    let made_at = expected["madeAt"].as_i64().expect("a time");
    for file in ["log.db", "users.db"] {
        make_younger(&home.path().join("data").join(file), made_at, now - made_at);
    }
    if lies == Lies::WhereItWas {
        never_moved(&home.path().join("data/log.db"));
    }
    Made { home, expected }
}

/// Makes a log of version 0.1.0 one that lies where it was: it knows its file by device and number.
fn never_moved(file: &Path) {
    let there = fs::metadata(file).expect("is there");
    let sql = Connection::open(file).expect("opens");
    let update = "UPDATE meta SET value = ?1 WHERE key = 'file'";
    let moved = sql.execute(update, [format!("{}:{}", there.dev(), there.ino())]).expect("is set");
    assert_eq!(moved, 1);
}

/// Moves every time in a database by so much. A time is a number of milliseconds that is near to when the
/// directory was made; no number, length or count is anywhere near.
fn make_younger(file: &Path, made_at: i64, by: i64) {
    const NEAR: i64 = 2 * 365 * 24 * 3_600_000;
    let sql = Connection::open(file).expect("opens");
    let mut columns = sql
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND c.type = 'INTEGER' AND c.name != 'id'",
        )
        .expect("a query");
    let columns: Vec<(String, String)> = columns
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .map(|row| row.expect("a row"))
        .collect();
    let mut moved = 0;
    for (table, column) in columns {
        let update = format!("UPDATE {table} SET {column} = {column} + ?1 WHERE {column} BETWEEN ?2 - ?3 AND ?2 + ?3");
        moved += sql.execute(&update, [by, made_at, NEAR]).expect("moves");
    }
    assert!(moved > 0, "{} has no time", file.display());
}

/// Everything holds after a first start on the directory, a stop and a `kill -9`, and then it goes on: in which
/// epoch.
pub(crate) async fn brings_everything_along(made: Made) -> String {
    let Made { home, expected } = made;
    fs::write(home.path().join("tidings.toml"), "").expect("writes");
    let mut server = Server::start_in(home, &[]);
    let epoch = Check::of(&server, &expected).holds().await;
    Check::of(&server, &expected).comes_back(expected["epoch"].as_str().expect("an epoch"), &epoch).await;
    for stop in [true, false] {
        if stop {
            server.stop()
        } else {
            server.kill()
        }
        server.start_again();
        assert_eq!(Check::of(&server, &expected).holds().await, epoch, "no number may come again");
        Check::of(&server, &expected).comes_back(&epoch, &epoch).await;
    }
    Check::of(&server, &expected).goes_on().await;
    epoch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_version_0_1_0_is_brought_along_whole_over_a_stop_and_a_kill() {
    let made = unpack("v0.1.0", Lies::Elsewhere);
    let before = made.expected["epoch"].clone();
    assert_ne!(brings_everything_along(made).await, before, "it is a copy");
}

/// With `MADE_DIRECTORY` set, the directory is put there: `cargo xtask old-directory` does so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_a_killed_server_of_this_version_leaves_is_brought_along_whole() {
    let made = make::make().await;
    if let Some(place) = option_env!("MADE_DIRECTORY") {
        pack(&made, Path::new(place));
    }
    let before = made.expected["epoch"].clone();
    assert_ne!(brings_everything_along(made).await, before, "it is a copy");
}

/// Puts the archive of a directory into a folder.
fn pack(made: &Made, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    let home: &TempDir = &made.home;
    fs::write(home.path().join(EXPECTED), made.expected.to_string()).expect("writes");
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "-czf"]).arg(folder.join(ARCHIVE));
    let packed = tar.args(["data", EXPECTED]).current_dir(home.path()).status().expect("runs");
    assert!(packed.success());
    assert!(fs::metadata(folder.join(ARCHIVE)).expect("is there").len() < 300_000, "it is to be kept small");
}

#[test]
fn only_times_near_to_its_making_are_moved() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("some.db");
    let sql = Connection::open(&file).expect("opens");
    sql.execute_batch(
        "CREATE TABLE message (id INTEGER PRIMARY KEY, seq INTEGER, time INTEGER, until INTEGER);
         INSERT INTO message VALUES (1, 1700000, 1700000000000, 1701000000000), (2, 2, 0, NULL);",
    )
    .expect("a table");
    make_younger(&file, 1_700_000_000_500, 1000);
    let row = |id: i64| {
        let ask = "SELECT json_array(seq, time, until) FROM message WHERE id = ?1";
        let row: String = sql.query_row(ask, [id], |row| row.get(0)).expect("a row");
        serde_json::from_str::<Value>(&row).expect("JSON")
    };
    assert_eq!(row(1), json!([1_700_000, 1_700_000_001_000_i64, 1_701_000_001_000_i64]));
    assert_eq!(row(2), json!([2, 0, null]));
}
