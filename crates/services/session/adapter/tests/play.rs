//! A test that plays the program: it prints the lines of a script to an adapter, says what a person
//! would, and checks that the adapter writes what the script expects.
//!
//! Guarantees: whoever reads a script without hearing what it expects fails.
//! It is not the player: no process, no time.

use std::collections::BTreeMap;

use serde_json::Value;
use tidings_testkit::script::{Instruction, fill, fits, parse, recorded};

use super::super::{Activity, Adapter, Answered, Choice, Context, Replied, Reply, Step, make};
use crate::session::{
    AdapterKind,
    contract::agent::{PermissionRequested, Progress},
};

/// What a person says, in order.
#[derive(Debug, Clone)]
pub(super) enum Say {
    /// The prompt of the session.
    Prompt(&'static str),
    /// A message to an agent that is idle.
    Message(&'static str),
    /// An option for the request that waits, and what to tell the agent besides.
    Answer(&'static str, Option<&'static str>),
    /// Answers to the questions that wait: of each, the place of an option.
    Reply(&'static [usize]),
    Interrupt,
}

/// One adapter on its way through a script.
pub(super) struct Play {
    pub(super) adapter: Box<dyn Adapter>,
    pub(super) steps: Vec<Step>,
    says: Vec<Say>,
    written: Vec<String>,
    line: String,
}

pub(super) fn context(argv: &[&str]) -> Context {
    Context {
        session_id: "s1".parse().expect("an id"),
        root: "/w".into(),
        resume: None,
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
    }
}

/// Plays a recorded script to its end: all steps but what was written.
pub(super) fn play(kind: AdapterKind, name: &str, says: &[Say]) -> Vec<Step> {
    let mut play = Play::new(kind, context(&["agent", "--input-format", "stream-json"]), says);
    play.script(name);
    play.end()
}

impl Play {
    pub(super) fn new(kind: AdapterKind, context: Context, says: &[Say]) -> Self {
        let mut adapter = make(kind, context).expect("an adapter");
        let mut says = says.to_vec();
        let prompt = match says.first() {
            Some(Say::Prompt(prompt)) => Some(*prompt),
            _ => None,
        };
        says.drain(..usize::from(prompt.is_some()));
        let steps = adapter.started(prompt, true);
        let mut play = Self { adapter, steps: Vec::new(), says, written: Vec::new(), line: String::new() };
        play.take(steps);
        play
    }

    pub(super) fn script(&mut self, name: &str) {
        let script = parse(&recorded(name)).expect("a script");
        self.instructions(&script);
    }

    fn instructions(&mut self, script: &[Instruction]) {
        let mut heard = String::new();
        for instruction in script {
            match instruction {
                Instruction::Print(text) => self.print(&fill(text, &heard, 0)),
                Instruction::Expect(what) => heard = self.expect(what),
                Instruction::Complain(_) | Instruction::Wait(_) | Instruction::Exit(_) | Instruction::Hang => {}
                Instruction::Repeat(..) => panic!("no recorded script repeats"),
            }
        }
    }

    fn print(&mut self, text: &str) {
        self.line.push_str(text);
        while let Some((line, rest)) = self.line.clone().split_once('\n') {
            self.line = rest.to_owned();
            let steps = self.adapter.line(line);
            self.take(steps);
        }
    }

    fn expect(&mut self, what: &str) -> String {
        loop {
            if let Some(index) = self.written.iter().position(|line| fits(what, line)) {
                return self.written.drain(..=index).next_back().expect("the line that fits");
            }
            assert!(!self.says.is_empty(), "nobody wrote {what}; there is {:?}", self.written);
            self.say();
        }
    }

    fn say(&mut self) {
        let steps = match self.says.remove(0) {
            Say::Prompt(_) => panic!("a session has one prompt"),
            Say::Message(content) => {
                assert_eq!(self.adapter.activity(), Activity::Idle);
                self.adapter.message("m-1", content)
            }
            Say::Answer(option, message) => {
                let request = self.waiting().expect("a request waits");
                assert_eq!(self.adapter.activity(), Activity::Waiting);
                let message = message.map(str::to_owned);
                let answer = Answered { request_id: request.request_id, option_id: option.to_owned(), message };
                self.adapter.answered(&answer)
            }
            Say::Reply(places) => {
                let request_id = self.asked().expect("a question waits");
                assert_eq!(self.adapter.activity(), Activity::Waiting);
                let given = places.iter().map(|place| vec![Choice::Option(*place)]).collect();
                let reply = Reply::Answers { given, shown: BTreeMap::new() };
                self.adapter.replied(&Replied { request_id, reply })
            }
            Say::Interrupt => self.adapter.interrupt(),
        };
        self.take(steps);
    }

    fn waiting(&self) -> Option<PermissionRequested> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::PermissionRequested(request) => Some(request.clone()),
            _ => None,
        })
    }

