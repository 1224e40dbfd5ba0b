//! An instant as RFC 3339 with milliseconds and `Z`, which every message has.
//!
//! Guarantees: the same text as the general formatter's, for the years 0 to 9999; what lies outside
//! becomes 1970.
//! It is not a calendar: the date comes from days alone (Howard Hinnant's `civil_from_days`).

const DAY_MS: i64 = 86_400_000;
/// 0000-01-01 and 10000-01-01.
const YEARS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;

/// The text of an instant in milliseconds since 1970.
pub(super) fn rfc3339(ms: i64) -> [u8; 24] {
    let ms = if YEARS.contains(&ms) { ms } else { 0 };
    let (year, month, day) = date(ms.div_euclid(DAY_MS));
    let time = ms.rem_euclid(DAY_MS);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let fields = [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, time / 3_600_000),
        (14..16, time / 60_000 % 60),
        (17..19, time / 1000 % 60),
        (20..23, time % 1000),
    ];
    for (place, mut value) in fields {
        for digit in text[place].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    text
}

/// The year, month and day of a day since 1970, from the year 0 on.
fn date(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin on 1 March, so that the leap day is a year's last.
    let day = days + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn general(ms: i64) -> String {
        format!("{:.3}", jiff::Timestamp::from_millisecond(ms).expect("within its years"))
    }

    fn text(ms: i64) -> String {
        String::from_utf8(rfc3339(ms).to_vec()).expect("digits")
    }

    #[test]
    fn the_edges_of_years_are_right() {
        let edges = [YEARS.start, -1, 0, 951_782_400_000, 951_868_799_999, 951_868_800_000, 4_107_542_400_000];
        for ms in edges {
            assert_eq!(text(ms), general(ms));
        }
        assert_eq!(text(YEARS.end - 1), "9999-12-31T23:59:59.999Z");
        assert_eq!(text(YEARS.end), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(i64::MIN), "1970-01-01T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn it_is_what_the_general_formatter_says(ms in YEARS.start..253_370_764_800_000) {
            prop_assert_eq!(text(ms), general(ms));
        }
    }
}
