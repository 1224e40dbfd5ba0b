//! Chance from a seed.
//!
//! Guarantees: the same seed makes the same choices, and each stream of it has choices of its own,
//! whatever the others do.
//! It is not secret: nobody may guard anything with it.

use std::{ops::Range, time::Duration};

/// The step of the generator: the golden ratio in 64 bits, so that all values come up.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of choices.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another stream, named by what it is for; this one does not move on.
    #[must_use]
    pub fn stream(&self, name: &str, index: u64) -> Self {
        Self(mixed(self.0 ^ hash(name.as_bytes()) ^ mixed(index.wrapping_add(STEP))))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is far below what any choice here could show.
        self.number() % bound
    }

    /// A number of a range that is not empty.
    pub fn within(&mut self, range: Range<usize>) -> usize {
        range.start + self.below((range.end - range.start) as u64) as usize
    }

    /// True in so large a share of the cases.
    pub fn chance(&mut self, share: f64) -> bool {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64 <= share
    }

    /// A time of a range that is not empty.
    pub fn time(&mut self, range: &Range<Duration>) -> Duration {
        let width = (range.end - range.start).as_micros() as u64;
        range.start + Duration::from_micros(self.below(width.max(1)))
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.within(0..from.len())]
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number() as u8).collect()
    }
}

/// Spreads a change of one bit over all of them.
fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A short name for some bytes: equal bytes have equal ones, and others most likely not. Never zero.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let folded = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    folded.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_choices_and_another_one_others() {
        let take = |seed, name, index| {
            let mut random = Random::new(seed).stream(name, index);
            (0..5).map(|_| random.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(take(1, "client", 2), take(1, "client", 2));
        let others = [take(2, "client", 2), take(1, "proxy", 2), take(1, "client", 3)];
        assert!(others.iter().all(|other| *other != take(1, "client", 2)));
    }

    #[test]
    fn choices_stay_inside_their_bounds_and_reach_all_of_them() {
        let mut random = Random::new(7);
        let found: std::collections::BTreeSet<_> = (0..1000).map(|_| random.within(3..7)).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        let times = Duration::from_millis(5)..Duration::from_millis(15);
        assert!((0..1000).all(|_| times.contains(&random.time(&times))));
        assert!(random.chance(1.0) && (0..100).filter(|_| random.chance(0.5)).count() > 20);
    }

    #[test]
    fn one_byte_more_or_less_makes_another_hash() {
        assert_ne!(hash(b"a"), hash(b"b"));
        assert_ne!(hash(b"a"), hash(b"aa"));
        assert_ne!(hash(b""), 0);
    }
}
