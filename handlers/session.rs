//! The domain `session`: programs that work, live.
//!
//! Guarantees: owns the namespace `session`; an event goes into the channel of the session that its data
//! names. Summaries for a project's board are made of the service's own events only: a producer from
//! outside cannot write to a board.
//! It is not where sessions run: that is `tidings_services::session`.

use std::sync::Arc;

use crate::project;
use serde::Deserialize;
use tidings_core::{
    Action, Channel, Error, Event, Payload, Result, UserId,
    command::{Caller, Command, Json, Method, Need},
    contract::EventRow,
    handler::{Handler, Retention, Route},
    projection::{Fold, Projection},
};
use tidings_services::{
    project::contract::{SESSION_SUMMARY, SUMMARIES, Summary},
    session::{
        Page, SessionId, SessionReducer, Sessions,
        answer::{Begun, ListedSession, ListedSessions, OfSession, Sent},
        answer_with,
        contract::{
            Board, CANCELLED, COMPLETED, Cancelled, Completed, ERROR, EVENTS, Failed, HEARTBEAT, Heartbeat, STARTED,
            STREAM_OUTPUT, Started, StreamOutput, agent,
        },
        input::{ListSessions, OneSession, ReadOutput, SendMessage, StartSession},
    },
};

const NAMESPACE: &str = "session";

/// The channel of a session.
#[must_use]
pub fn channel(id: &SessionId) -> Channel {
    Channel::of(NAMESPACE, id)
}

/// The handler of sessions.
#[derive(Debug)]
pub struct SessionHandler {
    sessions: Arc<Sessions>,
}

impl SessionHandler {
    /// A handler over the service.
    #[must_use]
    pub fn new(sessions: Arc<Sessions>) -> Self {
        Self { sessions }
    }
}

impl Handler for SessionHandler {
    fn domain(&self) -> &'static str {
        "session"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &[NAMESPACE]
    }

    fn channels(&self) -> Vec<String> {
        vec!["session:{sessionId}".to_owned()]
    }

    fn events(&self) -> Vec<EventRow> {
        [EVENTS, agent::EVENTS, SUMMARIES].concat()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        route(event)
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        id.parse().ok().map(|id: SessionId| channel(&id))
    }

    fn commands(&self) -> Vec<Command> {
        let mut rows = acting(&self.sessions);
        rows.extend(reading(&self.sessions));
        rows
    }

    fn projection(&self) -> Option<Arc<dyn Projection>> {
        Some(Fold::<SessionReducer>::projection())
    }

    fn retention(&self) -> Retention {
        Retention { messages: 0, bytes: 200_000_000, age_ms: 30 * 24 * 3_600_000 }
    }
}

fn route(event: &Event) -> Result<Route> {
    let payload = &event.payload;
    match event.event_type.as_str() {
        STARTED => {
            let data = payload.typed::<Started>()?;
            let project = data.project_id.as_ref().map(|id| id.as_str().into());
            let route = home(event, &data.session_id)?.opening(event.by.clone(), project);
            Ok(with_summary(route, data.board.as_ref()))
        }
        COMPLETED => {
            let data = payload.typed::<Completed>()?;
            home(event, &data.session_id).map(|route| with_summary(route, data.board.as_ref()))
        }
        ERROR => {
            let data = payload.typed::<Failed>()?;
            home(event, &data.session_id).map(|route| with_summary(route, data.board.as_ref()))
        }
        CANCELLED => {
            let data = payload.typed::<Cancelled>()?;
            home(event, &data.session_id).map(|route| with_summary(route, data.board.as_ref()))
        }
        // What is frequent or large is not looked into again.
        STREAM_OUTPUT => home(event, &payload.typed::<StreamOutput>()?.session_id),
        HEARTBEAT => home(event, &payload.typed::<Heartbeat>()?.session_id),
        agent::TEXT_DELTA | agent::THINKING_DELTA => home(event, &payload.typed::<agent::TextDelta>()?.session_id),
        agent::MESSAGE => home(event, &payload.typed::<agent::AgentMessage>()?.session_id),
        agent::TOOL_STARTED => home(event, &payload.typed::<agent::ToolStarted>()?.session_id),
        agent::TOOL_COMPLETED => home(event, &payload.typed::<agent::ToolCompleted>()?.session_id),
        _ => other(event),
    }
}

/// To the channel of a session, which the event's own must agree with.
fn home(event: &Event, id: &SessionId) -> Result<Route> {
    let home = channel(id);
    match &event.channel {
        Some(named) if *named != home => {
            Err(Error::invalid_field("channel", "is not the one that data.sessionId names"))
        }
        _ => Ok(Route::to(home)),
    }
}

