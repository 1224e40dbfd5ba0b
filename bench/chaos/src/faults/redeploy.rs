//! A server that is stopped in order, or killed, and started again, in front of everybody.
//!
//! Guarantees: everybody has to be back in time, with everything, and nobody may be told of a gap; how long
//! that took is told.
//! The machine stays up: what the power takes is another matter.

use std::{thread, time::Duration};

use tidings_load::clock;

use crate::{
    client::Manners,
    fault::{Run, SOME_HISTORY, Scene},
    fleet::Following,
    ledger::Leave,
    outcome::Outcome,
    publisher::Job,
    server::{Server, timed},
};

/// Stops it in order.
///
/// # Errors
/// If it could not be done.
pub fn stop(run: &Run) -> Result<Outcome, String> {
    redeploy(run, "stop", Server::stop)
}

/// Kills it.
///
/// # Errors
/// If it could not be done.
pub fn kill(run: &Run) -> Result<Outcome, String> {
    redeploy(run, "kill", |server| {
        server.kill();
        Ok(())
    })
}

fn redeploy(run: &Run, name: &'static str, end: fn(&mut Server) -> Result<(), String>) -> Result<Outcome, String> {
    let config = if run.quick { "drain_ms = 1000\n" } else { "" };
    let mut scene = Scene::new(run, name, config)?;
    scene.fill(SOME_HISTORY, &run.job());
    // More than elsewhere: coming back together is what is hard.
    let clients = run.clients * 5 / 2;
    let following = Following { channels: 1, manners: Manners::default() };
    scene.fleet.add(clients, &scene.server, &following, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())?;
    scene.publish(&Job { rate: run.job().rate / 2.0, ..run.job() });
    thread::sleep(flowing(run));
    let start = clock::now();
    let (ending, starting) = scene.restart(end, Leave::default())?;
    scene.fleet.wait_until_live(run.patience())?;
    let back = clock::since(start);
    thread::sleep(flowing(run));
    scene.finish_publishing();
    let (_, complete) = timed(|| scene.fleet.catch_up(run.patience()));
    let mut outcome = scene.end(run, Leave::default()).without_told();
    outcome.fact(format!(
        "ended in {:.1} s, ready again in {:.1} s, all {clients} back {:.1} s after the beginning, and complete {:.1} s \
         after the last event",
        ending.as_secs_f64(),
        starting.as_secs_f64(),
        back.as_secs_f64(),
        complete.as_secs_f64()
    ));
    Ok(outcome)
}

/// So long events flow before and after.
fn flowing(run: &Run) -> Duration {
    run.lasting / 12
}
