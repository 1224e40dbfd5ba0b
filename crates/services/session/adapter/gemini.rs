//! Gemini CLI: `gemini -o stream-json`.
//!
//! Guarantees: those of every adapter. Its messages have no ids: pieces make one message until
//! something else comes. What it repeats of the prompt tells nothing.
//! It cannot be asked for permission, interrupted or spoken with: its standard input is its prompt.

use serde_json::Value;

use super::{
    super::contract::{
        SessionId,
        agent::{AgentStarted, Block, NO_RESULT, Outcome, TurnCompleted, TurnStatus, Usage},
    },
    Activity, Adapter, Answered, Context, Step,
    bounds::{self, LastWord},
    open::{Call, Ending, Open},
    speech::{Kind, Speech},
};
use crate::session::AdapterKind;

/// The types of a tool's error that say that it was not let run.
const DENIED: &[&str] = &["policy_violation", "execution_denied", "permission_denied"];

/// One Gemini CLI that runs.
#[derive(Debug)]
pub(super) struct Gemini {
    session_id: SessionId,
    model: Option<String>,
    speech: Speech,
    open: Open,
    working: bool,
    /// Whether it has said or done something in this turn.
    begun: bool,
    /// The last error that it told, for a turn that says no other.
    error: Option<String>,
}

impl Gemini {
    pub(super) fn new(Context { session_id, .. }: Context) -> Self {
        Self {
            model: None,
            speech: Speech::new(session_id.clone()),
            open: Open::new(session_id.clone()),
            working: false,
            begun: false,
            error: None,
            session_id,
        }
    }

    fn raw(&self, data: &Value) -> Step {
        bounds::raw(&self.session_id, AdapterKind::Gemini, data)
    }

    fn init(&mut self, line: &Value) -> Step {
        self.model = bounds::name(&line["model"]);
        Step::AgentStarted(AgentStarted {
            agent_session_id: bounds::own_id(&line["session_id"]),
            model: self.model.clone(),
            ..AgentStarted::of(self.session_id.clone())
        })
    }

    /// The message that pieces were making is complete.
    fn settle(&mut self, steps: &mut Vec<Step>) {
        self.speech.finish_all(|_| true, &mut self.open, steps);
    }

    fn said(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let Some(text) = line["content"].as_str() else { return steps.push(self.raw(line)) };
        let whole = line["delta"].as_bool() != Some(true);
        match line["role"].as_str() {
            Some("assistant" | "model") => {}
            // The first is what it was asked.
            Some("user") if !self.begun => return self.begun = true,
            Some("user") => {
                self.settle(steps);
                return self.speech.heard(None, text, None, steps);
            }
            _ => return steps.push(self.raw(line)),
        }
        if whole {
            self.settle(steps);
        }
        (self.working, self.begun) = (true, true);
        let at = self.speech.message(None, None, &mut self.open, steps);
        self.speech.at(at).model.clone_from(&self.model);
        if whole {
            self.speech.whole(at, Block::Text { text: text.to_owned() }, &mut self.open, steps);
        } else {
            self.speech.piece(at, 0, Kind::Text, text, steps);
        }
    }

    fn tool_use(&mut self, line: &Value, steps: &mut Vec<Step>) {
        self.settle(steps);
        (self.working, self.begun) = (true, true);
        let (id, name) = (bounds::id(&line["tool_id"]), bounds::name(&line["tool_name"]));
        match (id, name) {
            (Some(id), Some(name)) if !self.open.is_known(&id) => {
                let call = Call { id, name, input: line["parameters"].clone(), parent: None, agent: None };
                self.open.start(call, steps);
            }
            _ => steps.push(self.raw(line)),
        }
    }

