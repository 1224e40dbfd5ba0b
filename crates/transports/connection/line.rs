//! A line: the TCP stream of one WebSocket, shared by the protocol and the outlet.
//!
//! Guarantees: what the protocol writes and what the outlet puts
//! beside it are whole frames, never one inside another; the protocol's go first, and are always
//! taken, so that nothing of it is ever stuck in a write; a frame that was begun is finished before
//! anything else. It ends the connection at once, whatever anybody waits for.
//! It is not a queue for messages: what does not fit into the socket now is not taken. Nor does it know what a
//! frame says.

use std::{
    fmt, io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use tidings_core::{outlet::Offered, parcel::Wire, runtime::Clock};
use tokio::{net::TcpStream, sync::Notify};

use super::{Handshake, Replaced, close_code, frames};

/// The most bytes of the protocol's own that may wait: pings and answers to pings. A client that
/// makes more of them wait than this does not read, and asks all the same.
const MOST_CONTROL: usize = 64 * 1024;

/// A frame of so many bytes is copied to leave in one write with the protocol's.
const TOGETHER: usize = 2048;
/// The end of a frame of so many bytes is copied rather than keep all that was offered with it.
const COPIED: usize = 16 * 1024;

const OPEN: u8 = 0;
const PAUSED: u8 = 1;
const KILLED: u8 = 2;

/// What hears of a line.
pub(crate) trait LineEars: Send + Sync {
    /// The client was told that it is connected.
    fn opened(&self);
    /// The stream is gone.
    fn ended(&self);
}

/// The shared side of a stream.
pub(crate) struct Line {
    socket: TcpStream,
    reading: AtomicU8,
    clock: Arc<dyn Clock>,
    alive_ms: AtomicU64,
    sink: Mutex<Sink>,
    /// It opened, or it ended.
    changed: Notify,
}

/// The writing side, under the line's one short lock.
struct Sink {
    /// The stream is gone.
    over: bool,
    /// The end of a frame of the outlet's that was begun.
    rest: Bytes,
    /// Whole frames of the protocol's that wait.
    control: Vec<u8>,
    /// How many bytes of them may wait.
    most: usize,
    /// The client knows that it is connected: the outlet may write.
    open: bool,
    /// The socket took no more, and there has been no room since.
    full: bool,
    /// When the client was last pinged because it reads slowly.
    nudged: Duration,
    /// Nothing more is taken; once all has left, the writing side is shut.
    leaving: bool,
    /// Whoever reads the stream; it also finishes what waits here.
    reader: Option<Waker>,
    ears: Option<Arc<dyn LineEars>>,
    handshake: Option<Handshake>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    /// The line of a stream. `handshake` counts until the client is told that it is connected; none where it is
    /// counted otherwise.
    pub(crate) fn new(socket: TcpStream, clock: Arc<dyn Clock>, handshake: Option<Handshake>) -> Arc<Self> {
        let now = clock.monotonic().as_millis() as u64;
        let line = Arc::new(Self {
            socket,
            reading: AtomicU8::new(OPEN),
            clock,
            alive_ms: AtomicU64::new(now),
            sink: Mutex::new(Sink {
                over: false,
                rest: Bytes::new(),
                control: Vec::new(),
                most: MOST_CONTROL,
                open: false,
                full: false,
                nudged: Duration::ZERO,
                leaving: false,
                reader: None,
                ears: None,
                handshake: None,
            }),
            changed: Notify::new(),
        });
        if let Some(handshake) = handshake {
            let owner: Weak<Self> = Arc::downgrade(&line);
            handshake.belongs_to(owner);
            line.sink.lock().handshake = Some(handshake);
        }
        line
    }

    /// The stream, to be read by the tap.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Says who hears of it; an end that came before is told at once.
    pub(crate) fn listen(&self, ears: Arc<dyn LineEars>) {
        let over = {
            let mut sink = self.sink.lock();
            if !sink.over {
                sink.ears = Some(ears);
                return;
            }
            ears
        };
        over.ended();
    }

    /// The client knows that it is connected: from now on the outlet writes.
    pub(crate) fn open(&self) {
        let ears = {
            let mut sink = self.sink.lock();
            sink.open = true;
            sink.handshake = None;
            sink.ears.clone()
        };
        self.changed.notify_waiters();
        if let Some(ears) = ears {
            ears.opened();
        }
    }

    /// The client is out again: nothing is offered to it until it is told anew that it is connected.
    pub(crate) fn shut_out(&self) {
        self.sink.lock().open = false;
    }

    /// Whether the outlet may write.
    pub(crate) fn is_open(&self) -> bool {
        self.sink.lock().open
    }

    /// Stops reading, or reads again. A killed line stays killed.
    pub(crate) fn pause(&self, paused: bool) {
        let (from, to) = if paused { (OPEN, PAUSED) } else { (PAUSED, OPEN) };
        if self.reading.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok() && !paused {
            self.wake_reader();
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.reading.load(Ordering::SeqCst) == PAUSED
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.reading.load(Ordering::SeqCst) == KILLED
    }

    /// Ends the connection at once: reads return the end, writes fail, whoever waits goes on.
    pub(crate) fn kill(&self) {
        self.reading.store(KILLED, Ordering::SeqCst);
        self.shut(Shutdown::Both);
        self.changed.notify_waiters();
        self.wake_reader();
    }

    /// Ends the connection in order: `last`, a whole frame, leaves after what was taken already, then
    /// the writing side is shut. Nothing more is taken.
    pub(crate) fn leave(&self, last: &[u8]) {
        {
            let mut sink = self.sink.lock();
            if sink.leaving {
                return;
            }
            sink.control.extend_from_slice(last);
            sink.leaving = true;
            if !matches!(self.flush(&mut sink), Ok(false)) {
                return;
            }
        }
        self.wake_reader();
    }

    /// Whoever reads the stream looks again whether it may.
    pub(crate) fn wake_reader(&self) {
        let reader = self.sink.lock().reader.clone();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// How long there has been no sign of the client: nothing came, and nothing that waited for it
    /// to read could leave. A line that is not read on purpose counts as heard.
    pub(crate) fn silence(&self, now: Duration) -> Duration {
        if self.is_paused() {
            self.alive();
        }
        now.saturating_sub(Duration::from_millis(self.alive_ms.load(Ordering::Relaxed)))
    }

    /// There was a sign of the client.
    pub(crate) fn alive(&self) {
        self.alive_ms.store(self.clock.monotonic().as_millis() as u64, Ordering::Relaxed);
    }

    /// Pings a client that reads slowly once more, with the frame `ping`, if that was not done within `period`: the
    /// heartbeat's own ping comes late, behind what is to be read before, and by then the client
    /// might have given the server up.
    pub(crate) fn nudge(&self, ping: &[u8], now: Duration, period: Duration) {
        {
            let mut sink = self.sink.lock();
            if !sink.full || now.saturating_sub(sink.nudged) < period {
                return;
            }
            sink.nudged = now;
        }
        if let Err(error) = self.put(ping) {
            tracing::trace!(%error, "a client is gone already");
        }
    }

    /// Takes whole frames that are to leave before anything else: what waited for the polls of a
    /// connection that has changed. There is no more of that than a poll may bring.
    ///
    /// # Errors
    /// When the stream is gone.
    pub(crate) fn begin(&self, frames: &[u8]) -> io::Result<()> {
        self.sink.lock().most += frames.len();
        self.put(frames)
    }

    /// Takes whole frames of the protocol's, to leave with what is said next.
    ///
    /// # Errors
    /// When the stream is gone, or so much waits that the client cannot be reading.
    pub(crate) fn hold(&self, frames: &[u8]) -> io::Result<()> {
        let mut sink = self.sink.lock();
        if sink.leaving {
            return Ok(());
        }
        if self.is_killed() || sink.control.len() + frames.len() > sink.most {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        sink.control.extend_from_slice(frames);
        Ok(())
    }

    /// Takes whole frames of the protocol's. They leave now, or as soon as the client reads.
    ///
    /// # Errors
    /// As [`Line::hold`].
    pub(crate) fn put(&self, frames: &[u8]) -> io::Result<()> {
        self.hold(frames)?;
        let mut sink = self.sink.lock();
        let blocked = !self.flush(&mut sink)?;
        drop(sink);
        if blocked {
            self.wake_reader();
        }
        Ok(())
    }

    /// Finishes what waits, as far as the socket takes it now; else `cx` is woken when it can go on.
    /// For whoever reads the stream.
    pub(crate) fn pump(&self, cx: &mut Context<'_>) {
        let mut sink = self.sink.lock();
        if !sink.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            sink.reader = Some(cx.waker().clone());
        }
        while !sink.is_clean() && matches!(self.socket.poll_write_ready(cx), Poll::Ready(Ok(()))) {
            let before = sink.waiting();
            let done = self.flush(&mut sink).unwrap_or(true);
            if sink.waiting() < before {
                // It waited for the client to read, and the client has read.
                self.alive();
            }
            if done {
                return;
            }
        }
    }

    /// Offers frames: what the socket does not take now is not taken.
    pub(crate) fn offer(&self, frames: &Wire) -> Offered {
        let mut sink = self.sink.lock();
        if sink.leaving || sink.over {
            return Offered::Closed;
        }
        if !sink.open {
            return Offered::Full(0);
        }
        if sink.leave_together(frames) {
            let offered = match self.flush(&mut sink) {
                Ok(true) => Offered::All,
                Ok(false) => Offered::Full(1),
                Err(_) => Offered::Closed,
            };
            sink.full = offered != Offered::All;
            return offered;
        }
        if !sink.is_clean() {
            match self.flush(&mut sink) {
                Ok(true) => {}
                Ok(false) => return Offered::Full(0),
                Err(_) => return Offered::Closed,
            }
        }
        let offered = self.write(&mut sink, frames);
        sink.full = offered != Offered::All;
        offered
    }

    /// Resolves when an offer may be taken again, or when there is nobody to offer to.
    pub(crate) async fn room(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let (over, open) = {
                let sink = self.sink.lock();
                (sink.over || sink.leaving || self.is_killed(), sink.open)
            };
            if over {
                return;
            }
            if !open {
                changed.await;
                continue;
            }
            if self.socket.writable().await.is_err() {
                return;
            }
            let mut sink = self.sink.lock();
            if !matches!(self.flush(&mut sink), Ok(false)) {
                sink.full = false;
                drop(sink);
                self.alive();
                return;
            }
        }
    }

    /// The stream is gone.
    pub(crate) fn end(&self) {
        let (ears, reader) = {
            let mut sink = self.sink.lock();
            if std::mem::replace(&mut sink.over, true) {
                return;
            }
            sink.rest = Bytes::new();
            sink.control = Vec::new();
            if sink.handshake.take().is_some() {
                metrics::counter!("tidings_handshakes_unfinished_total").increment(1);
            }
            (sink.ears.take(), sink.reader.take())
        };
        drop(reader);
        // Whoever still has the line keeps the file, but no longer the connection.
        self.shut(Shutdown::Both);
        self.changed.notify_waiters();
        if let Some(ears) = ears {
            ears.ended();
        }
    }

    fn shut(&self, how: Shutdown) {
        if let Err(error) = shutdown(&self.socket, how) {
            tracing::trace!(%error, "a socket was shut already");
        }
    }

    /// Writes what waits: the frame that was begun, then the protocol's. Whether all of it left.
    fn flush(&self, sink: &mut Sink) -> io::Result<bool> {
        if sink.over {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        while !sink.rest.is_empty() {
            match self.socket.try_write(&sink.rest) {
                Ok(written) => sink.rest.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // The message that was begun need not be kept for it any longer.
        sink.rest = Bytes::new();
        while !sink.control.is_empty() {
            match self.socket.try_write(&sink.control) {
                Ok(written) => drop(sink.control.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        sink.control = Vec::new();
        if sink.leaving {
            self.shut(Shutdown::Write);
        }
        Ok(true)
    }

    /// One write, without a look at what the runtime knows of the socket: that is another place in
    /// memory for each client. What does not work at once is left to the runtime's own way.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(written) => Ok(written),
            Err(_) => self.socket.try_write(bytes),
        }
    }

    /// Writes frames as far as the socket takes them. The end of one that was begun waits.
    fn write(&self, sink: &mut Sink, frames: &Wire) -> Offered {
        let bytes = frames.bytes();
        let written = match self.send(bytes) {
            Ok(written) if written == bytes.len() => return Offered::All,
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Offered::Full(0),
            Err(_) => return Offered::Closed,
        };
        let whole = frames.whole(written);
        if frames.start(whole) == written {
            return Offered::Full(whole);
        }
        let rest = written..frames.start(whole + 1);
        sink.rest = if rest.len() <= COPIED { Bytes::copy_from_slice(&bytes[rest]) } else { bytes.slice(rest) };
        Offered::Full(whole + 1)
    }
}

impl Replaced for Line {
    fn replaced(&self) {
        self.leave(&frames::close(close_code::TRY_AGAIN, "the server has more handshakes than it takes: try again"));
        self.kill();
    }
}

impl Sink {
    /// Puts a single short frame behind what the protocol has just said, so that both leave in one
    /// write. Whether that was done.
    fn leave_together(&mut self, frames: &Wire) -> bool {
        let together =
            frames.count() == 1 && frames.bytes().len() <= TOGETHER && !self.full && !self.control.is_empty();
        if together {
            self.control.extend_from_slice(frames.bytes());
        }
        together
    }

    /// How many bytes wait that were taken.
    fn waiting(&self) -> usize {
        self.rest.len() + self.control.len()
    }

    /// Nothing waits that was taken.
    fn is_clean(&self) -> bool {
        self.waiting() == 0
    }
}
