//! The events of a session that its program may tell itself.
//!
//! Guarantees: an event that is not valid changes nothing; whatever a program begins is ended once; how the session
//! goes, what it was told and what people decided is the server's to tell.
//! It is not the gate: that judges producers outside.

use serde_json::{Value, json};

use super::{
    super::{
        super::contract::{
            Stream, StreamOutput,
            agent::{
                AGENT_STARTED, AgentMessage, AgentStarted, Block, Decision, MESSAGE, PERMISSION_REQUESTED,
                PERMISSION_RESOLVED, PROGRESS, PermissionRequested, PermissionResolved, Progress, RAW, Raw, Role,
                SUBAGENT_COMPLETED, SUBAGENT_STARTED, SubagentCompleted, SubagentStarted, TEXT_DELTA, THINKING_DELTA,
                TOOL_COMPLETED, TOOL_STARTED, TURN_COMPLETED, TextDelta, ToolCompleted, ToolStarted, TurnCompleted,
                USAGE, Usage,
            },
            question::{self, QUESTION_REQUESTED, QUESTION_RESOLVED, QuestionRequested, QuestionResolved},
        },
        Step,
        bounds::{self, NAME_BYTES, TEXT_BYTES},
        open::{Agent, Call, Ending},
        questions::fitting,
        speech::Kind,
    },
    Events, read, written,
};
use crate::session::contract::STREAM_OUTPUT;

/// The most parts of a plan, names of tools and options of a request.
const PARTS: usize = 1_000;
/// The most options of a permission request.
const OPTIONS: usize = 64;

type Told = Result<bool, String>;

impl Events {
    /// Tells an event of the session, or why it is none.
    pub(super) fn tell(&mut self, kind: &str, line: &Value, steps: &mut Vec<Step>) {
        let data = line["data"].clone();
        let told = match kind {
            AGENT_STARTED => self.agent_started(data, steps),
            TEXT_DELTA => self.delta(data, Kind::Text, steps),
            THINKING_DELTA => self.delta(data, Kind::Thinking, steps),
            MESSAGE => self.said(data, steps),
            TOOL_STARTED => self.tool_started(data, steps),
            TOOL_COMPLETED => self.tool_completed(data, steps),
            SUBAGENT_STARTED => self.subagent_started(data, steps),
            SUBAGENT_COMPLETED => self.subagent_completed(data, steps),
            PERMISSION_REQUESTED => self.asks_permission(&data, steps),
            QUESTION_REQUESTED => self.asks(&data, steps),
            PERMISSION_RESOLVED | QUESTION_RESOLVED => self.withdraws(kind, data, steps),
            PROGRESS => self.progress(data, steps),
            USAGE => read::<Usage>(data, &self.session_id, &[]).map(|(usage, more)| {
                steps.push(Step::Usage(usage));
                more
            }),
            TURN_COMPLETED => self.turn_completed(data, steps),
            RAW => self.keeps_raw(data, steps),
            STREAM_OUTPUT => self.printed(data, steps),
            _ => Err("no event that a program may tell of its session".to_owned()),
        };
        let known = ["type", "data", "timestamp"];
        let beside = line.as_object().is_some_and(|line| line.keys().any(|key| !known.contains(&key.as_str())));
        match told {
            Ok(more) if more || beside => steps.push(self.raw(line)),
            Ok(_) => {}
            Err(why) => self.refuse(kind, &why, line, steps),
        }
    }

    fn agent_started(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let (mut started, more) = read::<AgentStarted>(data, &self.session_id, &[])?;
        if started.agent_session_id.as_ref().is_some_and(|id| bounds::own_id(&json!(id)).is_none()) {
            return Err("data.agentSessionId: is at most 256 bytes".to_owned());
        }
        let lost = started.tools.len() > PARTS;
        started.tools.truncate(PARTS);
        let names = [&mut started.model, &mut started.version, &mut started.agent_type];
        for name in names.into_iter().flatten().chain(&mut started.tools) {
            shorten(name);
        }
        self.introduce(started, steps);
        Ok(more || lost)
    }

    fn delta(&mut self, data: Value, kind: Kind, steps: &mut Vec<Step>) -> Told {
        let own = bounds::id(&data["messageId"]);
        let defaults = [("messageId", json!("message")), ("block", json!(0)), ("offset", json!(0))];
        let (delta, more) = read::<TextDelta>(data, &self.session_id, &defaults)?;
        let at = self.speech.message(own, delta.parent_execution_id.as_deref(), &mut self.open, steps);
        let is_new = self.speech.piece(at, delta.block, kind, &delta.text, steps);
        Ok(more || !is_new)
    }

