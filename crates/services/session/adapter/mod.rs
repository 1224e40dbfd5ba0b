//! Adapters: each turns what one kind of agent prints into the events of a session, and what people
//! say to it into lines that it reads.
//!
//! Guarantees: an adapter is pure: no clock, no process, no task; nothing of a line is dropped: what
//! is not known becomes [`Raw`], a line that is no JSON stays output; at [`Adapter::ended`] every
//! tool, subagent and permission request that it told of as begun is closed.
//! It is not the run: that owns the process, the order on the bus, the redaction and the time.

use super::contract::{
    StreamOutput,
    agent::{
        AgentMessage, AgentStarted, PermissionRequested, PermissionResolved, Progress, Raw, SubagentCompleted,
        SubagentStarted, TextDelta, ToolCompleted, ToolStarted, TurnCompleted, Usage,
    },
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
    Progress(Progress),
    Usage(Usage),
    TurnCompleted(TurnCompleted),
    Raw(Raw),
    /// A line for the agent's standard input, without its newline.
    Write(String),
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answered {
    pub(super) request_id: String,
    pub(super) option_id: String,
    /// What to tell the agent besides, such as the answer to its question.
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

/// How the server speaks with one running agent.
pub(super) trait Adapter: Send {
    /// The program has started. `prompt` is what goes to its standard input, if anything does; `prompted`
    /// whether a turn begins at all (the prompt may be in its arguments).
    fn started(&mut self, prompt: Option<&str>, prompted: bool) -> Vec<Step>;

    /// A whole line of its standard output, without its newline.
    fn line(&mut self, line: &str) -> Vec<Step>;

    /// A message of a person, for an agent that is idle.
    fn message(&mut self, message_id: &str, content: &str) -> Vec<Step>;

    /// A person's answer to a permission request; it is one that waits, with one of its options.
    fn answered(&mut self, answer: &Answered) -> Vec<Step>;

    /// The turn is to be interrupted, the agent is to stay. Empty where the format knows no such thing.
    fn interrupt(&mut self) -> Vec<Step>;

    /// Its output has ended: what is open is closed, as failed or withdrawn.
    fn ended(&mut self) -> Vec<Step>;

    /// What it does.
    fn activity(&self) -> Activity;
}
