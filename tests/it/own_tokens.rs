//! The tokens that commands make with the server's key: what they may do, and who is given one.
//!
//! Guarantees: the real program and the real server; whoever listens in a server's place notes all that it is told.
//! They are not the tests of tokens that people ask for: see `commands` and `identity`.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::json;
use tidings_core::Timestamp;

use crate::server::{Server, tidings};

/// Only a fault takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

fn run(command: &mut Command) -> Output {
    command.output().expect("runs")
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The token of the one request that this command sends when it is led here with `--listen`.
fn caught(command: &mut Command) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("has one").to_string();
    let hears = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accepts");
        let text = request(&mut stream);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").expect("answers");
        text
    });
    error(&run(command.args(["--listen", &address])));
    let text = hears.join().expect("heard");
    let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization: bearer "));
    line.and_then(|line| line.rsplit(' ').next()).expect("a token").to_owned()
}

fn request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let (mut text, mut part) = (String::new(), [0; 1024]);
    while !text.contains("\r\n\r\n") {
        let read = stream.read(&mut part).expect("reads");
        assert_ne!(read, 0, "the request is not whole: {text}");
        text += &String::from_utf8_lossy(&part[..read]);
    }
    text
}

#[tokio::test]
async fn a_token_that_a_command_makes_has_one_right_in_one_channel_for_a_minute() {
    let server = Server::start("");
    let admin = server.admin();
    let project = tempfile::tempdir().expect("a directory");
    let body = json!({ "name": "p", "root": project.path() });
    let id = server.post("/api/projects", &admin, body).await.json()["id"].as_str().expect("an id").to_owned();
    let home = server.home();
    let named = ["emit", "user.notice", "--channel", "user:7", "--data", "{\"userId\":\"7\"}"];
    let started = format!("{{\"sessionId\":\"s1\",\"projectId\":\"{id}\"}}");
    let table: [(&[&str], serde_json::Value); 5] = [
        (&named, json!(["user:7=publish"])),
        (&["emit", "user.notice", "--data", "{\"userId\":\"8\"}"], json!(["user:8=publish"])),
        (
            &["emit", "session.started", "--data", &started],
            json!(["session:s1=ingest", format!("project:{id}=ingest")]),
        ),
        // An event that no handler takes is refused by the server, which needs no right for that.
        (&["emit", "user.notice", "--data", "{}"], json!([])),
        (&["tail", "user:7", "--since", "1"], json!(["user:7=subscribe"])),
    ];
    server.cli(&["emit", "session.started", "--data", &started], "");
    for (arguments, grants) in table {
        let token = caught(tidings(home).args(arguments));
        let me = server.get("/api/auth/me", &token).await.json();
        assert_eq!((&me["grants"], &me["roles"]), (&grants, &json!([])), "{arguments:?}: {me}");
        let ends: Timestamp = serde_json::from_value(me["expiresAt"].clone()).expect("a time");
        let now = jsonwebtoken::get_current_timestamp();
        assert!(u64::try_from(ends.0).expect("after 1970") / 1000 <= now + 61, "{arguments:?}: {me}");
    }
}

#[test]
fn nobody_who_listens_where_a_killed_server_did_is_told_anything() {
    let mut server = Server::start("");
    let token = server.admin();
    server.cli(&["emit", "user.notice", "--data", "{\"userId\":\"1\"}"], "");
    let mut tail = tidings(server.home())
        .args(["tail", "user:1", "--since", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let (out, said) = (tail.stdout.take().expect("piped"), tail.stderr.take().expect("piped"));
    assert!(BufReader::new(out).lines().next().expect("a line").expect("text").contains(" #1 "));
    let address = server.url().trim_start_matches("http://").to_owned();
    server.kill();
    let impostor = TcpListener::bind(&address).expect("the address is free");
    impostor.set_nonblocking(true).expect("is told");
    let mut said = BufReader::new(said).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("none has the data directory")), "the tail does not try again");
    tail.kill().expect("is killed");
    tail.wait().expect("ends");
    for arguments in [&["emit", "user.notice", "--data", "{\"userId\":\"1\"}"][..], &["tail", "user:1"]] {
        for given in [None, Some(&token)] {
            let mut command = tidings(server.home());
            let said = error(&run(command.args(arguments).envs(given.map(|token| ("TIDINGS_TOKEN", token)))));
            assert!(said.contains("none has the data directory"), "{arguments:?}: {said}");
        }
        // Named by hand, the address is believed, but the server's key makes nothing while there is no server.
        let said = error(&run(tidings(server.home()).args(arguments).args(["--listen", &address])));
        assert!(said.contains("none has the data directory"), "{arguments:?}: {said}");
    }
    let came = impostor.accept().expect_err("nobody came");
    assert_eq!(came.kind(), ErrorKind::WouldBlock);
}
