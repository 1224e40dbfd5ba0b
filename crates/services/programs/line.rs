//! Command lines that people ask for: what may be one, and what others see of it.
//!
//! Guarantees: one that passes names a program, which no wrapper takes for an option of its own, is bounded, and can
//! be handed to the system; what is shown is redacted and bounded.
//! It is not a judge of what may run.

use serde_json::{Value, json};
use validator::ValidationError;

use super::decode::shortened;

/// The most bytes of a command line.
const COMMAND_BYTES: usize = 64 * 1024;
/// The most parts.
pub(crate) const PARTS: usize = 256;
/// What a part holds: no NUL.
pub(crate) const PART: &str = r"^[^\x00]*$";
/// The most bytes that are shown of one.
const SHOWN_BYTES: usize = 4 * 1024;

/// The first part, as `prefixItems` says it: it names a program.
pub(crate) fn program() -> Value {
    json!([{ "type": "string", "minLength": 1, "pattern": PART }])
}

/// Whether it can be one: for `validator`.
///
/// # Errors
/// Why not.
pub(crate) fn a_command(command: &[String]) -> Result<(), ValidationError> {
    let refused = |why: &'static str| Err(ValidationError::new("command").with_message(why.into()));
    let bytes: usize = command.iter().map(|part| part.len() + 1).sum();
    match command {
        [] => refused("names a program"),
        [program, ..] if !is_program(program) => refused("names a program, which begins with no '-'"),
        _ if command.len() > PARTS => refused("has at most 256 parts"),
        _ if bytes > COMMAND_BYTES => refused("is at most 64 KiB"),
        _ if command.iter().any(|part| part.contains('\0')) => refused("holds no NUL"),
        _ => Ok(()),
    }
}

/// Whether a word can be the program of a command line. A wrapper stands before it (`run.wrapper`): what begins with
/// a `-` would be an option of that.
pub(crate) fn is_program(word: &str) -> bool {
    !word.is_empty() && !word.starts_with('-')
}

/// The first part of a command line, as others see it.
pub(crate) fn shown(command: &[String], redact: impl Fn(&str) -> String) -> Vec<String> {
    let mut left = SHOWN_BYTES;
    let mut shown = Vec::new();
    for part in command {
        let part = redact(part);
        let cut = shortened(&part, left);
        shown.push(cut.to_owned());
        left -= cut.len();
        if left == 0 || cut.len() < part.len() {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn a_command_line_names_a_program_and_is_bounded() {
        assert!(a_command(&words(&["a", ""])).is_ok());
        let long = "x".repeat(COMMAND_BYTES);
        for bad in [&[][..], &[""], &["--bind", "/"], &["a\0"], &["a", &long], &["a"; PARTS + 1]] {
            assert!(a_command(&words(bad)).is_err(), "{:.40}", format!("{bad:?}"));
        }
    }

    #[test]
    fn what_is_shown_of_one_is_redacted_and_ends_at_its_bound() {
        let redact = |text: &str| text.replace("secret", "…");
        assert_eq!(shown(&words(&["a", "secret", ""]), redact), ["a", "…", ""]);
        let long = "x".repeat(SHOWN_BYTES);
        assert_eq!(shown(&words(&["a", &long, "b"]), redact), ["a", &long[1..]]);
    }
}
