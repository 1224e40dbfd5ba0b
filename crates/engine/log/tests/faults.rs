//! What happens when the disk, the file or a sink fails.

use std::{fs, path::Path, sync::Arc, time::Duration};

use rusqlite::Connection;
use tidings_core::{
    Channel, Code, Seq,
    log::{Committed, EventLog, LogRules, LogSink},
};
use tidings_testkit::{Heard, PATIENCE, RecordingSink, TestClock};
use tokio::time::{Instant, interval};

use super::{
    super::{
        Durability, OpenError,
        epoch::Machine,
        schema,
        tail::SharedTail,
        writer::{Place, open_again},
    },
    ALL, LogConfig, SqliteLog, name, publish, said,
};

fn open(config: LogConfig, most_pages: Option<u32>) -> (Arc<SqliteLog>, Arc<RecordingSink>) {
    let machine = Machine { boot: Some("boot".to_owned()), ..Machine::here() };
    let log = SqliteLog::open_on(config, TestClock::new(), &machine, most_pages).unwrap();
    let sink = RecordingSink::new();
    log.attach(sink.clone());
    log.keep(LogRules::default());
    (log, sink)
}

/// Looks again and again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    let mut look = interval(Duration::from_millis(5));
    while !is_so().await {
        assert!(Instant::now() < end, "never: {what}");
        look.tick().await;
    }
}

/// Somebody else's transaction, which keeps the log from being written until it is dropped.
fn obstacle(dir: &Path) -> Connection {
    let other = schema::writer(dir).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_says_so_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (log, sink) = open(LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) }, None);
    assert_eq!(publish(&*log, "test:a", 10).await, Ok(1));
    let other = obstacle(dir.path());
    assert_eq!(publish(&*log, "test:a", 10).await, Err(Code::Unavailable));
    assert!(!log.status().healthy);
    assert_eq!(publish(&*log, "test:a", 10).await, Err(Code::Unavailable), "meanwhile it is refused");
    assert_eq!(log.read(&name("test:a"), ALL).await.unwrap().head, 1, "what is there can be read");
    drop(other);
    until("it is healthy", async || log.status().healthy).await;
    assert_eq!(publish(&*log, "test:a", 10).await, Ok(2), "the heads were read again");
    let heard = sink.until("two messages", |heard| (heard.len() >= 3).then(|| heard.to_vec())).await;
    assert!(matches!(heard[..], [Heard::Committed(_), Heard::Uncertain, Heard::Committed(_)]), "{heard:?}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_can_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) }, None);
    let _other = obstacle(dir.path());
    assert_eq!(publish(&*log, "test:a", 10).await, Err(Code::Unavailable));
    log.close().await;
    assert!(!log.status().healthy);
}

#[tokio::test]
async fn a_file_put_in_place_of_the_log_is_not_written_to() {
    let (dir, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut epochs = Vec::new();
    for dir in [&dir, &fresh] {
        let (log, _) = open(LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) }, None);
        publish(&*log, "test:a", 10).await.unwrap();
        epochs.push(log.epoch());
        log.close().await;
    }
    let place = Place { dir: dir.path().to_owned(), durability: Durability::Power, most_pages: None };
    drop(open_again(&place, &epochs[0], &SharedTail::default()).unwrap());
    fs::copy(fresh.path().join("log.db"), dir.path().join("log.db")).unwrap();
    let refused = open_again(&place, &epochs[0], &SharedTail::default()).err().unwrap();
    assert!(matches!(refused, OpenError::Replaced { .. }), "{refused}");
    fs::remove_file(dir.path().join("log.db")).unwrap();
    assert!(open_again(&place, &epochs[0], &SharedTail::default()).is_err(), "a file that is gone is not made anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_survived_by_trimming_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { reserve_bytes: 100_000, ..LogConfig::new(dir.path()) };
    // 4 KiB a page: the disk has room for about a megabyte.
    let (log, sink) = open(config, Some(256));
    let reserve = dir.path().join("reserve");
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 100_000);
    let (mut refused, mut sent) = (0, 0);
    while sent < 400 {
        match publish(&*log, "test:a", 8_000).await {
            Ok(_) => sent += 1,
            Err(code) => {
                assert_eq!(code, Code::Unavailable);
                refused += 1;
                until("it is healthy again", async || log.status().healthy).await;
            }
        }
    }
    assert!(refused > 0, "the disk was full");
    assert!(refused < 100, "and seldom: {refused}");
    let page = log.read(&name("test:a"), ALL).await.unwrap();
    assert_eq!(page.head, 400, "no number was lost or given twice");
    assert!(page.first > 200, "the oldest went: {}", page.first);
    assert_eq!(page.messages.len() as u64, page.head - page.first + 1);
    sink.until_trimmed(&name("test:a"), page.first).await;
    until("there is a reserve again", async || reserve.exists()).await;
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_full_at_its_start_says_so_and_makes_room_once_it_knows_what_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { reserve_bytes: 100_000, ..LogConfig::new(dir.path()) };
    let machine = Machine { boot: Some("boot".to_owned()), ..Machine::here() };
    for _ in 0..2 {
        let log = SqliteLog::open_on(config.clone(), TestClock::new(), &machine, Some(256)).unwrap();
        let refused = async {
            loop {
                if let Err(error) = log.reserve(1).await.unwrap().send(vec![said("test:a", 8_000)]).await {
                    break error;
                }
            }
        };
        let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains("the disk is full"), "{refused}");
        assert!(log.full_disk().1 > 0);
        let page = log.read(&name("test:a"), ALL).await.unwrap();
        assert_eq!((page.first, page.messages.len() as u64), (1, page.head), "without rules nothing goes");
        log.close().await;
    }
    let (log, sink) = open(config, Some(256));
    let head = log.read(&name("test:a"), ALL).await.unwrap().head;
    until("there is room again", async || publish(&*log, "test:a", 8_000).await.is_ok()).await;
    sink.until_trimmed(&name("test:a"), 2).await;
    let page = log.read(&name("test:a"), ALL).await.unwrap();
    assert!(page.head > head && page.first > 1, "{} to {} after {head}", page.first, page.head);
    log.close().await;
}

/// Panics at the first message, and counts what else it hears.
#[derive(Default)]
struct Panicking(parking_lot::Mutex<Vec<&'static str>>);

impl LogSink for Panicking {
    fn committed(&self, batch: &[Committed]) {
        let first = batch.iter().any(|committed| committed.global == 1);
        self.0.lock().push("committed");
        assert!(!first, "the first is too much");
    }
    fn trimmed(&self, _: &Channel, _: Seq) {}
    fn state_wanted(&self, _: &Channel, _: Seq) {}
    fn deleted(&self, _: &Channel) {}
    fn uncertain(&self) {
        self.0.lock().push("uncertain");
    }
}

#[tokio::test]
async fn a_sink_that_panics_hears_that_it_missed_something() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let log = SqliteLog::open(config, TestClock::new()).unwrap();
    let sink = Arc::new(Panicking::default());
    log.attach(sink.clone());
    assert_eq!(publish(&*log, "test:a", 1).await, Ok(1));
    assert_eq!(publish(&*log, "test:a", 1).await, Ok(2));
    assert_eq!(*sink.0.lock(), ["committed", "uncertain", "committed"]);
    log.close().await;
}
