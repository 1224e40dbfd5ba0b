//! Clients that do not finish a body, or do not read an answer.
//!
//! Guarantees: streams here are driven by hand, so that bytes come and go as the test wants; each test says what has
//! come of the memory, too.
//! They are not clients that subscribe and read slowly: see `slow`.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tidings_client::{Polling, Raw};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use crate::{
    server::{PATIENCE, Server, eventually, note},
    watcher::{answer, raw},
};

const TIMED_OUT: &str = "tidings_bodies_timed_out_total";
const NOT_READ: &str = "tidings_answers_timed_out_total";
const HELD: &str = "tidings_held_bytes";
/// What unfinished bodies say they have.
const LENGTH: usize = 1_000_000;
const MIB: u64 = 1 << 20;

/// A stream on which a request has begun: its head, and so much of its body.
async fn begun(server: &Server, line: &str, bearer: &str, length: usize, body: &[u8]) -> TcpStream {
    let mut stream = server.endpoint().connect().await.expect("connects");
    stream.set_nodelay(true).expect("is told");
    let head =
        format!("{line} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {bearer}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sends");
    // A refusal may have come already.
    drop(stream.write_all(body).await);
    stream
}

/// What is answered, when the connection has ended.
async fn ended(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the connection lives on");
    let text = String::from_utf8(text).expect("text");
    assert!(read.is_ok() || !text.is_empty(), "{read:?}");
    text
}

/// The line of a post of this polling session.
fn post(polling: &Polling) -> String {
    format!("POST /socket.io/?EIO=4&transport=polling&sid={}", polling.sid())
}

/// A polling session that is let in, and for which nothing waits.
async fn polling(server: &Server, bearer: &str) -> Polling {
    let polling = Polling::open(&server.endpoint()).await.expect("opens");
    let sent = polling.send(&[&format!("40{}", json!({ "token": bearer }))]).await.expect("an answer");
    assert_eq!(sent.status, 200, "{}", sent.text());
    let mut told = Vec::new();
    while !told.iter().any(|packet: &String| packet.contains("server.hello")) {
        told = timeout(PATIENCE, polling.poll()).await.expect("an answer").expect("a poll");
    }
    polling
}

