//! What is open: the tools that run, and the subagents among them.
//!
//! Guarantees: what started is completed exactly once, whatever the agent says twice or not at all;
//! an id starts once; no more than [`MOST`] are open, the oldest is closed as failed for the next.
//! It is not the permission requests: those are in `asking`.

use std::collections::VecDeque;

use serde_json::Value;

use super::{
    super::contract::{
        SessionId,
        agent::{Outcome, SubagentCompleted, SubagentStarted, ToolCompleted, ToolStarted},
    },
    Step, bounds,
};

/// How many tools may be open at once.
const MOST: usize = 1_000;
/// How many ids of calls are remembered, so that a call that is repeated does not start again.
const REMEMBERED: usize = 4_000;

/// A tool call as the agent tells of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) input: Value,
    pub(super) parent: Option<String>,
    /// Whether a subagent runs in it.
    pub(super) agent: Option<Agent>,
}

/// The subagent of a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Agent {
    pub(super) kind: Option<String>,
    pub(super) description: Option<String>,
}

/// How a tool ended.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) status: Outcome,
    pub(super) output: Value,
    pub(super) return_code: Option<i32>,
}

impl Ending {
    /// An end without output.
    pub(super) fn bare(status: Outcome) -> Self {
        Self { status, output: Value::Null, return_code: None }
    }
}

#[derive(Debug)]
struct Running {
    id: String,
    parent: Option<String>,
    /// The call itself is open.
    call: bool,
    /// Its subagent is.
    agent: bool,
}

/// The open tools of one session.
#[derive(Debug)]
pub(super) struct Open {
    session_id: SessionId,
    running: Vec<Running>,
    known: VecDeque<String>,
}

impl Open {
    pub(super) fn new(session_id: SessionId) -> Self {
        Self { session_id, running: Vec::new(), known: VecDeque::new() }
    }

    /// Whether this call has started and not ended.
    pub(super) fn is_open(&self, id: &str) -> bool {
        self.running.iter().any(|running| running.id == id && running.call)
    }

    /// Whether this call was told of, as far as anybody remembers.
    pub(super) fn is_known(&self, id: &str) -> bool {
        self.known.iter().any(|known| known == id)
    }

    /// The call starts, unless it was told of before.
    pub(super) fn start(&mut self, call: Call, steps: &mut Vec<Step>) {
        if self.is_known(&call.id) {
            return;
        }
        if self.running.len() >= MOST {
            let oldest = self.running.remove(0);
            self.close(&oldest, &Ending::bare(Outcome::Error), steps);
        }
        if self.known.len() >= REMEMBERED {
            self.known.pop_front();
        }
        self.known.push_back(call.id.clone());
        self.running.push(Running {
            id: call.id.clone(),
            parent: call.parent.clone(),
            call: true,
            agent: call.agent.is_some(),
        });
        let session_id = self.session_id.clone();
        steps.push(Step::ToolStarted(ToolStarted {
            session_id: session_id.clone(),
            execution_id: call.id.clone(),
            name: call.name,
            input: bounds::value(&call.input),
            parent_execution_id: call.parent,
        }));
        if let Some(Agent { kind, description }) = call.agent {
            let started = SubagentStarted { session_id, execution_id: call.id, subagent_type: kind, description };
            steps.push(Step::SubagentStarted(started));
        }
    }

    /// A subagent begins in a call that is open. False where none is, or it has one already.
    pub(super) fn delegate(&mut self, id: &str, agent: Agent, steps: &mut Vec<Step>) -> bool {
        let has_none = |running: &&mut Running| running.id == id && running.call && !running.agent;
        let Some(running) = self.running.iter_mut().find(has_none) else { return false };
        running.agent = true;
        steps.push(Step::SubagentStarted(SubagentStarted {
            session_id: self.session_id.clone(),
            execution_id: id.to_owned(),
            subagent_type: agent.kind,
            description: agent.description,
        }));
        true
    }

    /// A subagent ended, whether or not its call did. False where there is none.
    pub(super) fn end_agent(&mut self, id: &str, status: Outcome, steps: &mut Vec<Step>) -> bool {
        let Some(index) = self.running.iter().position(|running| running.id == id && running.agent) else {
            return false;
        };
        let running = &mut self.running[index];
        let (call, parent) = (running.call, running.parent.clone());
        running.agent = false;
        let ended = Running { id: id.to_owned(), parent, call: false, agent: true };
        if !call {
            self.running.remove(index);
        }
        self.close(&ended, &Ending::bare(status), steps);
        true
    }

    /// The call ended. `goes_on` says that its subagent did not. False where no such call is open.
    pub(super) fn complete(&mut self, id: &str, ending: &Ending, goes_on: bool, steps: &mut Vec<Step>) -> bool {
        let Some(index) = self.running.iter().position(|running| running.id == id && running.call) else {
            return false;
        };
        let mut running = self.running.remove(index);
        if goes_on && running.agent {
            running.agent = false;
            self.close(&running, ending, steps);
            self.running.insert(index, Running { call: false, agent: true, ..running });
        } else {
            self.close(&running, ending, steps);
        }
        true
    }

    /// A subagent ended whose call ended before it.
    pub(super) fn complete_agent(&mut self, id: &str, status: Outcome, steps: &mut Vec<Step>) {
        let ended = |running: &Running| running.id == id && running.agent && !running.call;
        if let Some(index) = self.running.iter().position(ended) {
            let running = self.running.remove(index);
            self.close(&running, &Ending::bare(status), steps);
        }
    }

    /// The turn ended: what is still open failed, but for subagents whose call ended before them, and
    /// for what these do.
    pub(super) fn end_turn(&mut self, steps: &mut Vec<Step>) {
        let mut kept: Vec<Running> = Vec::new();
        let mut lost = Vec::new();
        // A call stands behind its parent.
        for running in std::mem::take(&mut self.running) {
            let goes_on = |parent: &String| kept.iter().any(|other| other.id == *parent);
            if !running.call || running.parent.as_ref().is_some_and(goes_on) {
                kept.push(running);
            } else {
                lost.push(running);
            }
        }
        self.running = kept;
        self.fail(&lost, steps);
    }

    /// Everything that is open failed.
    pub(super) fn end(&mut self, steps: &mut Vec<Step>) {
        let lost = std::mem::take(&mut self.running);
        self.fail(&lost, steps);
    }

    fn fail(&self, lost: &[Running], steps: &mut Vec<Step>) {
        // The innermost first.
        for running in lost.iter().rev() {
            self.close(running, &Ending::bare(Outcome::Error), steps);
        }
    }

    fn close(&self, running: &Running, ending: &Ending, steps: &mut Vec<Step>) {
        let session_id = self.session_id.clone();
        if running.agent {
            steps.push(Step::SubagentCompleted(SubagentCompleted {
                session_id: session_id.clone(),
                execution_id: running.id.clone(),
                status: ending.status,
                duration_ms: None,
            }));
        }
        if running.call {
            steps.push(Step::ToolCompleted(ToolCompleted {
                session_id,
                execution_id: running.id.clone(),
                status: ending.status,
                output: bounds::value(&ending.output),
                return_code: ending.return_code,
                duration_ms: None,
                parent_execution_id: running.parent.clone(),
            }));
        }
    }
}
