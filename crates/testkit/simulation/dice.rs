//! Chance that can be repeated: numbers drawn from a seed.
//!
//! Guarantees: the same seed gives the same numbers, on any machine.
//! It is not secret, nor good enough for anything but tests.

use std::sync::Arc;

use parking_lot::Mutex;

/// A source of numbers (splitmix64), shared by all parts of a simulated world.
#[derive(Debug)]
pub struct Dice(Mutex<u64>);

impl Dice {
    /// The dice of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Arc<Self> {
        // Neighbouring seeds must not begin alike.
        let dice = Self(Mutex::new(seed.wrapping_mul(0xD605_BBB5_8C8A_BC63)));
        dice.draw();
        Arc::new(dice)
    }

    fn draw(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 on, below `end`; 0 if that is none.
    #[must_use]
    pub fn below(&self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.draw() % end as u64) as usize }
    }

    /// True in so many of a hundred cases.
    #[must_use]
    pub fn chance(&self, percent: usize) -> bool {
        percent > 0 && self.below(100) < percent
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn one_of<'a, T>(&self, several: &'a [T]) -> &'a T {
        &several[self.below(several.len())]
    }
}
