//! What the commands of sessions take.
//!
//! Guarantees: what parses and validates is bounded; an id is one segment of a name.
//! It is not the judgement of who may: that is each row's.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use validator::{Validate, ValidationError};

use super::contract::{SessionId, Status, Stream, agent::PermissionKind, question::Answer};
use crate::{
    git::input::Worktree,
    programs::line,
    project::ProjectId,
    shell::contract::{MAX_COLS, MAX_ROWS},
    together::{absent, given, one_of},
};

/// The most bytes of a prompt.
pub const PROMPT_BYTES: usize = 64 * 1024;
/// The most bytes of a message to a program.
pub const MESSAGE_BYTES: usize = 32 * 1024;

/// Input of `session.start`: an `agent` or a `command`, not both.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = one_of(("agent", "string"), ("command", "array")), "allOf" = for_a_terminal()))]
pub struct StartSession {
    /// Where it runs.
    pub project_id: ProjectId,
    /// A configured agent.
    #[serde(default)]
    #[validate(length(min = 1, max = 64, message = "is 1 to 64 characters"))]
    pub agent: Option<String>,
    /// A free command line: a program and its arguments. Needs the right to execute.
    #[serde(default)]
    #[validate(custom(function = "line::a_command"))]
    #[schemars(length(min = 1, max = line::PARTS), inner(regex(pattern = line::PART)), extend("prefixItems" = line::program()))]
    pub command: Option<Vec<String>>,
    /// What to do: in place of `{prompt}` in the agent's command, else a line on standard input.
    #[serde(default)]
    #[validate(custom(function = "a_prompt"))]
    #[schemars(length(max = PROMPT_BYTES), regex(pattern = line::PART))]
    pub prompt: Option<String>,
    /// An earlier session of the same agent in the same project, whose conversation goes on in this one.
    #[serde(default)]
    pub resume: Option<SessionId>,
    /// Runs it in a terminal of its own, which people watch and type into: `session.terminal_opened` names it.
    /// Needs the right to execute. An agent runs as its `terminal` is configured.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pty: bool,
    /// How many columns that has: 1 to 500, 80 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1, max = "MAX_COLS", message = "is 1 to 500"))]
    pub cols: Option<u16>,
    /// How many rows: 1 to 200, 24 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1, max = "MAX_ROWS", message = "is 1 to 200"))]
    pub rows: Option<u16>,
    /// Runs it in a working tree of the project's repository instead of the project's directory. With `resume`, by
    /// default the earlier session's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub worktree: Option<Worktree>,
    /// What people call it; by default the prompt's first line, or the program.
    #[serde(default)]
    #[validate(length(min = 1, max = 200, message = "is 1 to 200 characters"))]
    pub title: Option<String>,
    /// The same key of the same user in the same project starts once within 24 hours.
    #[serde(default)]
    #[validate(length(min = 1, max = 128, message = "is 1 to 128 characters"))]
    pub idempotency_key: Option<String>,
}

/// What goes with a terminal, and what with a program that has none.
fn for_a_terminal() -> Value {
    let with_pty = json!({ "required": ["pty"], "properties": { "pty": { "const": true } } });
    json!([
        { "if": with_pty, "then": absent(&["resume"]), "else": absent(&["cols", "rows"]) },
        { "if": given("command", "array"), "then": absent(&["resume"]) },
    ])
}

/// Input of `session.list`.
#[derive(Debug, Clone, Default, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListSessions {
    /// Only those of this project.
    #[serde(default)]
    pub project_id: Option<ProjectId>,
    /// Only those that are so.
    #[serde(default)]
    pub status: Option<Status>,
    /// At most so many: 1 to 200, 50 by default.
    #[serde(default)]
    #[validate(range(min = 1, max = 200, message = "is 1 to 200"))]
    pub limit: Option<u32>,
    /// The `cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<SessionId>,
}

/// Input of `session.get`, `.cancel`, `.interrupt`, `.pause` and `.resume`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OneSession {
    /// The session.
    pub session_id: SessionId,
}

/// Input of `session.send_message`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SendMessage {
    /// The session.
    pub session_id: SessionId,
    /// A line, or several, for the program's standard input. The last newline is added.
    #[validate(custom(function = "a_message"))]
    #[schemars(length(min = 1, max = MESSAGE_BYTES))]
    pub content: String,
    /// The sender's key for this message: a repeat changes nothing and gets the same answer.
    #[serde(default)]
    #[validate(length(min = 1, max = 128, message = "is 1 to 128 characters"))]
    pub client_message_id: Option<String>,
}

/// Input of `session.cancel_message`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelMessage {
    /// The session.
    pub session_id: SessionId,
    /// The message that waits.
    #[validate(length(min = 1, max = 128, message = "is 1 to 128 characters"))]
    pub message_id: String,
}

