//! Whose pages may use a live connection.
//!
//! Guarantees: requests are written by hand, with the headers that a browser sends.
//! They are not browsers: the protocol's tests beside `tests/clients` walk through CORS.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::server::{PATIENCE, Server};

const LISTED: &str = "https://app.example.com";
const FOREIGN: &str = "https://evil.example.com";
const WEBSOCKET: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// An answer: its head, in lower case, and its body, where the connection ends with it.
async fn ask(server: &Server, request: &str, host: &str, headers: &str) -> (String, String) {
    let asking = async {
        let address = server.url().replace("http://", "");
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request = format!("{request} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut read = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&read);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                    return (head.clone(), body.to_owned());
                }
            }
            assert!(stream.read_buf(&mut read).await.expect("reads") > 0, "the connection ended");
        }
    };
    timeout(PATIENCE, asking).await.expect("an answer")
}

async fn status(server: &Server, transport: &str, host: &str, origin: &str) -> String {
    let upgrade = if transport == "websocket" { WEBSOCKET } else { "" };
    let origin = if origin.is_empty() { String::new() } else { format!("origin: {origin}\r\n") };
    let path = format!("GET /socket.io/?EIO=4&transport={transport}");
    let (head, _) = ask(server, &path, host, &format!("{upgrade}{origin}")).await;
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_gets_no_connection_over_any_transport_and_is_told_the_setting() {
    let server = Server::start(&format!("[http]\ncors_origins = [\"{LISTED}\"]\n"));
    for (origin, host, comes_in) in [
        ("", "any.example", true),
        (LISTED, "any.example", true),
        ("http://any.example:4100", "any.example:4100", true),
        ("http://localhost:5173", "127.0.0.1:4100", true),
        (FOREIGN, "any.example", false),
        ("http://any.example:9", "any.example:4100", false),
        ("null", "any.example", false),
    ] {
        for (transport, good) in [("websocket", "101"), ("polling", "200")] {
            let expected = if comes_in { good } else { "403" };
            assert_eq!(status(&server, transport, host, origin).await, expected, "{origin} at {host} by {transport}");
        }
    }
    assert_eq!(server.metric("tidings_handshakes_refused_total{reason=\"origin\"}").await, 6.0);
    let foreign = format!("origin: {FOREIGN}\r\ncontent-length: 0\r\n");
    let (head, body) = ask(&server, "POST /socket.io/?EIO=4&transport=polling&sid=x", "any.example", &foreign).await;
    let told: Value = serde_json::from_str(&body).expect("the engine's form");
    assert!(head.starts_with("http/1.1 403"), "{head}");
    assert_eq!(told["code"], json!(4));
    assert!(told["message"].as_str().is_some_and(|message| message.contains("http.cors_origins")), "{body}");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_host_that_it_was_asked_for_counts() {
    let server = Server::start("[http]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let stranger = Server::start("");
    let page = "origin: https://public.example\r\nx-forwarded-host: public.example\r\n";
    for (server, expected) in [(&server, "http/1.1 101"), (&stranger, "http/1.1 403")] {
        let headers = format!("{WEBSOCKET}{page}");
        let (head, _) = ask(server, "GET /socket.io/?EIO=4&transport=websocket", "inside:1", &headers).await;
        assert!(head.starts_with(expected), "{head}");
    }
}
