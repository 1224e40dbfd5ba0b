//! When the epoch stays and when it is new.

use std::{fs, path::Path, sync::Arc};

use rusqlite::Connection;
use tidings_core::{Epoch, log::EventLog};
use tidings_testkit::TestClock;

use super::{
    super::{
        Durability,
        epoch::{Identity, Machine},
        schema,
    },
    LogConfig, SqliteLog, publish,
};

fn open(dir: &Path, durability: Durability, boot: Option<&str>) -> Arc<SqliteLog> {
    let config = LogConfig { durability, reserve_bytes: 0, ..LogConfig::new(dir) };
    let machine = Machine { boot: boot.map(str::to_owned), ..Machine::here() };
    SqliteLog::open_on(config, TestClock::new(), &machine, None).unwrap()
}

/// Opens on a machine where files are known so, and closes: the epoch.
async fn epoch_where(dir: &Path, identify: fn(&Path) -> std::io::Result<Identity>) -> Epoch {
    let config = LogConfig { reserve_bytes: 0, ..LogConfig::new(dir) };
    let log = SqliteLog::open_on(config, TestClock::new(), &Machine { identify, ..Machine::here() }, None).unwrap();
    log.close().await;
    log.epoch()
}

/// What the file says that it is, or is made to say.
fn written(dir: &Path) -> String {
    let sql = schema::reader(dir).unwrap();
    sql.query_row("SELECT value FROM meta WHERE key = 'file'", [], |row| row.get(0)).unwrap()
}

fn write(dir: &Path, identity: &str) {
    let sql = Connection::open(schema::file(dir)).unwrap();
    assert_eq!(sql.execute("UPDATE meta SET value = ?1 WHERE key = 'file'", [identity]).unwrap(), 1);
}

const BORN: Option<(i64, u32)> = Some((1_700_000_000, 5));

#[tokio::test]
async fn a_volume_that_is_attached_as_another_device_keeps_the_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let first = epoch_where(dir.path(), |_| Ok(Identity { device: 1, inode: 7, born: BORN })).await;
    assert_eq!(epoch_where(dir.path(), |_| Ok(Identity { device: 2, inode: 7, born: BORN })).await, first);
    let younger = |_: &Path| Ok(Identity { device: 2, inode: 7, born: Some((1_700_000_000, 6)) });
    let second = epoch_where(dir.path(), younger).await;
    assert_ne!(second, first, "another file that got the same inode");
    let other = |_: &Path| Ok(Identity { device: 2, inode: 8, born: Some((1_700_000_000, 6)) });
    assert_ne!(epoch_where(dir.path(), other).await, second, "another inode");
}

#[tokio::test]
async fn an_identity_of_the_old_form_is_held_to_the_old_rule_once_and_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let here = |_: &Path| Ok(Identity { device: 1, inode: 7, born: BORN });
    let first = epoch_where(dir.path(), here).await;
    write(dir.path(), "1:7");
    assert_eq!(epoch_where(dir.path(), here).await, first, "the upgrade resets nobody");
    assert_eq!(written(dir.path()), "inode 7 born 1700000000.000000005");
    let elsewhere = |_: &Path| Ok(Identity { device: 2, inode: 7, born: BORN });
    assert_eq!(epoch_where(dir.path(), elsewhere).await, first, "from now on by the new rule");
    write(dir.path(), "1:7");
    assert_ne!(epoch_where(dir.path(), elsewhere).await, first, "by the old rule it is another file");
}

#[tokio::test]
async fn without_a_time_of_birth_a_file_is_known_by_its_device_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let first = epoch_where(dir.path(), |_| Ok(Identity { device: 1, inode: 7, born: None })).await;
    assert_eq!(written(dir.path()), "1:7");
    assert_eq!(epoch_where(dir.path(), |_| Ok(Identity { device: 1, inode: 7, born: None })).await, first);
    let elsewhere = |_: &Path| Ok(Identity { device: 2, inode: 7, born: None });
    assert_ne!(epoch_where(dir.path(), elsewhere).await, first);
}

#[test]
fn what_a_former_version_wrote_of_a_file_is_recognised() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "x").unwrap();
    let (known, found) = (fs::metadata(&path).unwrap(), Identity::of(&path).unwrap());
    assert_eq!((found.device, found.inode), (known.dev(), known.ino()));
}

/// Opens, publishes one message, and closes.
async fn life(dir: &Path, durability: Durability, boot: &str) -> (Epoch, u64) {
    let log = open(dir, durability, Some(boot));
    let seq = publish(&*log, "test:a", 10).await.unwrap();
    log.close().await;
    (log.epoch(), seq)
}

/// Copies the files of a log as they are now, as a stop of the machine would leave them.
fn snapshot(from: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = fs::read_dir(from).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| !path.ends_with("log.db-shm")).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn a_copied_directory_has_a_new_epoch_and_its_numbers_go_on() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, seq) = life(dir.path(), Durability::Power, "boot").await;
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    assert_eq!(life(dir.path(), Durability::Power, "boot").await, (first.clone(), seq + 1), "the original goes on");
    let (copied, next) = life(copy.path(), Durability::Power, "boot").await;
    assert_ne!(copied, first);
    assert_eq!(next, seq + 1);
    assert_eq!(life(copy.path(), Durability::Power, "boot").await.0, copied, "it is the copy's own from now on");
}

#[tokio::test]
async fn a_restored_file_has_a_new_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = life(dir.path(), Durability::Power, "boot").await;
    let path = dir.path().join("log.db");
    fs::copy(&path, dir.path().join("backup")).unwrap();
    fs::rename(dir.path().join("backup"), &path).unwrap();
    assert_ne!(life(dir.path(), Durability::Power, "boot").await.0, first);
}

/// The epochs before and after a stop of the process without a close, at this and another boot.
async fn after_an_unclean_stop(durability: Durability, boot: Option<&str>) -> (Epoch, Epoch) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), durability, Some("first"));
    publish(&*log, "test:a", 10).await.unwrap();
    let left = snapshot(dir.path());
    log.close().await;
    // The file keeps its inode, as it does on a machine that stopped.
    left.into_iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let again = open(dir.path(), durability, boot);
    assert_eq!(publish(&*again, "test:a", 10).await, Ok(2));
    again.close().await;
    (log.epoch(), again.epoch())
}

#[tokio::test]
async fn a_tail_that_the_power_may_have_taken_means_a_new_epoch() {
    let (before, after) = after_an_unclean_stop(Durability::Process, Some("second")).await;
    assert_ne!(before, after, "another boot, and commits did not wait for the disk");
    let (before, after) = after_an_unclean_stop(Durability::Process, None).await;
    assert_ne!(before, after, "whether the machine stopped cannot be told");
    let (before, after) = after_an_unclean_stop(Durability::Process, Some("first")).await;
    assert_eq!(before, after, "the same boot: only the process stopped");
    let (before, after) = after_an_unclean_stop(Durability::Power, Some("second")).await;
    assert_eq!(before, after, "commits waited for the disk");
}

#[tokio::test]
async fn a_clean_stop_keeps_the_epoch_through_a_boot() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = life(dir.path(), Durability::Process, "first").await;
    assert_eq!(life(dir.path(), Durability::Process, "second").await, (first, 2));
}

#[tokio::test]
async fn an_epoch_is_renewed_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = life(dir.path(), Durability::Power, "boot").await;
    SqliteLog::renew_epoch(dir.path()).unwrap();
    let (second, seq) = life(dir.path(), Durability::Power, "boot").await;
    assert_ne!(second, first);
    assert_eq!(seq, 2, "numbers never come again all the same");
}
