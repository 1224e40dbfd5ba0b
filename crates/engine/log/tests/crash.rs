//! A process that appends and is killed: what it acknowledged is there afterwards.
//!
//! Guarantees: the process is a real one and dies of SIGKILL in the middle of its commits.
//! It is not a test of power loss: the kernel lives on.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use futures_util::future::join_all;
use tidings_core::log::EventLog;
use tidings_testkit::TestClock;

use super::{ALL, LogConfig, SqliteLog, name, publish, room};

const DIR: &str = "TIDINGS_TEST_LOG_DIR";
const CHANNELS: [&str; 3] = ["test:a", "test:b", "test:c"];
const ACKS_BEFORE_KILL: usize = 300;

/// What the process does that is killed: it appends for ever.
async fn append_until_killed(dir: String) {
    let log = SqliteLog::open(LogConfig { reserve_bytes: 0, ..LogConfig::new(dir) }, TestClock::new()).unwrap();
    join_all((0..9).map(|sender| {
        let log = &log;
        async move {
            loop {
                let channel = CHANNELS[sender % 3];
                let (user, id) = (format!("u{sender}").parse().unwrap(), tidings_core::id::random());
                room::publish_for(&**log, &user, channel, &id).await.unwrap();
                room::answered(&**log, &user, &id, 100).await;
                let seq = publish(&**log, channel, 100).await.unwrap();
                println!("\nack {channel} {seq}");
            }
        }
    }))
    .await;
}

/// Starts the process, kills it after some acknowledgements, and gives the highest of each channel.
fn run_and_kill(dir: &Path) -> HashMap<String, u64> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "log::tests::crash::what_a_killed_process_acknowledged_is_there", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = HashMap::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut count = 0;
    while let Some(Ok(line)) = lines.next() {
        let mut words = line.split(' ');
        if let (Some("ack"), Some(channel), Some(Ok(seq))) = (words.next(), words.next(), words.next().map(str::parse))
        {
            let newest: &mut u64 = acknowledged.entry(channel.to_owned()).or_default();
            *newest = (*newest).max(seq);
            count += 1;
            if count == ACKS_BEFORE_KILL {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(count >= ACKS_BEFORE_KILL, "the process ended by itself after {count}");
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_acknowledged_is_there() {
    // The test starts itself again as the process that is killed.
    #[expect(clippy::disallowed_methods, reason = "how the test tells its child where the log is")]
    if let Ok(dir) = env::var(DIR) {
        return append_until_killed(dir).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let acknowledged = run_and_kill(dir.path());
        let log = SqliteLog::open(LogConfig::new(dir.path()), TestClock::new()).unwrap();
        room::counts_are_exact(dir.path());
        epochs.push(log.epoch());
        for channel in CHANNELS {
            let page = log.read(&name(channel), ALL).await.unwrap();
            let numbers: Vec<u64> = page.messages.iter().filter_map(|message| message.seq).collect();
            assert!(page.head >= acknowledged[channel], "{channel}: {} of {}", page.head, acknowledged[channel]);
            assert_eq!(numbers, (1..=page.head).collect::<Vec<_>>());
            assert_eq!(publish(&*log, channel, 1).await, Ok(page.head + 1));
        }
        log.close().await;
    }
    assert_eq!(epochs[0], epochs[2], "a killed process loses nothing, so the epoch stays");
}
