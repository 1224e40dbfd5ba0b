//! What exists in a namespace: what is seen of it, and how much is looked through.

use serde_json::{json, value::RawValue};
use tidings_core::{Channel, Payload, principal::Role};

use super::super::NewEvent;
use crate::house::{House, Things, of_role, somebody};

/// Publishes to so many channels, each once.
async fn channels(house: &House, count: u64) {
    for first in (0..count).step_by(500) {
        let event = |n: u64| {
            let data = json!({"id": format!("{n:05}"), "n": n}).to_string();
            let data = Payload::raw(&RawValue::from_string(data).expect("JSON"));
            NewEvent { event_type: "thing.note".parse().expect("a type"), channel: None, id: None, data }
        };
        let events = (first..count.min(first + 500)).map(event).collect();
        house.gate.publish(&of_role("a", Role::Admin), events).await.expect("published");
    }
}

#[tokio::test]
async fn one_request_looks_through_a_bounded_number_of_channels_and_a_cursor_leads_to_the_rest() {
    let house = House::new(Things::default());
    channels(&house, 5_000).await;
    let friend = somebody("u", &["thing:00007=subscribe", "thing:00003=subscribe"]);
    let (mut below, mut seen, mut requests): (Option<Channel>, Vec<String>, u32) = (None, Vec::new(), 0);
    loop {
        let page = house.gate.existing(&friend, "thing", below, 10).await.expect("a page");
        seen.extend(page.channels.iter().map(|facts| facts.channel.to_string()));
        requests += 1;
        below = page.cursor;
        if below.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["thing:00007", "thing:00003"]);
    assert_eq!(requests, 3, "5,000 channels, 2,048 a request");
    house.stop().await;
}

#[tokio::test]
async fn a_page_ends_where_it_is_full_and_the_next_begins_there() {
    let house = House::new(Things::default());
    channels(&house, 5).await;
    let admin = of_role("a", Role::Admin);
    let names = |page: &crate::gate::Existing| -> Vec<String> {
        page.channels.iter().map(|facts| facts.channel.id().to_owned()).collect()
    };
    let first = house.gate.existing(&admin, "thing", None, 3).await.expect("a page");
    assert_eq!(names(&first), ["00004", "00003", "00002"]);
    let second = house.gate.existing(&admin, "thing", first.cursor, 3).await.expect("a page");
    assert_eq!((names(&second), second.cursor), (vec!["00001".to_owned(), "00000".to_owned()], None));
    assert!(house.gate.existing(&admin, "nothing", None, 3).await.expect("a page").channels.is_empty());
    house.stop().await;
}
