//! A subscriber against a server that is a few bytes, cut anywhere.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream as Server},
};

use super::*;

struct Stand {
    server: Server,
    subscriber: Subscriber,
    script: Script,
    seen: Seen,
    scratch: Vec<u8>,
}

fn stand() -> Stand {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    client.set_nonblocking(true).expect("not blocking");
    let (server, _) = listener.accept().expect("a connection");
    server.set_nodelay(true).expect("no delay");
    let socket = TcpStream::from_std(client);
    let subscriber = Subscriber::new(socket, 0, "session:load0".to_owned(), Since::Now);
    let script = Script { upgrade: "GET / HTTP/1.1\r\n\r\n".to_owned(), token: "t".to_owned(), numbered: true };
    let mut stand = Stand { server, subscriber, script, seen: Seen::default(), scratch: vec![0; SCRATCH_BYTES] };
    stand.subscriber.connected(&stand.script, &mut stand.seen);
    stand
}

impl Stand {
    /// Sends bytes and lets the subscriber read them.
    fn send(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).expect("it is read");
        // What `peek` does not see yet has not arrived; so few bytes arrive at once.
        while self.subscriber.socket.peek(&mut [0]).is_err() {}
        self.subscriber.read(&mut self.scratch, &self.script, &mut self.seen);
    }

    /// What the subscriber said, its frames unmasked.
    fn heard(&mut self) -> String {
        let mut chunk = [0; 4096];
        let read = self.server.read(&mut chunk).expect("something was said");
        String::from_utf8_lossy(&chunk[..read]).into_owned()
    }
}

fn text(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        small @ ..126 => frame.push(small as u8),
        length => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(payload.as_bytes());
    frame
}

fn message(number: u64) -> Vec<u8> {
    let seq = number + 1;
    text(&format!(
        "42[\"message\",{{\"type\":\"session.stream_output\",\"channel\":\"session:load0\",\"seq\":{seq},\
         \"data\":{{\"sessionId\":\"load0\",\"n\":{number},\"ts\":1,\"content\":\"{}\"}}}}]",
        "x".repeat(60)
    ))
}

fn greeting() -> Vec<u8> {
    let parts = [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(),
        text("0{\"sid\":\"a\"}"),
        text("40{\"sid\":\"b\"}"),
        text("42[\"message\",{\"type\":\"server.hello\",\"data\":{}}]"),
        text("431[{\"ok\":true,\"channel\":\"session:load0\",\"epoch\":\"e1\",\"seq\":0}]"),
    ];
    parts.concat()
}

#[test]
fn it_shows_its_token_and_asks_for_its_channel() {
    let mut stand = stand();
    assert!(stand.heard().starts_with("GET /"));
    stand.send(&greeting());
    let said = stand.heard();
    assert!(said.contains("40{\"token\":\"t\"}") && said.contains("421[\"subscribe\",\"session:load0\"]"), "{said}");
    assert_eq!(stand.subscriber.stage, Stage::Live);
    assert_eq!(stand.seen.tally, Tally::default(), "a notice is no delivery");
}

#[test]
fn it_takes_the_same_wherever_the_bytes_are_cut() {
    let bytes = [greeting(), message(0), text("2"), message(1), message(2)].concat();
    for cut in 1..bytes.len() {
        let mut stand = stand();
        stand.send(&bytes[..cut]);
        stand.send(&bytes[cut..]);
        assert_eq!(stand.seen.tally, Tally { delivered: 3, ..Tally::default() }, "cut at {cut}");
        assert_eq!((stand.seen.seq_breaks, stand.subscriber.seq), (0, Some(3)), "cut at {cut}");
    }
}

#[test]
fn a_break_in_the_servers_numbers_is_seen() {
    let mut stand = stand();
    stand.send(&[greeting(), message(0), message(2)].concat());
    assert_eq!((stand.seen.seq_breaks, stand.seen.tally.holes), (1, 1));
}

#[test]
fn after_a_new_connection_it_asks_for_what_comes_after_its_last() {
    let (mut old, new) = (stand(), stand());
    old.send(&[greeting(), message(0), message(1)].concat());
    old.subscriber.restart(new.subscriber.socket);
    let question = question("session:load0", &old.subscriber.since);
    assert_eq!(question, "421[\"subscribe\",{\"channel\":\"session:load0\",\"since\":{\"epoch\":\"e1\",\"seq\":2}}]");
}

#[test]
fn whoever_is_cut_is_gone_for_the_server_and_has_no_problem() {
    let mut stand = stand();
    stand.send(&[greeting(), message(0)].concat());
    stand.subscriber.cut();
    assert_eq!((stand.subscriber.stage, &stand.seen.problem), (Stage::Ended, &None));
    stand.server.read_to_end(&mut Vec::new()).expect("an end, after what was said");
    assert!(!stand.subscriber.read(&mut stand.scratch, &stand.script, &mut stand.seen), "nothing comes any more");
    assert_eq!(stand.seen.tally.delivered, 1);
}

#[test]
fn a_refusal_ends_it_and_is_told() {
    let mut stand = stand();
    stand.send(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
    assert_eq!(stand.subscriber.stage, Stage::Ended);
    assert!(stand.seen.problem.expect("a reason").contains("503"));
}
