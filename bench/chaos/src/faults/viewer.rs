//! A user who may only read, and asks for all that is large, again and again, each time with a new
//! `commandId`, over HTTP and Socket.IO, and partly without reading the answers; beside people who publish.
//!
//! Guarantees: no message of the others may go, the server's memory and directory have to stay within a
//! bound, and the reader may be refused with `overloaded` and `rate_limited` only.
//! Floods without rights or sense are in `rubbish`.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::Deserialize;
use tidings_load::{clock, http::Connection};
use tokio::{task::JoinSet, time::Instant};

use super::{
    program,
    vandal::{log_in, next},
};
use crate::{
    client::Manners,
    fault::{Run, SOME_HISTORY, Scene},
    fleet::{Following, until},
    ledger::Leave,
    outcome::Outcome,
    server::Server,
    tally::Tally,
    wire::{self, Packet},
};

/// What the log may take, at the usual size and in small: a few answers more than what the others say.
const TOTAL_BYTES: [u64; 2] = [48_000_000, 12_000_000];
/// What the server may take of memory beside what it took before, in bytes.
const MOST_MEMORY: f64 = 400e6;
/// What its directory may take beside the log's limit: the reserve, the write-ahead log, the users.
const MOST_BESIDE: u64 = 112 << 20;
/// How long the program that prints may take, and how long an answer may.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the directory.
const LOOK: Duration = Duration::from_millis(100);
/// How many questions a connection asks before it reads an answer.
const AT_ONCE: usize = 8;
/// What one asks that never reads.
const UNREAD: usize = 64;

/// What all readers found.
#[derive(Debug, Default)]
struct Found {
    stop: AtomicBool,
    asked: AtomicU64,
    answered: AtomicU64,
    /// Bytes of the answers.
    bytes: AtomicU64,
    refusals: Mutex<BTreeMap<String, u64>>,
    tally: Mutex<Tally>,
}

impl Found {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// A number that no other question has.
    fn next(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed)
    }

    fn answered(&self, bytes: usize) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Only two refusals say that it was too much.
    fn refused(&self, code: &str, whole: &str) {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(code.to_owned()).or_default() += 1;
        if !["overloaded", "rate_limited"].contains(&code) {
            self.is_wrong(|| format!("a read was refused with {code}: {whole}"));
        }
    }

    fn is_wrong(&self, what: impl FnOnce() -> String) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).is_broken(what);
    }
}

/// What is read: where, by whom.
#[derive(Debug, Clone)]
struct Target {
    host: SocketAddr,
    token: String,
    session: String,
}

/// Does it.
///
/// # Errors
/// If it could not be done.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let total = TOTAL_BYTES[usize::from(run.quick)];
    let config = format!("[log]\ntotal_bytes = {total}\nreserve_bytes = \"24MiB\"\n");
    let mut scene = Scene::new(run, "viewer", &config)?;
    scene.fill(SOME_HISTORY, &run.job());
    let following = Following { channels: 2, manners: Manners::default() };
    scene.fleet.add(run.clients / 10, &scene.server, &following, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())?;
    let printed = if run.quick { 1 << 20 } else { 4 << 20 };
    let target = Target {
        host: scene.server.host(),
        token: scene.server.token_for("viewer", "viewer")?,
        session: prints(&scene.server, printed)?,
    };
    scene.publish(&run.job());
    let process = scene.server.process()?;
    process.forget_peak()?;
    let usual = process.resident()?;
    let found = Arc::<Found>::default();
    let readers = if run.quick { 4 } else { 16 };
    let threads: Vec<JoinHandle<()>> = (0..readers / 4).map(|_| over_http(&target, &found)).collect();
    let mut tasks = JoinSet::new();
    for index in 0..readers {
        tasks.spawn_on(over_socket(target.clone(), found.clone(), index % 4 == 1), &run.runtime);
    }
    let largest = watch(run, &scene.server);
    found.stop.store(true, Ordering::Release);
    for thread in threads {
        if thread.join().is_err() {
            found.is_wrong(|| "a reader panicked: the harness is at fault".to_owned());
        }
    }
    let over = until(PATIENCE * 2, || {
        while tasks.try_join_next().is_some() {}
        tasks.is_empty()
    });
    let more = process.peak()? - usual;
    // A start looks at once whether the log is larger than it may be.
    scene.restart(
        |server| {
            server.kill();
            Ok(())
        },
        Leave::default(),
    )?;
    scene.fleet.wait_until_live(run.patience())?;
    let mut outcome = scene.end(run, Leave::default()).without_told();
    judge(&mut outcome, &found, over, more, (largest, total));
    Ok(outcome)
}

fn judge(outcome: &mut Outcome, found: &Found, over: bool, more: f64, (largest, total): (u64, u64)) {
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (asked, answered, bytes) = (count(&found.asked), count(&found.answered), count(&found.bytes));
    outcome.tally += &found.tally.lock().unwrap_or_else(PoisonError::into_inner);
    let refusals = found.refusals.lock().unwrap_or_else(PoisonError::into_inner);
    outcome.fact(format!(
        "{asked} reads, {answered} answered with {:.0} MB, refused {refusals:?}; the most memory beside the usual was {:.0} MB, \
         the directory had at most {:.0} MB",
        bytes as f64 / 1e6,
        more / 1e6,
        largest as f64 / 1e6
    ));
    if !over {
        outcome.tally.is_broken(|| "a read got neither an answer nor an end".to_owned());
    }
    if answered == 0 {
        outcome.tally.is_broken(|| "not one read was answered".to_owned());
    }
    if more > MOST_MEMORY {
        outcome.tally.is_broken(|| format!("reading made it take {:.0} MB more", more / 1e6));
    }
    if largest > total + MOST_BESIDE {
        outcome.tally.is_broken(|| format!("reading made its directory {:.0} MB large", largest as f64 / 1e6));
    }
}

