//! The kinds of values that a key may have: how an environment variable spells them, and what is allowed.
//!
//! Guarantees: a value that passes can be read into its section; a text from the environment is made
//! into the value that a file would have had.
//! It is not the list of keys: see the schema.

use std::net::SocketAddr;

use toml::Value;

use super::quantity::{Size, Span};

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Any text but an empty one.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number of this range.
    Whole(u64, u64),
    /// A size of this range, in bytes.
    Size(u64, u64),
    /// A duration of this range, in seconds.
    Time(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// An address and a port.
    Address,
    /// A list of texts, each of which passes.
    List {
        /// The fewest there may be.
        least: usize,
        /// What each is, for people.
        each: &'static str,
        /// Whether one is that.
        passes: fn(&str) -> bool,
    },
    /// A text that passes.
    Checked {
        /// What it is, for people.
        what: &'static str,
        /// Whether it is that.
        passes: fn(&str) -> bool,
    },
    /// A list of tables, which their type checks.
    Tables,
}

impl Kind {
    /// What is allowed, for people.
    #[must_use]
    pub(crate) fn allowed(&self) -> String {
        match self {
            Self::Text => "a text that is not empty".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Size(least, most) => format!("a size from {} to {}, as in 20GB or 256KiB", Size(*least), Size(*most)),
            Self::Time(least, most) => {
                format!("a duration from {} to {}, as in 15m or 30d", Span::seconds(*least), Span::seconds(*most))
            }
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Address => "an IP address and a port, as in 127.0.0.1:4100 or [::1]:4100".to_owned(),
            Self::List { least: 0, each, .. } => format!("a list, each {each}"),
            Self::List { each, .. } => format!("a list that is not empty, each {each}"),
            Self::Checked { what, .. } => (*what).to_owned(),
            Self::Tables => "a list of tables".to_owned(),
        }
    }

    /// Whether a value is allowed.
    #[must_use]
    pub(crate) fn allows(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::String(text)) => !text.is_empty(),
            (Self::Flag, Value::Boolean(_)) => true,
            (Self::Whole(least, most), Value::Integer(number)) => within(*number, *least, *most),
            (Self::Size(least, most), Value::Integer(number)) => within(*number, *least, *most),
            (Self::Size(least, most), Value::String(text)) => {
                text.parse::<Size>().is_ok_and(|size| (*least..=*most).contains(&size.0))
            }
            (Self::Time(least, most), Value::String(text)) => {
                text.parse::<Span>().is_ok_and(|span| span >= Span::seconds(*least) && span <= Span::seconds(*most))
            }
            (Self::Word(words), Value::String(text)) => words.contains(&text.as_str()),
            (Self::Address, Value::String(text)) => text.parse::<SocketAddr>().is_ok(),
            (Self::List { least, passes, .. }, Value::Array(values)) => {
                values.len() >= *least && values.iter().all(|value| value.as_str().is_some_and(passes))
            }
            (Self::Checked { passes, .. }, Value::String(text)) => passes(text),
            (Self::Tables, Value::Array(values)) => values.iter().all(Value::is_table),
            _ => false,
        }
    }

    /// Which item of a list is the first that is not allowed, from 1; none where there is only one.
    #[must_use]
    pub(crate) fn wrong_item(&self, value: &Value) -> Option<usize> {
        let (Self::List { passes, .. }, Value::Array(values)) = (self, value) else { return None };
        let wrong = values.iter().position(|value| !value.as_str().is_some_and(passes))?;
        (values.len() > 1).then_some(wrong + 1)
    }

    /// The value that a text of the environment means. What cannot be read stays a text, which is
    /// then refused as any other value of the wrong kind.
    #[must_use]
    pub(crate) fn of_text(&self, text: &str) -> Value {
        let as_text = || Value::String(text.to_owned());
        match self {
            Self::Flag => text.parse().map_or_else(|_| as_text(), Value::Boolean),
            Self::Whole(..) => text.parse().map_or_else(|_| as_text(), Value::Integer),
            Self::List { .. } if !text.trim_start().starts_with('[') => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            Self::List { .. } | Self::Tables => {
                let table = toml::from_str::<toml::Table>(&format!("value = {text}")).ok();
                table.and_then(|mut table| table.remove("value")).unwrap_or_else(as_text)
            }
            Self::Text | Self::Size(..) | Self::Time(..) | Self::Word(_) | Self::Address | Self::Checked { .. } => {
                as_text()
            }
        }
    }
}

fn within(number: i64, least: u64, most: u64) -> bool {
    u64::try_from(number).is_ok_and(|number| (least..=most).contains(&number))
}
