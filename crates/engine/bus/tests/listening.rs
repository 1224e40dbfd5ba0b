//! Listeners: who hears what, in which order, and what a bad or slow one costs the others.

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::PrometheusBuilder;
use tidings_core::{
    BoxFuture, Message, Result,
    bus::{EventBus, Listener},
    log::EventLog,
};
use tidings_testkit::{MemoryConfig, PATIENCE};

use super::{super::Bus, Temper, Witness};
use crate::house::{House, Things, event, number, pattern};

/// More than a listener's queue holds, and more than it reads at once.
const MANY: u64 = 3000;

async fn emit(house: &House, event_type: &'static str, id: &str, n: u64) {
    house.bus.emit(event(event_type, id, n)).await.expect("room").await.expect("durable");
}

#[tokio::test]
async fn a_listener_hears_until_its_handle_is_dropped() {
    let house = House::new(Things::default());
    let (first, second) = (Witness::of(Temper::Sync), Witness::of(Temper::Sync));
    let on = house.bus.on(pattern("thing.said"), first.clone());
    let _stays = house.bus.on(pattern("thing.said"), second.clone());
    emit(&house, "thing.said", "1", 1).await;
    assert_eq!(first.until(1).await, [1]);
    drop(on);
    emit(&house, "thing.said", "1", 2).await;
    assert_eq!(second.until(2).await, [1, 2]);
    let again = house.bus.on(pattern("thing.said"), first.clone());
    emit(&house, "thing.said", "1", 3).await;
    assert_eq!(first.until(2).await, [1, 3], "what came while it was off is not made up for");
    drop(again);
    house.stop().await;
}

#[tokio::test]
async fn a_listener_registered_twice_hears_once_until_both_handles_are_dropped() {
    let house = House::new(Things::default());
    let (twice, other) = (Witness::of(Temper::Sync), Witness::of(Temper::Sync));
    let handles = [house.bus.on(pattern("thing.*"), twice.clone()), house.bus.on(pattern("thing.*"), twice.clone())];
    let _other = house.bus.on(pattern("thing.*"), other.clone());
    let [one, two] = handles;
    emit(&house, "thing.said", "1", 1).await;
    drop(one);
    emit(&house, "thing.said", "1", 2).await;
    assert_eq!(twice.until(2).await, [1, 2]);
    drop(two);
    emit(&house, "thing.said", "1", 3).await;
    assert_eq!(other.until(3).await, [1, 2, 3]);
    assert_eq!(twice.numbers(), [1, 2]);
    house.stop().await;
}

