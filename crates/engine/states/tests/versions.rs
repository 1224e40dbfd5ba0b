//! Saved states of other versions, and those that cannot be read.
//!
//! Guarantees: each case is tried with the whole history and with what a trimmed one has left.

use tidings_core::{
    Code,
    log::{SavedAt, SavedState},
};

use super::*;
use crate::states::StatesError;

/// The second version, which reads states of the first: a sum counts twice in it.
struct Upgrading;

impl Reducer for Upgrading {
    type State = Sum;
    const VERSION: u32 = 2;
    fn apply(state: &mut Sum, message: &Message) {
        Version::<2>::apply(state, message);
    }
    fn upgrade(version: u32, bytes: &[u8]) -> Option<Sum> {
        let old: Sum = (version == 1).then(|| serde_json::from_slice(bytes).ok())??;
        Some(Sum { sum: 2 * old.sum, ..old })
    }
}

fn upgrading() -> Things {
    Things { projection: Some(Fold::<Upgrading>::projection()), ..folding::<1>() }
}

/// How many messages each thing of [`house`] has.
const MANY: u64 = 300;
const TOTAL: u64 = MANY * (MANY + 1) / 2;

/// Things `1` and `2` under the first version, saved with all their messages. A trimmed one keeps the newest ten.
async fn house(trimmed: bool) -> House {
    let keep = Retention { messages: if trimmed { 10 } else { 0 }, bytes: 0, age_ms: 0 };
    let config = MemoryConfig {
        retention: Arc::new(move |_| keep),
        projected: HashSet::from(["thing".to_owned()]),
        ..MemoryConfig::default()
    };
    let house = House::with(folding::<1>(), config);
    for id in ["1", "2"] {
        tell(&house, "thing.said", id, 1..=MANY).await;
        assert_eq!(sum(&house, id).await, (MANY, of(MANY, TOTAL, false)));
        let facts = house.log.facts(&channel(&format!("thing:{id}"))).await.expect("reads").expect("known");
        assert_eq!((facts.first > 1, facts.saved), (trimmed, Some(SavedAt { seq: MANY, version: 1 })));
    }
    house
}

async fn versions(house: &House) -> Vec<Option<u32>> {
    let states = house.log.states(vec![channel("thing:1"), channel("thing:2")]).await.expect("reads");
    states.into_iter().map(|state| state.map(|state| state.version)).collect()
}

async fn damage(house: &House, name: &str, version: u32) {
    let broken = SavedState { seq: MANY, version, bytes: b"{".to_vec() };
    house.log.save_state(&channel(name), broken, false).await.expect("kept");
}

#[tokio::test]
async fn a_state_of_an_older_version_is_upgraded_by_its_reducer() {
    for trimmed in [false, true] {
        let house = house(trimmed).await.restart(upgrading()).await;
        house.states.adopt().await.expect("every state has a way");
        assert_eq!(versions(&house).await, [Some(2), Some(2)]);
        assert_eq!(sum(&house, "1").await, (MANY, of(MANY, 2 * TOTAL, false)));
        tell(&house, "thing.said", "1", 7..=7).await;
        assert_eq!(sum(&house, "1").await, (MANY + 1, of(MANY + 1, 2 * TOTAL + 14, false)));
        let house = house.restart(upgrading()).await;
        house.states.adopt().await.expect("there is nothing to do");
        assert_eq!(sum(&house, "2").await, (MANY, of(MANY, 2 * TOTAL, false)));
        house.stop().await;
    }
}

#[tokio::test]
async fn a_state_that_has_no_way_is_folded_anew_where_the_whole_history_is_there() {
    let house = house(false).await.restart(folding::<3>()).await;
    house.states.adopt().await.expect("every message is there");
    assert_eq!(versions(&house).await, [Some(3), Some(3)]);
    assert_eq!(sum(&house, "1").await, (MANY, of(MANY, 3 * TOTAL, false)));
    house.stop().await;
}

#[tokio::test]
async fn a_state_that_has_no_way_ends_the_start_by_its_name_and_nothing_is_changed() {
    let house = house(true).await.restart(folding::<3>()).await;
    let error = house.states.adopt().await.expect_err("messages are gone");
    let StatesError::Unreadable { channel: name, found, known, count } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), *found, *known, *count), ("thing:1", 1, 3, 2));
    for said in ["thing:1", "version 1", "version 3", "back-up"] {
        assert!(error.to_string().contains(said), "{error}");
    }
    assert_eq!(versions(&house).await, [Some(1), Some(1)]);
    assert_eq!(house.states.get("thing", "1").await.expect_err("nor is it folded later").code(), Code::Internal);
    let house = house.restart(folding::<1>()).await;
    house.states.adopt().await.expect("the version that wrote them goes on");
    assert_eq!(sum(&house, "1").await, (MANY, of(MANY, TOTAL, false)));
    house.stop().await;
}

#[tokio::test]
async fn one_damaged_state_of_an_older_version_leaves_all_others_as_they_are() {
    let house = house(true).await.restart(upgrading()).await;
    damage(&house, "thing:2", 1).await;
    let error = house.states.adopt().await.expect_err("one cannot be read");
    assert!(error.to_string().contains("thing:2"), "{error}");
    assert_eq!(versions(&house).await, [Some(1), Some(1)], "the version before can still be started");
    house.stop().await;
}

#[tokio::test]
async fn a_damaged_state_of_this_version_is_an_error_of_whoever_asks_and_never_a_fresh_fold() {
    for trimmed in [false, true] {
        let house = house(trimmed).await.restart(folding::<1>()).await;
        damage(&house, "thing:1", 1).await;
        house.states.adopt().await.expect("its bytes are not looked at");
        tell(&house, "thing.said", "1", 1..=3).await;
        assert_eq!(house.states.get("thing", "1").await.expect_err("damaged").code(), Code::Internal);
        assert!(house.states.at_head(&channel("thing:1")).await.is_err());
        assert_eq!(saved_seq(&house, "thing:1").await, Some(MANY), "nothing was written over it");
        assert_eq!(sum(&house, "2").await, (MANY, of(MANY, TOTAL, false)), "others do not care");
        house.stop().await;
    }
}
