//! Durations and sizes as people write them: `15m`, `30d`, `20GB`, `256KiB`.
//!
//! Guarantees: what is printed reads back as exactly the same; a duration always has a unit.
//! It is not a range check: see the kinds of the schema.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A duration, such as `90s`, `15m`, `6h`, `30d` or `1h 30m`; `0s` is none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub Duration);

impl Span {
    /// So many seconds.
    #[must_use]
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// In milliseconds; the largest number for what does not fit.
    #[must_use]
    pub(crate) fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A month would be some 30.44 days of it: nobody means that.
        if text.contains('M') || text.contains("mo") || text.contains('y') {
            return Err("a duration has ms, s, m, h, d or w as its unit");
        }
        humantime::parse_duration(text).map(Self).map_err(|_| "a duration is a number and a unit, as in 15m")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
        let ms = self.0.as_millis();
        if ms == 0 {
            return f.write_str("0s");
        }
        let (size, unit) = UNITS.into_iter().find(|(size, _)| ms.is_multiple_of(*size)).unwrap_or((1, "ms"));
        write!(f, "{}{unit}", ms / size)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A number of bytes: a whole number, or one with a unit. `KB`, `MB`, `GB`, `TB` are powers of 1,000,
/// `KiB`, `MiB`, `GiB`, `TiB` of 1,024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub u64);

/// In falling order of what they multiply by, so that the largest that divides is found first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("B", 1),
];

impl Size {
    /// As a count in memory; the largest one for what does not fit.
    #[must_use]
    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str = "a size is a whole number of bytes, or one with a unit, as in 20GB or 256KiB";
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| WHY)?;
        let unit = unit.trim_start();
        let factor = match unit {
            "" => 1,
            _ => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(WHY)?.1,
        };
        number.checked_mul(factor).map(Self).ok_or(WHY)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) =
            UNITS.into_iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("6h", 21_600), ("30d", 2_592_000), ("1h 30m", 5400)] {
            assert_eq!(text.parse(), Ok(Span::seconds(seconds)), "{text}");
        }
        for bad in ["", "15", "15 parsecs", "-1s", "1M", "1month", "1y"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        for (text, bytes) in [("0", 0), ("17", 17), ("20GB", 20_000_000_000), ("256KiB", 262_144), ("1 mb", 1_000_000)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "GB", "1.5GB", "-1", "20 potatoes", "99999999TiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_as_the_same(ms in 0u64..3_153_600_000_000, bytes: u64) {
            let span = Span(Duration::from_millis(ms));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
    }
}
