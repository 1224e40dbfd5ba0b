//! The questions of a session's state: what its agent asked and nobody answered yet.
//!
//! Guarantees: bounded as everything that is open in a conversation is; of questions that take more than
//! 8 KiB the state has the beginning of each and its answers' names: the event has the rest.
//! It is not the answer: that is told by `session.question_resolved`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::Seq;

use super::{
    contract::question::{Question, QuestionRequested},
    conversation::{Activity, Conversation, OPEN},
};
use crate::programs::decode::shortened;

/// The most bytes that a state keeps of a request's questions whole, as JSON.
const QUESTION_BYTES: usize = 8 * 1024;
/// The most bytes that a state keeps of a text of longer ones.
const TEXT_BYTES: usize = 512;

/// A request that waits for answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenQuestion {
    /// The request.
    pub request_id: String,
    /// The questions.
    pub questions: Vec<Question>,
    /// Whether something of them is left out here: the event has all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The call that waits, if it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// Its event.
    pub seq: Seq,
}

impl Conversation {
    pub(super) fn ask_question(&mut self, event: &QuestionRequested, seq: Seq) {
        self.activity = Some(Activity::Waiting);
        if self.questions.len() >= OPEN {
            return;
        }
        let mut questions = event.questions.clone();
        let length = serde_json::to_string(&questions).map_or(0, |text| text.len());
        let truncated = length > QUESTION_BYTES;
        if truncated {
            questions.truncate(QUESTION_BYTES / TEXT_BYTES);
            questions.iter_mut().for_each(cut);
        }
        self.questions.push(OpenQuestion {
            request_id: event.request_id.clone(),
            questions,
            truncated,
            execution_id: event.execution_id.clone(),
            seq,
        });
    }
}

fn cut(question: &mut Question) {
    question.header = None;
    question.options.truncate(QUESTION_BYTES / TEXT_BYTES);
    question.question = shortened(&question.question, TEXT_BYTES).to_owned();
    for option in &mut question.options {
        option.description = None;
        option.label = shortened(&option.label, TEXT_BYTES).to_owned();
    }
}
