//! Any program that prints events, one a line: `{"type": "session.progress", "data": {…}}`. Tidings answers in the same
//! form.
//!
//! - [`told`]: the events of a session; [`plain`]: the words of programs that were there before.
//!
//! Guarantees: those of every adapter. What a program may not tell is refused, and that is told with the reason, beside
//! the line itself; an event of another domain is handed on with all that it had.
//! It is not the judgement of what may be published: that is the gate's.

mod plain;
mod told;

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};
use tidings_core::{Channel, EventType};

use self::plain::Plain;
use super::{
    super::contract::{
        SessionId, Stream, StreamOutput,
        agent::{AgentStarted, Decision, NO_RESULT, PermissionKind, TurnCompleted, TurnStatus},
        question::{self, Question},
    },
    Activity, Adapter, Answered, Choice, Context, Publication, Replied, Reply, Step,
    asking::Asking,
    bounds::{self, LastWord},
    open::Open,
    questions::Questions,
    speech::Speech,
};
use crate::session::AdapterKind;

/// The most bytes of the reason why something was refused.
const WHY_BYTES: usize = 1024;

/// One program that runs.
#[derive(Debug)]
pub(super) struct Events {
    session_id: SessionId,
    speech: Speech,
    open: Open,
    asking: Asking<()>,
    questions: Questions<Vec<Question>>,
    /// Who it said that it is.
    who: Option<AgentStarted>,
    plain: Plain,
    /// Calls that are there for the sake of a subagent only.
    alone: VecDeque<String>,
    working: bool,
    interrupted: bool,
    /// Whether it tells the ends of its turns.
    tells_turns: bool,
    /// The last error that it told in the turn.
    failed: Option<String>,
}

impl Events {
    pub(super) fn new(Context { session_id, .. }: Context) -> Self {
        Self {
            speech: Speech::new(session_id.clone()),
            open: Open::new(session_id.clone()),
            asking: Asking::new(),
            questions: Questions::new(session_id.clone()),
            who: None,
            plain: Plain::default(),
            alone: VecDeque::new(),
            working: false,
            interrupted: false,
            tells_turns: false,
            failed: None,
            session_id,
        }
    }

    fn raw(&self, data: &Value) -> Step {
        bounds::raw(&self.session_id, AdapterKind::Events, data)
    }

    /// What the program could not tell: the line, and why.
    fn refuse(&self, kind: &str, why: &str, line: &Value, steps: &mut Vec<Step>) {
        steps.push(self.raw(line));
        steps.push(refusal(&self.session_id, kind, why));
    }

