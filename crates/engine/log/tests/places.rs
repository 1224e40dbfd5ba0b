//! The index over channels and numbers, which is written in large parts, and the tail before it.
//!
//! Guarantees: every page is compared with what was published, whatever part of it the index has.
//! They are not tests of what a page is: the suite of the port has those.

use std::time::Duration;

use futures_util::future::join;
use rusqlite::Connection;
use tidings_core::log::{ChannelFacts, EventLog, ListChannels, Read};
use tidings_testkit::TestClock;

use super::{
    super::{schema, tail::SharedTail},
    ALL, LogConfig, SqliteLog, name, publish, said,
};

fn config(dir: &tempfile::TempDir) -> LogConfig {
    LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) }
}

async fn numbers(log: &dyn EventLog, channel: &str, read: Read) -> Vec<u64> {
    log.read(&name(channel), read).await.unwrap().messages.iter().filter_map(|message| message.seq).collect()
}

/// Sends so many messages to each of three channels, in sends of three hundred.
async fn fill(log: &dyn EventLog, each: usize) {
    for _ in 0..each / 100 {
        let send = (0..300).map(|n| said(["test:a", "test:b", "test:c"][n % 3], 10)).collect();
        log.reserve(1).await.unwrap().send(send).await.unwrap();
    }
}

