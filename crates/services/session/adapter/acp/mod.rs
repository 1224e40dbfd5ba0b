//! Any agent that speaks the Agent Client Protocol, version 1: JSON-RPC 2.0, a message a line. Tidings
//! is its client.
//!
//! - [`updates`]: what it says and does; [`asks`]: what it asks of the client.
//!
//! Guarantees: those of every adapter. One session of the agent is made, or loaded where one is to go
//! on; what the agent repeats of it while it loads tells nothing. Every request of the agent is
//! answered. Files and terminals are not offered, and refused.
//! It does not log in: an agent that asks for that ends its turn with an error.

mod asks;
mod updates;

use std::{collections::VecDeque, path::PathBuf};

use serde_json::{Value, json};

use self::{asks::Asked, updates::Said};
use super::{
    super::contract::{
        SessionId,
        agent::{AgentStarted, NO_RESULT, TurnCompleted, TurnStatus, Usage},
    },
    Activity, Adapter, Answered, Context, Step,
    asking::Asking,
    bounds::{self, LastWord},
    open::Open,
    speech::Speech,
};
use crate::session::AdapterKind;

/// The version of the protocol that is spoken here.
const VERSION: u64 = 1;

/// How far the conversation with the agent has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// `initialize` waits for its answer.
    Greeting,
    /// `session/new` does, or `session/load` of that session.
    Opening { loads: Option<String> },
    /// The session is there.
    Ready { session: String },
    /// There will be none.
    Failed { reason: String, why: String },
}

/// One agent that runs.
#[derive(Debug)]
pub(super) struct Acp {
    session_id: SessionId,
    root: PathBuf,
    resume: Option<String>,
    version: Option<String>,
    stage: Stage,
    /// What is to be asked once the session is there.
    waiting: VecDeque<String>,
    /// The number of our last request, and of the one that a turn waits for.
    requests: u64,
    prompt: Option<u64>,
    speech: Speech,
    said: Said,
    open: Open,
    asking: Asking<Asked>,
    asked: u64,
    rejected: VecDeque<String>,
    working: bool,
    interrupted: bool,
    /// The cost of the session so far, in US dollars: now, and at the end of the last turn.
    cost: (Option<f64>, f64),
}

impl Acp {
    pub(super) fn new(Context { session_id, root, resume, .. }: Context) -> Self {
        Self {
            root,
            resume,
            version: None,
            stage: Stage::Greeting,
            waiting: VecDeque::new(),
            requests: 0,
            prompt: None,
            speech: Speech::new(session_id.clone()),
            said: Said::default(),
            open: Open::new(session_id.clone()),
            asking: Asking::new(),
            asked: 0,
            rejected: VecDeque::new(),
            working: false,
            interrupted: false,
            cost: (None, 0.0),
            session_id,
        }
    }

    fn raw(&self, data: &Value) -> Step {
        bounds::raw(&self.session_id, AdapterKind::Acp, data)
    }

    fn request(&mut self, method: &str, params: &Value) -> Step {
        self.requests += 1;
        Step::Write(json!({ "jsonrpc": "2.0", "id": self.requests, "method": method, "params": params }).to_string())
    }

    /// Asks what waits, if the agent can be asked.
    fn ask_next(&mut self, steps: &mut Vec<Step>) {
        match &self.stage {
            Stage::Ready { session } if self.prompt.is_none() => {
                let Some(content) = self.waiting.pop_front() else { return };
                let prompt = json!([{ "type": "text", "text": content }]);
                let params = json!({ "sessionId": session, "prompt": prompt });
                steps.push(self.request("session/prompt", &params));
                self.prompt = Some(self.requests);
            }
            Stage::Failed { reason, why } if self.working => {
                let (reason, why) = (reason.clone(), why.clone());
                self.waiting.clear();
                self.turn_ends(TurnStatus::Error, Some(reason), Some(why), steps);
            }
            _ => {}
        }
    }

