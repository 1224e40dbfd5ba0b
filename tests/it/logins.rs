//! Logging in while somebody guesses, the own logins, and the own password.
//!
//! Guarantees: clients have addresses of their own (127.0.0.2 and the like), and guess as fast as people do who
//! guess.
//! They are not the tests of the measures themselves, which are identity's.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tidings_client::{Lost, http::Method};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
};

use crate::{
    server::{Server, eventually},
    watcher::Watcher,
};

const PASSWORD: &str = "a long enough password";

/// What a client at this address of this machine is answered: the status and the body.
async fn login_from(server: &str, last: u8, name: &str, password: &str) -> (u16, Value) {
    let body = json!({"username": name, "password": password}).to_string();
    let request = format!(
        "POST /api/auth/login HTTP/1.1\r\nhost: a\r\nuser-agent: a browser at {last}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).expect("is bound");
    let mut stream = socket.connect(server.parse().expect("an address")).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).expect("JSON"))
}

/// A login with this header and a wrong password.
async fn forwarded(server: &Server, header: &str) {
    let body = json!({"username": "nobody", "password": PASSWORD}).to_string();
    let request = format!(
        "POST /api/auth/login HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {header}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(address(server)).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn only_a_proxy_that_is_not_trusted_is_warned_of() {
    const WARNING: &str = "X-Forwarded-For of this address does not count";
    let mut trusting = Server::start("[http]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    for header in ["127.0.0.1", "127.0.0.1, 127.0.0.1", "10.1.2.3", "nonsense"] {
        forwarded(&trusting, header).await;
    }
    trusting.stop();
    assert!(!trusting.said().contains(WARNING), "{}", trusting.said());
    let mut other = Server::start("");
    forwarded(&other, "10.1.2.3").await;
    other.stop();
    assert!(other.said().contains(WARNING), "{}", other.said());
}

fn address(server: &Server) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

/// Guessers at these addresses, each ten times a second, until they are dropped. How often each was slowed down.
struct Guessers {
    _tasks: JoinSet<()>,
    slowed: Arc<AtomicU32>,
    was_let_in: Arc<AtomicBool>,
}

impl Guessers {
    fn start(server: &Server, addresses: &[u8], name: &'static str) -> Self {
        let (slowed, was_let_in) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for &at in addresses {
            let (server, slowed, was_let_in) = (address(server), slowed.clone(), was_let_in.clone());
            tasks.spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(100));
                for number in 0_u64.. {
                    ticks.tick().await;
                    let (status, said) = login_from(&server, at, name, &format!("a wrong password {number}")).await;
                    match status {
                        401 => {
                            assert_eq!((&said["code"], &said["retryable"]), (&json!("unauthenticated"), &json!(false)))
                        }
                        429 => drop(slowed.fetch_add(1, Ordering::SeqCst)),
                        _ => was_let_in.store(true, Ordering::SeqCst),
                    }
                }
            });
        }
        Self { _tasks: tasks, slowed, was_let_in }
    }

    /// They are slowed down, and go on.
    async fn are_slowed(&self) {
        let (before, enough) = (self.slowed.load(Ordering::SeqCst), 20);
        eventually("that they are slowed down", async || self.slowed.load(Ordering::SeqCst) >= before + enough).await;
        assert!(!self.was_let_in.load(Ordering::SeqCst));
    }
}

