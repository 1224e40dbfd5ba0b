//! Redaction: takes out of a text what looks like a key, a token or a password.
//!
//! Guarantees: linear time, whatever the text; a [`Redactor`] finds a secret that two reads split,
//! and holds back at most [`HOLD_BYTES`]; what is hidden is replaced by [`MARKER`].
//! It is not a proof that no secret gets through: a secret that looks like nothing is not seen.

use std::borrow::Cow;

use regex::{Regex, RegexSet};
use tidings_core::{Code, Error, Result};

mod stream;
pub use stream::Redactor;

/// What stands in the place of a secret.
pub const MARKER: &str = "[redacted]";
/// The most bytes that a [`Redactor`] holds back, and the longest unfinished line in which it sees whole secrets.
pub const HOLD_BYTES: usize = 4 * 1024;

/// What to redact.
#[derive(Debug, Clone)]
pub struct RedactionConfig {
    /// Whether anything is redacted at all; true by default.
    pub enabled: bool,
    /// Further patterns beside the built-in ones, in the syntax of the regex crate. Where one has a
    /// group named `secret`, only that is replaced, else the whole match. None by default.
    pub patterns: Vec<String>,
}

impl Default for RedactionConfig {
    fn default() -> Self {
        Self { enabled: true, patterns: Vec::new() }
    }
}

/// The built-in rules. Where a group is named `secret`, only that is hidden. None ends in an
/// assertion: a secret that is found stays found when more of it arrives.
const RULES: &[&str] = &[
    // Keys whose providers gave them a prefix to be found by.
    r"(?-u:\b)sk-[A-Za-z0-9_-]{16,}",
    r"(?-u:\b)(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}",
    r"(?-u:\b)gh[opusr]_[A-Za-z0-9]{20,}",
    r"(?-u:\b)github_pat_[A-Za-z0-9_]{20,}",
    r"(?-u:\b)glpat-[A-Za-z0-9_-]{20,}",
    r"(?-u:\b)npm_[A-Za-z0-9]{30,}",
    r"(?-u:\b)xox[a-z]-[A-Za-z0-9-]{10,}",
    r"(?-u:\b)(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"(?-u:\b)AIza[A-Za-z0-9_-]{30,}",
    r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    // Values beside a telling name: in assignments and queries, in JSON, in headers, in URLs.
    concat!(
        r"(?i-u:(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)(?:[_-][a-z0-9_-]{0,32})?",
        r#"[ \t]{0,4}=[ \t]{0,4})(?P<secret>"[^"\r\n]*"?|'[^'\r\n]*'?|[^\s"'&;,=][^\s"'&;,]*)"#
    ),
    concat!(
        r"(?i-u:(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)(?:[_-][a-z0-9_-]{0,32})?",
        r#"\\?"[ \t]{0,4}:[ \t]{0,4}\\?")(?P<secret>(?:[^"\\\r\n]|\\[^"\r\n])+)"#
    ),
    r#"(?i-u:authorization\\?["']?[ \t]{0,4}[:=][ \t]{0,4}\\?["']?(?:bearer|basic|token)[ \t]{1,4})(?P<secret>[^\s"'\\]+)"#,
    r"(?i-u:\bbearer[ \t]{1,4})(?P<secret>[A-Za-z0-9._~+/=-]{16,})",
    r"://[^\s/:@]{1,64}:(?P<secret>[^\s/@]{1,256})@",
];

/// Where a private key in PEM starts; it goes to its end marker, over lines.
const BLOCK_START: &str = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----";
/// Where it ends.
const BLOCK_END: &str = r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----";

/// A stretch of a text that is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    /// Whether it is a private key whose end is not in the text.
    open_block: bool,
}

/// The rules, compiled. Shared by everybody.
#[derive(Debug)]
pub struct Redaction {
    enabled: bool,
    any: RegexSet,
    rules: Vec<Regex>,
    block_start: Regex,
    block_end: Regex,
}

impl Redaction {
    /// The built-in rules and these.
    ///
    /// # Errors
    /// `invalid_data` naming the pattern that cannot be used, by its number from 1, and why.
    pub fn new(rules: &RedactionConfig) -> Result<Self> {
        let built_in = RULES.iter().map(|rule| compile(rule, "a built-in rule"));
        let further =
            rules.patterns.iter().enumerate().map(|(index, rule)| compile(rule, &format!("pattern {}", index + 1)));
        let compiled = built_in.chain(further).collect::<Result<Vec<Regex>>>()?;
        let any = RegexSet::new(compiled.iter().map(Regex::as_str))
            .map_err(|_| Error::invalid_field("redaction.patterns", "are too large together"))?;
        Ok(Self {
            enabled: rules.enabled,
            any,
            rules: compiled,
            block_start: compile(BLOCK_START, "a built-in rule")?,
            block_end: compile(BLOCK_END, "a built-in rule")?,
        })
    }

