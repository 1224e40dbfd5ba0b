//! The producers: post numbered events, and settle whatever became of each.
//!
//! Guarantees: an event is sent with the same id until it is acknowledged, so that a lost answer settles
//! itself; what was acknowledged stands in the ledger with its place and its content; every refusal is
//! counted by its code, and one that is final is a fault.
//! They are not as fast as they can be: the rate is given.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::Deserialize;
use tidings_load::{clock, http::Connection};

use crate::{
    ledger::{Book, Ledger},
    random::{Random, hash},
    server::Server,
    tally::Tally,
};

/// How many producers there are.
const PRODUCERS: usize = 4;
/// Between two tries of the same events.
const RETRY: Range<Duration> = Duration::from_millis(50)..Duration::from_millis(250);
/// Events of a request where only their number counts.
const FILLED_AT_ONCE: usize = 200;
/// How long an event may be refused.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to publish.
#[derive(Debug, Clone)]
pub struct Job {
    /// Events a second, of all producers together.
    pub rate: f64,
    /// How many of them in a request.
    pub batch: Range<usize>,
    /// Bytes of filler in each.
    pub content: Range<usize>,
}

/// What to publish where only the number counts.
#[derive(Debug, Clone, Copy)]
pub struct Filling {
    /// Events for a channel.
    pub each: usize,
    /// For which channels.
    pub wanted: fn(&Book) -> bool,
}

/// What the producers count together.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events that were sent, each once.
    pub published: AtomicU64,
    /// Events that were acknowledged.
    pub acknowledged: AtomicU64,
    /// Requests that got no answer, or a refusal that may pass, by code.
    pub refusals: Mutex<BTreeMap<String, u64>>,
}

impl Counts {
    fn refused(&self, code: &str) {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(code.to_owned()).or_default() += 1;
    }