    /// Output that the program told as such.
    fn print(&self, stream: Stream, text: &str, steps: &mut Vec<Step>) {
        for step in bounds::output(&self.session_id, text.strip_suffix('\n').unwrap_or(text)) {
            steps.push(match step {
                Step::Output(output) => Step::Output(StreamOutput { r#type: stream, ..output }),
                other => other,
            });
        }
    }

    /// Who it is, which is news only where it differs.
    fn introduce(&mut self, started: AgentStarted, steps: &mut Vec<Step>) {
        if self.who.as_ref() != Some(&started) {
            steps.push(Step::AgentStarted(started.clone()));
            self.who = Some(started);
        }
    }

    /// What it says is told whole.
    fn settle(&mut self, steps: &mut Vec<Step>) {
        self.speech.finish_all(|_| true, &mut self.open, steps);
    }

    fn withdraw(&mut self, steps: &mut Vec<Step>) {
        self.asking.withdraw(|_, ()| true, steps);
        self.questions.withdraw(|_, _| true, steps);
    }

    fn turn_ends(&mut self, turn: TurnCompleted, steps: &mut Vec<Step>) {
        self.settle(steps);
        self.withdraw(steps);
        self.open.end_turn(steps);
        self.plain.forget();
        let last = self.speech.take_last();
        let word = turn.result.as_deref().map(|text| LastWord::of(text, turn.truncated)).or(last);
        let (result, truncated) = LastWord::told(word);
        (self.working, self.interrupted, self.failed) = (false, false, None);
        steps.push(Step::TurnCompleted(TurnCompleted { result, truncated, ..turn }));
    }

    fn turn(&self, status: TurnStatus, reason: Option<&str>, result: Option<String>) -> TurnCompleted {
        TurnCompleted {
            session_id: self.session_id.clone(),
            status,
            reason: reason.map(str::to_owned),
            result,
            truncated: false,
            duration_ms: None,
        }
    }

    /// An event of another domain.
    fn hand_on(&self, kind: &str, line: &Value, steps: &mut Vec<Step>) {
        let mut refuse = |why: &str| self.refuse(kind, why, line, steps);
        let event_type: EventType = match kind.parse() {
            Ok(event_type) => event_type,
            Err(error) => return refuse(&format!("{error}")),
        };
        if !line["data"].is_object() {
            return refuse("data: an object");
        }
        let channel = match line["channel"].as_str().map(str::parse::<Channel>).transpose() {
            Ok(channel) => channel,
            Err(error) => return refuse(&format!("channel: {error}")),
        };
        let id = line["id"].as_str().map(str::to_owned);
        steps.push(Step::Publish(Publication { event_type, channel, id, data: line["data"].clone() }));
        let known = ["type", "data", "channel", "id", "timestamp"];
        if line.as_object().is_some_and(|line| line.keys().any(|key| !known.contains(&key.as_str()))) {
            steps.push(self.raw(line));
        }
    }
}

/// That something was refused, for people.
pub(in crate::session) fn refusal(session_id: &SessionId, kind: &str, why: &str) -> Step {
    let (kind, why) = (bounds::text(kind, WHY_BYTES), bounds::text(why, WHY_BYTES));
    Step::Output(StreamOutput {
        session_id: session_id.clone(),
        r#type: Stream::System,
        content: format!("refused: {kind}: {why}\n"),
        offset: None,
    })
}

fn written(kind: &str, data: &Value) -> Step {
    Step::Write(json!({ "type": kind, "data": data }).to_string())
}

/// The answers as the program reads them: in the words of its own options.
fn answers(questions: &[Question], given: &[Vec<Choice>]) -> Value {
    let of = |(question, choices): (&Question, &Vec<Choice>)| {
        let label = |place: usize| question.options.get(place).map(|option| option.label.as_str());
        let texts: Vec<&str> = choices.iter().map(|choice| choice.text(label)).collect();
        let value = if question.multiple { json!(texts) } else { json!(texts.first()) };
        (question.question.clone(), value)
    };
    Value::Object(questions.iter().zip(given).map(of).collect::<Map<_, _>>())
}

impl Adapter for Events {
    fn started(&mut self, prompt: Option<&str>, prompted: bool) -> Vec<Step> {
        self.working = prompted;
        let message = |prompt| written("session.user_message", &json!({ "content": prompt }));
        prompt.map(message).into_iter().collect()
    }

    fn line(&mut self, text: &str) -> Vec<Step> {
        let line = bounds::object(text);
        let kind = line.as_ref().and_then(|line| line["type"].as_str());
        let (Some(line), Some(kind)) = (&line, kind) else { return bounds::output(&self.session_id, text) };
        let mut steps = Vec::new();
        if kind.starts_with("session.") {
            self.tell(kind, line, &mut steps);
        } else if plain::knows(kind) {
            self.plain(kind, line, &mut steps);
        } else if kind.contains('.') {
            self.hand_on(kind, line, &mut steps);
        } else {
            steps.push(self.raw(line));
        }
        steps
    }

    fn message(&mut self, message_id: &str, content: &str) -> Vec<Step> {
        (self.working, self.interrupted) = (true, false);
        vec![written("session.user_message", &json!({ "messageId": message_id, "content": content }))]
    }

    fn answered(&mut self, answer: &Answered) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(((), kind)) = self.asking.answer(answer, &mut steps) else { return steps };
        let decision = if kind.allows() { Decision::Allowed } else { Decision::Rejected };
        let always = matches!(kind, PermissionKind::AllowAlways | PermissionKind::RejectAlways);
        let mut data = json!({ "requestId": answer.request_id, "decision": decision, "optionId": answer.option_id });
        data["always"] = json!(always);
        if let Some(message) = &answer.message {
            data["message"] = json!(message);
        }
        steps.push(written("session.permission_resolved", &data));
        steps
    }

    fn replied(&mut self, given: &Replied) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(asked) = self.questions.answer(given, &mut steps) else { return steps };
        let mut data = json!({ "requestId": given.request_id });
        match &given.reply {
            Reply::Answers { given, .. } => {
                data["decision"] = json!(question::Decision::Answered);
                data["answers"] = answers(&asked, given);
            }
            Reply::Declined(why) => {
                data["decision"] = json!(question::Decision::Declined);
                if let Some(why) = why {
                    data["message"] = json!(why);
                }
            }
        }
        steps.push(written("session.question_resolved", &data));
        steps
    }

    fn interrupt(&mut self) -> Vec<Step> {
        if !self.working {
            return Vec::new();
        }
        self.interrupted = true;
        vec![written("session.interrupt", &json!({}))]
    }

    fn ended(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let failed = self.failed.take();
        if self.working && (self.tells_turns || self.interrupted || failed.is_some()) {
            let reason = if failed.is_some() { "error" } else { NO_RESULT };
            let status = if self.interrupted { TurnStatus::Cancelled } else { TurnStatus::Error };
            let turn = self.turn(status, Some(reason), failed);
            self.turn_ends(turn, &mut steps);
        }
        self.settle(&mut steps);
        self.withdraw(&mut steps);
        self.open.end(&mut steps);
        self.working = false;
        steps
    }

    fn activity(&self) -> Activity {
        Activity::of(!self.asking.is_empty() || !self.questions.is_empty(), self.working)
    }
}

/// The data of an event: what is wrong with it is said by its fields.
fn read<T>(mut data: Value, session_id: &SessionId, defaults: &[(&str, Value)]) -> Result<(T, bool), String>
where
    T: serde::de::DeserializeOwned + serde::Serialize + validator::Validate,
{
    let Value::Object(fields) = &mut data else { return Err("data: an object".to_owned()) };
    match fields.get("sessionId") {
        None | Some(Value::Null) => {}
        Some(named) if named == session_id.as_str() => {}
        Some(_) => return Err("data.sessionId: this program tells of its own session".to_owned()),
    }
    fields.insert("sessionId".to_owned(), json!(session_id));
    for (name, default) in defaults {
        fields.entry(*name).or_insert_with(|| default.clone());
    }
    let said: Vec<String> = fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect();
    let event: T = serde_json::from_value(data).map_err(|error| format!("data: {error}"))?;
    tidings_core::command::check(&event).map_err(|error| {
        let fields: &BTreeMap<String, String> = error.fields();
        let place = |name: &str| if name.is_empty() { "data".to_owned() } else { format!("data.{name}") };
        let fields: Vec<String> = fields.iter().map(|(name, why)| format!("{}: {why}", place(name))).collect();
        fields.join("; ")
    })?;
    let known = serde_json::to_value(&event).unwrap_or_default();
    let has_more = said.iter().any(|name| known.get(name).is_none());
    Ok((event, has_more))
}
