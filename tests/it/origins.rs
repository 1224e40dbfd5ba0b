//! Whose pages may use the server: a live connection, and every route of HTTP.
//!
//! Guarantees: requests are written by hand, with the headers that a browser sends.
//! They are not browsers: the protocol's tests beside `tests/clients` walk through CORS.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::server::{PATIENCE, Server, note};

const LISTED: &str = "https://app.example.com";
const FOREIGN: &str = "https://evil.example.com";
const FOREIGN_REFUSED: &str = "tidings_handshakes_refused_total{reason=\"origin\"}";
const FORBIDDEN: &str = "tidings_refusals_total{code=\"forbidden\"}";
const WEBSOCKET: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// What a browser says of an image of a page of another site.
const CROSS_SITE: &str = "sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\nsec-fetch-dest: image\r\n";

/// An answer: its head, in lower case, and its body, where the connection ends with it.
async fn ask(server: &Server, request: &str, host: &str, headers: &str) -> (String, String) {
    ask_with(server, request, (host, headers), "").await
}

/// The same, with a body.
async fn ask_with(server: &Server, request: &str, (host, headers): (&str, &str), body: &str) -> (String, String) {
    let asking = async {
        let address = server.url().replace("http://", "");
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request = format!("{request} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n{body}");
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
    assert_eq!(server.metric(FOREIGN_REFUSED).await, 6.0);
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

/// Every route that the server's own document names, and one that nobody serves: method, path, and a body that would
/// have an effect where there is one.
pub(crate) async fn routes(server: &Server, user: &str) -> Vec<(String, String, Value)> {
    let document = server.get("/openapi.json", "").await.json();
    let mut routes = vec![("POST".to_owned(), "/nowhere".to_owned(), json!({}))];
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let body = match path.as_str() {
            "/api/auth/login" => json!({"username": "admin", "password": server.password()}),
            "/api/users" => json!({"username": "eve", "password": "a long enough password", "roles": ["admin"]}),
            "/api/users/{id}" => json!({"roles": ["admin"]}),
            "/api/events" => note("1", 2),
            "/api/projects" => json!({"name": "p", "root": server.home()}),
            _ => json!({}),
        };
        // Whatever a path names, the user and the channel of these tests are there.
        let path = path.replace("{channel}", "session:1");
        let path = path.split('/').map(|part| if part.starts_with('{') { user } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        let methods = operations.as_object().expect("operations").keys();
        let methods = methods.filter(|key| ["get", "put", "post", "patch", "delete"].contains(&key.as_str()));
        routes.extend(methods.map(|method| (method.to_uppercase(), path.clone(), body.clone())));
    }
    routes
}

/// What pages could have changed.
async fn everything(server: &Server, admin: &str) -> Value {
    let lists = ["/api/users", "/api/tokens", "/api/auth/logins", "/api/projects", "/api/channels?namespace=session"];
    let mut all = Vec::new();
    for list in lists {
        all.push(server.get(list, admin).await.json());
    }
    all.push(server.get("/api/channels/session:1/events", admin).await.json());
    for count in ["tidings_logins_total{result=\"ok\"}", "tidings_logins_total{result=\"wrong\"}"] {
        all.push(json!(server.metric(count).await));
    }
    json!(all)
}

/// A request of a page that has somebody's token. Its content type is one for which a browser asks nobody.
async fn by_page(server: &Server, route: (&str, &str, &Value), page: &str, token: &str) -> (String, String) {
    let (method, path, body) = route;
    let body = body.to_string();
    let headers = format!("{page}authorization: Bearer {token}\r\ncontent-length: {}\r\n", body.len());
    ask_with(server, &format!("{method} {path}"), ("tidings.example", &headers), &body).await
}

#[tokio::test]
async fn a_foreign_page_is_refused_at_every_route_of_the_document_and_changes_nothing() {
    let server = Server::start(&format!("[http]\ncors_origins = [\"{LISTED}\"]\n"));
    let admin = server.admin();
    let ada = json!({"username": "ada", "password": "a long enough password", "roles": ["viewer"]});
    let ada = server.post("/api/users", &admin, ada).await.json()["id"].as_str().expect("an id").to_owned();
    server.publish(&admin, note("1", 1)).await;
    let (routes, before) = (routes(&server, &ada).await, everything(&server, &admin).await);
    let forbidden = server.metric(FORBIDDEN).await;
    let mut tried = BTreeSet::new();
    let pages = [format!("origin: {FOREIGN}\r\n"), "origin: null\r\n".to_owned(), CROSS_SITE.to_owned()];
    for (method, path, body) in &routes {
        for page in &pages {
            let (head, told) = by_page(&server, (method, path, body), page, &admin).await;
            assert!(head.starts_with("http/1.1 403") && !head.contains("allow-origin"), "{method} {path}: {head}");
            for line in ["content-type: application/problem+json", "cache-control: no-store", "x-request-id: "] {
                assert!(head.contains(line), "{line}: {method} {path}: {head}");
            }
            let told: Value = serde_json::from_str(&told).expect("a problem");
            assert_eq!(told["code"], "forbidden", "{method} {path}");
            assert!(told["message"].as_str().is_some_and(|told| told.contains("http.cors_origins")), "{told}");
        }
        tried.insert(method.as_str());
    }
    let refused = routes.len() * pages.len();
    assert!(refused > 100, "{refused}");
    assert_eq!(server.metric(FORBIDDEN).await - forbidden, refused as f64);
    assert_eq!(server.metric(FOREIGN_REFUSED).await, refused as f64);
    assert_eq!(everything(&server, &admin).await, before);
    assert_eq!(tried, BTreeSet::from(["DELETE", "GET", "PATCH", "POST"]));
}

#[tokio::test]
async fn a_listed_page_is_answered_at_every_route_and_told_that_it_may_read_the_answer_with_credentials() {
    let server = Server::start(&format!("[http]\ncors_origins = [\"{LISTED}\"]\n"));
    let mut admin = server.admin();
    for (method, path, body) in routes(&server, "nobody").await {
        let (head, told) = by_page(&server, (&method, &path, &body), &format!("origin: {LISTED}\r\n"), &admin).await;
        assert!(!told.contains("http.cors_origins"), "{method} {path}: {told}");
        if path == "/api/auth/logout" {
            admin = server.admin();
        }
        allows(&head, &format!("{method} {path}"));
        let asked = format!(
            "origin: {LISTED}\r\naccess-control-request-method: {method}\r\naccess-control-request-headers: authorization,content-type,idempotency-key,x-trace-of-mine\r\n"
        );
        let (head, _) = ask(&server, &format!("OPTIONS {path}"), "tidings.example", &asked).await;
        allows(&head, &format!("the question before {method} {path}"));
        let line = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let methods = line("access-control-allow-methods: ").to_uppercase();
        assert!(methods.split(',').any(|allowed| allowed == method), "{method} {path}: {head}");
        assert!(line("access-control-allow-headers: ").contains("x-trace-of-mine"), "{method} {path}: {head}");
    }
    assert_eq!(server.metric(FOREIGN_REFUSED).await, 0.0);
    assert_eq!(server.get("/api/users", &admin).await.json()["users"][1]["username"], "eve");
}

/// CORS says that the listed page may read this, and only it.
fn allows(head: &str, what: &str) {
    let success = |line: &&str| line.starts_with("http/1.1 2") || !what.starts_with("the question");
    assert!(head.lines().next().is_some_and(|line| success(&line)), "{what}: {head}");
    for line in [format!("access-control-allow-origin: {LISTED}"), "access-control-allow-credentials: true".to_owned()]
    {
        assert!(head.lines().any(|told| told == line), "{line}: {what}: {head}");
    }
    let vary = head.lines().filter_map(|line| line.strip_prefix("vary: "));
    assert!(vary.flat_map(|names| names.split(',')).any(|name| name.trim() == "origin"), "{what}: {head}");
}

#[tokio::test]
async fn whoever_follows_a_link_or_types_an_address_comes_in_and_a_page_that_embeds_the_server_does_not() {
    let server = Server::start("");
    let asked = |site: &str, mode: &str, dest: &str| {
        format!("sec-fetch-site: {site}\r\nsec-fetch-mode: {mode}\r\nsec-fetch-dest: {dest}\r\n")
    };
    for (site, mode, dest, expected) in [
        ("none", "navigate", "document", "200"),
        ("cross-site", "navigate", "document", "200"),
        ("same-origin", "cors", "empty", "200"),
        ("cross-site", "navigate", "iframe", "403"),
        ("cross-site", "no-cors", "image", "403"),
        ("same-site", "no-cors", "script", "403"),
    ] {
        for path in ["/", "/socket.io/?EIO=4&transport=polling"] {
            let headers = asked(site, mode, dest);
            let (head, _) = ask(&server, &format!("GET {path}"), "tidings.example", &headers).await;
            assert_eq!(head.split(' ').nth(1), Some(expected), "{path} {headers}");
        }
    }
}

#[tokio::test]
async fn pages_of_the_visitors_own_machine_pass_to_this_machine_and_not_through_a_proxy_to_it() {
    const PAGE: &str = "origin: http://localhost:5173\r\n";
    let alone = Server::start("");
    let behind = Server::start("[http]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    for (server, host, headers, passes) in [
        (&alone, "127.0.0.1:4100", "", true),
        (&alone, "localhost:4100", "x-forwarded-for: ::1\r\nx-forwarded-host: localhost:5173\r\n", true),
        (&alone, "tidings.example", "", false),
        (&alone, "127.0.0.1:4100", "x-forwarded-for: 203.0.113.9\r\n", false),
        (&alone, "127.0.0.1:4100", "x-forwarded-proto: https\r\n", false),
        (&behind, "127.0.0.1:4100", "", false),
        (&behind, "tidings.example", "x-forwarded-for: 203.0.113.9\r\n", false),
    ] {
        let headers = format!("{PAGE}{headers}");
        let (expected, login) = if passes { ("101", "422") } else { ("403", "403") };
        let (head, _) =
            ask(server, "GET /socket.io/?EIO=4&transport=websocket", host, &format!("{WEBSOCKET}{headers}")).await;
        assert_eq!(head.split(' ').nth(1), Some(expected), "{host} {headers}");
        let body = format!("{headers}content-length: 2\r\n");
        let (head, _) = ask_with(server, "POST /api/auth/login", (host, &body), "{}").await;
        assert_eq!(head.split(' ').nth(1), Some(login), "{host} {headers}");
        assert_eq!(head.contains("access-control-allow-origin: http://localhost:5173"), passes, "{head}");
    }
}
