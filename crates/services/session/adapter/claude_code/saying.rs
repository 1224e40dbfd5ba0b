//! What Claude Code says: its messages, in pieces and whole, and the tools it calls.
//!
//! Guarantees: a block that comes in pieces and then whole is told once; one API message that comes
//! in several lines is one message, its blocks numbered as in the stream.
//! It is not the bookkeeping: that is `speech` and `open`.

use serde_json::Value;

use super::{
    super::{
        super::contract::agent::{Block, Outcome},
        Step, bounds,
        open::{Agent, Call, Ending},
        progress::progress,
        speech::Kind,
    },
    ClaudeCode,
};

/// How the answer to a call begins that was not let run, where no person was asked.
const DENIED: &[&str] = &["Claude requested permissions to", "Permission to use", "The user doesn't want to"];
/// How the answer of a program begins that failed.
const EXIT_CODE: &str = "Exit code ";

impl ClaudeCode {
    pub(super) fn stream_event(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let (event, parent) = (&line["event"], bounds::id(&line["parent_tool_use_id"]));
        let parent = parent.as_deref();
        let known = match event["type"].as_str() {
            Some("message_start") => {
                let message = &event["message"];
                let at = self.speech.message(bounds::id(&message["id"]), parent, &mut self.open, steps);
                self.speech.at(at).model = bounds::name(&message["model"]);
                true
            }
            Some("content_block_start") => {
                let content = &event["content_block"];
                let kind = match kind_of(content) {
                    Some(Kind::Tool { .. }) | None => kind_of(content).map(|kind| (kind, "")),
                    Some(Kind::Text) => Some((Kind::Text, content["text"].as_str().unwrap_or_default())),
                    Some(Kind::Thinking) => Some((Kind::Thinking, content["thinking"].as_str().unwrap_or_default())),
                };
                kind.is_none_or(|(kind, text)| self.piece(event, parent, kind, text, steps))
            }
            Some("content_block_delta") => {
                let delta = &event["delta"];
                match delta["type"].as_str() {
                    Some("text_delta") => self.delta(event, parent, Kind::Text, &delta["text"], steps),
                    Some("thinking_delta") => self.delta(event, parent, Kind::Thinking, &delta["thinking"], steps),
                    Some("input_json_delta") => {
                        // Where its call was not told to begin, the whole block will tell of both.
                        let kind = Kind::Tool { id: String::new(), name: String::new() };
                        self.delta(event, parent, kind, &delta["partial_json"], steps)
                    }
                    Some("signature_delta" | "citations_delta") => true,
                    _ => false,
                }
            }
            Some("message_stop") => {
                if let Some(at) = self.speech.current(parent) {
                    self.speech.finish(at, &mut self.open, steps);
                }
                true
            }
            Some("content_block_stop" | "message_delta" | "ping") => true,
            _ => false,
        };
        if known {
            self.working |= parent.is_none();
        } else {
            steps.push(self.raw(line));
        }
    }

    fn delta(&mut self, event: &Value, parent: Option<&str>, kind: Kind, text: &Value, steps: &mut Vec<Step>) -> bool {
        text.as_str().is_some_and(|text| self.piece(event, parent, kind, text, steps))
    }

    fn piece(&mut self, event: &Value, parent: Option<&str>, kind: Kind, text: &str, steps: &mut Vec<Step>) -> bool {
        let Some(block) = event["index"].as_u64().and_then(|index| u32::try_from(index).ok()) else { return false };
        let at = match self.speech.current(parent) {
            Some(at) => at,
            None => self.speech.message(None, parent, &mut self.open, steps),
        };
        self.speech.piece(at, block, kind, text, steps)
    }

    pub(super) fn assistant(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let (message, parent) = (&line["message"], bounds::id(&line["parent_tool_use_id"]));
        let Some(blocks) = message["content"].as_array() else { return steps.push(self.raw(line)) };
        self.working |= parent.is_none();
        let at = self.speech.message(bounds::id(&message["id"]), parent.as_deref(), &mut self.open, steps);
        if let Some(model) = bounds::name(&message["model"]) {
            self.speech.at(at).model = Some(model);
        }
        for content in blocks {
            self.said(at, content, parent.as_deref(), steps);
        }
        if line["error"].is_string() {
            steps.push(self.raw(&serde_json::json!({ "type": "assistant", "error": line["error"] })));
        }
    }

