//! The conversation of a session: what its agent said, does and waits for, folded from its events.
//!
//! Guarantees: pure and bounded ([`MESSAGES`], [`MESSAGE_BYTES`], [`TOOLS`]); what is open (tools,
//! subagents, permissions, questions, queued messages) is in it until its end is told; the activity follows from
//! the rest and is never a message of its own.
//! It is not the whole transcript: that is the channel's history.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::{Message, Seq, Timestamp, UserId};

use super::{
    contract::{
        CANCELLED, COMPLETED, ERROR, MESSAGE_DEQUEUED, MESSAGE_QUEUED, MessageDequeued, MessageQueued, USER_MESSAGE,
        agent::{
            AGENT_STARTED, AgentMessage, AgentStarted, Block, MESSAGE, Outcome, PERMISSION_REQUESTED,
            PERMISSION_RESOLVED, PROGRESS, PermissionOption, PermissionRequested, PermissionResolved, PlanStep,
            Progress, Role, SUBAGENT_COMPLETED, SUBAGENT_STARTED, SubagentCompleted, SubagentStarted, TOOL_COMPLETED,
            TOOL_STARTED, TURN_COMPLETED, ToolCompleted, ToolStarted, TurnCompleted, TurnStatus, USAGE, Usage,
        },
        question::{QUESTION_REQUESTED, QUESTION_RESOLVED, QuestionRequested, QuestionResolved},
    },
    draft::InProgress,
    open_questions::OpenQuestion,
};
use crate::programs::decode::shortened;

/// The most messages of the agent in a state.
pub const MESSAGES: usize = 50;
/// The most bytes of text in them; the newest stays whole.
pub const MESSAGE_BYTES: usize = 128 * 1024;
/// The most tool calls in a state that have ended; those that run are all there.
pub const TOOLS: usize = 50;
/// The most bytes that a state keeps of a tool's input or output, as JSON.
const VALUE_BYTES: usize = 2 * 1024;
/// The most open things of each kind: what comes beyond them is in the history only.
pub(super) const OPEN: usize = 1024;

/// What the agent does, as its events tell. A paused or ended session overrides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It has answered, and was asked nothing since.
    Idle,
    /// It works on its answer.
    Thinking,
    /// A tool runs.
    Executing,
    /// It waits for a person.
    Waiting,
}

/// A message of the agent, or to its subagent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spoken {
    /// Its newest event.
    pub seq: Seq,
    /// The message.
    pub message_id: String,
    /// Who speaks.
    pub role: Role,
    /// Which block the first of these is.
    pub block: u32,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// The tool call of the subagent that speaks; none for the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<String>,
}

impl Spoken {
    fn bytes(&self) -> usize {
        let of = |block: &Block| match block {
            Block::Text { text } | Block::Thinking { text } => text.len(),
            Block::ToolUse { .. } | Block::Other { .. } => 64,
        };
        self.blocks.iter().map(of).sum()
    }
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// The event of its start.
    pub seq: Seq,
    /// The call.
    pub execution_id: String,
    /// The tool.
    pub name: String,
    /// What it was called with; of a longer one its beginning, as a string.
    pub input: Value,
    /// How it ended; none while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Outcome>,
    /// What it gave; of a longer one its beginning, as a string.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// The exit code, of a tool that runs a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_code: Option<i32>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// When it started.
    pub started_at: Timestamp,
    /// The tool call of the subagent that called it; none for the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<String>,
}

/// A subagent that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subagent {
    /// The tool call that it runs in.
    pub execution_id: String,
    /// What kind of agent it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subagent_type: Option<String>,
    /// What it is to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A permission request that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// The request.
    pub request_id: String,
    /// The tool that wants to run.
    pub tool: String,
    /// What it would be called with; of a longer one its beginning, as a string.
    pub input: Value,
    /// The answers that there are.
    pub options: Vec<PermissionOption>,
    /// The call that waits, if it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// When it is withdrawn by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Its event, which has all of the input. None of one that an older server was told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
}

/// A message that waits until the agent is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queued {
    /// The message.
    pub message_id: String,
    /// The sender's key for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The text, the first 2 KiB of it.
    pub content: String,
    /// Its event, which has all of it. None of one that an older server was told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
}

/// The agent's plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// How many parts are done.
    pub current: u64,
    /// How many there are.
    pub total: u64,
    /// The parts.
    pub steps: Vec<PlanStep>,
}

/// What all turns used together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Totals {
    /// How many turns were completed.
    pub turns: u64,
    /// Tokens read, without those from a cache.
    pub input_tokens: u64,
    /// Tokens made.
    pub output_tokens: u64,
    /// Tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Tokens written to a cache.
    pub cache_write_tokens: u64,
    /// What it cost, in US dollars, as far as the agent says.
    pub cost_usd: f64,
}

/// How the newest turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// Whether it did what was asked.
    pub status: TurnStatus,
    /// Why it ended, as the agent calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its last word, the first 2 KiB of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Whether `result` is only the beginning of it: the event of this turn has more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The event of its end. None of a turn that an older server was told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
}

