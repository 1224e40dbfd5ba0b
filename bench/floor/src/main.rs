//! The floor: what a delivery costs when there is nothing but its write.
//!
//! Guarantees: one thread, and for each subscriber and each POST one `write` of frames that were made
//! once. Whoever costs as much as this has nothing left to save but writes.
//! It is no server: it has one channel, knows the few frames that the load generator sends, and asks for no token.

mod connection;

use std::{io, process::ExitCode};

use connection::Connection;
use mio::{Events, Interest, Poll, Token, net::TcpListener};

const LISTENER: Token = Token(usize::MAX);
const SCRATCH_BYTES: usize = 1 << 20;

struct Floor {
    poll: Poll,
    listener: TcpListener,
    /// By token; none where one has left.
    connections: Vec<Option<Connection>>,
    scratch: Vec<u8>,
}

impl Floor {
    fn bind(port: u16) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, connections: Vec::new(), scratch: vec![0; SCRATCH_BYTES] })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    token => self.serve(token.0),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((mut socket, _)) = self.listener.accept() {
            let token = Token(self.connections.len());
            socket.set_nodelay(true)?;
            self.poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            self.connections.push(Some(Connection::new(socket)));
        }
        Ok(())
    }

    fn serve(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        let mut posted = Vec::new();
        let alive = connection.flush() && connection.read(&mut self.scratch, |body| posted.push(body));
        if !alive {
            self.connections[index] = None;
        }
        for body in posted {
            self.broadcast(&body);
        }
    }

    fn broadcast(&mut self, body: &[u8]) {
        let message = |event: &[u8]| connection::text_frame(&[b"42[\"message\",", event, b"]"].concat());
        let frames = events(body).into_iter().map(message).collect::<Vec<_>>().concat();
        for connection in self.connections.iter_mut().flatten().filter(|connection| connection.is_subscribed()) {
            connection.deliver(&frames);
        }
    }
}

/// The events of a POST: one object, or the objects of an array. Texts in them hold no brackets.
fn events(body: &[u8]) -> Vec<&[u8]> {
    let (mut events, mut depth, mut start) = (Vec::new(), 0, 0);
    for (index, byte) in body.iter().enumerate() {
        match byte {
            b'{' => {
                start = if depth == 0 { index } else { start };
                depth += 1;
            }
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    events.push(&body[start..=index]);
                }
            }
            _ => {}
        }
    }
    events
}

fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|port| port.parse().ok()) else { return ExitCode::from(2) };
    match Floor::bind(port).and_then(|mut floor| floor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_holds_an_event_or_an_array_of_them() {
        assert_eq!(events(b"{\"data\":{}}"), [b"{\"data\":{}}"]);
        assert_eq!(events(b"[{\"a\":{}},{\"b\":1}]"), [b"{\"a\":{}}".as_slice(), b"{\"b\":1}"]);
        assert!(events(b"").is_empty());
    }
}
