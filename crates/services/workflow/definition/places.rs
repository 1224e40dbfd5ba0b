//! Sets of steps, by their places in a definition.
//!
//! Guarantees: a set is a bit for each step, so that those of a thousand steps that all need each other are made in no
//! time.
//! It is not an order.

/// The bits of a word.
const BITS: usize = u64::BITS as usize;

/// Some steps of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places(Vec<u64>);

impl Places {
    /// None of so many steps.
    pub(super) fn none_of(steps: usize) -> Self {
        Self(vec![0; steps.div_ceil(BITS)])
    }

    /// Puts a step in. Says whether it is new.
    pub(super) fn insert(&mut self, place: usize) -> bool {
        let (word, bit) = (&mut self.0[place / BITS], 1 << (place % BITS));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Puts all of another set of the same definition in.
    pub(super) fn insert_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    /// Whether a step is in it.
    #[must_use]
    pub fn contains(&self, place: usize) -> bool {
        self.0.get(place / BITS).is_some_and(|word| word & (1 << (place % BITS)) != 0)
    }

    /// How many steps are in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let mut some = Places::none_of(130);
        assert!([0, 63, 64, 129].map(|place| some.insert(place)).iter().all(|is_new| *is_new));
        assert!(!some.insert(64));
        let mut all = Places::none_of(130);
        all.insert(1);
        all.insert_all(&some);
        assert_eq!((0..1_000).filter(|place| all.contains(*place)).collect::<Vec<_>>(), [0, 1, 63, 64, 129]);
        assert_eq!((some.count(), all.count(), Places::default().contains(0)), (4, 5, false));
    }
}
