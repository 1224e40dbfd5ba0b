//! A tour of the HTTP routes of a real server.
//!
//! Guarantees: every route of docs/PROTOCOL.md is asked at least once, and answers as it says there.
//! They are not the tests of the transport, which have every refusal.

use serde_json::{Value, json};
use tidings_client::http::{self, Method, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    server::{PATIENCE, Server, note, notes},
    watcher::Watcher,
};

/// A problem in the one form that all have: status and code agree with what is expected.
fn is_problem(response: &Response, status: u16, code: &str) {
    let (problem, text) = (response.json(), response.text());
    assert_eq!((response.status, problem["code"].as_str()), (status, Some(code)), "{text}");
    assert_eq!(response.headers["content-type"], "application/problem+json", "{text}");
    assert_eq!(problem["status"], status, "{text}");
    for field in ["type", "title", "detail", "message"] {
        assert!(problem[field].is_string(), "{field}: {text}");
    }
    assert!(problem["retryable"].is_boolean(), "{text}");
}

fn seqs(places: &[Value]) -> Vec<u64> {
    places.iter().map(|place| place["seq"].as_u64().expect("a number")).collect()
}

async fn anonymous(server: &Server, path: &str, body: &Value) -> Response {
    http::post_json(&server.url(), path, None, body).await.expect("an answer")
}

#[tokio::test]
async fn the_first_admin_logs_in_refreshes_looks_around_and_logs_out() {
    let server = Server::start("[auth]\nrefresh_grace = \"0s\"\n");
    let body = json!({"username": "admin", "password": server.password()});
    let login = anonymous(&server, "/api/auth/login", &body).await;
    assert_eq!(login.status, 200, "{}", login.text());
    assert_eq!(login.headers["cache-control"], "no-store");
    let login = login.json();
    assert_eq!((&login["tokenType"], &login["user"]["username"]), (&json!("Bearer"), &json!("admin")));
    assert!(login["expiresAt"].is_string() && login["user"]["roles"] == json!(["admin"]), "{login}");
    let me = server.get("/api/auth/me", login["token"].as_str().expect("a token")).await.json();
    assert_eq!((&me["user"]["username"], &me["roles"]), (&json!("admin"), &json!(["admin"])));

    let first = json!({"refreshToken": login["refreshToken"]});
    let refreshed = anonymous(&server, "/api/auth/refresh", &first).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let second = refreshed.json();
    assert_ne!(second["refreshToken"], login["refreshToken"]);
    let token = second["token"].as_str().expect("a token");
    assert_eq!(server.get("/api/auth/me", token).await.status, 200);
    // A refresh token that is used twice was stolen by somebody: the whole login ends.
    let used_up = anonymous(&server, "/api/auth/refresh", &first).await;
    is_problem(&used_up, 401, "token_revoked");
    assert_eq!(used_up.json()["retryable"], json!(false), "the same one is never accepted again");
    is_problem(&server.get("/api/auth/me", token).await, 401, "token_revoked");

    for wrong in [json!({"username": "admin", "password": "wrong"}), json!({"username": "nobody", "password": "wrong"})]
    {
        is_problem(&anonymous(&server, "/api/auth/login", &wrong).await, 401, "unauthenticated");
    }
    let token = anonymous(&server, "/api/auth/login", &body).await.json()["token"].clone();
    let token = token.as_str().expect("a token");
    assert_eq!(server.post("/api/auth/logout", token, json!({})).await.status, 204);
    let ended = server.get("/api/auth/me", token).await;
    is_problem(&ended, 401, "token_revoked");
    assert_eq!(ended.json()["retryable"], json!(true), "with a new token");
    assert!(!server.said().contains(server.password()) && !server.said().contains(token));
}