/// What is known of the agent inside a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Conversation {
    /// The agent's own id of it: what it is resumed by. Of a session that this server runs, only its agent says it.
    pub agent_session_id: Option<String>,
    /// The model that answers.
    pub model: Option<String>,
    /// What kind of agent it is now, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<String>,
    /// In which iteration it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u64>,
    /// What the agent does; none as long as it told nothing that tells.
    pub activity: Option<Activity>,
    /// The newest messages, oldest first.
    pub messages: VecDeque<Spoken>,
    /// The newest tool calls and all that run, oldest first.
    pub tools: VecDeque<Tool>,
    /// The subagents that run.
    pub subagents: Vec<Subagent>,
    /// The permission requests that wait.
    pub permissions: Vec<Permission>,
    /// The questions that wait.
    pub questions: Vec<OpenQuestion>,
    /// The messages that wait until the agent is free.
    pub queue: Vec<Queued>,
    /// The plan, if it has one.
    pub plan: Option<Plan>,
    /// What was used.
    pub usage: Totals,
    /// How the newest turn ended.
    pub turn: Option<Turn>,
    /// The blocks that are being made. They come from ephemeral events and are shown only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_progress: Vec<InProgress>,
}

impl Conversation {
    /// Folds the next durable message of the channel in. `hosted` says whether this server runs the session.
    pub(super) fn apply(&mut self, message: &Message, seq: Seq, hosted: bool) {
        let payload = &message.payload;
        // Whatever is not of its type changes nothing: it was let in by an older server.
        match message.event_type.as_str() {
            // What the server tells of an agent is by nobody; what a producer outside tells is by its user.
            AGENT_STARTED => with(payload.typed::<AgentStarted>(), |event| {
                self.begin(event, !hosted || message.by.is_none());
            }),
            MESSAGE => with(payload.typed::<AgentMessage>(), |event| self.speak(event, seq)),
            TOOL_STARTED => with(payload.typed::<ToolStarted>(), |event| self.call(event, seq, message.time)),
            TOOL_COMPLETED => with(payload.typed::<ToolCompleted>(), |event| self.complete(event)),
            SUBAGENT_STARTED => with(payload.typed::<SubagentStarted>(), |event| self.delegate(event)),
            SUBAGENT_COMPLETED => with(payload.typed::<SubagentCompleted>(), |event| {
                self.subagents.retain(|open| open.execution_id != event.execution_id);
            }),
            PERMISSION_REQUESTED => with(payload.typed::<PermissionRequested>(), |event| self.ask(event, seq)),
            PERMISSION_RESOLVED => with(payload.typed::<PermissionResolved>(), |event| {
                self.permissions.retain(|waiting| waiting.request_id != event.request_id);
            }),
            QUESTION_REQUESTED => with(payload.typed::<QuestionRequested>(), |event| self.ask_question(event, seq)),
            QUESTION_RESOLVED => with(payload.typed::<QuestionResolved>(), |event| {
                self.questions.retain(|waiting| waiting.request_id != event.request_id);
            }),
            PROGRESS => with(payload.typed::<Progress>(), |event| {
                let (current, total, steps) = (event.current, event.total, event.steps.clone());
                self.plan = Some(Plan { current, total, steps });
            }),
            USAGE => with(payload.typed::<Usage>(), |event| self.usage.add(event)),
            TURN_COMPLETED => with(payload.typed::<TurnCompleted>(), |event| self.answer(event, seq)),
            MESSAGE_QUEUED => with(payload.typed::<MessageQueued>(), |event| {
                self.queue(event, seq, message.by.as_ref());
            }),
            MESSAGE_DEQUEUED => with(payload.typed::<MessageDequeued>(), |event| {
                self.queue.retain(|waiting| waiting.message_id != event.message_id);
            }),
            USER_MESSAGE if self.activity.is_some() => self.activity = Some(Activity::Thinking),
            COMPLETED | ERROR | CANCELLED => self.close(),
            _ => return,
        }
        self.activity = self.activity.map(|activity| self.derived(activity));
    }

    /// What it does follows from what is open; whether it works on a turn is all that is remembered.
    fn derived(&self, activity: Activity) -> Activity {
        if !self.permissions.is_empty() || !self.questions.is_empty() {
            return Activity::Waiting;
        }
        if self.tools.iter().any(|tool| tool.status.is_none()) {
            return Activity::Executing;
        }
        if activity == Activity::Idle { Activity::Idle } else { Activity::Thinking }
    }

    fn begin(&mut self, event: &AgentStarted, by_agent: bool) {
        if by_agent && event.agent_session_id.is_some() {
            self.agent_session_id.clone_from(&event.agent_session_id);
        }
        if event.model.is_some() {
            self.model.clone_from(&event.model);
        }
        if event.agent_type.is_some() {
            self.agent_type.clone_from(&event.agent_type);
        }
        self.iteration = event.iteration.or(self.iteration);
        self.activity.get_or_insert(Activity::Thinking);
    }

