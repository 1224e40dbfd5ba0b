//! What ends what a session has open whose server died.
//!
//! Guarantees: everything that is open in the state gets its one end, and the person who was asked is told.
//! It is not the end of the session itself: that follows these.

use std::collections::BTreeMap;

use serde_json::Value;
use tidings_core::{Event, UserId};

use super::{
    contract::{
        Dequeued, MESSAGE_DEQUEUED, MessageDequeued, SessionId,
        agent::{
            Decision, Outcome, PERMISSION_RESOLVED, PermissionResolved, SUBAGENT_COMPLETED, SubagentCompleted,
            TOOL_COMPLETED, ToolCompleted,
        },
        question::{self, QUESTION_RESOLVED, QuestionResolved},
    },
    conversation::Conversation,
};

impl Conversation {
    /// The events that end what is open, for a session whose server died. `attention` is whom its
    /// permission requests were shown to.
    pub(super) fn abandoned(&self, session_id: &SessionId, attention: Option<&UserId>) -> Vec<Event> {
        let permissions = self.permissions.iter().map(|waiting| {
            let data = PermissionResolved {
                session_id: session_id.clone(),
                request_id: waiting.request_id.clone(),
                decision: Decision::Withdrawn,
                option_id: None,
                attention: attention.cloned(),
            };
            Event::new(PERMISSION_RESOLVED, data)
        });
        let questions = self.questions.iter().map(|waiting| {
            let data = QuestionResolved {
                session_id: session_id.clone(),
                request_id: waiting.request_id.clone(),
                decision: question::Decision::Withdrawn,
                answers: BTreeMap::new(),
                attention: attention.cloned(),
            };
            Event::new(QUESTION_RESOLVED, data)
        });
        let tools = self.tools.iter().filter(|tool| tool.status.is_none()).map(|tool| {
            let data = ToolCompleted {
                session_id: session_id.clone(),
                execution_id: tool.execution_id.clone(),
                status: Outcome::Error,
                output: Value::Null,
                return_code: None,
                duration_ms: None,
                parent_execution_id: tool.parent_execution_id.clone(),
            };
            Event::new(TOOL_COMPLETED, data)
        });
        let subagents = self.subagents.iter().map(|open| {
            let data = SubagentCompleted {
                session_id: session_id.clone(),
                execution_id: open.execution_id.clone(),
                status: Outcome::Error,
                duration_ms: None,
            };
            Event::new(SUBAGENT_COMPLETED, data)
        });
        let queued = self.queue.iter().map(|waiting| {
            let (message_id, reason) = (waiting.message_id.clone(), Dequeued::Ended);
            Event::new(MESSAGE_DEQUEUED, MessageDequeued { session_id: session_id.clone(), message_id, reason })
        });
        permissions.chain(questions).chain(tools).chain(subagents).chain(queued).collect()
    }
}
