//! The publisher: posts numbered events over one connection, at a rate or as fast as they are taken.
//!
//! Guarantees: each event carries its number in its channel, without a hole; the next POST is made
//! only after the answer to the one before.
//! It does not try again: an event that is refused ends the work.

use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use crate::{clock, http::Connection};

const PATH: &str = "/api/events";

/// Channels that are used in turn.
#[derive(Debug, Clone)]
pub struct Channels {
    /// What their names begin with, before the number.
    pub prefix: String,
    /// How many there are.
    pub count: usize,
}

impl Channels {
    /// `count` channels, kept apart from others' by `name`.
    #[must_use]
    pub fn new(name: &str, count: usize) -> Self {
        Self { prefix: format!("session:{name}"), count: count.max(1) }
    }

    /// The name of one; they repeat after `count`.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        format!("{}{}", self.prefix, index % self.count)
    }

    /// How many of `events`, posted in turn, were for this one.
    #[must_use]
    pub fn share(&self, index: usize, events: u64) -> u64 {
        let count = self.count as u64;
        events / count + u64::from(((index % self.count) as u64) < events % count)
    }
}

/// What to publish.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where to.
    pub channels: Channels,
    /// The number of the first event of each channel.
    pub first: u64,
    /// How many events, over all channels.
    pub events: u64,
    /// How many a second; infinite for as fast as they are taken.
    pub rate: f64,
    /// How many in a POST.
    pub batch: u64,
    /// The length of the filler in each.
    pub content: usize,
}

/// How far it is, for others to see and to stop.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events that the server has accepted.
    pub accepted: AtomicU64,
    /// To be set when no further POST is to be made.
    pub stop: AtomicBool,
}

impl Progress {
    /// Events that the server has accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }

    /// Lets the POST that is under way be the last.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Does the job, or as much of it as there is until it is stopped.
///
/// # Errors
/// If the server refuses an event.
pub fn publish(connection: &mut Connection, job: &Job, progress: &Progress) -> Result<(), String> {
    let filler = "x".repeat(job.content);
    let (start, mut sent) = (clock::now(), 0);
    let mut body = String::new();
    while sent < job.events && !progress.stop.load(Ordering::Acquire) {
        let due = start + Duration::from_secs_f64(sent as f64 / job.rate);
        thread::sleep(due.saturating_sub(clock::now()));
        let until = job.events.min(sent + job.batch);
        write_body(job, sent..until, &filler, &mut body);
        connection.post(PATH, &body)?;
        sent = until;
        progress.accepted.store(sent, Ordering::Release);
    }
    Ok(())
}

/// One event as an object, several as an array: what a POST may hold.
fn write_body(job: &Job, events: std::ops::Range<u64>, filler: &str, body: &mut String) {
    body.clear();
    let array = job.batch > 1;
    let (stamp, prefix) = (clock::now_ns(), &job.channels.prefix);
    let id = prefix.rsplit(':').next().unwrap_or_default();
    body.push_str(if array { "[" } else { "" });
    for event in events.clone() {
        let (channel, number) = (event % job.channels.count as u64, job.first + event / job.channels.count as u64);
        let comma = if event == events.start { "" } else { "," };
        // Writing into a String cannot fail.
        let _infallible = write!(
            body,
            "{comma}{{\"type\":\"session.stream_output\",\"channel\":\"{prefix}{channel}\",\"data\":{{\"sessionId\":\
             \"{id}{channel}\",\"n\":{number},\"ts\":{stamp},\"type\":\"stdout\",\"content\":\"{filler}\"}}}}"
        );
    }
    body.push_str(if array { "]" } else { "" });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(batch: u64, channels: usize) -> Job {
        Job { channels: Channels::new("load", channels), first: 10, events: 5, rate: f64::INFINITY, batch, content: 3 }
    }

    #[test]
    fn a_single_event_is_an_object_and_several_are_an_array() {
        let mut body = String::new();
        write_body(&job(1, 1), 4..5, "xxx", &mut body);
        let event: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(event["channel"], "session:load0");
        assert_eq!((&event["data"]["sessionId"], &event["data"]["n"]), (&"load0".into(), &14.into()));
        write_body(&job(2, 2), 2..5, "xxx", &mut body);
        let events: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let numbers: Vec<_> = events.as_array().expect("an array").iter().map(|event| &event["data"]["n"]).collect();
        assert_eq!(numbers, [11, 11, 12]);
        assert_eq!(events[2]["channel"], "session:load0");
    }

    #[test]
    fn every_event_is_in_somebodys_share() {
        let channels = Channels::new("load", 3);
        assert_eq!((0..3).map(|index| channels.share(index, 11)).collect::<Vec<_>>(), [4, 4, 3]);
        assert_eq!(channels.share(4, 11), channels.share(1, 11));
    }
}
