//! Adapters: each turns what one kind of agent prints into the events of a session, and what people
//! say to it into lines that it reads.
//!
//! Guarantees: an adapter is pure: no clock, no process, no task; nothing of a line is dropped: what
//! is not known becomes [`Raw`], a line that is no JSON stays output; at [`Adapter::ended`] every
//! tool, subagent, permission request and question that it told of as begun is closed.
//! It is not the run: that owns the process, the order on the bus, the redaction and the time.

mod acp;
mod asking;
mod bounds;
mod claude_code;
mod codex;
mod events;
mod gemini;
mod open;
mod progress;
mod questions;
mod speech;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;
use tidings_core::{Channel, EventType};

pub(super) use self::{
    claude_code::{has_option, talks},
    events::refusal,
};
use super::config::AdapterKind;
use super::contract::{
    SessionId, StreamOutput,
    agent::{
        AgentMessage, AgentStarted, PermissionRequested, PermissionResolved, Progress, Raw, SubagentCompleted,
        SubagentStarted, TextDelta, ToolCompleted, ToolStarted, TurnCompleted, Usage,
    },
    question::{Answer, QuestionRequested, QuestionResolved},
};

/// One consequence of a line, or of something that was asked of the agent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// See the event of the same name. `StreamOutput` without an offset: the run numbers it.
    Output(StreamOutput),
    AgentStarted(AgentStarted),
    TextDelta(TextDelta),
    ThinkingDelta(TextDelta),
    Message(AgentMessage),
    ToolStarted(ToolStarted),
    ToolCompleted(ToolCompleted),
    SubagentStarted(SubagentStarted),
    SubagentCompleted(SubagentCompleted),
    PermissionRequested(PermissionRequested),
    PermissionResolved(PermissionResolved),
    QuestionRequested(QuestionRequested),
    QuestionResolved(QuestionResolved),
    Progress(Progress),
    Usage(Usage),
    TurnCompleted(TurnCompleted),
    Raw(Raw),
    /// An event of another domain, for whoever judges whether it may be published.
    Publish(Publication),
    /// A line for the agent's standard input, without its newline.
    Write(String),
}

/// An event of another domain, as a program said it.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// Its type.
    pub event_type: EventType,
    /// Where to, where its type does not say that.
    pub channel: Option<Channel>,
    /// What it is known by when it comes again.
    pub id: Option<String>,
    /// An object.
    pub data: Value,
}

/// What a person said to a question.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Replied {
    pub(super) request_id: String,
    pub(super) reply: Reply,
}

/// The answers to all questions of a request, or none.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Answers {
        /// Of each question, in their order.
        given: Vec<Vec<Choice>>,
        /// As people are told.
        shown: BTreeMap<String, Answer>,
    },
    /// They would not answer; why.
    Declined(Option<String>),
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// An option, by its place.
    Option(usize),
    /// A text of their own.
    Text(String),
}

impl Choice {
    /// Its text, where `label` gives that of an option.
    fn text<'a>(&'a self, label: impl FnOnce(usize) -> Option<&'a str>) -> &'a str {
        match self {
            Self::Option(place) => label(*place).unwrap_or_default(),
            Self::Text(text) => text,
        }
    }
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answered {
    pub(super) request_id: String,
    pub(super) option_id: String,
    /// What to tell the agent besides.
    pub(super) message: Option<String>,
}

/// What an agent does, as far as its stream tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// It has not been asked yet, or has answered.
    Idle,
    /// It works on a turn.
    Working,
    /// It waits for a person.
    Waiting,
}

impl Activity {
    /// That of an agent: whether a person is asked goes before whether it works.
    fn of(asks: bool, works: bool) -> Self {
        match (asks, works) {
            (true, _) => Self::Waiting,
            (false, true) => Self::Working,
            (false, false) => Self::Idle,
        }
    }
}

/// What an adapter is to know of its session.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The session, named by every event.
    pub(super) session_id: SessionId,
    /// The folder that the agent works in.
    pub(super) root: PathBuf,
    /// The agent's own id of a conversation that is to go on.
    pub(super) resume: Option<String>,
    /// The program and its arguments: some formats depend on them.
    pub(super) argv: Vec<String>,
}

/// The adapter of such an agent; none for programs that print what people are to read.
pub(super) fn make(kind: AdapterKind, context: Context) -> Option<Box<dyn Adapter>> {
    match kind {
        AdapterKind::ClaudeCode => Some(Box::new(claude_code::ClaudeCode::new(context))),
        AdapterKind::Codex => Some(Box::new(codex::Codex::new(context))),
        AdapterKind::Gemini => Some(Box::new(gemini::Gemini::new(context))),
        AdapterKind::Acp => Some(Box::new(acp::Acp::new(context))),
        AdapterKind::Events => Some(Box::new(events::Events::new(context))),
        AdapterKind::Lines => None,
    }
}

/// How the server speaks with one running agent.
pub(super) trait Adapter: Send + Sync {
    /// The program has started. `prompt` is what goes to its standard input, if anything does; `prompted`
    /// whether a turn begins at all (the prompt may be in its arguments).
    fn started(&mut self, prompt: Option<&str>, prompted: bool) -> Vec<Step>;

    /// A whole line of its standard output, without its newline.
    fn line(&mut self, line: &str) -> Vec<Step>;

    /// A message of a person, for an agent that is idle.
    fn message(&mut self, message_id: &str, content: &str) -> Vec<Step>;

    /// A person's answer to a permission request; it is one that waits, with one of its options.
    fn answered(&mut self, answer: &Answered) -> Vec<Step>;

    /// A person's reply to a question; it is one that waits, and each of its questions is answered. Nothing where the
    /// format knows no questions.
    fn replied(&mut self, _reply: &Replied) -> Vec<Step> {
        Vec::new()
    }

    /// The turn is to be interrupted, the agent is to stay. Empty where the format knows no such thing.
    fn interrupt(&mut self) -> Vec<Step>;

    /// Its output has ended: what is open is closed, as failed or withdrawn.
    fn ended(&mut self) -> Vec<Step>;

    /// What it does.
    fn activity(&self) -> Activity;
}
