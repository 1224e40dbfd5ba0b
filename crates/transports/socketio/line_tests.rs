//! Lines over real sockets: whose frame leaves when, and what a client that does not read changes.
//!
//! Guarantees: what came out is taken apart frame by frame, so that any mixture would show.
//! They are not tests of the protocol: those are with the server and real clients.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tidings_core::{outlet::Offered, parcel::Wire, runtime::Clock};
use tidings_testkit::{PATIENCE, TestClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::frames::PING;
use crate::connection::{
    Handshakes, Heard, Line, LineEars, Message, OpenStream, Tap, Watch,
    frames::{close, payloads, put_as_client, text},
};

struct Place {
    line: Arc<Line>,
    client: TcpStream,
    clock: Arc<TestClock>,
    handshakes: Arc<Handshakes>,
}

async fn place() -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let (clock, handshakes) = (TestClock::new(), Handshakes::new(1));
    let handshake = handshakes.begin([127, 0, 0, 1].into(), clock.monotonic()).ok();
    let line = Line::new(socket, clock.clone(), handshake);
    Place { line, client, clock, handshakes }
}

/// A watch that hears everything, and passes on what is said.
struct Passing;

impl Watch for Passing {
    fn came(&mut self, _: &Line, _: usize) -> bool {
        true
    }

    fn limit(&self, _: &Line) -> usize {
        1000
    }

    fn waits(&self) -> bool {
        false
    }

    fn keeps(&mut self, _: &Line, _: usize, _: bool) -> Result<(), (u16, &'static str)> {
        Ok(())
    }

    fn hears(&mut self, _: &Line, message: Message<'_>) -> Heard {
        match message {
            Message::Text("taken") => Heard::Taken,
            Message::Text(_) => Heard::Passed,
            Message::Binary => Heard::Ends(1003, "no bytes"),
        }
    }

    fn parting(&mut self) -> Option<Bytes> {
        None
    }

    fn ends(&mut self) {}

    fn pass(&mut self, line: &Line, frames: &[u8]) -> io::Result<()> {
        line.put(frames)
    }
}

fn tap(line: &Arc<Line>, first: &'static [u8], early: &[u8]) -> Tap<Passing> {
    let open = OpenStream::of(&Arc::new(AtomicUsize::new(0)));
    Tap::new(line.clone(), Bytes::from_static(first), early, Passing, open)
}

/// A client's frame of a text.
fn asked(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_as_client(&mut out, payload);
    out
}

/// The `number`th message, of a size that differs from its neighbours'.
fn message(number: usize) -> Bytes {
    text(&[format!("m{number} ").as_bytes(), &vec![b'x'; number * 7919 % 30_000]])
}

/// These frames, as an outlet offers them.
fn wire(frames: &[Bytes]) -> Wire {
    Wire::of(frames.iter(), 0, |frame, out| out.extend_from_slice(frame))
}

/// Reads to the end, and gives the first word of each frame.
async fn words(client: &mut TcpStream) -> Vec<String> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut bytes)).await.expect("the end").unwrap();
    let mut words = Vec::new();
    let mut length = 0;
    for payload in payloads(&bytes) {
        let header = match payload.len() {
            0..126 => 2,
            126..65_536 => 4,
            _ => 10,
        };
        length += header + payload.len();
        let text = std::str::from_utf8(payload).expect("text");
        words.push(text.split(' ').next().unwrap_or_default().to_owned());
    }
    assert_eq!(length, bytes.len(), "nothing but whole frames");
    words
}

