//! Every part of the server that works by itself panics once, while everybody is served.
//!
//! Guarantees: each panic has to be counted under its name, and nothing that was acknowledged may be missing,
//! doubled or late for anybody, and nobody be told of a gap; commands have an answer or their connection ends.
//! It needs a program with faults to switch on, which no release has: with another one it is skipped.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, timeout};

use super::vandal::{log_in, next};
use crate::{
    client::Manners,
    fault::{Run, SOME_HISTORY, Scene},
    fleet::{Following, until},
    ledger::Leave,
    outcome::Outcome,
    server::{Server, Yard},
    wire::{self, Packet},
};

/// The points at which a panic can be made, each with the task that it is counted for.
const POINTS: &[(&str, &str)] = &[
    ("hub.fanout", "hub.fanout"),
    ("hub.drain", "hub.drain"),
    ("hub.sweep", "hub.sweep"),
    ("sink.hub", "sink.hub"),
    ("sink.bus", "sink.bus"),
    ("states.draft", "states.draft"),
    ("bus.listener", "bus.listener"),
    ("log.writer", "log.writer"),
    ("log.announce", "log.writer"),
    ("log.reader", "log.reader"),
    ("http.accept", "http.accept"),
    ("auth.follow", "auth.follow"),
    ("telemetry.upkeep", "telemetry.upkeep"),
    ("socketio.sweep", "socketio.sweep"),
    ("socketio.session", "socketio.session"),
    ("connection.commands", "connection.commands"),
    ("connection.command", "connection.command"),
    ("connection.answer", "connection.answer"),
    ("gate.command", "gate.command"),
    ("gate.once", "gate.once"),
    ("services.blocking", "services.blocking"),
];
/// How long it may take until somebody comes by a point.
const COMING_BY: Duration = Duration::from_secs(20);
/// How long a visitor's command may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Does it.
///
/// # Errors
/// If it could not be done.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let binary = run.with_faults.clone().unwrap_or_else(|| run.yard.binary.clone());
    let yard = Yard { faults: true, binary, ..run.yard.clone() };
    let server = Server::start(&yard, "panics", "drain_ms = 1000\n")?;
    if !server.has_faults() {
        let why = "this program has no faults to switch on: one of a build with debug assertions has them";
        return Ok(Outcome::skipped("panics", why.to_owned()));
    }
    let mut scene = Scene::around(server, run, "panics")?;
    scene.fill(SOME_HISTORY, &run.job());
    let seconds = |from: f64, to: f64| Some(Duration::from_secs_f64(from)..Duration::from_secs_f64(to));
    let manners = Manners { cut: seconds(1.0, 5.0), act: seconds(0.3, 2.0), faults: true, ..Manners::default() };
    // A program with faults is not optimised: fewer than elsewhere.
    let clients = (run.clients / 20).clamp(10, 100);
    scene.fleet.add(clients, &scene.server, &Following { channels: 3, manners }, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())?;
    scene.publish(&run.job());
    let mut chances = scene.chances("order");
    let mut left: Vec<_> = POINTS.to_vec();
    let (mut missed, mut happened, mut visits) = (Vec::new(), BTreeMap::<&str, u64>::new(), 0);
    while !left.is_empty() {
        let (point, task) = left.swap_remove(chances.within(0..left.len()));
        let before = *happened.get(task).unwrap_or(&0);
        scene.server.switch_on(&format!("{point} panic"))?;
        let came = until(COMING_BY, || {
            visits += 1;
            run.runtime.block_on(visit(&scene.server, visits));
            panics(&scene.server, task).is_some_and(|count| count > before)
        });
        match came {
            true => drop(happened.insert(task, before + 1)),
            false => missed.push(point),
        }
        scene.server.switch_on(&format!("{point} panic 0"))?;
    }
    if let Some(status) = scene.server.has_ended() {
        return Err(format!("it ended: {status}; {}", scene.server.last_words()));
    }
    let mut outcome = scene.end(run, Leave::default()).without_told();
    outcome.fact(format!("{} points panicked; {visits} visits", POINTS.len() - missed.len()));
    if !missed.is_empty() {
        outcome.tally.is_broken(|| format!("these did not panic, or were not counted: {}", missed.join(", ")));
    }
    Ok(outcome)
}

/// How often a task panicked; none if the server cannot be asked now.
fn panics(server: &Server, task: &str) -> Option<u64> {
    server.metric(&format!("tidings_panics_total{{task=\"{task}\"}}")).ok().map(|count| count as u64)
}

/// Somebody who reads, asks and goes, so that somebody comes by every point. What becomes of it is no matter:
/// it is what panics.
async fn visit(server: &Server, number: u64) {
    let heartbeat = "{\"type\":\"session.heartbeat\",\"data\":{\"sessionId\":\"visited\",\"phase\":\"working\",\
                     \"elapsedMs\":1,\"silentMs\":1}}";
    let asked = server.ask().and_then(|mut ask| {
        ask.exchange("GET", "/api/channels/session:panics0/events?limit=10", "")?;
        ask.exchange("POST", "/api/projects", "{\"name\":\"none\",\"root\":\"/no/such/directory\"}")?;
        ask.exchange("POST", "/api/events", heartbeat)
    });
    drop(asked);
    drop(timeout(ANSWER, commands(server, number)).await);
}

async fn commands(server: &Server, number: u64) -> Result<(), String> {
    let Some(mut link) = log_in(server.host(), server.token()).await? else { return Ok(()) };
    for (id, command) in [
        "\"session.list\",{}".to_owned(),
        format!("\"project.remove\",{{\"commandId\":\"visit-{number}\",\"projectId\":\"none\"}}"),
        "\"subscribe\",{\"channel\":\"session:panics0\",\"since\":{\"seq\":0}}".to_owned(),
        "\"publish\",{\"channel\":\"session:visited\",\"type\":\"session.note\",\"data\":{\"sessionId\":\"visited\"}}"
            .to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        link.say(format!("42{id}[{command}]").as_bytes()).await;
        let end = Instant::now() + ANSWER;
        while let Some(text) = next(&mut link, end).await? {
            if matches!(wire::parse(&text)?, Packet::Answer(..)) {
                break;
            }
        }
    }
    link.cut();
    Ok(())
}
