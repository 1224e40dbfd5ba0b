//! What an agent asks of its client: permissions, and what is not offered.
//!
//! Guarantees: each request is answered exactly once: a permission by a person, or as cancelled when it
//! is withdrawn; everything else by an error.
//! It is not what the agent tells without a question: that is in `updates`.

use serde_json::{Value, json};

use super::{
    super::{
        super::contract::agent::{PermissionKind, PermissionOption, PermissionRequested},
        Answered, Step, bounds,
    },
    Acp,
};

/// The error of JSON-RPC for a method that is not there.
const METHOD_NOT_FOUND: i64 = -32_601;
/// The error of JSON-RPC for parameters that make no sense.
const INVALID_PARAMS: i64 = -32_602;
/// How many rejected calls are remembered.
const REJECTED: usize = 1_000;
/// How many options a request may have.
const OPTIONS: usize = 32;

/// What is needed to answer a request.
#[derive(Debug)]
pub(super) struct Asked {
    /// The id of the request, as the agent gave it.
    id: Value,
    call: Option<String>,
    /// The ids of the options as they are told, and as the agent gave them.
    options: Vec<(String, Value)>,
}

impl Acp {
    pub(super) fn asked(&mut self, method: &str, id: &Value, line: &Value, steps: &mut Vec<Step>) {
        if method != "session/request_permission" {
            steps.push(self.raw(line));
            return steps.push(refusal(id, METHOD_NOT_FOUND, "this client does not offer that"));
        }
        let params = &line["params"];
        let (told, options) = options(&params["options"]);
        if told.is_empty() {
            steps.push(self.raw(line));
            return steps.push(refusal(id, INVALID_PARAMS, "a permission request needs options"));
        }
        self.settle(steps);
        let call = self.tool(&params["toolCall"], steps);
        let name = call.as_ref().and_then(|call| self.said.name(call));
        self.asked += 1;
        let request = PermissionRequested {
            session_id: self.session_id.clone(),
            request_id: format!("permission-{}", self.asked),
            tool: name.or_else(|| bounds::name(&params["toolCall"]["title"])).unwrap_or_else(|| "tool".to_owned()),
            input: bounds::value(&super::updates::input(&params["toolCall"])),
            options: told,
            execution_id: call.clone().filter(|call| self.open.is_open(call)),
            expires_at: None,
            attention: None,
        };
        if !self.asking.ask(request, Asked { id: id.clone(), call, options }, steps) {
            steps.push(self.raw(line));
            steps.push(outcome(id, &json!({ "outcome": "cancelled" })));
        }
    }

    pub(super) fn answer(&mut self, answer: &Answered, steps: &mut Vec<Step>) {
        let Some((asked, kind)) = self.asking.answer(answer, steps) else { return };
        if !kind.allows() {
            if self.rejected.len() >= REJECTED {
                self.rejected.pop_front();
            }
            self.rejected.extend(asked.call);
        }
        let option = asked.options.into_iter().find(|(told, _)| *told == answer.option_id);
        if let Some((_, option)) = option {
            steps.push(outcome(&asked.id, &json!({ "outcome": "selected", "optionId": option })));
        }
    }

    /// The requests that `gone` names, by the agent's id, are no longer asked.
    pub(super) fn withdraw(&mut self, gone: impl Fn(&Asked) -> bool, steps: &mut Vec<Step>) -> bool {
        let answers = self.asking.withdraw(|_, asked| gone(asked), steps);
        steps.extend(answers.iter().map(|asked| outcome(&asked.id, &json!({ "outcome": "cancelled" }))));
        !answers.is_empty()
    }

    /// The agent takes a request back.
    pub(super) fn taken_back(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let params = &line["params"];
        let id = params.get("requestId").or_else(|| params.get("id"));
        if !self.withdraw(|asked| Some(&asked.id) == id, steps) {
            steps.push(self.raw(line));
        }
    }
}

fn options(options: &Value) -> (Vec<PermissionOption>, Vec<(String, Value)>) {
    let mut told: Vec<PermissionOption> = Vec::new();
    let mut ids = Vec::new();
    for option in options.as_array().into_iter().flatten().take(OPTIONS) {
        let Some(id) = bounds::id(&option["optionId"]) else { continue };
        let kind = match option["kind"].as_str() {
            Some("allow_once") => PermissionKind::AllowOnce,
            Some("allow_always") => PermissionKind::AllowAlways,
            Some("reject_always") => PermissionKind::RejectAlways,
            // A kind that is not known allows nothing more than it says.
            Some(kind) if kind.starts_with("allow") => PermissionKind::AllowOnce,
            _ => PermissionKind::RejectOnce,
        };
        if told.iter().any(|other| other.id == id) {
            continue;
        }
        let label = bounds::name(&option["name"]).unwrap_or_else(|| id.clone());
        ids.push((id.clone(), option["optionId"].clone()));
        told.push(PermissionOption { id, label, kind });
    }
    (told, ids)
}

fn outcome(id: &Value, outcome: &Value) -> Step {
    Step::Write(json!({ "jsonrpc": "2.0", "id": id, "result": { "outcome": outcome } }).to_string())
}

fn refusal(id: &Value, code: i64, why: &str) -> Step {
    Step::Write(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": why } }).to_string())
}