#[tokio::test]
async fn wildcards_and_prefixes_hear_what_they_match_whether_sync_or_async() {
    let house = House::new(Things::default());
    let table = [
        ("*", Temper::Sync, vec![1, 2, 3, 4]),
        ("thing.*", Temper::Async, vec![1, 2, 3, 4]),
        ("thing.said", Temper::Sync, vec![2, 4]),
        ("thing.said", Temper::Async, vec![2, 4]),
        ("*.made", Temper::Async, vec![1]),
        ("thing.ticked", Temper::Sync, vec![3]),
        ("thing.said.*", Temper::Sync, vec![]),
        ("session.*", Temper::Sync, vec![]),
    ];
    let rows = table.map(|(text, temper, expected)| {
        let witness = Witness::of(temper);
        (text, house.bus.on(pattern(text), witness.clone()), witness, expected)
    });
    for (event_type, n) in [("thing.made", 1), ("thing.said", 2), ("thing.ticked", 3), ("thing.said", 4)] {
        emit(&house, event_type, "1", n).await;
    }
    rows[0].2.until(4).await;
    for (text, _on, witness, expected) in &rows {
        assert_eq!(witness.until(expected.len()).await, *expected, "{text}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_listener_hears_each_channel_in_its_order_whoever_emits() {
    let house = House::new(Things::default());
    let witness = Witness::of(Temper::Async);
    let _on = house.bus.on(pattern("*"), witness.clone());
    let emitter = |id: &'static str| {
        let bus: Arc<Bus> = house.bus.clone();
        tokio::task::unconstrained(async move {
            for n in 1..=100 {
                drop(bus.emit(event("thing.said", id, n)).await.expect("room"));
                tokio::task::yield_now().await;
            }
        })
    };
    tokio::join!(emitter("a"), emitter("b"), emitter("c"));
    witness.until(300).await;
    for id in ["thing:a", "thing:b", "thing:c"] {
        let messages = witness.messages();
        let of_channel = messages.iter().filter(|message| message.channel.as_str() == id);
        let heard: Vec<(Option<u64>, u64)> = of_channel.map(|message| (message.seq, number(message))).collect();
        assert_eq!(heard, (1..=100).map(|n| (Some(n), n)).collect::<Vec<_>>(), "{id}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_listener_that_fails_or_panics_is_counted_and_takes_nothing_else_with_it() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counts = metrics::set_default_local_recorder(&recorder);
    let house = House::new(Things::default());
    let bad = [Temper::Fails, Temper::Panics, Temper::PanicsLater].map(|temper| {
        let witness = Witness::of(temper);
        (house.bus.on(pattern("*"), witness.clone()), witness)
    });
    let good = Witness::of(Temper::Sync);
    let _on = house.bus.on(pattern("*"), good.clone());
    emit(&house, "thing.said", "1", 1).await;
    emit(&house, "thing.said", "1", 2).await;
    assert_eq!(good.until(2).await, [1, 2]);
    for (_on, witness) in &bad {
        assert_eq!(witness.until(2).await, [1, 2], "the next event comes all the same");
    }
    house.stop().await;
    let counted = recorder.handle().render();
    assert!(counted.lines().any(|line| line == "tidings_bus_listener_failures_total 6"), "{counted}");
}

#[tokio::test]
async fn a_listener_that_is_behind_reads_on_from_the_log_and_loses_nothing() {
    let house = House::new(Things::default());
    let (slow, quick) = (Witness::stalled(), Witness::of(Temper::Sync));
    let _slow = house.bus.on(pattern("thing.said"), slow.clone());
    let _quick = house.bus.on(pattern("thing.said"), quick.clone());
    for n in 1..=MANY {
        emit(&house, "thing.said", "1", n).await;
    }
    // The slow one has heard nothing, and neither the emitter nor the other one waited for it.
    quick.until(MANY as usize).await;
    assert_eq!(slow.numbers(), Vec::<u64>::new());
    slow.go_on(MANY as usize + 10);
    assert_eq!(slow.until(MANY as usize).await, (1..=MANY).collect::<Vec<_>>());
    emit(&house, "thing.said", "1", MANY + 1).await;
    assert_eq!(slow.until(MANY as usize + 1).await.last(), Some(&(MANY + 1)), "live again");
    house.stop().await;
}

#[tokio::test]
async fn what_a_listener_has_read_from_the_log_it_does_not_hear_again() {
    let house = House::new(Things::default());
    let slow = Witness::stalled();
    let _on = house.bus.on(pattern("thing.said"), slow.clone());
    for n in 1..=MANY {
        emit(&house, "thing.said", "1", n).await;
    }
    // These are in the log, and read from there, before they are announced.
    house.log.pause_announcements();
    emit(&house, "thing.said", "1", MANY + 1).await;
    emit(&house, "thing.said", "1", MANY + 2).await;
    slow.go_on(MANY as usize + 100);
    slow.until(MANY as usize + 2).await;
    house.log.release();
    emit(&house, "thing.said", "1", MANY + 3).await;
    assert_eq!(slow.until(MANY as usize + 3).await, (1..=MANY + 3).collect::<Vec<_>>());
    house.stop().await;
}

#[tokio::test]
async fn announcements_that_were_lost_are_read_from_the_log_and_nothing_older_with_them() {
    let house = House::new(Things::default());
    emit(&house, "thing.said", "1", 1).await;
    let house = house.restart(Things::default()).await;
    let witness = Witness::of(Temper::Sync);
    let _on = house.bus.on(pattern("thing.said"), witness.clone());
    emit(&house, "thing.made", "1", 2).await;
    house.log.lose_next(1);
    let unknown = house.bus.emit(event("thing.said", "1", 3)).await.expect("room").await;
    assert!(unknown.is_err(), "its outcome is not known");
    emit(&house, "thing.said", "1", 4).await;
    assert_eq!(witness.until(2).await, [3, 4]);
    house.stop().await;
}

#[tokio::test]
async fn a_listener_that_is_dropped_while_it_reads_on_hears_no_more() {
    let house = House::new(Things::default());
    let (slow, quick) = (Witness::stalled(), Witness::of(Temper::Sync));
    let on = house.bus.on(pattern("thing.said"), slow.clone());
    let _quick = house.bus.on(pattern("thing.said"), quick.clone());
    for n in 1..=MANY {
        emit(&house, "thing.said", "1", n).await;
    }
    quick.until(MANY as usize).await;
    // It stands in the middle of what it reads from the log.
    slow.go_on(1200);
    slow.until(1200).await;
    drop(on);
    slow.go_on(MANY as usize);
    house.stop().await;
    assert!(slow.numbers().len() <= 1201, "only what it was hearing already: {}", slow.numbers().len());
}

#[tokio::test]
async fn a_listener_that_cannot_read_on_ends_with_the_server() {
    let house = House::new(Things::default());
    let slow = Witness::stalled();
    let _on = house.bus.on(pattern("thing.said"), slow.clone());
    for n in 1..=MANY {
        emit(&house, "thing.said", "1", n).await;
    }
    house.log.close().await;
    slow.go_on(MANY as usize);
    house.stop().await;
    assert!(slow.numbers().len() < MANY as usize);
}

/// Says one more for each that it hears, up to a last one.
struct Echo {
    bus: OnceLock<Arc<Bus>>,
    last: u64,
}

impl Listener for Echo {
    fn name(&self) -> &str {
        "test.echo"
    }
    fn hear(&self, message: Arc<Message>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let n = number(&message) + 1;
            if n <= self.last {
                let bus = self.bus.get().expect("bound");
                bus.emit(event("thing.said", "1", n)).await?.await?;
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_listener_that_emits_cannot_deadlock_a_full_bus() {
    let config = MemoryConfig { queue: 1, ..MemoryConfig::default() };
    let house = House::with(Things::default(), config);
    let echo = Arc::new(Echo { bus: OnceLock::from(house.bus.clone()), last: 500 });
    let witness = Witness::of(Temper::Sync);
    let _on = house.bus.on(pattern("thing.said"), echo);
    let _witness = house.bus.on(pattern("thing.said"), witness.clone());
    let crowd = async {
        for n in 1..=200 {
            emit(&house, "thing.made", "1", n).await;
        }
    };
    emit(&house, "thing.said", "1", 1).await;
    tokio::time::timeout(PATIENCE, crowd).await.expect("others go on");
    assert_eq!(witness.until(500).await, (1..=500).collect::<Vec<_>>());
    house.stop().await;
}
