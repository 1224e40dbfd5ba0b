//! One address that opens connections by the thousand and never logs in, while others come.
//!
//! Guarantees: whoever comes from another address has to be let in within a bound of time, all of them, on a WebSocket
//! and by polling; memory has to stay within a bound; and those who are there have to have everything, as if nothing
//! were.
//! What else is said wrongly is in `vandal`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tidings_load::{clock, http::Connection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::sleep,
};

use super::vandal::log_in;
use crate::{
    client::Manners,
    fault::{Run, Scene},
    fleet::Following,
    ledger::Leave,
    outcome::Outcome,
    server::timed,
};

/// Where the flood comes from: whoever is honest comes from 127.0.0.1.
const FLOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// WebSockets that the flood keeps open: more than there may be handshakes.
const WEBSOCKETS: usize = 2200;
/// Connections on which the flood asks for polling sessions without a pause, and such on which it asks for nothing.
const POLLING: usize = 4;
const SILENT: usize = 500;
/// How long somebody honest may take to be let in.
const LET_IN: Duration = Duration::from_secs(2);
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);
/// What the server may take beside what it took before, in bytes.
const MOST_MEMORY: f64 = 256e6;

const UPGRADE: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const POLL: &[u8] = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";

/// Does it.
///
/// # Errors
/// If it could not be done.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let most = if run.quick { 200 } else { 2000 };
    let mut scene = Scene::new(run, "handshakes", &format!("[socket]\nmax_handshakes = {most}\n"))?;
    let following = Following { channels: 3, manners: Manners::default() };
    scene.fleet.add(run.clients, &scene.server, &following, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())?;
    scene.publish(&run.job());
    let process = scene.server.process()?;
    process.forget_peak()?;
    let usual = process.resident()?;
    let (host, asked) = (scene.server.host(), Arc::<AtomicU64>::default());
    let mut flood = JoinSet::new();
    for number in 0..WEBSOCKETS * most / 2000 + POLLING + SILENT {
        let asked = asked.clone();
        match number {
            0..POLLING => flood.spawn_on(polls(host, asked), &run.runtime),
            _ if number < POLLING + SILENT => flood.spawn_on(holds(host, b"", asked), &run.runtime),
            _ => flood.spawn_on(holds(host, UPGRADE, asked), &run.runtime),
        };
    }
    let came = newcomers(run, &scene, run.lasting / 4);
    let replaced = scene.server.metric("tidings_handshakes_replaced_total");
    drop(flood);
    let more = process.peak()? - usual;
    let mut outcome = scene.end(run, Leave::default()).without_told();
    outcome.fact(format!(
        "{} newcomers were let in beside {} handshakes of one address, the slowest within {:.2} s; {:.0} were replaced; \
         the most memory beside the usual was {:.0} MB",
        came.count,
        asked.load(Ordering::Relaxed),
        came.slowest.as_secs_f64(),
        replaced.unwrap_or_default(),
        more / 1e6
    ));
    for refused in came.refused {
        outcome.tally.is_broken(|| refused);
    }
    if came.slowest > LET_IN {
        outcome
            .tally
            .is_broken(|| format!("somebody honest was let in after {:.2} s only", came.slowest.as_secs_f64()));
    }
    if more > MOST_MEMORY {
        outcome.tally.is_broken(|| format!("it took {:.0} MB more", more / 1e6));
    }
    Ok(outcome)
}

/// What became of those who came.
#[derive(Debug, Default)]
struct Came {
    count: usize,
    slowest: Duration,
    refused: Vec<String>,
}

/// Lets somebody honest come again and again, on a WebSocket and by polling in turn.
fn newcomers(run: &Run, scene: &Scene, lasting: Duration) -> Came {
    let (start, mut came, mut polls) = (clock::now(), Came::default(), false);
    while clock::since(start) < lasting {
        let (host, token) = (scene.server.host(), scene.server.token());
        let (let_in, time) = timed(|| match polls {
            true => by_polling(host, token),
            false => match run.runtime.block_on(log_in(host, token)) {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("a WebSocket was ended or refused".to_owned()),
                Err(why) => Err(why),
            },
        });
        came.slowest = came.slowest.max(time);
        match let_in {
            Ok(()) => came.count += 1,
            Err(why) => came.refused.push(format!("somebody honest was not let in: {why}")),
        }
        polls = !polls;
        thread::sleep(PAUSE);
    }
    came
}

fn by_polling(host: SocketAddr, token: &str) -> Result<(), String> {
    let mut connection = Connection::open(host, "")?;
    let path = "/socket.io/?EIO=4&transport=polling";
    let opened = connection.get(path)?;
    let sid = opened.split('"').nth(3).ok_or_else(|| format!("no session: {opened}"))?;
    let path = format!("{path}&sid={sid}");
    connection.post(&path, &format!("40{{\"token\":\"{token}\"}}"))?;
    let told = connection.get(&path)?;
    if told.starts_with("40") { connection.post(&path, "1").map(drop) } else { Err(told) }
}

async fn connect(host: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(FLOOD), 0))?;
    socket.connect(host).await
}

/// Says this, waits for the end, and begins anew. It says nothing else.
async fn holds(host: SocketAddr, says: &'static [u8], asked: Arc<AtomicU64>) {
    loop {
        if let Ok(mut socket) = connect(host).await {
            let mut answer = [0; 1024];
            let mut open = socket.write_all(says).await.is_ok();
            asked.fetch_add(u64::from(open && !says.is_empty()), Ordering::Relaxed);
            while open {
                open = matches!(socket.read(&mut answer).await, Ok(1..));
            }
        }
        sleep(PAUSE).await;
    }
}

/// Asks for polling sessions, one after the other, and comes back to none.
async fn polls(host: SocketAddr, asked: Arc<AtomicU64>) {
    let mut answer = [0; 1024];
    loop {
        let Ok(mut socket) = connect(host).await else {
            sleep(PAUSE).await;
            continue;
        };
        while socket.write_all(POLL).await.is_ok() && matches!(socket.read(&mut answer).await, Ok(1..)) {
            asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}
