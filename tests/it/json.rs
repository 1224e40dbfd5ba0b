//! JSON as the world writes it, at every door of a real server: half of a surrogate pair, numbers that no
//! double is, and more levels than data may have.
//!
//! Guarantees: what is sent and what is received are compared byte for byte; no reader of JSON stands between.
//! They are not the tests of the reading, which are beside it.

use serde_json::{Value, json};
use tidings_client::{Raw, http};

use crate::{
    agents::{agent, write_script},
    server::{Server, eventually, found},
    sessions::Room,
    watcher::{Watcher, answer, frame, raw},
};

/// Data as Python writes names that are no UTF-8, and JavaScript a text that was cut within an emoji.
const ODD: &str = r#"{"sessionId":"s1", "kind":"x", "half":"\ud83d", "\uDE00":[1.0,"\uD83D\uDE00","\\ud83d"],"type":"stdout","content":"a\udcffb"}"#;

/// The next frame that holds this.
async fn frame_with(raw: &mut Raw, part: &str) -> String {
    loop {
        let text = frame(raw).await.expect("a frame before the end");
        if text.contains(part) {
            return text;
        }
    }
}

async fn post(server: &Server, token: &str, body: String) -> http::Response {
    let content = Some(("application/json", body.into()));
    http::request(http::Method::POST, &server.url(), "/api/events", Some(token), content).await.expect("an answer")
}

