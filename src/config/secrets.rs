//! Command lines and lists as they are shown to whoever asks for the configuration: without the values in them.
//!
//! Guarantees: what is shown is on a list: the program, names of options, and places such as `{prompt}`. Everything else
//! is hidden, whatever it looks like: a value after `--setenv NAME`, a word of its own, a shell's text.
//! It is not the redaction of programs' output, which looks for what looks like a secret.

use tidings_services::redaction::MARKER;
use toml::Value;

/// What the server puts something in.
const PLACES: [&str; 3] = ["{prompt}", "{agentSessionId}", "{root}"];
/// A longer word is no option's name.
const LONGEST_NAME: usize = 40;

/// A command line without its values; of what is none, nothing.
pub(super) fn without_values(line: Value) -> Value {
    let Value::Array(words) = line else { return Value::String(MARKER.to_owned()) };
    let shown = words.iter().enumerate().map(|(place, word)| match word {
        Value::String(word) if place == 0 && is_program(word) => word.clone(),
        Value::String(word) if place > 0 => without_value(word),
        _ => MARKER.to_owned(),
    });
    Value::Array(shown.map(Value::String).collect())
}

/// A list with a sign for each of its items; of what is none, nothing.
pub(super) fn without_items(list: Value) -> Value {
    let hidden = || Value::String(MARKER.to_owned());
    match list {
        Value::Array(items) => Value::Array(items.iter().map(|_| hidden()).collect()),
        _ => hidden(),
    }
}

/// The name of an option, with a sign for its value if it has one in the same word; a place; else only that there is
/// a word.
fn without_value(word: &str) -> String {
    if is_place(word) || is_option(word) {
        return word.to_owned();
    }
    match word.split_once('=') {
        Some((name, value)) if is_option(name) && is_place(value) => word.to_owned(),
        Some((name, _)) if is_option(name) => format!("{name}={MARKER}"),
        _ => MARKER.to_owned(),
    }
}

/// Whether a word can be the name or the path of a program, and nothing beside it.
fn is_program(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte))
}

/// Whether a word is an option's name alone: `-v`, `--long-name`, `--`. One letter, since what follows it in the same
/// word is its value.
fn is_option(word: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match word.strip_prefix("--") {
        Some(name) => name.len() <= LONGEST_NAME && name.bytes().all(is_letter),
        None => word.len() == 2 && word.starts_with('-') && word.as_bytes()[1].is_ascii_alphanumeric(),
    }
}

/// Whether a word is a place that the server puts something in.
fn is_place(word: &str) -> bool {
    PLACES.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|&word| Value::String(word.to_owned())).collect();
        let shown = without_values(Value::Array(words));
        shown.as_array().expect("a list").iter().map(|word| word.as_str().expect("a text").to_owned()).collect()
    }

    #[test]
    fn a_command_line_shows_its_program_and_the_names_of_its_options_and_no_value() {
        let r = MARKER;
        let table: [(&[&str], &[&str]); 12] = [
            (&["bwrap", "--setenv", "GITHUB_TOKEN", "hunter2"], &["bwrap", "--setenv", r, r]),
            (&["docker", "run", "-e", "NAME=hunter2", "image"], &["docker", r, "-e", r, r]),
            (&["/usr/bin/a", "--api-key", "hunter2", "-v"], &["/usr/bin/a", "--api-key", r, "-v"]),
            (&["a", "-phunter2", "-token", "hunter2"], &["a", r, r, r]),
            (&["a", "--Hunter2", "--hunter=2=3"], &["a", r, "--hunter=[redacted]"]),
            (&["env", "OPENAI_KEY=hunter2", "a"], &["env", r, r]),
            (&["sh", "-c", "KEY=hunter2 a \"$1\"", "--", "{prompt}"], &["sh", "-c", r, "--", "{prompt}"]),
            (&["a", "https://u:hunter2@host/", "hush-12"], &["a", r, r]),
            (&["KEY=hunter2"], &[r]),
            (&["b --password hunter2"], &[r]),
            (&["a", "--bind={root}", "--text=x{prompt}", "{Hunter}"], &["a", "--bind={root}", "--text=[redacted]", r]),
            (&[], &[]),
        ];
        for (line, expected) in table {
            assert_eq!(shown(line), expected, "{line:?}");
        }
        for odd in [Value::String("hunter2".to_owned()), Value::Array(vec![Value::Integer(31337)])] {
            assert!(!without_values(odd.clone()).to_string().contains(&odd.to_string()), "{odd}");
        }
    }
}
