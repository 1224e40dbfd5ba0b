//! The hub over a log in memory: every row of the subscribe table, and what may go wrong on the way.
//!
//! Guarantees: nothing waits for a time to pass.
//! It is not a test of any transport: outlets record.

mod bounds;
mod drafts;
mod panics;
mod simulation;
mod world;

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidings_core::{Channel, Event, Message, Principal, Timestamp, log::EventLog, outlet::Ending};
use tidings_testkit::{PATIENCE, RecordingOutlet, Taken};
use tokio::time::timeout;

use self::world::{World, of_kind, seqs, until_seq};
use super::{HubConfig, channel::ChannelState};

#[tokio::test]
async fn the_answer_comes_before_the_first_message_and_the_order_holds() {
    let world = World::new(0, 1024);
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.publish("count.up", 5).await;
    let answer = world.subscribe(&connection, json!({"since": {"seq": 0}})).await;
    assert_eq!((answer["seq"].as_u64(), answer["recovered"].as_bool()), (Some(5), Some(true)));
    world.publish("count.up", 200).await;
    let taken = outlet.until("205", until_seq(205)).await;
    assert_eq!(taken[0].answer_to, Some(1), "the answer is first");
    assert_eq!(seqs(&taken), (1..=205).collect::<Vec<u64>>());
    world.stop().await;
}

#[tokio::test]
async fn a_plain_subscribe_gets_what_comes_after_and_a_last_the_newest_before() {
    let world = World::new(0, 4);
    world.publish("count.up", 20).await;
    let (plain, last) = (RecordingOutlet::open(), RecordingOutlet::open());
    world.subscribe(&world.connect(&plain), json!({})).await;
    world.subscribe(&world.connect(&last), json!({"last": 7})).await;
    world.publish("count.up", 1).await;
    assert_eq!(seqs(&plain.until("21", until_seq(21)).await), [21]);
    assert_eq!(seqs(&last.until("21", until_seq(21)).await), (14..=21).collect::<Vec<u64>>());
    world.stop().await;
}

#[tokio::test]
async fn a_filtered_last_counts_what_passes() {
    let world = World::new(0, 4);
    world.publish("count.up", 20).await;
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({"last": 3, "filter": {"where": {"half": 1}}})).await;
    let taken = outlet.until("20", until_seq(20)).await;
    assert_eq!(seqs(&taken), [16, 18, 20], "n is seq - 1");
    world.stop().await;
}

#[tokio::test]
async fn a_filter_makes_no_gap_and_its_subscriber_learns_where_it_stands() {
    let world = World::new(0, 1024);
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({"filter": {"types": ["count.other"]}})).await;
    world.publish("count.up", 3).await;
    world.clock.advance(Duration::from_secs(11));
    world.publish("count.up", 1).await;
    let position = outlet.until("position", |taken| of_kind(taken, "channel.position").cloned()).await;
    assert_eq!((position["seq"].as_u64(), position["live"].as_bool()), (Some(4), Some(true)));
    assert_eq!(seqs(&outlet.taken()), Vec::<u64>::new());
    world.stop().await;
}

#[tokio::test]
async fn a_snapshot_is_the_state_at_exactly_its_seq_and_live_goes_on_after_it() {
    let world = World::new(0, 1024);
    world.publish("count.up", 10).await;
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({"snapshot": true})).await;
    outlet.until("snapshot", |taken| of_kind(taken, "channel.snapshot").cloned()).await;
    world.publish("count.up", 3).await;
    let taken = outlet.until("13", until_seq(13)).await;
    let snapshot = of_kind(&taken, "channel.snapshot").expect("a snapshot");
    let seq = snapshot["seq"].as_u64().expect("a seq");
    assert_eq!((snapshot["reason"].as_str(), &snapshot["snapshot"][0]), (Some("joined"), &json!(seq)));
    assert_eq!(seqs(&taken), (seq + 1..=13).collect::<Vec<u64>>());
    world.stop().await;
}

#[tokio::test]
async fn history_then_snapshot_shows_everything_before_the_state() {
    let world = World::new(0, 4);
    world.publish("count.up", 300).await;
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({"snapshot": true, "last": 200})).await;
    world.publish("count.up", 5).await;
    let taken = outlet.until("305", until_seq(305)).await;
    let at = taken.iter().position(|taken| taken.kind() == "channel.snapshot").expect("a snapshot");
    let seq = taken[at].json["data"]["seq"].as_u64().expect("a seq");
    assert_eq!(seqs(&taken[..at]), (101..=seq).collect::<Vec<u64>>());
    assert_eq!(seqs(&taken[at..]), (seq + 1..=305).collect::<Vec<u64>>());
    world.stop().await;
}

