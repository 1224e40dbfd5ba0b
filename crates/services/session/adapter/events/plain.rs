//! The words of programs that told what they do before there were events: `thought`, `tool_use`, `stream_chunk` and so
//! on, as they stand.
//!
//! Guarantees: what a line has beside what is understood of it is kept raw; a call without an id gets one, and the end
//! that names no open call is that of the oldest of these.
//! It is not a format to begin with: whoever writes a program prints events.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::{
    super::{
        super::contract::{
            Stream,
            agent::{AgentStarted, Block, Outcome, Progress, TurnStatus},
        },
        Step,
        bounds::{self, NAME_BYTES},
        open::{Agent, Call, Ending},
        progress,
        speech::Kind,
    },
    Events,
};

/// The most calls and subagents without an id that are remembered.
const UNNAMED: usize = 1_000;

const WORDS: [&str; 12] = [
    "thought",
    "tool_use",
    "tool_result",
    "session_start",
    "progress",
    "info",
    "error",
    "complete",
    "stream_chunk",
    "heartbeat",
    "subprocess_start",
    "subprocess_complete",
];

/// Whether it is one of these words.
pub(super) fn knows(kind: &str) -> bool {
    WORDS.contains(&kind)
}

/// What is remembered of them.
#[derive(Debug, Default)]
pub(super) struct Plain {
    made: u64,
    /// Open calls that had no id, oldest first.
    unnamed: VecDeque<String>,
    /// Open subagents: what they call themselves, and their call.
    subagents: VecDeque<(Option<String>, String)>,
}

impl Plain {
    /// Nothing is open any more.
    pub(super) fn forget(&mut self) {
        self.unnamed.clear();
        self.subagents.clear();
    }

    fn make_id(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}-{}", self.made)
    }
}

/// What a line says, taken out part by part: what is left was not understood.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(line: &Value) -> Self {
        let flat = line.get("chunk_type").is_some();
        let mut fields = match (&line["data"], line) {
            (Value::Object(data), _) if !flat => data.clone(),
            (_, Value::Object(whole)) => {
                let mut fields = whole.clone();
                fields.remove("type");
                fields
            }
            _ => Map::new(),
        };
        fields.remove("timestamp");
        Self(fields)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let text = self.0.get(name)?.as_str()?.to_owned();
        self.0.remove(name);
        Some(text)
    }

    /// The first of these that is there.
    fn one_of(&mut self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        let number = self.0.get(name)?.as_u64()?;
        self.0.remove(name);
        Some(number)
    }

    fn value(&mut self, names: &[&str]) -> Option<Value> {
        names.iter().find_map(|name| self.0.remove(*name))
    }

    fn object(&mut self, name: &str) -> Option<Self> {
        match self.0.remove(name) {
            Some(Value::Object(fields)) => Some(Self(fields)),
            Some(other) => {
                self.0.insert(name.to_owned(), other);
                None
            }
            None => None,
        }
    }
}

impl Events {
    /// Tells what a line of these words says.
    pub(super) fn plain(&mut self, kind: &str, line: &Value, steps: &mut Vec<Step>) {
        let mut fields = Fields::of(line);
        let understood = match kind {
            "thought" => self.thought(&mut fields, steps),
            "tool_use" => self.tool_use(&mut fields, steps),
            "tool_result" => self.tool_result(&mut fields, steps),
            "session_start" => {
                let kind = fields.text("type");
                self.failed = None;
                self.begins(kind, &mut fields, steps)
            }
            "progress" => return self.plain_progress(&mut fields, line, steps),
            "info" => self.message_of(Stream::Stdout, &mut fields, steps),
            "error" => self.message_of(Stream::Stderr, &mut fields, steps),
            "complete" => {
                self.tells_turns = true;
                let turn = self.turn(TurnStatus::Success, None, None);
                self.turn_ends(turn, steps);
                true
            }
            "stream_chunk" => self.chunk(&mut fields, steps),
            "heartbeat" => {
                let phase = fields.text("phase");
                self.begins(phase, &mut fields, steps)
            }
            "subprocess_start" => self.subprocess_start(&mut fields, steps),
            _ => self.subprocess_complete(&mut fields, steps),
        };
        if !understood || !fields.0.is_empty() {
            steps.push(self.raw(line));
        }
    }

    fn thought(&mut self, fields: &mut Fields, steps: &mut Vec<Step>) -> bool {
        let Some(text) = fields.one_of(&["text", "data"]) else { return false };
        let at = self.speech.message(None, None, &mut self.open, steps);
        self.speech.whole(at, Block::Text { text }, &mut self.open, steps);
        true
    }

    fn tool_use(&mut self, fields: &mut Fields, steps: &mut Vec<Step>) -> bool {
        let Some(name) = fields.text("name") else { return false };
        let own = fields.one_of(&["id", "tool_use_id"]).and_then(|id| bounds::id(&json!(id)));
        let input = fields.value(&["input"]).unwrap_or_default();
        if own.as_ref().is_some_and(|id| self.open.is_known(id)) {
            return false;
        }
        let id = own.unwrap_or_else(|| {
            let id = self.plain.make_id("tool");
            if self.plain.unnamed.len() >= UNNAMED {
                self.plain.unnamed.pop_front();
            }
            self.plain.unnamed.push_back(id.clone());
            id
        });
        self.settle(steps);
        self.open.start(Call { id, name: bounds::text(&name, NAME_BYTES), input, parent: None, agent: None }, steps);
        true
    }

