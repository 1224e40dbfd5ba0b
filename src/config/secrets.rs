//! Secrets in command lines, hidden from whoever asks for the configuration.
//!
//! Guarantees: what the redaction of programs' output hides is hidden here, whether or not that is switched on, and so
//! is the value of whatever is called a key, a token or a password: in one word, in the next one, or in a shell's text.
//! It is not a proof: a secret that looks like nothing, in a word of its own, is shown. Variables (`run.set`) are the
//! place for those.

use tidings_services::redaction::{MARKER, Redaction, RedactionConfig};
use toml::Value;

/// What the name of something that is secret ends in.
const NAMES: [&str; 11] = [
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "credential",
    "credentials",
    "auth",
    "bearer",
];

/// Finds secrets in command lines.
pub(super) struct Secrets(Redaction);

impl Secrets {
    /// With these patterns beside the built-in ones.
    ///
    /// # Panics
    /// Never: the schema has refused patterns that do not compile.
    pub(super) fn new(patterns: &[String]) -> Self {
        let value = r#"(?P<secret>"[^"]*"?|'[^']*'?|[^\s"';&|,]+)"#;
        let names = NAMES.join("|");
        let own = [
            format!(r#"(?i)(?:{names})["']?[ \t]{{0,4}}[=:][ \t]{{0,4}}{value}"#),
            format!(r"(?i)(?:^|\s)--?[a-z0-9_-]*(?:{names})\s+(?P<secret>[^\s-]\S*)"),
        ];
        let patterns = patterns.iter().cloned().chain(own).collect();
        Self(Redaction::new(&RedactionConfig { enabled: true, patterns }).expect("patterns compile"))
    }

    /// A command line without what looks like a secret; of what is none, nothing.
    pub(super) fn hidden_in(&self, line: Value) -> Value {
        let hidden = || Value::String(MARKER.to_owned());
        let Value::Array(words) = line else { return hidden() };
        let mut shown: Vec<Value> = Vec::with_capacity(words.len());
        let mut is_secret = false;
        for word in words {
            let Value::String(word) = word else {
                shown.push(hidden());
                continue;
            };
            let hidden =
                if is_secret && !word.starts_with('-') { MARKER.to_owned() } else { self.0.redact(&word).into_owned() };
            is_secret = names_a_secret(&word);
            shown.push(Value::String(hidden));
        }
        Value::Array(shown)
    }
}

/// Whether a word is an option whose value, the next word, is a secret.
fn names_a_secret(word: &str) -> bool {
    let is_name = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let name = word.to_ascii_lowercase();
    word.starts_with('-') && is_name && NAMES.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|&word| Value::String(word.to_owned())).collect();
        let hidden = Secrets::new(&["hush-[0-9]+".to_owned()]).hidden_in(Value::Array(words));
        hidden.as_array().expect("a list").iter().map(|word| word.as_str().expect("a text").to_owned()).collect()
    }

    #[test]
    fn the_values_of_what_is_called_a_secret_are_hidden_wherever_they_stand() {
        let table = [
            (&["a", "--api-key", "hunter2", "-v"][..], &["a", "--api-key", "[redacted]", "-v"][..]),
            (&["a", "--api-key=hunter2"], &["a", "--api-key=[redacted]"]),
            (&["a", "-token", "hunter2"], &["a", "-token", "[redacted]"]),
            (&["env", "OPENAI_KEY=hunter2", "a"], &["env", "OPENAI_KEY=[redacted]", "a"]),
            (&["a", "-H", "x-api-key: hunter2"], &["a", "-H", "x-api-key: [redacted]"]),
            (&["a", "-H", "Authorization: Bearer hunter2"], &["a", "-H", "Authorization: Bearer [redacted]"]),
            (
                &["sh", "-c", "KEY=hunter2 a --auth hunter2 \"$1\""],
                &["sh", "-c", "KEY=[redacted] a --auth [redacted] \"$1\""],
            ),
            (&["a", "https://u:hunter2@host/"], &["a", "https://u:[redacted]@host/"]),
            (&["a", "hush-12"], &["a", "[redacted]"]),
            (&["a", "--token", "--force"], &["a", "--token", "--force"]),
            (
                &["claude", "-p", "--max-tokens=512", "--author", "x", "--", "{prompt}"],
                &["claude", "-p", "--max-tokens=512", "--author", "x", "--", "{prompt}"],
            ),
        ];
        for (line, expected) in table {
            assert_eq!(shown(line), expected, "{line:?}");
        }
        let secrets = Secrets::new(&[]);
        for odd in [Value::String("hunter2".to_owned()), Value::Array(vec![Value::Integer(31337)])] {
            assert!(!secrets.hidden_in(odd.clone()).to_string().contains(&odd.to_string()), "{odd}");
        }
    }
}
