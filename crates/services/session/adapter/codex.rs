//! Codex: `codex exec --json`.
//!
//! Guarantees: those of every adapter. Its ids of items begin anew with each turn: the ids told are
//! made of thread, turn and item. Its input tokens contain those from a cache: they are told apart.
//! It is not the format of its app server, nor of the files that it keeps. It cannot be asked for
//! permission, interrupted or spoken with: its standard input is its prompt.

use serde_json::{Value, json};

use super::{
    super::contract::{
        SessionId,
        agent::{AgentStarted, Block, NO_RESULT, Outcome, TurnCompleted, TurnStatus, Usage},
    },
    Activity, Adapter, Answered, Context, Step,
    bounds::{self, LastWord},
    open::{Call, Ending, Open},
    progress::progress,
    speech::{Kind, Speech},
};
use crate::session::AdapterKind;

/// One Codex that runs.
#[derive(Debug)]
pub(super) struct Codex {
    session_id: SessionId,
    thread: String,
    turn: u64,
    speech: Speech,
    open: Open,
    working: bool,
    /// The last error that it told, for a turn that never ends.
    error: Option<String>,
}

impl Codex {
    pub(super) fn new(Context { session_id, .. }: Context) -> Self {
        Self {
            thread: "thread".to_owned(),
            turn: 0,
            speech: Speech::new(session_id.clone()),
            open: Open::new(session_id.clone()),
            working: false,
            error: None,
            session_id,
        }
    }

    fn raw(&self, data: &Value) -> Step {
        bounds::raw(&self.session_id, AdapterKind::Codex, data)
    }

    fn thread_started(&mut self, line: &Value) -> Step {
        if let Some(id) = bounds::id(&line["thread_id"]) {
            self.thread = id;
        }
        Step::AgentStarted(AgentStarted {
            agent_session_id: bounds::own_id(&line["thread_id"]),
            ..AgentStarted::of(self.session_id.clone())
        })
    }

    /// An item begins, goes on, or is `over`.
    fn item(&mut self, line: &Value, over: bool, steps: &mut Vec<Step>) {
        let item = &line["item"];
        let Some(id) = bounds::id(&json!(format!("{}.{}.{}", self.thread, self.turn, text(&item["id"])))) else {
            return;
        };
        self.working = true;
        match item["type"].as_str().unwrap_or_default() {
            "agent_message" => self.said(id, item, Kind::Text, over, steps),
            "reasoning" => self.said(id, item, Kind::Thinking, over, steps),
            "todo_list" => match progress(&self.session_id, &item["items"], "text") {
                Some(plan) => steps.push(plan),
                None => steps.push(self.raw(line)),
            },
            kind @ ("command_execution" | "file_change" | "mcp_tool_call" | "web_search" | "collab_tool_call") => {
                self.tool(&id, kind, item, over, steps);
            }
            _ => steps.push(self.raw(line)),
        }
    }

    fn said(&mut self, id: String, item: &Value, kind: Kind, over: bool, steps: &mut Vec<Step>) {
        let said = text(&item["text"]);
        let at = self.speech.message(Some(id), None, &mut self.open, steps);
        if !over {
            return self.speech.grown(at, 0, kind, said, steps);
        }
        let text = said.to_owned();
        let block = if kind == Kind::Text { Block::Text { text } } else { Block::Thinking { text } };
        self.speech.whole(at, block, &mut self.open, steps);
    }