/// Lets them read, and looks how large the directory becomes.
fn watch(run: &Run, server: &Server) -> u64 {
    let (start, mut largest) = (clock::now(), 0);
    let lasting = if run.quick { Duration::from_secs(5) } else { run.lasting / 3 };
    // The time is the fault: so long it is read.
    while clock::since(start) < lasting {
        largest = largest.max(size(server.data()));
        thread::sleep(LOOK);
    }
    largest
}

fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}

/// A session whose program has printed so many bytes: its id.
fn prints(server: &Server, bytes: usize) -> Result<String, String> {
    let line = "0123456789 abcdefghijklmnopqrstuvwxyz ".repeat(2);
    let session = program::starts(server, &format!("yes '{line}' | head -c {bytes}"))?;
    let ended = until(PATIENCE, || program::ends(server, &session) == Ok(1));
    if ended { Ok(session) } else { Err("the program that prints does not end".to_owned()) }
}

/// Reads over HTTP until it is time.
fn over_http(target: &Target, found: &Arc<Found>) -> JoinHandle<()> {
    let (target, found) = (target.clone(), found.clone());
    thread::spawn(move || {
        #[derive(Deserialize)]
        struct Problem {
            code: String,
        }
        let path = format!("/api/sessions/{}/output", target.session);
        let mut connection = None;
        while !found.is_over() {
            let head = format!("Idempotency-Key: http-{}\r\n", found.next());
            let open = match &mut connection {
                Some(open) => open,
                none => match Connection::open(target.host, &target.token) {
                    Ok(open) => none.insert(open),
                    Err(_) => continue,
                },
            };
            match open.exchange_with(&head, "GET", &path, "") {
                Ok((200, body)) => found.answered(body.len()),
                Ok((status, body)) => match serde_json::from_str::<Problem>(&body) {
                    Ok(problem) => {
                        found.refused(&problem.code, &body);
                        // It comes back soon: nobody asked it to behave.
                        thread::sleep(Duration::from_millis(20));
                    }
                    Err(_) => found.is_wrong(|| format!("a read was answered with {status} {body}")),
                },
                Err(why) => {
                    found.is_wrong(|| format!("a read over HTTP got no answer: {why}"));
                    connection = None;
                }
            }
        }
    })
}

/// Reads over Socket.IO until it is time; one that is deaf asks and does not read.
async fn over_socket(target: Target, found: Arc<Found>, deaf: bool) {
    while !found.is_over() {
        let told = if deaf { asks_only(&target, &found).await } else { asks_and_reads(&target, &found).await };
        if let Err(why) = told {
            found.is_wrong(|| format!("a read over Socket.IO: {why}"));
        }
    }
}

fn question(target: &Target, found: &Found, id: usize) -> String {
    let (session, command) = (&target.session, found.next());
    format!("42{id}[\"session.output\",{{\"sessionId\":\"{session}\",\"commandId\":\"socket-{command}\"}}]")
}

async fn asks_and_reads(target: &Target, found: &Found) -> Result<(), String> {
    let Some(mut link) = log_in(target.host, &target.token).await? else { return Ok(()) };
    link.take_up_to(64 << 20);
    while !found.is_over() {
        for id in 0..AT_ONCE {
            link.say(question(target, found, id).as_bytes()).await;
        }
        let (mut left, end) = (AT_ONCE, Instant::now() + PATIENCE);
        while left > 0 {
            let Some(text) = next(&mut link, end).await? else {
                return Err(format!("ended with {left} of {AT_ONCE} reads unanswered, and without a reason"));
            };
            match wire::parse(&text)? {
                Packet::Answer(_, answer) if answer.ok => {
                    found.answered(text.len());
                    left -= 1;
                }
                Packet::Answer(_, answer) => {
                    let code = answer.error.map(|error| error.code).unwrap_or_default();
                    found.refused(&code, &text);
                    left -= 1;
                }
                Packet::Message(message) if message.kind == "connection.closed" => {
                    let known = ["rate_limited", "overloaded"].iter().find(|code| message.data.get().contains(**code));
                    found.refused(known.unwrap_or(&"ended"), &text);
                    return Ok(());
                }
                _ => {}
            }
        }
    }
    link.cut();
    Ok(())
}

/// Asks for more than fits anywhere, reads nothing, and comes back when it was let go of.
async fn asks_only(target: &Target, found: &Found) -> Result<(), String> {
    let Some(mut link) = log_in(target.host, &target.token).await? else { return Ok(()) };
    for id in 0..UNREAD {
        if !link.say(question(target, found, id).as_bytes()).await {
            break;
        }
    }
    // Until the others have read so much more, or it is over.
    let before = found.answered.load(Ordering::Relaxed);
    while !found.is_over() && found.answered.load(Ordering::Relaxed) < before + UNREAD as u64 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    link.cut();
    Ok(())
}
