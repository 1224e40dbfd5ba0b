//! Whose room is whose: what is counted of messages and of users, and what is trimmed for what.
//!
//! Guarantees: every count is compared with the rows that it counts.
//! They are not the rules of the bounds: the suite of the port has those.

use std::path::Path;

use rusqlite::Connection;
use tidings_core::{
    Code, UserId,
    log::{Allowances, Ended, EventLog, LogRules, Publication, SavedState},
};
use tidings_testkit::{RecordingSink, TestClock};

use super::{super::schema, ALL, LogConfig, SqliteLog, name, publish, said};

/// Fails unless every count in the file is what its rows are.
pub(super) fn counts_are_exact(dir: &Path) {
    let sql = schema::reader(dir).unwrap();
    let wrong: Vec<String> = sql
        .prepare(
            "SELECT 'messages ' || messages || ', bytes ' || bytes FROM head WHERE (messages, bytes) <>
                (SELECT count(*), coalesce(sum(octet_length(data)), 0) FROM message WHERE id <= indexed)
             UNION ALL
             SELECT 'answers ' || answers FROM head WHERE answers <>
                (SELECT coalesce(sum(octet_length(answer)), 0) FROM command)
             UNION ALL
             SELECT user || ': ' || commands || ' commands, ' || answers || ' bytes' FROM account a
                WHERE (commands, answers) <>
                (SELECT count(*), coalesce(sum(octet_length(answer)), 0) FROM command c WHERE c.user = a.user)
             UNION ALL
             SELECT user || ': ' || ids || ' ids' FROM account a
                WHERE ids <> (SELECT count(*) FROM sent s WHERE counted AND s.user = a.user)
             UNION ALL
             SELECT user || ' has no account' FROM command WHERE user NOT IN (SELECT user FROM account)
             UNION ALL
             SELECT user || ' has no account' FROM sent WHERE counted AND user NOT IN (SELECT user FROM account)",
        )
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

/// A command of a user that ends with an answer of so many bytes.
pub(super) async fn answered(log: &dyn EventLog, user: &UserId, id: &str, bytes: usize) {
    assert_eq!(log.begin_command(user, id, "d").await.unwrap(), None);
    log.end_command(user, id, Some(Ended { code: None, answer: Some("x".repeat(bytes)) })).await.unwrap();
}

fn identified(user: &UserId, channel: &str, id: &str) -> Publication {
    let mut publication = said(channel, 10);
    publication.event.by = Some(user.clone());
    publication.event.id = Some(id.into());
    publication
}

/// Publishes with an id, for a user.
pub(super) async fn publish_for(
    log: &dyn EventLog,
    user: &UserId,
    channel: &str,
    id: &str,
) -> Result<(), tidings_core::Error> {
    log.reserve(10).await.unwrap().send_for(user.clone(), vec![identified(user, channel, id)]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_makes_no_message_go() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { total_bytes: 1_000_000, reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let log = SqliteLog::open(config.clone(), TestClock::new()).unwrap();
    let viewer = user("viewer");
    for _ in 0..90 {
        publish(&*log, "test:a", 10_000 - 162).await.unwrap();
    }
    for n in 0..60 {
        answered(&*log, &viewer, &n.to_string(), 60_000).await;
    }
    for n in 0..300 {
        publish_for(&*log, &viewer, "test:ids", &format!("{n}-{}", "x".repeat(100))).await.unwrap();
    }
    log.save_state(&name("test:a"), SavedState { seq: 90, version: 1, bytes: vec![7; 3_000_000] }, true).await.unwrap();
    log.close().await;
    drop(log);
    assert!(std::fs::metadata(schema::file(dir.path())).unwrap().len() > 5_000_000, "much more than the limit");
    let log = SqliteLog::open(config, TestClock::new()).unwrap();
    let sink = RecordingSink::new();
    log.attach(sink.clone());
    log.keep(LogRules::default());
    // 900,000 bytes are of the one channel, 52,000 of the other, and these are too many.
    for _ in 0..300 {
        publish(&*log, "test:b", 1_000 - 162).await.unwrap();
    }
    sink.until_trimmed(&name("test:a"), 2).await;
    // What is beyond the limit goes and a sixty-fourth of it, and no more: twenty-odd of ten thousand bytes.
    let first = log.read(&name("test:a"), ALL).await.unwrap().first;
    assert!((20..=28).contains(&first), "{first}");
    log.close().await;
    counts_are_exact(dir.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_exact_after_whatever_is_sent_refused_deleted_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let allowed =
        Allowances { answers_per_user: 500, answers: 800, commands_per_user: 8, ids_per_user: 6, channels_per_user: 5 };
    let clock = TestClock::new();
    let config = LogConfig { allowed, reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let log = SqliteLog::open(config.clone(), clock.clone()).unwrap();
    let (one, two) = (user("u1"), user("u2"));
    for round in 0..10 {
        for (n, user) in [&one, &two, &one].into_iter().enumerate() {
            let id = format!("{}-{n}", round % 7);
            let known = log.begin_command(user, &id, "d").await;
            if known.is_ok_and(|known| known.is_none()) {
                let ended = Ended { code: Some(Code::Conflict), answer: Some("x".repeat(40 * n + 20)) };
                log.end_command(user, &id, Some(ended).filter(|_| round != 3)).await.unwrap();
            }
            let (channel, other) = (format!("test:{}", round % 6), format!("test:other-{round}"));
            // Together in one transaction, so that each is taken back by itself.
            let sends = [
                vec![identified(user, &channel, &id), said("test:b", 30)],
                vec![said(&channel, 5), identified(user, &other, &id), identified(user, &channel, &id)],
            ];
            let mut receipts = Vec::new();
            for send in sends {
                receipts.push(log.reserve(10).await.unwrap().send_for((*user).clone(), send));
            }
            for receipt in receipts {
                drop(receipt.await);
            }
        }
        if round == 5 {
            log.delete(&name("test:b")).await.unwrap();
            clock.advance(std::time::Duration::from_secs(13 * 60 * 60));
        }
        if round == 8 {
            clock.advance(std::time::Duration::from_secs(13 * 60 * 60));
        }
        counts_are_exact(dir.path());
    }
    log.close().await;
    drop(log);
    counts_are_exact(dir.path());
    let log = SqliteLog::open(config, clock.clone()).unwrap();
    publish(&*log, "test:a", 10).await.unwrap();
    log.close().await;
    counts_are_exact(dir.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_nothing_any_more_has_no_account() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let clock = TestClock::new();
    let log = SqliteLog::open(config, clock.clone()).unwrap();
    log.keep(LogRules::default());
    answered(&*log, &user("u1"), "c", 10).await;
    publish_for(&*log, &user("u2"), "test:a", "id").await.unwrap();
    clock.advance(std::time::Duration::from_secs(25 * 60 * 60));
    publish(&*log, "test:a", 1).await.unwrap();
    super::retention::until_at_most(dir.path(), "SELECT count(*) FROM account", 0).await;
    log.close().await;
}

/// The tables as the version before this one left them.
fn of_version_3(dir: &Path) -> Connection {
    let old = Connection::open(schema::file(dir)).unwrap();
    for step in &schema::MIGRATIONS[..3] {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "user_version", 3).unwrap();
    old
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_version_3_is_brought_along_with_its_commands_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let old = of_version_3(dir.path());
    let clock = TestClock::new();
    let now = tidings_core::runtime::Clock::now(&*clock).0;
    // Two messages are in the index, one is in the tail.
    old.execute_batch(&format!(
        r#"INSERT INTO channel VALUES (7, 'test:a', 2, 1, 1, 9, {now}, NULL, NULL, {now}, {now});
           INSERT INTO message VALUES (1, 7, 1, {now}, 'test.said', NULL, NULL, '{{}}');
           INSERT INTO message VALUES (2, 7, 2, {now}, 'test.said', 'u', 'k', '{{"a":1}}');
           INSERT INTO message VALUES (3, 7, 3, {now}, 'test.said', 'u', 'k', '{{"a":12}}');
           INSERT INTO place VALUES (7, 1, 1), (7, 2, 2);
           UPDATE head SET global = 2, indexed = 2, time = {now};
           INSERT INTO sent VALUES (7, 'u', 'k', x'00', '[2]', {now});
           INSERT INTO command VALUES ('u', 'ok', 'd', '{{"json":{{"x":1}}}}', {now}), ('u', 'runs', 'd', NULL, {now}),
             ('u', 'no', 'd', '{{"error":{{"code":"not_found","message":"not there: \"x\""}}}}', {now}),
             ('v', 'long', 'd', '{{"text":"{}"}}', {now});"#,
        "x".repeat(70_000)
    ))
    .unwrap();
    drop(old);
    let config = LogConfig { reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let log = SqliteLog::open(config, clock).unwrap();
    counts_are_exact(dir.path());
    let known = async |whose: &str, id: &str| log.begin_command(&user(whose), id, "d").await.unwrap().unwrap().ended;
    let ok = Ended { code: None, answer: Some(r#"{"json":{"x":1}}"#.to_owned()) };
    assert_eq!(known("u", "ok").await, Some(ok));
    assert_eq!(known("u", "runs").await, None);
    let no = r#"{"error":{"code":"not_found","message":"not there: \"x\""}}"#.to_owned();
    assert_eq!(known("u", "no").await, Some(Ended { code: Some(Code::NotFound), answer: Some(no) }));
    assert_eq!(known("v", "long").await, Some(Ended { code: None, answer: None }), "too long to be kept");
    assert_eq!(log.read(&name("test:a"), ALL).await.unwrap().messages.len(), 3);
    assert_eq!(publish(&*log, "test:a", 10).await, Ok(4));
    log.close().await;
    counts_are_exact(dir.path());
}
