//! A line: the byte stream of one WebSocket, between the TCP stream and socketioxide.
//!
//! Guarantees: it counts which packets have been written, so that the outlet knows its room; it can
//! stop reading for a while, and it can end the connection at once whatever its writer is stuck in.
//! It is not a parser of the protocol: it follows frame boundaries and reads two bytes of a payload.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::runtime::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A probe and an upgrade packet of a client, as masked frames: so many bytes come before the upgrade is done.
const UPGRADE_BYTES: u64 = 12 + 7;

/// What a line tells: so many message packets were written, or that it ended.
pub(super) trait LineEars: Send + Sync {
    fn written(&self, packets: usize);
    fn ended(&self);
}

const OPEN: u8 = 0;
const PAUSED: u8 = 1;
const KILLED: u8 = 2;

/// The shared side of a line.
pub(super) struct Line {
    state: AtomicU8,
    wakers: Mutex<(Option<Waker>, Option<Waker>)>,
    ears: Mutex<Ears>,
    clock: Arc<dyn Clock>,
    heard_ms: AtomicU64,
    read_bytes: AtomicU64,
    upgrade: bool,
}

#[derive(Default)]
struct Ears {
    ears: Option<Arc<dyn LineEars>>,
    /// Written before anybody listened.
    early: usize,
    ended: bool,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    pub(super) fn new(clock: Arc<dyn Clock>, upgrade: bool) -> Arc<Self> {
        let heard = clock.monotonic().as_millis() as u64;
        Arc::new(Self {
            state: AtomicU8::new(OPEN),
            wakers: Mutex::default(),
            ears: Mutex::default(),
            clock,
            heard_ms: AtomicU64::new(heard),
            read_bytes: AtomicU64::new(0),
            upgrade,
        })
    }

    /// Says who hears of it; what was written or ended before is told at once.
    pub(super) fn listen(&self, ears: &Arc<dyn LineEars>) {
        let (early, ended) = {
            let mut mine = self.ears.lock();
            mine.ears = Some(ears.clone());
            (std::mem::take(&mut mine.early), mine.ended)
        };
        if early > 0 {
            ears.written(early);
        }
        if ended {
            ears.ended();
        }
    }

    /// Stops reading, or reads again. A killed line stays killed.
    pub(super) fn pause(&self, paused: bool) {
        let (from, to) = if paused { (OPEN, PAUSED) } else { (PAUSED, OPEN) };
        if self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok() && !paused {
            self.wake();
        }
    }

    /// Ends the connection at once: reads return the end, writes fail.
    pub(super) fn kill(&self) {
        self.state.store(KILLED, Ordering::SeqCst);
        self.wake();
    }

    /// How long nothing has come from the client; a line that is not read on purpose counts as heard.
    pub(super) fn silence(&self) -> Duration {
        let now = self.clock.monotonic().as_millis() as u64;
        if self.state.load(Ordering::SeqCst) == PAUSED {
            self.heard_ms.store(now, Ordering::Relaxed);
        }
        Duration::from_millis(now.saturating_sub(self.heard_ms.load(Ordering::Relaxed)))
    }

    /// Whether its stream has ended.
    pub(super) fn is_over(&self) -> bool {
        self.ears.lock().ended
    }

    fn wake(&self) {
        let (read, write) = std::mem::take(&mut *self.wakers.lock());
        for waker in [read, write].into_iter().flatten() {
            waker.wake();
        }
    }

    fn end(&self) {
        let ears = {
            let mut mine = self.ears.lock();
            mine.ended = true;
            mine.ears.take()
        };
        if let Some(ears) = ears {
            ears.ended();
        }
    }

    fn note_written(&self, packets: usize) {
        if packets == 0 {
            return;
        }
        let ears = {
            let mut mine = self.ears.lock();
            if mine.ears.is_none() {
                mine.early += packets;
            }
            mine.ears.clone()
        };
        if let Some(ears) = ears {
            ears.written(packets);
        }
    }

    /// Whether the client still polls: its upgrade has not come yet.
    pub(super) fn is_upgrading(&self) -> bool {
        self.upgrade && self.read_bytes.load(Ordering::Relaxed) < UPGRADE_BYTES
    }
}

