//! A disk that is full when the server ends, and still full when it is started again.
//!
//! Guarantees: SIGTERM on a full disk has to end the server in bounded time; on a full disk it has to come
//! up, live, and not ready with a reason; it has to go on by itself once there is room, with everything that
//! was acknowledged.
//! A disk that becomes full under a running server is in `disk`.

use std::{sync::atomic::Ordering, thread, time::Duration};

use tidings_load::clock;

use super::program;
use crate::{
    client::Manners,
    disk::{Greed, SmallDisk},
    fault::{Run, SOME_HISTORY, Scene},
    fleet::{Following, until},
    ledger::Leave,
    outcome::Outcome,
    publisher::{Counts, Job},
    server::{Server, Yard, timed},
};

/// The size of the disk, in MiB.
const SMALL: usize = 128;
/// How long it may take until a full disk is noticed, and until room is.
const NOTICING: Duration = Duration::from_secs(30);
/// The server's drain time; what a stop may take beside it.
const DRAIN: Duration = Duration::from_secs(1);
const STOPPING: Duration = Duration::from_secs(20);
/// What may be trimmed: the server makes room for itself.
const LEAVE: Leave = Leave { trimmed: true, lost: false };

/// How the server ends on the full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
}

/// Does it.
///
/// # Errors
/// If it could not be done.
pub fn run(run: &Run) -> Result<Outcome, String> {
    if !run.mounts {
        return Ok(Outcome::skipped("full-start", "a small disk needs root, or user namespaces".to_owned()));
    }
    let disk = match SmallDisk::mount(run.yard.scratch.join(format!("start-{}", std::process::id())), SMALL) {
        Ok(disk) => disk,
        Err(why) => return Ok(Outcome::skipped("full-start", why)),
    };
    let yard = Yard { data: Some(disk.place().join("data")), ..run.yard.clone() };
    let config = format!("drain_ms = {}\n[log]\nreserve_bytes = \"24MiB\"\n", DRAIN.as_millis());
    let server = Server::start(&yard, "full-start", &config)?;
    let mut scene = Scene::around(server, run, "full-start")?;
    scene.fill(SOME_HISTORY, &run.job());
    let following = Following { channels: 2, manners: Manners::default() };
    scene.fleet.add(run.clients / 2, &scene.server, &following, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())?;
    let mut facts = Vec::new();
    for end in [End::Kill, End::Stop] {
        facts.push(round(run, &mut scene, &disk, end)?);
    }
    let mut outcome = scene.end(run, LEAVE);
    facts.into_iter().for_each(|fact| outcome.fact(fact));
    Ok(outcome)
}

/// The disk becomes full, the server ends and is started, and then there is room: what of it took how long.
fn round(run: &Run, scene: &mut Scene, disk: &SmallDisk, end: End) -> Result<String, String> {
    scene.publish(&Job { content: 200..2000, ..run.job() });
    thread::sleep(run.lasting / 20);
    // What runs has to be told to have ended, which a full disk does not take.
    let open = program::starts(&scene.server, "exec sleep 100000")?;
    let greed = Greed::begin(disk.place());
    let counts = scene.publishers.as_ref().map(|publishers| publishers.counts().clone()).unwrap_or_default();
    if !until(NOTICING, || counts.refusals_with("unavailable") > 0) {
        scene.tally.is_broken(|| "nothing was refused while the disk was full".to_owned());
    }
    if !until(NOTICING, || !scene.server.is_ready()) {
        scene.tally.is_broken(|| "it stayed ready while the disk was full".to_owned());
    }
    let (ended, ending) = timed(|| match end {
        End::Stop => scene.server.ends_within(DRAIN + STOPPING),
        End::Kill => {
            scene.server.kill();
            Ok("killed".to_owned())
        }
    });
    let how = match ended {
        Ok(how) => how,
        Err(why) => {
            scene.tally.is_broken(|| format!("SIGTERM on a full disk does not end it: {why}"));
            scene.server.kill();
            "killed, since it did not end".to_owned()
        }
    };
    let (listening, starting) = timed(|| scene.server.start_listening());
    let mut red = "not up".to_owned();
    match listening {
        Ok(()) => {
            red = is_red(scene, &counts);
            // Somebody holds the disk full for a while, and it stays up.
            thread::sleep(run.lasting / 20);
            if let Some(status) = scene.server.has_ended() {
                scene.tally.is_broken(|| format!("it ended on a full disk: {status}; {}", scene.server.last_words()));
            }
        }
        Err(why) => scene.tally.is_broken(|| format!("it does not start on a full disk: {why}")),
    }
    drop(greed);
    let room = clock::now();
    if scene.server.has_ended().is_some() {
        scene.server.start_again()?;
    }
    if !until(NOTICING, || scene.server.is_ready()) {
        let words = scene.server.last_words();
        scene.tally.is_broken(|| format!("it did not become ready when there was room; {words}"));
    }
    let green = clock::since(room);
    scene.finish_publishing();
    if !scene.fleet.catch_up(run.patience()) {
        return Err(format!("{} clients do not get to the head once there was room", scene.fleet.behind()));
    }
    scene.fleet.go_on();
    let ends = program::ends(&scene.server, &open)?;
    if ends != 1 {
        scene.tally.is_broken(|| format!("a session that ran when the server ended has {ends} ends"));
    }
    Ok(format!(
        "{end:?} ({how}) in {:.1} s, listening on the full disk after {:.1} s, {red}, ready {:.1} s after there was room",
        ending.as_secs_f64(),
        starting.as_secs_f64(),
        green.as_secs_f64()
    ))
}

/// It has to live, and to say why it is not ready; ready it may be only if it takes what is published, into what
/// it has of the disk already.
fn is_red(scene: &mut Scene, counts: &Counts) -> String {
    match scene.server.health("live") {
        Ok((200, _)) => {}
        other => scene.tally.is_broken(|| format!("it is not live on a full disk: {other:?}")),
    }
    let acknowledged = || counts.acknowledged.load(Ordering::Relaxed);
    let (before, mut why) = (acknowledged(), None);
    let told = until(NOTICING, || {
        why = scene.server.health("ready").ok().filter(|(status, _)| *status == 503).map(|(_, why)| why);
        why.is_some() || acknowledged() > before
    });
    let Some(why) = why else {
        if !told {
            scene.tally.is_broken(|| "on a full disk it says that it is ready, and takes nothing".to_owned());
        }
        return "ready, and it takes what is published".to_owned();
    };
    if !["disk", "space", "room", "full"].iter().any(|word| why.contains(word)) {
        scene.tally.is_broken(|| format!("it is not ready, and does not say that it is the disk: {why}"));
    }
    format!("not ready: {why}")
}
