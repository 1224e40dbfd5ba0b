//! What can be said wrongly, and what has to come of it.
//!
//! Guarantees: everything comes from the seed; a refusal is held against what the protocol says.
//! It does not look at the others: their own clients do.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings_load::frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::rubbish::Found;
use crate::{
    link::{Arrival, Link, NoLink},
    random::Random,
    wire::{self, Answer, Packet},
};

/// How long an answer may take: a flood of the size that is made here is slowed down for some seconds.
const ANSWER: Duration = Duration::from_secs(30);
/// The most commands of a flood; the server's own limit slows it down from 2,000 on.
const FLOOD: std::ops::Range<usize> = 50..2300;

/// A thing done wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes without any meaning.
    Bytes,
    /// Requests that are none, or of a version that nobody speaks.
    Requests,
    /// Bodies that are too large, or not what they have to be.
    Bodies,
    /// Frames that are none.
    Frames,
    /// Packets that are none.
    Packets,
    /// Somebody who must not come in.
    Strangers,
    /// Messages that are too large.
    Oversized,
    /// Commands by the thousand.
    Floods,
    /// Connections on which nothing is said.
    Silence,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Bytes,
        Self::Requests,
        Self::Bodies,
        Self::Frames,
        Self::Packets,
        Self::Strangers,
        Self::Oversized,
        Self::Floods,
        Self::Silence,
    ];
}