/// Counts a stream as open until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The stream itself.
pub(super) struct Tap<S> {
    _open: Open,
    stream: S,
    line: Arc<Line>,
    frames: FrameCounter,
}

impl<S> Tap<S> {
    /// The stream of a line; `open` counts it, accepted or not, until it ends.
    pub(super) fn new(stream: S, line: Arc<Line>, open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self { _open: Open(open.clone()), stream, line, frames: FrameCounter::default() }
    }
}

impl<S> Drop for Tap<S> {
    fn drop(&mut self) {
        self.line.end();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.line.wakers.lock().0 = Some(cx.waker().clone());
        match this.line.state.load(Ordering::SeqCst) {
            KILLED => {
                this.line.end();
                return Poll::Ready(Ok(()));
            }
            PAUSED => return Poll::Pending,
            _ => {}
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                let read = (buf.filled().len() - before) as u64;
                this.line.read_bytes.fetch_add(read, Ordering::Relaxed);
                let now = this.line.clock.monotonic().as_millis() as u64;
                this.line.heard_ms.store(now, Ordering::Relaxed);
                Poll::Ready(Ok(()))
            }
            // A probe that dies half-way would leave socketioxide's session upgrading for ever: its own
            // time limit for upgrades must see silence, not an end.
            Poll::Ready(_) if this.line.is_upgrading() => Poll::Pending,
            Poll::Ready(end) => {
                this.line.end();
                Poll::Ready(end)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> Tap<S> {
    fn guard(&self, cx: &Context<'_>) -> io::Result<()> {
        self.line.wakers.lock().1 = Some(cx.waker().clone());
        if self.line.state.load(Ordering::SeqCst) == KILLED {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.guard(cx)?;
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            let packets = this.frames.follow(&bytes[..count]);
            this.line.note_written(packets);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.guard(cx)?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Whether a packet's text starts like an event or an acknowledgement: what the outlet counts.
pub(super) fn is_counted(start: [u8; 2]) -> bool {
    start == *b"42" || start == *b"43"
}

/// Follows unmasked WebSocket frames (RFC 6455, section 5.2) in a byte stream and counts whole ones
/// that carry an event or an acknowledgement.
#[derive(Default)]
struct FrameCounter {
    header: Vec<u8>,
    left: u64,
    start: [u8; 2],
    seen: u8,
}

impl FrameCounter {
    fn follow(&mut self, mut bytes: &[u8]) -> usize {
        let mut counted = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                self.header.push(bytes[0]);
                bytes = &bytes[1..];
                let Some(length) = payload_length(&self.header) else { continue };
                (self.left, self.seen, self.start) = (length, 0, [0; 2]);
                self.header.clear();
                continue;
            }
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            for &byte in bytes[..take].iter().take(2 - usize::from(self.seen.min(2))) {
                self.start[usize::from(self.seen)] = byte;
                self.seen += 1;
            }
            self.left -= take as u64;
            bytes = &bytes[take..];
            counted += usize::from(self.left == 0 && self.seen == 2 && is_counted(self.start));
        }
        counted
    }
}

/// The payload's length, once a header is whole.
fn payload_length(header: &[u8]) -> Option<u64> {
    let short = u64::from(header.get(1)? & 0x7f);
    match short {
        126 => Some(u64::from(u16::from_be_bytes(header.get(2..4)?.try_into().ok()?))),
        127 => Some(u64::from_be_bytes(header.get(2..10)?.try_into().ok()?)),
        length => Some(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81];
        match payload.len() {
            length if length < 126 => frame.push(length as u8),
            length if length < 65536 => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn events_and_acknowledgements_are_counted_once_whole_however_they_are_cut() {
        let long = [b"42".to_vec(), vec![b'x'; 300]].concat();
        let longer = [b"43".to_vec(), vec![b'x'; 70_000]].concat();
        let payloads: [&[u8]; 7] = [b"2", b"42[]", b"40{}", &long, b"", b"431[]", &longer];
        let stream: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
        for size in [1, 2, 3, 7, 64, 1000, stream.len()] {
            let mut counter = FrameCounter::default();
            let counted: usize = stream.chunks(size).map(|chunk| counter.follow(chunk)).sum();
            assert_eq!(counted, 4, "cut every {size} bytes");
        }
    }
}
