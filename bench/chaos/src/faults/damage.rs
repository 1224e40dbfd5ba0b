//! The log's file, cut or overwritten while the server is down.
//!
//! Guarantees: a server that starts on what is left may show nothing else than was acknowledged; whoever
//! knew more than is left has to be told; where it does not start, it has to say that it is the log's fault;
//! and a back-up put in place has to bring everybody on, told of the new epoch.
//! What the disk itself loses is not made here.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    client::Manners,
    fault::{Run, SOME_HISTORY, Scene},
    fleet::{Following, until},
    ledger::Leave,
    outcome::Outcome,
    publisher::Job,
    random::Random,
};

/// A page of the file.
const PAGE: u64 = 4096;
/// How long newcomers try to read what is left.
const READING: Duration = Duration::from_secs(8);

/// Starts a scene, lets events flow, and stops producing: everything is acknowledged, everybody has it.
fn flow(run: &Run, name: &'static str, config: &str) -> Result<Scene, String> {
    let mut scene = Scene::new(run, name, config)?;
    scene.fill(SOME_HISTORY, &run.job());
    let following = Following { channels: 2, manners: Manners::default() };
    scene.fleet.add(run.clients, &scene.server, &following, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())?;
    scene.publish(&Job { content: 100..3000, ..run.job() });
    thread::sleep(run.lasting / 10);
    scene.finish_publishing();
    if !scene.fleet.catch_up(run.patience()) {
        return Err("not everybody had everything before anything was damaged".to_owned());
    }
    Ok(scene)
}

/// The write-ahead log is cut somewhere after `kill -9`.
///
/// # Errors
/// If it could not be done.
pub fn cut(run: &Run) -> Result<Outcome, String> {
    let mut scene = flow(run, "cut-log", "")?;
    let known = scene.ledger.acknowledged();
    scene.server.kill();
    let wal = scene.server.data().join("log.db-wal");
    let all = length(&wal)?;
    // Rather less than more: what lies at the end was often written over before.
    let mut chances = scene.chances("cut");
    let most = 1 + chances.below(all.max(1));
    let kept = chances.below(most);
    let file = OpenOptions::new().write(true).open(&wal).map_err(|error| format!("{}: {error}", wal.display()))?;
    file.set_len(kept).and_then(|()| file.sync_all()).map_err(|error| error.to_string())?;
    scene.server.start_again()?;
    // What is gone is gone: the ledger goes on from what is left, and who knew more has to be told so.
    for book in scene.ledger.books() {
        book.forget_after(&scene.server.history(&book.name)?, &mut scene.tally);
    }
    let left: u64 = scene.ledger.books().iter().filter_map(|book| book.head()).map(|(_, head)| head).sum();
    scene.fleet.wait_until_live(run.patience())?;
    let told = until(run.patience(), || scene.fleet.behind() == 0);
    scene.fleet.go_on();
    scene.publish(&run.job());
    thread::sleep(run.lasting / 20);
    let mut outcome = scene.end(run, Leave::default());
    outcome.fact(format!("{kept} of {all} bytes were left, with {left} of {known} messages"));
    if !told {
        outcome.tally.is_broken(|| "not everybody was where the log is before anything new came".to_owned());
    }
    Ok(outcome)
}

/// The database is overwritten or cut after a stop; then the back-up is put in place.
///
/// # Errors
/// If it could not be done.
pub fn damage(run: &Run) -> Result<Outcome, String> {
    let mut scene = flow(run, "damaged-log", "drain_ms = 1000\n")?;
    scene.server.stop()?;
    let (data, backup) = (scene.server.data().to_owned(), scene.server.home().join("backup"));
    copy(&data, &backup)?;
    let mut chances = scene.chances("damage");
    let what = harm(&data.join("log.db"), &mut chances)?;
    let outcome = match scene.server.start_again() {
        Ok(()) => {
            newcomers(run, &mut scene);
            scene.server.kill();
            "it started, and newcomers read what they could"
        }
        Err(said) if said.contains("log.db") => "it did not start, and named the file",
        Err(said) if said.contains("the log cannot be read") => {
            "it did not start, and said that it cannot read the log"
        }
        Err(said) => {
            scene.tally.is_broken(|| format!("it did not start and does not say why: {said}"));
            "it did not start"
        }
    };
    // As docs/OPERATIONS.md says: the back-up goes into a new directory.
    scene.server.kill();
    let restored = scene.server.home().join("restored");
    copy(&backup, &restored)?;
    scene.server.move_to(&restored);
    scene.server.start_again()?;
    for book in scene.ledger.books() {
        let history = scene.server.history(&book.name)?;
        book.renew(&history, &mut scene.tally);
    }
    scene.fleet.wait_until_live(run.patience())?;
    scene.fleet.go_on();
    scene.publish(&run.job());
    thread::sleep(run.lasting / 20);
    let before = scene.fleet.len() as u64;
    let mut end = scene.end(run, Leave::default());
    end.fact(format!("{what}: {outcome}; the back-up was put in place"));
    if end.tally.told < before {
        let told = end.tally.told;
        end.tally.is_broken(|| format!("only {told} of {before} clients were told of the new epoch"));
    }
    Ok(end)
}

/// Clients that read from the oldest message on, as far as it goes. What they see is judged by the ledger;
/// that they do not get to the head is no fault yet: the back-up is still to come.
fn newcomers(run: &Run, scene: &mut Scene) {
    let following = Following { channels: 5, manners: Manners::default() };
    let chances = scene.chances("newcomers");
    scene.fleet.add((run.clients / 20).max(2), &scene.server, &following, &chances);
    let limit = if run.quick { READING / 4 } else { READING };
    // Whether they do is a matter of luck: of what was hit.
    let _lucky = until(limit, || scene.fleet.live() == scene.fleet.len() && scene.fleet.behind() == 0);
}

/// Harms a file, and says how.
fn harm(file: &Path, chances: &mut Random) -> Result<String, String> {
    let all = length(file)?;
    let mut open = OpenOptions::new().write(true).open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let what = match chances.below(5) {
        0 => {
            overwrite(&mut open, 0, &chances.bytes(100))?;
            "the head was overwritten".to_owned()
        }
        1 => {
            let kept = chances.below(all / PAGE) * PAGE + chances.below(PAGE);
            open.set_len(kept).map_err(|error| error.to_string())?;
            format!("{kept} of {all} bytes were left")
        }
        2 => {
            let count = 1 + chances.below(8);
            for _ in 0..count {
                let bytes = chances.within(8..200);
                let at = 100 + chances.below(all - 100 - bytes as u64);
                overwrite(&mut open, at, &chances.bytes(bytes))?;
            }
            format!("up to 200 bytes were overwritten at {count} places of {all} bytes")
        }
        _ => {
            let count = 1 + chances.below(4);
            for _ in 0..count {
                let page = 1 + chances.below((all / PAGE).max(2) - 1);
                overwrite(&mut open, page * PAGE, &chances.bytes(PAGE as usize))?;
            }
            format!("{count} of {} pages were overwritten", all / PAGE)
        }
    };
    open.sync_all().map_err(|error| error.to_string())?;
    Ok(what)
}

fn overwrite(file: &mut File, at: u64, bytes: &[u8]) -> Result<(), String> {
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes)).map_err(|error| error.to_string())
}

fn length(file: &Path) -> Result<u64, String> {
    fs::metadata(file).map(|file| file.len()).map_err(|error| format!("{}: {error}", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().map_err(|error| error.to_string())?;
    if copied.success() { Ok(()) } else { Err(format!("cp ended with {copied}")) }
}
