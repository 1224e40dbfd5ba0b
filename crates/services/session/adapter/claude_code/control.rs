//! The control channel of Claude Code: it asks for permission, asks questions, and is interrupted.
//!
//! Guarantees: every request of the agent is answered: those for a permission and questions by a person, all others
//! by an error, so that it waits for nobody. What it may do is what it asked for, byte for byte.
//! It is not there without `--input-format stream-json` and `--permission-prompt-tool stdio`.

use serde::{Deserialize, Serialize};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};
use tidings_core::json;

use super::{
    super::{
        super::contract::{
            agent::{PermissionKind, PermissionOption, PermissionRequested},
            question::{Question, QuestionOption, QuestionRequested},
        },
        Answered, Choice, Replied, Reply, Step, bounds,
        open::Open,
        questions::fitting,
    },
    ClaudeCode,
};

/// How the ids of our own requests begin.
pub(super) const OURS: &str = "tidings-";
/// How many rejected calls are remembered.
const REJECTED: usize = 1_000;
/// The tool by which it asks people questions.
const QUESTION: &str = "AskUserQuestion";

/// What is needed to answer a request.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its id, as the agent gave it.
    request_id: Value,
    call: Option<String>,
    came: Came,
}

impl Asked {
    /// Whether the call that waits for it goes on.
    pub(super) fn is_of_open_call(&self, open: &Open) -> bool {
        self.call.as_ref().is_some_and(|call| open.is_open(call))
    }
}

/// What a request holds that goes back in its answer, as it came.
#[derive(Debug)]
struct Came {
    input: Box<RawValue>,
    suggestions: Box<RawValue>,
}

impl Came {
    fn of(text: &str, request: &Value) -> Self {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(borrow)]
            request: Request<'a>,
        }
        #[derive(Deserialize)]
        struct Request<'a> {
            #[serde(borrow)]
            input: Option<&'a RawValue>,
            #[serde(borrow)]
            permission_suggestions: Option<&'a RawValue>,
        }
        let text = json::Text::new(text);
        let came = text.read().map(|Line { request }| (request.input, request.permission_suggestions));
        let (input, suggestions) = came.unwrap_or_default();
        let part = |came: Option<&RawValue>, read: &Value| match came {
            Some(came) => text.came(came).to_owned(),
            None => to_raw_value(read).expect("a value is JSON"),
        };
        Self {
            input: part(input, &request["input"]),
            suggestions: part(suggestions, &request["permission_suggestions"]),
        }
    }
}

/// That the agent may, and what.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Allowed<'a> {
    behavior: &'static str,
    updated_input: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_permissions: Option<&'a RawValue>,
}

impl ClaudeCode {
    pub(super) fn control_request(&mut self, text: &str, line: &Value, steps: &mut Vec<Step>) {
        let request = &line["request"];
        let tool = bounds::name(&request["tool_name"]);
        let (Some(request_id), Some(tool), "can_use_tool") =
            (bounds::id(&line["request_id"]), tool, request["subtype"].as_str().unwrap_or_default())
        else {
            return self.refuse(line, "this request is not supported", steps);
        };
        let call = bounds::id(&request["tool_use_id"]);
        let execution_id = call.clone().filter(|call| self.open.is_open(call));
        let came = Came::of(text, request);
        let answer = Asked { request_id: line["request_id"].clone(), call, came };
        if self.asking.has(&request_id) || self.questions.has(&request_id) {
            return self.refuse(line, "this request waits already", steps);
        }
        if let Some(questions) = questions(&tool, &request["input"]).and_then(fitting) {
            let session_id = self.session_id.clone();
            let asked = QuestionRequested { session_id, request_id, questions, execution_id, attention: None };
            if !self.questions.ask(asked, answer, steps) {
                self.refuse(line, "too many questions wait", steps);
            }
            return;
        }
        let asked = PermissionRequested {
            session_id: self.session_id.clone(),
            request_id,
            tool,
            input: bounds::value(&request["input"]),
            options: options(request["permission_suggestions"].as_array().is_some_and(|it| !it.is_empty())),
            execution_id,
            expires_at: None,
            attention: None,
        };
        if !self.asking.ask(asked, answer, steps) {
            self.refuse(line, "too many requests wait", steps);
        }
    }

    /// Keeps a request that nobody here can answer, and says so to the agent.
    fn refuse(&self, line: &Value, why: &str, steps: &mut Vec<Step>) {
        steps.push(self.raw(line));
        if self.talks && line["request_id"].is_string() {
            let response = json!({ "subtype": "error", "request_id": line["request_id"], "error": why });
            steps.push(written(&response));
        }
    }

    pub(super) fn control_cancel(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let id = bounds::id(&line["request_id"]);
        let is_it = |request: &str| Some(request) == id.as_deref();
        let withdrawn = self.asking.withdraw(|asked, _| is_it(&asked.request_id), steps).len()
            + self.questions.withdraw(|asked, _| is_it(asked), steps).len();
        if withdrawn == 0 {
            steps.push(self.raw(line));
        }
    }

