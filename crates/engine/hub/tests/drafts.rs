//! Drafts: whoever comes late to ephemeral messages that build on each other is given them whole.
//!
//! Guarantees: nothing waits for a time to pass.

use serde_json::{Value, json};
use tidings_testkit::{RecordingOutlet, Taken};

use super::world::{World, of_kind, until_seq};

fn words(taken: &[Taken]) -> Vec<Value> {
    taken.iter().filter(|taken| taken.kind() == "count.word").map(|taken| taken.json["data"].clone()).collect()
}

fn so_many(count: usize) -> impl FnMut(&[Taken]) -> Option<Vec<Value>> {
    move |taken| Some(words(taken)).filter(|words| words.len() >= count)
}

#[tokio::test]
async fn whoever_subscribes_in_the_middle_is_given_the_draft_first_and_then_what_comes() {
    let world = World::new(0, 1024);
    world.publish("count.up", 1).await;
    world.publish("count.word", 3).await;
    for more in [json!({}), json!({"since": {"seq": 0}}), json!({"snapshot": true})] {
        let outlet = RecordingOutlet::open();
        let connection = world.connect(&outlet);
        world.subscribe(&connection, more.clone()).await;
        assert_eq!(outlet.until("the draft", so_many(1)).await, [json!({"all": [0, 1, 2]})], "{more}");
        connection.release();
    }
    let outlet = RecordingOutlet::open();
    world.subscribe(&world.connect(&outlet), json!({})).await;
    outlet.until("the draft", so_many(1)).await;
    world.publish("count.word", 1).await;
    assert_eq!(outlet.until("the next", so_many(2)).await[1], json!({"n": 0, "half": 0}));
    world.stop().await;
}

#[tokio::test]
async fn a_burst_for_a_stalled_subscriber_becomes_one_message_that_says_what_it_stands_for() {
    let world = World::new(0, 1024);
    let outlet = RecordingOutlet::with_room(1);
    world.subscribe(&world.connect(&outlet), json!({})).await;
    world.publish("count.word", 50).await;
    let whole = RecordingOutlet::open();
    world.subscribe(&world.connect(&whole), json!({})).await;
    whole.until("the draft", so_many(1)).await;
    outlet.set_room(usize::MAX);
    let seen = outlet.until("the draft", so_many(1)).await;
    assert_eq!(seen, [json!({"all": (0..50).collect::<Vec<u64>>()})]);
    let taken = outlet.taken();
    let merged = taken.iter().find(|taken| taken.kind() == "count.word").expect("seen");
    assert_eq!(merged.json["dropped"], 50);
    world.stop().await;
}

#[tokio::test]
async fn what_a_durable_message_replaced_is_given_to_nobody() {
    let world = World::new(0, 1024);
    world.publish("count.word", 3).await;
    world.publish("count.up", 1).await;
    let outlet = RecordingOutlet::open();
    world.subscribe(&world.connect(&outlet), json!({"since": {"seq": 0}})).await;
    world.publish("count.up", 1).await;
    let taken = outlet.until("2", until_seq(2)).await;
    assert_eq!(words(&taken), Vec::<Value>::new());
    world.stop().await;
}

#[tokio::test]
async fn a_filter_that_drops_the_type_drops_its_draft() {
    let world = World::new(0, 1024);
    world.publish("count.word", 3).await;
    let outlet = RecordingOutlet::open();
    world.subscribe(&world.connect(&outlet), json!({"filter": {"types": ["count.up"]}})).await;
    world.publish("count.up", 1).await;
    assert_eq!(words(&outlet.until("1", until_seq(1)).await), Vec::<Value>::new());
    world.stop().await;
}

/// The snapshot that a subscriber is given now.
async fn shown(world: &World) -> Value {
    let outlet = RecordingOutlet::open();
    world.subscribe(&world.connect(&outlet), json!({"snapshot": true})).await;
    outlet.until("a snapshot", |taken| Some(of_kind(taken, "channel.snapshot")?["snapshot"].clone())).await
}

#[tokio::test]
async fn a_snapshot_shows_the_draft_and_a_saved_state_does_not_hold_it() {
    let world = World::new(0, 1024);
    world.publish("count.up", 1).await;
    world.publish("count.word", 3).await;
    let shown = self::shown(&world).await;
    assert_eq!(shown, json!([1, 3]), "one durable message; the words make three");
    world.publish("count.up", 2).await;
    let shown = self::shown(&world).await;
    assert_eq!(shown, json!([3, 1]), "the sum of 0, 0 and 1, as if there had been no words");
    world.stop().await;
}
