//! Idle and connect: what a connection costs when nothing is sent over it.
//!
//! Guarantees: every connection presents its token and follows a channel of its own.
//! It publishes nothing.

use super::{Report, Setup, connect, rest};
use crate::{clock, fleet::Fleet, publisher::Channels};

/// Connects everybody; with `watch`, also looks at what the server does with them afterwards.
pub(super) fn run(setup: &Setup, watch: bool, report: &mut Report) -> Result<(), String> {
    let channels = Channels::new("load", setup.size.subscribers);
    let mut fleet = Fleet::new(setup.host, &setup.token, false, 1)?;
    connect(setup, &mut fleet, &channels, 0..setup.size.subscribers, report)?;
    if watch {
        let (start, cpu) = (clock::now(), setup.server.cpu_seconds()?);
        rest(&mut fleet, setup.size.settle * 2)?;
        let spent = setup.server.cpu_seconds()? - cpu;
        report.add("idle_cpu_percent", spent * 100.0 / clock::since(start).as_secs_f64());
        report.add("still_connected", fleet.live() as f64);
    }
    Ok(())
}
