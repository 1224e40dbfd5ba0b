//! One subscriber: from the connection over token and subscription to its messages.
//!
//! Guarantees: each message is entered in a ledger as it comes, and the server's pings are answered.
//! It does not decide when to read: the fleet does.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;

use crate::{
    clock, frame,
    latency::Latencies,
    ledger::{Ledger, Tally},
    message,
};

/// The most that one read takes, so that nobody waits long for another's.
const READ_BYTES: usize = 256 << 10;
/// A buffer of this size is enough for any read after any part of a frame.
pub const SCRATCH_BYTES: usize = 1 << 20;

/// How far a subscriber is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The connection is being made.
    Connecting,
    /// It asked for a WebSocket.
    Upgrading,
    /// It waits for Engine.IO's first word.
    Opening,
    /// It has shown its token.
    Joining,
    /// It has asked for its channel.
    Subscribing,
    /// Messages come.
    Live,
    /// The connection is over.
    Ended,
}

/// From where on a subscriber wants its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// Only what comes.
    Now,
    /// Everything that there is.
    Beginning,
    /// Everything after this place.
    Position {
        /// The epoch of the number.
        epoch: String,
        /// The last number that came.
        seq: u64,
    },
}

/// What all subscribers of a group saw together.
#[derive(Debug, Default)]
pub struct Seen {
    /// Deliveries, right and wrong.
    pub tally: Tally,
    /// Their times.
    pub latencies: Latencies,
    /// Messages whose `seq` was not the one after the last.
    pub seq_breaks: u64,
    /// Why the first connection that ended did.
    pub problem: Option<String>,
}

/// What is the same for every subscriber.
#[derive(Debug)]
pub struct Script {
    /// The request for a WebSocket.
    pub upgrade: String,
    /// The token.
    pub token: String,
    /// Whether the server numbers its messages, and the numbers are to be checked.
    pub numbered: bool,
}

/// One subscriber.
#[derive(Debug)]
pub struct Subscriber {
    pub(crate) socket: TcpStream,
    pub(crate) stage: Stage,
    pub(crate) group: usize,
    pub(crate) reading: bool,
    channel: String,
    since: Since,
    ledger: Ledger,
    epoch: String,
    /// The last number that came; none before the first.
    seq: Option<u64>,
    /// The beginning of a frame whose rest is still to come.
    rest: Vec<u8>,
    number_place: usize,
    seq_place: usize,
}

impl Subscriber {
    pub(crate) fn new(socket: TcpStream, group: usize, channel: String, since: Since) -> Self {
        Self {
            socket,
            stage: Stage::Connecting,
            group,
            reading: true,
            channel,
            since,
            ledger: Ledger::default(),
            epoch: String::new(),
            seq: None,
            rest: Vec::new(),
            number_place: 0,
            seq_place: 0,
        }
    }

    /// So many events were published before it came.
    pub(crate) fn start_at(&mut self, next: u64) {
        self.ledger = Ledger::starting_at(next);
    }

    /// Starts anew with another connection, after what came over the old one.
    pub(crate) fn restart(&mut self, socket: TcpStream) {
        if let Some(seq) = self.seq {
            self.since = Since::Position { epoch: self.epoch.clone(), seq };
        }
        (self.socket, self.stage) = (socket, Stage::Connecting);
        self.rest.clear();
    }

    /// Loses its connection. What it lacks of it is not why: that was wanted.
    pub(crate) fn cut(&mut self) {
        // One that the server has closed already is cut as well.
        self.socket.shutdown(std::net::Shutdown::Both).ok();
        self.stage = Stage::Ended;
    }

    /// The connection stands: asks for a WebSocket.
    pub(crate) fn connected(&mut self, script: &Script, seen: &mut Seen) {
        if let Err(error) = self.socket.set_nodelay(true) {
            return self.end(seen, &error.to_string());
        }
        self.stage = Stage::Upgrading;
        self.write(script.upgrade.as_bytes(), seen);
    }

    /// Answers a ping that it did not read: it stopped reading, but it is still there.
    pub(crate) fn still_here(&mut self, seen: &mut Seen) {
        self.say(b"3", seen);
    }

    /// Reads once; returns whether there may be more.
    pub(crate) fn read(&mut self, scratch: &mut [u8], script: &Script, seen: &mut Seen) -> bool {
        if self.stage == Stage::Ended {
            return false;
        }
        let before = self.rest.len();
        scratch[..before].copy_from_slice(&self.rest);
        self.rest.clear();
        match self.socket.read(&mut scratch[before..before + READ_BYTES]) {
            Ok(0) => {
                self.end(seen, "the server closed the connection");
                false
            }
            Ok(read) => {
                let bytes = &scratch[..before + read];
                let used = self.consume(bytes, clock::now_ns(), script, seen);
                self.rest.extend_from_slice(&bytes[used..]);
                read == READ_BYTES
            }
            Err(error) => {
                self.rest.extend_from_slice(&scratch[..before]);
                match error.kind() {
                    ErrorKind::Interrupted => return true,
                    ErrorKind::WouldBlock => {}
                    _ => self.end(seen, &error.to_string()),
                }
                false
            }
        }
    }