    fn fail(&mut self, reason: &str, why: String, steps: &mut Vec<Step>) {
        self.stage = Stage::Failed { reason: reason.to_owned(), why };
        self.ask_next(steps);
    }

    fn response(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let id = line["id"].as_u64();
        let handshake = id == Some(self.requests) && self.prompt.is_none();
        if id.is_some() && id == self.prompt {
            self.prompt = None;
            return self.prompt_answered(line, steps);
        }
        match self.stage.clone() {
            Stage::Greeting | Stage::Opening { .. } if handshake && !line["error"].is_null() => {
                let why = error(&line["error"]);
                steps.push(self.raw(line));
                self.fail("refused", why, steps);
            }
            Stage::Greeting if handshake => self.greeted(&line["result"], steps),
            Stage::Opening { loads } if handshake => self.opened(&line["result"], loads, steps),
            _ => steps.push(self.raw(line)),
        }
    }

    fn greeted(&mut self, result: &Value, steps: &mut Vec<Step>) {
        if result["protocolVersion"].as_u64() != Some(VERSION) {
            steps.push(self.raw(result));
            let why = format!("the agent does not speak version {VERSION} of the protocol");
            return self.fail("protocol_version", why, steps);
        }
        self.version = bounds::name(&result["agentInfo"]["version"]);
        let can_load = result["agentCapabilities"]["loadSession"].as_bool() == Some(true);
        let loads = self.resume.take().filter(|_| can_load);
        let mut params = json!({ "cwd": self.root.to_string_lossy(), "mcpServers": [] });
        let method = match &loads {
            Some(session) => {
                params["sessionId"] = json!(session);
                "session/load"
            }
            None => "session/new",
        };
        self.stage = Stage::Opening { loads };
        steps.push(self.request(method, &params));
    }

    fn opened(&mut self, result: &Value, loads: Option<String>, steps: &mut Vec<Step>) {
        let Some(session) = loads.or_else(|| result["sessionId"].as_str().map(str::to_owned)) else {
            steps.push(self.raw(result));
            return self.fail("refused", "the agent has made no session".to_owned(), steps);
        };
        steps.push(Step::AgentStarted(AgentStarted {
            agent_session_id: bounds::own_id(&json!(session)),
            model: bounds::name(&result["models"]["currentModelId"]),
            version: self.version.clone(),
            ..AgentStarted::of(self.session_id.clone())
        }));
        self.stage = Stage::Ready { session };
        self.ask_next(steps);
    }

    fn prompt_answered(&mut self, line: &Value, steps: &mut Vec<Step>) {
        if !line["error"].is_null() {
            let status = if self.interrupted { TurnStatus::Cancelled } else { TurnStatus::Error };
            return self.turn_ends(status, Some("error".to_owned()), Some(error(&line["error"])), steps);
        }
        let reason = bounds::name(&line["result"]["stopReason"]);
        let status = match reason.as_deref() {
            Some("end_turn") => TurnStatus::Success,
            Some("cancelled") => TurnStatus::Cancelled,
            _ => TurnStatus::Error,
        };
        self.settle(steps);
        steps.extend(self.usage(&line["result"]["usage"]));
        self.turn_ends(status, reason.filter(|_| status != TurnStatus::Success), None, steps);
        self.working = !self.waiting.is_empty();
        self.ask_next(steps);
    }

    fn usage(&mut self, usage: &Value) -> Option<Step> {
        let cost_usd = self.cost.0.map(|cost| if cost < self.cost.1 { cost } else { cost - self.cost.1 });
        if let Some(cost) = self.cost.0.take() {
            self.cost.1 = cost;
        }
        if !usage.is_object() && cost_usd.is_none() {
            return None;
        }
        let tokens = |key: &str| usage[key].as_u64().unwrap_or(0);
        Some(Step::Usage(Usage {
            session_id: self.session_id.clone(),
            input_tokens: tokens("inputTokens"),
            output_tokens: tokens("outputTokens").saturating_add(tokens("thoughtTokens")),
            cache_read_tokens: tokens("cachedReadTokens"),
            cache_write_tokens: tokens("cachedWriteTokens"),
            cost_usd,
        }))
    }