#[tokio::test]
async fn what_was_trimmed_is_told_as_a_gap_and_the_rest_follows() {
    let world = World::new(5, 2);
    let plain: Channel = "plain:1".parse().expect("a channel");
    let world = World { channel: plain, ..world };
    world.publish("count.up", 20).await;
    world.log.trim();
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    let answer = world.subscribe(&connection, json!({"since": {"seq": 0}})).await;
    assert_eq!(answer["reason"], "trimmed");
    let first = answer["first"].as_u64().expect("the first");
    let taken = outlet.until("20", until_seq(20)).await;
    let gap = of_kind(&taken, "channel.gap").expect("a gap");
    assert_eq!((gap["from"].as_u64(), gap["to"].as_u64()), (Some(1), Some(first - 1)));
    assert_eq!(seqs(&taken), (first..=20).collect::<Vec<u64>>());
    world.stop().await;
}

#[tokio::test]
async fn a_position_of_another_epoch_is_reset_and_with_snapshot_gets_the_state() {
    let world = World::new(0, 1024);
    world.publish("count.up", 3).await;
    for (snapshot, kind) in [(false, "channel.reset"), (true, "channel.snapshot")] {
        let outlet = RecordingOutlet::open();
        let connection = world.connect(&outlet);
        let since = json!({"since": {"seq": 2, "epoch": "old"}, "snapshot": snapshot});
        let answer = world.subscribe(&connection, since).await;
        assert_eq!((answer["recovered"].as_bool(), answer["reason"].as_str()), (Some(false), Some("epoch")));
        let data = outlet.until(kind, |taken| of_kind(taken, kind).cloned()).await;
        assert_eq!(data["seq"], 3);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_stalled_subscriber_costs_no_queue_delays_nobody_and_gets_everything_when_it_reads_again() {
    let world = World::new(0, 16);
    let (slow, fast) = (RecordingOutlet::with_room(3), RecordingOutlet::open());
    let stalled = world.connect(&slow);
    world.subscribe(&stalled, json!({})).await;
    world.subscribe(&world.connect(&fast), json!({})).await;
    world.publish("count.up", 500).await;
    fast.until("500", until_seq(500)).await;
    assert!(slow.taken().len() <= 3, "a full outlet takes no more");
    let view = world.hub.channel(&world.channel).await.expect("readable").expect("there");
    assert_eq!((view.subscribers, view.behind_subscribers), (2, 1));
    assert!(view.behind[0].lag > 400);
    assert!(stalled.out.lock().control.len() < 3, "nothing is queued for it");
    slow.set_room(usize::MAX);
    let taken = slow.until("500", until_seq(500)).await;
    assert_eq!(seqs(&taken), (1..=500).collect::<Vec<u64>>());
    world.stop().await;
}

#[tokio::test]
async fn who_lags_too_far_skips_to_the_state_or_is_told_the_gap() {
    for snapshot in [true, false] {
        let world = World::new(0, 1024);
        let outlet = RecordingOutlet::open();
        let connection = world.connect(&outlet);
        world
            .subscribe(&connection, json!({"snapshot": snapshot, "since": {"seq": 0}, "maxLag": {"messages": 10}}))
            .await;
        outlet.until("live", |taken| of_kind(taken, "channel.position").cloned()).await;
        outlet.set_room(2);
        world.publish("count.up", 100).await;
        outlet.until("full", until_seq(2)).await;
        outlet.set_room(usize::MAX);
        let kind = if snapshot { "channel.snapshot" } else { "channel.gap" };
        let lagged = |taken: &[Taken]| {
            let mut found = taken.iter().filter(|taken| taken.kind() == kind && taken.json["data"]["reason"] == "lag");
            found.next_back().map(|taken| taken.json["data"].clone())
        };
        let data = outlet.until("lag", lagged).await;
        assert_eq!(data[if snapshot { "seq" } else { "to" }], 100);
        world.publish("count.up", 1).await;
        outlet.until("101", until_seq(101)).await;
        world.stop().await;
    }
}

#[tokio::test]
async fn ephemeral_messages_keep_their_place_and_lost_ones_are_counted() {
    let world = World::new(0, 1024);
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({})).await;
    world.publish("count.beat", 1).await;
    world.publish("count.up", 1).await;
    let taken = outlet.until("1", until_seq(1)).await;
    assert_eq!(taken[1].kind(), "count.beat", "in its place, before what came after it");
    outlet.set_room(0);
    world.publish("count.beat", 5).await;
    world.publish("count.up", 1).await;
    // Whoever is live has been given them: the worker is past the beats.
    let witness = RecordingOutlet::open();
    world.subscribe(&world.connect(&witness), json!({"since": {"seq": 0}})).await;
    witness.until("2", until_seq(2)).await;
    outlet.set_room(usize::MAX);
    outlet.until("2", until_seq(2)).await;
    let told = |taken: &[Taken]| taken.iter().find_map(|taken| taken.json["dropped"].as_u64());
    let mut head = 2;
    while told(&outlet.taken()).is_none() {
        world.publish("count.beat", 1).await;
        world.publish("count.up", 1).await;
        head += 1;
        outlet.until("head", until_seq(head)).await;
        assert!(head < 1000, "the loss is told once the subscriber is live again");
    }
    assert!(told(&outlet.taken()) >= Some(5));
    world.stop().await;
}

#[tokio::test]
async fn subscribe_unsubscribe_subscribe_ends_subscribed_and_a_repeat_changes_nothing() {
    let world = World::new(0, 1024);
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({})).await;
    connection.unsubscribe(Some(std::slice::from_ref(&world.channel)), None);
    world.subscribe(&connection, json!({})).await;
    world.subscribe(&connection, json!({})).await;
    world.publish("count.up", 4).await;
    assert_eq!(seqs(&outlet.until("4", until_seq(4)).await), [1, 2, 3, 4]);
    connection.unsubscribe(None, None);
    assert_eq!(world.hub.channel(&world.channel).await.expect("readable").expect("there").subscribers, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_lost_announcement_only_delays() {
    let world = World::new(0, 1024);
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({})).await;
    world.publish("count.up", 2).await;
    world.log.lose_next(1);
    world.publish_unacknowledged().await;
    world.publish("count.up", 1).await;
    let taken = outlet.until("all", |taken| (seqs(taken).len() >= 3).then(|| taken.to_vec())).await;
    let seen = seqs(&taken);
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<u64>>());
    world.stop().await;
}

