//! Connections that are cut with a reset, each every 5 to 15 seconds, under a steady flow of events.
//!
//! Guarantees: everybody has to have everything once, and nobody may be told of a gap.
//! The server itself is left alone here.

use std::{thread, time::Duration};

use crate::{
    client::Manners,
    fault::{Run, Scene},
    fleet::Following,
    ledger::Leave,
    outcome::Outcome,
};

/// Does it.
///
/// # Errors
/// If it could not be done.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let seconds = |from: f64, to: f64| Some(Duration::from_secs_f64(from)..Duration::from_secs_f64(to));
    let manners = Manners {
        cut: if run.quick { seconds(0.5, 2.0) } else { seconds(5.0, 15.0) },
        act: if run.quick { seconds(0.2, 1.0) } else { seconds(2.0, 10.0) },
        ..Manners::default()
    };
    let mut scene = Scene::new(run, "jitter", "")?;
    scene.publish(&run.job());
    scene.fleet.add(run.clients, &scene.server, &Following { channels: 3, manners }, &scene.chances("fleet"));
    // The time is the fault: so long the connections are cut.
    thread::sleep(run.lasting);
    Ok(scene.end(run, Leave::default()).without_told())
}
