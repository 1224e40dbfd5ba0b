//! The permission requests that wait for a person.
//!
//! Guarantees: each request that was told of is resolved exactly once; no more than [`MOST`] wait.
//! It is not how an answer reads: each adapter keeps what it needs for that (`A`) beside the request.

use super::{
    super::contract::{
        SessionId,
        agent::{Decision, PermissionKind, PermissionRequested, PermissionResolved},
    },
    Answered, Step,
};

/// How many requests may wait at once.
const MOST: usize = 64;

#[derive(Debug)]
struct Waiting<A> {
    asked: PermissionRequested,
    answer: A,
}

/// The requests of one session.
#[derive(Debug)]
pub(super) struct Asking<A> {
    waiting: Vec<Waiting<A>>,
}

impl<A> Asking<A> {
    pub(super) fn new() -> Self {
        Self { waiting: Vec::new() }
    }

    /// Whether nobody is waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether this request waits.
    pub(super) fn has(&self, request_id: &str) -> bool {
        self.waiting.iter().any(|waiting| waiting.asked.request_id == request_id)
    }

    /// A person is asked. False where too many wait, or this request does already.
    pub(super) fn ask(&mut self, mut asked: PermissionRequested, answer: A, steps: &mut Vec<Step>) -> bool {
        if self.waiting.len() >= MOST || self.has(&asked.request_id) {
            return false;
        }
        steps.push(Step::PermissionRequested(asked.clone()));
        asked.input = serde_json::Value::Null;
        self.waiting.push(Waiting { asked, answer });
        true
    }

    /// A person has answered: what the adapter kept, and what the answer means. None where no such
    /// request waits, or it has no such option.
    pub(super) fn answer(&mut self, given: &Answered, steps: &mut Vec<Step>) -> Option<(A, PermissionKind)> {
        let index = self.waiting.iter().position(|waiting| waiting.asked.request_id == given.request_id)?;
        let options = &self.waiting[index].asked.options;
        let kind = options.iter().find(|option| option.id == given.option_id)?.kind;
        let Waiting { asked, answer } = self.waiting.remove(index);
        let decision = if kind.allows() { Decision::Allowed } else { Decision::Rejected };
        let option = Some(given.option_id.clone());
        steps.push(resolved(asked.session_id, asked.request_id, decision, option));
        Some((answer, kind))
    }

    /// The requests that `gone` names are no longer asked: what the adapter kept of them.
    pub(super) fn withdraw(
        &mut self,
        gone: impl Fn(&PermissionRequested, &A) -> bool,
        steps: &mut Vec<Step>,
    ) -> Vec<A> {
        let mut kept = Vec::new();
        for Waiting { asked, answer } in self.waiting.extract_if(.., |waiting| gone(&waiting.asked, &waiting.answer)) {
            steps.push(resolved(asked.session_id, asked.request_id, Decision::Withdrawn, None));
            kept.push(answer);
        }
        kept
    }
}

fn resolved(session_id: SessionId, request_id: String, decision: Decision, option_id: Option<String>) -> Step {
    Step::PermissionResolved(PermissionResolved { session_id, request_id, decision, option_id, attention: None })
}