    /// Takes every whole frame, and returns how many bytes those were.
    fn consume(&mut self, bytes: &[u8], at: u64, script: &Script, seen: &mut Seen) -> usize {
        let mut used = 0;
        if self.stage == Stage::Upgrading {
            let Some(head) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return 0 };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                self.end(seen, &format!("no WebSocket: {}", String::from_utf8_lossy(&bytes[..head])));
                return bytes.len();
            }
            self.stage = Stage::Opening;
            used = head + 4;
        }
        loop {
            match frame::split(&bytes[used..]) {
                frame::Split::Whole { opcode, payload, length } => {
                    used += length;
                    match opcode {
                        frame::TEXT => self.packet(payload, at, script, seen),
                        frame::PING => self.write_frame(frame::PONG, payload, seen),
                        frame::CLOSE => self.end(seen, "the server closed the WebSocket"),
                        _ => {}
                    }
                }
                frame::Split::Part => return used,
                frame::Split::Broken => self.end(seen, "what came is no frame of a server"),
            }
            if self.stage == Stage::Ended {
                return bytes.len();
            }
        }
    }

    fn packet(&mut self, packet: &[u8], at: u64, script: &Script, seen: &mut Seen) {
        if packet == b"2" {
            return self.say(b"3", seen);
        }
        match self.stage {
            Stage::Live => {
                if let Some(head) = message::head(packet) {
                    self.take(head, at, script, seen);
                }
            }
            Stage::Opening => {
                self.stage = Stage::Joining;
                self.say(format!("40{{\"token\":\"{}\"}}", script.token).as_bytes(), seen);
            }
            Stage::Joining if packet.starts_with(b"40") => {
                self.stage = Stage::Subscribing;
                self.say(question(&self.channel, &self.since).as_bytes(), seen);
            }
            Stage::Subscribing if packet.starts_with(b"431[") => {
                if memchr::memmem::find(packet, b"\"ok\":true").is_none() {
                    return self.end(seen, &format!("no subscription: {}", String::from_utf8_lossy(packet)));
                }
                self.epoch = message::text(packet, b"\"epoch\":").unwrap_or_default().to_owned();
                self.stage = Stage::Live;
            }
            _ if packet.starts_with(b"44") || packet.starts_with(b"41") => {
                self.end(seen, &format!("turned away: {}", String::from_utf8_lossy(packet)));
            }
            _ => {}
        }
    }

    /// Enters a message. Notices, which the publisher did not number, are none.
    fn take(&mut self, head: &[u8], at: u64, script: &Script, seen: &mut Seen) {
        let Some(number) = message::number_near(head, message::NUMBER, &mut self.number_place) else { return };
        self.ledger.enter(number, &mut seen.tally);
        if script.numbered
            && let Some(seq) = message::number_near(head, message::SEQ, &mut self.seq_place)
        {
            seen.seq_breaks += u64::from(self.seq.is_some_and(|last| seq != last + 1));
            self.seq = Some(seq);
        }
        if seen.latencies.wants()
            && let Some(stamp) = message::number(head, message::STAMP)
        {
            seen.latencies.take(at.saturating_sub(stamp));
        }
    }

    fn say(&mut self, packet: &[u8], seen: &mut Seen) {
        self.write_frame(frame::TEXT, packet, seen);
    }

    fn write_frame(&mut self, opcode: u8, payload: &[u8], seen: &mut Seen) {
        let mut bytes = Vec::with_capacity(payload.len() + 8);
        frame::write(opcode, payload, &mut bytes);
        self.write(&bytes, seen);
    }

    /// What a subscriber says is so little that a socket always has room for it.
    fn write(&mut self, bytes: &[u8], seen: &mut Seen) {
        if let Err(error) = self.socket.write_all(bytes) {
            self.end(seen, &error.to_string());
        }
    }

    fn end(&mut self, seen: &mut Seen, why: &str) {
        let stage = self.stage;
        seen.problem.get_or_insert_with(|| format!("{why} (while {stage:?})"));
        self.stage = Stage::Ended;
    }
}

/// The question for a channel. Without a position it is only the name, which every peer understands.
fn question(channel: &str, since: &Since) -> String {
    let since = match since {
        Since::Now => return format!("421[\"subscribe\",\"{channel}\"]"),
        Since::Beginning => "{\"seq\":0}".to_owned(),
        Since::Position { epoch, seq } => format!("{{\"epoch\":\"{epoch}\",\"seq\":{seq}}}"),
    };
    format!("421[\"subscribe\",{{\"channel\":\"{channel}\",\"since\":{since}}}]")
}

#[cfg(test)]
mod tests;
