//! The numbers that events are acknowledged under: any row of digits, where the server counts in 64 bits.
//!
//! Guarantees: a number comes back as the digits that came. One beyond [`LARGE`] is kept until it is answered, under a
//! number of the server's own; as many as there may be commands of a connection.
//! It is not the answer.

use std::collections::HashMap;

use parking_lot::Mutex;

/// From here on numbers are the server's own. What socketioxide takes ends at twice of it.
const LARGE: u64 = 1 << 62;

/// The large numbers of one connection that are not answered yet.
#[derive(Default)]
pub(super) struct Numbers(Mutex<Option<Box<Kept>>>);

#[derive(Default)]
struct Kept {
    next: u64,
    digits: HashMap<u64, Box<str>>,
}

impl Numbers {
    /// The number that stands for these digits.
    pub(super) fn take(&self, digits: &str) -> u64 {
        if let Ok(number) = digits.parse::<u64>()
            && number < LARGE
        {
            return number;
        }
        let mut kept = self.0.lock();
        let kept = kept.get_or_insert_default();
        let number = LARGE + kept.next % LARGE;
        kept.next += 1;
        kept.digits.insert(number, digits.into());
        number
    }

    /// The digits that a number stands for.
    pub(super) fn digits(&self, number: u64) -> String {
        let kept = self.0.lock();
        let large = kept.as_ref().filter(|_| number >= LARGE).and_then(|kept| kept.digits.get(&number));
        large.map_or_else(|| number.to_string(), |digits| digits.to_string())
    }

    /// A number was answered: nothing is kept of it any longer.
    pub(super) fn answered(&self, number: u64) {
        if number >= LARGE
            && let Some(kept) = self.0.lock().as_deref_mut()
        {
            kept.digits.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_as_its_digits_and_nothing_is_kept_of_it() {
        let numbers = Numbers::default();
        assert_eq!(numbers.take("007"), 7);
        assert_eq!(numbers.digits(7), "7");
        for digits in ["4611686018427387904", "9223372036854775808", "18446744073709551616", &"1".repeat(40)] {
            let number = numbers.take(digits);
            assert!(i64::try_from(number).is_ok());
            assert_eq!(numbers.digits(number), digits);
            numbers.answered(number);
        }
        assert!(numbers.0.lock().as_ref().is_some_and(|kept| kept.digits.is_empty()));
    }
}
