//! One HTTP connection that is kept, for posting events and reading metrics.
//!
//! Guarantees: a question waits for its whole answer; an answer that is not a success is an error
//! with the server's own words.
//! It is not an HTTP client: every answer must tell its length.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use memchr::memmem;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of a refusal is shown.
const SHOWN_BYTES: usize = 300;

/// The connection.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    host: SocketAddr,
    token: String,
    input: Vec<u8>,
}

impl Connection {
    /// Connects; `token` goes along with every question.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn open(host: SocketAddr, token: &str) -> Result<Self, String> {
        let socket = TcpStream::connect(host).map_err(|error| format!("{host}: {error}"))?;
        socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(PATIENCE))).map_err(failed)?;
        Ok(Self { socket, host, token: token.to_owned(), input: Vec::new() })
    }

    /// Posts a JSON body and returns the answer's.
    ///
    /// # Errors
    /// If it is not accepted.
    pub fn post(&mut self, path: &str, body: &str) -> Result<String, String> {
        self.ask("POST", path, body)
    }

    /// Gets a text.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&mut self, path: &str) -> Result<String, String> {
        self.ask("GET", path, "")
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<String, String> {
        let (status, body) = self.exchange(method, path, body)?;
        let shown = body.chars().take(SHOWN_BYTES).collect::<String>();
        if status / 100 == 2 { Ok(body) } else { Err(format!("{method} {path}: {status} {shown}")) }
    }

    /// Asks, and returns the answer's status and body, whatever they are.
    ///
    /// # Errors
    /// If no answer comes: what was asked may have been done or not.
    pub fn exchange(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
        self.exchange_with("", method, path, body)
    }

    /// The same with further lines of the head, each with its end: `Name: value\r\n`.
    ///
    /// # Errors
    /// As [`Connection::exchange`].
    pub fn exchange_with(&mut self, head: &str, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
        let (host, token, length) = (self.host, &self.token, body.len());
        let question = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n{head}\r\n{body}"
        );
        self.socket.write_all(question.as_bytes()).map_err(failed)?;
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some((status, body, length)) = answer(&self.input)? {
                self.input.drain(..length);
                return Ok((status, body));
            }
            match self.socket.read(&mut chunk).map_err(failed)? {
                0 => return Err(format!("{method} {path}: the server closed the connection")),
                read => self.input.extend_from_slice(&chunk[..read]),
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn failed(error: std::io::Error) -> String {
    format!("the publishing connection failed: {error}")
}

/// A whole answer at the beginning of `bytes`: status, body, and the bytes that it takes.
fn answer(bytes: &[u8]) -> Result<Option<(u16, String, usize)>, String> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    let (Some(status), Some(length)) = (status, length) else {
        return Err(format!("an answer without status or length: {head}"));
    };
    let body = bytes.get(end + 4..end + 4 + length);
    Ok(body.map(|body| (status, String::from_utf8_lossy(body).into_owned(), end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_at_its_last_byte_and_not_before() {
        let bytes = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 3\r\n\r\nabc";
        for cut in 0..bytes.len() {
            assert_eq!(answer(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let more = [bytes.as_slice(), b"HTTP"].concat();
        assert_eq!(answer(&more), Ok(Some((200, "abc".to_owned(), bytes.len()))));
    }

    #[test]
    fn an_answer_without_a_length_is_refused() {
        assert!(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
