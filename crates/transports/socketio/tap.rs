//! The tap: the byte stream that socketioxide gets for a WebSocket, in place of the TCP stream.
//!
//! Guarantees: what it writes is taken whole and at once (see [`Line`]), so its tasks are never stuck
//! behind a client that does not read; the outlet opens when the client has been told that it is
//! connected, not before, and until then no more is read than a token takes; reading can be paused.
//! It is not a parser of the protocol: it looks at the frames of the handshake and passes on the rest.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{MAX_UNACCEPTED, frames, heartbeat};
use crate::connection::{
    Line, OpenStream,
    frames::{payloads, text},
};

/// The stream.
pub(super) struct Tap {
    line: Arc<Line>,
    /// What the client sent before the stream was handed over.
    early: Bytes,
    /// The probe of an upgrade was answered already.
    probed: bool,
    /// The frames of the handshake are still to come.
    watching: bool,
    /// How many bytes came by then.
    unaccepted: usize,
    heartbeat: heartbeat::Advertised,
    _open: OpenStream,
}

impl Tap {
    /// The stream of a line. `early` is read first; `open` counts it until it ends.
    pub(super) fn new(line: Arc<Line>, early: Bytes, heartbeat: heartbeat::Advertised, open: OpenStream) -> Self {
        Self { line, early, probed: false, watching: true, unaccepted: 0, heartbeat, _open: open }
    }

    /// The answer to the client's probe was given already, and is not given again.
    pub(super) fn probed(mut self) -> Self {
        self.probed = true;
        self
    }

    /// Whether a client that is not accepted yet sent more than its token.
    fn is_too_much(&mut self, read: usize) -> bool {
        if !self.watching || self.line.is_open() {
            return false;
        }
        self.unaccepted += read;
        self.unaccepted > MAX_UNACCEPTED
    }

    /// Looks at whole frames on their way out, and passes them on.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.watching {
            return self.line.put(bytes);
        }
        if self.probed && bytes == frames::PROBE_ANSWER {
            self.probed = false;
            self.watching = !self.line.is_open();
            return Ok(());
        }
        let Some(opening) = payloads(bytes).find(|payload| payload.starts_with(b"0{")) else {
            if !payloads(bytes).any(|payload| payload.starts_with(b"40")) {
                return self.line.put(bytes);
            }
            // The first word of the server leaves with it.
            self.line.hold(bytes)?;
            self.watching = false;
            self.line.open();
            return self.line.put(&[]);
        };
        self.line.put(&text(&[self.heartbeat.corrected(opening).as_bytes()]))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.line.end();
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.line.pump(cx);
        if this.line.is_killed() {
            this.line.end();
            return Poll::Ready(Ok(()));
        }
        if !this.early.is_empty() {
            let some = this.early.len().min(buf.remaining());
            buf.put_slice(&this.early[..some]);
            this.early.advance(some);
            return Poll::Ready(Ok(()));
        }
        if this.line.is_paused() {
            return Poll::Pending;
        }
        loop {
            ready!(this.line.socket().poll_read_ready(cx))?;
            match this.line.socket().try_read(buf.initialize_unfilled()) {
                Ok(0) => {
                    this.line.end();
                    return Poll::Ready(Ok(()));
                }
                Ok(read) => {
                    if this.is_too_much(read) {
                        this.line.end();
                        return Poll::Ready(Ok(()));
                    }
                    buf.advance(read);
                    this.line.alive();
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    this.line.end();
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // tungstenite hands over its buffer of whole frames, and all of it is taken.
        Poll::Ready(self.get_mut().pass(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().line.leave(&[]);
        Poll::Ready(Ok(()))
    }
}