    fn speak(&mut self, event: &AgentMessage, seq: Seq) {
        self.activity = Some(Activity::Thinking);
        let follows = |spoken: &&mut Spoken| {
            let next = spoken.block as usize + spoken.blocks.len();
            spoken.message_id == event.message_id && next == event.block as usize
        };
        if let Some(spoken) = self.messages.iter_mut().rev().find(follows) {
            spoken.seq = seq;
            spoken.blocks.extend(event.blocks.iter().cloned());
        } else {
            self.messages.push_back(Spoken {
                seq,
                message_id: event.message_id.clone(),
                role: event.role,
                block: event.block,
                blocks: event.blocks.clone(),
                parent_execution_id: event.parent_execution_id.clone(),
            });
        }
        let mut bytes: usize = self.messages.iter().map(Spoken::bytes).sum();
        while self.messages.len() > MESSAGES || (bytes > MESSAGE_BYTES && self.messages.len() > 1) {
            bytes -= self.messages.pop_front().map_or(0, |oldest| oldest.bytes());
        }
    }

    fn call(&mut self, event: &ToolStarted, seq: Seq, at: Timestamp) {
        self.activity = Some(Activity::Thinking);
        if self.tools.len() >= OPEN + TOOLS {
            return;
        }
        self.tools.push_back(Tool {
            seq,
            execution_id: event.execution_id.clone(),
            name: event.name.clone(),
            input: kept(&event.input),
            status: None,
            output: Value::Null,
            return_code: None,
            duration_ms: None,
            started_at: at,
            parent_execution_id: event.parent_execution_id.clone(),
        });
    }

    fn complete(&mut self, event: &ToolCompleted) {
        let running = |tool: &&mut Tool| tool.status.is_none() && tool.execution_id == event.execution_id;
        if let Some(tool) = self.tools.iter_mut().find(running) {
            tool.status = Some(event.status);
            tool.output = kept(&event.output);
            tool.return_code = event.return_code;
            tool.duration_ms = event.duration_ms;
        }
        while self.tools.iter().filter(|tool| tool.status.is_some()).count() > TOOLS {
            let oldest = self.tools.iter().position(|tool| tool.status.is_some());
            self.tools.remove(oldest.unwrap_or_default());
        }
    }

    fn delegate(&mut self, event: &SubagentStarted) {
        if self.subagents.len() < OPEN {
            self.subagents.push(Subagent {
                execution_id: event.execution_id.clone(),
                subagent_type: event.subagent_type.clone(),
                description: event.description.clone(),
            });
        }
    }

    fn ask(&mut self, event: &PermissionRequested, seq: Seq) {
        self.activity = Some(Activity::Waiting);
        if self.permissions.len() < OPEN {
            self.permissions.push(Permission {
                request_id: event.request_id.clone(),
                tool: event.tool.clone(),
                input: kept(&event.input),
                options: event.options.clone(),
                execution_id: event.execution_id.clone(),
                expires_at: event.expires_at,
                seq: Some(seq),
            });
        }
    }

    fn answer(&mut self, event: &TurnCompleted, seq: Seq) {
        self.activity = Some(Activity::Idle);
        self.usage.turns += 1;
        let result = event.result.as_deref().map(|text| shortened(text, VALUE_BYTES).to_owned());
        let truncated = event.truncated || result.as_ref().map(String::len) != event.result.as_ref().map(String::len);
        self.turn =
            Some(Turn { status: event.status, reason: event.reason.clone(), result, truncated, seq: Some(seq) });
    }

    fn queue(&mut self, event: &MessageQueued, seq: Seq, by: Option<&UserId>) {
        if self.queue.len() < OPEN {
            self.queue.push(Queued {
                message_id: event.message_id.clone(),
                client_message_id: event.client_message_id.clone(),
                user_id: by.cloned(),
                content: shortened(&event.content, VALUE_BYTES).to_owned(),
                seq: Some(seq),
            });
        }
    }

    /// The session has ended: nothing runs or waits any more, whether or not that was told.
    fn close(&mut self) {
        for tool in &mut self.tools {
            tool.status.get_or_insert(Outcome::Error);
        }
        self.subagents.clear();
        self.permissions.clear();
        self.questions.clear();
        self.queue.clear();
        self.activity = self.activity.map(|_| Activity::Idle);
    }
}

impl Totals {
    fn add(&mut self, used: &Usage) {
        self.input_tokens += used.input_tokens;
        self.output_tokens += used.output_tokens;
        self.cache_read_tokens += used.cache_read_tokens;
        self.cache_write_tokens += used.cache_write_tokens;
        self.cost_usd += used.cost_usd.unwrap_or_default();
    }
}

fn with<T>(event: tidings_core::Result<std::sync::Arc<T>>, fold: impl FnOnce(&T)) {
    if let Ok(event) = event {
        fold(&event);
    }
}

/// What a state keeps of a value.
fn kept(value: &Value) -> Value {
    let text = value.to_string();
    if text.len() <= VALUE_BYTES { value.clone() } else { Value::String(shortened(&text, VALUE_BYTES).to_owned()) }
}