    fn tool(&mut self, id: &str, kind: &str, item: &Value, over: bool, steps: &mut Vec<Step>) {
        let (name, input) = match kind {
            "command_execution" => (kind.to_owned(), json!({ "command": item["command"] })),
            "file_change" => (kind.to_owned(), json!({ "changes": item["changes"] })),
            "web_search" => (kind.to_owned(), json!({ "query": item["query"] })),
            "mcp_tool_call" => {
                let name = format!("{}.{}", text(&item["server"]), text(&item["tool"]));
                (bounds::text(&name, bounds::NAME_BYTES), item["arguments"].clone())
            }
            _ => (bounds::name(&item["tool"]).unwrap_or_else(|| kind.to_owned()), json!({ "prompt": item["prompt"] })),
        };
        self.open.start(Call { id: id.to_owned(), name, input, parent: None, agent: None }, steps);
        if !over {
            return;
        }
        let status = match item["status"].as_str() {
            Some("declined") => Outcome::Blocked,
            Some("failed") => Outcome::Error,
            _ => Outcome::Success,
        };
        let outputs = [&item["aggregated_output"], &item["result"], &item["error"]["message"], &item["agents_states"]];
        let output = outputs.into_iter().find(|output| !output.is_null()).cloned().unwrap_or_default();
        let return_code = item["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok());
        if !self.open.complete(id, &Ending { status, output, return_code }, false, steps) {
            steps.push(self.raw(item));
        }
    }

    fn usage(&self, usage: &Value) -> Option<Step> {
        usage.as_object()?;
        let tokens = |key: &str| usage[key].as_u64().unwrap_or(0);
        let (read, written) = (tokens("cached_input_tokens"), tokens("cache_write_input_tokens"));
        Some(Step::Usage(Usage {
            session_id: self.session_id.clone(),
            input_tokens: tokens("input_tokens").saturating_sub(read.saturating_add(written)),
            output_tokens: tokens("output_tokens"),
            cache_read_tokens: read,
            cache_write_tokens: written,
            cost_usd: None,
        }))
    }

    fn turn_ends(&mut self, status: TurnStatus, reason: Option<&str>, error: Option<String>, steps: &mut Vec<Step>) {
        self.speech.finish_all(|_| true, &mut self.open, steps);
        self.open.end(steps);
        let last = self.speech.take_last();
        let told = self.error.take();
        let why = error.or(told).filter(|_| status != TurnStatus::Success).map(|why| LastWord::of(&why, false));
        let (result, truncated) = LastWord::told(why.or(last));
        self.working = false;
        steps.push(Step::TurnCompleted(TurnCompleted {
            session_id: self.session_id.clone(),
            status,
            reason: reason.map(str::to_owned),
            result,
            truncated,
            duration_ms: None,
        }));
    }
}

impl Adapter for Codex {
    fn started(&mut self, prompt: Option<&str>, prompted: bool) -> Vec<Step> {
        self.working = prompted;
        prompt.map(|prompt| Step::Write(prompt.to_owned())).into_iter().collect()
    }

    fn line(&mut self, line: &str) -> Vec<Step> {
        let Some(data) = bounds::object(line) else { return bounds::output(&self.session_id, line) };
        let mut steps = Vec::new();
        match data["type"].as_str().unwrap_or_default() {
            "thread.started" => steps.push(self.thread_started(&data)),
            "turn.started" => {
                self.turn += 1;
                self.working = true;
            }
            "item.started" | "item.updated" => self.item(&data, false, &mut steps),
            "item.completed" => self.item(&data, true, &mut steps),
            "turn.completed" => {
                self.speech.finish_all(|_| true, &mut self.open, &mut steps);
                steps.extend(self.usage(&data["usage"]));
                self.turn_ends(TurnStatus::Success, None, None, &mut steps);
            }
            "turn.failed" => {
                let why = message(&data["error"]);
                self.turn_ends(TurnStatus::Error, Some("turn.failed"), why, &mut steps);
            }
            "error" => {
                self.error = message(&data);
                steps.push(self.raw(&data));
            }
            _ => steps.push(self.raw(&data)),
        }
        steps
    }

    fn message(&mut self, _message_id: &str, content: &str) -> Vec<Step> {
        self.working = true;
        vec![Step::Write(content.to_owned())]
    }

    fn answered(&mut self, _answer: &Answered) -> Vec<Step> {
        Vec::new()
    }

    fn interrupt(&mut self) -> Vec<Step> {
        Vec::new()
    }

    fn ended(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.working {
            self.turn_ends(TurnStatus::Error, Some(NO_RESULT), None, &mut steps);
        } else {
            self.speech.finish_all(|_| true, &mut self.open, &mut steps);
            self.open.end(&mut steps);
        }
        steps
    }

    fn activity(&self) -> Activity {
        Activity::of(false, self.working)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn message(error: &Value) -> Option<String> {
    error["message"].as_str().map(|message| bounds::text(message, bounds::VALUE_BYTES))
}
