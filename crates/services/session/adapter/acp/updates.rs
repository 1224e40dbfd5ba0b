//! What an agent tells of itself: `session/update`.
//!
//! Guarantees: chunks without ids make one message until something else comes, and change their block
//! where thought turns to text; a tool that is told of only by an update starts with it; what a tool
//! gave stands in its completion, however many updates brought it.
//! It is not what the agent asks: that is in `asks`.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{
    super::{
        super::contract::agent::{Block, Outcome},
        Step, bounds,
        open::{Call, Ending},
        progress::progress,
        speech::Kind,
    },
    Acp, Stage,
};

/// How many tools are remembered with what they gave so far.
const CALLS: usize = 64;

/// The chunk that was told last, and what is known of the tools that run.
#[derive(Debug, Default)]
pub(super) struct Said {
    chunk: Option<(Option<String>, Kind, u32)>,
    calls: VecDeque<Known>,
}

#[derive(Debug)]
struct Known {
    id: String,
    name: String,
    output: Value,
}

impl Said {
    /// What a tool that runs is called.
    pub(super) fn name(&self, id: &str) -> Option<String> {
        self.calls.iter().find(|call| call.id == id).map(|call| call.name.clone())
    }

    /// No tool runs any more.
    pub(super) fn forget(&mut self) {
        self.calls.clear();
    }

    fn remember(&mut self, id: &str, name: String) {
        if self.calls.len() >= CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(Known { id: id.to_owned(), name, output: Value::Null });
    }
}

impl Acp {
    pub(super) fn notified(&mut self, method: &str, line: &Value, steps: &mut Vec<Step>) {
        match method {
            "session/update" if matches!(self.stage, Stage::Opening { loads: Some(_) }) => {}
            "session/update" => self.updated(line, steps),
            "$/cancel_request" => self.taken_back(line, steps),
            _ => steps.push(self.raw(line)),
        }
    }

    fn updated(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let update = &line["params"]["update"];
        match update["sessionUpdate"].as_str().unwrap_or_default() {
            "agent_message_chunk" => self.chunk(update, Kind::Text, steps),
            "agent_thought_chunk" => self.chunk(update, Kind::Thinking, steps),
            "agent_message" => self.whole(update, |text| Block::Text { text }, steps),
            "agent_thought" => self.whole(update, |text| Block::Thinking { text }, steps),
            "user_message_chunk" | "user_message" if !texts(&update["content"]).is_empty() => {
                self.settle(steps);
                let said = texts(&update["content"]).concat();
                self.speech.heard(bounds::id(&update["messageId"]), &said, None, steps);
            }
            "tool_call" | "tool_call_update" => {
                self.settle(steps);
                if self.tool(update, steps).is_none() {
                    steps.push(self.raw(line));
                }
            }
            "plan" => {
                self.settle(steps);
                let plan = progress(&self.session_id, &update["entries"], "content");
                steps.push(plan.unwrap_or_else(|| self.raw(line)));
            }
            kind => {
                let cost = &update["cost"];
                if kind == "usage_update" && cost["currency"].as_str().is_none_or(|currency| currency == "USD") {
                    let amount = cost["amount"].as_f64().filter(|amount| amount.is_finite() && *amount >= 0.0);
                    self.cost.0 = amount.or(self.cost.0);
                }
                steps.push(self.raw(line));
            }
        }
    }

    /// The message that chunks were making is complete.
    pub(super) fn settle(&mut self, steps: &mut Vec<Step>) {
        self.said.chunk = None;
        self.speech.finish_all(|_| true, &mut self.open, steps);
    }

    /// The place of a chunk: its message, and the number of its block.
    fn place(&mut self, update: &Value, kind: &Kind, steps: &mut Vec<Step>) -> (usize, u32) {
        let own = bounds::id(&update["messageId"]);
        let block = match &self.said.chunk {
            Some((former, of, block)) if *former == own => {
                Some(if of == kind { *block } else { block.saturating_add(1) })
            }
            _ => None,
        };
        if block.is_none() {
            self.settle(steps);
        }
        let at = self.speech.message(own.clone(), None, &mut self.open, steps);
        let block = block.unwrap_or_else(|| self.speech.at(at).free());
        self.said.chunk = Some((own, kind.clone(), block));
        (at, block)
    }

