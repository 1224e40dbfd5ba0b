//! Coming back without a hole: after cuts, a killed server, a stop in order, a copied data directory.
//!
//! Guarantees: what was acknowledged to the producer is what the subscriber must have, once and in order.
//! They are not measurements: the load is small enough for a slow machine.

use std::{cell::Cell, time::Duration};

use serde_json::{Value, json};
use tidings_client::{
    Follow, Follower, Item, Lost, Position, Start,
    http::{self, Method},
    token,
};
use tidings_testkit::Dice;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    server::{PATIENCE, Server, eventually, found, note, notes},
    watcher::{Said, Watcher, answer, frame, raw, said},
};

/// How long the load lasts.
const SECONDS: u64 = 5;
/// Events a second.
const RATE: u64 = 1000;
/// Events in one request.
const BATCH: u64 = 50;
/// All of them.
const ALL: u64 = SECONDS * RATE;

/// One event of the load: its number, and its id, so that a repeat is none.
fn numbered(n: u64, filling: &str) -> Value {
    let mut event = note("load", n);
    event["id"] = json!(format!("n{n}"));
    event["data"]["filling"] = json!(filling);
    event
}

/// Publishes the whole load at its rate; whatever is not acknowledged is sent again. The numbers that
/// the events got.
async fn publish_all(url: &str, bearer: &str, filling: &str, sent: &Cell<u64>) -> Vec<u64> {
    let mut pace = interval(Duration::from_millis(1000 * BATCH / RATE));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut places = Vec::new();
    for first in (1..=ALL).step_by(usize::try_from(BATCH).expect("is small")) {
        pace.tick().await;
        let events: Value = (first..first + BATCH).map(|n| numbered(n, filling)).collect();
        let post = async || {
            let body = Some(("application/json", events.to_string().into()));
            let response = http::request(Method::POST, url, "/api/events", Some(bearer), body).await;
            response.ok().filter(|response| response.status == 200)
        };
        let accepted = found(&format!("event {first}, accepted"), post).await.json();
        let results = accepted["results"].as_array().expect("results");
        places.extend(results.iter().map(|place| place["seq"].as_u64().expect("a number")));
        sent.set(first + BATCH - 1);
    }
    places
}

/// Follows the load to its last event: the numbers in its data, and what else was told.
async fn follow_all(follower: &mut Follower, mut at: impl FnMut(&mut Follower, u64)) -> (Vec<u64>, Vec<Item>) {
    let (mut numbers, mut told) = (Vec::new(), Vec::new());
    while numbers.last() != Some(&ALL) {
        let item = timeout(PATIENCE, follower.next()).await.expect("goes on").expect("goes on").expect("goes on");
        match item {
            Item::Message(message) => {
                let data: Value = serde_json::from_str(message.data()).expect("JSON");
                let n = data["n"].as_u64().expect("a number");
                assert_eq!(message.seq, Some(n), "its place in the log is its number");
                numbers.push(n);
                at(follower, n);
            }
            Item::Connected | Item::Absent { .. } | Item::Disconnected { .. } | Item::Live { .. } => {}
            other => told.push(other),
        }
    }
    (numbers, told)
}

fn from_the_beginning(server: &Server, bearer: &str) -> Follower {
    let follow = Follow::new("session:load", Start::Oldest);
    Follower::new(&server.url(), token(bearer), vec![follow]).expect("a URL")
}

#[tokio::test]
async fn a_subscriber_cut_at_random_has_every_acknowledged_message_once_and_in_order() {
    let mut server = Server::start("");
    let (bearer, sent) = (server.admin(), Cell::new(0u64));
    let url = server.url();
    let mut follower = from_the_beginning(&server, &bearer);
    let (dice, mut next_cut, mut cuts) = (Dice::of(0x5eed), 100, 0u32);
    let following = follow_all(&mut follower, |follower, n| {
        if n >= next_cut {
            follower.cut();
            next_cut = n + 1 + dice.below(400) as u64;
            cuts += 1;
        }
    });
    let killing = async {
        eventually("the middle of the load", async || sent.get() >= ALL / 2).await;
        server.kill();
        server.start_again();
    };
    let (places, (numbers, told), ()) = tokio::join!(publish_all(&url, &bearer, "", &sent), following, killing);
    let expected: Vec<u64> = (1..=ALL).collect();
    assert_eq!(places, expected);
    assert_eq!(numbers, expected);
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(follower.repeats(), 0);
    assert!(cuts > 10, "{cuts} cuts");
}