#[tokio::test]
async fn a_deleted_channel_closes_its_subscriptions_and_says_so() {
    let world = World::new(0, 1024);
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({})).await;
    world.publish("count.up", 2).await;
    outlet.until("2", until_seq(2)).await;
    world.log.delete(&world.channel).await.expect("deleted");
    let closed = outlet.until("closed", |taken| of_kind(taken, "channel.closed").cloned()).await;
    assert_eq!(closed["code"], "not_found");
    assert!(connection.channels().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn what_ends_a_connection_is_told_and_everything_of_it_is_released() {
    let world = World::new(0, 1024);
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({})).await;
    connection.end(&Ending::temporary(tidings_core::Code::Draining, "stopping"));
    assert_eq!(of_kind(&outlet.taken(), "connection.closed").expect("told")["retry"], true);
    assert!(outlet.ending().is_some());
    assert_eq!((world.hub.connection_count(), connection.channels().len()), (0, 0));
    world.stop().await;
}

#[tokio::test]
async fn the_probe_goes_the_whole_way_and_is_red_when_the_log_refuses() {
    let world = World::new(0, 1024);
    world.hub.probe().await.expect("delivered");
    world.hub.probe().await.expect("delivered again");
    world.log.fail_next(1);
    assert_eq!(world.hub.probe().await.expect_err("refused").code(), tidings_core::Code::Unavailable);
    world.hub.probe().await.expect("green again by itself");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_the_figures_and_a_connection_that_goes_never_wait_for_each_other() {
    let world = World::new(0, 16);
    let hub = world.hub.clone();
    let looking = tokio::task::spawn_blocking(move || (0..20_000).map(|_| hub.slow_connection_count()).max());
    let hub = world.hub.clone();
    let going = tokio::task::spawn_blocking(move || {
        for _ in 0..2_000 {
            hub.connect(Principal::server(), RecordingOutlet::open()).release();
        }
    });
    let both = async { tokio::join!(looking, going) };
    let (most, gone) = timeout(PATIENCE, both).await.expect("neither holds what the other needs");
    assert_eq!(most.expect("it looks"), Some(0));
    gone.expect("they go");
    assert_eq!(world.hub.connection_count(), 0);
    world.stop().await;
}

#[test]
fn a_commit_that_found_a_channel_just_before_it_went_leaves_no_bytes_behind() {
    let name: Channel = "thing:1".parse().expect("a channel");
    let said = |seq| Arc::new(Message::new(name.clone(), Some(seq), Timestamp(0), Event::new("thing.said", seq)));
    let (state, config) = (ChannelState::new(name.clone(), 0), HubConfig::default());
    assert!(state.push(said(1), &config, false, Duration::ZERO).grown > 0);
    assert_eq!(state.retire_if_idle(), None, "it was used since the last look");
    let held = state.retire_if_idle().expect("idle");
    assert!(held > 0);
    let late = state.push(said(2), &config, false, Duration::ZERO);
    assert_eq!((late.grown, late.shrunk, late.dirty), (0, 0, false));
}