#[tokio::test]
async fn users_are_made_listed_shown_changed_and_deleted_by_admins_only() {
    let server = Server::start("");
    let admin = server.admin();
    let body = json!({"username": "ada", "password": "a long enough password", "roles": ["viewer"]});
    let made = server.post("/api/users", &admin, body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(!made.text().contains("password"), "{}", made.text());
    let path = made.headers["location"].to_str().expect("text").to_owned();
    is_problem(&server.post("/api/users", &admin, body).await, 409, "conflict");
    let changed = server.call(Method::PATCH, &path, &admin, Some(json!({"roles": ["operator"]}))).await;
    assert_eq!((changed.status, &changed.json()["roles"]), (200, &json!(["operator"])));
    assert_eq!(server.get(&path, &admin).await.json(), changed.json());
    let first = server.get("/api/users?limit=1", &admin).await.json();
    let next = format!("/api/users?limit=1&cursor={}", first["cursor"].as_str().expect("another page"));
    let second = server.get(&next, &admin).await.json();
    assert_eq!((&first["users"][0]["username"], &second["users"][0]["username"]), (&json!("ada"), &json!("admin")));
    for role in ["operator", "viewer"] {
        let other = server.token("eve", &["--role", role]);
        is_problem(&server.get("/api/users", &other).await, 403, "forbidden");
        is_problem(&server.call(Method::DELETE, &path, &other, None).await, 403, "forbidden");
    }
    assert_eq!(server.call(Method::DELETE, &path, &admin, None).await.status, 204);
    is_problem(&server.get(&path, &admin).await, 404, "not_found");
}

#[tokio::test]
async fn events_are_published_all_or_nothing_once_for_an_id_and_with_their_bytes() {
    let server = Server::start("");
    let admin = server.admin();
    assert_eq!(seqs(&server.publish(&admin, notes("1", 1..=3)).await), [1, 2, 3]);
    let mut half = notes("1", 4..=5);
    half[1]["type"] = json!("session:note");
    is_problem(&server.post("/api/events", &admin, half).await, 400, "invalid_event");
    let two = json!([note("1", 4), {"type": "session.note", "channel": "session:2", "data": {"sessionId": "1"}}]);
    is_problem(&server.post("/api/events", &admin, two).await, 422, "invalid_data");
    let mut kept = note("1", 4);
    kept["id"] = json!("id-4");
    let first = server.publish(&admin, kept.clone()).await;
    assert_eq!((seqs(&first), server.publish(&admin, kept.clone()).await), (vec![4], first));
    kept["data"]["n"] = json!(5);
    is_problem(&server.post("/api/events", &admin, kept).await, 409, "conflict");

    let bytes = r#"{"type":"session.note","data":{"b":1.0,  "sessionId":"1","a":1e3,"ü":"\u00fc"}}"#;
    let content = Some(("application/json", bytes.into()));
    let sent =
        http::request(Method::POST, &server.url(), "/api/events", Some(&admin), content).await.expect("an answer");
    assert_eq!(sent.status, 200, "{}", sent.text());
    let history = server.get("/api/channels/session:1/events?after=4", &admin).await.text();
    assert!(history.contains(r#""data":{"b":1.0,  "sessionId":"1","a":1e3,"ü":"\u00fc"}"#), "{history}");
    assert_eq!(server.get("/api/channels/session:1", &admin).await.json()["head"], 5);
}

#[tokio::test]
async fn who_may_publish_what_is_decided_before_anything_happens() {
    let server = Server::start("");
    let publisher = server.token("ci", &["--grant", "session:1=publish"]);
    let producer = server.token("ci", &["--grant", "session:1=publish,ingest"]);
    let viewer = server.token("eve", &["--role", "viewer"]);
    let end = json!({"type": "session.completed", "data": {"sessionId": "1", "exitCode": 0}});
    assert_eq!(server.publish(&publisher, note("1", 1)).await.len(), 1);
    is_problem(&server.post("/api/events", &publisher, note("2", 1)).await, 403, "forbidden");
    is_problem(&server.post("/api/events", &publisher, end.clone()).await, 403, "forbidden");
    is_problem(&server.post("/api/events", &viewer, note("1", 1)).await, 403, "forbidden");
    is_problem(&server.post("/api/events", "nonsense", note("1", 1)).await, 401, "unauthenticated");
    assert_eq!(server.publish(&producer, end).await.len(), 1);
    let right =
        json!({"type": "project.member_set", "data": {"projectId": "p", "userId": "eve", "membership": "owner"}});
    let refused = server.post("/api/events", &server.admin(), right).await;
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    is_problem(&server.get("/api/channels/session:1/events", &publisher).await, 403, "forbidden");
    assert_eq!(server.get("/api/channels/session:1/events", &viewer).await.json()["head"], 2);
}

#[tokio::test]
async fn the_history_is_read_forwards_backwards_and_by_type() {
    let server = Server::start("");
    let admin = server.admin();
    server.publish(&admin, notes("1", 1..=25)).await;
    server.publish(&admin, json!({"type": "session.remark", "data": {"sessionId": "1", "n": 26}})).await;
    let page = async |query: &str| server.get(&format!("/api/channels/session:1/events?{query}"), &admin).await.json();
    let numbers = |page: &Value| seqs(page["events"].as_array().expect("events"));
    let (mut after, mut forwards) = (0, Vec::new());
    loop {
        let found = page(&format!("after={after}&limit=10")).await;
        assert_eq!((&found["first"], &found["head"]), (&json!(1), &json!(26)));
        forwards.extend(numbers(&found));
        after = *forwards.last().expect("some");
        if found["more"] == false {
            break;
        }
    }
    assert_eq!(forwards, (1..=26).collect::<Vec<_>>());
    let (mut before, mut backwards) = (27, Vec::new());
    loop {
        let found = page(&format!("before={before}&limit=10")).await;
        let mut these = numbers(&found);
        assert!(these.is_sorted(), "a page is in the channel's order: {these:?}");
        before = these[0];
        these.extend(backwards);
        backwards = these;
        if found["more"] == false {
            break;
        }
    }
    assert_eq!(backwards, forwards);
    assert_eq!(numbers(&page("types=session.remark,nobody.*").await), [26]);
    for query in ["limit=1001", "limit=0", "after=x", "after=-1", "types=session:x", "odd=1"] {
        let refused = server.get(&format!("/api/channels/session:1/events?{query}"), &admin).await;
        is_problem(&refused, 422, "invalid_data");
    }
    is_problem(&server.get("/api/channels/session.1/events", &admin).await, 400, "invalid_channel");
}

#[tokio::test]
async fn live_channels_are_listed_to_whoever_may_see_them() {
    let server = Server::start("");
    let admin = server.admin();
    let watcher = Watcher::connect(&server, &admin).await;
    watcher.done("subscribe", json!(["session:a", "session:b", "session:c"])).await;
    let names = |page: &Value| -> Vec<String> {
        let channels = page["channels"].as_array().expect("channels").iter();
        channels.map(|view| view["channel"].as_str().expect("a name").to_owned()).collect()
    };
    let first = server.get("/api/channels?limit=2", &admin).await.json();
    assert_eq!(names(&first), ["session:a", "session:b"]);
    let next = format!("/api/channels?limit=2&cursor={}", first["cursor"].as_str().expect("another page"));
    assert_eq!(names(&server.get(&next, &admin).await.json()), ["session:c"]);
    let narrow = server.token("eve", &["--grant", "session:b=subscribe"]);
    assert_eq!(names(&server.get("/api/channels", &narrow).await.json()), ["session:b"]);
    let one = server.get("/api/channels/session:b", &narrow).await.json();
    assert_eq!((&one["subscribers"], &one["head"]), (&json!(1), &json!(0)), "{one}");
    is_problem(&server.get("/api/channels/session:a", &narrow).await, 403, "forbidden");
    is_problem(&server.call(Method::DELETE, "/api/channels/session:b", &narrow, None).await, 403, "forbidden");
}

#[tokio::test]
async fn projects_have_members_and_their_rights_count_at_once() {
    let server = Server::start("");
    let (admin, root) = (server.admin(), tempfile::tempdir().expect("a directory"));
    let body = json!({"name": "one", "root": root.path()});
    let made = server.post("/api/projects", &admin, body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/api/projects/{}", made.json()["projectId"].as_str().expect("an id"));
    is_problem(&server.post("/api/projects", &admin, body).await, 409, "conflict");
    let inside = json!({"name": "two", "root": server.data_dir()});
    let refused = server.post("/api/projects", &admin, inside).await;
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    let eve = server.token("eve", &[]);
    is_problem(&server.get(&path, &eve).await, 403, "forbidden");
    for (list, field) in [("/api/projects", "projects"), ("/api/sessions", "sessions"), ("/api/channels", "channels")] {
        assert_eq!(server.get(list, &eve).await.json()[field], json!([]), "{list}");
    }
    let member = json!({"userId": "eve", "membership": "viewer"});
    let set = server.post(&format!("{path}/members"), &admin, member).await;
    assert!((200..300).contains(&set.status), "{}", set.text());
    assert_eq!(server.get(&path, &eve).await.status, 200);
    assert_eq!(server.get("/api/projects", &eve).await.json()["projects"][0]["membership"], "viewer");
    let removed = server.call(Method::DELETE, &format!("{path}/members/eve"), &admin, None).await;
    assert!((200..300).contains(&removed.status), "{}", removed.text());
    is_problem(&server.get(&path, &eve).await, 403, "forbidden");
    let gone = server.call(Method::DELETE, &path, &admin, None).await;
    assert!((200..300).contains(&gone.status) && root.path().exists(), "{}", gone.text());
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_a_problem_with_its_code() {
    let server = Server::start("[http]\nbody_limit_bytes = \"8KiB\"\n");
    let admin = server.admin();
    is_problem(&server.get("/api/nothing", &admin).await, 404, "not_found");
    is_problem(&server.call(Method::PUT, "/api/events", &admin, None).await, 405, "bad_request");
    is_problem(&anonymous(&server, "/api/events", &json!([])).await, 401, "unauthenticated");
    is_problem(&server.post("/api/events", &admin, json!([])).await, 400, "bad_request");
    let wrong = server.post("/api/events", &admin, json!([note("1", 1), {"type": 5, "data": {}}])).await;
    is_problem(&wrong, 422, "invalid_data");
    assert!(wrong.json()["fields"]["[1].type"].is_string(), "as over Socket.IO: {}", wrong.text());
    let large = json!({"type": "session.note", "data": {"sessionId": "1", "text": "x".repeat(9000)}});
    is_problem(&server.post("/api/events", &admin, large).await, 413, "too_large");
    is_problem(&server.get("/api/sessions/nobody", &admin).await, 404, "not_found");
    is_problem(&server.post("/api/sessions", &admin, json!({"projectId": "1:2"})).await, 422, "invalid_data");
    let text = Some(("text/plain", "{}".into()));
    let form = http::request(Method::POST, &server.url(), "/api/events", Some(&admin), text).await.expect("an answer");
    assert_eq!((form.status, form.headers["content-type"].to_str().ok()), (415, Some("application/problem+json")));
    let answer = server.get("/api/auth/me", &admin).await;
    assert!(!answer.headers["x-request-id"].is_empty());
}

#[tokio::test]
async fn health_and_metrics_tell_operators_what_they_need_and_no_names() {
    let server = Server::start("");
    let admin = server.admin();
    let mut watcher = Watcher::connect(&server, &admin).await;
    watcher.done("subscribe", json!("session:secret-name")).await;
    server.publish(&admin, notes("secret-name", 1..=3)).await;
    watcher.notes_to(3).await;
    assert_eq!(server.get("/health/live", "").await.status, 200);
    let ready = server.get("/health/ready", "").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ready")), "{}", ready.text());
    assert!(ready.json()["probeMs"].is_u64(), "{}", ready.text());
    assert_eq!(watcher.refused("dance", json!({})).await, "unknown_command");
    let text = server.get("/metrics", "").await.text();
    let families = [
        "tidings_connections",
        "tidings_subscriptions",
        "tidings_events_in_total",
        "tidings_deliveries_total",
        "tidings_delivered_bytes_total",
        "tidings_behind_subscriptions",
        "tidings_gaps_total",
        "tidings_slow_clients",
        "tidings_log_commit_seconds",
        "tidings_log_batch_size",
        "tidings_bus_depth",
        "tidings_refusals_total",
        "tidings_http_requests_total",
        "tidings_log_healthy",
        r#"tidings_running{of="session"} 0"#,
        r#"tidings_running{of="terminal"} 0"#,
        r#"tidings_running{of="run"} 0"#,
        r#"tidings_running{of="operation"} 0"#,
        r#"tidings_running{of="watch"} 0"#,
    ];
    for family in families {
        assert!(text.lines().any(|line| line.starts_with(family)), "{family}\n{text}");
    }
    assert!(text.contains(r#"tidings_refusals_total{code="unknown_command"} 1"#), "{text}");
    assert!(!text.contains("secret-name") && !text.contains("root"), "{text}");
    assert!(server.metric("tidings_deliveries_total").await >= 3.0);
}

#[tokio::test]
async fn metrics_may_be_for_those_with_a_role_only() {
    let server = Server::start("[http]\nmetrics_public = false\n");
    is_problem(&server.get("/metrics", "nonsense").await, 401, "unauthenticated");
    is_problem(&server.get("/metrics", &server.token("eve", &[])).await, 403, "forbidden");
    assert_eq!(server.get("/metrics", &server.token("eve", &["--role", "viewer"])).await.status, 200);
}

/// Sends a request of a head and, once the server has surely answered or waits, its body; gives the answer's head.
async fn in_two_parts(stream: &mut TcpStream, path: &str, body: &[u8]) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("takes the head");
    // In pieces: more than the system's buffers hold has to be read by the server.
    for piece in body.chunks(64 * 1024) {
        tokio::task::yield_now().await;
        stream.write_all(piece).await.expect("takes the body");
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).await.expect("the answer's body");
    head
}

#[tokio::test]
async fn who_is_refused_before_the_body_was_read_gets_the_answer_and_keeps_the_connection() {
    let server = Server::start("");
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("connects");
    let large = vec![b' '; 3_000_000];
    for (path, body, status) in [
        ("/api/events", &b"[1,2]"[..], "401"),
        ("/nowhere", b"[1,2]", "404"),
        ("/health/live", b"[1,2]", "405"),
        ("/api/events", &large, "401"),
        ("/api/events", b"", "401"),
    ] {
        let head = in_two_parts(&mut stream, path, body).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{path}: {head}");
        assert!(!head.contains("connection: close"), "{path}: {head}");
    }
    // What the page calls too large may end the connection, but the client hears of it.
    let mut other = TcpStream::connect(&address).await.expect("connects");
    let head = in_two_parts(&mut other, "/api/auth/login", &large).await;
    assert!(head.starts_with("http/1.1 413 "), "{head}");
    let endless = vec![b' '; 20_000_000];
    let head = format!("POST /api/events HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", endless.len());
    stream.write_all(head.as_bytes()).await.expect("takes the head");
    // Beyond the bound nothing is read: the connection is over, with a word if that comes through.
    let (mut reader, mut writer) = stream.split();
    let mut said = Vec::new();
    let both = async { tokio::join!(writer.write_all(&endless), reader.read_to_end(&mut said)) };
    let (sent, _) = timeout(PATIENCE, both).await.expect("an end");
    let said = String::from_utf8_lossy(&said).to_lowercase();
    assert!(sent.is_err() || said.contains("connection: close"), "{said}");
}

/// The line with the status and the body that a request with this `Idempotency-Key` is answered.
async fn keyed(server: &Server, bearer: &str, (method, path): (&str, &str), key: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).await.expect("connects");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {bearer}\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().expect("a status").to_owned(), body.to_owned())
}

#[tokio::test]
async fn events_with_an_idempotency_key_are_published_once() {
    let server = Server::start("");
    let bearer = server.admin();
    let publish = async |key: &str, events: &Value| {
        keyed(&server, &bearer, ("POST", "/api/events"), key, &events.to_string()).await
    };
    for (key, events) in [("one", note("1", 1)), ("\"several\"", notes("1", 2..=3))] {
        let first = publish(key, &events).await;
        assert!(first.0.starts_with("HTTP/1.1 200"), "{first:?}");
        assert_eq!(publish(key, &events).await, first, "a repeat gets the first places");
    }
    let other = publish("one", &note("1", 4)).await;
    assert!(other.0.starts_with("HTTP/1.1 409") && other.1.contains("conflict"), "{other:?}");
    let long = publish(&"k".repeat(125), &note("1", 5)).await;
    assert!(long.0.starts_with("HTTP/1.1 400") && long.1.contains("Idempotency-Key"), "{long:?}");
    assert_eq!(server.get("/api/channels/session:1", &bearer).await.json()["head"], 3);
}

#[tokio::test]
async fn a_deletion_with_an_idempotency_key_is_answered_again_and_done_once() {
    let server = Server::start("");
    let (bearer, root) = (server.admin(), tempfile::tempdir().expect("a directory"));
    let made = server.post("/api/projects", &bearer, json!({"name": "a", "root": root.path()})).await.json();
    let path = format!("/api/projects/{}", made["projectId"].as_str().expect("an id"));
    let delete = async |key: &str| keyed(&server, &bearer, ("DELETE", &path), key, "").await;
    let first = delete("one").await;
    assert!(first.0.starts_with("HTTP/1.1 2"), "{first:?}");
    assert_eq!(delete("one").await, first);
    assert!(delete("two").await.0.starts_with("HTTP/1.1 404"), "it is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_never_ends_does_not_hold_up_a_stop() {
    let mut server = Server::start("drain_ms = 200\n[run]\ngrace_ms = 200\n");
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).await.expect("connects");
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("begins");
    // It is under way once another request on another connection was answered after it.
    assert_eq!(server.get("/health/live", "").await.status, 200);
    // It ends in order: with the exit code 0 and nothing named.
    tokio::task::block_in_place(|| server.stop());
}
