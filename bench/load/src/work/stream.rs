//! Paced, burst and spread: events to live subscribers.
//!
//! Guarantees: what the server spent on connecting is not in what it spent on delivering.
//! It does not tell paced from burst: that is the rate.

use super::{Report, Setup, connect, flow, kernel_bytes, report_commits, report_deliveries, report_latencies};
use crate::{
    fleet::Fleet,
    publisher::{Channels, Job},
};

/// Publishes to `channels` channels, over which the subscribers are spread.
pub(super) fn run(setup: &Setup, channels: usize, report: &mut Report) -> Result<(), String> {
    let (size, server) = (&setup.size, setup.server);
    let channels = Channels::new("load", channels);
    let mut fleet = Fleet::new(setup.host, &setup.token, setup.tidings, 1)?;
    connect(setup, &mut fleet, &channels, 0..size.subscribers, report)?;
    server.forget_peak()?;
    let idle = server.resident()?;
    let job = Job {
        channels: channels.clone(),
        first: 0,
        events: size.events,
        rate: size.rate,
        batch: size.batch,
        content: size.content,
    };
    let expected = |events| (0..size.subscribers).map(|index| channels.share(index, events)).sum();
    let mut kernel = None;
    let flow = flow(setup, &mut fleet, &job, expected, |_, progress| {
        // Once, in the middle: a look costs about what a few thousand deliveries do.
        if kernel.is_none() && progress.accepted() * 2 >= size.events {
            kernel = Some(kernel_bytes(setup)?);
        }
        Ok(())
    })?;
    report_deliveries(&fleet, 0, expected(flow.accepted), "", report);
    let delivered = fleet.seen(0).tally.delivered as f64;
    report.add("events", flow.accepted as f64);
    report.add("seconds", flow.seconds);
    report.add("deliveries_per_s", delivered / flow.seconds);
    report.add("delivery_cpu_us", flow.cpu_seconds * 1e6 / delivered.max(1.0));
    report.add("event_cpu_us", flow.cpu_seconds * 1e6 / flow.accepted.max(1) as f64);
    report_latencies(&fleet, 0, "", report);
    report_commits(setup, &flow, report);
    report.add("above_idle_mb", (server.peak()? - idle).max(0.0) / 1e6);
    report.add("kernel_mb", kernel.unwrap_or(f64::NAN) / 1e6);
    Ok(())
}
