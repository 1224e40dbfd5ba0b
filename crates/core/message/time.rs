//! An instant as RFC 3339: written with milliseconds and `Z`, as every message has it, read in any of its forms.
//!
//! Guarantees: the same text as a general formatter's, for the years 0 to 9999; what lies outside
//! becomes 1970. What is read is a day and a time that there are; what is finer than a millisecond is cut off,
//! and a leap second is the one before it.
//! It is not a calendar: a date is made of days alone, and back (Howard Hinnant's `civil_from_days`).

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

/// The day since 1970 of a date, from the year 0 on: what [`date`] takes apart.
fn day(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

/// The instant that a text says, in milliseconds since 1970; none if it is no text of RFC 3339.
pub(super) fn parsed(text: &str) -> Option<i64> {
    let (moment, rest) = text.as_bytes().split_at_checked(19)?;
    let [year, month, of_month, hour, minute, second] =
        [0..4, 5..7, 8..10, 11..13, 14..16, 17..19].map(|place| number(&moment[place]));
    let [year, month, of_month] = [year?, month?, of_month?];
    let [hour, minute, second] = [hour?, minute?, second?];
    let marks = [moment[4], moment[7], moment[13], moment[16]] == *b"--::" && matches!(moment[10], b'T' | b't' | b' ');
    let days = day(year, month, of_month);
    let is_there = (1..=12).contains(&month) && date(days) == (year, month, of_month);
    if !marks || !is_there || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, zone) = match rest.strip_prefix(b".") {
        None => (0, rest),
        Some(rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let finest = (0..3).map(|at| rest[..digits].get(at).map_or(0, |digit| i64::from(digit - b'0')));
            (finest.reduce(|ms, digit| ms * 10 + digit).filter(|_| digits > 0)?, &rest[digits..])
        }
    };
    let seconds = hour * 3600 + minute * 60 + second.min(59) - east(zone)?;
    let ms = days * DAY_MS + seconds * 1000 + fraction;
    YEARS.contains(&ms).then_some(ms)
}

/// By how many seconds a zone's clock is ahead.
fn east(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', h1, h2, b':', m1, m2] => (1, [*h1, *h2], [*m1, *m2]),
        [b'-', h1, h2, b':', m1, m2] => (-1, [*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let (hours, minutes) = (number(&hours)?, number(&minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// A few digits and nothing else.
fn number(digits: &[u8]) -> Option<i64> {
    let digit = |value: i64, byte: &u8| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'));
    digits.iter().try_fold(0, digit)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    /// What a general formatter says, from 1970 on.
    fn general(ms: i64) -> String {
        let since = Duration::from_millis(ms.try_into().expect("from 1970 on"));
        humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
    }

    fn text(ms: i64) -> String {
        String::from_utf8(rfc3339(ms).to_vec()).expect("digits")
    }

    #[test]
    fn the_edges_of_years_are_right() {
        for ms in [0, 951_782_400_000, 951_868_799_999, 951_868_800_000, 4_107_542_400_000] {
            assert_eq!(text(ms), general(ms));
        }
        assert_eq!(text(YEARS.start), "0000-01-01T00:00:00.000Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(text(YEARS.end - 1), "9999-12-31T23:59:59.999Z");
        assert_eq!(text(YEARS.end), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(i64::MIN), "1970-01-01T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn it_is_what_the_general_formatter_says(ms in 0..YEARS.end) {
            prop_assert_eq!(text(ms), general(ms));
        }

        #[test]
        fn what_is_written_is_read_as_the_same_instant(ms in YEARS) {
            prop_assert_eq!(parsed(&text(ms)), Some(ms));
        }

        #[test]
        fn a_zone_says_the_same_instant_by_another_clock(ms in 0..4_000_000_000_000_i64, minutes in -1439..1440_i64) {
            let clock = text(ms + minutes * 60_000);
            let (sign, off) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
            let zoned = format!("{}{sign}{:02}:{:02}", &clock[..23], off / 60, off % 60);
            prop_assert_eq!(parsed(&zoned), Some(ms));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", digits in "[0-9:TZ.+-]{19,30}") {
            let _any = (parsed(&text), parsed(&digits));
        }
    }

    #[test]
    fn every_form_of_the_standard_is_read() {
        let forms = [
            ("2026-11-20T20:31:29Z", 1_795_206_689_000),
            ("2026-11-20t20:31:29z", 1_795_206_689_000),
            ("2026-11-20 20:31:29.5Z", 1_795_206_689_500),
            ("2026-11-20T20:31:29.123456789Z", 1_795_206_689_123),
            ("2026-11-20T20:31:29.07-00:00", 1_795_206_689_070),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
            ("2024-02-29T00:00:00+05:30", 1_709_145_000_000),
        ];
        for (text, ms) in forms {
            assert_eq!(parsed(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_day_or_no_time_is_refused() {
        let wrong = [
            "",
            "2026-11-20",
            "2026-11-20T20:31:29",
            "2026-11-20T20:31:29.Z",
            "2026-11-20T20:31:29+0100",
            "2026-11-20T20:31:29+24:00",
            "2026-11-20T20:31:29ZZ",
            "2026-11-20T24:00:00Z",
            "2026-11-20T20:60:00Z",
            "2026-11-20T20:31:61Z",
            "2026-13-20T20:31:29Z",
            "2026-00-20T20:31:29Z",
            "2026-04-31T20:31:29Z",
            "2025-02-29T20:31:29Z",
            "2026/11/20T20:31:29Z",
            "+026-11-20T20:31:29Z",
            "0000-01-01T00:00:00+00:01",
            "2026-11-20T20:31:2éZ",
        ];
        for text in wrong {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