fn indexed(dir: &tempfile::TempDir) -> (i64, i64) {
    let sql = schema::reader(dir.path()).unwrap();
    sql.query_row("SELECT indexed, (SELECT count(*) FROM place) FROM head", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_lie_across_the_index_and_the_tail() {
    let dir = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(config(&dir), TestClock::new()).unwrap();
    fill(&*log, 4000).await;
    let (settled, places) = indexed(&dir);
    assert!(settled > 0 && settled < 12_000 && places == settled, "some are in the index, some are not: {settled}");
    let edge = settled as u64 / 3;
    for after in [0, edge - 3, edge - 1, edge, edge + 1, edge + 3, 3999, 4000] {
        for limit in [1, 2, 5] {
            let up = Read { after, before: None, limit, max_bytes: usize::MAX, newest: false };
            let expected: Vec<u64> = (after + 1..=4000).take(limit).collect();
            assert_eq!(numbers(&*log, "test:b", up.clone()).await, expected, "after {after}");
            let down = Read { after: 0, before: Some(after + 1), newest: true, ..up };
            let mut expected: Vec<u64> = (1..=after).rev().take(limit).collect();
            expected.reverse();
            assert_eq!(numbers(&*log, "test:b", down).await, expected, "before {after}");
        }
    }
    let bounded = Read { max_bytes: 12, ..ALL };
    assert_eq!(numbers(&*log, "test:a", Read { after: 3990, ..bounded }).await, [3991], "at least one, by bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_is_found_again_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(config(&dir), TestClock::new()).unwrap();
    fill(&*log, 3000).await;
    log.close().await;
    drop(log);
    let log = SqliteLog::open(config(&dir), TestClock::new()).unwrap();
    assert_eq!(numbers(&*log, "test:c", ALL).await, (1..=3000).collect::<Vec<_>>());
    assert_eq!(publish(&*log, "test:c", 10).await, Ok(3001));
    let last = log.feed(9000, 10).await.unwrap();
    assert_eq!(last.iter().map(|committed| committed.global).collect::<Vec<_>>(), [9001], "global numbers go on");
    assert_eq!(numbers(&*log, "test:c", Read { after: 2999, ..ALL }).await, [3000, 3001]);
}

/// What the file would say of a channel if nothing were late: head, size, and the newest time.
fn counted(dir: &tempfile::TempDir, channel: &str) -> (u64, u64, i64) {
    let sql = schema::reader(dir.path()).unwrap();
    sql.query_row(
        "SELECT max(m.seq), sum(octet_length(m.data)), max(m.time)
         FROM message m JOIN channel c ON c.id = m.channel WHERE c.name = ?1",
        [channel],
        |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64, row.get(2)?)),
    )
    .unwrap()
}

async fn facts(log: &dyn EventLog, channel: &str) -> (u64, u64, i64) {
    let facts = log.facts(&name(channel)).await.unwrap().unwrap();
    let listed = log.list(ListChannels { limit: 10, ..ListChannels::default() }).await.unwrap();
    let of = |facts: &ChannelFacts| (facts.head, facts.bytes, facts.updated_at.0);
    let same = listed.iter().find(|listed| listed.channel == facts.channel).map(of);
    assert_eq!(same, Some(of(&facts)), "the list says the same");
    of(&facts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_row_does_not_know_yet_is_in_the_facts_before_and_after_a_start() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let log = SqliteLog::open(config(&dir), clock.clone()).unwrap();
    fill(&*log, 4000).await;
    clock.advance(Duration::from_secs(3));
    assert_eq!(publish(&*log, "test:a", 77).await, Ok(4001));
    assert_eq!(publish(&*log, "test:new", 5).await, Ok(1));
    let before = counted(&dir, "test:a");
    assert_eq!(facts(&*log, "test:a").await, before);
    assert_eq!(facts(&*log, "test:new").await, counted(&dir, "test:new"));
    log.close().await;
    drop(log);
    let sql = schema::reader(dir.path()).unwrap();
    let written: i64 = sql.query_row("SELECT head FROM channel WHERE name = 'test:a'", [], |row| row.get(0)).unwrap();
    assert!(written < 4001, "or nothing is shown here");
    let log = SqliteLog::open(config(&dir), clock).unwrap();
    assert_eq!(facts(&*log, "test:a").await, before);
    assert_eq!(publish(&*log, "test:a", 1).await, Ok(4002));
    assert_eq!(publish(&*log, "test:new", 1).await, Ok(2));
    assert_eq!(facts(&*log, "test:a").await, counted(&dir, "test:a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_channel_whose_row_is_late_goes_on_with_its_numbers_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(config(&dir), TestClock::new()).unwrap();
    for seq in 1..=3 {
        assert_eq!(publish(&*log, "test:a", 10).await, Ok(seq));
    }
    log.delete(&name("test:a")).await.unwrap();
    assert_eq!(publish(&*log, "test:a", 20).await, Ok(4));
    log.close().await;
    drop(log);
    let log = SqliteLog::open(config(&dir), TestClock::new()).unwrap();
    let facts = log.facts(&name("test:a")).await.unwrap().unwrap();
    assert_eq!((facts.head, facts.first, facts.bytes), (4, 4, 22), "one message is left: twenty bytes in quotes");
    assert_eq!(numbers(&*log, "test:a", ALL).await, [4]);
    assert_eq!(publish(&*log, "test:a", 10).await, Ok(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_while_the_index_is_written_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(config(&dir), TestClock::new()).unwrap();
    let read_on = async {
        loop {
            let page = log.read(&name("test:a"), ALL).await.unwrap();
            let found: Vec<u64> = page.messages.iter().filter_map(|message| message.seq).collect();
            assert_eq!(found, (1..=page.head).collect::<Vec<_>>());
            if page.head == 9000 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), join(read_on, fill(&*log, 9000))).await.unwrap();
}

#[test]
fn a_file_with_the_older_index_is_brought_along() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(schema::file(dir.path())).unwrap();
    old.execute_batch(schema::V1).unwrap();
    old.execute_batch(
        "INSERT INTO channel VALUES (7, 'test:a', 2, 1, 1, 4, 5, NULL, NULL, 5, 6);
         INSERT INTO message VALUES (1, 7, 1, 5, 'test.said', NULL, NULL, '{}');
         INSERT INTO message VALUES (2, 7, 2, 6, 'test.said', 'u', 'k', '{}');
         UPDATE head SET global = 2, time = 6;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let sql = schema::prepare(dir.path()).unwrap();
    let places: i64 = sql.query_row("SELECT count(*) FROM place WHERE channel = 7", [], |row| row.get(0)).unwrap();
    assert_eq!(places, 2);
    let tail = SharedTail::default();
    tail.load(&sql).unwrap();
    assert!(tail.is_empty());
}
