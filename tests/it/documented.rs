//! What the pages say of answers and errors, asked of the real server.
//!
//! Guarantees: each is looked at as a client sees it, over the wire that it comes by.
//! They are not the tests of routes and commands: this is what all of them have in common.

use std::{cell::Cell, collections::BTreeSet};

use serde_json::{Value, json};

use crate::{
    server::{Server, eventually, note, notes},
    watcher::{Watcher, answer, raw},
};

const BUILDS: &str = include_str!("../../examples/declared-domain/tidings.toml");

async fn project(server: &Server, token: &str) -> Value {
    let root = server.home().join("project");
    std::fs::create_dir_all(&root).expect("makes");
    server.post("/api/projects", token, json!({"name": "one", "root": root})).await.json()
}

fn fields(problem: &Value) -> Vec<&str> {
    problem["fields"].as_object().expect("fields").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_batch_that_is_refused_says_which_event_and_which_field() {
    let server = Server::start(BUILDS);
    let (admin, friend) = (server.admin(), server.token("friend", &["--grant", "session:mine=publish"]));
    let fine = note("mine", 1);
    let table = [
        (&admin, json!({"type": "build.finished", "data": {"buildId": "7"}}), 422, "[1].data.passed"),
        (&admin, json!({"type": "session.completed", "data": {"exitCode": 0}}), 422, "[1].data.sessionId"),
        (&admin, json!({"type": "nobody.spoke", "data": {}}), 400, "[1].type"),
        (&admin, json!({"type": "session.note", "data": []}), 422, "[1].data"),
        (&admin, json!({"type": "session.note", "channel": "session.mine", "data": {}}), 400, "[1].channel"),
        (&admin, json!({"type": "server.hello", "data": {}}), 400, "[1].type"),
        (&admin, json!({"type": "session.note", "data": {"sessionId": "mine"}, "id": ""}), 422, "[1].id"),
        (&admin, json!({"type": "session.note", "data": {"sessionId": "mine"}, "chanel": ""}), 422, "[1].chanel"),
        (&friend, note("other", 1), 403, "[1]"),
    ];
    for (token, bad, status, field) in table {
        let refused = server.post("/api/events", token, json!([fine, bad, fine])).await;
        assert_eq!((refused.status, fields(&refused.json())), (status, vec![field]), "{bad}: {}", refused.text());
        let message = refused.json()["message"].as_str().expect("a message").to_owned();
        assert!(message.starts_with("event 1 of the array: "), "{message}");
    }
    // What only the log finds, and an array of one.
    let with_id = |n: u64| {
        let mut event = note("mine", n);
        event["id"] = json!("first");
        event
    };
    server.publish(&admin, with_id(1)).await;
    let again = server.post("/api/events", &admin, json!([fine, fine, with_id(2)])).await;
    assert_eq!((again.status, fields(&again.json())), (409, vec!["[2].id"]), "{}", again.text());
    let alone = server.post("/api/events", &admin, json!([{"type": "build.finished", "data": {"buildId": "7"}}])).await;
    assert_eq!(fields(&alone.json()), ["[0].data.passed"]);
    let bare = server.post("/api/events", &admin, with_id(2)).await;
    assert_eq!((bare.status, fields(&bare.json())), (409, vec!["id"]), "{}", bare.text());
}

#[tokio::test]
async fn a_number_that_is_whole_is_one_however_it_is_written() {
    let server = Server::start("");
    let token = server.admin();
    let project = project(&server, &token).await["id"].clone();
    let body = json!({"projectId": project, "command": ["cat"], "cols": 80.0, "rows": 2.4e1});
    let opened = server.post("/api/shells", &token, body).await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    let shown =
        server.get(&format!("/api/shells/{}", opened.json()["id"].as_str().expect("an id")), &token).await.json();
    assert_eq!((&shown["cols"], &shown["rows"]), (&json!(80), &json!(24)));
    // Data are held against their type, and passed on as they came.
    let event = r#"{"type":"session.completed","data":{"sessionId":"s1","exitCode":0.0}}"#;
    server.publish(&token, serde_json::from_str(event).expect("JSON")).await;
    let watcher = Watcher::connect(&server, &token).await;
    let since = json!({"channel": "session:s1", "since": {"seq": 0.0}, "maxLag": {"messages": 1e3}});
    assert_eq!(watcher.done("subscribe", since).await["recovered"], true);
    let history = server.get("/api/channels/session:s1/events", &token).await;
    assert!(history.text().contains(r#""exitCode":0.0"#), "{}", history.text());
    let refused = server.post("/api/shells", &token, json!({"projectId": project, "cols": 80.5})).await;
    assert_eq!((refused.status, fields(&refused.json())), (422, vec!["cols"]));
}

#[tokio::test]
async fn a_subscribe_says_whether_the_channel_exists_and_whether_a_snapshot_comes() {
    let server = Server::start("[[domains]]\nname = \"build\"\nchannel = \"build:{buildId}\"\n");
    let token = server.admin();
    server.publish(&token, notes("here", 1..=3)).await;
    server.publish(&token, json!({"type": "build.note", "data": {"buildId": "b", "text": "hello"}})).await;
    let mut watcher = Watcher::connect(&server, &token).await;
    let table = [
        (json!({"channel": "session:here"}), true, false),
        (json!({"channel": "session:here", "snapshot": true}), true, true),
        (json!({"channel": "session:here", "snapshot": true, "last": 1}), true, true),
        (json!({"channel": "session:here", "snapshot": true, "since": {"seq": 0}}), true, false),
        (json!({"channel": "session:here", "snapshot": true, "since": {"seq": 9, "epoch": "other"}}), true, true),
        (json!({"channel": "session:nowhere", "snapshot": true}), false, false),
        // It has no state.
        (json!({"channel": "build:b", "snapshot": true}), true, false),
    ];
    for (asked, exists, snapshot) in table {
        let answer = watcher.done("subscribe", asked.clone()).await;
        assert_eq!((&answer["exists"], &answer["snapshot"]), (&json!(exists), &json!(snapshot)), "{asked}");
        let channel = asked["channel"].clone();
        // What is published now is live, or in the snapshot: that comes before it, or holds it.
        let next = match channel.as_str().and_then(|name| name.split_once(':')) {
            Some(("build", id)) => json!({"type": "build.note", "data": {"buildId": id, "text": "next"}}),
            Some((_, id)) => note(id, 9),
            None => panic!("a channel"),
        };
        let seq = server.publish(&token, next).await[0]["seq"].clone();
        // What was published while history came is history, too: then the snapshot comes after it.
        let (is_there, came) = (Cell::new(false), Cell::new(false));
        let is_all = |message: &Value| {
            let told = message["type"] == "channel.position" && message["data"]["seq"].as_u64() >= seq.as_u64();
            let is_of = message["channel"] == channel;
            is_there.set(is_there.get() || (is_of && (message["seq"] == seq || told)));
            came.set(came.get() || (is_of && message["type"] == "channel.snapshot"));
            is_there.get() && (came.get() || !snapshot)
        };
        let seen = watcher.until("what is live, and the snapshot", is_all).await;
        let came = came.get();
        assert_eq!(came, snapshot, "{asked}: {seen:?}");
        watcher.done("unsubscribe", json!({"all": true})).await;
    }
}

#[tokio::test]
async fn a_command_without_an_input_may_come_without_an_argument() {
    let server = Server::start("");
    let mut client = raw(&server.endpoint(), &server.admin()).await;
    client.send_text(r#"427["session.list"]"#.to_owned()).await.expect("sends");
    let listed = answer(&mut client, 7).await;
    assert_eq!(listed, json!({"ok": true, "data": {"sessions": []}}));
    client.send_text(r#"428["session.get"]"#.to_owned()).await.expect("sends");
    let refused = answer(&mut client, 8).await;
    assert_eq!(fields(&refused["error"]), ["sessionId"], "{refused}");
    client.send_text(r#"429["session.list",{},{}]"#.to_owned()).await.expect("sends");
    assert_eq!(answer(&mut client, 9).await["error"]["code"], "bad_request");
}

#[tokio::test]
async fn every_command_that_makes_something_answers_its_id_its_own_id_and_the_channel() {
    let server = Server::start("");
    let token = server.admin();
    let document = server.get("/openapi.json", &token).await.json();
    let makes = |operation: &Value| ["201", "202"].map(|status| operation["responses"][status].clone());
    let mut made = BTreeSet::new();
    for operation in document["paths"].as_object().expect("paths").values().flat_map(|path| path.as_object()).flatten()
    {
        let (name, operation) = (operation.1["operationId"].as_str().expect("a name"), operation.1);
        let reference = makes(operation).iter().find_map(|response| {
            let schema = &response["content"]["application/json"]["schema"]["$ref"];
            schema.as_str().map(|name| name.rsplit('/').next().unwrap_or(name).to_owned())
        });
        let (Some(reference), true) = (reference, name.contains('.')) else { continue };
        let answer = &document["components"]["schemas"][&reference];
        let required: BTreeSet<&str> =
            answer["required"].as_array().expect("fields").iter().filter_map(Value::as_str).collect();
        if required.contains("id") {
            assert!(required.contains("channel"), "{name}");
            let own = required.iter().any(|field| field.ends_with("Id"));
            assert!(own, "{name}: by its own name, too");
            made.insert(name.to_owned());
        }
    }
    let expected = [
        "git.add",
        "git.checkout",
        "git.clone",
        "git.commit",
        "git.fetch",
        "git.merge",
        "git.pull",
        "git.push",
        "git.rebase",
        "git.stash",
        "git.unstage",
        "git.worktree_add",
        "git.worktree_remove",
        "project.register",
        "session.send_message",
        "session.start",
        "shell.open",
        "workflow.run.rerun",
        "workflow.run.start",
    ];
    assert_eq!(made.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    // One of them whose answer was another before, in truth.
    let project = project(&server, &token).await;
    assert_eq!(project["id"], project["projectId"]);
    assert_eq!(project["channel"], format!("project:{}", project["id"].as_str().expect("an id")));
}

#[tokio::test]
async fn the_front_page_says_what_this_is_and_where_to_go() {
    let server = Server::start("");
    let page = server.get("/", "").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let text = page.text();
    assert!(text.len() < 4096 && text.contains("Tidings server"), "{text}");
    let links: Vec<&str> = text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links, ["/openapi.json", "/asyncapi.json", "/health/ready"]);
    for link in links {
        assert_eq!(server.get(link, "").await.status, 200, "{link}");
    }
}

#[tokio::test]
async fn a_namespace_lists_what_exists_page_by_page_and_only_what_the_caller_may_see() {
    let server = Server::start(BUILDS);
    let (admin, friend) = (server.admin(), server.token("friend", &["--grant", "build:b-3=subscribe"]));
    let events: Vec<Value> =
        (1..=5).map(|n| json!({"type": "build.queued", "data": {"buildId": format!("b-{n}")}})).collect();
    server.publish(&admin, events.into()).await;
    let watcher = Watcher::connect(&server, &admin).await;
    watcher.done("subscribe", json!("build:b-2")).await;
    watcher.done("subscribe", json!("build:nothing")).await;
    let listed = async |query: &str, token: &str| {
        let answer = server.get(&format!("/api/channels{query}"), token).await.json();
        let names = answer["channels"].as_array().expect("channels").iter().map(|view| view["channel"].clone());
        (names.filter_map(|name| name.as_str().map(str::to_owned)).collect::<Vec<_>>(), answer["cursor"].clone())
    };
    let (all, cursor) = listed("?namespace=build", &admin).await;
    assert_eq!((all, cursor), (["5", "4", "3", "2", "1"].map(|n| format!("build:b-{n}")).to_vec(), Value::Null));
    let (first, cursor) = listed("?namespace=build&limit=2", &admin).await;
    assert_eq!((first.len(), &cursor), (2, &json!("build:b-4")));
    let (second, _) = listed("?namespace=build&limit=2&cursor=build:b-4", &admin).await;
    assert_eq!(second, ["build:b-3", "build:b-2"]);
    assert_eq!(listed("?namespace=build", &friend).await.0, ["build:b-3"]);
    assert_eq!(listed("", &admin).await.0, ["build:b-2", "build:nothing"], "without one, what is live");
    let views = server.get("/api/channels?namespace=build", &admin).await.json()["channels"].clone();
    let live = views.as_array().expect("channels").iter().find(|view| view["channel"] == "build:b-2").expect("there");
    assert_eq!((&live["subscribers"], &live["head"]), (&json!(1), &json!(1)));
    let refused = server.get("/api/channels?namespace=a:b", &admin).await;
    assert_eq!((refused.status, fields(&refused.json())), (422, vec!["namespace"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_of_a_domain_that_is_declared_no_more_are_not_listed_and_told_of_once_at_the_start() {
    let mut server = Server::start(BUILDS);
    let admin = server.admin();
    let builds = json!([{"type": "build.queued", "data": {"buildId": "b-1"}}, {"type": "build.queued", "data": {"buildId": "-"}}]);
    server.publish(&admin, builds).await;
    server.publish(&admin, note("mine", 1)).await;
    let listed = async |server: &Server, namespace: &str| {
        let answer = server.get(&format!("/api/channels?namespace={namespace}"), &admin).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["channels"].as_array().expect("channels").len()
    };
    assert_eq!((listed(&server, "build").await, listed(&server, "session").await), (2, 1));
    let told = "no domain owns these channels any more: they are kept, and nobody can read them namespace=\"build\"";
    assert!(!server.said().contains("no domain owns"), "{}", server.said());
    server.stop();
    std::fs::write(server.home().join("tidings.toml"), "").expect("writes");
    server.start_again();
    assert_eq!((listed(&server, "build").await, listed(&server, "session").await), (0, 1));
    eventually("a word about them", async || server.said().contains("no domain owns")).await;
    assert_eq!(server.said().matches("no domain owns").count(), 1, "{}", server.said());
    assert!(server.said().contains(told), "{}", server.said());
    // Nothing of them went.
    server.stop();
    std::fs::write(server.home().join("tidings.toml"), BUILDS).expect("writes");
    server.start_again();
    assert_eq!(listed(&server, "build").await, 2);
}

#[tokio::test]
async fn the_newest_page_of_a_history_is_below_a_number_that_no_channel_reaches() {
    let server = Server::start("");
    let token = server.admin();
    server.publish(&token, notes("long", 1..=25)).await;
    let page = server.get("/api/channels/session:long/events?before=9007199254740991&limit=10", &token).await.json();
    let seqs = |page: &Value| -> Vec<u64> {
        page["events"].as_array().expect("events").iter().filter_map(|event| event["seq"].as_u64()).collect()
    };
    assert_eq!(seqs(&page), (16..=25).collect::<Vec<_>>());
    assert_eq!((&page["more"], &page["next"]), (&json!(true), &json!(16)));
    let before = server.get("/api/channels/session:long/events?before=16&limit=10", &token).await.json();
    assert_eq!(seqs(&before), (6..=15).collect::<Vec<_>>());
}
