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
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => clean.push(' '),
            other if steers(other) => clean.extend(other.escape_unicode()),
            other => clean.push(other),
        }
    }
    Cow::Owned(clean)
}

/// JSON on one line in which no character can steer the terminal: they stand as `\u00XX`, so that it is the same JSON.
/// A line break in it can only be white space between its parts, and all others only be in a text.
pub(crate) fn one_line(json: &str) -> Cow<'_, str> {
    if !json.contains(steers) {
        return Cow::Borrowed(json);
    }
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\n' | '\r' | '\t' => line.push(' '),
            other if steers(other) => line.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => line.push(other),
        }
    }
    Cow::Owned(line)
}

/// Whether a character does something to a terminal, or to how what is around it is shown: controls, marks and
/// overrides of the direction of text, and what breaks lines.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(harmless("plain ünicode"), "plain ünicode");
        assert_eq!(harmless("a\nb\u{1b}[2J\u{9b}1m\u{7f}"), "a b\\u{1b}[2J\\u{9b}1m\\u{7f}");
        let turned = "\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";
        let shown = r"\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";
        assert_eq!(harmless(turned), shown);
        assert_eq!(harmless("\u{200d}\u{2027}\u{202f}\u{2065}\u{206a}"), "\u{200d}\u{2027}\u{202f}\u{2065}\u{206a}");
    }

    #[test]
    fn json_on_a_line_is_the_same_json_and_cannot_steer_the_terminal() {
        let json = "{\"a\":\n\t\"x\u{9b}2J\u{7f}\u{80}\u{9f}\u{202e}\u{2028}\\n\u{e9}\"}";
        let line = one_line(json);
        assert_eq!(line, "{\"a\":  \"x\\u009b2J\\u007f\\u0080\\u009f\\u202e\\u2028\\n\u{e9}\"}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&line), read(json));
        assert!(matches!(one_line("{\"a\":1}"), Cow::Borrowed(_)));
    }
}
