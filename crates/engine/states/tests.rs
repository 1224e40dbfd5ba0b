//! The states of things: the fold and what is saved of it, across restarts, versions and trimming.
//!
//! Guarantees: every sum is compared with what was published, never with another fold of the same code.

mod crowds;
mod starting;
mod versions;

use std::{collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};
use tidings_core::{
    Event, Message,
    bus::EventBus,
    handler::Retention,
    log::EventLog,
    projection::{Fold, ListStates, Reducer, States, View},
};
use tidings_testkit::{MemoryConfig, PATIENCE};

use super::{
    SAVE_EVERY, StateStore,
    memory::{KEPT, KEPT_BYTES},
};
use crate::house::{House, Said, Things, channel, event, number};

/// What was folded: how many, their sum, and whether the thing is still open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
struct Sum {
    count: u64,
    sum: u64,
    open: bool,
}

/// A fold of this version. `thing.made` opens the thing, `thing.shown` settles it.
struct Version<const N: u32>;

impl<const N: u32> Reducer for Version<N> {
    type State = Sum;
    const VERSION: u32 = N;
    const ENDS: &'static [&'static str] = &["thing.shown"];
    fn apply(state: &mut Sum, message: &Message) {
        state.count += 1;
        // Another version counts otherwise, so that a state shows which one made it.
        state.sum += number(message) * u64::from(N);
        match message.event_type.as_str() {
            "thing.made" => state.open = true,
            "thing.shown" => state.open = false,
            _ => {}
        }
    }
    fn abandoned(state: &Sum) -> Vec<Event> {
        if state.open { vec![event("thing.shown", "1", 0)] } else { Vec::new() }
    }
}

fn folding<const N: u32>() -> Things {
    Things { projection: Some(Fold::<Version<N>>::projection()), namespaces: &["thing"], ..Things::default() }
}

/// Things whose board has no channel of its own: only the fold of the thing is of interest.
async fn tell(house: &House, event_type: &'static str, id: &str, numbers: impl Iterator<Item = u64>) {
    for n in numbers {
        house.bus.emit(event(event_type, id, n)).await.expect("room").await.expect("durable");
    }
}

async fn sum(house: &House, id: &str) -> (u64, Sum) {
    let view = house.states.get("thing", id).await.expect("the log reads").expect("it was published to");
    (view.seq, view.state::<Sum>().expect("its type").clone())
}

async fn saved_seq(house: &House, name: &str) -> Option<u64> {
    house.log.facts(&channel(name)).await.expect("the log reads").expect("known").saved.map(|saved| saved.seq)
}

fn of(count: u64, sum: u64, open: bool) -> Sum {
    Sum { count, sum, open }
}

