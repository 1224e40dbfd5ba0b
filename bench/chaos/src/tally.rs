//! What went right and wrong, counted.
//!
//! Guarantees: a fault of any kind makes the sum of faults larger than zero.
//! It does not decide what a fault is: whoever counts does.

use std::{collections::BTreeMap, ops::AddAssign};

/// How many descriptions of faults are kept: the first ones tell most.
const NOTES: usize = 12;

/// The counts of one client, or of all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Messages that should have come.
    pub expected: u64,
    /// Messages that came, each counted once.
    pub seen: u64,
    /// Gaps that nobody was told of.
    pub holes: u64,
    /// Messages that came again.
    pub doubles: u64,
    /// Messages that came after a later one.
    pub disorders: u64,
    /// Messages that are not what was acknowledged, what others saw, or what the log has.
    pub strangers: u64,
    /// Commands without an answer, or with a second one.
    pub unanswered: u64,
    /// Whatever else must not be: a refusal, a disconnection for good.
    pub broken: u64,
    /// Gaps and resets that were told.
    pub told: u64,
    /// Messages that the told gaps took away.
    pub told_messages: u64,
    /// Commands that were answered.
    pub answered: u64,
    /// Connections beside the first.
    pub reconnects: u64,
    /// Why connections ended, or were not made, and how often.
    pub ends: BTreeMap<String, u64>,
    /// What the first faults were.
    pub notes: Vec<String>,
}

impl Tally {
    /// How many faults there are. What was told is none.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.holes + self.doubles + self.disorders + self.strangers + self.unanswered + self.broken
    }

    /// Keeps a description, unless there are many already.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if self.notes.len() < NOTES {
            self.notes.push(what());
        }
    }

    /// A connection ended, or was not made.
    pub fn ended(&mut self, why: &str) {
        match self.ends.get_mut(why) {
            Some(count) => *count += 1,
            None => drop(self.ends.insert(why.to_owned(), 1)),
        }
    }

    /// Counts what must not be and has no column of its own.
    pub fn is_broken(&mut self, what: impl FnOnce() -> String) {
        self.broken += 1;
        self.note(what);
    }
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        self.expected += other.expected;
        self.seen += other.seen;
        self.holes += other.holes;
        self.doubles += other.doubles;
        self.disorders += other.disorders;
        self.strangers += other.strangers;
        self.unanswered += other.unanswered;
        self.broken += other.broken;
        self.told += other.told;
        self.told_messages += other.told_messages;
        self.answered += other.answered;
        self.reconnects += other.reconnects;
        for (why, count) in &other.ends {
            *self.ends.entry(why.clone()).or_default() += count;
        }
        for note in &other.notes {
            self.note(|| note.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_counts_and_what_was_told_does_not() {
        let told = Tally { told: 3, told_messages: 9, answered: 2, reconnects: 1, ..Tally::default() };
        assert_eq!(told.faults(), 0);
        let mut all = Tally { holes: 1, doubles: 1, disorders: 1, strangers: 1, unanswered: 1, ..told };
        all.is_broken(|| "so".to_owned());
        ["cut", "cut", "silence"].into_iter().for_each(|why| all.ended(why));
        assert_eq!(all.faults(), 6);
        let mut sum = Tally::default();
        sum += &all;
        assert_eq!(sum, all);
    }

    #[test]
    fn only_the_first_descriptions_are_kept() {
        let mut tally = Tally::default();
        (0..100).for_each(|n| tally.note(|| n.to_string()));
        assert_eq!(tally.notes.len(), NOTES);
        assert_eq!(tally.notes[0], "0");
    }
}
