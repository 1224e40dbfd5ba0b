//! Tests of the log in SQLite: the suite of the port, and what only a log of files has.
//!
//! Guarantees: every log is in a directory of its own that goes with the test.
//! They are not measurements.

mod crash;
mod epochs;
mod faults;
mod places;
mod retention;

use std::sync::Arc;

use tempfile::TempDir;
use tidings_core::{
    BoxFuture, Channel, Event,
    handler::Retention,
    log::{EventLog, LogRule, LogRules, Publication, Read},
};
use tidings_testkit::{
    TestClock,
    log_conformance::{self, Setup, Subject},
};

use super::{LogConfig, SqliteLog};

struct InFile {
    _dir: TempDir,
    config: LogConfig,
    rules: LogRules,
    clock: Arc<TestClock>,
    log: Arc<SqliteLog>,
}

impl Subject for InFile {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    fn reopen(&mut self) -> BoxFuture<'_, ()> {
        self.log = SqliteLog::open(self.config.clone(), self.clock.clone()).unwrap();
        self.log.keep(self.rules.clone());
        Box::pin(async {})
    }
}

fn in_file(setup: Setup) -> Box<dyn Subject> {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { queue: setup.queue, reserve_bytes: 0, ..LogConfig::new(dir.path()) };
    let log = SqliteLog::open(config.clone(), setup.clock.clone()).unwrap();
    log.keep(setup.rules.clone());
    Box::new(InFile { _dir: dir, config, rules: setup.rules, clock: setup.clock, log })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_in_sqlite_keeps_every_promise_of_the_port() {
    log_conformance::run(in_file).await;
}

const KEEP_ALL: Retention = Retention { messages: 0, bytes: 0, age_ms: 0 };

/// Rules for namespaces that have no projection.
fn rules<const N: usize>(kept: [(&str, Retention); N]) -> LogRules {
    let rule = |retention| LogRule { retention, projected: false };
    kept.into_iter().map(|(namespace, retention)| (namespace.to_owned(), rule(retention))).collect()
}

/// Everything of a channel.
const ALL: Read = Read { after: 0, before: None, limit: usize::MAX, max_bytes: usize::MAX, newest: false };

fn name(channel: &str) -> Channel {
    channel.parse().unwrap()
}

/// A durable publication with a text of so many bytes.
fn said(channel: &str, bytes: usize) -> Publication {
    let event = Event::new("test.said", "x".repeat(bytes));
    Publication { channel: name(channel), event, durable: true, opens: None }
}

/// Publishes one message, and gives its number or the code of the refusal.
async fn publish(log: &dyn EventLog, channel: &str, bytes: usize) -> Result<u64, tidings_core::Code> {
    let slot = log.reserve(bytes).await.map_err(|error| error.code())?;
    let placed = slot.send(vec![said(channel, bytes)]).await.map_err(|error| error.code())?;
    Ok(placed[0].position.as_ref().unwrap().seq)
}
