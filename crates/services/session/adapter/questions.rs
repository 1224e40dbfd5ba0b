//! The questions that wait for a person.
//!
//! Guarantees: each request that was told of is resolved exactly once; no more than [`MOST`] wait, each of at most
//! [`QUESTIONS`] questions with [`OPTIONS`] answers.
//! It is not how an answer reads: each adapter keeps what it needs for that (`A`) beside the request.

use std::collections::BTreeMap;

use super::{
    super::contract::{
        SessionId,
        question::{Decision, Question, QuestionRequested, QuestionResolved},
    },
    Replied, Reply, Step, bounds,
};

/// How many requests may wait at once.
const MOST: usize = 64;
/// The most questions of a request.
const QUESTIONS: usize = 16;
/// The most answers that a question offers.
const OPTIONS: usize = 64;
/// The most bytes of a question, and of what is said of an answer.
const QUESTION_BYTES: usize = 2 * 1024;
/// The most bytes of a header, and of an answer that is offered.
const LABEL_BYTES: usize = 512;

/// The requests of one session.
#[derive(Debug)]
pub(super) struct Questions<A> {
    waiting: Vec<(String, A)>,
    session_id: SessionId,
}

/// Questions that fit; none where there are too many, or none.
pub(super) fn fitting(mut questions: Vec<Question>) -> Option<Vec<Question>> {
    if questions.is_empty() || questions.len() > QUESTIONS {
        return None;
    }
    for question in &mut questions {
        if question.options.len() > OPTIONS || question.question.is_empty() {
            return None;
        }
        question.free_text |= question.options.is_empty();
        bounds::fit(&mut question.question, QUESTION_BYTES);
        question.header.iter_mut().for_each(|header| bounds::fit(header, LABEL_BYTES));
        for option in &mut question.options {
            if option.label.is_empty() {
                return None;
            }
            bounds::fit(&mut option.label, LABEL_BYTES);
            option.description.iter_mut().for_each(|description| bounds::fit(description, QUESTION_BYTES));
        }
    }
    Some(questions)
}

impl<A> Questions<A> {
    pub(super) fn new(session_id: SessionId) -> Self {
        Self { waiting: Vec::new(), session_id }
    }

    /// Whether nobody is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether this request waits.
    pub(super) fn has(&self, request_id: &str) -> bool {
        self.waiting.iter().any(|(id, _)| id == request_id)
    }

    /// A person is asked. False where too many wait, or this request does already.
    pub(super) fn ask(&mut self, asked: QuestionRequested, answer: A, steps: &mut Vec<Step>) -> bool {
        if self.waiting.len() >= MOST || self.has(&asked.request_id) {
            return false;
        }
        self.waiting.push((asked.request_id.clone(), answer));
        steps.push(Step::QuestionRequested(asked));
        true
    }

    /// A person has replied: what the adapter kept. None where no such request waits.
    pub(super) fn answer(&mut self, given: &Replied, steps: &mut Vec<Step>) -> Option<A> {
        let index = self.waiting.iter().position(|(id, _)| *id == given.request_id)?;
        let (request_id, answer) = self.waiting.remove(index);
        let (decision, answers) = match &given.reply {
            Reply::Answers { shown, .. } => (Decision::Answered, shown.clone()),
            Reply::Declined(_) => (Decision::Declined, BTreeMap::new()),
        };
        let session_id = self.session_id.clone();
        steps.push(Step::QuestionResolved(QuestionResolved {
            session_id,
            request_id,
            decision,
            answers,
            attention: None,
        }));
        Some(answer)
    }

    /// The requests that `gone` names are no longer asked: what the adapter kept of them.
    pub(super) fn withdraw(&mut self, gone: impl Fn(&str, &A) -> bool, steps: &mut Vec<Step>) -> Vec<A> {
        let mut kept = Vec::new();
        for (request_id, answer) in self.waiting.extract_if(.., |(id, answer)| gone(id, answer)) {
            let (session_id, decision) = (self.session_id.clone(), Decision::Withdrawn);
            let answers = BTreeMap::new();
            let resolved = QuestionResolved { session_id, request_id, decision, answers, attention: None };
            steps.push(Step::QuestionResolved(resolved));
            kept.push(answer);
        }
        kept
    }
}
