//! Crowds that ask for one state at once, and how much of states is kept in memory.
//!
//! Guarantees: folds and encodings are counted where they happen.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serializer;
use tidings_core::{outlet::Said as Answered, runtime::Tasks};
use tidings_testkit::RecordingOutlet;

use super::*;
use crate::{house::somebody, hub::SubscribeRequest};

/// So many subscribe at once.
const CROWD: usize = 1000;
/// How many messages the thing has.
const MANY: u64 = 400;

static APPLIED: AtomicUsize = AtomicUsize::new(0);
static ENCODED: AtomicUsize = AtomicUsize::new(0);

/// Everything that was ever said, which counts how often it is encoded.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
struct All(Vec<u64>);

impl Serialize for All {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::SeqCst);
        self.0.serialize(serializer)
    }
}

struct Remembering;

impl Reducer for Remembering {
    type State = All;
    const VERSION: u32 = 1;
    fn apply(state: &mut All, message: &Message) {
        APPLIED.fetch_add(1, Ordering::SeqCst);
        state.0.push(number(message));
    }
    fn is_open(_: &All) -> bool {
        true
    }
}

fn counted() -> (usize, usize) {
    (APPLIED.swap(0, Ordering::SeqCst), ENCODED.swap(0, Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_who_subscribe_at_once_cause_one_fold_and_one_encoding() {
    let things = || Things { projection: Some(Fold::<Remembering>::projection()), ..folding::<1>() };
    let house = House::new(things());
    tell(&house, "thing.said", "1", 1..=MANY).await;
    let house = house.restart(things()).await;
    counted();
    let join = || {
        let outlet = RecordingOutlet::open();
        let connection = house.hub.connect(somebody("u", &["thing:1=subscribe"]), outlet.clone());
        let (gate, one) = (house.gate.clone(), connection.clone());
        let request = SubscribeRequest { snapshot: true, ..SubscribeRequest::plain(channel("thing:1")) };
        let asking = async move { gate.subscribe(&one, vec![Ok(request)], |_| None::<Answered>).await };
        house.tasks.spawn("crowd", Box::pin(asking));
        (outlet, connection)
    };
    let crowd: Vec<_> = (0..CROWD).map(|_| join()).collect();
    let everything: Vec<u64> = (1..=MANY).collect();
    for (outlet, _) in crowd {
        let shown = outlet
            .until("the snapshot", |taken| {
                taken.iter().find(|taken| taken.kind() == "channel.snapshot").map(|taken| taken.json["data"].clone())
            })
            .await;
        assert_eq!((shown["seq"].as_u64(), &shown["snapshot"]), (Some(MANY), &serde_json::json!(everything)));
    }
    let (applied, encoded) = counted();
    assert_eq!(applied, everything.len(), "each message is folded once");
    // It is what is saved, too.
    assert_eq!(encoded, 1, "and the state is encoded once");
    tell(&house, "thing.said", "1", 1..=1).await;
    let views: Vec<_> = (0..20).map(|_| house.states.get("thing", "1")).collect();
    for view in views {
        assert_eq!(view.await.expect("reads").expect("known").seq, MANY + 1);
    }
    assert_eq!(counted(), (1, 0), "one message more is folded in, and nobody looked");
    house.stop().await;
}

/// Says something of so many bytes, which the state keeps.
struct Heavy;

impl Reducer for Heavy {
    type State = String;
    const VERSION: u32 = 1;
    fn apply(state: &mut String, message: &Message) {
        *state = "x".repeat(usize::try_from(number(message)).expect("a size"));
    }
}

#[tokio::test]
async fn states_in_memory_are_bounded_by_bytes_and_right_all_the_same() {
    let house = House::new(Things { projection: Some(Fold::<Heavy>::projection()), ..folding::<1>() });
    let size = 4 * 1024 * 1024;
    for n in 0..20 {
        let id = format!("t{n}");
        tell(&house, "thing.said", &id, size + n..=size + n).await;
        let view = house.states.get("thing", &id).await.expect("reads").expect("known");
        assert_eq!(view.state::<String>().expect("its type").len() as u64, size + n);
        let (count, bytes) = house.states.memory.lock().size();
        assert!(2 * bytes <= KEPT_BYTES && count >= 1, "{count} with {bytes} bytes");
    }
    for n in [0, 10, 19] {
        let view = house.states.get("thing", &format!("t{n}")).await.expect("reads").expect("known");
        assert_eq!(view.state::<String>().expect("its type").len() as u64, size + n);
    }
    house.stop().await;
}
