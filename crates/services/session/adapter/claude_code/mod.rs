//! Claude Code: `claude -p --output-format stream-json --verbose`.
//!
//! - [`saying`]: what it says and which tools it calls; [`control`]: permissions and interrupts;
//!   [`turns`]: what a turn used, and how it ended.
//!
//! Guarantees: those of every adapter. With `--input-format stream-json` among its arguments it is
//! spoken with in JSON, and can be asked again, answered and interrupted; without it, its standard
//! input is text. An echo of what was sent to it (`isReplay`) tells nothing.
//! It is not the format of the transcripts that it keeps on the disk, nor of its hooks.

mod control;
mod saying;
mod turns;

use std::collections::VecDeque;

use serde_json::{Value, json};

use self::{control::Asked, turns::Totals};
use super::{
    super::contract::{
        SessionId,
        agent::{AgentStarted, Outcome},
    },
    Activity, Adapter, Answered, Context, Replied, Step,
    asking::Asking,
    bounds,
    open::Open,
    questions::Questions,
    speech::Speech,
};
use crate::session::AdapterKind;

/// How many tasks in the background are remembered.
const TASKS: usize = 1_000;

/// One Claude Code that runs.
#[derive(Debug)]
pub(super) struct ClaudeCode {
    session_id: SessionId,
    /// Whether its standard input is JSON.
    talks: bool,
    told: Option<AgentStarted>,
    speech: Speech,
    open: Open,
    asking: Asking<Asked>,
    questions: Questions<Asked>,
    /// The calls that a person did not let run.
    rejected: VecDeque<String>,
    /// The calls that work in the background, by the id of their task.
    tasks: VecDeque<(String, String)>,
    totals: Totals,
    working: bool,
    /// It was asked to stop the turn, by a request of this number.
    interrupted: bool,
    requests: u64,
}

/// Whether a Claude Code that is started so takes JSON on its standard input.
pub(in crate::session) fn talks(argv: &[String]) -> bool {
    has_option(argv, "--input-format", "stream-json")
}

/// Whether a command line has an option with this value, in one word or in two.
pub(in crate::session) fn has_option(argv: &[String], option: &str, value: &str) -> bool {
    let in_one = |word: &String| word.strip_prefix(option).and_then(|rest| rest.strip_prefix('=')) == Some(value);
    argv.windows(2).any(|pair| pair[0] == option && pair[1] == value) || argv.iter().any(in_one)
}

impl ClaudeCode {
    pub(super) fn new(context: Context) -> Self {
        let Context { session_id, argv, .. } = context;
        Self {
            talks: talks(&argv),
            told: None,
            speech: Speech::new(session_id.clone()),
            open: Open::new(session_id.clone()),
            asking: Asking::new(),
            questions: Questions::new(session_id.clone()),
            rejected: VecDeque::new(),
            tasks: VecDeque::new(),
            totals: Totals::default(),
            working: false,
            interrupted: false,
            requests: 0,
            session_id,
        }
    }

    fn raw(&self, data: &Value) -> Step {
        bounds::raw(&self.session_id, AdapterKind::ClaudeCode, data)
    }

    fn write(&self, content: &str) -> Step {
        if !self.talks {
            return Step::Write(content.to_owned());
        }
        Step::Write(json!({ "type": "user", "message": { "role": "user", "content": content } }).to_string())
    }

    fn system(&mut self, line: &Value, steps: &mut Vec<Step>) {
        match line["subtype"].as_str() {
            Some("init") => self.init(line, steps),
            Some("task_started") => {
                if let (Some(task), Some(call)) = (bounds::id(&line["task_id"]), bounds::id(&line["tool_use_id"])) {
                    if self.tasks.len() >= TASKS {
                        self.tasks.pop_front();
                    }
                    self.tasks.push_back((task, call));
                }
                steps.push(self.raw(line));
            }
            Some("task_notification") => {
                self.task_ended(line, &line["status"], steps);
                steps.push(self.raw(line));
            }
            Some("task_updated") => {
                self.task_ended(line, &line["patch"]["status"], steps);
                steps.push(self.raw(line));
            }
            _ => steps.push(self.raw(line)),
        }
    }