/// Every route and method of the document, with whether it takes a body.
fn routes(document: &Value) -> Vec<(String, bool)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, methods): (&String, &Value)| {
        let names = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let path = names.collect::<Vec<_>>().join("/");
        let methods = methods.as_object().expect("methods").clone();
        let each = move |(method, operation): (String, Value)| {
            (format!("{} {path}", method.to_uppercase()), operation.get("requestBody").is_some())
        };
        methods.into_iter().filter(|(method, _)| method != "parameters").map(each).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_and_ends_its_connection_whatever_the_route() {
    let server = Server::start("[http]\nbody_timeout = \"300ms\"\n");
    let admin = server.admin();
    let routes = routes(&server.get("/openapi.json", "").await.json());
    assert!(routes.iter().filter(|(_, has_body)| *has_body).count() > 30, "{routes:?}");
    // A logout ends the token that all the others have.
    let (last, routes): (Vec<_>, Vec<_>) = routes.into_iter().partition(|(line, _)| line.ends_with("/logout"));
    let asked = routes.iter().map(async |(line, has_body)| {
        let text = ended(begun(&server, line, &admin, 100, b"{").await).await;
        (line, *has_body, text)
    });
    let mut timed_out = 0.0;
    for (line, has_body, text) in join_all(asked).await {
        assert!(text.contains("connection: close"), "{line}: {text}");
        if has_body {
            assert!(text.starts_with("HTTP/1.1 408 "), "{line}: {text}");
            assert!(text.contains(r#""code":"bad_request""#) && text.contains("too long to arrive"), "{line}: {text}");
            timed_out += 1.0;
        }
    }
    assert_eq!(server.metric(TIMED_OUT).await, timed_out);
    let session = polling(&server, &admin).await;
    let text = ended(begun(&server, &post(&session), "", 100, b"42").await).await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("connection: close"), "{text}");
    assert!(text.ends_with(r#"{"code":3,"message":"Bad request: the body took too long to arrive"}"#), "{text}");
    assert_eq!(server.metric(TIMED_OUT).await, timed_out + 1.0);
    assert_eq!(session.send(&["3"]).await.expect("an answer").status, 400, "its session is over");
    let text = ended(begun(&server, &last[0].0, &admin, 100, b"{").await).await;
    assert!(text.starts_with("HTTP/1.1 204") && text.contains("connection: close"), "it needs no body: {text}");
    assert_eq!(server.metric(HELD).await, 0.0);
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_and_one_that_is_slow_arrives() {
    let server = Server::start("[http]\nbody_timeout = \"1s\"\nbody_bytes_per_second = \"1KiB\"\n");
    let admin = server.admin();
    let event = note("slow", 1).to_string();
    let length = 12_000;
    let body = format!("{event:<length$}");
    // Bytes at a time, ten times a second.
    let sent = async |bytes: usize| {
        let mut stream = begun(&server, "POST /api/events", &admin, length, b"").await;
        let (begin, mut pieces) = (Instant::now(), body.as_bytes().chunks(bytes));
        let mut head = [0; 12];
        loop {
            let next = timeout(Duration::from_millis(100), stream.read_exact(&mut head)).await;
            if let Ok(read) = next {
                read.expect("an answer");
                return (String::from_utf8_lossy(&head).into_owned(), begin.elapsed());
            }
            if let Some(piece) = pieces.next() {
                drop(stream.write_all(piece).await);
            }
        }
    };
    let (trickles, slow) = tokio::join!(sent(1), sent(400));
    assert_eq!(trickles.0, "HTTP/1.1 408");
    assert_eq!(slow.0, "HTTP/1.1 200");
    assert!(slow.1 > Duration::from_secs(2), "it was slow: {:?}", slow.1);
    assert_eq!(server.metric(TIMED_OUT).await, 1.0);
}

#[tokio::test]
async fn a_body_in_single_bytes_takes_its_bytes_and_no_buffer_for_each() {
    let (server, count, bytes) = (Server::start(""), 64, 400);
    let admin = server.admin();
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(begun(&server, "POST /api/events", &admin, 1000, b"").await);
    }
    let before = server.memory();
    for _ in 0..bytes {
        for stream in &mut streams {
            stream.write_all(b" ").await.expect("sends");
        }
        // An answer in between gives the server the time to read each of them by itself.
        assert_eq!(server.get("/health/live", "").await.status, 200);
    }
    let more = server.memory().saturating_sub(before);
    assert!(more < 16 * MIB, "{more} bytes for {}", count * bytes);
    assert_eq!(server.metric(HELD).await, f64::from(count) * 1000.0);
}

#[tokio::test]
async fn unfinished_posts_hold_no_more_than_their_user_may_and_are_gone_with_their_deadline() {
    let config = "[http]\nbody_timeout = \"2s\"\n[socket]\nheld_bytes_per_user = \"8MiB\"\n";
    let server = Server::start(config);
    let (ada, before) = (server.token("ada", &["--role", "operator"]), server.memory());
    let sessions = join_all((0..100).map(async |_| polling(&server, &ada).await)).await;
    let body = vec![b'x'; LENGTH - 1];
    let posts = sessions.iter().map(async |session| begun(&server, &post(session), "", LENGTH, &body).await);
    let posts = join_all(posts).await;
    // Eight million bytes fit into it, and no ninth.
    eventually("as many are read as may", async || server.metric(HELD).await >= 8.0 * LENGTH as f64).await;
    assert_eq!(server.metric(HELD).await, 8.0 * LENGTH as f64);
    let more = server.memory().saturating_sub(before);
    assert!(more < 64 * MIB, "{more} bytes for 8 MB that may be held");
    // Others have theirs.
    let bob = polling(&server, &server.token("bob", &["--role", "operator"])).await;
    assert_eq!(bob.send(&["3"]).await.expect("an answer").status, 200);
    let answers = join_all(posts.into_iter().map(ended)).await;
    let with = |status: &str| answers.iter().filter(|text| text.starts_with(&format!("HTTP/1.1 {status} "))).count();
    assert_eq!((with("408"), with("503")), (8, 92), "{answers:?}");
    assert_eq!(server.metric(TIMED_OUT).await, 8.0);
    assert_eq!(server.metric(r#"tidings_held_refused_total{bound="user",of="bodies"}"#).await, 92.0);
    assert_eq!(server.metric(HELD).await, 0.0);
}

#[tokio::test]
async fn a_session_that_ends_lets_go_of_the_body_that_it_reads_and_of_those_that_wait() {
    let server =
        Server::start("[socket]\nping_interval_ms = 1000\nping_timeout_ms = 1000\nconnect_timeout_ms = 2000\n");
    let (admin, unaccepted) = (server.admin(), Polling::open(&server.endpoint()).await.expect("opens"));
    let accepted = polling(&server, &admin).await;
    let mut posts = Vec::new();
    for session in [&accepted, &accepted, &unaccepted, &unaccepted] {
        posts.push(begun(&server, &post(session), "", 60_000, b"42").await);
    }
    eventually("it is held", async || server.metric(HELD).await == 60_000.0).await;
    // Nobody polls, and nobody logs in.
    for text in join_all(posts.into_iter().map(ended)).await {
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("Session ID unknown"), "{text}");
    }
    assert_eq!((server.metric(HELD).await, server.metric(TIMED_OUT).await), (0.0, 0.0));
    assert_eq!(server.metric("tidings_connections").await, 0.0);
}

/// A connection of a client with little room for what it has not read.
async fn narrow(server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("is told");
    socket.set_nonblocking(true).expect("is told");
    let address = server.endpoint().authority().parse().expect("an address");
    TcpSocket::from_std_stream(socket.into()).connect(address).await.expect("connects")
}

/// Asks for all of a channel.
async fn ask(stream: &mut TcpStream, bearer: &str) {
    let head = format!(
        "GET /api/channels/session:large/events?limit=1000 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {bearer}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sends");
}

/// The bytes of the channel, at least: more than any buffer on the way takes.
const LARGE: usize = 3_200_000;

async fn fill(server: &Server, bearer: &str) {
    for n in (1..=200_u64).step_by(20) {
        let mut events: Vec<Value> = (n..n + 20).map(|n| note("large", n)).collect();
        events.iter_mut().for_each(|event| event["data"]["filling"] = json!("x".repeat(16_000)));
        server.publish(bearer, json!(events)).await;
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_its_connection_and_what_waits_does_not() {
    let server = Server::start("[log]\ndurability = \"process\"\n[http]\nanswer_timeout = \"1s\"\n");
    let admin = server.admin();
    // All of these wait for longer than an answer may: a subscription that is not read, a poll, a connection.
    let mut subscribed = raw(&server.endpoint(), &admin).await;
    subscribed.send_text(r#"420["subscribe","session:large"]"#).await.expect("sends");
    assert_eq!(answer(&mut subscribed, 0).await["ok"], true);
    let idle = server.endpoint().connect().await.expect("connects");
    let poller = polling(&server, &admin).await;
    let others = async {
        fill(&server, &admin).await;
        eventually("the subscription is behind", async || server.metric("tidings_slow_clients").await == 1.0).await;
        let mut stalled = Vec::new();
        for _ in 0..4 {
            let mut stream = narrow(&server).await;
            ask(&mut stream, &admin).await;
            stalled.push(stream);
        }
        eventually("the answers are held", async || server.metric(HELD).await >= 4.0 * LARGE as f64).await;
        eventually("their end", async || server.metric(NOT_READ).await == 4.0).await;
        eventually("they are let go", async || server.metric(HELD).await < 1_000_000.0).await;
        for mut stream in stalled {
            let mut rest = Vec::new();
            let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection lives on");
            assert!(read.is_err() && rest.len() < LARGE / 2, "{read:?} after {} bytes", rest.len());
        }
        assert_eq!(server.metric("tidings_connections").await, 2.0);
        poller.send(&[r#"420["unsubscribe","session:1"]"#]).await.expect("an answer");
    };
    let (told, ()) = timeout(PATIENCE, async { tokio::join!(poller.poll(), others) }).await.expect("all comes");
    let told = told.expect("a poll");
    assert!(told.iter().any(|packet| packet.starts_with("430")), "{told:?}");
    assert!(is_open(idle).await, "nothing was to be written to it");
    read_to(&mut subscribed, 200).await;
    assert_eq!(server.metric(NOT_READ).await, 4.0);
}

/// Whether a connection is still there, on which nothing was asked.
async fn is_open(mut stream: TcpStream) -> bool {
    stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.is_ok()
        && ended(stream).await.starts_with("HTTP/1.1 200 ")
}

/// Reads until this note comes.
async fn read_to(raw: &mut Raw, n: u64) {
    let number = format!(r#""n":{n},"#);
    let reading = async {
        loop {
            let text = raw.next_text().await.expect("it is not ended");
            if text.contains(&number) {
                return;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("the last note");
}

#[tokio::test]
async fn an_answer_that_trickles_is_given_up_and_one_that_is_read_slowly_arrives() {
    let config =
        "[log]\ndurability = \"process\"\n[http]\nanswer_timeout = \"1s\"\nanswer_bytes_per_second = \"256KiB\"\n";
    let server = Server::start(config);
    let admin = server.admin();
    fill(&server, &admin).await;
    // Reads so many bytes after each pause, until nothing comes any more.
    let reads = async |mut stream: TcpStream, bytes: usize, pause: u64| {
        let begin = Instant::now();
        ask(&mut stream, &admin).await;
        let (mut all, mut buffer) = (0, vec![0; bytes]);
        while all < LARGE
            && let Ok(read @ 1..) = stream.read(&mut buffer).await
        {
            all += read;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        (all, begin.elapsed())
    };
    let slow = server.endpoint().connect().await.expect("connects");
    let (all, time) = reads(slow, 100_000, 100).await;
    assert!(all >= LARGE && time > Duration::from_secs(2), "{all} bytes in {time:?}");
    assert_eq!(server.metric(NOT_READ).await, 0.0);
    let trickling = narrow(&server).await;
    let given_up = eventually("it is given up", async || server.metric(NOT_READ).await == 1.0);
    tokio::select! {
        () = given_up => {}
        (all, time) = reads(trickling, 1, 10) => panic!("{all} bytes in {time:?} are all that it had"),
    }
}

#[tokio::test]
async fn without_a_deadline_a_body_is_waited_for() {
    let server = Server::start("[http]\nbody_timeout = \"0s\"\n");
    let admin = server.admin();
    let body = note("late", 1).to_string();
    let mut stream = begun(&server, "POST /api/events", &admin, body.len(), b"").await;
    // Longer than nothing.
    for n in 1..=20 {
        server.publish(&admin, note("late", n)).await;
    }
    stream.write_all(body.as_bytes()).await.expect("sends");
    let mut head = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("an answer").expect("reads");
    assert_eq!(&head, b"HTTP/1.1 200");
}
