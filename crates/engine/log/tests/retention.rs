//! Trimming that only a log of files has: the total, leaping clocks, deleted rows.

use std::{path::Path, time::Duration};

use tidings_core::{
    Timestamp,
    handler::Retention,
    log::{EventLog, LogRule, LogRules, SavedState},
    runtime::Clock,
};
use tidings_testkit::{PATIENCE, RecordingSink, TestClock};
use tokio::time::{Instant, interval};

use super::{super::schema, ALL, KEEP_ALL, LogConfig, SqliteLog, name, publish, rules};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_total_the_oldest_of_all_channels_go_but_not_without_their_state() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { total_bytes: 3_000_000, reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let log = SqliteLog::open(config, TestClock::new()).unwrap();
    let of = |projected| LogRule { retention: KEEP_ALL, projected };
    log.keep([("session".to_owned(), of(true)), ("plain".to_owned(), of(false))].into_iter().collect());
    let sink = RecordingSink::new();
    log.attach(sink.clone());
    for _ in 0..100 {
        for channel in ["session:1", "plain:1", "plain:2"] {
            publish(&*log, channel, 10_000).await.unwrap();
        }
    }
    publish(&*log, "plain:last", 10).await.unwrap();
    // The log is weighed after 256 commits, when about 2.6 MB of it were written, and again later.
    for _ in 0..256 {
        publish(&*log, "plain:last", 1_000).await.unwrap();
    }
    sink.until_trimmed(&name("plain:1"), 2).await;
    sink.until_trimmed(&name("plain:2"), 2).await;
    assert!(sink.until_state_wanted(&name("session:1")).await >= 1);
    assert_eq!(log.read(&name("session:1"), ALL).await.unwrap().first, 1);
    let state = SavedState { seq: 100, version: 1, bytes: Vec::new() };
    log.save_state(&name("session:1"), state).await.unwrap();
    sink.until_trimmed(&name("session:1"), 2).await;
    let kept = log.feed(0, 10_000).await.unwrap();
    let data: usize = kept.iter().map(|committed| committed.message.payload.json().len()).sum();
    assert!((2_000_000..3_000_000).contains(&data), "no more goes than must: {data}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_leaps_ages_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let clock = TestClock::new();
    let log = SqliteLog::open(config, clock.clone()).unwrap();
    let aged = Retention { age_ms: 60 * 60 * 1000, ..KEEP_ALL };
    log.keep(rules([("aged", aged), ("counted", Retention { messages: 1, ..KEEP_ALL })]));
    let sink = RecordingSink::new();
    log.attach(sink.clone());
    publish(&*log, "aged:a", 1).await.unwrap();
    clock.leap_to(Timestamp(clock.now().0 + 40 * 24 * 60 * 60 * 1000));
    clock.advance(Duration::from_secs(600));
    publish(&*log, "aged:a", 1).await.unwrap();
    // What is due goes in order, so the first would have gone before these.
    for n in 2..=4 {
        publish(&*log, "counted:a", 1).await.unwrap();
        publish(&*log, "counted:a", 1).await.unwrap();
        sink.until_trimmed(&name("counted:a"), n).await;
    }
    assert_eq!(log.read(&name("aged:a"), ALL).await.unwrap().first, 1);
    clock.advance(Duration::from_secs(61 * 60));
    publish(&*log, "aged:a", 1).await.unwrap();
    sink.until_trimmed(&name("aged:a"), 2).await;
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_of_a_deleted_channel_go_in_slices() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let log = SqliteLog::open(config, TestClock::new()).unwrap();
    for _ in 0..10 {
        let slot = log.reserve(1).await.unwrap();
        slot.send((0..1000).map(|_| super::said("test:a", 10)).collect()).await.unwrap();
    }
    publish(&*log, "test:b", 1).await.unwrap();
    log.delete(&name("test:a")).await.unwrap();
    assert_eq!(publish(&*log, "test:a", 1).await, Ok(10_001));
    until_at_most(dir.path(), "SELECT count(*) FROM message", 2).await;
    assert_eq!(log.read(&name("test:a"), ALL).await.unwrap().first, 10_001);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_space_of_what_went_is_given_back_to_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let clock = TestClock::new();
    let log = SqliteLog::open(config, clock.clone()).unwrap();
    log.keep(LogRules::default());
    for _ in 0..100 {
        publish(&*log, "test:a", 250_000).await.unwrap();
    }
    log.delete(&name("test:a")).await.unwrap();
    until_at_most(dir.path(), "SELECT count(*) FROM message", 0).await;
    clock.advance(Duration::from_secs(600));
    publish(&*log, "test:b", 1).await.unwrap();
    // Of 25 MB of pages of 4 KiB, what is left empty is at most the 16 MiB worth keeping for reuse.
    until_at_most(dir.path(), "SELECT page_count FROM pragma_page_count", 4200).await;
    log.close().await;
    let size = std::fs::metadata(schema::file(dir.path())).unwrap().len();
    assert!(size < 20_000_000, "{size} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_and_answers_are_forgotten_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let clock = TestClock::new();
    let log = SqliteLog::open(config, clock.clone()).unwrap();
    log.keep(LogRules::default());
    let mut publication = super::said("test:a", 1);
    publication.event.id = Some("id".into());
    log.reserve(1).await.unwrap().send(vec![publication]).await.unwrap();
    log.begin_command(&"u1".parse().unwrap(), "c", "digest").await.unwrap();
    clock.advance(Duration::from_secs(24 * 60 * 60));
    publish(&*log, "test:a", 1).await.unwrap();
    let kept = "SELECT (SELECT count(*) FROM sent) + (SELECT count(*) FROM command)";
    until_at_most(dir.path(), kept, 0).await;
    log.close().await;
}

/// Looks again and again until a number in the log's file is not higher than this.
async fn until_at_most(dir: &Path, query: &str, most: i64) {
    let sql = schema::reader(dir).unwrap();
    let number = || sql.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut look = interval(Duration::from_millis(5));
    while number() > most {
        assert!(Instant::now() < end, "{query}: still {}", number());
        look.tick().await;
    }
}

/// Everything that is kept of some channels.
async fn kept(log: &dyn EventLog, channels: &[&str]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for channel in channels {
        let page = log.read(&name(channel), ALL).await.unwrap();
        found.push((page.first, page.messages.len() as u64));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_until_the_rules_are_known_and_nothing_by_a_rule_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let small = LogConfig { reserve_bytes: 0, total_bytes: 1, ..LogConfig::new(dir.path()) };
    let channels = ["ruled:a", "other:a", "gone:a"];
    let log = SqliteLog::open(small.clone(), TestClock::new()).unwrap();
    for channel in channels {
        let slot = log.reserve(1).await.unwrap();
        slot.send((0..3000).map(|_| super::said(channel, 100)).collect()).await.unwrap();
    }
    log.close().await;
    drop(log);
    // Each of these lives could sweep, weigh and trim, before and after commits.
    for commits in 1..=2 {
        let clock = TestClock::new();
        let log = SqliteLog::open(small.clone(), clock.clone()).unwrap();
        for _ in 0..600 {
            publish(&*log, "other:a", 1).await.unwrap();
            clock.advance(Duration::from_secs(1));
        }
        log.delete(&name("gone:a")).await.unwrap();
        until_at_most(dir.path(), "SELECT count(*) FROM message", 6000 + 600 * commits).await;
        assert_eq!(kept(&*log, &channels).await, [(1, 3000), (1, 3000 + 600 * commits as u64), (3001, 0)]);
        log.close().await;
    }
    let roomy = LogConfig { total_bytes: 0, ..small };
    let log = SqliteLog::open(roomy, TestClock::new()).unwrap();
    let sink = RecordingSink::new();
    log.attach(sink.clone());
    log.keep(rules([("ruled", Retention { messages: 10, ..KEEP_ALL })]));
    sink.until_trimmed(&name("ruled:a"), 2991).await;
    assert_eq!(kept(&*log, &channels).await, [(2991, 10), (1, 4200), (3001, 0)]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_total_takes_also_where_no_rule_is_but_leaves_a_saved_state_complete() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { reserve_bytes: 0, total_bytes: 400_000, ..LogConfig::new(dir.path()) };
    let log = SqliteLog::open(config, TestClock::new()).unwrap();
    let sink = RecordingSink::new();
    log.attach(sink.clone());
    for channel in ["once:plain", "once:folded"] {
        for _ in 0..50 {
            publish(&*log, channel, 10_000).await.unwrap();
        }
    }
    let state = SavedState { seq: 7, version: 1, bytes: Vec::new() };
    log.save_state(&name("once:folded"), state).await.unwrap();
    log.keep(LogRules::default());
    sink.until_trimmed(&name("once:plain"), 51).await;
    sink.until_trimmed(&name("once:folded"), 8).await;
    assert_eq!(kept(&*log, &["once:folded"]).await, [(8, 43)], "what is not in the state stays");
    log.close().await;
}
