//! Lists, snapshots and output agree with what was told.

use serde_json::{Value, json};
use tidings_core::Code;

use super::house::House;
use crate::session::{
    Status,
    contract::Stream,
    input::{ListSessions, ReadOutput},
    reading::OUTPUT_BYTES,
};

async fn output(house: &House, id: &crate::session::SessionId, stream: Option<Stream>) -> String {
    house.sessions.clone().output(ReadOutput { session_id: id.clone(), r#type: stream }).await.expect("reads")
}

#[tokio::test]
async fn the_state_of_a_session_is_what_was_told_of_it() {
    let house = House::new();
    let id = house.start(json!({"projectId": "p1", "command": ["cat"], "prompt": "do it\nnow", "title": "one"})).await;
    house.say(&id, "hello", Some("k")).await.expect("accepted");
    house.until_printed(&id, "hello").await;
    let get = async || {
        let snapshot = house.sessions.clone().get(id.clone()).await.expect("there");
        serde_json::from_str::<Value>(snapshot.into_json().get()).expect("JSON")
    };
    let state = get().await;
    assert_eq!(
        (&state["status"], &state["title"], &state["projectId"]),
        (&json!("running"), &json!("one"), &json!("p1"))
    );
    assert_eq!(state["userMessages"][0]["content"], "hello");
    assert_eq!(state["transcript"][0]["content"], "Starting cat…\n");
    house.cancel(&id).await.expect("cancels");
    house.end(&id).await;
    let state = get().await;
    assert_eq!((&state["status"], &state["counts"]["messages"]), (&json!("cancelled"), &json!(house.told(&id).len())));
    let unknown = house.sessions.clone().get("nobody".parse().expect("an id")).await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::NotFound);
    house.close().await;
}

#[tokio::test]
async fn a_list_shows_what_may_be_seen_by_project_and_status_newest_first_in_pages() {
    let house = House::new();
    let mut ids = Vec::new();
    for number in 0..6 {
        let project = if number % 2 == 0 { "p1" } else { "p2" };
        let program = if number < 4 { "true" } else { "/no/such" };
        let id = house.start(json!({"projectId": project, "command": [program]})).await;
        house.end(&id).await;
        ids.insert(0, id);
    }
    let list = async |query: ListSessions| {
        let hidden = ids[0].clone();
        let page = house.sessions.clone().list(query, move |id, _, _| *id != hidden).await.expect("lists");
        (page.items.iter().map(|brief| brief.id.clone()).collect::<Vec<_>>(), page.cursor)
    };
    assert_eq!(list(ListSessions::default()).await, (ids[1..].to_vec(), None));
    let (page, cursor) = list(ListSessions { limit: Some(2), ..Default::default() }).await;
    assert_eq!((&page[..], cursor.as_ref()), (&ids[1..3], Some(&ids[2])));
    let (page, cursor) = list(ListSessions { limit: Some(3), cursor, ..Default::default() }).await;
    assert_eq!((&page[..], cursor), (&ids[3..], None));
    let of_project = ListSessions { project_id: Some("p1".parse().expect("an id")), ..Default::default() };
    assert_eq!(list(of_project).await.0, [ids[1].clone(), ids[3].clone(), ids[5].clone()]);
    let failed = ListSessions { status: Some(Status::Error), ..Default::default() };
    assert_eq!(list(failed).await.0, [ids[1].clone()]);
    house.close().await;
}

#[tokio::test]
async fn the_output_is_plain_text_of_both_streams_or_of_one() {
    let house = House::new();
    let id = house.sh("echo one; read x; echo two >&2; read x; echo three").await;
    house.until_printed(&id, "one").await;
    house.say(&id, "on", None).await.expect("accepted");
    house.until("two", || house.printed(&id, Stream::Stderr).contains("two").then_some(())).await;
    house.say(&id, "on", None).await.expect("accepted");
    house.end(&id).await;
    assert_eq!(output(&house, &id, None).await, "one\ntwo\nthree\n");
    assert_eq!(output(&house, &id, Some(Stream::Stderr)).await, "two\n");
    assert_eq!(output(&house, &id, Some(Stream::System)).await, "Starting sh…\n");
    house.close().await;
}

#[tokio::test]
async fn of_a_huge_output_the_newest_part_is_given_and_the_rest_is_counted() {
    let house = House::new();
    let id = house.sh("head -c 9000000 /dev/zero | tr '\\0' x").await;
    house.end(&id).await;
    let text = output(&house, &id, None).await;
    let (note, rest) = text.split_once('\n').expect("a note");
    assert_eq!(note, format!("[{} bytes of output before this are left out]", 9_000_000 - OUTPUT_BYTES));
    assert_eq!(rest.len(), OUTPUT_BYTES);
    house.close().await;
}
