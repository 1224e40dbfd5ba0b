//! Who gets in while others hold what there is: handshakes of one address, connections of one user.
//!
//! Guarantees: the numbers are those of an attack that was seen; whoever attacks comes from another address of this
//! machine than whoever is honest, and goes on while those come.
//! They are not the bounds of what a client that is in may do: see `limits`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tidings_client::{Polling, Raw};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    server::{PATIENCE, Server, eventually, found},
    watcher::{answer, frame},
};

const MIB: u64 = 1 << 20;
/// Whoever is not honest.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const HONEST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Neither of them.
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// The head of a request for a WebSocket.
const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A connection from an address of this machine.
struct Guest(BufReader<TcpStream>);

impl Guest {
    async fn from(server: &Server, address: Ipv4Addr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((address, 0))).expect("an address of this machine");
        let to = server.url().trim_start_matches("http://").parse().expect("an address");
        Self(BufReader::new(socket.connect(to).await.expect("connects")))
    }

    /// Asks for something under the engine's path: the status and the body.
    async fn ask(&mut self, query: &str, headers: &str) -> (u16, String) {
        self.says(&format!("GET /socket.io/?EIO=4&{query} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")).await;
        timeout(PATIENCE, self.answer()).await.expect("an answer in time")
    }

    async fn says(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("sends");
    }

    async fn answer(&mut self) -> (u16, String) {
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).await.expect("reads") > 0, "it ended");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(said) = line.strip_prefix("http/1.1 ") {
                status = said[..3].parse().expect("a status");
            } else if let Some(said) = line.strip_prefix("content-length: ") {
                length = said.parse().expect("a length");
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("a body");
        (status, String::from_utf8(body).expect("text"))
    }

    /// Opens a polling session: its id, or the status of the refusal.
    async fn opens(&mut self, headers: &str) -> Result<String, u16> {
        let (status, body) = self.ask("transport=polling", headers).await;
        let open = body.strip_prefix('0').and_then(|json| serde_json::from_str::<Value>(json).ok());
        let sid = open.and_then(|open| open["sid"].as_str().map(str::to_owned));
        sid.filter(|_| status == 200).ok_or(status)
    }

    /// The next frame of a WebSocket: its first byte and its payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = [self.0.read_u8().await.expect("a frame"), self.0.read_u8().await.expect("a length")];
        let length = if head[1] == 126 { self.0.read_u16().await.expect("a length") } else { head[1].into() };
        let mut payload = vec![0; length.into()];
        self.0.read_exact(&mut payload).await.expect("a payload");
        (head[0], payload)
    }
}

/// Whether a polling session is there no longer.
async fn is_unknown(guest: &mut Guest, sid: &str) -> bool {
    let (status, body) = guest.ask(&format!("transport=polling&sid={sid}"), "").await;
    (status, body.contains("Session ID unknown")) == (400, true)
}

/// So many WebSockets that never say who they are.
async fn silent(server: &Server, address: Ipv4Addr, count: usize) -> Vec<Guest> {
    let mut open = Vec::new();
    while open.len() < count {
        let mut guest = Guest::from(server, address).await;
        let (status, _) = guest.ask("transport=websocket", UPGRADE).await;
        assert_eq!(status, 101);
        open.push(guest);
    }
    open
}

/// Asks for so many polling sessions, one after the other, and comes back to none.
async fn polls(server: &Server, count: usize) {
    let mut guest = Guest::from(server, OTHER).await;
    for _ in 0..count {
        let opened = guest.opens("").await;
        assert!(matches!(opened, Ok(_) | Err(503)), "{opened:?}");
    }
}

/// Logs in by polling.
async fn by_polling(server: &Server, bearer: &str) -> Result<Polling, String> {
    let polling = Polling::open(&server.endpoint()).await.map_err(|error| error.to_string())?;
    let sent =
        polling.send(&[&format!("40{}", json!({ "token": bearer }))]).await.map_err(|error| error.to_string())?;
    assert_eq!(sent.status, 200, "{}", sent.text());
    loop {
        let packets = polling.poll().await.map_err(|error| error.to_string())?;
        if let Some(told) = packets.iter().find(|packet| packet.starts_with("40") || packet.starts_with("44")) {
            return if told.starts_with("40") { Ok(polling) } else { Err(told.clone()) };
        }
    }
}