    fn said(&mut self, at: usize, content: &Value, parent: Option<&str>, steps: &mut Vec<Step>) {
        let name = content["type"].as_str().unwrap_or_default();
        if name.ends_with("tool_result") {
            return self.tool_result(content, &Value::Null, steps);
        }
        let text = |key: &str| content[key].as_str().unwrap_or_default().to_owned();
        let block = match kind_of(content) {
            Some(Kind::Text) => Block::Text { text: text("text") },
            Some(Kind::Thinking) => Block::Thinking { text: text("thinking") },
            Some(Kind::Tool { id, name }) => Block::ToolUse { execution_id: id, name },
            None => {
                let kind = bounds::name(&content["type"]).unwrap_or_else(|| "unknown".to_owned());
                self.speech.whole(at, Block::Other { kind }, &mut self.open, steps);
                return steps.push(self.raw(content));
            }
        };
        let call = match &block {
            Block::ToolUse { execution_id, name } => Some((execution_id.clone(), name.clone())),
            _ => None,
        };
        self.speech.whole(at, block, &mut self.open, steps);
        if let Some((id, name)) = call {
            self.call(id, name, &content["input"], parent, steps);
        }
    }

    fn call(&mut self, id: String, name: String, input: &Value, parent: Option<&str>, steps: &mut Vec<Step>) {
        if self.open.is_known(&id) {
            return;
        }
        let agent = matches!(name.as_str(), "Task" | "Agent").then(|| Agent {
            kind: bounds::name(&input["subagent_type"]),
            description: bounds::name(&input["description"]),
        });
        let plan =
            (name == "TodoWrite" && parent.is_none()).then(|| progress(&self.session_id, &input["todos"], "content"));
        let parent = parent.map(str::to_owned);
        self.open.start(Call { id, name, input: input.clone(), parent, agent }, steps);
        steps.extend(plan.flatten());
    }

    pub(super) fn user(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let (content, parent) = (&line["message"]["content"], bounds::id(&line["parent_tool_use_id"]));
        let echo = line["isReplay"].as_bool() == Some(true);
        match content {
            Value::String(text) if !echo => self.heard(line, text, parent, steps),
            Value::Array(blocks) => {
                for block in blocks {
                    match (block["type"].as_str(), block["text"].as_str()) {
                        (Some("tool_result"), _) => self.tool_result(block, &line["tool_use_result"], steps),
                        (Some("text"), Some(_)) if echo => {}
                        (Some("text"), Some(text)) => self.heard(line, text, parent.clone(), steps),
                        _ => steps.push(self.raw(block)),
                    }
                }
            }
            Value::String(_) => {}
            _ => steps.push(self.raw(line)),
        }
    }

    fn heard(&mut self, line: &Value, text: &str, parent: Option<String>, steps: &mut Vec<Step>) {
        // A line of several texts has one id only: each is a message of its own.
        let id = bounds::id(&line["uuid"])
            .filter(|_| line["message"]["content"].as_array().is_none_or(|all| all.len() == 1));
        self.speech.heard(id, text, parent, steps);
    }

    fn tool_result(&mut self, content: &Value, details: &Value, steps: &mut Vec<Step>) {
        let Some(id) = bounds::id(&content["tool_use_id"]) else { return steps.push(self.raw(content)) };
        let output = flat(&content["content"]);
        let text = output.as_str().unwrap_or_default();
        let status = if content["is_error"].as_bool() != Some(true) {
            Outcome::Success
        } else if self.rejected.contains(&id) || DENIED.iter().any(|denied| text.starts_with(denied)) {
            Outcome::Blocked
        } else {
            Outcome::Error
        };
        let return_code = text.strip_prefix(EXIT_CODE).filter(|_| status == Outcome::Error);
        let return_code = return_code.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let goes_on = details["isAsync"].as_bool() == Some(true) || details["status"] == "async_launched";
        if !goes_on {
            // Its subagent says no more.
            self.speech.finish_all(|parent| parent == Some(&id), &mut self.open, steps);
        }
        if !self.open.complete(&id, &Ending { status, output, return_code }, goes_on, steps) {
            steps.push(self.raw(content));
        }
    }
}

/// What a block of content is, if it is one that is known.
fn kind_of(content: &Value) -> Option<Kind> {
    match content["type"].as_str()? {
        "text" => Some(Kind::Text),
        "thinking" => Some(Kind::Thinking),
        "tool_use" | "server_tool_use" | "mcp_tool_use" => {
            let id = bounds::id(&content["id"])?;
            Some(Kind::Tool { id, name: bounds::name(&content["name"])? })
        }
        _ => None,
    }
}

/// A list of texts as one text.
fn flat(content: &Value) -> Value {
    let Some(blocks) = content.as_array().filter(|blocks| !blocks.is_empty()) else { return content.clone() };
    let texts = blocks.iter().map(|block| block["text"].as_str().filter(|_| block["type"] == "text"));
    match texts.collect::<Option<Vec<&str>>>() {
        Some(texts) => Value::String(texts.join("\n")),
        None => content.clone(),
    }
}
