//! Results, complaints and endings of commands.
//!
//! Guarantees: a closed standard output is a failure of its own that ends the command quietly; text from
//! elsewhere cannot steer the terminal.
//! It is not a log.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{ErrorKind, Write},
    process::ExitCode,
};

use tidings_auth::AuthError;
use tidings_core::Error;

use crate::config::ConfigError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody reads the output any more.
    #[error("standard output is closed")]
    ClosedPipe,
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Users and keys.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// What the house refuses.
    #[error(transparent)]
    Refused(#[from] Error),
    /// Anything else, for people.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// A failure with this text.
    pub(crate) fn other(text: impl Display) -> Self {
        Self::Other(text.to_string())
    }
}

/// The result of a command.
pub(crate) type Outcome = Result<(), Failure>;

/// Prints a line of the result.
///
/// # Errors
/// `ClosedPipe`; anything else that is wrong with standard output.
pub(crate) fn say(line: impl Display) -> Outcome {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::other(format_args!("standard output: {error}")),
    })
}

/// Tells something beside the result.
pub(crate) fn note(line: impl Display) {
    // Where nobody hears it, nothing can be said about that either.
    writeln!(std::io::stderr(), "tidings: {line}").unwrap_or_default();
}

/// Says why it failed.
pub(crate) fn complain(error: &dyn Display) -> ExitCode {
    note(error);
    ExitCode::FAILURE
}

/// A text from elsewhere, on one line and without control characters.
#[must_use]
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => clean.push(' '),
            other if other.is_control() => clean.extend(other.escape_unicode()),
            other => clean.push(other),
        }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(harmless("plain ünicode"), "plain ünicode");
        assert_eq!(harmless("a\nb\u{1b}[2J\u{9b}1m\u{7f}"), "a b\\u{1b}[2J\\u{9b}1m\\u{7f}");
    }
}