    fn tool_result(&mut self, line: &Value, steps: &mut Vec<Step>) {
        self.settle(steps);
        let denied = line["error"]["type"].as_str().is_some_and(|kind| DENIED.contains(&kind));
        let status = match line["status"].as_str() {
            Some("success") => Outcome::Success,
            _ if denied => Outcome::Blocked,
            _ => Outcome::Error,
        };
        let outputs = [&line["output"], &line["error"]["message"]];
        let output = outputs.into_iter().find(|output| !output.is_null()).cloned().unwrap_or_default();
        let ending = Ending { status, output, return_code: None };
        let id = bounds::id(&line["tool_id"]);
        if !id.is_some_and(|id| self.open.complete(&id, &ending, false, steps)) {
            steps.push(self.raw(line));
        }
    }

    fn result(&mut self, line: &Value, steps: &mut Vec<Step>) {
        self.settle(steps);
        steps.extend(self.usage(&line["stats"]));
        let succeeded = line["status"] == "success";
        let (why, kind) = (&line["error"]["message"], bounds::name(&line["error"]["type"]));
        let why = why.as_str().map(|why| bounds::text(why, bounds::VALUE_BYTES));
        let duration = line["stats"]["duration_ms"].as_u64();
        let reason = if succeeded { None } else { kind.or_else(|| bounds::name(&line["status"])) };
        let status = if succeeded { TurnStatus::Success } else { TurnStatus::Error };
        let session_id = self.session_id.clone();
        let told = TurnCompleted { session_id, status, reason, result: why, truncated: false, duration_ms: duration };
        self.turn_ends(told, steps);
    }

    fn usage(&self, stats: &Value) -> Option<Step> {
        stats.as_object()?;
        let tokens = |key: &str| stats[key].as_u64();
        let cached = tokens("cached").unwrap_or(0);
        Some(Step::Usage(Usage {
            session_id: self.session_id.clone(),
            input_tokens: tokens("input").unwrap_or_else(|| tokens("input_tokens").unwrap_or(0).saturating_sub(cached)),
            output_tokens: tokens("output_tokens").unwrap_or(0),
            cache_read_tokens: cached,
            cache_write_tokens: 0,
            cost_usd: None,
        }))
    }

    fn turn_ends(&mut self, mut told: TurnCompleted, steps: &mut Vec<Step>) {
        self.settle(steps);
        self.open.end(steps);
        let (last, error) = (self.speech.take_last(), self.error.take());
        let error = error.filter(|_| told.status != TurnStatus::Success);
        if let Some(why) = told.result.take().or(error) {
            told.result = Some(why);
        } else {
            (told.result, told.truncated) = LastWord::told(last);
        }
        (self.working, self.begun) = (false, false);
        steps.push(Step::TurnCompleted(told));
    }
}

impl Adapter for Gemini {
    fn started(&mut self, prompt: Option<&str>, prompted: bool) -> Vec<Step> {
        self.working = prompted;
        prompt.map(|prompt| Step::Write(prompt.to_owned())).into_iter().collect()
    }

    fn line(&mut self, line: &str) -> Vec<Step> {
        let Some(data) = bounds::object(line) else { return bounds::output(&self.session_id, line) };
        let mut steps = Vec::new();
        match data["type"].as_str().unwrap_or_default() {
            "init" => steps.push(self.init(&data)),
            "message" => self.said(&data, &mut steps),
            "tool_use" => self.tool_use(&data, &mut steps),
            "tool_result" => self.tool_result(&data, &mut steps),
            "result" => self.result(&data, &mut steps),
            kind => {
                if kind == "error" && data["severity"] != "warning" {
                    self.error = data["message"].as_str().map(|why| bounds::text(why, bounds::VALUE_BYTES));
                }
                self.settle(&mut steps);
                steps.push(self.raw(&data));
            }
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
            let (session_id, reason) = (self.session_id.clone(), Some(NO_RESULT.to_owned()));
            let status = TurnStatus::Error;
            let told = TurnCompleted { session_id, status, reason, result: None, truncated: false, duration_ms: None };
            self.turn_ends(told, &mut steps);
        } else {
            self.settle(&mut steps);
            self.open.end(&mut steps);
        }
        steps
    }

    fn activity(&self) -> Activity {
        Activity::of(false, self.working)
    }
}
