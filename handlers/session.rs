//! The domain `session`: programs that work, live.
//!
//! Guarantees: owns the namespace `session`; an event goes into the channel of the session that its data
//! names. Summaries for a project's board are made of the service's own events only: a producer from
//! outside cannot write to a board.
//! It is not where sessions run: that is `tidings_services::session`.

use std::sync::Arc;

use crate::{Made, project, user::with_attention};
use serde::Deserialize;
use tidings_core::{
    Action, Channel, Error, Event, Result, UserId,
    command::{Caller, Command, Json, Method, Need, answer_with},
    contract::EventRow,
    handler::{Handler, Hosted, Retention, Route},
    projection::{Fold, Projection},
};
use tidings_services::{
    project::{
        ProjectId,
        contract::{SESSION_SUMMARY, SUMMARIES},
    },
    session::{
        Page, SessionId, SessionReducer, Sessions, Starter,
        answer::{Begun, ListedSession, ListedSessions, OfSession},
        contract::{
            Board, CANCELLED, COMPLETED, Cancelled, Completed, ERROR, EVENTS, Failed, HEARTBEAT, Heartbeat, STARTED,
            STREAM_OUTPUT, Started, StreamOutput,
            agent::{self, PermissionRequested, PermissionResolved},
            question::{self, QuestionRequested, QuestionResolved},
        },
        input::{
            AnswerQuestion, CancelMessage, ListSessions, OneSession, ReadOutput, ResolvePermission, SendMessage,
            StartSession,
        },
    },
    user::contract::{
        ATTENTION_REQUESTED, ATTENTION_RESOLVED,
        AttentionKind::{Permission, Question},
    },
};

const NAMESPACE: &str = "session";

/// The channel of a session.
#[must_use]
pub fn channel(id: &SessionId) -> Channel {
    Channel::of(NAMESPACE, id)
}

/// What a producer outside may say also of a session that this server runs, such as a hook of its agent: what the
/// agent does. Not how the session goes, what it printed, what it was told, what people decided, and how it ended.
const FROM_PRODUCERS: [&str; 11] = [
    agent::AGENT_STARTED,
    agent::TEXT_DELTA,
    agent::THINKING_DELTA,
    agent::MESSAGE,
    agent::TOOL_STARTED,
    agent::TOOL_COMPLETED,
    agent::SUBAGENT_STARTED,
    agent::SUBAGENT_COMPLETED,
    agent::PROGRESS,
    agent::USAGE,
    agent::RAW,
];

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
        [EVENTS, agent::EVENTS, question::EVENTS, SUMMARIES].concat()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        route(event)
    }

    fn admit(&self, event: &Event) -> Result<()> {
        if event.event_type.as_str() == STARTED && event.payload.typed::<Started>()?.hosted {
            return Err(project::only_the_server_hosts());
        }
        Ok(())
    }

    fn hosted(&self, event: &Event, home: &Channel) -> Hosted {
        let event_type = event.event_type.as_str();
        match session_of(home) {
            _ if FROM_PRODUCERS.contains(&event_type) => Hosted::No,
            None => Hosted::No,
            Some(id) if self.sessions.runs(&id) => Hosted::Yes,
            // It is frequent, and of what has ended it changes nothing.
            Some(_) if event_type == STREAM_OUTPUT => Hosted::No,
            Some(id) => Hosted::Ask(Box::pin(self.sessions.clone().hosts(id))),
        }
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        id.parse().ok().map(|id: SessionId| channel(&id))
    }

    fn commands(&self) -> Vec<Command> {
        let mut rows = acting(&self.sessions);
        rows.extend(asking(&self.sessions));
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
        agent::PERMISSION_REQUESTED => {
            let data = payload.typed::<PermissionRequested>()?;
            let route = home(event, &data.session_id)?;
            Ok(with_attention(route, ATTENTION_REQUESTED, data.attention.as_ref(), (Permission, &data.request_id)))
        }
        agent::PERMISSION_RESOLVED => {
            let data = payload.typed::<PermissionResolved>()?;
            let route = home(event, &data.session_id)?;
            Ok(with_attention(route, ATTENTION_RESOLVED, data.attention.as_ref(), (Permission, &data.request_id)))
        }
        question::QUESTION_REQUESTED => {
            let data = payload.typed::<QuestionRequested>()?;
            let route = home(event, &data.session_id)?;
            Ok(with_attention(route, ATTENTION_REQUESTED, data.attention.as_ref(), (Question, &data.request_id)))
        }
        question::QUESTION_RESOLVED => {
            let data = payload.typed::<QuestionResolved>()?;
            let route = home(event, &data.session_id)?;
            Ok(with_attention(route, ATTENTION_RESOLVED, data.attention.as_ref(), (Question, &data.request_id)))
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
    Route::named_by("data.sessionId", event, channel(id))
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
    project::with_summary(route, SESSION_SUMMARY, board)
}

/// A session runs in a project: that needs the right to command it, a free command line another, and so does
/// a terminal: whoever types into one runs what they like.
fn needs_to_start(input: &StartSession) -> Need {
    let project = project::channel(&input.project_id);
    let both = |one, other| Need::Both(Box::new(one), Box::new(other));
    let mut need = Need::On(Action::Command, project.clone());
    if input.command.is_some() || input.pty {
        need = both(need, Need::On(Action::Execute, project));
    }
    match &input.resume {
        Some(earlier) => both(need, Need::On(Action::Command, channel(earlier))),
        None => need,
    }
}

/// Who starts a session in a project.
fn starter(caller: Caller, project_id: &ProjectId) -> Starter {
    let Caller { principal, visibility } = caller;
    let membership = visibility.membership(&principal, project_id.as_str());
    Starter { user: principal.user, roles: principal.roles, membership }
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
                let who = starter(caller, &input.project_id);
                answer_with(start.clone().start(who, input), |id| {
                    Json(Begun { id: id.clone(), channel: channel(&id), session_id: id })
                })
            },
        )
        .with_status(201),
        Command::new(
            "session.send_message",
            (Method::Post, "/api/sessions/{sessionId}/messages"),
            "Passes a message to the program; to a busy agent when it is free.",
            |input: &SendMessage| Need::On(Action::Command, channel(&input.session_id)),
            move |caller: Caller, input: SendMessage| {
                let channel = channel(&input.session_id);
                answer_with(send.clone().send_message(caller.principal.user, input), |sent| {
                    Made::answer(sent.message_id.clone(), channel, sent)
                })
            },
        )
        .with_status(202),
        Command::new(
            "session.cancel",
            (Method::Post, "/api/sessions/{sessionId}/cancel"),
            "Ends the program: TERM (HUP in a terminal), and after a grace KILL. The session ends once it is gone.",
            |input: &OneSession| Need::On(Action::Command, channel(&input.session_id)),
            move |caller: Caller, input: OneSession| {
                let id = input.session_id;
                answer_with(cancel.clone().cancel(caller.principal.user, id.clone()), named(id))
            },
        )
        .with_status(202),
    ]
}