    fn chunk(&mut self, update: &Value, kind: Kind, steps: &mut Vec<Step>) {
        let content = &update["content"];
        let Some(text) = content["text"].as_str().filter(|_| content["type"] == "text") else {
            return self.other(update, content, steps);
        };
        let (at, block) = self.place(update, &kind, steps);
        if !self.speech.piece(at, block, kind, text, steps) {
            steps.push(self.raw(update));
        }
    }

    /// Content that is no text.
    fn other(&mut self, update: &Value, content: &Value, steps: &mut Vec<Step>) {
        let Some(kind) = bounds::name(&content["type"]) else { return steps.push(self.raw(update)) };
        let own = bounds::id(&update["messageId"]);
        let at = self.speech.message(own, None, &mut self.open, steps);
        self.speech.whole(at, Block::Other { kind }, &mut self.open, steps);
        self.said.chunk = None;
        steps.push(self.raw(update));
    }

    /// A message whole, which replaces its chunks.
    fn whole(&mut self, update: &Value, block: fn(String) -> Block, steps: &mut Vec<Step>) {
        let text = texts(&update["content"]).concat();
        if text.is_empty() {
            return steps.push(self.raw(update));
        }
        let own = bounds::id(&update["messageId"]);
        if !matches!(&self.said.chunk, Some((former, ..)) if *former == own) {
            self.settle(steps);
        }
        let at = self.speech.message(own, None, &mut self.open, steps);
        self.speech.whole(at, block(text), &mut self.open, steps);
        self.said.chunk = None;
    }

    /// A tool as it is told of now: it starts, goes on or ends. Its id, if it has one.
    pub(super) fn tool(&mut self, update: &Value, steps: &mut Vec<Step>) -> Option<String> {
        let id = bounds::id(&update["toolCallId"])?;
        if !self.open.is_known(&id) {
            let name = bounds::name(&update["title"]).or_else(|| bounds::name(&update["kind"]));
            let name = name.unwrap_or_else(|| "tool".to_owned());
            self.said.remember(&id, name.clone());
            let call = Call { id: id.clone(), name, input: input(update), parent: None, agent: None };
            self.open.start(call, steps);
        }
        let output = match (&update["rawOutput"], &update["content"]) {
            (Value::Null, Value::Array(content)) if !content.is_empty() => Some(flat(content)),
            (Value::Null, _) => None,
            (output, _) => Some(bounds::value(output)),
        };
        let known = self.said.calls.iter_mut().find(|call| call.id == id);
        let earlier = known.map(|known| {
            known.output = output.clone().unwrap_or_else(|| known.output.take());
            known.output.clone()
        });
        let status = match update["status"].as_str() {
            Some("completed") => Outcome::Success,
            Some("failed") if self.rejected.contains(&id) => Outcome::Blocked,
            Some("failed") => Outcome::Error,
            _ => return Some(id),
        };
        let return_code = update["rawOutput"]["exitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
        let ending = Ending { status, output: earlier.or(output).unwrap_or_default(), return_code };
        if self.open.complete(&id, &ending, false, steps) {
            self.said.calls.retain(|call| call.id != id);
        }
        Some(id)
    }
}

/// What a tool is called with: as the agent says, else what it shows of it.
pub(super) fn input(call: &Value) -> Value {
    if !call["rawInput"].is_null() {
        return call["rawInput"].clone();
    }
    let shown = ["kind", "locations"].map(|key| (key, &call[key])).into_iter().filter(|(_, value)| !value.is_null());
    let shown: serde_json::Map<String, Value> = shown.map(|(key, value)| (key.to_owned(), value.clone())).collect();
    if shown.is_empty() { Value::Null } else { Value::Object(shown) }
}

/// The texts of one content or of a list of them.
fn texts(content: &Value) -> Vec<&str> {
    let of = |content: &'_ Value| content["type"] == "text";
    match content {
        Value::Array(all) => all.iter().filter(|one| of(one)).filter_map(|one| one["text"].as_str()).collect(),
        one if of(one) => one["text"].as_str().into_iter().collect(),
        _ => Vec::new(),
    }
}

/// What a tool shows, as one text where it is nothing but text.
fn flat(content: &[Value]) -> Value {
    let text = |one: &'_ Value| one["type"] == "content" && one["content"]["type"] == "text";
    if content.iter().all(text) {
        let texts: Vec<&str> = content.iter().filter_map(|one| one["content"]["text"].as_str()).collect();
        return bounds::value(&json!(texts.join("\n")));
    }
    bounds::value(&json!(content))
}
