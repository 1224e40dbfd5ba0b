//! Publishing by clients: what is refused, what is needed, and all or nothing.

use serde_json::{json, value::RawValue};
use smol_str::SmolStr;
use tidings_core::{
    Code, Payload, Result, Seq,
    bus::Placed,
    log::{Allowances, EventLog},
    principal::Role,
};
use tidings_testkit::MemoryConfig;

use super::{super::NewEvent, code};
use crate::{
    house::{House, MAX_MESSAGE_BYTES, Things, id, number, of_role, somebody},
    registry::RESERVED_DOMAINS,
};

fn new(event_type: &str, data: &str) -> NewEvent {
    let data = Payload::raw(&RawValue::from_string(data.to_owned()).expect("JSON"));
    NewEvent { event_type: event_type.parse().expect("a type"), channel: None, id: None, data }
}

fn with_id(id: &str, n: u64) -> NewEvent {
    let id = Some(SmolStr::new(id));
    NewEvent { id, ..new("thing.note", &json!({"id": "1", "n": n}).to_string()) }
}

fn seqs(placed: &Result<Vec<Placed>>) -> Vec<Seq> {
    let placed = placed.as_ref().expect("published").iter();
    placed.map(|placed| placed.position.as_ref().expect("durable").seq).collect()
}

const FINE: &str = r#"{"id":"1","n":1}"#;

#[tokio::test]
async fn types_of_services_need_the_grant_to_ingest_and_others_the_one_to_publish() {
    let house = House::new(Things::default());
    let table = [
        ("thing.said", "thing:*=ingest", true),
        ("thing.said", "thing:*=publish,subscribe,command", false),
        ("thing.note", "thing:*=publish", true),
        ("thing.note", "thing:*=ingest,subscribe,command", false),
        ("thing.note", "thing:2=publish", false),
    ];
    for (event_type, grant, may) in table {
        let placed = house.gate.publish(&somebody("u", &[grant]), vec![new(event_type, FINE)]).await;
        assert_eq!(code(placed), (!may).then_some(Code::Forbidden), "{event_type} {grant}");
    }
    let messages = house.messages("thing:1").await;
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|message| message.by == Some(id("u"))), "the author is who asked");
    house.stop().await;
}

#[tokio::test]
async fn a_member_or_owner_may_not_forge_what_the_service_says() {
    let house = House::new(Things::default());
    let operator = of_role("o", Role::Operator);
    for event_type in ["thing.said", "thing.note"] {
        assert_eq!(code(house.gate.publish(&operator, vec![new(event_type, FINE)]).await), Some(Code::Forbidden));
    }
    assert_eq!(house.messages("thing:1").await.len(), 0);
    house.stop().await;
}