/// The rows that an agent is asked by.
fn asking(sessions: &Arc<Sessions>) -> Vec<Command> {
    let (take_back, resolve, reply, interrupt) =
        (sessions.clone(), sessions.clone(), sessions.clone(), sessions.clone());
    vec![
        Command::new(
            "session.cancel_message",
            (Method::Delete, "/api/sessions/{sessionId}/messages/{messageId}"),
            "Takes a message back that waits for a busy agent.",
            |input: &CancelMessage| Need::On(Action::Command, channel(&input.session_id)),
            move |caller: Caller, input: CancelMessage| {
                let session_id = input.session_id.clone();
                answer_with(take_back.clone().cancel_message(caller.principal.user, input), named(session_id))
            },
        ),
        Command::new(
            "session.resolve_permission",
            (Method::Post, "/api/sessions/{sessionId}/permissions/{requestId}"),
            "Answers a permission request of the agent. The first answer counts.",
            |input: &ResolvePermission| Need::On(Action::Command, channel(&input.session_id)),
            move |caller: Caller, input: ResolvePermission| {
                let session_id = input.session_id.clone();
                answer_with(resolve.clone().resolve_permission(caller.principal.user, input), named(session_id))
            },
        ),
        Command::new(
            "session.answer_question",
            (Method::Post, "/api/sessions/{sessionId}/questions/{requestId}"),
            "Answers questions of the agent, or declines to. The first answer counts.",
            |input: &AnswerQuestion| Need::On(Action::Command, channel(&input.session_id)),
            move |caller: Caller, input: AnswerQuestion| {
                let session_id = input.session_id.clone();
                answer_with(reply.clone().answer_question(caller.principal.user, input), named(session_id))
            },
        ),
        Command::new(
            "session.interrupt",
            (Method::Post, "/api/sessions/{sessionId}/interrupt"),
            "Stops the turn of the agent, which stays.",
            |input: &OneSession| Need::On(Action::Command, channel(&input.session_id)),
            move |caller: Caller, input: OneSession| {
                let id = input.session_id;
                answer_with(interrupt.clone().interrupt(caller.principal.user, id.clone()), named(id))
            },
        )
        .with_status(202),
        pausing(sessions, "session.pause", "/api/sessions/{sessionId}/pause", true),
        pausing(sessions, "session.resume", "/api/sessions/{sessionId}/resume", false),
    ]
}

fn pausing(sessions: &Arc<Sessions>, name: &'static str, path: &'static str, pause: bool) -> Command {
    let sessions = sessions.clone();
    let doc = if pause {
        "Makes all processes of the program stand still; time goes on."
    } else {
        "Lets the processes of the program go on."
    };
    Command::new(
        name,
        (Method::Post, path),
        doc,
        |input: &OneSession| Need::On(Action::Command, channel(&input.session_id)),
        move |caller: Caller, input: OneSession| {
            let id = input.session_id;
            answer_with(sessions.clone().pause(caller.principal.user, id.clone(), pause), named(id))
        },
    )
}

/// The answer that names the session only.
fn named(session_id: SessionId) -> impl FnOnce(()) -> Json<OfSession> {
    move |()| Json(OfSession { session_id })
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
    let sessions = page.items.into_iter().map(|brief| ListedSession { channel: channel(&brief.id), brief });
    Json(ListedSessions { sessions: sessions.collect(), cursor: page.cursor })
}

#[cfg(test)]
#[path = "cases/session.rs"]
mod tests;
