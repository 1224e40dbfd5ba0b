//! Emitters: receipts, room, refusals and the debug mode.

use std::{
    io::{self, Write},
    sync::Arc,
};

use futures_util::FutureExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use parking_lot::Mutex;
use tidings_core::{
    Code, Event,
    bus::EventBus,
    log::{EventLog, LogStatus},
};
use tidings_testkit::MemoryConfig;

use crate::house::{House, Things, event, number};

fn small() -> House {
    House::with(Things::default(), MemoryConfig { queue: 1, ..MemoryConfig::default() })
}

#[tokio::test]
async fn a_receipt_tells_the_position_and_an_ephemeral_event_has_none() {
    let house = House::new(Things::default());
    for seq in 1..=3 {
        let receipt = house.bus.emit(event("thing.said", "1", seq)).await.expect("room");
        let position = receipt.position().await.expect("durable").expect("a position");
        assert_eq!((position.seq, position.epoch), (seq, house.log.epoch()));
    }
    let ephemeral = house.bus.emit(event("thing.ticked", "1", 4)).await.expect("room");
    assert_eq!(ephemeral.position().await.expect("passed on"), None);
    house.stop().await;
}

#[tokio::test]
async fn emitting_with_nobody_listening_is_no_error() {
    let house = House::new(Things::default());
    let placed = house.bus.emit(event("thing.said", "1", 1)).await.expect("room").await.expect("durable");
    assert_eq!(placed[0].channel.as_str(), "thing:1");
    house.stop().await;
}

#[tokio::test]
async fn a_dropped_receipt_cancels_nothing() {
    let house = House::new(Things::default());
    drop(house.bus.emit(event("thing.said", "1", 1)).await.expect("room"));
    assert_eq!(house.messages("thing:1").await.len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_copy_has_a_number_of_its_own_and_the_receipt_names_the_home() {
    let house = House::new(Things::default());
    let receipt = house.bus.emit(event("thing.shown", "1", 7)).await.expect("room");
    let placed = receipt.await.expect("durable");
    assert_eq!(placed.iter().map(|placed| placed.channel.as_str()).collect::<Vec<_>>(), ["thing:1"]);
    let copies = house.messages("board:all").await;
    assert_eq!((copies[0].seq, copies[0].event_type.as_str(), number(&copies[0])), (Some(1), "thing.said", 7));
    house.stop().await;
}

#[tokio::test]
async fn an_event_that_nobody_routes_fails_its_receipt_is_counted_and_others_go_on() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counts = metrics::set_default_local_recorder(&recorder);
    let house = House::new(Things::default());
    let nobody = Event::new("nobody.spoke", serde_json::json!({"id": "1"}));
    let no_id = Event::new("thing.said", serde_json::json!({"n": 1}));
    let table =
        [(nobody, Code::InvalidEvent), (event("thing.lost", "1", 1), Code::InvalidChannel), (no_id, Code::InvalidData)];
    for (event, code) in table {
        let receipt = house.bus.emit(event).await.expect("there is room");
        assert_eq!(receipt.await.expect_err("nobody routes it").code(), code);
    }
    let fine = house.bus.emit(event("thing.said", "1", 2)).await.expect("room");
    assert_eq!(fine.position().await.expect("durable").expect("a position").seq, 1);
    house.stop().await;
    let counted = recorder.handle().render();
    for code in ["invalid_event", "invalid_channel", "invalid_data"] {
        assert!(counted.contains(&format!("tidings_bus_refused_total{{code=\"{code}\"}} 1")), "{counted}");
    }
}

#[tokio::test]
async fn several_events_of_one_send_are_all_or_nothing() {
    let house = House::new(Things::default());
    let slot = house.bus.reserve().await.expect("room");
    let mixed = vec![event("thing.said", "1", 1), event("thing.lost", "1", 2)];
    assert_eq!(slot.send_all(mixed).await.expect_err("one is bad").code(), Code::InvalidChannel);
    let several = || vec![event("thing.said", "1", 1), event("thing.shown", "2", 2), event("thing.said", "1", 3)];
    house.log.fail_next(1);
    let slot = house.bus.reserve().await.expect("room");
    assert_eq!(slot.send_all(several()).await.expect_err("the log fails").code(), Code::Unavailable);
    assert_eq!(house.messages("thing:1").await.len() + house.messages("board:all").await.len(), 0);
    let slot = house.bus.reserve().await.expect("room");
    let placed = slot.send_all(several()).await.expect("durable");
    let seqs: Vec<_> = placed.iter().map(|placed| placed.position.as_ref().expect("durable").seq).collect();
    assert_eq!(seqs, [1, 1, 2], "one position for each event, copies not counted");
    house.stop().await;
}

#[tokio::test]
async fn a_full_bus_is_overloaded_or_waits_and_has_room_again_after_a_send() {
    let house = small();
    let slot = house.bus.try_reserve().expect("room");
    assert_eq!(house.bus.try_reserve().expect_err("full").code(), Code::Overloaded);
    let mut waiting = house.bus.reserve();
    assert!((&mut waiting).now_or_never().is_none(), "whoever may wait, waits");
    drop(slot);
    let slot = waiting.await.expect("room again");
    slot.send(event("thing.said", "1", 1)).await.expect("durable");
    assert!(house.bus.try_reserve().is_ok());
    house.stop().await;
}

#[tokio::test]
async fn a_bus_whose_log_is_closed_has_no_room() {
    let house = House::new(Things::default());
    house.log.close().await;
    let LogStatus { healthy, .. } = house.log.status();
    assert!(!healthy);
    assert_eq!(house.bus.reserve().await.expect_err("closed").code(), Code::Unavailable);
    assert_eq!(house.bus.try_reserve().expect_err("closed").code(), Code::Unavailable);
    house.stop().await;
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn logged(house: House) -> String {
    let lines = Lines::default();
    let to = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone()).finish();
    let _logs = tracing::subscriber::set_default(subscriber);
    house.bus.emit(event("thing.said", "1", 424_242)).await.expect("room").await.expect("durable");
    house.stop().await;
    String::from_utf8(lines.0.lock().clone()).expect("text")
}

#[tokio::test]
async fn debug_mode_logs_every_event_with_type_and_channel_and_without_its_data() {
    let text = logged(House::debugging(Things::default())).await;
    assert!(text.contains("thing.said") && text.contains("thing:1"), "{text}");
    assert!(!text.contains("424242"), "{text}");
    let text = logged(House::new(Things::default())).await;
    assert!(!text.contains("thing.said"), "only in debug mode: {text}");
}
