//! Storm: most subscribers lose their connections at once and come back at once, while events go on.
//!
//! Guarantees: nobody who lost its connection waits before it comes back, which is the worst that can happen;
//! those who stay are measured twice on the same server, before the storm and during it; in the end everybody
//! must have got everything, once.
//! Only Tidings has this work: the peers keep nothing for who is away.

use std::{ops::Range, time::Duration};

use super::{Flow, Report, Setup, connect, flow, report_commits, report_deliveries, report_latencies, rest};
use crate::{
    clock,
    fleet::{Fleet, Recruit},
    publisher::{Channels, Job},
    subscriber::Since,
};

/// Over so many channels everybody is spread: in one channel, each event would be a delivery to all.
const CHANNELS: usize = 50;
/// How long the events go on before the storm.
const CALM: Duration = Duration::from_secs(1);

const OTHERS: usize = 0;
const STORM: usize = 1;

/// What happened when.
#[derive(Debug, Default)]
struct Times {
    /// The connections were cut.
    cut: Option<Duration>,
    /// Everybody was subscribed again.
    back: Option<Duration>,
    /// What the server had spent by then.
    cpu_seconds: [f64; 2],
    /// How often one had to come again.
    turned_away: usize,
}

/// Measures those who stay without a storm, then the storm.
pub(super) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let (size, channels) = (&setup.size, Channels::new("load", CHANNELS));
    let others = size.subscribers.saturating_sub(size.stalled);
    let gone = others..size.subscribers;
    let mut fleet = Fleet::new(setup.host, &setup.token, setup.tidings, 2)?;
    connect(setup, &mut fleet, &channels, 0..others, report)?;
    let recruit = |index| Recruit { group: STORM, channel: channels.name(index), since: Since::Now };
    fleet.connect(gone.clone().map(recruit), super::CONNECTING)?;
    rest(&mut fleet, size.settle)?;
    report.add("connected_in_all", fleet.live() as f64);

    // As many for each channel, so that all are numbered alike, and one at least: a place to come back to.
    let first = size.events.next_multiple_of(CHANNELS as u64).max(CHANNELS as u64);
    let share = |which: Range<usize>, events| which.map(|index| channels.share(index, events)).sum::<u64>();
    let all = |events| share(0..size.subscribers, events);
    let (rate, batch, content) = (size.rate, size.batch, size.content);
    let job = Job { channels: channels.clone(), first: 0, events: first, rate, batch, content };
    let without = flow(setup, &mut fleet, &job, all, |_, _| Ok(()))?;
    report_deliveries(&fleet, OTHERS, share(0..others, without.accepted), "without_", report);
    report_latencies(&fleet, OTHERS, "without_", report);
    fleet.forget(OTHERS);
    fleet.forget(STORM);

    // The events go on until everybody is back; their number is only a bound.
    let endless = (size.rate * size.limit.as_secs_f64()) as u64 + 1;
    let job = Job { first: first / CHANNELS as u64, events: endless, ..job };
    let (start, mut times) = (clock::now(), Times::default());
    let with = flow(setup, &mut fleet, &job, all, |fleet, progress| {
        if times.cut.is_none() && clock::since(start) >= CALM {
            times.cpu_seconds[0] = setup.server.cpu_seconds()?;
            times.cut = Some(clock::now());
            fleet.cut(gone.clone());
            fleet.reconnect(gone.clone())?;
        } else if times.cut.is_some() && times.back.is_none() && fleet.is_settled() {
            let again = fleet.reconnect(gone.clone())?;
            times.turned_away += again;
            if again == 0 {
                times.back = Some(clock::now());
                times.cpu_seconds[1] = setup.server.cpu_seconds()?;
                progress.stop();
            }
        }
        Ok(())
    })?;
    report_deliveries(&fleet, OTHERS, share(0..others, with.accepted), "", report);
    report_latencies(&fleet, OTHERS, "", report);
    report_deliveries(&fleet, STORM, share(gone, with.accepted), "storm_", report);
    report_commits(setup, &with, report);
    report_times(setup, &times, &with, report)
}

fn report_times(setup: &Setup, times: &Times, with: &Flow, report: &mut Report) -> Result<(), String> {
    let (Some(cut), Some(back)) = (times.cut, times.back) else {
        return Err(format!("they are not back after {} s", setup.size.limit.as_secs()));
    };
    report.add("events", with.accepted as f64);
    report.add("subscribed_s", back.saturating_sub(cut).as_secs_f64());
    report.add("back_s", with.last.max(back).saturating_sub(cut).as_secs_f64());
    let spent = times.cpu_seconds[1] - times.cpu_seconds[0];
    report.add("return_cpu_us", spent * 1e6 / setup.size.stalled.max(1) as f64);
    report.add("turned_away", times.turned_away as f64);
    Ok(())
}
