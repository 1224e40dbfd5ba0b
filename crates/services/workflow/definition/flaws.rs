//! Flaws: what is wrong with a definition, and where.
//!
//! Guarantees: whatever a definition says, its flaws take a bounded room: they are so many, and each is so long.
//! They are not the judgement: whoever reads a part says what is wrong with it.

use crate::programs::decode::shortened;

/// The most flaws that are kept until they are in the order of the text.
const KEPT: usize = 1_000;
/// The most bytes of a reason.
const REASON_BYTES: usize = 2 * 1024;

/// What is wrong with a definition, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "WorkflowFlaw")]
pub struct Flaw {
    /// The line, from 1.
    pub line: usize,
    /// Why it is refused, for people.
    pub reason: String,
}

impl Flaw {
    pub(super) fn at(line: usize, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if reason.len() > REASON_BYTES {
            reason = format!("{} …", shortened(&reason, REASON_BYTES));
        }
        Self { line, reason }
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Flaws(Vec<Flaw>);

impl Flaws {
    /// Notes one. Of very many, the last are not kept.
    pub(super) fn push(&mut self, flaw: Flaw) {
        if self.0.len() < KEPT {
            self.0.push(flaw);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first ones, in the order of the text.
    pub(super) fn first(self, most: usize) -> Vec<Flaw> {
        let mut flaws = self.0;
        flaws.sort_by_key(|flaw| flaw.line);
        flaws.dedup();
        flaws.truncate(most);
        flaws
    }
}

impl Extend<Flaw> for Flaws {
    fn extend<T: IntoIterator<Item = Flaw>>(&mut self, flaws: T) {
        flaws.into_iter().for_each(|flaw| self.push(flaw));
    }
}
