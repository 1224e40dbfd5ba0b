//! The tap: the byte stream that the protocol of a WebSocket gets, in place of the TCP stream.
//!
//! Guarantees: what the protocol writes is taken whole and at once (see [`Line`]), so its tasks are never stuck
//! behind a client that does not read; reading can be paused.
//! It is not a parser of the protocol: what passes is shown to the transport's [`Watch`].

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Line, OpenStream};

/// What a transport sees of a stream's bytes.
pub(crate) trait Watch: Send + Unpin + 'static {
    /// So many bytes came. Whether the client may be read on: else its stream ends.
    fn came(&mut self, line: &Line, bytes: usize) -> bool;

    /// The protocol writes whole frames: passes them on to the line, as they are or as they should be.
    ///
    /// # Errors
    /// Those of the line.
    fn pass(&mut self, line: &Line, frames: &[u8]) -> io::Result<()>;
}

/// The stream.
pub(crate) struct Tap<W> {
    line: Arc<Line>,
    /// What the client sent before the stream was handed over.
    early: Bytes,
    watch: W,
    _open: OpenStream,
}

impl<W: Watch> Tap<W> {
    /// The stream of a line. `early` is read first; `open` counts it until it ends.
    pub(crate) fn new(line: Arc<Line>, early: Bytes, watch: W, open: OpenStream) -> Self {
        Self { line, early, watch, _open: open }
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
                    if !this.watch.came(&this.line, read) {
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
