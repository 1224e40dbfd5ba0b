//! A client's TCP stream while it speaks HTTP: one that does not read what it is sent is given up.
//!
//! Guarantees: the time counts only while the system takes no more of what is to be written, so a client that nothing
//! is written to may wait as long as it likes; whoever is given up is reset, so that nothing of the answer stays in
//! the system, and counted; bytes pass unchanged.
//! It is not the rule for WebSockets, whose subscriptions have their own: they take the bare stream out of it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::patience::{Patience, Wait};

/// The stream.
#[derive(Debug)]
pub struct ClientStream {
    socket: TcpStream,
    reader: Wait,
}

impl ClientStream {
    /// The stream of a client that has so much patience to read.
    #[must_use]
    pub fn new(socket: TcpStream, patience: Patience) -> Self {
        Self { socket, reader: Wait::new(patience) }
    }

    /// The bare stream.
    #[must_use]
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// What came of a write, or the end of a client that does not read.
    fn judge(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => self.reader.passed(bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                ready!(self.reader.poll(context));
                metrics::counter!("tidings_answers_timed_out_total").increment(1);
                // What the system has of the answer would wait there for the client, without anybody who bounds it.
                if let Err(error) = self.socket.set_zero_linger() {
                    tracing::debug!(%error, "a client that does not read is not reset");
                }
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        written
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::{Instant, advance, timeout},
    };

    use super::*;

    const PATIENCE: Patience = Patience { time: Duration::from_secs(30), bytes_per_second: 4096 };
    /// More than lies between the two ends.
    const MUCH: usize = 64 << 20;

    async fn ends() -> (ClientStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        let (socket, _) = listener.accept().await.expect("comes");
        (ClientStream::new(socket, PATIENCE), client)
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_reset_after_its_time_and_not_before() {
        let (mut stream, mut client) = ends().await;
        let begin = Instant::now();
        let failed = stream.write_all(&vec![0; MUCH]).await.expect_err("nobody reads");
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed().as_secs(), 30);
        drop(stream);
        let mut rest = Vec::new();
        let reset = client.read_to_end(&mut rest).await.expect_err("it was not whole");
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nothing_is_written_does_not_count_and_the_bare_stream_has_no_deadline() {
        let (mut stream, mut client) = ends().await;
        for _ in 0..10 {
            advance(PATIENCE.time * 2).await;
            stream.write_all(b"x").await.expect("there is room");
        }
        let mut read = [0; 10];
        client.read_exact(&mut read).await.expect("reads");
        assert_eq!(&read, b"xxxxxxxxxx");
        let mut socket = stream.into_socket();
        let much = vec![0; MUCH];
        assert!(timeout(PATIENCE.time * 10, socket.write_all(&much)).await.is_err(), "it waits on");
    }
}
