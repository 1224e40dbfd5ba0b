//! The projection: saved anywhere and folded on, it is the same; it stays small.

use proptest::prelude::*;
use tidings_core::{
    Event, Message, Timestamp,
    projection::{Fold, Folded},
};

use crate::session::{
    SessionId, SessionReducer, SessionState, Status,
    contract::{
        CANCELLED, COMPLETED, Cancelled, Completed, ERROR, Failed, HEARTBEAT, STARTED, STREAM_OUTPUT, Started, Stream,
        StreamOutput, USER_MESSAGE, UserMessage,
    },
    state::{TRANSCRIPT_BYTES, TRANSCRIPT_CHUNKS, USER_MESSAGES},
};

fn id() -> SessionId {
    "s1".parse().expect("an id")
}

fn output(content: String, stream: Stream) -> Event {
    Event::new(STREAM_OUTPUT, StreamOutput { session_id: id(), r#type: stream, content, offset: None })
}

fn started(hosted: bool) -> Event {
    let project_id = Some("p1".parse().expect("an id"));
    let data = Started {
        session_id: id(),
        project_id,
        title: Some("one".to_owned()),
        agent: None,
        command: None,
        prompt: None,
        worktree: None,
        hosted,
        request: None,
        board: None,
    };
    Event::new(STARTED, data)
}

fn completed(exit_code: i32) -> Event {
    Event::new(COMPLETED, Completed { session_id: id(), exit_code: Some(exit_code), board: None })
}

fn failed() -> Event {
    let (code, message) = ("x".to_owned(), "y".to_owned());
    Event::new(ERROR, Failed { session_id: id(), code, message, exit_code: None, signal: Some(9), board: None })
}

fn said(content: String) -> Event {
    let data = UserMessage { session_id: id(), message_id: None, client_message_id: Some("k".to_owned()), content };
    Event::new(USER_MESSAGE, data)
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => ("\\PC{0,40}", 1usize..600).prop_map(|(text, times)| output(text.repeat(times), Stream::Stdout)),
        2 => "\\PC{0,40}".prop_map(|text| output(text, Stream::Stderr)),
        2 => "\\PC{0,40}".prop_map(said),
        1 => any::<bool>().prop_map(started),
        1 => (0..5).prop_map(completed),
        1 => Just(failed()),
        1 => Just(Event::new(CANCELLED, Cancelled { session_id: id(), board: None })),
        1 => Just(Event::new("session.note", serde_json::json!({"sessionId": "s1"}))),
        1 => Just(Event::new(STREAM_OUTPUT, serde_json::json!({"odd": 1}))),
    ]
}

fn message(seq: usize, event: Event) -> Message {
    let channel = "session:s1".parse().expect("a channel");
    Message::new(channel, Some(seq as u64), Timestamp(seq as i64), event)
}

fn state(folded: &dyn Folded) -> SessionState {
    folded.as_any().downcast_ref::<SessionState>().expect("its state").clone()
}

fn folded(events: Vec<Event>) -> SessionState {
    let mut whole = Fold::<SessionReducer>::projection().start();
    for (index, event) in events.into_iter().enumerate() {
        whole.apply(&message(index + 1, event));
    }
    state(&*whole)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_saved_state_and_the_rest_is_the_same_as_folding_everything(
        events in proptest::collection::vec(any_event(), 0..30), cut in 0usize..30,
    ) {
        let projection = Fold::<SessionReducer>::projection();
        let mut resumed = projection.start();
        for (index, event) in events.iter().cloned().enumerate() {
            if index == cut {
                resumed = projection.restore(&resumed.save()).expect("restores");
            }
            resumed.apply(&message(index + 1, event));
        }
        prop_assert_eq!(state(&*resumed), folded(events));
    }

    #[test]
    fn a_state_is_bounded_and_the_first_end_counts(events in proptest::collection::vec(any_event(), 0..60)) {
        // What was told of a session before this server started it was not of it.
        let start = events.iter().position(|event| event.event_type.as_str() == STARTED);
        let counts = start.filter(|&at| events[at].payload.typed::<Started>().expect("typed").hosted).unwrap_or(0);
        let first_end = events[counts..].iter().find_map(|event| match event.event_type.as_str() {
            COMPLETED => Some(Status::Completed),
            ERROR => Some(Status::Error),
            CANCELLED => Some(Status::Cancelled),
            _ => None,
        });
        let count = events.len() as u64;
        let state = folded(events);
        prop_assert_eq!(first_end, Some(state.status).filter(|status| !status.is_open()));
        prop_assert_eq!(state.counts.messages, count);
        prop_assert!(state.transcript.len() <= TRANSCRIPT_CHUNKS && state.user_messages.len() <= USER_MESSAGES);
        let bytes: usize = state.transcript.iter().map(|chunk| chunk.content.len()).sum();
        prop_assert!(bytes <= state.counts.kept as usize);
        prop_assert!(state.counts.kept <= TRANSCRIPT_BYTES as u64 || state.transcript.len() == 1);
    }
}

#[test]
fn an_open_session_of_this_server_is_abandoned_with_an_end_and_no_other() {
    let abandoned = |events: Vec<Event>| {
        let mut state = Fold::<SessionReducer>::projection().start();
        for (index, event) in events.into_iter().enumerate() {
            state.apply(&message(index + 1, event));
        }
        state.abandoned()
    };
    let [end] = &abandoned(vec![started(true)])[..] else { panic!("one end") };
    let data = end.payload.typed::<Failed>().expect("its type");
    assert_eq!((end.event_type.as_str(), data.code.as_str()), (ERROR, "server_stopped"));
    assert_eq!(data.board.as_ref().map(|board| board.title.as_str()), Some("one"));
    assert!(abandoned(vec![started(false)]).is_empty());
    assert!(abandoned(vec![started(true), completed(0)]).is_empty());
    assert!(abandoned(Vec::new()).is_empty());
}

#[test]
fn the_largest_state_is_smaller_than_the_largest_message() {
    let worst = |bytes: usize| "\u{1}".repeat(bytes);
    let mut events = vec![Event::new(
        STARTED,
        serde_json::json!({
            "sessionId": "s1", "title": worst(200), "prompt": worst(200_000), "command": [worst(200_000)],
        }),
    )];
    events.extend((0..20).map(|_| output(worst(200_000), Stream::Stdout)));
    events.extend((0..20).map(|_| said(worst(200_000))));
    let json = serde_json::to_string(&folded(events)).expect("serialises");
    assert!(json.len() < 250 * 1024, "{} bytes", json.len());
}

#[test]
fn ephemeral_messages_change_nothing() {
    let mut state = Fold::<SessionReducer>::projection().start();
    state.apply(&message(1, started(true)));
    let before = state.save();
    let beat = Event::new(HEARTBEAT, serde_json::json!({"sessionId": "s1"}));
    state.apply(&Message::new("session:s1".parse().expect("a channel"), None, Timestamp(9), beat));
    assert_eq!(state.save(), before);
}