    fn said(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let own = bounds::id(&data["messageId"]);
        let (mut message, more) = read::<AgentMessage>(data, &self.session_id, &[("messageId", json!("message"))])?;
        message.blocks.iter_mut().for_each(fit);
        if message.role == Role::User {
            message.message_id = own.unwrap_or_else(|| self.speech.make_id());
            steps.push(Step::Message(message));
            return Ok(more);
        }
        let parent = message.parent_execution_id.as_deref();
        let at = self.speech.message(own, parent, &mut self.open, steps);
        if let Some(mut model) = message.model {
            shorten(&mut model);
            self.speech.at(at).model = Some(model);
        }
        for block in message.blocks {
            self.speech.whole(at, block, &mut self.open, steps);
        }
        Ok(more)
    }

    fn tool_started(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let (tool, more) = read::<ToolStarted>(data, &self.session_id, &[])?;
        let ToolStarted { execution_id: id, mut name, input, parent_execution_id: parent, .. } = tool;
        let id = fresh(&self.open, &id)?;
        shorten(&mut name);
        self.open.start(Call { id, name, input, parent, agent: None }, steps);
        Ok(more)
    }

    fn tool_completed(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let (tool, more) = read::<ToolCompleted>(data, &self.session_id, &[])?;
        let id = bounds::id(&json!(tool.execution_id)).unwrap_or_default();
        let ending = Ending { status: tool.status, output: tool.output, return_code: tool.return_code };
        if !self.open.complete(&id, &ending, false, steps) {
            return Err("data.executionId: no such call is open".to_owned());
        }
        Ok(more)
    }

    fn subagent_started(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let (started, more) = read::<SubagentStarted>(data, &self.session_id, &[])?;
        let SubagentStarted { execution_id: id, subagent_type: mut kind, mut description, .. } = started;
        kind.iter_mut().chain(&mut description).for_each(shorten);
        let id = bounds::id(&json!(id)).unwrap_or_default();
        if self.open.is_open(&id) {
            let began = self.open.delegate(&id, Agent { kind, description }, steps);
            return if began { Ok(more) } else { Err("data.executionId: it has a subagent already".to_owned()) };
        }
        self.delegate_alone(&id, Agent { kind, description }, steps)?;
        Ok(more)
    }

    /// A subagent of which no call was told: it gets one.
    pub(super) fn delegate_alone(&mut self, id: &str, agent: Agent, steps: &mut Vec<Step>) -> Result<(), String> {
        let id = fresh(&self.open, id)?;
        let name = agent.kind.clone().filter(|kind| !kind.is_empty()).unwrap_or_else(|| "subagent".to_owned());
        let input = agent.description.as_ref().map_or(Value::Null, |text| json!({ "description": text }));
        if self.alone.len() >= PARTS {
            self.alone.pop_front();
        }
        self.alone.push_back(id.clone());
        self.open.start(Call { id, name, input, parent: None, agent: Some(agent) }, steps);
        Ok(())
    }

    fn subagent_completed(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let (ended, more) = read::<SubagentCompleted>(data, &self.session_id, &[])?;
        let id = bounds::id(&json!(ended.execution_id)).unwrap_or_default();
        let place = self.alone.iter().position(|alone| *alone == id);
        let is_alone = place.and_then(|place| self.alone.remove(place)).is_some();
        let had_one = if is_alone {
            self.open.complete(&id, &Ending::bare(ended.status), false, steps)
        } else {
            self.open.end_agent(&id, ended.status, steps)
        };
        if had_one { Ok(more) } else { Err("data.executionId: no such subagent is at work".to_owned()) }
    }

    fn asks_permission(&mut self, data: &Value, steps: &mut Vec<Step>) -> Told {
        let asked = read::<PermissionRequested>(data.clone(), &self.session_id, &[]);
        let told = asked.and_then(|(mut asked, more)| {
            let id = self.free_request(&asked.request_id)?;
            let names = asked.options.iter().map(|option| option.id.len());
            if asked.options.len() > OPTIONS || names.clone().any(|length| length == 0 || length > NAME_BYTES) {
                return Err("data.options: at most 64, each with an id of 1 to 1024 bytes".to_owned());
            }
            asked.options.iter_mut().for_each(|option| shorten(&mut option.label));
            shorten(&mut asked.tool);
            asked.request_id = id;
            asked.input = bounds::value(&asked.input);
            asked.execution_id = asked.execution_id.filter(|call| self.open.is_open(call));
            let has_room = self.asking.ask(asked, (), steps);
            if has_room { Ok(more) } else { Err(FULL.to_owned()) }
        });
        self.or_withdrawn(PERMISSION_RESOLVED, data, told, steps)
    }

