//! The tap: the byte stream that the protocol of a WebSocket gets, in place of the TCP stream.
//!
//! Guarantees: frames are read here before anybody else has them, and what is none closes the stream with its code;
//! what the protocol writes is taken whole and at once (see [`Line`]), so its tasks are never stuck behind a client
//! that does not read; reading can be paused. Of a client nothing is kept but a message that has not come whole.
//! It is not a parser of what runs on the WebSocket: its messages are shown to the transport's [`Watch`].

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Line, OpenStream, frames,
    walker::{Frame, Step, Walker, code},
};

/// The most bytes of one read: of a large message as much as there is, as a few large reads cost less than many.
const READ: usize = 256 * 1024;

thread_local! {
    /// Where reads go: what is left over is kept by its stream.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// A message that came whole.
pub(crate) enum Message<'a> {
    Text(&'a str),
    Binary,
}

/// What becomes of a message.
pub(crate) enum Heard {
    /// It was taken.
    Taken,
    /// The protocol behind the tap is to have it.
    Passed,
    /// The stream ends with this code and these words.
    Ends(u16, &'static str),
}

/// What a transport sees of a stream.
pub(crate) trait Watch: Send + Unpin + 'static {
    /// So many bytes came. Whether the client may be read on: else its stream ends.
    fn came(&mut self, line: &Line, bytes: usize) -> bool;

    /// The most bytes that a message may have now.
    fn limit(&self, line: &Line) -> usize;

    /// Whether the next message has to wait for something. Whoever ends that wakes the line's reader.
    fn waits(&self) -> bool;

    /// So many bytes are kept of what came: of a message whose rest is to come (`is_awaited`), or of some that could not
    /// be taken yet. Said after each read.
    ///
    /// # Errors
    /// The code to close the stream with, and why.
    fn keeps(&mut self, line: &Line, bytes: usize, is_awaited: bool) -> Result<(), (u16, &'static str)>;

    /// A message came.
    fn hears(&mut self, line: &Line, message: Message<'_>) -> Heard;

    /// The stream ends: nothing of it is heard any more, and it may take a moment to close.
    fn ends(&mut self);

    /// What the protocol is to read before it finds the end, if anything. Asked once.
    fn parting(&mut self) -> Option<Bytes>;

    /// The protocol writes whole frames: passes them on to the line, as they are or as they should be.
    ///
    /// # Errors
    /// Those of the line.
    fn pass(&mut self, line: &Line, frames: &[u8]) -> io::Result<()>;
}

/// How far the end of a stream has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It goes on.
    Not,
    /// The protocol reads what it is to read before.
    Parting,
    /// It has had a turn for that.
    Over,
}

/// The stream.
pub(crate) struct Tap<W> {
    line: Arc<Line>,
    walker: Walker,
    /// What came and is not a whole frame yet, or could not be taken yet.
    kept: Vec<u8>,
    /// What the protocol is to read.
    passed: Bytes,
    /// It was closed: what still comes is read, so that the close arrives, and dropped.
    closed: bool,
    ending: Ending,
    watch: W,
    _open: OpenStream,
}

impl<W: Watch> Tap<W> {
    /// The stream of a line. The protocol reads `first`, as it is, and then what comes of `early`, which was read
    /// already; `open` counts the stream until it ends.
    pub(crate) fn new(line: Arc<Line>, first: Bytes, early: &[u8], watch: W, open: OpenStream) -> Self {
        let (walker, kept) = (Walker::default(), early.to_vec());
        Self { line, walker, kept, passed: first, closed: false, ending: Ending::Not, watch, _open: open }
    }

    fn reads(&self) -> bool {
        !self.closed && !self.line.is_paused() && !self.watch.waits()
    }

    /// Takes the whole frames of these bytes, as far as they may be taken now. How many bytes those are.
    fn digest(&mut self, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        let mut passed = Vec::new();
        while used < bytes.len() && self.reads() {
            let limit = self.watch.limit(&self.line);
            match self.walker.next(&mut bytes[used..], limit) {
                Step::More => break,
                Step::Wrong(code, why) => self.close(code, why),
                Step::Frame(length, frame) => {
                    used += length;
                    self.take(frame, &mut passed);
                }
            }
        }
        if !passed.is_empty() {
            self.passed = passed.into();
        }
        if self.closed { bytes.len() } else { used }
    }

    fn take(&mut self, frame: Frame<'_>, passed: &mut Vec<u8>) {
        let heard = match frame {
            Frame::Text(payload) => match std::str::from_utf8(payload.bytes()) {
                Ok(text) => {
                    let heard = self.watch.hears(&self.line, Message::Text(text));
                    if matches!(heard, Heard::Passed) {
                        frames::put_as_client(passed, text.as_bytes());
                    }
                    heard
                }
                Err(_) => Heard::Ends(code::NOT_TEXT, "a text is not UTF-8"),
            },
            Frame::Binary => self.watch.hears(&self.line, Message::Binary),
            Frame::Ping(payload) => match self.line.put(&frames::pong(payload)) {
                Ok(()) => Heard::Taken,
                Err(_) => Heard::Ends(code::POLICY, "pings are not read"),
            },
            Frame::Close(code) => Heard::Ends(code, ""),
            Frame::Part | Frame::Pong => Heard::Taken,
        };
        if let Heard::Ends(code, why) = heard {
            self.close(code, why);
        }
    }

    fn close(&mut self, code: u16, why: &'static str) {
        if self.closed {
            return;
        }
        self.closed = true;
        if !why.is_empty() {
            metrics::counter!("tidings_websockets_failed_total", "code" => code.to_string()).increment(1);
            tracing::debug!(code, why, "a WebSocket is closed for what its client sent");
        }
        self.line.leave(&frames::close(code, why));
        self.watch.ends();
    }

    /// Reads what the socket has. None at its end.
    fn read(&mut self) -> io::Result<Option<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let read = self.line.socket().try_read(scratch)?;
            if read == 0 {
                return Ok(None);
            }
            if !self.closed && !self.watch.came(&self.line, read) {
                self.close(code::TOO_LARGE, "more than a token takes came before a token");
            }
            self.line.alive();
            if self.closed {
                return Ok(Some(()));
            }
            if self.kept.is_empty() {
                let used = self.digest(&mut scratch[..read]);
                self.kept.extend_from_slice(&scratch[used..read]);
            } else {
                self.kept.extend_from_slice(&scratch[..read]);
                self.digest_kept();
            }
            self.count();
            Ok(Some(()))
        })
    }

    /// The end: the protocol reads what it is to read before, has a turn for what comes of it, and then finds the end.
    fn end(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ending == Ending::Not {
            self.line.end();
            self.passed = self.watch.parting().unwrap_or_default();
            self.ending = if self.passed.is_empty() { Ending::Over } else { Ending::Parting };
        }
        if !self.passed.is_empty() {
            self.hand_over(buf);
        } else if self.ending == Ending::Parting {
            self.ending = Ending::Over;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the protocol of what it is to read as much as it takes.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let some = self.passed.len().min(buf.remaining());
        buf.put_slice(&self.passed[..some]);
        self.passed.advance(some);
        if self.passed.is_empty() {
            // Its memory held a token, for as long as the client stays.
            self.passed = Bytes::new();
        }
    }

    /// Says what is kept, and ends what is not to be waited for.
    fn count(&mut self) {
        let bytes = if self.closed { 0 } else { self.kept.len() + self.walker.kept() };
        let is_awaited = self.reads();
        if let Err((code, why)) = self.watch.keeps(&self.line, bytes, is_awaited) {
            self.kept = Vec::new();
            self.walker = Walker::default();
            self.close(code, why);
        }
    }

    fn digest_kept(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        let used = self.digest(&mut kept);
        if used < kept.len() {
            kept.drain(..used);
            self.kept = kept;
        }
    }
}