/// Requests that are none, each with the statuses that may come.
const REQUESTS: &[(&str, &[u16])] = &[
    ("GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("GET /socket.io/?EIO=99&transport=websocket HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("GET /socket.io/?transport=polling HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("GET /socket.io/?EIO=4&transport=pigeon HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("GET /socket.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
    ("POST /socket.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n4", &[400]),
    ("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", &[404]),
    ("BREW /health/live HTTP/1.1\r\nHost: x\r\n\r\n", &[405]),
    ("GET /api/channels HTTP/1.1\r\nHost: x\r\n\r\n", &[401]),
    ("GET /api/channels HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nonsense\r\n\r\n", &[401]),
    ("GET  HTTP/1.1\r\n\r\n", &[400]),
    ("GET / HTTP/9.9\r\n\r\n", &[400]),
    ("\r\n\r\n\r\n:\r\n\r\n", &[400]),
];

/// Bodies of `POST /api/events`, each with its status.
const BODIES: &[(&str, u16)] = &[
    ("", 400),
    ("{", 400),
    ("[]", 400),
    ("[[[[[[[[", 400),
    (r#"{"type":"session:note","data":{}}"#, 400),
    (r#"{"type":"nobody.note","data":{"sessionId":"1"}}"#, 400),
    (r#"{"type":"server.hello","data":{}}"#, 400),
];

/// Texts that no client should send once it is let in.
const PACKETS: &[&str] = &[
    "",
    "x",
    "4",
    "9",
    "42",
    "42[",
    "42{}",
    "42[]",
    "420[]",
    "42[5]",
    "420[5,{}]",
    "420[\"subscribe\"",
    "43",
    "431[]",
    "45",
    "451-",
    "451-0[\"publish\"]",
    "3",
    "2probe",
    "5",
    "\u{0}",
    "42999999999999999999999[\"subscribe\"]",
    "42/other,0[\"subscribe\",\"session:1\"]",
];

/// Somebody who does them.
#[derive(Debug)]
pub struct Vandal {
    /// Where the server is.
    pub host: SocketAddr,
    /// What lets in.
    pub token: Arc<str>,
    /// Chances.
    pub random: Random,
    /// When to stop.
    pub until: Instant,
    /// What everybody found.
    pub found: Arc<Mutex<Found>>,
}

impl Vandal {
    /// Does one thing after the other until it is time.
    pub async fn run(mut self) {
        while Instant::now() < self.until {
            let kind = *self.random.pick(&Kind::ALL);
            let wrong = match kind {
                Kind::Bytes => self.bytes().await,
                Kind::Requests => self.request().await,
                Kind::Bodies => self.body().await,
                Kind::Frames => self.frames().await,
                Kind::Packets => self.packets().await,
                Kind::Strangers => self.stranger().await,
                Kind::Oversized => self.oversized().await,
                Kind::Floods => self.flood().await,
                Kind::Silence => self.silence().await,
            };
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            *found.done.entry(kind).or_default() += 1;
            if let Err(wrong) = wrong {
                found.tally.is_broken(|| format!("{kind:?}: {wrong}"));
            }
        }
    }

    /// Writes something to a fresh connection, and returns the status of what comes; none for an end.
    async fn exchange(&self, bytes: &[u8]) -> Result<Option<u16>, String> {
        let Ok(mut socket) = TcpStream::connect(self.host).await else { return Ok(None) };
        // It may be refused, and closed, before all of it was read.
        if socket.write_all(bytes).await.is_err() {
            return Ok(None);
        }
        let mut head = [0; 512];
        let read = match timeout(ANSWER, socket.read(&mut head)).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => 0,
            Err(_) => return Err("neither an answer nor an end".to_owned()),
        };
        Ok(String::from_utf8_lossy(&head[..read]).split(' ').nth(1).and_then(|status| status.parse().ok()))
    }

    async fn bytes(&mut self) -> Result<(), String> {
        let count = self.random.within(1..4096);
        let mut bytes = self.random.bytes(count);
        // Whatever it is, it ends like a request, so that an answer is due.
        bytes.extend_from_slice(b"\r\n\r\n");
        match self.exchange(&bytes).await? {
            None | Some(400..500) => Ok(()),
            Some(status) => Err(format!("{count} bytes were answered with {status}")),
        }
    }

    async fn request(&mut self) -> Result<(), String> {
        let (request, allowed) = *self.random.pick(REQUESTS);
        match self.exchange(request.as_bytes()).await? {
            None => Ok(()),
            Some(status) if allowed.contains(&status) => Ok(()),
            Some(status) => Err(format!("{request:?} was answered with {status}")),
        }
    }

    async fn body(&mut self) -> Result<(), String> {
        let (body, expected) = if self.random.chance(0.3) {
            ("x".repeat(self.random.within(1_100_000..3_000_000)), 413)
        } else {
            let (body, expected) = *self.random.pick(BODIES);
            (body.to_owned(), expected)
        };
        let (token, length) = (&self.token, body.len());
        let request = format!(
            "POST /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        match self.exchange(request.as_bytes()).await? {
            None if expected == 413 => Ok(()),
            Some(status) if status == expected => Ok(()),
            other => Err(format!("{} was answered with {other:?}", body.chars().take(60).collect::<String>())),
        }
    }

    async fn frames(&mut self) -> Result<(), String> {
        let Some(mut link) = self.open().await? else { return Ok(()) };
        let bytes = match self.random.below(5) {
            // Not masked, reserved bits, an unknown kind, a fragment that never ends, a length beyond reason.
            0 => vec![0x81, 0x01, b'2'],
            1 => vec![0xf1, 0x80, 0, 0, 0, 0],
            2 => vec![0x8b, 0x80, 0, 0, 0, 0],
            3 => vec![0x01, 0x81, 0, 0, 0, 0, b'4', 0x00, 0x81, 0, 0, 0, 0, b'0'],
            _ => vec![0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        };
        link.write_bytes(&bytes).await;
        let count = self.random.within(1..2000);
        link.write_bytes(&self.random.bytes(count)).await;
        link.cut();
        Ok(())
    }

    async fn packets(&mut self) -> Result<(), String> {
        let Some(mut link) = self.log_in().await? else { return Ok(()) };
        let mut text = (*self.random.pick(PACKETS)).to_owned();
        for _ in 0..self.random.below(4) {
            text.push(char::from(0x20 + self.random.below(0x5f) as u8));
        }
        link.say(text.as_bytes()).await;
        link.say(br#"427["subscribe","session:rubbish"]"#).await;
        // Ended, or answered and of use: both are in order, silence is not.
        match self.answer(&mut link, 7).await? {
            None => Ok(()),
            Some(answer) if answer.ok => Ok(()),
            Some(answer) => Err(format!("after {text:?} a subscription got {answer:?}")),
        }
    }

    async fn stranger(&mut self) -> Result<(), String> {
        let token = self.token.clone();
        let login = match self.random.below(5) {
            0 => "40".to_owned(),
            1 => "40{\"token\":5}".to_owned(),
            2 => "40[]".to_owned(),
            3 => format!("40{{\"token\":\"{token}\",\"protocol\":{}}}", 2 + self.random.below(1000)),
            _ => format!("40{{\"token\":\"{token}x\"}}"),
        };
        let Some(mut link) = self.open().await? else { return Ok(()) };
        link.say(login.as_bytes()).await;
        let end = Instant::now() + ANSWER;
        loop {
            match next(&mut link, end).await? {
                None => return Ok(()),
                Some(text) if text.starts_with("40") => return Err(format!("{login} was let in")),
                Some(text) if text.starts_with("44") => {
                    let named = login.contains("protocol") || text.contains("\"message\":\"Authentication error\"");
                    return if named { Ok(()) } else { Err(format!("{login} was refused with {text}")) };
                }
                Some(_) => {}
            }
        }
    }

    async fn oversized(&mut self) -> Result<(), String> {
        let Some(mut link) = self.log_in().await? else { return Ok(()) };
        let beyond = self.random.chance(0.5);
        let size = if beyond { self.random.within(1_100_000..2_000_000) } else { self.random.within(270_000..900_000) };
        let event = format!(
            "427[\"publish\",{{\"channel\":\"session:rubbish\",\"type\":\"session.note\",\"data\":{{\"sessionId\":\"rubbish\",\
             \"text\":\"{}\"}}}}]",
            "x".repeat(size)
        );
        link.write_bytes(&large(event.as_bytes())).await;
        match self.answer(&mut link, 7).await? {
            None if beyond => Ok(()),
            Some(answer) if !answer.ok && answer.error.as_ref().is_some_and(|error| error.code == "too_large") => {
                Ok(())
            }
            other => Err(format!("{size} bytes got {other:?}")),
        }
    }

    /// Every command has its answer, in order, unless the connection is ended for its rate.
    async fn flood(&mut self) -> Result<(), String> {
        let Some(mut link) = self.log_in().await? else { return Ok(()) };
        let count = self.random.within(FLOOD);
        let mut bytes = Vec::new();
        for id in 0..count {
            let event = if self.random.chance(0.6) { "subscribe" } else { "unsubscribe" };
            let packet = format!("42{id}[\"{event}\",\"session:rubbish{}\"]", self.random.below(1500));
            frame::write(frame::TEXT, packet.as_bytes(), &mut bytes);
        }
        link.write_bytes(&bytes).await;
        let (end, mut due) = (Instant::now() + ANSWER, 0);
        while due < count as u64 {
            let Some(text) = next(&mut link, end).await? else {
                return Err(format!("ended after {due} of {count} answers without a reason"));
            };
            match wire::parse(&text)? {
                Packet::Answer(id, _) if id == due => due += 1,
                Packet::Answer(id, _) => return Err(format!("answer {id} came in place of {due}")),
                Packet::Message(message) if message.kind == "connection.closed" => {
                    let slowed = message.data.get().contains("rate_limited");
                    return if slowed { Ok(()) } else { Err(format!("ended: {}", message.data.get())) };
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn silence(&mut self) -> Result<(), String> {
        let pause = self.random.time(&(Duration::from_millis(200)..Duration::from_secs(4)));
        match self.random.below(4) {
            0 => {
                let socket = TcpStream::connect(self.host).await;
                sleep(pause).await;
                drop(socket);
            }
            1 => {
                let Ok(mut socket) = TcpStream::connect(self.host).await else { return Ok(()) };
                socket.write_all(b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n").await.ok();
                sleep(pause).await;
            }
            2 => {
                let link = self.open().await?;
                sleep(pause).await;
                drop(link);
            }
            _ => {
                let Some(link) = self.log_in().await? else { return Ok(()) };
                sleep(pause).await;
                link.cut();
            }
        }
        Ok(())
    }

    async fn open(&self) -> Result<Option<Link>, String> {
        open(self.host).await
    }

    async fn log_in(&self) -> Result<Option<Link>, String> {
        log_in(self.host, &self.token).await
    }

    /// The answer with this number; none for an end.
    async fn answer(&self, link: &mut Link, wanted: u64) -> Result<Option<Answer>, String> {
        let end = Instant::now() + ANSWER;
        while let Some(text) = next(link, end).await? {
            if let Packet::Answer(id, answer) = wire::parse(&text)?
                && id == wanted
            {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}

/// A WebSocket; none where the server asks to come back.
async fn open(host: SocketAddr) -> Result<Option<Link>, String> {
    match Link::open(host, false).await {
        Ok(link) => Ok(Some(link)),
        Err(NoLink::Unreachable | NoLink::Status(503)) => Ok(None),
        Err(NoLink::Status(status)) => Err(format!("no WebSocket: {status}")),
    }
}

/// A WebSocket that is let in; none where the server asks to come back.
pub(super) async fn log_in(host: SocketAddr, token: &str) -> Result<Option<Link>, String> {
    let Some(mut link) = open(host).await? else { return Ok(None) };
    link.say(format!("40{{\"token\":\"{token}\"}}").as_bytes()).await;
    let end = Instant::now() + ANSWER;
    loop {
        match next(&mut link, end).await? {
            None => return Ok(None),
            Some(text) if text.starts_with("40") => return Ok(Some(link)),
            Some(text) if text.starts_with("44") => return Err(format!("not let in: {text}")),
            Some(_) => {}
        }
    }
}

/// The next text of the server; none for an end.
pub(super) async fn next(link: &mut Link, end: Instant) -> Result<Option<String>, String> {
    loop {
        match link.packet()? {
            Some((frame::TEXT, b"2")) => {
                link.say(b"3").await;
            }
            Some((frame::TEXT, text)) => return Ok(Some(String::from_utf8_lossy(text).into_owned())),
            Some((frame::CLOSE, _)) => return Ok(None),
            Some(_) => {}
            None => match timeout_at(end, link.arrival()).await {
                Ok(Arrival::Bytes) => {}
                Ok(Arrival::End) => return Ok(None),
                Err(_) => return Err(format!("neither an answer nor an end within {} s", ANSWER.as_secs())),
            },
        }
    }
}

/// A frame of any size.
fn large(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | frame::TEXT, 0xff];
    bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}
