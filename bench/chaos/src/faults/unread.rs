//! Clients that do not finish what they send, and clients that do not read what they asked for.
//!
//! Guarantees: each of them has to be gone within its deadline, with an answer where it sends; what the server holds
//! for them has to stay within a bound and be given back; and the others have to have everything.
//! They have a user of their own: what one user's requests may cost others is no part of this.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tidings_load::process::Process;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    client::Manners,
    fault::{Run, Scene},
    fleet::{Following, until},
    ledger::Leave,
    outcome::Outcome,
    tally::Tally,
};

/// What a body is said to have, and what comes of it, in bytes.
const BODY: (usize, usize) = (900_000, 800_000);
/// What the server may take beside what it took with all the others, in bytes.
const MOST_MEMORY: f64 = 256e6;
/// What may come beside the deadline on a busy machine.
const LATE: Duration = Duration::from_secs(15);
/// Between the bytes of one that trickles.
const TRICKLE: Duration = Duration::from_millis(200);
/// The receive buffer of one that does not read.
const NARROW: u32 = 4096;
/// Events of the channel that is asked for, and bytes of each: some megabytes.
const ASKED: (usize, usize) = (600, 6000);
/// The channel.
const CHANNEL: &str = "session:unread";

/// What is not done to its end.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Events,
    Login,
    Polling,
    Answer,
}

/// What all of them found.
#[derive(Debug, Default)]
struct Found {
    /// Given up by the server.
    given_up: AtomicU64,
    /// Refused at once.
    refused: AtomicU64,
    /// There for longer, or without an answer where there has to be one.
    wrong: Mutex<Tally>,
}

/// Bodies that are not finished.
///
/// # Errors
/// If it could not be done.
pub fn bodies(run: &Run) -> Result<Outcome, String> {
    let deeds = [Deed::Events, Deed::Login, Deed::Polling];
    broken(run, ("unfinished-bodies", "tidings_bodies_timed_out_total"), (&deeds, 10))
}

/// Answers that are not read.
///
/// # Errors
/// If it could not be done.
pub fn answers(run: &Run) -> Result<Outcome, String> {
    // An answer of megabytes is made before it is known whether it may be held.
    broken(run, ("unread-answers", "tidings_answers_timed_out_total"), (&[Deed::Answer], 60))
}

