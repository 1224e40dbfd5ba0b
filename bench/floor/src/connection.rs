//! One connection of the floor: a subscriber or a publisher, told apart by what it says.
//!
//! Guarantees: what a full socket does not take is kept, in order, and written when there is room.
//! It is not a WebSocket implementation: it answers what the load generator says, and nothing else.

use std::io::{ErrorKind, Read, Write};

use memchr::memmem;
use mio::net::TcpStream;

const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const OPENED: &[u8] =
    br#"0{"sid":"floor","upgrades":[],"pingInterval":600000,"pingTimeout":600000,"maxPayload":1000000}"#;
const JOINED: &[u8] = br#"40{"sid":"floor"}"#;
const SUBSCRIBED: &[u8] = br#"431[{"ok":true}]"#;
const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}";

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    subscribed: bool,
    input: Vec<u8>,
    /// What the socket had no room for.
    output: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, subscribed: false, input: Vec::new(), output: Vec::new() }
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// Writes what waits; false when the connection is gone.
    pub(crate) fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// The one write.
    pub(crate) fn deliver(&mut self, bytes: &[u8]) {
        let written = if self.output.is_empty() { self.socket.write(bytes).unwrap_or(0) } else { 0 };
        self.output.extend_from_slice(&bytes[written..]);
    }

    /// Reads until nothing is left, and tells the bodies of POSTs; false when the connection is gone.
    pub(crate) fn read(&mut self, scratch: &mut [u8], mut posted: impl FnMut(Vec<u8>)) -> bool {
        loop {
            match self.socket.read(scratch) {
                Ok(0) => return false,
                Ok(read) => self.input.extend_from_slice(&scratch[..read]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            while let Some(body) = self.next() {
                if !body.is_empty() {
                    posted(body);
                }
            }
        }
    }

    /// Takes one whole thing from the input, answers it, and returns the body if it was a POST.
    fn next(&mut self) -> Option<Vec<u8>> {
        if self.input.is_empty() {
            return None;
        }
        if self.input.starts_with(b"GET ") || self.input.starts_with(b"POST ") {
            return self.request();
        }
        // Client frames are masked with zeros by the load generator, and all are small.
        let length = usize::from(self.input.get(1)? & 0x7f);
        let (start, length) = match length {
            126 => (8, usize::from(u16::from_be_bytes(self.input.get(2..4)?.try_into().ok()?))),
            small => (6, small),
        };
        let packet = self.input.get(start..start + length)?;
        let answer = if packet.starts_with(b"40") {
            JOINED
        } else if packet.starts_with(b"421[\"subscribe\"") {
            self.subscribed = true;
            SUBSCRIBED
        } else {
            b""
        };
        self.input.drain(..start + length);
        if !answer.is_empty() {
            self.deliver(&text_frame(answer));
        }
        Some(Vec::new())
    }

    fn request(&mut self) -> Option<Vec<u8>> {
        let head = memmem::find(&self.input, b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&self.input[..head]).to_ascii_lowercase();
        if text.contains("upgrade: websocket") {
            self.input.drain(..head);
            self.deliver(UPGRADED);
            self.deliver(&text_frame(OPENED));
            return Some(Vec::new());
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        let body = self.input.get(head..head + length)?.to_vec();
        self.input.drain(..head + length);
        self.deliver(ACCEPTED);
        Some(body)
    }
}

/// A text frame of a server.
pub(crate) fn text_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(length as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}