/// Logs in on a WebSocket.
async fn by_websocket(server: &Server, bearer: &str) -> Result<Raw, String> {
    let mut raw = Raw::connect(&server.endpoint()).await.map_err(|error| error.to_string())?;
    raw.send_text(format!("40{}", json!({ "token": bearer }))).await.map_err(|error| error.to_string())?;
    loop {
        match frame(&mut raw).await {
            Some(told) if told.starts_with("40") => return Ok(raw),
            Some(told) if told.starts_with("44") => return Err(told),
            Some(_) => {}
            None => return Err("it ended".to_owned()),
        }
    }
}

/// Comes again at once until it is let in.
async fn comes(server: Arc<Server>, bearer: Arc<String>, polls: bool) -> (Option<Polling>, Option<Raw>) {
    let coming = async {
        loop {
            let inside = match polls {
                true => (by_polling(&server, &bearer).await.ok(), None),
                false => (None, by_websocket(&server, &bearer).await.ok()),
            };
            if inside.0.is_some() || inside.1.is_some() {
                return inside;
            }
        }
    };
    timeout(PATIENCE, coming).await.expect("it is let in in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_with_thousands_of_handshakes_keeps_nobody_of_another_address_out() {
    // Time alone must not make room.
    let server = Server::start("[log]\ndurability = \"process\"\n[socket]\nconnect_timeout_ms = 60000\n");
    let (bearer, before) = (server.admin(), server.memory());
    let held = silent(&server, OTHER, 2000).await;
    let attack = async { tokio::join!(polls(&server, 5000), polls(&server, 5000)) };
    let honest = async {
        let (mut websockets, mut polling) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            websockets.push(by_websocket(&server, &bearer).await.expect("it gets in"));
            polling.push(by_polling(&server, &bearer).await.expect("it gets in"));
        }
        (websockets, polling)
    };
    let (told, honest) = tokio::join!(timeout(PATIENCE, attack), timeout(PATIENCE, honest));
    told.expect("each is answered");
    let _all = honest.expect("all get in in time");
    assert_eq!(server.metric("tidings_connections").await, 100.0);
    assert!(server.metric("tidings_handshakes_replaced_total").await >= 1.0);
    // 12,000 of them would be more than 200 MiB.
    let memory = server.memory();
    assert!(memory < before + 100 * MIB, "{} MiB, {} MiB before", memory / MIB, before / MIB);
    drop(held);
}