    fn asks(&mut self, data: &Value, steps: &mut Vec<Step>) -> Told {
        let asked = read::<QuestionRequested>(data.clone(), &self.session_id, &[]);
        let told = asked.and_then(|(mut asked, more)| {
            let id = self.free_request(&asked.request_id)?;
            let own = asked.questions.clone();
            let why = || "data.questions: 1 to 16, each with at most 64 options".to_owned();
            asked.questions = fitting(asked.questions).ok_or_else(why)?;
            asked.request_id = id;
            asked.execution_id = asked.execution_id.filter(|call| self.open.is_open(call));
            let has_room = self.questions.ask(asked, own, steps);
            if has_room { Ok(more) } else { Err(FULL.to_owned()) }
        });
        self.or_withdrawn(QUESTION_RESOLVED, data, told, steps)
    }

    /// A request under an id that does not wait.
    fn free_request(&self, id: &str) -> Result<String, String> {
        let id = bounds::id(&json!(id)).unwrap_or_default();
        if self.asking.has(&id) || self.questions.has(&id) {
            return Err("data.requestId: a request with this id waits already".to_owned());
        }
        Ok(id)
    }

    /// A request that was refused is answered, so that nobody waits for it.
    fn or_withdrawn(&self, kind: &str, data: &Value, told: Told, steps: &mut Vec<Step>) -> Told {
        let Err(why) = told else { return told };
        let waits = bounds::id(&data["requestId"]).is_some_and(|id| self.asking.has(&id) || self.questions.has(&id));
        if !waits && !data["requestId"].is_null() {
            let answer = json!({ "requestId": data["requestId"], "decision": "withdrawn", "message": why });
            steps.push(written(kind, &answer));
        }
        Err(why)
    }

    fn withdraws(&mut self, kind: &str, data: Value, steps: &mut Vec<Step>) -> Told {
        let only = || "data.decision: a program may only withdraw its request".to_owned();
        let gone = |id: &str| bounds::id(&json!(id)).unwrap_or_default();
        let (found, more) = if kind == PERMISSION_RESOLVED {
            let (resolved, more) = read::<PermissionResolved>(data, &self.session_id, &[])?;
            if resolved.decision != Decision::Withdrawn {
                return Err(only());
            }
            let id = gone(&resolved.request_id);
            (!self.asking.withdraw(|asked, ()| asked.request_id == id, steps).is_empty(), more)
        } else {
            let (resolved, more) = read::<QuestionResolved>(data, &self.session_id, &[])?;
            if resolved.decision != question::Decision::Withdrawn {
                return Err(only());
            }
            let id = gone(&resolved.request_id);
            (!self.questions.withdraw(|asked, _| asked == id, steps).is_empty(), more)
        };
        if found { Ok(more) } else { Err("data.requestId: no such request waits".to_owned()) }
    }

    fn progress(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let (mut progress, more) = read::<Progress>(data, &self.session_id, &[])?;
        let lost = progress.steps.len() > PARTS;
        progress.steps.truncate(PARTS);
        progress.steps.iter_mut().for_each(|step| shorten(&mut step.text));
        steps.push(Step::Progress(progress));
        Ok(more || lost)
    }

    fn turn_completed(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let (mut turn, more) = read::<TurnCompleted>(data, &self.session_id, &[])?;
        turn.reason.iter_mut().for_each(shorten);
        self.tells_turns = true;
        self.turn_ends(turn, steps);
        Ok(more)
    }

    fn keeps_raw(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let (mut raw, more) = read::<Raw>(data, &self.session_id, &[("source", json!("events"))])?;
        shorten(&mut raw.source);
        raw.data = bounds::value(&raw.data);
        steps.push(Step::Raw(raw));
        Ok(more)
    }

    fn printed(&mut self, data: Value, steps: &mut Vec<Step>) -> Told {
        let (output, more) = read::<StreamOutput>(data, &self.session_id, &[])?;
        if output.r#type == Stream::System {
            return Err("data.type: only the server says that".to_owned());
        }
        if !output.content.is_empty() {
            self.print(output.r#type, &output.content, steps);
        }
        Ok(more)
    }
}

const FULL: &str = "too many requests wait";

/// An id of a call that was not told of before.
fn fresh(open: &super::super::open::Open, id: &str) -> Result<String, String> {
    let id = bounds::id(&json!(id)).unwrap_or_default();
    if open.is_known(&id) { Err("data.executionId: this call was told of before".to_owned()) } else { Ok(id) }
}

fn shorten(text: &mut String) {
    bounds::fit(text, NAME_BYTES);
}

/// A block that fits.
fn fit(block: &mut Block) {
    match block {
        Block::Text { text } | Block::Thinking { text } => bounds::fit(text, TEXT_BYTES),
        Block::ToolUse { execution_id, name } => {
            *execution_id = bounds::id(&json!(execution_id)).unwrap_or_default();
            shorten(name);
        }
        Block::Other { kind } => shorten(kind),
    }
}