/// Input of `session.resolve_permission`: an `optionId`, or a `decision` of which the request has an option.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[validate(schema(function = "an_answer"))]
#[schemars(extend("anyOf" = one_of(("optionId", "string"), ("decision", "string"))))]
pub struct ResolvePermission {
    /// The session.
    pub session_id: SessionId,
    /// The request that waits.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub request_id: String,
    /// One of the request's options.
    #[serde(default)]
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub option_id: Option<String>,
    /// The first of the request's options of this kind.
    #[serde(default)]
    pub decision: Option<PermissionKind>,
    /// What to tell the agent besides, such as why not.
    #[serde(default)]
    #[validate(custom(function = "a_message"))]
    #[schemars(length(min = 1, max = MESSAGE_BYTES))]
    pub message: Option<String>,
}

fn an_answer(input: &ResolvePermission) -> Result<(), ValidationError> {
    match (&input.option_id, input.decision) {
        (Some(_), None) | (None, Some(_)) => Ok(()),
        _ => refused("optionId is given, or else decision, not both"),
    }
}

/// Input of `session.answer_question`: `answers` to all questions of the request, or `decline`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[validate(schema(function = "a_reply"))]
#[schemars(extend("anyOf" = one_of(("answers", "object"), ("decline", "string"))))]
pub struct AnswerQuestion {
    /// The session.
    pub session_id: SessionId,
    /// The request that waits.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub request_id: String,
    /// By the question, what is answered: one of its options, or a text where it takes one; a list of them where
    /// several may be chosen.
    #[serde(default)]
    #[validate(custom(function = "texts"))]
    pub answers: Option<BTreeMap<String, Answer>>,
    /// Not to answer, and why not.
    #[serde(default)]
    #[validate(custom(function = "a_message"))]
    #[schemars(length(min = 1, max = MESSAGE_BYTES))]
    pub decline: Option<String>,
}

fn a_reply(input: &AnswerQuestion) -> Result<(), ValidationError> {
    match (&input.answers, &input.decline) {
        (Some(_), None) | (None, Some(_)) => Ok(()),
        _ => refused("answers are given, or else decline, not both"),
    }
}

fn texts(answers: &BTreeMap<String, Answer>) -> Result<(), ValidationError> {
    let all = || answers.values().flat_map(Answer::texts);
    match all().map(String::len).sum::<usize>() {
        length if length > MESSAGE_BYTES => refused("are at most 32 KiB together"),
        _ if all().any(String::is_empty) => refused("are not empty"),
        _ => Ok(()),
    }
}

/// Input of `session.output`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadOutput {
    /// The session.
    pub session_id: SessionId,
    /// Only this stream; by default standard output and standard error, in the order they were read.
    #[serde(default)]
    pub r#type: Option<Stream>,
}

fn refused(why: &'static str) -> Result<(), ValidationError> {
    Err(ValidationError::new("text").with_message(why.into()))
}

fn a_prompt(prompt: &str) -> Result<(), ValidationError> {
    match prompt {
        _ if prompt.len() > PROMPT_BYTES => refused("is at most 64 KiB"),
        _ if prompt.contains('\0') => refused("holds no NUL"),
        _ => Ok(()),
    }
}

fn a_message(content: &str) -> Result<(), ValidationError> {
    match content {
        "" => refused("is not empty"),
        _ if content.len() > MESSAGE_BYTES => refused("is at most 32 KiB"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        let input: StartSession = serde_json::from_str(json).expect("parses");
        tidings_core::command::check(&input).expect_err("refused").to_string()
    }

    #[test]
    fn a_start_with_parts_out_of_bounds_is_refused_with_the_field_and_the_reason() {
        assert!(refusal(r#"{"projectId":"p","command":[]}"#).contains("command: names a program"));
        assert!(refusal(r#"{"projectId":"p","command":["a\u0000"]}"#).contains("command: holds no NUL"));
        assert!(refusal(r#"{"projectId":"p","agent":""}"#).contains("agent: is 1 to 64"));
        let long = format!(r#"{{"projectId":"p","agent":"a","prompt":"{}"}}"#, "é".repeat(PROMPT_BYTES / 2 + 1));
        assert!(refusal(&long).contains("prompt: is at most 64 KiB"));
    }

    #[test]
    fn an_unknown_field_and_an_id_with_a_colon_are_refused() {
        assert!(serde_json::from_str::<StartSession>(r#"{"projectId":"p","promt":"x"}"#).is_err());
        assert!(serde_json::from_str::<OneSession>(r#"{"sessionId":"1:2"}"#).is_err());
    }
}
