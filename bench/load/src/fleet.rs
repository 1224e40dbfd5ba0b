//! All subscribers, on one thread.
//!
//! Guarantees: whoever has much to read is interrupted for the others; whoever is told to stop
//! reading reads nothing until told to go on.
//! It does not publish, and does not know how much is to come.

use std::{io, net::SocketAddr, ops::Range, time::Duration};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    clock,
    subscriber::{SCRATCH_BYTES, Script, Seen, Since, Stage, Subscriber},
};

/// How many connections are being made at once.
const IN_FLIGHT: usize = 200;

/// Who is to be connected.
#[derive(Debug, Clone)]
pub struct Recruit {
    /// Whose figures are kept together with this one's: see [`Fleet::seen`].
    pub group: usize,
    /// The channel.
    pub channel: String,
    /// From where on.
    pub since: Since,
}

/// The subscribers.
#[derive(Debug)]
pub struct Fleet {
    poll: Poll,
    events: Events,
    host: SocketAddr,
    script: Script,
    subscribers: Vec<Subscriber>,
    /// Who had more to read than was read.
    unfinished: Vec<usize>,
    /// How many are neither live nor ended.
    on_the_way: usize,
    seen: Vec<Seen>,
    scratch: Vec<u8>,
}

impl Fleet {
    /// Nobody yet, for a server, in so many groups.
    ///
    /// # Errors
    /// If the system has no epoll for it.
    pub fn new(host: SocketAddr, token: &str, numbered: bool, groups: usize) -> Result<Self, String> {
        let upgrade = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        Ok(Self {
            poll: Poll::new().map_err(failed)?,
            events: Events::with_capacity(1024),
            host,
            script: Script { upgrade, token: token.to_owned(), numbered },
            subscribers: Vec::new(),
            unfinished: Vec::new(),
            on_the_way: 0,
            seen: (0..groups).map(|_| Seen::default()).collect(),
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// What a group has seen since it was last forgotten.
    #[must_use]
    pub fn seen(&self, group: usize) -> &Seen {
        &self.seen[group]
    }

    /// Lets the figures of a group begin anew; what each subscriber waits for stays.
    pub fn forget(&mut self, group: usize) {
        self.seen[group] = Seen::default();
    }

    /// How many messages came, over all groups.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.seen.iter().map(|seen| seen.tally.delivered).sum()
    }

    /// How many subscribers are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.subscribers.iter().filter(|subscriber| subscriber.stage == Stage::Live).count()
    }

    /// Tells some that so many events were published before they came.
    pub fn start_at(&mut self, which: Range<usize>, next: u64) {
        self.subscribers[which].iter_mut().for_each(|subscriber| subscriber.start_at(next));
    }

    /// The local ports of some.
    #[must_use]
    pub fn ports(&self, which: Range<usize>) -> Vec<u16> {
        let addresses = self.subscribers[which].iter().filter_map(|subscriber| subscriber.socket.local_addr().ok());
        addresses.map(|address| address.port()).collect()
    }

    /// Connects further subscribers, a few at a time, until all are live or ended or time is up.
    ///
    /// # Errors
    /// If the system has no socket left.
    pub fn connect(&mut self, recruits: impl IntoIterator<Item = Recruit>, limit: Duration) -> Result<(), String> {
        let start = clock::now();
        let mut recruits = recruits.into_iter().fuse();
        let mut more = true;
        while (more || self.on_the_way > 0) && clock::since(start) < limit {
            while more && self.on_the_way < IN_FLIGHT {
                match recruits.next() {
                    Some(recruit) => self.recruit(recruit)?,
                    None => more = false,
                }
            }
            self.turn(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// Begins to connect one more.
    ///
    /// # Errors
    /// If the system has no socket left.
    pub fn recruit(&mut self, recruit: Recruit) -> Result<(), String> {
        let socket = self.dial(self.subscribers.len())?;
        self.subscribers.push(Subscriber::new(socket, recruit.group, recruit.channel, recruit.since));
        Ok(())
    }

    fn dial(&mut self, index: usize) -> Result<TcpStream, String> {
        let mut socket = TcpStream::connect(self.host).map_err(failed)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(index), interest).map_err(failed)?;
        self.on_the_way += 1;
        Ok(socket)
    }

    /// Lets some stop reading.
    ///
    /// # Errors
    /// If the system does not know them any more.
    pub fn stall(&mut self, which: Range<usize>) -> Result<(), String> {
        for subscriber in &mut self.subscribers[which] {
            subscriber.reading = false;
            self.poll.registry().deregister(&mut subscriber.socket).map_err(failed)?;
        }
        Ok(())
    }

    /// Has those who stopped reading say that they are there: a ping that nobody reads is answered by nobody.
    pub fn keep_alive(&mut self, which: Range<usize>) {
        for subscriber in &mut self.subscribers[which] {
            subscriber.still_here(&mut self.seen[subscriber.group]);
        }
    }

    /// Lets some read again.
    ///
    /// # Errors
    /// If the system does not take them.
    pub fn resume(&mut self, which: Range<usize>) -> Result<(), String> {
        for index in which {
            let subscriber = &mut self.subscribers[index];
            subscriber.reading = true;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut subscriber.socket, Token(index), interest).map_err(failed)?;
        }
        Ok(())
    }

    /// Cuts the connections of some, from this side and without a word.
    pub fn cut(&mut self, which: Range<usize>) {
        for subscriber in &mut self.subscribers[which] {
            subscriber.cut();
        }
    }

    /// Whether everybody is live or ended.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.on_the_way == 0
    }

    /// Connects again whoever of these was disconnected, from where it was; returns how many.
    ///
    /// # Errors
    /// If the system has no socket left.
    pub fn reconnect(&mut self, which: Range<usize>) -> Result<usize, String> {
        let ended: Vec<usize> = which.filter(|index| self.subscribers[*index].stage == Stage::Ended).collect();
        for index in &ended {
            let socket = self.dial(*index)?;
            self.subscribers[*index].restart(socket);
        }
        Ok(ended.len())
    }

    /// Waits for something to read, at most so long, and reads it.
    ///
    /// # Errors
    /// If the system cannot wait.
    pub fn turn(&mut self, wait: Duration) -> Result<(), String> {
        let wait = if self.unfinished.is_empty() { wait } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(failed(error)),
            _ => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let ready = Ready { read: event.is_readable(), write: event.is_writable(), end: event.is_read_closed() };
            self.attend(event.token().0, ready);
        }
        self.events = events;
        for index in std::mem::take(&mut self.unfinished) {
            self.attend(index, Ready { read: true, ..Ready::default() });
        }
        Ok(())
    }

    /// Does what a subscriber is ready for. The system tells once that there is something to read; a short
    /// read has taken it all, but for the end of a connection.
    fn attend(&mut self, index: usize, ready: Ready) {
        let subscriber = &mut self.subscribers[index];
        let (before, seen) = (subscriber.stage, &mut self.seen[subscriber.group]);
        if !subscriber.reading || before == Stage::Ended {
            return;
        }
        if before == Stage::Connecting && ready.write {
            subscriber.connected(&self.script, seen);
        }
        let mut more = false;
        if subscriber.stage != Stage::Connecting && (ready.read || ready.end) {
            more = subscriber.read(&mut self.scratch, &self.script, seen);
        }
        let settled = |stage| matches!(stage, Stage::Live | Stage::Ended);
        if !settled(before) && settled(subscriber.stage) {
            self.on_the_way -= 1;
        }
        if subscriber.stage != Stage::Ended && (more || ready.end) {
            self.unfinished.push(index);
        }
    }
}

/// What a subscriber is ready for.
#[derive(Debug, Default, Clone, Copy)]
struct Ready {
    read: bool,
    write: bool,
    end: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn failed(error: io::Error) -> String {
    format!("the subscribers' sockets failed: {error}")
}
