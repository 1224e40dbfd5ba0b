//! Publications from outside, through the gate and the handlers into a log: each is refused and changes nothing, or
//! stands in the log byte for byte.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tidings_core::{Payload, Principal, handler::Handler, log::EventLog, principal::Role};
use tidings_engine::{
    bus::Bus,
    gate::{Gate, GateParts, HistoryQuery, NewEvent},
    registry::Registry,
    seats::SeatsConfig,
};
use tidings_handlers::{project::ProjectHandler, session::SessionHandler, user::UserHandler};
use tidings_testkit::{MemoryLog, TestClock, TestTasks};

#[path = "../house.rs"]
mod house;

fn gate() -> Arc<Gate> {
    let (clock, tasks) = (TestClock::new(), TestTasks::new());
    let log: Arc<dyn EventLog> = MemoryLog::new(clock.clone());
    let handlers: Vec<Arc<dyn Handler>> = vec![
        Arc::new(ProjectHandler::new(house::projects())),
        Arc::new(SessionHandler::new(house::sessions())),
        Arc::new(UserHandler),
    ];
    let registry = Arc::new(Registry::new(handlers).expect("one owner each"));
    let bus = Arc::new(Bus::new(registry.clone(), log.clone(), tasks.clone(), false));
    let memberships = Arc::new(house::NoMembers);
    Gate::new(GateParts {
        registry,
        bus,
        log,
        memberships,
        tasks,
        clock,
        max_message_bytes: 4096,
        commands: SeatsConfig::default(),
    })
}

/// Three lines: the type, the channel (empty for none), the data.
fn event(text: &str) -> Option<NewEvent> {
    let mut lines = text.splitn(3, '\n');
    let event_type = lines.next()?.parse().ok()?;
    let channel = match lines.next()? {
        "" => None,
        name => Some(name.parse().ok()?),
    };
    let data = Payload::raw(serde_json::from_str::<&RawValue>(lines.next()?).ok()?);
    Some(NewEvent { event_type, channel, id: None, data })
}

fuzz_target!(|text: &str| {
    let Some(event) = event(text) else { return };
    let (event_type, data) = (event.event_type.clone(), event.data.json().to_owned());
    let admin = Principal::new("a".parse().expect("an id"), vec![Role::Admin], vec![]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let gate = gate();
        let placed = match gate.publish(&admin, vec![event]).await {
            Ok(placed) => placed,
            Err(error) => {
                assert!(!error.retryable(), "{error}");
                let listed = gate.log().list(tidings_core::log::ListChannels { limit: 1, ..Default::default() }).await;
                return assert!(listed.expect("reads").is_empty(), "refused, and has an effect");
            }
        };
        assert_eq!(placed.len(), 1);
        let Some(position) = &placed[0].position else { return };
        let query = HistoryQuery { limit: 1, ..HistoryQuery::default() };
        let history = gate.history(&admin, &placed[0].channel, query).await.expect("a page");
        let message = &history.events[0];
        assert_eq!((position.seq, message.seq), (1, Some(1)));
        assert_eq!((&message.event_type, message.payload.json()), (&event_type, data.as_str()));
        assert_eq!(message.by, Some(admin.user.clone()), "the author is who asked");
    });
});
