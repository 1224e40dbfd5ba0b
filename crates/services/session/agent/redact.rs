//! Redaction of what an agent tells: every text that people see passes through here.
//!
//! Guarantees: all texts and all strings inside values are redacted; ids, which people answer with,
//! are not touched.
//! It is not the redaction of deltas: those come in pieces.

use serde_json::Value;

use super::super::{
    adapter::Step,
    contract::{
        agent::{AgentMessage, Block},
        question::{Answer, Question},
    },
};
use crate::redaction::Redaction;

/// The step with its secrets taken out.
pub(super) fn redacted(mut step: Step, redaction: &Redaction) -> Step {
    match &mut step {
        Step::Output(output) => text(&mut output.content, redaction),
        Step::Message(message) => blocks(message, redaction),
        Step::ToolStarted(tool) => value(&mut tool.input, redaction),
        Step::ToolCompleted(tool) => value(&mut tool.output, redaction),
        Step::SubagentStarted(subagent) => optional(&mut subagent.description, redaction),
        Step::PermissionRequested(request) => {
            value(&mut request.input, redaction);
            for option in &mut request.options {
                text(&mut option.label, redaction);
            }
        }
        Step::QuestionRequested(request) => request.questions.iter_mut().for_each(|asked| question(asked, redaction)),
        Step::QuestionResolved(resolved) => resolved.answers.values_mut().for_each(|given| match given {
            Answer::One(said) => text(said, redaction),
            Answer::Several(all) => all.iter_mut().for_each(|said| text(said, redaction)),
        }),
        Step::Progress(progress) => progress.steps.iter_mut().for_each(|step| text(&mut step.text, redaction)),
        Step::TurnCompleted(turn) => optional(&mut turn.result, redaction),
        Step::Raw(raw) => value(&mut raw.data, redaction),
        Step::AgentStarted(_)
        | Step::TextDelta(_)
        | Step::ThinkingDelta(_)
        | Step::SubagentCompleted(_)
        | Step::PermissionResolved(_)
        | Step::Usage(_)
        | Step::Publish(_)
        | Step::Write(_) => {}
    }
    step
}

fn question(asked: &mut Question, redaction: &Redaction) {
    text(&mut asked.question, redaction);
    optional(&mut asked.header, redaction);
    for option in &mut asked.options {
        text(&mut option.label, redaction);
        optional(&mut option.description, redaction);
    }
}

fn blocks(message: &mut AgentMessage, redaction: &Redaction) {
    for block in &mut message.blocks {
        if let Block::Text { text: said } | Block::Thinking { text: said } = block {
            text(said, redaction);
        }
    }
}

fn text(text: &mut String, redaction: &Redaction) {
    if let std::borrow::Cow::Owned(clean) = redaction.redact(text) {
        *text = clean;
    }
}

fn optional(part: &mut Option<String>, redaction: &Redaction) {
    if let Some(part) = part {
        text(part, redaction);
    }
}

fn value(value: &mut Value, redaction: &Redaction) {
    match value {
        Value::String(part) => text(part, redaction),
        Value::Array(parts) => parts.iter_mut().for_each(|part| self::value(part, redaction)),
        Value::Object(parts) => parts.values_mut().for_each(|part| self::value(part, redaction)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::super::contract::agent::ToolStarted, *};
    use crate::redaction::RedactionConfig;

    #[test]
    fn a_secret_deep_inside_a_tools_input_is_hidden_and_its_id_stays() {
        let redaction = Redaction::new(&RedactionConfig::default()).expect("compiles");
        let key = format!("sk-{}", "abcdefghij".repeat(4));
        let step = Step::ToolStarted(ToolStarted {
            session_id: "s1".parse().expect("an id"),
            execution_id: "toolu_01A".to_owned(),
            name: "Bash".to_owned(),
            input: json!({"env": [{"value": key}], "n": 1}),
            parent_execution_id: None,
        });
        let Step::ToolStarted(tool) = redacted(step, &redaction) else { panic!("the same step") };
        assert_eq!(tool.input, json!({"env": [{"value": "[redacted]"}], "n": 1}));
        assert_eq!(tool.execution_id, "toolu_01A");
    }
}