    /// The text without what looks like a secret. For a text that is whole; see [`Redactor`] for a stream.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let spans = self.spans(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for span in spans {
            out.push_str(&text[done..span.start]);
            out.push_str(MARKER);
            done = span.end;
        }
        out.push_str(&text[done..]);
        Cow::Owned(out)
    }

    /// What is hidden of a text: in order, apart from each other.
    fn spans(&self, text: &str) -> Vec<Span> {
        if !self.enabled {
            return Vec::new();
        }
        let mut found: Vec<Span> = self.blocks(text);
        for index in self.any.matches(text) {
            for captures in self.rules[index].captures_iter(text) {
                let hidden = captures.name("secret").or_else(|| captures.get(0));
                if let Some(hidden) = hidden.filter(|hidden| !hidden.is_empty()) {
                    found.push(Span { start: hidden.start(), end: hidden.end(), open_block: false });
                }
            }
        }
        found.sort_unstable_by_key(|span| (span.start, span.end));
        merged(found)
    }

    fn blocks(&self, text: &str) -> Vec<Span> {
        let mut blocks = Vec::new();
        let mut from = 0;
        while let Some(start) = self.block_start.find_at(text, from) {
            let end = self.block_end.find_at(text, start.end()).map(|end| end.end());
            from = end.unwrap_or(text.len());
            blocks.push(Span { start: start.start(), end: from, open_block: end.is_none() });
        }
        blocks
    }
}

fn compile(rule: &str, name: &str) -> Result<Regex> {
    Regex::new(rule).map_err(|error| {
        // Its text quotes the pattern, which may be a secret itself.
        let what = if matches!(error, regex::Error::CompiledTooBig(_)) { "too large" } else { "no regular expression" };
        let why = format!("{name}: is {what}");
        Error::new(Code::InvalidData, format!("redaction.patterns: {why}")).with_field("redaction.patterns", why)
    })
}

fn merged(sorted: Vec<Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match spans.last_mut() {
            Some(last) if span.start < last.end => {
                last.end = last.end.max(span.end);
                last.open_block |= span.open_block;
            }
            _ => spans.push(span),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn built_in() -> Redaction {
        Redaction::new(&RedactionConfig::default()).expect("compiles")
    }

    /// Made of parts, so that no scanner takes this file for a leak.
    pub(super) fn secrets() -> Vec<String> {
        let long = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";
        vec![
            format!("sk-{long}"),
            format!("sk-ant-api03-{long}"),
            format!("ghp_{long}"),
            format!("github_pat_{long}"),
            format!("xoxb-12345-{long}"),
            format!("AKIA{}", "ABCDEFGH12345678"),
            format!("AIza{long}"),
            format!("eyJhbGciOiJI.{long}.{long}"),
        ]
    }

    #[test]
    fn keys_with_a_known_prefix_are_hidden_and_the_rest_stays() {
        let redaction = built_in();
        for secret in secrets() {
            let text = format!("before {secret}, after");
            assert_eq!(redaction.redact(&text), format!("before {MARKER}, after"), "{secret}");
        }
    }

    #[test]
    fn values_beside_a_telling_name_are_hidden_and_the_name_stays() {
        let table = [
            ("password=hunter2 ok", "password=[redacted] ok"),
            ("GITHUB_TOKEN=abc", "GITHUB_TOKEN=[redacted]"),
            ("?token=abc&x=1", "?token=[redacted]&x=1"),
            ("api_key = 'a b'", "api_key = [redacted]"),
            ("secret_key=\"a b\" x", "secret_key=[redacted] x"),
            (r#"{"password": "a\nb", "x": 1}"#, r#"{"password": "[redacted]", "x": 1}"#),
            ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
            ("authorization: basic dTpw", "authorization: basic [redacted]"),
            ("postgres://u:pw@host/db", "postgres://u:[redacted]@host/db"),
        ];
        let redaction = built_in();
        for (text, expected) in table {
            assert_eq!(redaction.redact(text), expected);
        }
    }

    #[test]
    fn ordinary_text_is_passed_on_unchanged_and_uncopied() {
        let redaction = built_in();
        for text in [
            "max_tokens=512",
            "if token == null",
            "the password is wrong",
            "task-sk-1",
            "https://host:8080/a@b",
            "",
            "über",
        ] {
            assert!(matches!(redaction.redact(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_private_key_is_hidden_over_its_lines_also_without_its_end() {
        let redaction = built_in();
        let (begin, end) = ("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----");
        assert_eq!(redaction.redact(&format!("a\n{begin}\nMII\nx\n{end}\nb")), format!("a\n{MARKER}\nb"));
        assert_eq!(redaction.redact(&format!("a\n{begin}\nMII")), format!("a\n{MARKER}"));
    }

    #[test]
    fn redacting_twice_changes_nothing_more() {
        let redaction = built_in();
        let once = redaction.redact("password=x token=y").into_owned();
        assert_eq!(redaction.redact(&once), once);
    }

    #[test]
    fn further_patterns_count_and_a_bad_one_is_named() {
        let config =
            RedactionConfig { enabled: true, patterns: vec!["ACME-[0-9]{4}".into(), "pin (?P<secret>[0-9]+)".into()] };
        let redaction = Redaction::new(&config).expect("compiles");
        assert_eq!(redaction.redact("ACME-1234 and pin 77!"), "[redacted] and pin [redacted]!");
        let bad = RedactionConfig { enabled: true, patterns: vec!["a".into(), "(".into()] };
        let error = Redaction::new(&bad).expect_err("refused");
        assert!(error.fields()["redaction.patterns"].starts_with("pattern 2"));
    }

    #[test]
    fn nothing_is_redacted_when_it_is_off() {
        let redaction = Redaction::new(&RedactionConfig { enabled: false, patterns: vec![] }).expect("compiles");
        assert_eq!(redaction.redact("password=x"), "password=x");
    }
}
