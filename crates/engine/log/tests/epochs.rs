//! When the epoch stays and when it is new.

use std::{fs, path::Path, sync::Arc};

use tidings_core::{Epoch, log::EventLog};
use tidings_testkit::TestClock;

use super::{
    super::{Durability, epoch::Machine},
    LogConfig, SqliteLog, publish,
};

fn open(dir: &Path, durability: Durability, boot: Option<&str>) -> Arc<SqliteLog> {
    let config = LogConfig { durability, reserve_bytes: 0, ..LogConfig::new(dir) };
    let machine = Machine { boot: boot.map(str::to_owned) };
    SqliteLog::open_on(config, TestClock::new(), &machine, None).unwrap()
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