#[tokio::test]
async fn half_a_pair_is_passed_on_as_it_came_through_every_door() {
    let mut server = Server::start("");
    let token = server.admin();
    let mut watcher = raw(&server.endpoint(), &token).await;
    watcher
        .send_text(r#"421["subscribe",{"channel":"session:s1","filter":{"where":{"kind":"x","half":"\ude00"}}}]"#)
        .await
        .expect("sends");
    assert_eq!(answer(&mut watcher, 1).await["ok"], true);
    // Somebody who has not subscribed: what is published does not come between its answers.
    let mut publisher = raw(&server.endpoint(), &token).await;
    for (n, kind) in ["session.note", "session.stream_output"].into_iter().enumerate() {
        // An id is a text: it is read, and so are the names of fields.
        let event = format!(r#"{{"type":"{kind}","data":{ODD},"id":"id \ud83d {n}"}}"#);
        let text = format!(r#"422["publish",{{"channel":"session:s1",{}]"#, &event[1..]);
        publisher.send_text(text).await.expect("sends");
        assert_eq!(answer(&mut publisher, 2).await["ok"], true, "{kind}");
        for body in [event.replace("id ", "http "), format!("[{}]", event.replace("id ", "array "))] {
            let response = post(&server, &token, body).await;
            assert_eq!(response.status, 200, "{kind}: {}", response.text());
        }
        server.cli(&["emit", kind, "--channel", "session:s1", "--data", "-"], ODD);
        for _ in 0..4 {
            let text = frame_with(&mut watcher, kind).await;
            assert!(text.contains(&format!("\"data\":{ODD}")), "{text}");
        }
    }
    server.kill();
    server.start_again();
    let history = server.get("/api/channels/session:s1/events?after=0&limit=100", &token).await;
    assert_eq!(history.text().matches(ODD).count(), 8, "{}", history.text());
    assert!(history.text().contains("\"id\":\"id \u{FFFD} 0\""), "{}", history.text());
    let mut watcher = raw(&server.endpoint(), &token).await;
    watcher
        .send_text(r#"421["subscribe",{"channel":"session:s1","since":{"seq":0},"snapshot":true}]"#)
        .await
        .expect("sends");
    let mut text = String::new();
    while text.matches(ODD).count() < 8 {
        text.push_str(&frame(&mut watcher).await.expect("a frame before the end"));
    }
}

#[tokio::test]
async fn a_command_reads_half_a_pair_and_finds_its_fields_however_they_are_written() {
    let room = Room::open("").await;
    let watcher = Watcher::connect(&room.server, &room.token).await;
    let opened = watcher.done("shell.open", json!({"projectId": room.project, "command": ["cat"]})).await;
    let (id, channel) = (opened["data"]["terminalId"].clone(), opened["data"]["channel"].clone());
    let mut typist = raw(&room.server.endpoint(), &room.token).await;
    typist.send_text(format!(r#"421["subscribe",{channel}]"#)).await.expect("sends");
    assert_eq!(answer(&mut typist, 1).await["ok"], true);
    typist
        .send_text(format!(r#"422["shell.input",{{"terminalId":{id},"d\u0061ta":"over\ud83dsocket\r"}}]"#))
        .await
        .expect("sends");
    frame_with(&mut typist, "over\u{FFFD}socket").await;
    let path = format!("/api/shells/{}/input", id.as_str().expect("an id"));
    let content = Some(("application/json", r#"{"data":"over\udcffhttp\r","\ud83d":1}"#.into()));
    let refused = http::request(http::Method::POST, &room.server.url(), &path, Some(&room.token), content).await;
    assert_eq!(refused.expect("an answer").json()["code"], "invalid_data", "a field that nobody knows");
    let content = Some(("application/json", r#"{"data":"over\udcffhttp\r"}"#.into()));
    let typed = http::request(http::Method::POST, &room.server.url(), &path, Some(&room.token), content).await;
    assert_eq!(typed.expect("an answer").status, 202);
    frame_with(&mut typist, "over\u{FFFD}http").await;
    // The same commandId, written in two ways, is one.
    let body = |id: &str| {
        format!(
            r#"423["project.set_member",{{"projectId":"{}","userId":"u1","membership":"viewer",{id}:"c1"}}]"#,
            room.project
        )
    };
    typist.send_text(body(r#""commandId""#)).await.expect("sends");
    let first = answer(&mut typist, 3).await;
    assert_eq!(first["ok"], true, "{first}");
    typist.send_text(body(r#""command\u0049d""#)).await.expect("sends");
    assert_eq!(answer(&mut typist, 3).await, first);
}

#[tokio::test]
async fn data_that_not_every_reader_takes_is_refused_at_every_door_and_the_rest_passes() {
    let server = Server::start("");
    let token = server.admin();
    let nested =
        |levels: usize| format!(r#"{{"sessionId":"s1","n":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    let number = |number: &str| format!(r#"{{"sessionId":"s1","n":[{number}]}}"#);
    let long = "7".repeat(400);
    let table = [
        (nested(64), true),
        (nested(65), false),
        (nested(200), false),
        (number("1e308"), true),
        (number("1e-400"), true),
        (number("1e400"), false),
        (number("-1E+400"), false),
        (number(&long), false),
    ];
    let mut publisher = raw(&server.endpoint(), &token).await;
    for kind in ["session.note", "session.paused"] {
        for (data, fits) in &table {
            let event = format!(r#"{{"type":"{kind}","data":{data}}}"#);
            let text = format!(r#"421["publish",{{"channel":"session:s1",{}]"#, &event[1..]);
            publisher.send_text(text).await.expect("sends");
            let told = answer(&mut publisher, 1).await;
            assert_eq!(told["ok"], *fits, "{kind} {data}: {told}");
            for body in [event.clone(), format!("[{event}]")] {
                // Of an array it is said which entry.
                let place = if body.starts_with('[') { "[0].data" } else { "data" };
                let response = post(&server, &token, body).await;
                assert_eq!(response.status, if *fits { 200 } else { 422 }, "{kind} {data}: {}", response.text());
                if !fits {
                    let problem = response.json();
                    assert_eq!(
                        (&problem["code"], &told["error"]["code"]),
                        (&json!("invalid_data"), &json!("invalid_data"))
                    );
                    assert_eq!(problem["fields"][place], told["error"]["fields"]["data"]);
                    assert!(problem["fields"][place].is_string(), "{problem}");
                }
            }
        }
    }
    // An input has the same bounds.
    let body = r#"{"name":"a","root":"/","\ud83d":1e400}"#;
    let content = Some(("application/json", body.into()));
    let refused = http::request(http::Method::POST, &server.url(), "/api/projects", Some(&token), content).await;
    assert_eq!(refused.expect("an answer").json()["code"], "invalid_data");
}

/// The lines of a whole turn of each kind of agent, as a program writes them that does not think in UTF-8.
const TURNS: [(&str, &str, &[&str]); 4] = [
    (
        "claude-code",
        "close",
        &[
            r#"> {"type":"system","subtype":"init","session_id":"s","tools":["\ud83d"],"model":"m"}"#,
            r#"> {"type":"assistant","message":{"id":"m1","role":"assistant","content":[{"type":"text","text":"half \ud83d"},{"type":"tool_use","id":"t1","name":"Read","input":{"file_path":"/a\udcff","big":1e400,"deep":DEEP}}]},"session_id":"s"}"#,
            r#"> {"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"\udcff"}]},"session_id":"s"}"#,
            r#"> {"type":"result","subtype":"success","is_error":false,"result":"half \ud83d","session_id":"s","\ud83d":1e400}"#,
        ],
    ),
    (
        "codex",
        "close",
        &[
            r#"> {"type":"thread.started","thread_id":"t","\udcff":1e400}"#,
            r#"> {"type":"turn.started"}"#,
            r#"> {"type":"item.completed","item":{"id":"item_0","type":"mcp_tool_call","server":"s","tool":"t","arguments":{"path":"/a\udcff","deep":DEEP},"result":null,"error":null,"status":"completed"}}"#,
            r#"> {"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"half \ud83d"}}"#,
            r#"> {"type":"turn.completed","usage":{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1},"\ud83d":-1e400}"#,
        ],
    ),
    (
        "gemini",
        "close",
        &[
            r#"> {"type":"init","session_id":"s","model":"m\udcff"}"#,
            r#"> {"type":"tool_use","tool_name":"Bash","tool_id":"b","parameters":{"command":"ls \udcff","big":1e400,"deep":DEEP}}"#,
            r#"> {"type":"tool_result","tool_id":"b","status":"success","output":"\udcff"}"#,
            r#"> {"type":"message","role":"assistant","content":"half \ud83d","delta":true}"#,
            r#"> {"type":"result","status":"success","stats":{"total_tokens":1,"input_tokens":1,"output_tokens":0},"\ud83d":1e400}"#,
        ],
    ),
    (
        "acp",
        "open",
        &[
            r#"expect {"method":"initialize"}"#,
            r#"> {"jsonrpc":"2.0","id":{{/id}},"result":{"protocolVersion":1,"agentInfo":{"name":"\udcff","version":"1"}}}"#,
            r#"expect {"method":"session/new"}"#,
            r#"> {"jsonrpc":"2.0","id":{{/id}},"result":{"sessionId":"s","\ud83d":1e400}}"#,
            r#"expect {"method":"session/prompt"}"#,
            r#"> {"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"tool_call","toolCallId":"c","title":"t","status":"completed","rawInput":{"path":"/a\udcff","big":1e400,"deep":DEEP}}}}"#,
            r#"> {"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"half \ud83d"}}}}"#,
            r#"> {"jsonrpc":"2.0","id":{{/id}},"result":{"stopReason":"end_turn","\ud83d":1e400}}"#,
        ],
    ),
];

#[tokio::test]
async fn an_agent_of_any_kind_that_writes_odd_json_completes_its_turn() {
    let folders = TURNS.map(|_| tempfile::tempdir().expect("a directory"));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let agents = TURNS.iter().zip(&folders).map(|((kind, stdin, lines), folder)| {
        let lines: Vec<String> = lines.iter().map(|line| line.replace("DEEP", &deep)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        agent(kind, kind, stdin, &write_script(folder, &lines), &[])
    });
    let room = Room::open(&agents.collect::<String>()).await;
    for (kind, ..) in TURNS {
        let body = json!({"projectId": room.project, "agent": kind, "prompt": "look"});
        let started = room.server.post("/api/sessions", &room.token, body).await;
        assert_eq!(started.status, 201, "{}", started.text());
        let id = started.json()["sessionId"].as_str().expect("an id").to_owned();
        let state = room.has_ended(&id).await;
        assert_eq!(state["status"], "completed", "{kind}: {state}");
        let path = format!("/api/channels/session:{id}/events?after=0&limit=1000");
        let events = room.server.get(&path, &room.token).await.json()["events"].clone();
        let events = events.as_array().unwrap_or_else(|| panic!("{kind}: every reader reads what is told"));
        let of = |wanted: &str| events.iter().filter(|event| event["type"] == wanted).collect::<Vec<_>>();
        let printed: Vec<_> =
            of("session.stream_output").into_iter().filter(|it| it["data"]["type"] == "stdout").collect();
        assert!(printed.is_empty(), "{kind}: no line is plain output: {printed:?}");
        let turns = of("session.turn_completed");
        assert!(turns.len() == 1 && turns[0]["data"]["status"] == "success", "{kind}: {turns:?}");
        let said = of("session.message");
        assert!(said.iter().any(|message| message.to_string().contains("half \u{FFFD}")), "{kind}: {said:?}");
        let tools = of("session.tool_started");
        assert!(tools.len() == 1 && tools[0]["data"]["input"].to_string().contains('\u{FFFD}'), "{kind}: {tools:?}");
    }
}

/// Events of a client that nobody expects: positions, filters, data, names and what is no event at all.
fn odd_events(epoch: &Value) -> Vec<String> {
    let most = u64::MAX;
    vec![
        format!(r#"["subscribe",{{"channel":"session:s1","since":{{"epoch":{epoch},"seq":3000}}}}]"#),
        format!(r#"["subscribe",{{"channel":"session:s1","since":{{"epoch":{epoch},"seq":{most}}},"snapshot":true}}]"#),
        r#"["subscribe",{"channel":"session:s1","since":{"epoch":"another","seq":7}}]"#.to_owned(),
        r#"["subscribe",{"channel":"session:s1","since":{"epoch":"\ud83d","seq":7}}]"#.to_owned(),
        format!(r#"["subscribe",{{"channel":"session:s1","last":{most},"maxLag":{{"messages":0,"bytes":0}}}}]"#),
        format!(r#"["subscribe",{{"channel":"session:s1","last":{most},"filter":{{"where":{{"n":[1e308,null,"\ud83d"]}}}}}}]"#),
        r#"["subscribe",{"channel":"session:s1","filter":{"where":{"n":1e400}}}]"#.to_owned(),
        r#"["subscribe",{"channel":"session:nobody","since":{"seq":0},"snapshot":true}]"#.to_owned(),
        r#"["unsubscribe",{"all":true}]"#.to_owned(),
        r#"["publish",{"channel":"session:s1","type":"session.note","data":{"sessionId":"s1","\u0000":"\u0000"},"id":"\u0000"}]"#.to_owned(),
        r#"["publish",{"channel":"session:s1","type":"session.completed","data":{"sessionId":"s1","exitCode":-1}}]"#.to_owned(),
        r#"["publish",{"channel":"session:s1","type":"session.cancelled","data":{"sessionId":"s1"}}]"#.to_owned(),
        r#"["publish",{"channel":"session:s1","type":"session.turn_completed","data":{"sessionId":"s1"}}]"#.to_owned(),
        r#"["publish",{"channel":"project:p1","type":"project.registered","data":{"projectId":"p1"}}]"#.to_owned(),
        r#"["publish",{"channel":"workflow:run:r1","type":"workflow.run.started","data":{"runId":"r1"}}]"#.to_owned(),
        r#"["auth.refresh",{"token":"\ud83d"}]"#.to_owned(),
        r#"["session.get",{"sessionId":"s1"}]"#.to_owned(),
        r#"["session.output",{"sessionId":"s1"}]"#.to_owned(),
        r#"["session.send_message",{"sessionId":"s1","content":"\u0000\ud83d"}]"#.to_owned(),
        r#"["session.start",{"projectId":"p\u0000","command":["\u0000"]}]"#.to_owned(),
        r#"["project.register",{"name":"\ud83d","root":"/\u0000"}]"#.to_owned(),
        r#"["project.register",{"name":"a","root":"/nowhere/at/all"}]"#.to_owned(),
        r#"["nobody.knows",{"a":[[[[]]]]}]"#.to_owned(),
        r#"["session.get",{"sessionId":"s1","commandId":"\ud83d"}]"#.to_owned(),
        r#"["session.list",{"limit":4294967295,"cursor":"\ud83d"}]"#.to_owned(),
        "[7]".to_owned(),
        "[]".to_owned(),
        r#"["gr\u00f6\u00dfe"]"#.to_owned(),
        r#"["publish",{"channel""#.to_owned(),
    ]
}

fn odd_paths() -> Vec<String> {
    let most = u64::MAX;
    vec![
        format!("/api/channels/session:s1/events?after={most}&limit=1"),
        format!("/api/channels/session:s1/events?before={most}&after={most}&limit=1000"),
        "/api/channels/session:s1/events?types=%00".to_owned(),
        "/api/channels/%ff".to_owned(),
        "/api/channels?cursor=%00&limit=1".to_owned(),
        "/api/users/%00".to_owned(),
        "/api/users?cursor=%00".to_owned(),
        "/api/sessions/%00/output".to_owned(),
        "/socket.io/?EIO=4&transport=polling&sid=nobody".to_owned(),
        "/socket.io/?EIO=3&transport=websocket".to_owned(),
    ]
}

const ODD_BODIES: &[(&str, &str)] = &[
    ("/api/auth/login", r#"{"username":"\ud83d\u0000","password":"\ud83d"}"#),
    ("/api/auth/refresh", r#"{"refreshToken":"\ud83d"}"#),
    ("/api/users", r#"{"username":"\u0000","password":"1234567890123","roles":["\ud83d"]}"#),
    ("/api/users", r#"{"username":"a","password":"\ud83d","roles":[1e400]}"#),
    ("/api/events", r#"[{"type":"session.note","data":{"sessionId":"s1"}},{"type":"\ud83d"}]"#),
    ("/api/projects", "\"\\ud83d"),
    ("/api/sessions/s1/messages", r#"{"content":"\ud83d","commandId":"\ud83d"}"#),
];

#[tokio::test]
async fn a_client_can_say_what_it_wants_and_the_servers_log_has_no_error() {
    let server = Server::start("");
    let token = server.admin();
    let places = server
        .publish(
            &token,
            (1..=100).map(|n| json!({"type": "session.note", "data": {"sessionId": "s1", "n": n}})).collect(),
        )
        .await;
    let epoch = places[99]["epoch"].clone();
    for ask in &odd_events(&epoch) {
        let mut client = raw(&server.endpoint(), &token).await;
        client.send_text(format!("421{ask}")).await.expect("sends");
        // It is answered, or it was no packet of the protocol and ends the connection.
        while let Some(text) = frame(&mut client).await {
            if text.starts_with("431") {
                break;
            }
        }
    }
    for packet in
        ["9", "4", "49", "42", "40/elsewhere,", "451-[\"a\",{\"_placeholder\":true,\"num\":9}]", "\u{0}", "1", "6", "3"]
    {
        let mut client = raw(&server.endpoint(), &token).await;
        client.send_text(packet).await.expect("sends");
        client.close().await.expect("closes");
    }
    for path in &odd_paths() {
        assert!(server.get(path, &token).await.status < 500, "{path}");
    }
    for (path, body) in ODD_BODIES {
        let content = Some(("application/json", (*body).into()));
        let response = http::request(http::Method::POST, &server.url(), path, Some(&token), content).await;
        let response = response.expect("an answer");
        assert!(response.status < 500, "{path} {body}: {}", response.text());
    }
    // Connections end beside the tests: what there is to say of them has been said once they are gone.
    let alone = async || server.metric("tidings_connections").await == 0.0;
    eventually("the end of all connections", alone).await;
    let said = server.said();
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let future =
        found("the figure", async || Some(server.metric("tidings_subscribers_from_the_future_total").await)).await;
    assert_eq!(future, 2.0, "it is counted all the same");
}