#[tokio::test]
async fn what_is_replaced_is_told_so_and_is_there_no_longer() {
    let server = Server::start("[socket]\nmax_handshakes = 3\n");
    let mut websocket = silent(&server, OTHER, 1).await.pop().expect("one");
    let mut poller = Guest::from(&server, OTHER).await;
    let sids = [poller.opens("").await.expect("opens"), poller.opens("").await.expect("opens")];
    assert_eq!(poller.opens("").await, Err(503), "they are young, and it is one address");
    let mut newcomer = Guest::from(&server, HONEST).await;
    newcomer.opens("").await.expect("it replaces the WebSocket");
    assert_eq!(websocket.frame().await.0, 0x81, "the open packet");
    let (kind, close) = websocket.frame().await;
    assert_eq!((kind, &close[..2]), (0x88, &1013_u16.to_be_bytes()[..]), "try again later");
    assert_eq!(newcomer.opens("").await, Err(503), "one more of this address, and the other has no more");
    let mut third = Guest::from(&server, THIRD).await;
    third.opens("").await.expect("it replaces a session by polling");
    assert!(is_unknown(&mut poller, &sids[0]).await);
    assert_eq!(server.metric("tidings_handshakes_replaced_total").await, 2.0);
    assert_eq!(server.metric("tidings_handshakes_refused_total{reason=\"handshakes\"}").await, 2.0);
    let (status, _) = poller.ask(&format!("transport=websocket&sid={}", sids[1]), UPGRADE).await;
    assert_eq!(status, 101, "the other is there as before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_one_address_gets_in_turn_for_turn_and_throws_nobody_out() {
    let server = Server::start("[log]\ndurability = \"process\"\n[socket]\nmax_handshakes = 10\n");
    let bearer = Arc::new(server.admin());
    let server = Arc::new(server);
    let mut crowd = JoinSet::new();
    for number in 0..200 {
        crowd.spawn(comes(server.clone(), bearer.clone(), number % 2 == 0));
    }
    let all = crowd.join_all().await;
    assert_eq!((all.len(), server.metric("tidings_connections").await), (200, 200.0));
    assert!(server.metric("tidings_handshakes_refused_total{reason=\"handshakes\"}").await >= 1.0, "it was a crowd");
    assert_eq!(server.metric("tidings_handshakes_replaced_total").await, 0.0);
}

#[tokio::test]
async fn handshakes_count_for_whom_a_trusted_proxy_names_and_for_nobody_that_others_name() {
    let config = "[socket]\nmax_handshakes = 4\n";
    let behind = Server::start(&format!("{config}[http]\ntrusted_proxies = [\"127.0.0.1\"]\n"));
    let said = |last: u8| format!("x-forwarded-for: 192.0.2.{last}\r\n");
    let mut proxy = Guest::from(&behind, HONEST).await;
    let greedy = proxy.opens(&said(1)).await.expect("opens");
    for _ in 0..3 {
        proxy.opens(&said(1)).await.expect("opens");
    }
    assert_eq!(proxy.opens(&said(1)).await, Err(503));
    proxy.opens(&said(2)).await.expect("another client");
    assert!(is_unknown(&mut proxy, &greedy).await);
    let bare = Server::start(config);
    let mut liar = Guest::from(&bare, OTHER).await;
    for last in 1..=4 {
        liar.opens(&said(last)).await.expect("opens");
    }
    assert_eq!(liar.opens(&said(5)).await, Err(503), "it is one address, whatever it says");
    Guest::from(&bare, HONEST).await.opens(&said(1)).await.expect("another address");
}

/// The refusal of somebody who has as many connections as one may have.
fn is_too_many(told: &str) {
    let told: Value = serde_json::from_str(told.strip_prefix("44").expect("a refusal")).expect("JSON");
    assert_eq!(told["message"], "Authentication error");
    let expected = json!({
        "code": "overloaded",
        "message": "the user has as many connections as one may have",
        "retryable": true,
    });
    assert_eq!(told["data"], expected);
}

#[tokio::test]
async fn a_user_has_so_many_connections_over_both_transports_and_those_stay() {
    let server = Server::start("[socket]\nmax_connections_per_user = 2\n");
    let (ada, bob) = (server.token("ada", &[]), server.token("bob", &[]));
    let mut websocket = by_websocket(&server, &ada).await.expect("the first");
    let polling = by_polling(&server, &ada).await.expect("the second");
    is_too_many(&by_websocket(&server, &ada).await.map(drop).expect_err("the third"));
    is_too_many(&by_polling(&server, &ada).await.map(drop).expect_err("the third"));
    by_websocket(&server, &bob).await.expect("another user");
    assert_eq!(server.metric("tidings_connections_refused_total{code=\"overloaded\"}").await, 2.0);
    // Out and in again on the same connection: it is the same one, whether its client is in or not.
    websocket.send_text("41").await.expect("sends");
    eventually("that it is out", async || server.metric("tidings_connections").await == 1.0).await;
    is_too_many(&by_polling(&server, &ada).await.map(drop).expect_err("it may come in again"));
    websocket.send_text(format!("40{}", json!({ "token": ada }))).await.expect("sends");
    while !frame(&mut websocket).await.expect("it goes on").starts_with("40") {}
    polling.send(&["1"]).await.expect("ends");
    eventually("that there is room", async || by_polling(&server, &ada).await.is_ok()).await;
    is_too_many(&by_polling(&server, &ada).await.map(drop).expect_err("it is full again"));
    drop(websocket);
    eventually("that there is room", async || by_websocket(&server, &ada).await.is_ok()).await;
}

/// Leaves the namespace: when the transport has ended, and how long it lasted.
async fn leaves_on(mut websocket: Raw) -> Duration {
    let begin = Instant::now();
    websocket.send_text("41").await.expect("sends");
    let ends = async { while frame(&mut websocket).await.is_some() {} };
    timeout(PATIENCE, ends).await.expect("the WebSocket lives on in nobody's name");
    begin.elapsed()
}

/// The same over polling, with a poll that always waits.
async fn leaves_by(polling: Polling) -> Duration {
    let begin = Instant::now();
    assert_eq!(polling.send(&["41"]).await.expect("an answer").status, 200);
    let ends = async { while polling.poll().await.is_ok_and(|packets| packets != ["1"]) {} };
    timeout(PATIENCE, ends).await.expect("the polling session lives on in nobody's name");
    begin.elapsed()
}

#[tokio::test]
async fn whoever_leaves_the_namespace_has_the_time_of_a_new_one_to_connect_and_holds_no_place_after_it() {
    let server = Server::start("[socket]\nmax_connections = 4\nconnect_timeout_ms = 1500\n");
    let ada = server.token("ada", &[]);
    let (one, two) = (by_websocket(&server, &ada).await, by_polling(&server, &ada).await);
    let (mut again, mut refused) =
        (by_websocket(&server, &ada).await.unwrap(), by_websocket(&server, &ada).await.unwrap());
    assert!(by_websocket(&server, &ada).await.is_err(), "there are four");
    let comes_again = async {
        again.send_text("41").await.expect("sends");
        again.send_text(format!("40{}", json!({ "token": ada }))).await.expect("sends");
        while !frame(&mut again).await.expect("it goes on").starts_with("40") {}
    };
    let is_refused = async {
        refused.send_text("41").await.expect("sends");
        refused.send_text(r#"40{"token":"no token"}"#).await.expect("sends");
        while frame(&mut refused).await.is_some() {}
    };
    let left =
        tokio::join!(leaves_on(one.unwrap()), leaves_by(two.unwrap()), comes_again, timeout(PATIENCE, is_refused));
    assert!(left.0 >= Duration::from_millis(1500) && left.1 >= Duration::from_millis(1500), "{left:?}");
    left.3.expect("who was refused lives on in nobody's name");
    again.send_text(r#"421["dance"]"#).await.expect("sends");
    assert_eq!(answer(&mut again, 1).await["error"]["code"], "unknown_command", "who came again stays");
    let mut inside = Vec::new();
    for _ in 0..3 {
        inside.push(found("that there is room", async || by_websocket(&server, &ada).await.ok()).await);
    }
}

/// A refusal is found on this WebSocket.
async fn is_refused_on(raw: &mut Raw) {
    raw.send_text(r#"40{"token":"no token"}"#).await.expect("sends");
    while !frame(raw).await.expect("a refusal").starts_with("44") {}
}

#[tokio::test]
async fn whoever_was_refused_has_a_second_for_another_token_and_no_poll_waits_longer() {
    // What python-socketio does when its close is not sent: it waits for the end of a poll.
    let server = Server::start("");
    let ada = server.token("ada", &[]);
    let polls = async {
        let polling = Polling::open(&server.endpoint()).await.expect("opens");
        let begin = Instant::now();
        assert_eq!(polling.send(&[r#"40{"token":"no token"}"#]).await.expect("an answer").status, 200);
        let mut told = polling.poll().await.expect("a refusal");
        assert!(told.iter().any(|packet| packet.starts_with("44")), "{told:?}");
        while told.last().is_none_or(|last| last != "1") {
            told = polling.poll().await.expect("an end");
        }
        begin.elapsed()
    };
    let stays = async {
        let mut raw = Raw::connect(&server.endpoint()).await.expect("connects");
        let begin = Instant::now();
        is_refused_on(&mut raw).await;
        while frame(&mut raw).await.is_some() {}
        begin.elapsed()
    };
    let comes_again = async {
        let mut raw = Raw::connect(&server.endpoint()).await.expect("connects");
        is_refused_on(&mut raw).await;
        raw.send_text(format!("40{}", json!({ "token": ada }))).await.expect("sends");
        while !frame(&mut raw).await.expect("it is let in").starts_with("40") {}
        raw
    };
    let (polled, stayed, mut inside) = tokio::join!(polls, stays, comes_again);
    for took in [polled, stayed] {
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(6), "{took:?}");
    }
    inside.send_text(r#"421["dance"]"#).await.expect("sends");
    assert_eq!(answer(&mut inside, 1).await["error"]["code"], "unknown_command", "who came again stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_come_at_once_no_more_of_a_user_get_in_than_may() {
    let server = Server::start("[socket]\nmax_connections_per_user = 5\n");
    let ada = Arc::new(server.token("ada", &[]));
    let server = Arc::new(server);
    let mut crowd = JoinSet::new();
    for _ in 0..40 {
        let (server, ada) = (server.clone(), ada.clone());
        crowd.spawn(async move { by_websocket(&server, &ada).await });
    }
    let (inside, refused): (Vec<_>, Vec<_>) = crowd.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((inside.len(), refused.len()), (5, 35));
    refused.into_iter().for_each(|told| is_too_many(&told.map(drop).expect_err("refused")));
}

/// So many that come by each way in, and go without having been let in: silent, refused, or by polling.
async fn come_and_go(server: &Arc<Server>, count: usize) {
    let mut all = JoinSet::new();
    for _ in 0..10 {
        let server = server.clone();
        all.spawn(async move {
            for _ in 0..count / 10 {
                drop(silent(&server, OTHER, 1).await);
                by_websocket(&server, "no token").await.map(drop).expect_err("refused");
                let polling = Polling::open(&server.endpoint()).await.expect("opens");
                assert_eq!(polling.send(&["1"]).await.expect("ends").status, 200);
            }
        });
    }
    all.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_of_whoever_was_never_let_in() {
    let config = "[log]\ndurability = \"process\"\n[socket]\nconnect_timeout_ms = 120000\n";
    let server = Arc::new(Server::start(config));
    come_and_go(&server, 300).await;
    let before = server.memory();
    come_and_go(&server, 1500).await;
    // 4,500 of them: each was kept with 10 KiB or more.
    eventually("that nothing is kept", async || server.memory() < before + 12 * MIB).await;
}

/// Whether the server answers to somebody who is honest, in time.
async fn is_served(server: &Server) {
    let (status, _) = timeout(PATIENCE, async {
        Guest::from(server, HONEST).await.ask("transport=polling", "connection: close\r\n").await
    })
    .await
    .expect("it is let in in time");
    assert_eq!(status, 200);
}

/// So many connections on which nothing is asked, or on half of them: nothing any more.
async fn idle(server: &Server, count: usize) -> Vec<Guest> {
    let mut open = Vec::new();
    while open.len() < count {
        let mut guest = Guest::from(server, OTHER).await;
        if open.len() % 2 == 1 {
            assert_eq!(guest.ask("transport=nothing", "").await.0, 400);
        }
        open.push(guest);
    }
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ask_for_nothing_keep_nobody_of_another_address_out() {
    // Room for 1,024 of HTTP.
    let server = Server::start("[socket]\nmax_connections = 10\n");
    // Who asks for something stays: here a poll that waits.
    let mut asking = Guest::from(&server, OTHER).await;
    let poll = format!("/socket.io/?EIO=4&transport=polling&sid={}", asking.opens("").await.expect("opens"));
    asking.says(&format!("GET {poll} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    let held = idle(&server, 1023).await;
    for _ in 0..20 {
        is_served(&server).await;
    }
    assert!(server.metric("tidings_waiting_connections_ended_total").await >= 1.0);
    let mut posting = Guest::from(&server, HONEST).await;
    posting.says(&format!("POST {poll} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n1")).await;
    assert_eq!(posting.answer().await, (200, "ok".to_owned()));
    assert_eq!(asking.answer().await, (200, "6".to_owned()), "it is answered, after all that");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_file_is_left_one_that_asks_for_nothing_makes_room() {
    let few = ["/bin/sh", "-c", "ulimit -n 256; exec \"$@\"", "sh"].map(str::to_owned);
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("tidings.toml"), "").expect("writes");
    let server = Server::start_within(home, &few);
    let held = idle(&server, 400).await;
    for _ in 0..20 {
        is_served(&server).await;
    }
    assert!(server.metric("tidings_accept_failures_total").await >= 1.0, "it was at its end");
    assert!(server.metric("tidings_waiting_connections_ended_total").await >= 1.0);
    drop(held);
}
