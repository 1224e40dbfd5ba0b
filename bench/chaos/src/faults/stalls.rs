//! Clients that stop reading and start again, and connections that fall silent without an end.
//!
//! Guarantees: whoever reads again has to get everything; whoever is gone without a word has to be let go
//! within the heartbeat's time; nobody may be told of a gap.
//! The heartbeat is shorter than a server's usual one, so that a run is shorter too.

use std::{thread, time::Duration};

use crate::{
    client::Manners,
    fault::{Run, Scene},
    fleet::{Following, until},
    ledger::Leave,
    outcome::Outcome,
    proxy::Proxy,
    publisher::Job,
    server::timed,
};

/// What the server gets beside its heartbeat's time to see that somebody is gone: it looks now and then.
const LOOKING: Duration = Duration::from_secs(10);

/// The heartbeat: the time between pings, and the same to answer one.
fn heartbeat(run: &Run) -> Duration {
    Duration::from_secs(if run.quick { 1 } else { 4 })
}

fn config(run: &Run) -> String {
    let ms = heartbeat(run).as_millis();
    format!("[socket]\nping_interval_ms = {ms}\nping_timeout_ms = {ms}\n")
}

/// Clients that stop reading.
///
/// # Errors
/// If it could not be done.
pub fn reading(run: &Run) -> Result<Outcome, String> {
    let beat = heartbeat(run);
    // Some are away for longer than the heartbeat allows, most are not.
    let manners = Manners {
        pause: Some(beat / 4..beat * 2),
        pausing: beat / 8..beat * 5 / 2,
        narrow: true,
        act: Some(beat / 2..beat * 3),
        ..Manners::default()
    };
    let mut scene = Scene::new(run, "stalled", &config(run))?;
    scene.fleet.add(run.clients, &scene.server, &Following { channels: 2, manners }, &scene.chances("fleet"));
    scene.publish(&Job { content: 200..6000, ..run.job() });
    let (mut behind, mut most) = (0.0f64, 0.0f64);
    // The time is the fault: so long they stop and go on.
    let over = tidings_load::clock::now() + run.lasting / 2;
    while tidings_load::clock::now() < over {
        behind = scene.server.metric("tidings_behind_subscriptions")?;
        most = most.max(behind);
        thread::sleep(Duration::from_millis(500));
    }
    let let_go = scene.server.metric("tidings_connections_ended_total{code=\"silent\"}")?;
    let fell = scene.server.metric("tidings_fell_behind_total")?;
    let mut outcome = scene.end(run, Leave::default()).without_told();
    outcome.fact(format!(
        "subscriptions fell behind {fell} times, {most} at once at most, {behind} at the end; {let_go} clients were let go"
    ));
    if fell == 0.0 {
        outcome.tally.is_broken(|| "nobody fell behind: the harness shows nothing".to_owned());
    }
    Ok(outcome)
}

/// Connections that are half open.
///
/// # Errors
/// If it could not be done.
pub fn half_open(run: &Run) -> Result<Outcome, String> {
    let mut scene = Scene::new(run, "half-open", &config(run))?;
    let proxy = Proxy::before(scene.server.host(), &run.runtime)?;
    let silent = run.clients / 2;
    let through = Manners { first_through: Some(proxy.host()), ..Manners::default() };
    let chances = scene.chances("fleet");
    scene.fleet.add(silent, &scene.server, &Following { channels: 2, manners: through }, &chances);
    let others = Following { channels: 2, manners: Manners::default() };
    scene.fleet.add(run.clients - silent, &scene.server, &others, &chances);
    scene.fleet.wait_until_live(run.patience())?;
    scene.publish(&run.job());
    thread::sleep(run.lasting / 20);
    let held = proxy.freeze();
    let limit = heartbeat(run) * 2 + LOOKING;
    let direct = (run.clients - held) as f64;
    let (gone, time) =
        timed(|| until(limit, || scene.server.metric("tidings_connections").is_ok_and(|all| all <= direct)));
    let left = scene.server.metric("tidings_connections")? - direct;
    let fell_silent = scene.server.metric("tidings_connections_ended_total{code=\"silent\"}")?;
    // Who was let go hears so now, and comes back another way.
    drop(proxy);
    scene.fleet.wait_until_live(run.patience())?;
    thread::sleep(run.lasting / 20);
    let mut outcome = scene.end(run, Leave::default()).without_told();
    outcome.fact(format!(
        "{held} half-open connections, {left} of them left after {:.1} s with a heartbeat of {} s in all; {fell_silent} \
         were counted as silent",
        time.as_secs_f64(),
        (heartbeat(run) * 2).as_secs()
    ));
    if !gone {
        outcome.tally.is_broken(|| format!("{left} of {held} half-open connections were still held after {limit:?}"));
    }
    Ok(outcome)
}
