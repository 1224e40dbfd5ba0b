//! What is wrong with a configuration, and where each value came from.
//!
//! Guarantees: every problem names the key, where it was said, the value (never a secret's) and what is
//! allowed; all problems are told at once.
//! It is not a log: whoever loads the configuration prints it.

use std::{fmt, path::PathBuf};

/// Who said a value. Later ones win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody.
    Default,
    /// A variable of the environment.
    Variable(String),
    /// The configuration file.
    File(PathBuf),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The key, such as `socket.ping_interval_ms`; empty when the whole file is meant.
    pub key: String,
    /// Who said it.
    pub origin: Origin,
    /// What was said; none for a secret, for an unknown key and for a whole file.
    pub value: Option<String>,
    /// What is wrong with it, or what is allowed.
    pub why: String,
}

impl Problem {
    /// Adds it to others, unless one of them is about the same key, or about what it is a part of: then that is
    /// what has to be mended first.
    pub(super) fn join(self, others: &mut Vec<Self>) {
        let within = |part: &str, whole: &str| {
            part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !others.iter().any(|other| within(&self.key, &other.key) || within(&other.key, &self.key)) {
            others.push(self);
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, origin, value, why } = self;
        match (key.as_str(), value) {
            ("", _) => write!(f, "{origin}: {why}"),
            (key, Some(value)) => write!(f, "{key} = {value} ({origin}): {why}"),
            (key, None) => write!(f, "{key} ({origin}): {why}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError(pub Vec<Problem>);

impl ConfigError {
    /// One problem.
    #[must_use]
    pub(crate) fn of(key: impl Into<String>, origin: Origin, value: Option<String>, why: impl Into<String>) -> Self {
        Self(vec![Problem { key: key.into(), origin, value, why: why.into() }])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}
