//! Replay: a subscriber reads a long channel from its beginning, beside live ones of another; then the next.
//!
//! Guarantees: the live ones' latencies are taken twice in the same run, before the replays and during them;
//! one client reads at a time.
//! Only Tidings has this work: the peers keep nothing.

use std::time::Duration;

use super::{Report, Setup, connect, flow, report_commits, report_deliveries, report_latencies, rest};
use crate::{
    clock,
    fleet::{Fleet, Recruit},
    http::Connection,
    publisher::{self, Channels, Job, Progress},
    subscriber::Since,
};

/// How long the live ones are measured without a replay.
const WITHOUT: Duration = Duration::from_secs(5);

/// How many read, one after the other: one has read everything before the live ones were sent enough for a p99.
const READERS: u64 = 3;

const LIVE: usize = 0;
const READER: usize = 1;

/// Fills a channel, measures the live ones without and with readers of it.
pub(super) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let size = &setup.size;
    let (long, live) = (Channels::new("long", 1), Channels::new("load", 1));
    fill(setup, &long, report)?;
    let mut fleet = Fleet::new(setup.host, &setup.token, setup.tidings, 2)?;
    connect(setup, &mut fleet, &live, 0..size.subscribers, report)?;

    let subscribers = size.subscribers as u64;
    let without = (size.rate * WITHOUT.as_secs_f64()) as u64;
    let job = Job { channels: live, first: 0, events: without, rate: size.rate, batch: 1, content: size.content };
    let first = flow(setup, &mut fleet, &job, |events| events * subscribers, |_, _| Ok(()))?;
    report_deliveries(&fleet, LIVE, first.accepted * subscribers, "without_", report);
    report_latencies(&fleet, LIVE, "without_", report);
    fleet.forget(LIVE);

    // The live events go on until the last replay has ended; their number is only a bound.
    let endless = (size.rate * size.limit.as_secs_f64()) as u64 + 1;
    let job = Job { first: first.accepted, events: endless, ..job };
    let (start, before) = (clock::now(), setup.server.resident()?);
    setup.server.forget_peak()?;
    let reader = || Recruit { group: READER, channel: long.name(0), since: Since::Beginning };
    fleet.recruit(reader())?;
    let (mut readers, mut seconds, mut during) = (1, None, None);
    let replayed = READERS * size.events;
    let expected = |events| events * subscribers + replayed;
    let second = flow(setup, &mut fleet, &job, expected, |fleet, progress| {
        let seen = fleet.seen(READER);
        let over = seen.tally.delivered >= replayed || seen.problem.is_some();
        if !over && seen.tally.delivered >= readers * size.events {
            readers += 1;
            fleet.recruit(reader())?;
        }
        if over && seconds.is_none() {
            seconds = Some(clock::since(start).as_secs_f64());
            during = Some(fleet.seen(LIVE).latencies.percentiles());
            progress.stop();
        }
        Ok(())
    })?;
    let seconds = seconds.unwrap_or_else(|| clock::since(start).as_secs_f64());
    report_deliveries(&fleet, LIVE, second.accepted * subscribers, "", report);
    let during = during.unwrap_or_else(|| fleet.seen(LIVE).latencies.percentiles());
    report.add("p50_ms", during.p50);
    report.add("p99_ms", during.p99);
    report_commits(setup, &second, report);
    report_deliveries(&fleet, READER, replayed, "replay_", report);
    report.add("replay_s", seconds);
    report.add("replay_per_s", fleet.seen(READER).tally.delivered as f64 / seconds);
    report.add("replay_cpu_us", second.cpu_seconds * 1e6 / fleet.seen(READER).tally.delivered.max(1) as f64);
    report.add("above_idle_mb", (setup.server.peak()? - before).max(0.0) / 1e6);
    Ok(())
}

/// Publishes what is to be read later, and lets the server come to rest.
fn fill(setup: &Setup, channels: &Channels, report: &mut Report) -> Result<(), String> {
    let size = &setup.size;
    let job = Job {
        channels: channels.clone(),
        first: 0,
        events: size.events,
        rate: f64::INFINITY,
        batch: size.batch,
        content: size.content,
    };
    let start = clock::now();
    publisher::publish(&mut Connection::open(setup.host, &setup.token)?, &job, &Progress::default())?;
    report.add("published_per_s", size.events as f64 / clock::since(start).as_secs_f64());
    let mut nobody = Fleet::new(setup.host, &setup.token, false, 1)?;
    rest(&mut nobody, size.settle)
}
