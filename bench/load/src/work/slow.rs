//! Slow: some subscribers stop reading while events go out, and later go on.
//!
//! Guarantees: the others' latencies are taken twice in the same run, first without the slow ones;
//! in the end every slow one must have got everything, once.
//! A slow one is not gone: it still says that it is there, as a client does whose page is busy.

use std::{ops::Range, time::Duration};

use super::{
    CONNECTING, Flow, QUIET, Report, Setup, connect, flow, report_commits, report_deliveries, report_latencies, rest,
};
use crate::{
    clock,
    fleet::{Fleet, Recruit},
    publisher::{Channels, Job},
    sockets,
    subscriber::Since,
};

/// The time between two words of those who do not read; shorter than any server's patience.
const WORD: Duration = Duration::from_secs(5);

const OTHERS: usize = 0;
const STALLED: usize = 1;

/// Measures the others without the slow ones, then with them, then lets the slow ones go on.
pub(super) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let (size, channels) = (&setup.size, Channels::new("load", 1));
    let others = size.subscribers.saturating_sub(size.stalled);
    let stalled = others..size.subscribers;
    let mut fleet = Fleet::new(setup.host, &setup.token, setup.tidings, 2)?;
    connect(setup, &mut fleet, &channels, 0..others, report)?;
    // As long as with them: a shorter time would see fewer of the machine's own rare pauses.
    let without = phase(setup, &mut fleet, 0, size.events, 0..0)?;
    report_deliveries(&fleet, OTHERS, without.accepted * others as u64, "without_", report);
    report_latencies(&fleet, OTHERS, "without_", report);
    let before = fleet.seen(OTHERS).latencies.percentiles().p99;
    fleet.forget(OTHERS);

    let recruit = |_| Recruit { group: STALLED, channel: channels.name(0), since: Since::Now };
    fleet.connect(stalled.clone().map(recruit), CONNECTING)?;
    fleet.start_at(stalled.clone(), without.accepted);
    rest(&mut fleet, size.settle)?;
    report.add("connected_in_all", fleet.live() as f64);
    fleet.stall(stalled.clone())?;
    let live_bytes = setup.server.resident()?;
    let with = phase(setup, &mut fleet, without.accepted, size.events, stalled.clone())?;
    report.add("events", with.accepted as f64);
    report_deliveries(&fleet, OTHERS, with.accepted * others as u64, "", report);
    report_latencies(&fleet, OTHERS, "", report);
    // Of the same round: the machine is another a minute later.
    report.add("p99_times", fleet.seen(OTHERS).latencies.percentiles().p99 / before);
    report_commits(setup, &with, report);
    rest(&mut fleet, size.settle)?;
    let each = |bytes: f64| bytes / 1024.0 / size.stalled.max(1) as f64;
    report.add("stalled_kb", each(setup.server.resident()? - live_bytes));
    report_kernel(setup, &fleet, stalled.clone(), report)?;

    let start = clock::now();
    fleet.resume(stalled.clone())?;
    let reconnected = catch_up(setup, &mut fleet, stalled, with.accepted)?;
    report.add("resumed_s", clock::since(start).as_secs_f64());
    report.add("reconnected", reconnected as f64);
    report_deliveries(&fleet, STALLED, with.accepted * size.stalled as u64, "stalled_", report);
    Ok(())
}

/// Publishes to everybody, and waits for those who read.
fn phase(setup: &Setup, fleet: &mut Fleet, first: u64, events: u64, stalled: Range<usize>) -> Result<Flow, String> {
    let size = &setup.size;
    let readers = (size.subscribers - size.stalled) as u64;
    let channels = Channels::new("load", 1);
    let job = Job { channels, first, events, rate: size.rate, batch: size.batch, content: size.content };
    let mut word = clock::now();
    flow(
        setup,
        fleet,
        &job,
        |events| events * readers,
        |fleet, _| {
            if clock::since(word) > WORD {
                word = clock::now();
                fleet.keep_alive(stalled.clone());
            }
            Ok(())
        },
    )
}

/// Reads until those who had stopped have everything; returns how many had to connect again.
fn catch_up(setup: &Setup, fleet: &mut Fleet, stalled: Range<usize>, events: u64) -> Result<usize, String> {
    let (start, expected) = (clock::now(), events * stalled.len() as u64);
    let (mut last, mut count, mut reconnected) = (start, fleet.delivered(), 0);
    while fleet.seen(STALLED).tally.delivered < expected
        && clock::since(last) < QUIET
        && clock::since(start) < setup.size.limit
    {
        fleet.turn(Duration::from_millis(20))?;
        reconnected += fleet.reconnect(stalled.clone())?;
        if fleet.delivered() != count {
            (last, count) = (clock::now(), fleet.delivered());
        }
    }
    Ok(reconnected)
}

/// Reports what the kernel holds for a slow one and for another one.
fn report_kernel(setup: &Setup, fleet: &Fleet, stalled: Range<usize>, report: &mut Report) -> Result<(), String> {
    let (ports, all) = (fleet.ports(stalled), sockets::of_server(setup.host.port())?);
    let (slow, live): (Vec<_>, Vec<_>) = all.iter().partition(|socket| ports.contains(&socket.client));
    let mean = |sockets: &[&sockets::Socket]| {
        sockets.iter().map(|socket| socket.bytes as f64).sum::<f64>() / 1024.0 / sockets.len().max(1) as f64
    };
    report.add("stalled_kernel_kb", mean(&slow));
    report.add("live_kernel_kb", mean(&live));
    Ok(())
}