    fn asked(&self) -> Option<String> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::QuestionRequested(request) => Some(request.request_id.clone()),
            _ => None,
        })
    }

    fn take(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Write(line) => self.written.push(line),
                step => self.steps.push(step),
            }
        }
    }

    /// Ends the output: all steps, but what was written.
    pub(super) fn end(mut self) -> Vec<Step> {
        assert!(self.says.is_empty(), "nobody asked for {:?}", self.says);
        let steps = self.adapter.ended();
        self.take(steps);
        assert_eq!(self.adapter.ended(), Vec::new(), "what has ended ends once");
        self.steps
    }
}

/// A step as one short text: its kind, and what matters of it.
pub(super) fn brief(step: &Step) -> String {
    let json = |value: &Value| value.to_string();
    let of = |parent: &Option<String>| parent.as_ref().map(|parent| format!(" in {parent}")).unwrap_or_default();
    match step {
        Step::Output(output) => format!("output {:?}", output.content),
        Step::AgentStarted(it) => {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            format!("agent {} {} {} {}", text(&it.agent_session_id), text(&it.model), text(&it.version), it.tools.len())
        }
        Step::TextDelta(it) => {
            format!("text {}.{}+{} {:?}{}", it.message_id, it.block, it.offset, it.text, of(&it.parent_execution_id))
        }
        Step::ThinkingDelta(it) => {
            format!(
                "thinking {}.{}+{} {:?}{}",
                it.message_id,
                it.block,
                it.offset,
                it.text,
                of(&it.parent_execution_id)
            )
        }
        Step::Message(it) => {
            let blocks = serde_json::to_value(&it.blocks).expect("JSON");
            let role = serde_json::to_value(it.role).expect("JSON");
            format!(
                "message {}.{} {} {blocks}{}",
                it.message_id,
                it.block,
                role.as_str().expect("a word"),
                of(&it.parent_execution_id)
            )
        }
        Step::ToolStarted(it) => {
            format!("tool {} {} {}{}", it.execution_id, it.name, json(&it.input), of(&it.parent_execution_id))
        }
        Step::ToolCompleted(it) => {
            let code = it.return_code.map(|code| format!(" code {code}")).unwrap_or_default();
            format!(
                "done {} {:?} {}{code}{}",
                it.execution_id,
                it.status,
                json(&it.output),
                of(&it.parent_execution_id)
            )
        }
        Step::SubagentStarted(it) => {
            format!("subagent {} {:?} {:?}", it.execution_id, it.subagent_type, it.description)
        }
        Step::SubagentCompleted(it) => format!("subagent done {} {:?}", it.execution_id, it.status),
        Step::PermissionRequested(it) => asked(it),
        Step::PermissionResolved(it) => format!("resolved {} {:?} {:?}", it.request_id, it.decision, it.option_id),
        Step::QuestionRequested(it) => {
            let questions: Vec<&str> = it.questions.iter().map(|asked| asked.question.as_str()).collect();
            format!("question {} {}", it.request_id, questions.join(" "))
        }
        Step::QuestionResolved(it) => format!("question done {} {:?}", it.request_id, it.decision),
        Step::Publish(it) => format!("publish {} {}", it.event_type, json(&it.data)),
        Step::Progress(it) => planned(it),
        Step::Usage(it) => format!(
            "usage {} {} {} {} {:?}",
            it.input_tokens, it.output_tokens, it.cache_read_tokens, it.cache_write_tokens, it.cost_usd
        ),
        Step::TurnCompleted(it) => format!("turn {:?} {:?} {:?} {:?}", it.status, it.reason, it.result, it.duration_ms),
        Step::Raw(it) => format!("raw {} {}", it.source, json(&it.data)),
        Step::Write(line) => format!("write {line}"),
    }
}

fn asked(it: &PermissionRequested) -> String {
    let options: Vec<&str> = it.options.iter().map(|option| option.id.as_str()).collect();
    format!("asks {} {} {} {} {:?}", it.request_id, it.tool, it.input, options.join("/"), it.execution_id)
}

fn planned(it: &Progress) -> String {
    let steps: Vec<String> = it.steps.iter().map(|step| format!("{} {:?}", step.text, step.status)).collect();
    format!("progress {}/{} {}", it.current, it.total, steps.join(", "))
}

/// Compares steps, one a line, so that a difference is readable.
pub(super) fn assert_steps(steps: &[Step], expected: &[&str]) {
    let briefs: Vec<String> = steps.iter().map(brief).collect();
    assert_eq!(briefs.join("\n"), expected.join("\n"));
}
