//! Channels of every namespace with long histories, under a server that is stopped and killed again and again.
//!
//! Guarantees: each channel has to begin with its first message after every start and at the end, whoever
//! comes then has to get all of it, and nobody may be told of a gap.
//! What a retention trims on purpose is not made here: every channel stays below the defaults.

use std::{ops::Range, thread};

use crate::{
    client::Manners,
    fault::{Run, Scene},
    fleet::Following,
    ledger::{Leave, NAMESPACES},
    outcome::Outcome,
    publisher::Job,
    server::{Server, timed},
};

/// Messages of each channel. `user:` channels keep 10,000 by default: they get less than the others, which
/// have no such limit, or a larger one.
const LONG: (usize, usize) = (9_500, 10_500);
/// In small: still more than what the server keeps of a channel in memory.
const LONG_IN_SMALL: usize = 1_200;
/// Their data is small, so that no limit of bytes is met.
const CONTENT: Range<usize> = 20..120;

/// A way to end a server.
type End = fn(&mut Server) -> Result<(), String>;

/// How the server ends, one after the other.
const ENDS: [(&str, End); 4] = [("stop", Server::stop), ("kill", killed), ("kill", killed), ("stop", Server::stop)];

fn killed(server: &mut Server) -> Result<(), String> {
    server.kill();
    Ok(())
}

/// Does it.
///
/// # Errors
/// If it could not be done.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let server = Server::start(&run.yard, "long-histories", "drain_ms = 1000\n")?;
    let channels = if run.quick { NAMESPACES.len() } else { 2 * NAMESPACES.len() };
    let mut scene = Scene::with(server, run, "long-histories", channels)?;
    let job = Job { content: CONTENT, ..run.job() };
    // The shorter one for all, then what the longer ones have more.
    let (short, long) = if run.quick { (LONG_IN_SMALL, LONG_IN_SMALL) } else { LONG };
    let (_, filling) = timed(|| {
        scene.fill(short, &job);
        scene.fill_some(long - short, &job, |book| book.namespace.prefix != "user:");
    });
    let messages = scene.ledger.acknowledged();
    let following = Following { channels: 2, manners: Manners::default() };
    // Half of them read everything first, so there are fewer than elsewhere.
    let clients = (run.clients / 20).clamp(10, 100);
    scene.fleet.add(clients, &scene.server, &following, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())?;
    let mut starts = Vec::new();
    for (how, end) in ENDS {
        scene.publish(&Job { rate: job.rate / 4.0, ..job.clone() });
        thread::sleep(run.lasting / 40);
        let (_, starting) = scene.restart(end, Leave::default())?;
        starts.push(format!("{how} {:.2} s", starting.as_secs_f64()));
        scene.fleet.wait_until_live(run.patience())?;
        scene.finish_publishing();
        if !scene.fleet.catch_up(run.patience()) {
            return Err(format!("{} clients do not get to the head after a {how}", scene.fleet.behind()));
        }
        scene.fleet.go_on();
    }
    // Whoever comes now has to get everything from the first message on.
    scene.fleet.add(clients, &scene.server, &following, &scene.chances("newcomers"));
    scene.fleet.wait_until_live(run.patience())?;
    let mut outcome = scene.end(run, Leave::default()).without_told();
    outcome.fact(format!(
        "{messages} messages in {channels} channels, published in {:.1} s; ready again after: {}",
        filling.as_secs_f64(),
        starts.join(", ")
    ));
    Ok(outcome)
}