/// By the session in the data, else, of a type that only its producer knows, by the channel.
fn other(event: &Event) -> Result<Route> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Carried {
        session_id: Option<SessionId>,
    }
    let is_object = event.payload.json().starts_with('{');
    let carried = if is_object { event.payload.typed::<Carried>()?.session_id.clone() } else { None };
    match (carried, &event.channel) {
        (Some(id), _) => home(event, &id),
        (None, Some(named)) if session_of(named).is_some() => Ok(Route::to(named.clone())),
        (None, Some(_)) => Err(Error::invalid_field("channel", "is session:{sessionId}")),
        (None, None) => Err(Error::invalid_field("data.sessionId", "names the session")),
    }
}

/// The session that a channel is of, if it is a whole `session:{sessionId}`.
fn session_of(named: &Channel) -> Option<SessionId> {
    named.as_str().strip_prefix(NAMESPACE)?.strip_prefix(':')?.parse().ok()
}

/// With a summary for the project's board, where the service gave something to show.
fn with_summary(route: Route, board: Option<&Board>) -> Route {
    let Some(board) = board else { return route };
    let summary = Summary {
        id: route.home.id().to_owned(),
        channel: route.home.clone(),
        status: board.status.as_str().to_owned(),
        title: Some(board.title.clone()),
        updated_at: board.at,
    };
    route.copy(project::channel(&board.project_id), SESSION_SUMMARY, Payload::of(summary))
}

/// A session runs in a project: that needs the right to command it, a free command line another.
fn needs_to_start(input: &StartSession) -> Need {
    let project = project::channel(&input.project_id);
    let command = Need::On(Action::Command, project.clone());
    if input.command.is_none() {
        return command;
    }
    Need::Both(Box::new(command), Box::new(Need::On(Action::Execute, project)))
}

/// The rows that change something.
fn acting(sessions: &Arc<Sessions>) -> Vec<Command> {
    let (start, send, cancel) = (sessions.clone(), sessions.clone(), sessions.clone());
    vec![
        Command::new(
            "session.start",
            (Method::Post, "/api/sessions"),
            "Starts an agent, or with the right to execute a free command line, in a project.",
            needs_to_start,
            move |caller: Caller, input: StartSession| {
                answer_with(start.clone().start(caller.principal.user, input), |id| {
                    Json(Begun { id: id.clone(), channel: channel(&id), session_id: id })
                })
            },
        )
        .with_status(201),
        Command::new(
            "session.send_message",
            (Method::Post, "/api/sessions/{sessionId}/messages"),
            "Passes a message to the program's standard input.",
            |input: &SendMessage| Need::On(Action::Command, channel(&input.session_id)),
            move |caller: Caller, input: SendMessage| {
                let session_id = input.session_id.clone();
                answer_with(send.clone().send_message(caller.principal.user, input), move |message_id| {
                    Json(Sent { session_id, message_id })
                })
            },
        )
        .with_status(202),
        Command::new(
            "session.cancel",
            (Method::Post, "/api/sessions/{sessionId}/cancel"),
            "Ends the program: TERM, and after a grace KILL. The session ends once it is gone.",
            |input: &OneSession| Need::On(Action::Command, channel(&input.session_id)),
            move |caller: Caller, input: OneSession| {
                let session_id = input.session_id.clone();
                answer_with(cancel.clone().cancel(caller.principal.user, input.session_id), move |()| {
                    Json(OfSession { session_id })
                })
            },
        )
        .with_status(202),
    ]
}

/// The rows that read.
fn reading(sessions: &Arc<Sessions>) -> Vec<Command> {
    let (list, get, output) = (sessions.clone(), sessions.clone(), sessions.clone());
    vec![
        Command::new(
            "session.list",
            (Method::Get, "/api/sessions"),
            "Lists the sessions that the caller may see, newest first.",
            |_: &ListSessions| Need::Login,
            move |caller: Caller, input: ListSessions| {
                let visible = move |id: &SessionId, owner: Option<&UserId>, project: Option<&str>| {
                    caller.visibility.allows(&caller.principal, Action::Subscribe, &channel(id), owner, project)
                };
                answer_with(list.clone().list(input, visible), listed)
            },
        ),
        Command::new(
            "session.get",
            (Method::Get, "/api/sessions/{sessionId}"),
            "The state of a session, as its channel's snapshot has it.",
            |input: &OneSession| Need::On(Action::Subscribe, channel(&input.session_id)),
            move |_: Caller, input: OneSession| get.clone().get(input.session_id),
        ),
        Command::new(
            "session.output",
            (Method::Get, "/api/sessions/{sessionId}/output"),
            "What the program printed, as plain text: the newest 8 MiB that are kept.",
            |input: &ReadOutput| Need::On(Action::Subscribe, channel(&input.session_id)),
            move |_: Caller, input: ReadOutput| output.clone().output(input),
        ),
    ]
}