#[tokio::test]
async fn a_state_is_folded_to_the_head_and_unknown_things_have_none() {
    let house = House::new(folding::<1>());
    assert!(house.states.get("thing", "1").await.expect("reads").is_none(), "never published to");
    assert!(house.states.get("thing", "not:an:id").await.expect("reads").is_none());
    assert!(house.states.get("nobody", "1").await.expect("reads").is_none());
    tell(&house, "thing.made", "1", 1..=1).await;
    tell(&house, "thing.said", "1", 2..=10).await;
    assert_eq!(sum(&house, "1").await, (10, of(10, 55, true)));
    tell(&house, "thing.said", "1", 11..=11).await;
    assert_eq!(sum(&house, "1").await, (11, of(11, 66, true)), "what is in memory goes on");
    let at = house.states.at_head(&channel("thing:1")).await.expect("reads").expect("a state");
    assert_eq!((at.seq, at.state.snapshot().get()), (11, r#"{"count":11,"sum":66,"open":true}"#));
    house.stop().await;
}

#[tokio::test]
async fn after_a_restart_the_saved_state_and_the_rest_make_the_same_state() {
    let house = House::new(folding::<1>());
    tell(&house, "thing.made", "1", 0..=0).await;
    tell(&house, "thing.said", "1", 1..=SAVE_EVERY + 9).await;
    let before = sum(&house, "1").await;
    assert_eq!(saved_seq(&house, "thing:1").await, Some(SAVE_EVERY + 10), "enough came together to be saved");
    tell(&house, "thing.said", "1", 1000..=1005).await;
    let house = house.restart(folding::<1>()).await;
    let (seq, after) = sum(&house, "1").await;
    assert_eq!(after.sum, before.1.sum + (1000..=1005).sum::<u64>());
    assert_eq!((seq, after.count), (SAVE_EVERY + 16, SAVE_EVERY + 16));
    assert_eq!(saved_seq(&house, "thing:1").await, Some(SAVE_EVERY + 10), "six more are not worth a save");
    house.stop().await;
}

#[tokio::test]
async fn a_settled_state_is_saved_at_once_and_an_open_one_is_not() {
    let house = House::new(Things { namespaces: &["thing", "board"], ..folding::<1>() });
    tell(&house, "thing.made", "1", 1..=1).await;
    assert!(sum(&house, "1").await.1.open);
    assert_eq!(saved_seq(&house, "thing:1").await, None);
    tell(&house, "thing.shown", "1", 2..=2).await;
    assert!(!sum(&house, "1").await.1.open);
    assert_eq!(saved_seq(&house, "thing:1").await, Some(2));
    house.stop().await;
}

#[tokio::test]
async fn what_the_log_wants_to_trim_is_saved_first_and_stays_in_the_state() {
    let keep = Retention { messages: 10, bytes: 0, age_ms: 0 };
    let config = MemoryConfig {
        retention: Arc::new(move |_| keep),
        projected: HashSet::from(["thing".to_owned()]),
        ..MemoryConfig::default()
    };
    let house = House::with(folding::<1>(), config);
    tell(&house, "thing.made", "1", 0..=0).await;
    let mut next = 1;
    let trimmed = async {
        // The task that saves runs beside; more messages make the log ask again.
        while house.log.facts(&channel("thing:1")).await.expect("reads").expect("known").first <= 50 {
            tell(&house, "thing.said", "1", next..=next).await;
            next += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.expect("the log may trim in the end");
    let expected = (next, of(next, (1..next).sum(), true));
    assert_eq!(sum(&house, "1").await, expected);
    let house = house.restart(folding::<1>()).await;
    assert_eq!(sum(&house, "1").await, expected, "also after a restart");
    house.stop().await;
}

#[tokio::test]
async fn a_deleted_channel_begins_anew_with_its_numbers_going_on() {
    let house = House::new(folding::<1>());
    tell(&house, "thing.said", "1", 5..=9).await;
    assert_eq!(sum(&house, "1").await.0, 5);
    house.log.delete(&channel("thing:1")).await.expect("deleted");
    tell(&house, "thing.said", "1", 7..=7).await;
    assert_eq!(sum(&house, "1").await, (6, of(1, 7, false)));
    house.stop().await;
}

fn ids(views: &[View]) -> Vec<&str> {
    views.iter().map(|view| view.id.as_str()).collect()
}

#[tokio::test]
async fn a_list_goes_from_the_newest_id_down_in_pages_and_by_project() {
    let house = House::new(folding::<1>());
    for (id, project) in [("a", "p"), ("b", "q"), ("c", "p"), ("d", "p"), ("e", "q")] {
        let said = Said { id: id.into(), n: 1, project: Some(project.into()), ..Said::default() };
        house.bus.emit(Event::new("thing.made", said)).await.expect("room").await.expect("durable");
    }
    let page = |project: Option<&str>, below: Option<&str>| {
        let query =
            ListStates { project: project.map(Into::into), below: below.map(Into::into), open: false, limit: 2 };
        house.states.list("thing", query)
    };
    let first = page(None, None).await.expect("reads");
    assert_eq!(ids(&first), ["e", "d"]);
    assert_eq!(first[0].project.as_deref(), Some("q"));
    assert_eq!(first[0].state::<Sum>(), Some(&of(1, 1, true)));
    assert_eq!(ids(&page(None, Some("d")).await.expect("reads")), ["c", "b"]);
    assert_eq!(ids(&page(None, Some("a")).await.expect("reads")), Vec::<&str>::new());
    assert_eq!(ids(&page(Some("p"), None).await.expect("reads")), ["d", "c"]);
    assert_eq!(ids(&page(Some("p"), Some("c")).await.expect("reads")), ["a"]);
    house.stop().await;
}

#[tokio::test]
async fn the_messages_of_a_thing_come_in_pages_that_say_whether_more_follow() {
    let house = House::new(folding::<1>());
    tell(&house, "thing.said", "1", 1..=5).await;
    let page = |after| house.states.messages("thing", "1", after, 2);
    let table = [(0, vec![1, 2], true), (2, vec![3, 4], true), (4, vec![5], false), (5, vec![], false)];
    for (after, expected, more) in table {
        let (messages, follows) = page(after).await.expect("reads");
        assert_eq!((messages.iter().map(|message| number(message)).collect::<Vec<_>>(), follows), (expected, more));
    }
    house.stop().await;
}

#[tokio::test]
async fn more_states_than_are_kept_in_memory_are_right_all_the_same() {
    let house = House::new(folding::<1>());
    let many = KEPT as u64 + 50;
    for n in 0..many {
        let id = format!("t{n}");
        tell(&house, "thing.made", &id, n..=n).await;
        assert_eq!(sum(&house, &id).await, (1, of(1, n, true)));
    }
    let kept = |states: &StateStore| states.memory.lock().size().0;
    assert!(kept(&house.states) <= KEPT, "{} are kept", kept(&house.states));
    for n in [0, 1, many / 2, many - 1] {
        let id = format!("t{n}");
        tell(&house, "thing.said", &id, 3..=3).await;
        assert_eq!(sum(&house, &id).await, (2, of(2, n + 3, true)), "t{n}");
    }
    house.stop().await;
}
