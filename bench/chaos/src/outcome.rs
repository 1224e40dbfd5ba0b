//! What came of one fault.
//!
//! Guarantees: it is good only if nothing that was counted is a fault.
//! It is not a text: see `report`.

use std::time::Duration;

use crate::tally::Tally;

/// The outcome.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Which fault.
    pub fault: &'static str,
    /// How many clients there were.
    pub clients: usize,
    /// Events that were sent.
    pub published: u64,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// What was counted.
    pub tally: Tally,
    /// The server's most memory in bytes.
    pub peak: f64,
    /// Its memory when everybody had left.
    pub after: f64,
    /// How long it took.
    pub time: Duration,
    /// What else there is to tell.
    pub facts: Vec<String>,
    /// Why it was not done.
    pub skipped: Option<String>,
}

impl Outcome {
    /// A fault that could not be made here.
    #[must_use]
    pub fn skipped(fault: &'static str, why: String) -> Self {
        Self { fault, skipped: Some(why), ..Self::default() }
    }

    /// A fault whose run ended before its time.
    #[must_use]
    pub fn failed(fault: &'static str, why: &str) -> Self {
        let mut outcome = Self { fault, ..Self::default() };
        outcome.tally.is_broken(|| why.to_owned());
        outcome
    }

    /// Adds something to tell.
    pub fn fact(&mut self, fact: impl Into<String>) {
        self.facts.push(fact.into());
    }

    /// Where no gap may even be told: a told one is a fault there.
    #[must_use]
    pub fn without_told(mut self) -> Self {
        let told = self.tally.told;
        if told > 0 {
            self.tally.is_broken(|| format!("{told} gaps were told where there was no reason for one"));
        }
        self
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.tally.faults() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_gap_is_a_fault_only_where_there_was_no_reason() {
        let told = Outcome { tally: Tally { told: 1, ..Tally::default() }, ..Outcome::default() };
        assert!(told.is_good() && !told.without_told().is_good());
        assert!(Outcome::skipped("disk", "no root".to_owned()).is_good());
        assert!(!Outcome::failed("disk", "it does not start").is_good());
    }
}