impl<W> Drop for Tap<W> {
    fn drop(&mut self) {
        self.line.end();
    }
}

impl<W: Watch> AsyncRead for Tap<W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.line.pump(cx);
        loop {
            if this.ending != Ending::Not || this.line.is_killed() {
                return this.end(cx, buf);
            }
            if !this.passed.is_empty() && !this.closed {
                this.hand_over(buf);
                return Poll::Ready(Ok(()));
            }
            if !this.closed && !this.reads() {
                return Poll::Pending;
            }
            if !this.kept.is_empty() && !this.closed {
                this.digest_kept();
                this.count();
                if !this.passed.is_empty() || this.closed || !this.reads() {
                    continue;
                }
            }
            ready!(this.line.socket().poll_read_ready(cx))?;
            match this.read() {
                Ok(Some(())) => {}
                Ok(None) => return this.end(cx, buf),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::trace!(%error, "a stream broke");
                    return this.end(cx, buf);
                }
            }
        }
    }
}

impl<W: Watch> AsyncWrite for Tap<W> {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // tungstenite hands over its buffer of whole frames, and all of it is taken.
        let this = self.get_mut();
        Poll::Ready(this.watch.pass(&this.line, bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().line.leave(&[]);
        Poll::Ready(Ok(()))
    }
}
