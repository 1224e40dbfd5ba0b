//! Random worlds: publishing, stalling, cutting and trimming, where every subscriber's view must equal
//! the log or be told of a gap.
//!
//! Guarantees: each case is printed small when it fails.
//! It is not a load test.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use proptest::prelude::*;
use serde_json::json;
use tidings_core::log::EventLog;
use tidings_testkit::{RecordingOutlet, Taken};

use super::{super::Connection, world::World};

/// What happens to a subscriber in a random world.
#[derive(Debug, Clone)]
enum Step {
    Publish(u8),
    Beat(u8),
    Stall,
    Read(u8),
    Cut,
    Resubscribe,
    Trim,
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..40).prop_map(Step::Publish),
        1 => (1u8..5).prop_map(Step::Beat),
        2 => Just(Step::Stall),
        3 => (1u8..60).prop_map(Step::Read),
        2 => Just(Step::Cut),
        1 => Just(Step::Resubscribe),
        1 => Just(Step::Trim),
        1 => Just(Step::Tick),
    ]
}

/// A subscriber that keeps its own account: the seq it has, by what it was given and told.
struct Viewer {
    outlet: Arc<RecordingOutlet>,
    connection: Arc<Connection>,
    read: usize,
    at: u64,
    /// What each answer that has not come yet was asked with: exactly-once starts with the answer.
    asked: VecDeque<u64>,
    snapshot: bool,
    told_gaps: u64,
}

impl Viewer {
    async fn join(world: &World, at: u64, snapshot: bool) -> Self {
        let outlet = RecordingOutlet::open();
        let connection = world.connect(&outlet);
        let mut viewer = Self { outlet, connection, read: 0, at, asked: VecDeque::new(), snapshot, told_gaps: 0 };
        viewer.subscribe(world).await;
        viewer
    }

    async fn subscribe(&mut self, world: &World) {
        let epoch = world.log.epoch();
        self.asked.push_back(self.at);
        let since = json!({"since": {"seq": self.at, "epoch": epoch}, "snapshot": self.snapshot});
        world.subscribe(&self.connection, since).await;
    }

    /// Goes over what came since the last time: each message is the next one, or the hole was told.
    fn check(&mut self) {
        let taken = self.outlet.taken();
        for taken in &taken[self.read..] {
            let data = &taken.json["data"];
            if taken.answer_to.is_some() {
                self.at = self.asked.pop_front().expect("one answer for each question");
                continue;
            }
            match taken.kind() {
                "channel.gap" => {
                    assert_eq!(data["from"].as_u64(), Some(self.at + 1), "a gap begins where the view ends");
                    self.at = data["to"].as_u64().expect("an end");
                    self.told_gaps += 1;
                }
                "channel.snapshot" => {
                    let seq = data["seq"].as_u64().expect("a seq");
                    assert!(seq >= self.at, "a state never goes back");
                    self.at = seq;
                    self.told_gaps += 1;
                }
                _ => {
                    if let Some(seq) = taken.seq() {
                        assert_eq!(seq, self.at + 1, "each exactly once and in order");
                        self.at = seq;
                    }
                }
            }
        }
        self.read = taken.len();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_view_equals_the_log_or_was_told_of_a_gap(
        steps in prop::collection::vec(step(), 1..40),
        snapshot in any::<bool>(),
        kept in prop_oneof![Just(0u64), 5u64..60],
        ring in 1usize..50,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let world = World::new(kept, ring);
            let mut viewer = Viewer::join(&world, 0, snapshot).await;
            for step in steps {
                match step {
                    Step::Publish(count) => world.publish("count.up", count.into()).await,
                    Step::Beat(count) => world.publish("count.beat", count.into()).await,
                    Step::Stall => viewer.outlet.set_room(0),
                    Step::Read(room) => viewer.outlet.set_room(room.into()),
                    Step::Cut => {
                        viewer.outlet.break_off();
                        viewer.connection.release();
                        viewer.check();
                        viewer = Viewer::join(&world, viewer.at, snapshot).await;
                    }
                    Step::Resubscribe => {
                        // What came until the unsubscribe is complete up to some seq; go on from there.
                        viewer.connection.unsubscribe(None, None);
                        viewer.check();
                        viewer.subscribe(&world).await;
                    }
                    Step::Trim => world.log.trim(),
                    Step::Tick => world.clock.advance(Duration::from_secs(2)),
                }
                viewer.check();
            }
            viewer.outlet.set_room(usize::MAX);
            let head = world.log.facts(&world.channel).await.expect("readable").map_or(0, |facts| facts.head);
            let (from, open) = (viewer.asked.back().copied().unwrap_or(viewer.at), viewer.asked.len());
            let read = viewer.read;
            viewer.outlet.until("the head", |taken| reaches(&taken[read..], open, head, from).then_some(())).await;
            viewer.check();
            assert_eq!(viewer.at, head);
            if kept == 0 && !snapshot {
                assert_eq!(viewer.told_gaps, 0, "nothing was trimmed");
            }
            world.stop().await;
        });
    }
}

/// Whether what came since the last look has so many answers, and after them the way up to the head.
fn reaches(taken: &[Taken], answers: usize, head: u64, from: u64) -> bool {
    if taken.iter().filter(|taken| taken.answer_to.is_some()).count() < answers {
        return false;
    }
    let after = taken.iter().rposition(|taken| taken.answer_to.is_some()).map_or(0, |last| last + 1);
    let ends = taken[after..].iter().map(|taken| match taken.kind() {
        "channel.gap" => taken.json["data"]["to"].as_u64().unwrap_or_default(),
        "channel.snapshot" => taken.json["data"]["seq"].as_u64().unwrap_or_default(),
        _ => taken.seq().unwrap_or_default(),
    });
    ends.max().unwrap_or_default().max(from) >= head
}