#[tokio::test]
async fn a_guesser_keeps_the_right_password_out_of_no_address_that_logged_in_before() {
    let mut server = Server::start("");
    let (at, password) = (address(&server), server.password().to_owned());
    assert_eq!(login_from(&at, 2, "admin", &password).await.0, 200);
    {
        // One guesser slows nobody down but itself, wherever the right password comes from.
        let guesser = Guessers::start(&server, &[1], "admin");
        guesser.are_slowed().await;
        for from in [2, 3] {
            assert_eq!(login_from(&at, from, "admin", &password).await.0, 200, "from {from}");
        }
        guesser.are_slowed().await;
        assert!(server.metric("tidings_limited_total{limit=\"login_name_share\"}").await >= 20.0);
    }
    for restart in [false, true] {
        if restart {
            server.kill();
            server.start_again();
        }
        let guessers = Guessers::start(&server, &[10, 11, 12, 13], "admin");
        guessers.are_slowed().await;
        let (status, said) = login_from(&at, 4, "admin", &password).await;
        assert_eq!((status, &said["code"], &said["retryable"]), (429, &json!("rate_limited"), &json!(true)));
        assert!(said["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0), "{said}");
        for from in [2, 3] {
            assert_eq!(login_from(&at, from, "ADMIN", &password).await.0, 200, "from {from}");
        }
        guessers.are_slowed().await;
        // A name that nobody has is measured as one that somebody has.
        let unknown = Guessers::start(&server, &[20, 21, 22], "nobody");
        unknown.are_slowed().await;
    }
    assert!(server.metric("tidings_limited_total{limit=\"login_name\"}").await >= 20.0);
    assert!(server.metric("tidings_logins_total{result=\"wrong\"}").await >= 10.0);
    assert_eq!(server.metric("tidings_logins_total{result=\"ok\"}").await, 2.0);
    let said = server.said();
    assert!(said.matches("somebody tries to log in too often").count() >= 2, "in each life of the server: {said}");
    assert!(!said.contains("a wrong password"), "{said}");
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_is_known_by_its_own_address() {
    let server = Server::start("[http]\ntrusted_proxies = [\"127.0.0.1\"]\n[auth]\nlogin_per_name = 2\n");
    let password = server.password().to_owned();
    let login = async |client: &str, password: &str| {
        let body = json!({"username": "admin", "password": password}).to_string();
        let request = format!(
            "POST /api/auth/login HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 6.6.6.6, {client}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(address(&server)).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("asks");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).expect("a status")
    };
    assert_eq!(login("192.0.2.7", &password).await, 200);
    for guesser in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        login(guesser, "a wrong password").await;
    }
    assert_eq!(login("203.0.113.9", &password).await, 429);
    // Whatever a client puts before it, it is known by what the proxy says.
    assert_eq!(login("192.0.2.7", &password).await, 200);
    assert_eq!(login("192.0.2.7, 203.0.113.9", &password).await, 429);
}

async fn user(server: &Server, name: &str) {
    let body = json!({"username": name, "password": PASSWORD, "roles": ["viewer"]});
    let made = server.post("/api/users", &server.admin(), body).await;
    assert_eq!(made.status, 201, "{}", made.text());
}

async fn login(server: &Server, from: u8, password: &str) -> Value {
    let (status, login) = login_from(&address(server), from, "bob", password).await;
    assert_eq!(status, 200, "{login}");
    login
}

fn token_of(login: &Value) -> &str {
    login["token"].as_str().expect("a token")
}

/// The last word on a connection, which the client does not come back from.
async fn ends_for_good(mut watcher: Watcher) {
    let closed = watcher.of_type("connection.closed").await;
    assert_eq!((&closed["data"]["code"], &closed["data"]["retry"]), (&json!("token_revoked"), &json!(false)));
    assert_eq!(watcher.ended().await, Lost::Disconnected);
}

#[tokio::test]
async fn somebody_sees_where_the_own_logins_come_from_and_ends_one_with_its_connections() {
    let server = Server::start("");
    user(&server, "bob").await;
    let (here, there) = (login(&server, 2, PASSWORD).await, login(&server, 3, PASSWORD).await);
    let (live, own) =
        (Watcher::connect(&server, token_of(&there)).await, Watcher::connect(&server, token_of(&here)).await);
    let list = async |token: &str| server.get("/api/auth/logins", token).await.json()["logins"].clone();
    let logins = list(token_of(&here)).await;
    let logins = logins.as_array().expect("logins");
    let seen: Vec<_> = logins.iter().map(|login| (&login["address"], &login["agent"], &login["current"])).collect();
    let (two, three) = ((json!("127.0.0.2"), json!("a browser at 2")), (json!("127.0.0.3"), json!("a browser at 3")));
    assert_eq!(seen, [(&three.0, &three.1, &json!(false)), (&two.0, &two.1, &json!(true))]);
    assert!(logins.iter().all(|login| login["createdAt"].is_string() && login["expiresAt"].is_string()), "{logins:?}");
    let end = async |token: &str, id: &Value| {
        let path = format!("/api/auth/logins/{}", id.as_str().expect("an id"));
        server.call(Method::DELETE, &path, token, None).await.status
    };
    let other = server.token_of("bob", &["--role", "viewer"]);
    assert_eq!(end(&other, &logins[0]["id"]).await, 403, "a token of no login is no way to the account");
    assert_eq!(server.get("/api/auth/logins", &other).await.status, 403);
    assert_eq!(end(token_of(&here), &json!("nonsense")).await, 404);
    assert_eq!(end(token_of(&here), &logins[0]["id"]).await, 204);
    ends_for_good(live).await;
    assert_eq!(server.get("/api/auth/me", token_of(&there)).await.json()["code"], "token_revoked");
    let refused = server.post("/api/auth/refresh", "", json!({"refreshToken": there["refreshToken"]})).await;
    assert_eq!(refused.json()["code"], "token_revoked");
    own.done("subscribe", json!("session:1")).await;
    assert_eq!(list(token_of(&here)).await.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_new_password_of_ones_own_ends_the_other_logins_and_their_connections() {
    let server = Server::start("");
    user(&server, "bob").await;
    let (here, there) = (login(&server, 2, PASSWORD).await, login(&server, 3, PASSWORD).await);
    let (live, own) =
        (Watcher::connect(&server, token_of(&there)).await, Watcher::connect(&server, token_of(&here)).await);
    let change = async |token: &str, current: &str, password: &str| {
        server.post("/api/auth/password", token, json!({"current": current, "password": password})).await
    };
    let another = "another long password";
    let wrong = change(token_of(&here), "a wrong password", another).await;
    assert_eq!((wrong.status, wrong.json()["fields"]["current"].is_string()), (422, true), "{}", wrong.text());
    let short = change(token_of(&here), PASSWORD, "short").await;
    assert_eq!((short.status, short.json()["fields"]["password"].is_string()), (422, true), "{}", short.text());
    let program = server.token_of("bob", &["--role", "viewer"]);
    assert_eq!(change(&program, PASSWORD, another).await.status, 403);
    assert_eq!(server.get("/api/auth/me", token_of(&there)).await.status, 200, "nothing has happened yet");
    assert_eq!(change(token_of(&here), PASSWORD, another).await.status, 204);
    ends_for_good(live).await;
    assert_eq!(server.get("/api/auth/me", token_of(&there)).await.status, 401);
    own.done("subscribe", json!("session:1")).await;
    let next = server.post("/api/auth/refresh", "", json!({"refreshToken": here["refreshToken"]})).await;
    assert_eq!(next.status, 200, "{}", next.text());
    assert_eq!(server.get("/api/auth/me", &program).await.status, 200);
    assert_eq!(login_from(&address(&server), 2, "bob", PASSWORD).await.0, 401);
    login(&server, 2, another).await;
    for secret in [PASSWORD, another, "a wrong password"] {
        assert!(!server.said().contains(secret));
    }
}

#[tokio::test]
async fn of_too_many_logins_the_one_that_was_not_used_for_longest_ends_and_is_told_so() {
    let server = Server::start("[auth]\nmax_logins_per_user = 2\n");
    user(&server, "bob").await;
    let (first, second) = (login(&server, 2, PASSWORD).await, login(&server, 3, PASSWORD).await);
    let live = Watcher::connect(&server, token_of(&first)).await;
    let third = login(&server, 4, PASSWORD).await;
    ends_for_good(live).await;
    let refused = server.post("/api/auth/refresh", "", json!({"refreshToken": first["refreshToken"]})).await.json();
    assert_eq!(refused["code"], "token_revoked");
    assert!(refused["message"].as_str().is_some_and(|why| why.contains("too many others")), "{refused}");
    for login in [&second, &third] {
        assert_eq!(server.get("/api/auth/me", token_of(login)).await.status, 200);
    }
    assert_eq!(server.metric("tidings_logins_ended_total{why=\"too_many\"}").await, 1.0);
    assert!(server.said().contains("a user has begun too many logins"), "{}", server.said());
}

#[tokio::test]
async fn a_damaged_refresh_token_is_refused_and_the_login_with_its_connection_goes_on() {
    let server = Server::start("");
    user(&server, "bob").await;
    let here = login(&server, 2, PASSWORD).await;
    let live = Watcher::connect(&server, token_of(&here)).await;
    let token = here["refreshToken"].as_str().expect("a token");
    let (handle, rest) = token.split_once('.').expect("a handle");
    let cut = &token[..token.len() - 1];
    let before = server.metric("tidings_logins_total{result=\"wrong\"}").await;
    let bad = [&format!("{handle}."), &format!("{handle}.garbage"), cut, &format!("{token}\n"), rest, handle];
    for bad in bad {
        let refused = server.post("/api/auth/refresh", "", json!({"refreshToken": bad})).await;
        assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("unauthenticated")), "{bad:?}");
    }
    assert_eq!(server.metric("tidings_logins_total{result=\"wrong\"}").await - before, 6.0);
    live.done("subscribe", json!("session:1")).await;
    let next = server.post("/api/auth/refresh", "", json!({"refreshToken": token})).await;
    assert_eq!(next.status, 200, "{}", next.text());
    assert!(!server.said().contains("used again"), "{}", server.said());
}