#[tokio::test]
async fn messages_and_the_protocols_own_frames_leave_whole_and_in_their_orders_while_the_client_stalls() {
    let Place { line, mut client, .. } = place().await;
    line.open();
    let all: Vec<Bytes> = (0..2000).map(message).collect();
    let (mut next, mut pings, mut full) = (0, 0, 0);
    // Nobody reads: until the socket is full. Then pings wait behind what was begun.
    while full == 0 {
        let end = (next + 70).min(all.len());
        match line.offer(&wire(&all[next..end])) {
            Offered::All => next = end,
            Offered::Full(taken) => (next, full) = (next + taken, 1),
            Offered::Closed => panic!("it is open"),
        }
    }
    assert!(next < all.len(), "some 30 MB do not fit into a socket");
    assert_eq!(line.offer(&wire(&all[next..=next])), Offered::Full(0), "nothing goes in before the rest has left");
    for _ in 0..3 {
        line.put(PING).unwrap();
        pings += 1;
    }
    let writing = async {
        while next < all.len() {
            timeout(PATIENCE, line.room()).await.expect("room");
            let end = (next + 70).min(all.len());
            match line.offer(&wire(&all[next..end])) {
                Offered::All => next = end,
                Offered::Full(taken) => (next, full) = (next + taken, full + 1),
                Offered::Closed => panic!("it is open"),
            }
            line.put(PING).unwrap();
            pings += 1;
        }
        line.room().await;
        line.leave(&[]);
    };
    let (words, ()) = tokio::join!(words(&mut client), writing);
    let messages: Vec<&String> = words.iter().filter(|word| *word != "2").collect();
    assert_eq!(messages, (0..2000).map(|number| format!("m{number}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!(words.len() - messages.len(), pings);
    let first_ping = words.iter().position(|word| word == "2").expect("a ping");
    assert!(words[first_ping..first_ping + 3].iter().all(|word| word == "2"), "before any message that came later");
    assert!(full > 3, "else nothing was tried: {full}");
}

#[tokio::test]
async fn nothing_is_said_before_the_client_knows_that_it_is_connected_nor_once_it_is_out() {
    let Place { line, mut client, handshakes, .. } = place().await;
    let hello = text(&[b"hello "]);
    line.put(&text(&[b"0 "])).unwrap();
    assert_eq!(line.offer(&wire(std::slice::from_ref(&hello))), Offered::Full(0));
    assert_eq!(handshakes.len(), 1);
    let waiting = async {
        line.room().await;
        line.offer(&wire(std::slice::from_ref(&hello)))
    };
    let connecting = async {
        line.hold(&text(&[b"40 "])).unwrap();
        line.open();
        line.put(&[])
    };
    let (offered, connected) = tokio::join!(timeout(PATIENCE, waiting), connecting);
    connected.unwrap();
    assert_eq!(offered.expect("room once it is connected"), Offered::All);
    assert_eq!(handshakes.len(), 0, "the handshake is over");
    line.shut_out();
    assert_eq!(line.offer(&wire(std::slice::from_ref(&hello))), Offered::Full(0));
    line.open();
    assert_eq!(line.offer(&wire(std::slice::from_ref(&hello))), Offered::All);
    line.end();
    assert_eq!(words(&mut client).await, ["0", "40", "hello", "hello"]);
}

#[tokio::test]
async fn the_protocol_reads_what_came_early_and_then_only_what_is_passed_on() {
    let Place { line, mut client, .. } = place().await;
    let (first, early) = (asked(b"first"), asked(b"early"));
    let mut tap = tap(&line, Box::leak(first.clone().into()), &early[..3]);
    let sent = [&early[3..], &asked(b"taken"), &asked(b"late")].concat();
    client.write_all(&sent).await.unwrap();
    let expected = [first, early, asked(b"late")].concat();
    let mut read = vec![0; expected.len()];
    timeout(PATIENCE, tap.read_exact(&mut read)).await.expect("bytes").unwrap();
    assert_eq!(read, expected);
}

#[tokio::test]
async fn what_is_against_the_protocol_closes_with_its_code_and_the_rest_is_read_and_dropped() {
    let Place { line, mut client, .. } = place().await;
    let mut tap = tap(&line, b"", b"");
    client.write_all(&[0x82, 0x81, 0, 0, 0, 0, 7]).await.unwrap();
    client.write_all(&vec![0; 1 << 20]).await.unwrap();
    client.shutdown().await.unwrap();
    let (mut byte, mut told) = ([0], Vec::new());
    let reading = async { tokio::join!(tap.read(&mut byte), client.read_to_end(&mut told)) };
    let (read, all) = timeout(PATIENCE, reading).await.expect("the end");
    assert_eq!((read.expect("the end"), all.is_ok()), (0, true), "it is closed in order");
    assert_eq!(told, close(1003, "no bytes"));
}

#[tokio::test]
async fn a_message_that_has_to_wait_is_kept_and_comes_when_it_may() {
    let Place { line, mut client, .. } = place().await;
    let mut tap = tap(&line, b"", b"");
    line.pause(true);
    client.write_all(&asked(b"late")).await.unwrap();
    let expected = asked(b"late");
    let mut read = vec![0; expected.len()];
    let resuming = async { line.pause(false) };
    let (read_all, ()) =
        timeout(PATIENCE, async { tokio::join!(tap.read_exact(&mut read), resuming) }).await.expect("bytes");
    read_all.unwrap();
    assert_eq!(read, expected);
}

struct Ears(AtomicUsize);

impl LineEars for Ears {
    fn opened(&self) {}
    fn ended(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_killed_line_ends_everybody_who_waits_although_the_client_reads_nothing() {
    let Place { line, client, .. } = place().await;
    let ears = Arc::new(Ears(AtomicUsize::new(0)));
    line.listen(ears.clone());
    line.open();
    let mut tap = tap(&line, b"", b"");
    let large = text(&[&vec![b'x'; 8 << 20]]);
    assert!(matches!(line.offer(&wire(std::slice::from_ref(&large))), Offered::Full(1)), "its end waits");
    tap.write_all(PING).await.expect("the protocol is never stuck");
    let (mut byte, killing) = ([0], async { line.kill() });
    let all = async { tokio::join!(line.room(), tap.read(&mut byte), killing) };
    let ((), read, ()) = timeout(PATIENCE, all).await.expect("nobody is stuck");
    assert_eq!(read.expect("the end"), 0);
    assert_eq!(line.offer(&wire(std::slice::from_ref(&large))), Offered::Closed);
    assert!(tap.write_all(PING).await.is_err());
    assert_eq!(ears.0.load(Ordering::SeqCst), 1, "told once");
    let late = Arc::new(Ears(AtomicUsize::new(0)));
    line.listen(late.clone());
    assert_eq!(late.0.load(Ordering::SeqCst), 1, "whoever listens afterwards is told, too");
    drop(client);
}

#[tokio::test]
async fn who_reads_is_alive_and_who_does_not_is_silent_however_much_is_written_to_it() {
    let Place { line, mut client, clock, .. } = place().await;
    line.open();
    let large = text(&[&vec![b'x'; 8 << 20]]);
    let short = text(&[b"x"]);
    assert_eq!(line.offer(&wire(std::slice::from_ref(&short))), Offered::All);
    clock.advance(Duration::from_secs(5));
    assert_eq!(
        line.offer(&wire(std::slice::from_ref(&short))),
        Offered::All,
        "what the system takes is no sign of the client"
    );
    assert_eq!(line.silence(clock.monotonic()), Duration::from_secs(5));
    assert!(matches!(line.offer(&wire(std::slice::from_ref(&large))), Offered::Full(1)));
    clock.advance(Duration::from_secs(5));
    assert_eq!(line.silence(clock.monotonic()), Duration::from_secs(10));
    let reading = async {
        let mut some = vec![0; 16 << 10];
        while client.read(&mut some).await.unwrap() > 0 {}
    };
    tokio::select! {
        () = reading => panic!("it does not end"),
        room = timeout(PATIENCE, line.room()) => room.expect("room"),
    }
    assert_eq!(line.silence(clock.monotonic()), Duration::ZERO, "it reads");
    clock.advance(Duration::from_secs(7));
    line.pause(true);
    assert_eq!(line.silence(clock.monotonic()), Duration::ZERO, "who is not read cannot be heard");
}

#[tokio::test]
async fn a_client_that_makes_answers_wait_without_end_is_cut_off() {
    let Place { line, client, .. } = place().await;
    line.open();
    let large = text(&[&vec![b'x'; 8 << 20]]);
    assert!(matches!(line.offer(&wire(std::slice::from_ref(&large))), Offered::Full(1)));
    let taken = (0..100_000).take_while(|_| line.put(PING).is_ok()).count();
    assert!((1000..50_000).contains(&taken), "{taken}");
    drop(client);
}
