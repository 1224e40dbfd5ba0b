//! What a start finds: what may be open, and nothing of what has ended.

use super::*;

async fn open(house: &House) -> Vec<String> {
    let query = ListStates { open: true, limit: 10_000, ..ListStates::default() };
    let views = house.states.list("thing", query).await.expect("reads");
    views.iter().map(|view| view.id.to_string()).collect()
}

async fn counts_as_open(house: &House, id: &str) -> bool {
    house.log.facts(&channel(&format!("thing:{id}"))).await.expect("reads").expect("known").open
}

/// Waits until a thing no longer counts as open.
async fn settled(house: &House, id: &str) {
    let settled = async {
        while counts_as_open(house, id).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("it is saved in the end");
}

fn things<const N: u32>() -> Things {
    Things { namespaces: &["thing", "board"], ..folding::<N>() }
}

#[tokio::test]
async fn what_has_ended_is_settled_though_nobody_asks_for_it_and_a_start_does_not_read_it() {
    let house = House::new(things::<1>());
    for n in 0..300 {
        tell(&house, "thing.made", &format!("t{n:03}"), 1..=1).await;
    }
    for n in (0..300).filter(|n| n % 100 != 0) {
        tell(&house, "thing.shown", &format!("t{n:03}"), 2..=2).await;
    }
    settled(&house, "t299").await;
    let house = house.restart(things::<1>()).await;
    assert_eq!(open(&house).await, ["t200", "t100", "t000"]);
    assert_eq!(house.states.memory.lock().size().0, 3, "no other state was folded");
    house.stop().await;
}

#[tokio::test]
async fn whatever_may_be_open_is_found_after_a_crash() {
    let house = House::new(things::<1>());
    for id in ["again", "ended", "late", "open"] {
        tell(&house, "thing.made", id, 1..=1).await;
    }
    for id in ["again", "ended", "late"] {
        tell(&house, "thing.shown", id, 2..=2).await;
        settled(&house, id).await;
    }
    tell(&house, "thing.made", "again", 3..=3).await;
    // It settles nothing and opens nothing; who does not look cannot know.
    tell(&house, "thing.said", "late", 3..=3).await;
    let house = house.restart(things::<1>()).await;
    assert_eq!(open(&house).await, ["open", "late", "again"]);
    assert!(!counts_as_open(&house, "late").await, "once it was looked at, that is known");
    let house = house.restart(things::<1>()).await;
    assert_eq!(open(&house).await, ["open", "again"]);
    house.stop().await;
}

#[tokio::test]
async fn a_state_that_another_version_saved_says_what_is_open_in_the_words_of_this_one() {
    let house = House::new(things::<1>());
    tell(&house, "thing.made", "a", 1..=1).await;
    tell(&house, "thing.shown", "a", 2..=2).await;
    settled(&house, "a").await;
    let never_ends = Things { projection: Some(Fold::<Endless>::projection()), ..things::<1>() };
    let house = house.restart(never_ends).await;
    house.states.adopt().await.expect("the whole history is there");
    assert_eq!(open(&house).await, ["a"]);
    house.stop().await;
}

/// A later version, for which things are never over.
struct Endless;

impl Reducer for Endless {
    type State = Sum;
    const VERSION: u32 = 9;
    fn apply(state: &mut Sum, message: &Message) {
        Version::<1>::apply(state, message);
    }
    fn is_open(_: &Sum) -> bool {
        true
    }
}