    fn turn_ends(&mut self, status: TurnStatus, reason: Option<String>, why: Option<String>, steps: &mut Vec<Step>) {
        self.settle(steps);
        self.withdraw(|_| true, steps);
        self.open.end(steps);
        self.said.forget();
        let last = self.speech.take_last();
        (self.working, self.interrupted) = (false, false);
        let (result, truncated) = LastWord::told(why.map(|why| LastWord::of(&why, false)).or(last));
        steps.push(Step::TurnCompleted(TurnCompleted {
            session_id: self.session_id.clone(),
            status,
            reason,
            result,
            truncated,
            duration_ms: None,
        }));
    }
}

impl Adapter for Acp {
    fn started(&mut self, prompt: Option<&str>, _prompted: bool) -> Vec<Step> {
        // A prompt among its arguments begins no turn of the protocol.
        self.working = prompt.is_some();
        self.waiting.extend(prompt.map(str::to_owned));
        let client = json!({ "name": "tidings", "version": env!("CARGO_PKG_VERSION") });
        let files = json!({ "readTextFile": false, "writeTextFile": false });
        let capabilities = json!({ "fs": files, "terminal": false });
        let params = json!({ "protocolVersion": VERSION, "clientCapabilities": capabilities, "clientInfo": client });
        vec![self.request("initialize", &params)]
    }

    fn line(&mut self, line: &str) -> Vec<Step> {
        let Some(data) = bounds::object(line) else { return bounds::output(&self.session_id, line) };
        let mut steps = Vec::new();
        let answers = !data["result"].is_null() || !data["error"].is_null() || data.get("result").is_some();
        match (data["method"].as_str(), data.get("id")) {
            (Some(method), Some(id)) => self.asked(method, id, &data, &mut steps),
            (Some(method), None) => self.notified(method, &data, &mut steps),
            (None, Some(_)) if answers => self.response(&data, &mut steps),
            _ => steps.push(self.raw(&data)),
        }
        steps
    }

    fn message(&mut self, _message_id: &str, content: &str) -> Vec<Step> {
        (self.working, self.interrupted) = (true, false);
        self.waiting.push_back(content.to_owned());
        let mut steps = Vec::new();
        self.ask_next(&mut steps);
        steps
    }

    fn answered(&mut self, answer: &Answered) -> Vec<Step> {
        let mut steps = Vec::new();
        self.answer(answer, &mut steps);
        steps
    }

    fn interrupt(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let (Stage::Ready { session }, true) = (&self.stage, self.prompt.is_some()) else {
            if self.working {
                // The agent was not asked yet, and is not going to be.
                self.waiting.clear();
                self.turn_ends(TurnStatus::Cancelled, Some("cancelled".to_owned()), None, &mut steps);
            }
            return steps;
        };
        let params = json!({ "sessionId": session });
        let cancel = json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": params }).to_string();
        self.interrupted = true;
        steps.push(Step::Write(cancel));
        self.withdraw(|_| true, &mut steps);
        steps
    }

    fn ended(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.working {
            let status = if self.interrupted { TurnStatus::Cancelled } else { TurnStatus::Error };
            self.turn_ends(status, Some(NO_RESULT.to_owned()), None, &mut steps);
        } else {
            self.settle(&mut steps);
            self.withdraw(|_| true, &mut steps);
            self.open.end(&mut steps);
        }
        // Nobody reads any more.
        steps.retain(|step| !matches!(step, Step::Write(_)));
        steps
    }

    fn activity(&self) -> Activity {
        Activity::of(!self.asking.is_empty(), self.working)
    }
}

fn error(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("the agent has answered with an error");
    let details = error["data"]["details"].as_str().or(error["data"].as_str());
    let whole = details.map_or(message.to_owned(), |details| format!("{message}: {details}"));
    bounds::text(&whole, bounds::VALUE_BYTES)
}