    /// How many requests were refused with this code.
    #[must_use]
    pub fn refusals_with(&self, code: &str) -> u64 {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).get(code).copied().unwrap_or(0)
    }

    /// All refusals, as `code: count`.
    #[must_use]
    pub fn refusals_told(&self) -> String {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.iter().map(|(code, count)| format!("{code}: {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// The running producers.
#[derive(Debug)]
pub struct Publishers {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Publishers {
    /// Starts them; `name` keeps their ids apart from those of others on the same server.
    #[must_use]
    pub fn start(server: &Server, ledger: &Arc<Ledger>, job: &Job, random: &Random, name: &str) -> Self {
        Self::each(server, ledger, job, random, name, Producer::run)
    }

    /// Starts them to publish so many events to each channel, as fast as they are acknowledged; `finish` waits
    /// for all of them.
    #[must_use]
    pub fn fill(
        server: &Server,
        ledger: &Arc<Ledger>,
        job: &Job,
        random: &Random,
        name: &str,
        filling: Filling,
    ) -> Self {
        Self::each(server, ledger, job, random, name, move |producer| producer.fill(filling))
    }

    fn each(
        server: &Server,
        ledger: &Arc<Ledger>,
        job: &Job,
        random: &Random,
        name: &str,
        work: impl FnOnce(Producer) -> Tally + Copy + Send + 'static,
    ) -> Self {
        let (stop, counts) = (Arc::<AtomicBool>::default(), Arc::<Counts>::default());
        let threads = (0..PRODUCERS.min(ledger.books().len())).map(|index| {
            let producer = Producer {
                index,
                name: name.to_owned(),
                host: server.host(),
                token: server.token().to_owned(),
                ledger: ledger.clone(),
                job: job.clone(),
                random: random.stream(name, index as u64),
                stop: stop.clone(),
                counts: counts.clone(),
                connection: None,
                tally: Tally::default(),
            };
            thread::spawn(move || work(producer))
        });
        let threads = threads.collect();
        Self { stop, counts, threads }
    }

    /// What they count.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Lets each settle what it sent last, and adds what they found wrong.
    pub fn finish(mut self, tally: &mut Tally) -> Arc<Counts> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(own) => *tally += &own,
                Err(_) => tally.is_broken(|| "a producer panicked: the harness is at fault".to_owned()),
            }
        }
        self.counts.clone()
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Producer {
    index: usize,
    name: String,
    host: SocketAddr,
    token: String,
    ledger: Arc<Ledger>,
    job: Job,
    random: Random,
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    connection: Option<Connection>,
    tally: Tally,
}

/// An event that waits for its acknowledgement.
struct Sent {
    channel: usize,
    hash: u64,
}

#[derive(Deserialize)]
struct Placed {
    results: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    channel: String,
    epoch: String,
    seq: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    code: String,
    retryable: bool,
}

impl Producer {
    /// Publishes so many events to each channel as fast as they are acknowledged.
    fn fill(mut self, filling: Filling) -> Tally {
        let mut count = 0u64;
        for channel in (self.index..self.ledger.books().len()).step_by(PRODUCERS) {
            let mut left = if (filling.wanted)(&self.ledger.books()[channel]) { filling.each } else { 0 };
            while left > 0 {
                let channels = vec![channel; left.min(FILLED_AT_ONCE)];
                left -= channels.len();
                let (body, sent) = self.compose(count, &channels);
                count += channels.len() as u64;
                self.counts.published.fetch_add(channels.len() as u64, Ordering::Relaxed);
                if !self.settle(&body, &sent) {
                    return self.tally;
                }
            }
        }
        self.tally
    }

    /// Publishes at its rate until it is told to stop.
    fn run(mut self) -> Tally {
        let (start, mut count) = (clock::now(), 0u64);
        let rate = self.job.rate / PRODUCERS.min(self.ledger.books().len()) as f64;
        while !self.stop.load(Ordering::Acquire) {
            let due = start + Duration::from_secs_f64(count as f64 / rate);
            thread::sleep(due.saturating_sub(clock::now()));
            let batch = self.random.within(self.job.batch.clone());
            let channels: Vec<usize> = (0..batch).map(|_| self.any_channel()).collect();
            let (body, sent) = self.compose(count, &channels);
            count += batch as u64;
            self.counts.published.fetch_add(batch as u64, Ordering::Relaxed);
            if !self.settle(&body, &sent) {
                break;
            }
        }
        self.tally
    }

    /// One of this producer's channels.
    fn any_channel(&mut self) -> usize {
        let own = self.ledger.books().len().saturating_sub(self.index).div_ceil(PRODUCERS).max(1);
        (self.index + PRODUCERS * self.random.within(0..own)) % self.ledger.books().len()
    }

    /// An event for each of these channels, and what is to be remembered of it.
    fn compose(&mut self, first: u64, channels: &[usize]) -> (String, Vec<Sent>) {
        let (mut body, mut sent) = (String::from("["), Vec::new());
        for (number, &channel) in (first..).zip(channels) {
            let book = &self.ledger.books()[channel];
            let filler = self.random.within(self.job.content.clone());
            let mark = self.random.number();
            let data = format!(
                "{{\"{}\":\"{}\",\"from\":\"{}-{}\",\"n\":{number},\"mark\":\"{mark:016x}\",\"text\":\"{}\"}}",
                book.namespace.field,
                book.id(),
                self.name,
                self.index,
                "~".repeat(filler)
            );
            let comma = if number > first { "," } else { "" };
            // Writing into a String cannot fail.
            let _infallible = write!(
                body,
                "{comma}{{\"type\":\"{}\",\"id\":\"{}-{}-{number}\",\"data\":{data}}}",
                book.namespace.event_type, self.name, self.index
            );
            sent.push(Sent { channel, hash: hash(data.as_bytes()) });
        }
        body.push(']');
        (body, sent)
    }

    /// Sends these events until they are acknowledged. False if that is not to be expected any more.
    fn settle(&mut self, body: &str, sent: &[Sent]) -> bool {
        let start = clock::now();
        loop {
            let answer = self.post(body);
            match answer {
                Ok((200, placed)) => {
                    self.enter(&placed, sent);
                    return true;
                }
                Ok((status, problem)) => {
                    let told: Problem = serde_json::from_str(&problem).unwrap_or_default();
                    if !told.retryable {
                        self.tally.is_broken(|| format!("an event was refused for good: {status} {problem}"));
                        return false;
                    }
                    self.counts.refused(&told.code);
                }
                Err(_) => {
                    self.connection = None;
                    self.counts.refused("no answer");
                }
            }
            if clock::since(start) > PATIENCE {
                self.tally.unanswered += 1;
                self.tally.note(|| format!("an event was refused for {} s", PATIENCE.as_secs()));
                return false;
            }
            thread::sleep(self.random.time(&RETRY));
        }
    }

    fn post(&mut self, body: &str) -> Result<(u16, String), String> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.host, &self.token)?),
        };
        connection.exchange("POST", "/api/events", body)
    }

    fn enter(&mut self, placed: &str, sent: &[Sent]) {
        let placed = match serde_json::from_str::<Placed>(placed) {
            Ok(placed) if placed.results.len() == sent.len() => placed,
            other => {
                let other = other.map(|placed| placed.results.len());
                return self.tally.is_broken(|| format!("{} events, and as answer {other:?}", sent.len()));
            }
        };
        self.counts.acknowledged.fetch_add(sent.len() as u64, Ordering::Relaxed);
        for (place, sent) in placed.results.iter().zip(sent) {
            let book = &self.ledger.books()[sent.channel];
            if place.channel != book.name || !book.acknowledged(&place.epoch, place.seq, sent.hash) {
                self.tally.strangers += 1;
                self.tally.note(|| {
                    format!("{}: {} {} was given to something else too", place.channel, place.epoch, place.seq)
                });
            }
        }
    }
}
