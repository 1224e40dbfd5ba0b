//! The suite that every event log must pass.
//!
//! Guarantees: each promise in the header of the port has a case here that fails without it.
//! It is not about files, speed or crashes: an implementation that has them tests them itself.

mod append;
mod channels;
mod commands;
mod queue;
mod reads;
mod repeats;
mod trimming;

use std::{fmt, sync::Arc, time::Duration};

use tidings_core::{
    BoxFuture, Channel, Event, Message, Payload, Result, Seq,
    bus::Placed,
    handler::Retention,
    log::{EventLog, LogRule, LogRules, Page, Publication, Read},
};

use crate::{RecordingSink, TestClock};

/// How a log under test is to behave.
#[derive(Clone)]
pub struct Setup {
    /// Its clock.
    pub clock: Arc<TestClock>,
    /// How the channels of the namespaces are kept, which the log knows before the first send.
    pub rules: LogRules,
    /// How many sends may wait.
    pub queue: usize,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setup(queue {}, {:?})", self.queue, self.rules)
    }
}

/// A log under test.
pub trait Subject: Send {
    /// The log as it is open now.
    fn log(&self) -> Arc<dyn EventLog>;

    /// Opens the log again over the same contents. It was closed before.
    fn reopen(&mut self) -> BoxFuture<'_, ()>;
}

/// Runs every case, each over a fresh log.
///
/// # Panics
/// When the log breaks a promise.
pub async fn run<F>(make: F)
where
    F: Fn(Setup) -> Box<dyn Subject>,
{
    append::cases(&make).await;
    repeats::cases(&make).await;
    reads::cases(&make).await;
    channels::cases(&make).await;
    trimming::cases(&make).await;
    commands::cases(&make).await;
    queue::cases(&make).await;
}

/// Makes logs under test.
type Make<'a> = &'a dyn Fn(Setup) -> Box<dyn Subject>;

/// One log with all that a case needs around it.
struct Case {
    subject: Box<dyn Subject>,
    clock: Arc<TestClock>,
    sink: Arc<RecordingSink>,
}

const KEEP_ALL: Retention = Retention { messages: 0, bytes: 0, age_ms: 0 };

impl Case {
    /// A log that keeps everything.
    fn new(make: Make<'_>) -> Self {
        Self::keeping(make, KEEP_ALL, &[])
    }

    fn keeping(make: Make<'_>, keep: Retention, projected: &[&str]) -> Self {
        let rule = |namespace: &str| LogRule { retention: keep, projected: projected.contains(&namespace) };
        let rules = ["test", "free"].iter().map(|&namespace| (namespace.to_owned(), rule(namespace))).collect();
        Self::with(make, |setup| Setup { rules, ..setup })
    }

    fn with(make: Make<'_>, change: impl FnOnce(Setup) -> Setup) -> Self {
        let clock = TestClock::new();
        let setup = Setup { clock: clock.clone(), rules: LogRules::default(), queue: 8192 };
        let subject = make(change(setup));
        let sink = RecordingSink::new();
        subject.log().attach(sink.clone());
        Self { subject, clock, sink }
    }

    fn log(&self) -> Arc<dyn EventLog> {
        self.subject.log()
    }

    /// Closes and opens the log, with a fresh sink.
    async fn restart(&mut self) {
        self.log().close().await;
        self.subject.reopen().await;
        self.sink = RecordingSink::new();
        self.log().attach(self.sink.clone());
    }

    async fn end(self) {
        self.log().close().await;
    }

    async fn send(&self, publications: Vec<Publication>) -> Result<Vec<Placed>> {
        self.log().reserve(1024).await?.send(publications).await
    }

    /// Publishes one message for each text, in one send, and gives the last number.
    async fn publish(&self, channel: &str, texts: &[&str]) -> Seq {
        let publications = texts.iter().map(|text| said(channel, text)).collect();
        let placed = self.send(publications).await.expect("a send works");
        seqs(&placed).last().copied().flatten().expect("a number")
    }

    async fn read(&self, channel: &str, read: Read) -> Page {
        self.log().read(&name(channel), read).await.expect("a read works")
    }

    /// All that is kept of a channel.
    async fn kept(&self, channel: &str) -> Page {
        self.read(channel, ALL).await
    }
}

/// Everything.
const ALL: Read = Read { after: 0, before: None, limit: usize::MAX, max_bytes: usize::MAX, newest: false };

fn name(channel: &str) -> Channel {
    channel.parse().expect("a channel")
}

/// A durable publication of a text.
fn said(channel: &str, text: &str) -> Publication {
    let json = serde_json::to_string(&serde_json::json!({ "text": text })).expect("JSON");
    let payload = Payload::raw(&serde_json::value::RawValue::from_string(json).expect("JSON"));
    let event = Event { event_type: "test.said".parse().expect("a type"), payload, channel: None, by: None, id: None };
    Publication { channel: name(channel), event, durable: true, opens: None }
}

fn with_id(mut publication: Publication, id: &str) -> Publication {
    publication.event.id = Some(id.into());
    publication
}

fn ephemeral(mut publication: Publication) -> Publication {
    publication.durable = false;
    publication
}

fn seqs(placed: &[Placed]) -> Vec<Option<Seq>> {
    placed.iter().map(|placed| placed.position.as_ref().map(|position| position.seq)).collect()
}

fn numbers(messages: &[Arc<Message>]) -> Vec<Seq> {
    messages.iter().filter_map(|message| message.seq).collect()
}

fn text(message: &Message) -> String {
    let value: serde_json::Value = serde_json::from_str(message.payload.json()).expect("JSON");
    value["text"].as_str().expect("a text").to_owned()
}

fn texts(messages: &[Arc<Message>]) -> Vec<String> {
    messages.iter().map(|message| text(message)).collect()
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryConfig, MemoryLog};

    /// The log in memory as a subject.
    struct InMemory(Arc<MemoryLog>);

    impl Subject for InMemory {
        fn log(&self) -> Arc<dyn EventLog> {
            self.0.clone()
        }

        fn reopen(&mut self) -> BoxFuture<'_, ()> {
            self.0 = self.0.reopen();
            Box::pin(async {})
        }
    }

    fn in_memory(setup: Setup) -> Box<dyn Subject> {
        let projected = setup.rules.clone().into_iter().filter(|(_, rule)| rule.projected);
        let config = MemoryConfig {
            projected: projected.map(|(namespace, _)| namespace).collect(),
            retention: Arc::new(move |namespace| setup.rules.of(namespace).map_or(KEEP_ALL, |rule| rule.retention)),
            queue: setup.queue,
        };
        Box::new(InMemory(MemoryLog::with(config, setup.clock)))
    }

    #[tokio::test]
    async fn the_log_in_memory_keeps_every_promise_of_the_port() {
        run(in_memory).await;
    }
}