    /// The subagent of a task in the background, if it has one, ended.
    fn task_ended(&mut self, line: &Value, status: &Value, steps: &mut Vec<Step>) {
        let status = match status.as_str() {
            Some("completed") => Outcome::Success,
            Some("failed" | "stopped" | "killed") => Outcome::Error,
            _ => return,
        };
        let task = bounds::id(&line["task_id"]);
        let known = self.tasks.iter().find(|(id, _)| Some(id) == task.as_ref()).map(|(_, call)| call.clone());
        if let Some(call) = known.or_else(|| bounds::id(&line["tool_use_id"])) {
            self.speech.finish_all(|parent| parent == Some(&call), &mut self.open, steps);
            self.open.complete_agent(&call, status, steps);
        }
    }

    /// It tells who it is, before each turn: that is news only where it differs.
    fn init(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let tools = line["tools"].as_array().into_iter().flatten().take(1_000).filter_map(bounds::name);
        let started = AgentStarted {
            agent_session_id: bounds::own_id(&line["session_id"]),
            model: bounds::name(&line["model"]),
            version: bounds::name(&line["claude_code_version"]),
            tools: tools.collect(),
            ..AgentStarted::of(self.session_id.clone())
        };
        self.tell(started, steps);
    }

    fn tell(&mut self, started: AgentStarted, steps: &mut Vec<Step>) {
        let former = self.told.as_ref();
        if former.is_some_and(|former| former.agent_session_id != started.agent_session_id) {
            self.totals = Totals::default();
        }
        if former != Some(&started) {
            steps.push(Step::AgentStarted(started.clone()));
            self.told = Some(started);
        }
    }

    /// The conversation begins anew, under another id.
    fn reset(&mut self, line: &Value, steps: &mut Vec<Step>) {
        let unnamed = || AgentStarted::of(self.session_id.clone());
        let mut started = self.told.clone().unwrap_or_else(unnamed);
        started.agent_session_id = bounds::own_id(&line["new_conversation_id"]);
        self.totals = Totals::default();
        self.tell(started, steps);
    }
}

impl Adapter for ClaudeCode {
    fn started(&mut self, prompt: Option<&str>, prompted: bool) -> Vec<Step> {
        self.working = prompted;
        prompt.map(|prompt| self.write(prompt)).into_iter().collect()
    }

    fn line(&mut self, line: &str) -> Vec<Step> {
        let Some(data) = bounds::object(line) else { return bounds::output(&self.session_id, line) };
        let mut steps = Vec::new();
        let kind = data["type"].as_str().unwrap_or_default();
        match kind {
            _ if data["new_conversation_id"].is_string() => self.reset(&data, &mut steps),
            "system" => self.system(&data, &mut steps),
            "stream_event" => self.stream_event(&data, &mut steps),
            "assistant" => self.assistant(&data, &mut steps),
            "user" => self.user(&data, &mut steps),
            "result" => self.result(&data, &mut steps),
            "control_request" => self.control_request(line, &data, &mut steps),
            "control_cancel_request" => self.control_cancel(&data, &mut steps),
            "control_response" => self.control_response(&data, &mut steps),
            _ => steps.push(self.raw(&data)),
        }
        steps
    }

    fn message(&mut self, _message_id: &str, content: &str) -> Vec<Step> {
        (self.working, self.interrupted) = (true, false);
        vec![self.write(content)]
    }

    fn answered(&mut self, answer: &Answered) -> Vec<Step> {
        let mut steps = Vec::new();
        self.answer(answer, &mut steps);
        steps
    }

    fn replied(&mut self, reply: &Replied) -> Vec<Step> {
        let mut steps = Vec::new();
        self.reply(reply, &mut steps);
        steps
    }

    fn interrupt(&mut self) -> Vec<Step> {
        if !self.talks || !self.working {
            return Vec::new();
        }
        self.interrupted = true;
        self.requests += 1;
        let request_id = format!("{}{}", control::OURS, self.requests);
        let request =
            json!({ "type": "control_request", "request_id": request_id, "request": { "subtype": "interrupt" } });
        vec![Step::Write(request.to_string())]
    }

    fn ended(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.speech.finish_all(|_| true, &mut self.open, &mut steps);
        self.asking.withdraw(|_, _| true, &mut steps);
        self.questions.withdraw(|_, _| true, &mut steps);
        self.open.end(&mut steps);
        if self.working {
            steps.push(self.no_result());
        }
        steps
    }

    fn activity(&self) -> Activity {
        Activity::of(!self.asking.is_empty() || !self.questions.is_empty(), self.working)
    }
}
