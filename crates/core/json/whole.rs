//! Numbers that are whole, however they are written: JSON knows one kind of number, so `80.0` and `8e1` are 80.
//!
//! Guarantees: a number that is whole gets the same value without a point and without an exponent; texts, other
//! numbers and everything between stay as they came.
//! It is not a judgement of a range: that is whoever reads the number's.

use super::fit::{Part, Parts};

/// The most digits of a number that is rewritten: no integer of ours has more.
const DIGITS: usize = 20;

/// The text with each whole number written as one; none if there is nothing to rewrite.
pub(super) fn whole(text: &str) -> Option<String> {
    let (mut rewritten, mut written) = (String::new(), 0);
    for part in Parts::of(text) {
        let Part::Number(at, number) = part else { continue };
        let Some(integer) = integer(number) else { continue };
        rewritten.push_str(&text[written..at]);
        rewritten.push_str(&integer);
        written = at + number.len();
    }
    if written == 0 {
        return None;
    }
    rewritten.push_str(&text[written..]);
    Some(rewritten)
}

/// A whole number that is written with a point or an exponent, without them.
fn integer(number: &str) -> Option<String> {
    if !number.contains(['.', 'e', 'E']) {
        return None;
    }
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], number[at + 1..].parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{before}{after}");
    // So many of the digits, with zeros after them where there are too few, stand before the point.
    let count = i32::try_from(before.len()).ok()?.checked_add(exponent)?;
    let (kept, rest) = all.split_at(usize::try_from(count).unwrap_or(0).min(all.len()));
    if !rest.bytes().all(|digit| digit == b'0') {
        return None;
    }
    let kept = kept.trim_start_matches('0');
    if kept.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = usize::try_from(count).ok()?.saturating_sub(all.len());
    (kept.len() + zeros <= DIGITS).then(|| format!("{sign}{kept}{}", "0".repeat(zeros)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        let table = [
            ("80.0", Some("80")),
            ("-80.00", Some("-80")),
            ("8e1", Some("80")),
            ("8.5E1", Some("85")),
            ("850e-1", Some("85")),
            ("0.0", Some("0")),
            ("-0.0", Some("0")),
            ("0e999", Some("0")),
            ("18446744073709551615.0", Some("18446744073709551615")),
            ("80", None),
            ("80.5", None),
            ("85e-2", None),
            ("0.5", None),
            ("5e-1", None),
            ("1e300", None),
            ("1e99999999999", None),
        ];
        for (number, expected) in table {
            assert_eq!(integer(number).as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn texts_and_everything_between_stay_as_they_came() {
        let text = r#"{"1.0": "2.0", "a" :[ 3.0,4.5,{"b":5e0}] }"#;
        assert_eq!(whole(text).as_deref(), Some(r#"{"1.0": "2.0", "a" :[ 3,4.5,{"b":5}] }"#));
        assert_eq!(whole(r#"{"1.0":[1,"2.0",2.5]}"#), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_rewritten_has_the_value_that_it_had(number in "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,3})?([eE][+-]?[0-9])?") {
            let value: f64 = number.parse().expect("a number");
            if let Some(integer) = integer(&number) {
                prop_assert_eq!(integer.parse::<f64>().expect("a number"), value);
            } else {
                let plain = number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
                prop_assert!(plain || value.fract() != 0.0 || value.abs() >= 1e19, "{} stays", number);
            }
        }
    }
}
