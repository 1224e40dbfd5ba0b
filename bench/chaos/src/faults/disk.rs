//! Disks that are full or slow.
//!
//! Guarantees: on a full disk publishing has to be refused with `unavailable` and with nothing else, the
//! server has to say that it is not ready, and has to go on by itself once there is room; on a slow one
//! only everything takes longer, and that it did is shown by the server's own figures.
//! Damage to the log's file is in `damage`.

use std::{sync::atomic::Ordering, thread, time::Duration};

use tidings_load::metrics::{self, Histogram};

use crate::{
    client::Manners,
    disk::{Crowd, Greed, SmallDisk},
    fault::{Run, Scene},
    fleet::{Following, until},
    ledger::Leave,
    outcome::Outcome,
    publisher::{Counts, Job},
    server::{Server, Yard, timed},
};

/// How long it may take until a full disk is noticed, and until room is.
const NOTICING: Duration = Duration::from_secs(30);
/// The size of the disk that is filled, in MiB.
const SMALL: usize = 128;
/// So many others write to the disk at first; they become more until it is slow.
const CROWDS: [usize; 3] = [2, 6, 16];
/// A commit has to take so much longer that the disk counts as slow.
const SLOWER: f64 = 1.5;

fn clients(run: &Run, scene: &mut Scene) -> Result<(), String> {
    let following = Following { channels: 2, manners: Manners::default() };
    scene.fleet.add(run.clients, &scene.server, &following, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())
}

/// A full disk.
///
/// # Errors
/// If it could not be done.
pub fn full(run: &Run) -> Result<Outcome, String> {
    if !run.mounts {
        return Ok(Outcome::skipped("full-disk", "a small disk needs root, or user namespaces".to_owned()));
    }
    let disk = match SmallDisk::mount(run.yard.scratch.join(format!("disk-{}", std::process::id())), SMALL) {
        Ok(disk) => disk,
        Err(why) => return Ok(Outcome::skipped("full-disk", why)),
    };
    let yard = Yard { data: Some(disk.place().join("data")), ..run.yard.clone() };
    let server = Server::start(&yard, "full-disk", "[log]\nreserve_bytes = \"24MiB\"\n")?;
    let mut scene = Scene::around(server, run, "full-disk")?;
    clients(run, &mut scene)?;
    scene.publish(&Job { content: 200..2000, ..run.job() });
    thread::sleep(run.lasting / 20);
    let greed = Greed::begin(disk.place());
    let counts = scene.publishers.as_ref().map(|publishers| publishers.counts().clone()).unwrap_or_default();
    let (refused, noticing) = timed(|| until(NOTICING, || counts.refusals_with("unavailable") > 0));
    let (red, reddening) = timed(|| until(NOTICING, || !scene.server.is_ready()));
    // Somebody holds the disk full for a while.
    thread::sleep(run.lasting / 10);
    let held = acknowledged(&counts);
    drop(greed);
    let (green, recovering) = timed(|| until(NOTICING, || scene.server.is_ready()));
    let before = acknowledged(&counts);
    let flows = until(NOTICING, || acknowledged(&counts) > before);
    thread::sleep(run.lasting / 20);
    let odd = counts.refusals_told();
    let mut outcome = scene.end(run, Leave { trimmed: true, lost: false });
    outcome.fact(format!(
        "refused {:.1} s after the disk was full, not ready after {:.1} s more, {held} acknowledged by then, ready again \
         {:.1} s after there was room",
        noticing.as_secs_f64(),
        reddening.as_secs_f64(),
        recovering.as_secs_f64()
    ));
    for (so, what) in [
        (refused, "nothing was refused while the disk was full"),
        (red, "it stayed ready while the disk was full"),
        (green, "it did not become ready when there was room"),
        (flows, "nothing was accepted when there was room"),
        (odd.split(", ").all(|told| told.starts_with("unavailable:")), "it was refused with another code"),
    ] {
        if !so {
            outcome.tally.is_broken(|| format!("{what} ({odd})"));
        }
    }
    Ok(outcome)
}

fn acknowledged(counts: &Counts) -> u64 {
    counts.acknowledged.load(Ordering::Relaxed)
}

/// A slow disk.
///
/// # Errors
/// If it could not be done.
pub fn slow(run: &Run) -> Result<Outcome, String> {
    let mut scene = Scene::new(run, "slow-disk", "")?;
    clients(run, &mut scene)?;
    scene.publish(&run.job());
    let watched = run.lasting / 10;
    let usual = commits_during(&scene.server, watched)?;
    let mut slowest = (0.0, 0);
    for count in CROWDS {
        let crowd = Crowd::begin(scene.server.home(), count);
        let slow = commits_during(&scene.server, watched)?;
        drop(crowd);
        if slow > slowest.0 {
            slowest = (slow, count);
        }
        if slowest.0 > usual * SLOWER {
            break;
        }
    }
    let mut outcome = scene.end(run, Leave::default()).without_told();
    let (slow, count) = slowest;
    outcome.fact(format!(
        "99 % of the commits took up to {usual:.1} ms, and {slow:.1} ms with {count} others at the disk"
    ));
    if slow <= usual * SLOWER && outcome.is_good() {
        outcome.skipped = Some("the disk could not be made slow".to_owned());
    }
    Ok(outcome)
}

/// The 99th percentile of the commits in this time, in milliseconds.
fn commits_during(server: &Server, time: Duration) -> Result<f64, String> {
    let read = || -> Result<Histogram, String> { metrics::commits(&mut server.ask()?) };
    let before = read()?;
    thread::sleep(time);
    Ok(read()?.after(&before).quantile_ms(0.99))
}