#[tokio::test]
async fn what_is_published_opens_a_channel_in_no_project_that_its_producer_may_not_say_it_in() {
    // Nobody owns projects here: there is none in which somebody may.
    let house = House::new(Things::default());
    let data = |project: &str| format!(r#"{{"id":"1","n":1{project}}}"#);
    for who in [somebody("u", &["thing:*=ingest"]), of_role("a", Role::Admin)] {
        let inside = new("thing.made", &data(r#","project":"p""#));
        let batch = vec![new("thing.said", FINE), inside];
        let refused = house.gate.publish(&who, batch).await.expect_err("refused");
        assert_eq!((refused.code(), refused.fields().contains_key("[1].data.projectId")), (Code::Forbidden, true));
    }
    assert_eq!(house.messages("thing:1").await.len(), 0, "all or nothing");
    let producer = somebody("u", &["thing:*=ingest"]);
    house.gate.publish(&producer, vec![new("thing.made", &data(""))]).await.expect("published");
    house.stop().await;
}

#[tokio::test]
async fn every_bad_event_is_refused_with_its_code_and_nothing_is_published() {
    let house = House::new(Things::default());
    let admin = of_role("a", Role::Admin);
    let large = format!(r#"{{"id":"1","text":"{}"}}"#, "x".repeat(MAX_MESSAGE_BYTES));
    let elsewhere = NewEvent { channel: "thing:2".parse().ok(), ..new("thing.note", FINE) };
    let long_id = "x".repeat(129);
    let mut table = vec![
        (new("thing.note", "7"), Code::InvalidData),
        (new("thing.note", "[]"), Code::InvalidData),
        (new("thing.note", r#"{"n":1}"#), Code::InvalidData),
        (new("thing.note", r#"{"id":"1 2"}"#), Code::InvalidChannel),
        (new("thing.lost", FINE), Code::InvalidChannel),
        (new("nobody.spoke", FINE), Code::InvalidEvent),
        (new("thing.note", &large), Code::TooLarge),
        (elsewhere, Code::InvalidData),
        (with_id("", 1), Code::InvalidData),
        (with_id(&long_id, 1), Code::InvalidData),
    ];
    table.extend(RESERVED_DOMAINS.map(|domain| (new(&format!("{domain}.said"), FINE), Code::InvalidEvent)));
    for (bad, expected) in table {
        let shown = format!("{} {:.40}", bad.event_type, bad.data.json());
        let batch = vec![new("thing.note", FINE), bad, new("thing.note", FINE)];
        let refused = house.gate.publish(&admin, batch).await.expect_err("refused");
        assert_eq!(refused.code(), expected, "{shown}");
        let named = |field: &String| field.starts_with("[1]");
        assert!(refused.fields().keys().all(named) && !refused.fields().is_empty(), "{shown}: {refused}");
    }
    assert_eq!(house.messages("thing:1").await.len(), 0, "all or nothing");
    house.stop().await;
}

#[tokio::test]
async fn a_batch_is_published_whole_and_in_order_or_not_at_all() {
    let house = House::new(Things::default());
    let friend = somebody("u", &["thing:1=publish"]);
    let note = |id: &str, n: u64| new("thing.note", &json!({"id": id, "n": n}).to_string());
    let mixed = vec![note("1", 1), note("2", 2)];
    assert_eq!(code(house.gate.publish(&friend, mixed).await), Some(Code::Forbidden), "one of them is elsewhere");
    house.log.fail_next(1);
    let failed = house.gate.publish(&friend, vec![note("1", 1), note("1", 2)]).await;
    assert_eq!(code(failed), Some(Code::Unavailable));
    assert_eq!(house.messages("thing:1").await.len(), 0);
    let placed = house.gate.publish(&friend, (1..=20).map(|n| note("1", n)).collect()).await;
    assert_eq!(seqs(&placed), (1..=20).collect::<Vec<_>>());
    let numbers: Vec<u64> = house.messages("thing:1").await.iter().map(|message| number(message)).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    house.stop().await;
}

#[tokio::test]
async fn an_id_makes_a_retry_idempotent_and_with_another_body_a_conflict() {
    let house = House::new(Things::default());
    let (one, two) = (of_role("a", Role::Admin), of_role("b", Role::Admin));
    let first = house.gate.publish(&one, vec![with_id("x", 1), with_id("y", 2)]).await;
    assert_eq!(seqs(&first), [1, 2]);
    assert_eq!(house.gate.publish(&one, vec![with_id("x", 1), with_id("y", 2)]).await, first);
    assert_eq!(seqs(&house.gate.publish(&one, vec![with_id("y", 2)]).await), [2]);
    let other = house.gate.publish(&one, vec![with_id("z", 3), with_id("x", 9)]).await.expect_err("another body");
    assert_eq!(other.code(), Code::Conflict);
    assert_eq!(other.fields().keys().collect::<Vec<_>>(), ["[1].id"], "it is said which");
    let alone = house.gate.publish(&one, vec![with_id("x", 9)]).await.expect_err("another body");
    assert_eq!(alone.fields().keys().collect::<Vec<_>>(), ["id"]);
    assert_eq!(seqs(&house.gate.publish(&two, vec![with_id("x", 1)]).await), [3], "another user's id is another");
    let house = house.restart(Things::default()).await;
    assert_eq!(house.gate.publish(&one, vec![with_id("x", 1), with_id("y", 2)]).await, first);
    assert_eq!(house.messages("thing:1").await.len(), 3);
    house.stop().await;
}

#[tokio::test]
async fn data_of_exactly_the_limit_passes_and_its_bytes_stay_as_they_are() {
    let house = House::new(Things::default());
    let admin = of_role("a", Role::Admin);
    let frame = r#"{ "id":"1", "n" :1, "x": ""}"#.len();
    let data = format!(r#"{{ "id":"1", "n" :1, "x": "{}"}}"#, "y".repeat(MAX_MESSAGE_BYTES - frame));
    assert_eq!(data.len(), MAX_MESSAGE_BYTES);
    house.gate.publish(&admin, vec![new("thing.note", &data)]).await.expect("published");
    let over = data.replace(" 1, \"x\"", "  1, \"x\"").replace("{ \"id\"", "{  \"id\"");
    assert_eq!(code(house.gate.publish(&admin, vec![new("thing.note", &over)]).await), Some(Code::TooLarge));
    assert_eq!(house.messages("thing:1").await[0].payload.json(), data);
    house.stop().await;
}

#[tokio::test]
async fn a_draining_or_closed_server_takes_no_events() {
    let house = House::new(Things::default());
    let admin = of_role("a", Role::Admin);
    house.log.close().await;
    assert_eq!(code(house.gate.publish(&admin, vec![new("thing.note", FINE)]).await), Some(Code::Unavailable));
    house.gate.drain();
    assert_eq!(code(house.gate.publish(&admin, vec![new("thing.note", FINE)]).await), Some(Code::Draining));
    house.stop().await;
}

#[tokio::test]
async fn only_admins_delete_a_channel() {
    let house = House::new(Things::default());
    let admin = of_role("a", Role::Admin);
    let channel = crate::house::channel("thing:1");
    house.gate.publish(&admin, vec![new("thing.note", FINE)]).await.expect("published");
    let powerful = somebody("u", &["*=subscribe,publish,ingest,command,execute"]);
    assert_eq!(code(house.gate.delete_channel(&powerful, &channel).await), Some(Code::Forbidden));
    assert_eq!(house.messages("thing:1").await.len(), 1);
    house.gate.delete_channel(&admin, &channel).await.expect("deleted");
    assert_eq!(house.messages("thing:1").await.len(), 0);
    let unknown = crate::house::channel("thing:404");
    assert_eq!(code(house.gate.delete_channel(&admin, &unknown).await), Some(Code::NotFound));
    house.stop().await;
}

#[tokio::test]
async fn ids_and_channels_of_a_user_are_bounded_and_an_administrator_is_not_held_to_it() {
    let allowed = Allowances { ids_per_user: 2, channels_per_user: 2, ..Allowances::default() };
    let house = House::with(Things::default(), MemoryConfig { allowed, ..MemoryConfig::default() });
    let (one, two) = (somebody("u", &["thing:*=publish"]), somebody("v", &["thing:*=publish"]));
    let in_channel = |id: &str| new("thing.note", &json!({"id": id, "n": 1}).to_string());
    assert_eq!(seqs(&house.gate.publish(&one, vec![with_id("x", 1), with_id("y", 2)]).await), [1, 2]);
    assert_eq!(code(house.gate.publish(&one, vec![in_channel("2"), with_id("z", 3)]).await), Some(Code::Overloaded));
    assert_eq!(house.messages("thing:2").await.len(), 0, "all or nothing");
    assert_eq!(seqs(&house.gate.publish(&one, vec![with_id("x", 1)]).await), [1], "a repeat is not new");
    assert_eq!(seqs(&house.gate.publish(&one, vec![in_channel("2"), in_channel("1")]).await), [1, 3]);
    assert_eq!(code(house.gate.publish(&one, vec![in_channel("3")]).await), Some(Code::Overloaded));
    assert_eq!(seqs(&house.gate.publish(&two, vec![in_channel("3"), with_id("z", 3)]).await), [1, 4]);
    let admin = of_role("u", Role::Admin);
    assert_eq!(seqs(&house.gate.publish(&admin, vec![in_channel("4"), with_id("z", 3)]).await), [1, 5]);
    house.stop().await;
}
