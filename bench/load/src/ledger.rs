//! What one subscriber got of its channel, against what was published.
//!
//! Guarantees: a message that is lost, comes twice or comes late is counted as exactly that.
//! It does not know how many there will be: whoever publishes does.

use std::ops::Range;

/// What went right and wrong, of many subscribers together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Messages that came, each counted once.
    pub delivered: u64,
    /// Messages that came again.
    pub doubles: u64,
    /// Messages that came after a later one.
    pub late: u64,
    /// Holes that were seen; what came late to fill one does not close it here.
    pub holes: u64,
}

/// The messages of one subscriber.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The number that should come next.
    next: u64,
    /// What was left out before it; empty as long as all is well.
    missing: Vec<Range<u64>>,
}

impl Ledger {
    /// A ledger that waits for the number `next`.
    #[must_use]
    pub fn starting_at(next: u64) -> Self {
        Self { next, missing: Vec::new() }
    }

    /// Enters a message by its number.
    pub fn enter(&mut self, number: u64, tally: &mut Tally) {
        if number >= self.next {
            if number > self.next {
                self.missing.push(self.next..number);
                tally.holes += 1;
            }
            self.next = number + 1;
            tally.delivered += 1;
        } else if self.fill(number) {
            tally.delivered += 1;
            tally.late += 1;
        } else {
            tally.doubles += 1;
        }
    }

    /// Takes a number out of what is missing, if it is.
    fn fill(&mut self, number: u64) -> bool {
        let Some(at) = self.missing.iter().position(|range| range.contains(&number)) else { return false };
        let range = self.missing.swap_remove(at);
        let parts = [range.start..number, number + 1..range.end];
        self.missing.extend(parts.into_iter().filter(|part| !part.is_empty()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(start: u64, numbers: &[u64]) -> Tally {
        let (mut ledger, mut tally) = (Ledger::starting_at(start), Tally::default());
        numbers.iter().for_each(|number| ledger.enter(*number, &mut tally));
        tally
    }

    #[test]
    fn what_comes_in_order_is_delivered() {
        assert_eq!(tally(0, &[0, 1, 2]), Tally { delivered: 3, ..Tally::default() });
        assert_eq!(tally(7, &[7, 8]), Tally { delivered: 2, ..Tally::default() });
    }

    #[test]
    fn what_is_left_out_is_a_hole_also_at_the_start() {
        assert_eq!(tally(0, &[2, 3, 9]), Tally { delivered: 3, holes: 2, ..Tally::default() });
    }

    #[test]
    fn what_comes_again_is_a_double_and_not_a_delivery() {
        assert_eq!(tally(0, &[0, 0, 1, 0]), Tally { delivered: 2, doubles: 2, ..Tally::default() });
        assert_eq!(tally(5, &[4]), Tally { doubles: 1, ..Tally::default() });
    }

    #[test]
    fn what_comes_after_a_later_one_is_late_once_and_then_a_double() {
        let expected = Tally { delivered: 5, doubles: 1, late: 3, holes: 1 };
        assert_eq!(tally(0, &[0, 4, 2, 1, 3, 2]), expected);
    }
}