/// What one that stops reading may cost beside what the load itself costs: a small part of what it is behind by.
const GROWTH: u64 = 8 << 20;
/// Large enough that the load is many times what fits into the sockets' buffers.
const FILLING: usize = 6000;
/// How far somebody who reads may be behind, on a machine that runs other tests beside.
const LATE: u64 = 5 * RATE;

/// The load in another channel, as fast as it goes: what the server's memory grows by.
async fn growth_without_a_slow_reader(server: &Server, bearer: &str, filling: &str) -> u64 {
    let before = server.memory();
    for first in (1..=ALL).step_by(50) {
        let mut events: Vec<Value> = (first..first + 50).map(|n| note("control", n)).collect();
        events.iter_mut().for_each(|event| event["data"]["filling"] = json!(filling));
        server.publish(bearer, json!(events)).await;
    }
    server.memory().saturating_sub(before)
}

#[tokio::test]
async fn a_subscriber_that_stops_reading_costs_no_growing_memory_delays_nobody_and_gets_everything() {
    let server = Server::start("[log]\ndurability = \"process\"\n");
    let (bearer, sent, url) = (server.admin(), Cell::new(0u64), server.url());
    let filling = "x".repeat(FILLING);
    let usual = growth_without_a_slow_reader(&server, &bearer, &filling).await;
    let mut stalled = raw(&server.endpoint(), &bearer).await;
    stalled.send_text(r#"420["subscribe","session:load"]"#).await.expect("sends");
    assert_eq!(answer(&mut stalled, 0).await["ok"], true);

    let before = server.memory();
    let mut reader = from_the_beginning(&server, &bearer);
    let mut latest = 0;
    let following = follow_all(&mut reader, |_, n| latest = latest.max(sent.get().saturating_sub(n)));
    let all = async { tokio::join!(publish_all(&url, &bearer, &filling, &sent), following) };
    let (places, (numbers, told)) = timeout(PATIENCE, all).await.expect("nobody is held back");
    let growth = server.memory().saturating_sub(before);
    let expected: Vec<u64> = (1..=ALL).collect();
    assert!(places == expected && numbers == expected && told.is_empty(), "{told:?}");
    assert!(growth < usual + GROWTH, "{growth} bytes, {usual} without the slow one");
    assert!(latest <= LATE, "{latest} messages late");

    let channel = server.get("/api/channels/session:load", &bearer).await.json();
    let lag = channel["behind"][0]["lag"].as_u64().expect("it is behind");
    assert!(lag > ALL / 2, "{channel}");
    let mut caught_up = Vec::new();
    while caught_up.last() != Some(&ALL) {
        let text = frame(&mut stalled).await.expect("is not ended");
        match said(&text) {
            Said::Message(message) if message["type"] == "session.note" => {
                caught_up.push(message["data"]["n"].as_u64().expect("a number"));
            }
            Said::Message(message) => assert_eq!(message["type"], "channel.position", "{message}"),
            Said::Answer(..) | Said::Other => {}
        }
    }
    assert_eq!(caught_up, expected);
    let live = async || server.metric("tidings_behind_subscriptions").await == 0.0;
    eventually("that it is live again", live).await;
}

#[tokio::test]
async fn whoever_was_there_before_a_data_directory_was_copied_is_told_of_the_new_epoch() {
    let mut server = Server::start("");
    let bearer = server.admin();
    let placed = server.publish(&bearer, notes("load", 1..=10)).await;
    let epoch = placed[9]["epoch"].as_str().expect("an epoch").to_owned();
    server.stop();
    let home = tempfile::tempdir().expect("a directory");
    let copied = std::process::Command::new("cp").arg("-a").arg(server.data_dir()).arg(home.path()).status();
    assert!(copied.expect("runs").success());
    let copy = Server::start_in(home, &[]);
    server.start_again();

    let since = |seq| Start::Since(Position { epoch: epoch.clone(), seq });
    let mut again = follow_from(&server, &bearer, since(5));
    let Some(Item::Message(message)) = until(&mut again, |item| matches!(item, Item::Message(_))).await else {
        panic!("a message")
    };
    assert_eq!((message.seq, message.epoch.as_ref()), (Some(6), Some(&epoch)));

    let mut elsewhere = follow_from(&copy, &bearer, since(5));
    let told = until(&mut elsewhere, |item| !matches!(item, Item::Connected | Item::Live { .. })).await;
    let Some(Item::Reset { position, .. }) = told else { panic!("{told:?}") };
    assert!(position.epoch != epoch && position.seq == 10, "{position:?}");
    copy.publish(&bearer, notes("load", 11..=11)).await;
    let live = until(&mut elsewhere, |item| matches!(item, Item::Message(_))).await;
    let Some(Item::Message(message)) = live else { panic!("{live:?}") };
    assert_eq!((message.seq, message.epoch), (Some(11), Some(position.epoch.clone())));
    let kept = copy.get("/api/channels/session:load/events", &bearer).await.json();
    assert_eq!((kept["events"].as_array().map(Vec::len), &kept["epoch"]), (Some(11), &json!(position.epoch)));
}

fn follow_from(server: &Server, bearer: &str, start: Start) -> Follower {
    Follower::new(&server.url(), token(bearer), vec![Follow::new("session:load", start)]).expect("a URL")
}

async fn until(follower: &mut Follower, wanted: impl Fn(&Item) -> bool) -> Option<Item> {
    loop {
        let item = timeout(PATIENCE, follower.next()).await.expect("goes on").expect("goes on");
        if item.as_ref().is_none_or(&wanted) {
            return item;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_told_of_a_stop_in_order_and_comes_back_without_loss() {
    let mut server = Server::start("drain_ms = 1000\n");
    let bearer = server.admin();
    let mut watchers = Vec::new();
    for _ in 0..5 {
        let watcher = Watcher::connect(&server, &bearer).await;
        watcher.done("subscribe", json!("session:load")).await;
        watchers.push(watcher);
    }
    let mut followers = JoinSet::new();
    for _ in 0..5 {
        let mut follower = from_the_beginning(&server, &bearer);
        followers.spawn(async move { follow_all(&mut follower, |_, _| {}).await });
    }
    server.publish(&bearer, notes("load", 1..=500)).await;
    for watcher in &mut watchers {
        assert_eq!(watcher.notes_to(500).await.len(), 500);
    }
    server.terminate();
    for watcher in &mut watchers {
        let seen = watcher.until("its end", |message| message["type"] == "connection.closed").await;
        let told: Vec<&Value> = seen.iter().filter(|message| message["type"] == "server.draining").collect();
        assert!(told.len() == 1 && told[0]["data"]["reconnectAfterMs"].is_u64(), "{seen:?}");
        let last = &seen.last().expect("the end")["data"];
        assert_eq!((&last["code"], &last["retry"]), (&json!("draining"), &json!(true)));
        assert_eq!(watcher.ended().await, Lost::Gone);
    }
    tokio::task::block_in_place(|| {
        server.has_stopped();
        server.start_again();
    });
    for first in (501..=ALL).step_by(500) {
        server.publish(&bearer, notes("load", first..=first + 499)).await;
    }
    while let Some(followed) = followers.join_next().await {
        let (numbers, told) = followed.expect("follows");
        assert_eq!(numbers, (1..=ALL).collect::<Vec<_>>());
        assert!(told.is_empty(), "{told:?}");
    }
}