    fn tool_result(&mut self, fields: &mut Fields, steps: &mut Vec<Step>) -> bool {
        let own = fields.one_of(&["tool_use_id", "id"]).and_then(|id| bounds::id(&json!(id)));
        let is_error = fields.value(&["is_error"]) == Some(Value::Bool(true));
        let status = match fields.text("status").as_deref() {
            Some("success") => Outcome::Success,
            Some("blocked") => Outcome::Blocked,
            None if !is_error => Outcome::Success,
            _ => Outcome::Error,
        };
        let output = fields.value(&["output", "content", "result"]).unwrap_or_default();
        let named = own.filter(|id| self.open.is_open(id));
        let Some(id) = named.or_else(|| self.plain.unnamed.pop_front()) else { return false };
        self.plain.unnamed.retain(|unnamed| *unnamed != id);
        self.open.complete(&id, &Ending { status, output, return_code: None }, false, steps)
    }

    /// Which kind of agent is at work, and in which iteration.
    fn begins(&mut self, kind: Option<String>, fields: &mut Fields, steps: &mut Vec<Step>) -> bool {
        let iteration = fields.number("iteration");
        if kind.is_none() && iteration.is_none() {
            return true;
        }
        let unnamed = || AgentStarted::of(self.session_id.clone());
        let mut started = self.who.clone().unwrap_or_else(unnamed);
        started.agent_type = kind.map(|kind| bounds::text(&kind, NAME_BYTES)).or(started.agent_type);
        started.iteration = iteration.or(started.iteration);
        self.introduce(started, steps);
        true
    }

    fn plain_progress(&mut self, fields: &mut Fields, line: &Value, steps: &mut Vec<Step>) {
        let current = fields.number("passing").or_else(|| fields.number("current"));
        let numbers = current.zip(fields.number("total")).filter(|(current, total)| current <= total);
        let Some((current, total)) = numbers else {
            return self.refuse("progress", "passing and total: numbers, passing at most total", line, steps);
        };
        let named = fields.value(&["steps"]).and_then(|parts| progress::progress(&self.session_id, &parts, "text"));
        let parts = match named {
            Some(Step::Progress(plan)) => plan.steps,
            _ => Vec::new(),
        };
        let session_id = self.session_id.clone();
        steps.push(Step::Progress(Progress { session_id, current, total, steps: parts }));
        if !fields.0.is_empty() {
            steps.push(self.raw(line));
        }
    }

    fn message_of(&mut self, stream: Stream, fields: &mut Fields, steps: &mut Vec<Step>) -> bool {
        let Some(text) = fields.one_of(&["message", "text", "error", "data"]) else { return false };
        self.print(stream, &text, steps);
        if stream == Stream::Stderr {
            self.failed = Some(bounds::text(&text, bounds::VALUE_BYTES));
        }
        true
    }

    fn chunk(&mut self, fields: &mut Fields, steps: &mut Vec<Step>) -> bool {
        let phase = fields.text("phase");
        self.begins(phase, fields, steps);
        match fields.text("chunk_type").as_deref() {
            Some("text") => {
                let Some(text) = fields.one_of(&["data", "text"]) else { return false };
                let at = self.speech.message(None, None, &mut self.open, steps);
                self.speech.piece(at, 0, Kind::Text, &text, steps)
            }
            Some("tool_start") => {
                let Some(mut call) = fields.object("data") else { return false };
                let told = self.tool_use(&mut call, steps);
                told && call.0.is_empty()
            }
            Some("tool_result") => {
                let Some(mut ended) = fields.object("data") else { return false };
                let told = self.tool_result(&mut ended, steps);
                told && ended.0.is_empty()
            }
            _ => false,
        }
    }

    fn subprocess_start(&mut self, fields: &mut Fields, steps: &mut Vec<Step>) -> bool {
        let kind = fields.text("subagent_type").map(|kind| bounds::text(&kind, NAME_BYTES));
        let description = fields.text("description").map(|text| bounds::text(&text, NAME_BYTES));
        let id = self.plain.make_id("subagent");
        self.settle(steps);
        if self.delegate_alone(&id, Agent { kind: kind.clone(), description }, steps).is_err() {
            return false;
        }
        if self.plain.subagents.len() >= UNNAMED {
            self.plain.subagents.pop_front();
        }
        self.plain.subagents.push_back((kind, id));
        true
    }

    fn subprocess_complete(&mut self, fields: &mut Fields, steps: &mut Vec<Step>) -> bool {
        let kind = fields.text("subagent_type").map(|kind| bounds::text(&kind, NAME_BYTES));
        // The server measures it.
        fields.value(&["duration"]);
        let Some(place) = self.plain.subagents.iter().position(|(known, _)| *known == kind) else { return false };
        let Some((_, id)) = self.plain.subagents.remove(place) else { return false };
        self.open.complete(&id, &Ending::bare(Outcome::Success), false, steps)
    }
}