    pub(super) fn control_response(&self, line: &Value, steps: &mut Vec<Step>) {
        let response = &line["response"];
        let ours = response["request_id"].as_str().is_some_and(|id| id.starts_with(OURS));
        if !ours || response["subtype"] != "success" {
            steps.push(self.raw(line));
        }
    }

    pub(super) fn answer(&mut self, answer: &Answered, steps: &mut Vec<Step>) {
        let Some((asked, kind)) = self.asking.answer(answer, steps) else { return };
        if kind.allows() {
            let Came { input, suggestions } = asked.came;
            let suggestions = (kind == PermissionKind::AllowAlways).then_some(&*suggestions);
            let allowed = Allowed { behavior: "allow", updated_input: &input, updated_permissions: suggestions };
            return steps.push(succeeded(&asked.request_id, &allowed));
        }
        let message = answer.message.as_deref().unwrap_or("The user did not allow this.");
        self.deny(asked, message, steps);
    }

    /// Answers a question, in the words that the agent asked it in.
    pub(super) fn reply(&mut self, given: &Replied, steps: &mut Vec<Step>) {
        let Some(asked) = self.questions.answer(given, steps) else { return };
        match &given.reply {
            Reply::Answers { given, .. } => {
                let input = replied(&asked.came.input, given);
                let allowed = Allowed { behavior: "allow", updated_input: &input, updated_permissions: None };
                steps.push(succeeded(&asked.request_id, &allowed));
            }
            Reply::Declined(why) => {
                self.deny(asked, why.as_deref().unwrap_or("The user did not want to answer."), steps);
            }
        }
    }

    fn deny(&mut self, asked: Asked, message: &str, steps: &mut Vec<Step>) {
        if self.rejected.len() >= REJECTED {
            self.rejected.pop_front();
        }
        self.rejected.extend(asked.call);
        steps.push(succeeded(&asked.request_id, &json!({ "behavior": "deny", "message": message })));
    }
}

fn succeeded<T: Serialize>(request_id: &Value, response: &T) -> Step {
    #[derive(Serialize)]
    struct Success<'a, T> {
        subtype: &'static str,
        request_id: &'a Value,
        response: &'a T,
    }
    written(&Success { subtype: "success", request_id, response })
}

fn written<T: Serialize>(response: &T) -> Step {
    #[derive(Serialize)]
    struct Line<'a, T> {
        r#type: &'static str,
        response: &'a T,
    }
    let line = serde_json::to_string(&Line { r#type: "control_response", response });
    Step::Write(line.expect("texts and JSON serialise"))
}

fn options(always: bool) -> Vec<PermissionOption> {
    let option = |id: &str, label: &str, kind| PermissionOption { id: id.to_owned(), label: label.to_owned(), kind };
    let mut options = vec![option("allow", "Allow", PermissionKind::AllowOnce)];
    if always {
        options.push(option("allow_always", "Allow, and do not ask again", PermissionKind::AllowAlways));
    }
    options.push(option("reject", "Do not allow", PermissionKind::RejectOnce));
    options
}

/// The questions of a call, where it is the tool that asks them. People may always answer in their own words.
fn questions(tool: &str, input: &Value) -> Option<Vec<Question>> {
    if tool != QUESTION {
        return None;
    }
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let option = |option: &Value| {
        let description = text(&option["description"]);
        // What it looks like is a part of what it means.
        let preview = text(&option["preview"]);
        let description = match (description, preview) {
            (Some(description), Some(preview)) => Some(format!("{description}\n{preview}")),
            (description, preview) => description.or(preview),
        };
        Some(QuestionOption { label: text(&option["label"])?, description })
    };
    let question = |asked: &Value| {
        Some(Question {
            question: text(&asked["question"])?,
            header: text(&asked["header"]),
            options: asked["options"].as_array().map(|all| all.iter().map(option).collect()).unwrap_or(Some(vec![]))?,
            multiple: asked["multiSelect"].as_bool().unwrap_or(false),
            free_text: true,
        })
    };
    input["questions"].as_array()?.iter().map(question).collect()
}

/// The input of a question with its answers: a text for each, of several with commas between them.
fn replied(input: &RawValue, given: &[Vec<Choice>]) -> Box<RawValue> {
    let mut input = bounds::read(input.get()).unwrap_or_default();
    let answer = |(asked, choices): (&Value, &Vec<Choice>)| {
        let label = |place: usize| asked["options"][place]["label"].as_str();
        let texts: Vec<&str> = choices.iter().map(|choice| choice.text(label)).collect();
        Some((asked["question"].as_str()?.to_owned(), json!(texts.join(", "))))
    };
    let asked = input["questions"].as_array().into_iter().flatten();
    let answers: Map<_, _> = asked.zip(given).filter_map(answer).collect();
    if let Value::Object(fields) = &mut input {
        fields.insert("answers".to_owned(), Value::Object(answers));
    }
    to_raw_value(&input).expect("a value is JSON")
}
