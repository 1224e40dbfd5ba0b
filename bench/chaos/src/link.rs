//! One WebSocket of a client: bytes in and out, packets cut out of them.
//!
//! Guarantees: waiting for bytes may be cancelled without losing any; a connection can be cut so that the
//! other side gets a reset, as from a network that breaks.
//! It knows no subscription: see `client`.

use std::{io, net::SocketAddr, time::Duration};

use memchr::memmem;
use tidings_load::frame::{self, Split};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long connecting, and each write, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The buffer of a socket that is to be full soon, in bytes; the system doubles it.
const SMALL: u32 = 8 << 10;

/// The most that a frame may hold for those who ask for nothing large, in bytes.
const MOST: u64 = 512 << 10;

/// The connection.
#[derive(Debug)]
pub struct Link {
    socket: TcpStream,
    input: Vec<u8>,
    used: usize,
    /// The most that a frame may hold.
    most: u64,
}

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub enum NoLink {
    /// Nobody listens, or the connection broke.
    Unreachable,
    /// The server gave another answer than a WebSocket, with this status.
    Status(u16),
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// More bytes.
    Bytes,
    /// The end.
    End,
}

impl Link {
    /// Connects and asks for a WebSocket; `narrow` makes a receive buffer that is soon full.
    ///
    /// # Errors
    /// [`NoLink`].
    pub async fn open(host: SocketAddr, narrow: bool) -> Result<Self, NoLink> {
        let opening = Self::upgrade(host, narrow);
        timeout(PATIENCE, opening).await.unwrap_or(Ok(Err(NoLink::Unreachable))).unwrap_or(Err(NoLink::Unreachable))
    }

    async fn upgrade(host: SocketAddr, narrow: bool) -> io::Result<Result<Self, NoLink>> {
        let socket = if host.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if narrow {
            socket.set_recv_buffer_size(SMALL)?;
        }
        let mut socket = socket.connect(host).await?;
        socket.set_nodelay(true)?;
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut input = Vec::with_capacity(512);
        loop {
            if let Some(end) = memmem::find(&input, b"\r\n\r\n") {
                let status = String::from_utf8_lossy(&input[..end]).split(' ').nth(1).and_then(|it| it.parse().ok());
                return Ok(match status {
                    Some(101) => Ok(Self { socket, input, used: end + 4, most: MOST }),
                    Some(status) => Err(NoLink::Status(status)),
                    None => Err(NoLink::Unreachable),
                });
            }
            if socket.read_buf(&mut input).await? == 0 {
                return Ok(Err(NoLink::Unreachable));
            }
        }
    }

    /// Lets a frame hold more.
    pub fn take_up_to(&mut self, bytes: u64) {
        self.most = bytes;
    }

    /// Waits for more bytes.
    pub async fn arrival(&mut self) -> Arrival {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        match self.socket.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Arrival::End,
            Ok(_) => Arrival::Bytes,
        }
    }

    /// Takes the next whole packet out of what came. The opcode says what it is.
    ///
    /// # Errors
    /// If what came is no frame of a server.
    pub fn packet(&mut self) -> Result<Option<(u8, &[u8])>, String> {
        let start = self.used;
        let (opcode, payload, length) = match frame::split_within(&self.input[start..], self.most) {
            Split::Whole { opcode, payload, length } => (opcode, payload.len(), length),
            Split::Part => return Ok(None),
            Split::Broken => return Err("what came is no frame of a server".to_owned()),
        };
        self.used += length;
        let end = start + length;
        Ok(Some((opcode, &self.input[end - payload..end])))
    }

    /// Says a packet. False once the connection is over.
    pub async fn say(&mut self, packet: &[u8]) -> bool {
        self.write(frame::TEXT, packet).await
    }

    /// Writes a frame of any kind. False once the connection is over.
    pub async fn write(&mut self, opcode: u8, payload: &[u8]) -> bool {
        let mut bytes = Vec::with_capacity(payload.len() + 8);
        frame::write(opcode, payload, &mut bytes);
        self.write_bytes(&bytes).await
    }

    /// Writes bytes that need not be a frame. False once the connection is over.
    pub async fn write_bytes(&mut self, bytes: &[u8]) -> bool {
        matches!(timeout(PATIENCE, self.socket.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Cuts the connection: what the other side gets is a reset.
    pub fn cut(self) {
        reset(self.socket);
    }
}

/// Closes a socket with a reset in place of an end.
pub fn reset(socket: TcpStream) {
    // Where that fails the connection is over already.
    socket.set_zero_linger().ok();
    drop(socket);
}
