//! A key of the configuration: what is known of each.
//!
//! Guarantees: whoever adds a key says what it may be, what it means and how much of it is shown.
//! It is not the list of them: that is [`super::schema`].

use toml::Value;

use super::{
    kind::Kind,
    passes::is_any,
    secrets::{without_items, without_values},
};

/// One key. A `*` in its path stands for a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Its path, such as `socket.ping_interval_ms` or `retention.*.age`.
    pub path: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// How much of its value is shown to whoever asks for the configuration, and in errors.
    pub shown: Shown,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
}

/// How much of a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of it.
    Whole,
    /// A command line: its program and the names of its options.
    Line,
    /// A list: how many there are.
    Count,
    /// Nothing.
    Nothing,
}

impl Shown {
    /// What is shown of a value; none if that is nothing.
    pub(super) fn of(self, value: Value) -> Option<Value> {
        match self {
            Self::Whole => Some(value),
            Self::Line => Some(without_values(value)),
            Self::Count => Some(without_items(value)),
            Self::Nothing => None,
        }
    }
}

pub(super) const fn key(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, shown: Shown::Whole, doc }
}

pub(super) const fn secret(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, shown: Shown::Nothing, doc }
}

/// A list of which only is shown how many there are.
pub(super) const fn count(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, shown: Shown::Count, doc }
}

/// A command line of at least so many words.
pub(super) const fn line(path: &'static str, least: usize, doc: &'static str) -> Key {
    Key { path, kind: list(least, "a text", is_any), shown: Shown::Line, doc }
}

pub(super) const fn list(least: usize, each: &'static str, passes: fn(&str) -> bool) -> Kind {
    Kind::List { least, each, passes }
}