/// One of so many does it, beside all the others.
fn broken(
    run: &Run,
    (name, counter): (&'static str, &str),
    (deeds, each): (&[Deed], usize),
) -> Result<Outcome, String> {
    let seconds = if run.quick { 1 } else { 3 };
    let config = format!("[http]\nbody_timeout = \"{seconds}s\"\nanswer_timeout = \"{seconds}s\"\n");
    let mut scene = Scene::new(run, name, &config)?;
    fill(&scene)?;
    let following = Following { channels: 3, manners: Manners::default() };
    scene.fleet.add(run.clients, &scene.server, &following, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())?;
    scene.publish(&run.job());
    let process = scene.server.process()?;
    process.forget_peak()?;
    let usual = process.resident()?;
    let found = Arc::<Found>::default();
    let (lasting, token) = (run.lasting / 2, Arc::<str>::from(scene.server.token_for("idler", "operator")?));
    let mut idlers = JoinSet::new();
    for index in 0..(run.clients / each).clamp(12, 400) {
        let idler = Idler {
            host: scene.server.host(),
            token: token.clone(),
            deed: deeds[index % deeds.len()],
            trickles: (index / deeds.len()).is_multiple_of(2),
            limit: Duration::from_secs(seconds) + LATE,
        };
        idlers.spawn_on(idler.run(Instant::now() + lasting, found.clone()), &run.runtime);
    }
    thread::sleep(lasting);
    let over = until(run.patience(), || {
        while idlers.try_join_next().is_some() {}
        idlers.is_empty()
    });
    let counted = scene.server.metric(counter)?;
    scene.finish_publishing();
    let given_back = until(run.patience(), || scene.server.metric("tidings_held_bytes").is_ok_and(|held| held == 0.0));
    let more = most(process, usual)?;
    let mut outcome = scene.end(run, Leave::default()).without_told();
    let [given_up, refused] = [&found.given_up, &found.refused].map(|count| count.load(Ordering::Relaxed));
    outcome.tally += &std::mem::take(&mut *found.wrong.lock().unwrap_or_else(PoisonError::into_inner));
    outcome.fact(format!(
        "{given_up} were given up after {seconds} s, {refused} refused at once; the most memory beside the usual was \
         {:.0} MB",
        more / 1e6
    ));
    for (broken, what) in [
        (!over, "some of them are still there".to_owned()),
        (given_up == 0, "nobody was given up: the harness shows nothing".to_owned()),
        (counted < given_up as f64, format!("{given_up} were given up, and {counted} counted")),
        (!given_back, "what was held for them is held on".to_owned()),
        (more > MOST_MEMORY, format!("it took {:.0} MB more", more / 1e6)),
    ] {
        if broken {
            outcome.tally.is_broken(|| what);
        }
    }
    Ok(outcome)
}

/// The most memory beside the usual, in bytes.
fn most(process: Process, usual: f64) -> Result<f64, String> {
    Ok(process.peak()? - usual)
}

/// Publishes what is asked for.
fn fill(scene: &Scene) -> Result<(), String> {
    let mut connection = scene.server.ask()?;
    let filling = "x".repeat(ASKED.1);
    let event = format!(r#"{{"type":"session.note","data":{{"sessionId":"unread","filling":"{filling}"}}}}"#);
    let batch = format!("[{}]", vec![event.as_str(); 20].join(","));
    for _ in 0..ASKED.0 / 20 {
        connection.post("/api/events", &batch)?;
    }
    Ok(())
}

/// Somebody who does it.
struct Idler {
    host: SocketAddr,
    token: Arc<str>,
    deed: Deed,
    /// Sends a byte now and then.
    trickles: bool,
    /// How long one request may be there.
    limit: Duration,
}

impl Idler {
    /// Does it again and again, until this time.
    async fn run(self, over: Instant, found: Arc<Found>) {
        while Instant::now() < over {
            let came = timeout(self.limit, self.once()).await;
            let count = match came {
                Ok(Ok(Some(408) | None)) => &found.given_up,
                // What it may hold is held already.
                Ok(Ok(Some(429 | 503))) => {
                    sleep(TRICKLE).await;
                    &found.refused
                }
                Ok(Ok(Some(_)) | Err(_)) | Err(_) => {
                    let mut wrong = found.wrong.lock().unwrap_or_else(PoisonError::into_inner);
                    wrong.is_broken(|| format!("{:?}, trickling: {}, came to {came:?}", self.deed, self.trickles));
                    continue;
                }
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Does it once: the status of what it is answered, or none for an answer that it did not read and that the server
    /// has broken off.
    async fn once(&self) -> io::Result<Option<u16>> {
        let line = match self.deed {
            Deed::Events => "POST /api/events".to_owned(),
            Deed::Login => "POST /api/auth/login".to_owned(),
            Deed::Polling => format!("POST /socket.io/?EIO=4&transport=polling&sid={}", self.session().await?),
            Deed::Answer => return self.read_nothing().await,
        };
        let mut socket = TcpStream::connect(self.host).await?;
        socket.write_all(self.head(&line, BODY.0).as_bytes()).await?;
        // It may be refused, and closed, before all of it is written.
        drop(socket.write_all(&vec![b' '; BODY.1]).await);
        let mut answer = [0; 12];
        loop {
            match timeout(TRICKLE, socket.read_exact(&mut answer)).await {
                Ok(read) => {
                    read?;
                    return Ok(Some(status(&answer)));
                }
                Err(_) if self.trickles => drop(socket.write_all(b" ").await),
                Err(_) => {}
            }
        }
    }

    fn head(&self, line: &str, length: usize) -> String {
        format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {length}\r\n\r\n",
            self.host, self.token
        )
    }

    /// A polling session that is let in: its id.
    async fn session(&self) -> io::Result<String> {
        let path = "/socket.io/?EIO=4&transport=polling";
        let opened = self.asked(&self.head(&format!("GET {path}"), 0)).await?;
        let sid = opened.split(r#""sid":""#).nth(1).and_then(|rest| rest.split('"').next());
        let sid = sid.ok_or(io::ErrorKind::InvalidData)?.to_owned();
        let connect = format!(r#"40{{"token":"{}"}}"#, self.token);
        let head = self.head(&format!("POST {path}&sid={sid}"), connect.len());
        self.asked(&format!("{head}{connect}")).await?;
        // Before it is told that it is let in, it has room for its token only.
        while !self.asked(&self.head(&format!("GET {path}&sid={sid}"), 0)).await?.contains("40{") {}
        Ok(sid)
    }

    /// What is answered, on a connection of its own.
    async fn asked(&self, request: &str) -> io::Result<String> {
        let mut socket = TcpStream::connect(self.host).await?;
        socket.write_all(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Asks for the channel, and waits until the server breaks the answer off.
    async fn read_nothing(&self) -> io::Result<Option<u16>> {
        let socket = if self.host.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_recv_buffer_size(NARROW)?;
        let mut socket = socket.connect(self.host).await?;
        let line = format!("GET /api/channels/{CHANNEL}/events?limit=1000");
        socket.write_all(self.head(&line, 0).as_bytes()).await?;
        let mut answer = [0; 12];
        socket.peek(&mut answer).await?;
        match status(&answer) {
            200 => socket.ready(Interest::ERROR).await.map(|_| None),
            refused => Ok(Some(refused)),
        }
    }
}

/// The status in the first bytes of an answer; zero if there is none.
fn status(answer: &[u8; 12]) -> u16 {
    std::str::from_utf8(&answer[9..]).ok().and_then(|status| status.parse().ok()).unwrap_or_default()
}