fn listed(page: Page) -> Json<ListedSessions> {
    let sessions = page.sessions.into_iter().map(|brief| ListedSession { channel: channel(&brief.id), brief });
    Json(ListedSessions { sessions: sessions.collect(), cursor: page.cursor })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_core::{Code, Timestamp};
    use tidings_services::{
        redaction::{Redaction, RedactionConfig},
        session::{SessionConfig, SessionPorts, Status, contract::USER_MESSAGE},
    };
    use tidings_testkit::Nowhere;

    use super::*;

    fn handler() -> SessionHandler {
        let dir = tempfile::tempdir().expect("a directory");
        let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
        let nowhere = Arc::new(Nowhere);
        let (bus, states) = (nowhere.clone(), nowhere.clone());
        let ports = SessionPorts { bus, states, clock: nowhere.clone(), tasks: nowhere };
        let config = SessionConfig::new(dir.path().to_path_buf(), redaction);
        SessionHandler::new(Sessions::new(ports, config).expect("a service"))
    }

    #[test]
    fn each_command_asks_for_what_it_needs_and_refuses_what_is_not_valid() {
        let on = |action, channel: &str| Need::On(action, channel.parse().expect("a channel"));
        let project = on(Action::Command, "project:p1");
        let execute = Need::Both(Box::new(project.clone()), Box::new(on(Action::Execute, "project:p1")));
        let (read, act) = (on(Action::Subscribe, "session:s1"), on(Action::Command, "session:s1"));
        let table = [
            ("session.start", json!({"projectId": "p1", "agent": "a", "prompt": "x"}), Ok(project)),
            ("session.start", json!({"projectId": "p1", "command": ["a"]}), Ok(execute.clone())),
            ("session.start", json!({"projectId": "p1", "command": ["a"], "agent": "a"}), Ok(execute)),
            ("session.start", json!({"projectId": "p1:2", "agent": "a"}), Err(Code::InvalidData)),
            ("session.start", json!({"projectId": "p1", "command": []}), Err(Code::InvalidData)),
            ("session.start", json!({"projectId": "p1", "agent": "a", "promt": "x"}), Err(Code::InvalidData)),
            ("session.list", json!({"status": "running", "limit": 5}), Ok(Need::Login)),
            ("session.list", json!({"status": "odd"}), Err(Code::InvalidData)),
            ("session.list", json!({"limit": 201}), Err(Code::InvalidData)),
            ("session.get", json!({"sessionId": "s1"}), Ok(read.clone())),
            ("session.output", json!({"sessionId": "s1", "type": "stderr"}), Ok(read)),
            ("session.output", json!({"sessionId": "s1", "type": "stdin"}), Err(Code::InvalidData)),
            ("session.send_message", json!({"sessionId": "s1", "content": "x"}), Ok(act.clone())),
            ("session.send_message", json!({"sessionId": "s1", "content": ""}), Err(Code::InvalidData)),
            ("session.cancel", json!({"sessionId": "s1"}), Ok(act)),
            ("session.cancel", json!({}), Err(Code::InvalidData)),
        ];
        let rows = handler().commands();
        for (name, input, expected) in table {
            let row = rows.iter().find(|row| row.name == name).expect("a row");
            let need = row.parse_json(&input.to_string()).and_then(|input| row.needs(&input));
            assert_eq!(need.map_err(|error| error.code()), expected, "{name} {input}");
        }
    }

    #[test]
    fn the_input_of_a_list_comes_from_a_query_as_well() {
        let rows = handler().commands();
        let row = rows.iter().find(|row| row.name == "session.list").expect("a row");
        let pairs = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            row.parse_pairs(&pairs).map(drop).map_err(|error| error.code())
        };
        assert_eq!(pairs(&[("projectId", "p1"), ("status", "completed"), ("limit", "5"), ("cursor", "s9")]), Ok(()));
        assert_eq!(pairs(&[]), Ok(()));
        assert_eq!(pairs(&[("limit", "many")]), Err(Code::InvalidData));
    }

    fn from_outside(event_type: &str, data: &Value, channel: Option<&str>) -> Event {
        Event {
            event_type: event_type.parse().expect("an event type"),
            payload: Payload::raw(&serde_json::value::to_raw_value(data).expect("serialises")),
            channel: channel.map(|channel| channel.parse().expect("a channel")),
            by: Some("u1".parse().expect("an id")),
            id: None,
        }
    }

    fn board(status: Status) -> Option<Board> {
        let project_id = "p1".parse().expect("an id");
        Some(Board { project_id, status, title: "one".to_owned(), at: Timestamp(5) })
    }

    /// An end or a start of the service, with what its board is to show.
    fn with<T: serde::de::DeserializeOwned>(put: impl FnOnce(&mut T)) -> T {
        let mut data = serde_json::from_value(json!({"sessionId": "s1", "projectId": "p1"})).expect("parses");
        put(&mut data);
        data
    }

    #[test]
    fn every_type_goes_to_the_channel_of_its_session() {
        let table = [
            (STARTED, json!({"sessionId": "s1"})),
            (STREAM_OUTPUT, json!({"sessionId": "s1", "content": "x"})),
            (STREAM_OUTPUT, json!({"sessionId": "s1", "content": "x", "type": "stderr", "more": 1})),
            (USER_MESSAGE, json!({"sessionId": "s1", "messageId": "m"})),
            (HEARTBEAT, json!({"sessionId": "s1", "phase": "running", "elapsedMs": 1, "silentMs": 0})),
            (COMPLETED, json!({"sessionId": "s1"})),
            (COMPLETED, json!({"sessionId": "s1", "exitCode": 3})),
            (ERROR, json!({"sessionId": "s1", "message": "no"})),
            (CANCELLED, json!({"sessionId": "s1"})),
            ("session.note", json!({"sessionId": "s1", "name": "grep"})),
        ];
        for (event_type, data) in table {
            for named in [None, Some("session:s1")] {
                let route = route(&from_outside(event_type, &data, named)).expect(event_type);
                assert_eq!(route.home.as_str(), "session:s1", "{event_type}");
                assert!(route.copies.is_empty(), "{event_type}");
                assert_eq!(route.opens.is_some(), event_type == STARTED);
            }
            let elsewhere = route(&from_outside(event_type, &data, Some("session:s2"))).expect_err(event_type);
            assert_eq!(elsewhere.code(), Code::InvalidData, "{event_type}");
        }
    }

    #[test]
    fn the_example_of_every_row_goes_to_the_channel_of_its_session() {
        for row in handler().events().iter().filter(|row| row.event_type != SESSION_SUMMARY) {
            let mut event = row.sample().expect(row.event_type);
            row.data.read(&mut event.payload).expect(row.event_type);
            assert_eq!(route(&event).expect(row.event_type).home.as_str(), "session:s1");
        }
    }

    #[test]
    fn data_without_a_session_is_refused() {
        for data in [json!({"sessionId": "a b"}), json!({"name": "grep"}), json!(5)] {
            let error = route(&from_outside("session.note", &data, None)).expect_err("refused");
            assert_eq!(error.code(), Code::InvalidData, "{data}");
        }
    }

    #[test]
    fn a_type_of_the_producers_own_without_an_id_goes_where_its_channel_says() {
        let at = |channel| route(&from_outside("session.note", &json!({"x": 1}), Some(channel)));
        assert_eq!(at("session:s1").expect("routes").home.as_str(), "session:s1");
        assert_eq!(at("project:p1").expect_err("refused").code(), Code::InvalidData);
        assert_eq!(at("session:s1:more").expect_err("refused").code(), Code::InvalidData);
        let number = from_outside("session.note", &json!(5), Some("session:s1"));
        assert_eq!(route(&number).expect("routes").home.as_str(), "session:s1");
    }

    #[test]
    fn a_start_opens_the_channel_for_its_user_and_project() {
        let event = from_outside(STARTED, &json!({"sessionId": "s1", "projectId": "p1"}), None);
        let opens = route(&event).expect("routes").opens.map(|opens| (opens.owner, opens.project));
        assert_eq!(opens, Some((event.by, Some("p1".into()))));
    }

    #[test]
    fn the_services_starts_and_ends_make_a_summary_on_the_board() {
        let started = |status| with::<Started>(|data| data.board = status);
        let completed = with::<Completed>(|data| data.board = board(Status::Completed));
        let failed = with::<Failed>(|data| data.board = board(Status::Error));
        let cancelled = with::<Cancelled>(|data| data.board = board(Status::Cancelled));
        let table = [
            (Event::new(STARTED, started(board(Status::Running))), "running"),
            (Event::new(COMPLETED, completed), "completed"),
            (Event::new(ERROR, failed), "error"),
            (Event::new(CANCELLED, cancelled), "cancelled"),
        ];
        for (event, status) in table {
            assert!(!event.payload.json().contains("board"));
            let route = route(&event).expect("routes");
            let [copy] = &route.copies[..] else { panic!("one copy for {status}") };
            assert_eq!((copy.channel.as_str(), copy.event_type), ("project:p1", SESSION_SUMMARY));
            let expected = json!({"id": "s1", "channel": "session:s1", "status": status, "title": "one", "updatedAt": "1970-01-01T00:00:00.005Z"});
            assert_eq!(serde_json::from_str::<Value>(copy.payload.json()).expect("JSON"), expected);
        }
        assert!(route(&Event::new(STARTED, started(None))).expect("routes").copies.is_empty());
    }
}
