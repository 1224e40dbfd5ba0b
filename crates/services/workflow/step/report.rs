//! What the program of a step reports beside its output: lines on a pipe of its own.
//!
//! Guarantees: reading never stops the program for longer than a line takes; a line that is none of the
//! protocol's changes nothing; outputs are bounded and redacted.
//! It is not the program's output.
//!
//! ```text
//! progress CURRENT TOTAL      so much of so much is done
//! total TOTAL                 there are so many items
//! item [COUNT]                one more of them is done, or so many
//! output NAME=VALUE           what steps that need this one may use
//! ```

use std::collections::BTreeMap;

use super::super::contract::Progress;
use crate::{programs::decode::shortened, redaction::Redaction};

/// The longest line; what is longer is no line of the protocol.
const LINE_BYTES: usize = 4 * 1024;
/// The most outputs of a step.
const OUTPUTS: usize = 64;
/// The most bytes of all outputs of a step, with their names.
pub(in super::super) const OUTPUTS_BYTES: usize = 4 * 1024;

/// What was reported so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    line: Vec<u8>,
    /// Whether the line is too long, and is passed over.
    over: bool,
    pub(super) progress: Progress,
    pub(super) outputs: BTreeMap<String, String>,
    /// Why the outputs cannot be taken.
    pub(super) refused: Option<&'static str>,
}

impl Report {
    /// Takes the next bytes. Says whether the progress is another.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let before = self.progress;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ended = part.ends_with(b"\n");
            let part = part.strip_suffix(b"\n").unwrap_or(part);
            self.over |= self.line.len() + part.len() > LINE_BYTES;
            if !self.over {
                self.line.extend_from_slice(part);
            }
            if ended {
                self.line_ends();
            }
        }
        self.progress != before
    }

    /// The pipe is at its end: what is there is the last line.
    pub(super) fn finish(&mut self) {
        self.line_ends();
    }

    fn line_ends(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if !std::mem::take(&mut self.over) {
            self.take(line.trim_end_matches('\r'));
        }
    }

    fn take(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        let Progress { current, total, .. } = self.progress;
        match word {
            "progress" => {
                let mut numbers = rest.split_whitespace().map(str::parse::<u64>);
                if let (Some(Ok(current)), Some(Ok(total)), None) = (numbers.next(), numbers.next(), numbers.next()) {
                    self.progress = Progress::of(current, total, false);
                }
            }
            "total" => {
                if let Ok(total) = rest.trim_end().parse() {
                    self.progress = Progress::of(current, total, false);
                }
            }
            "item" => {
                let count = if rest.is_empty() { Ok(1) } else { rest.trim_end().parse() };
                if let Ok(count) = count {
                    self.progress = Progress::of(current.saturating_add(count), total, false);
                }
            }
            "output" => self.output(rest),
            _ => {}
        }
    }

    fn output(&mut self, text: &str) {
        let Some((name, value)) = text.split_once('=') else { return };
        let fits = |char: char| char.is_ascii_alphanumeric() || char == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            self.refused = Some("the name of an output is 1 to 64 letters, digits and '_'");
            return;
        }
        self.outputs.insert(name.to_owned(), value.to_owned());
        let bytes: usize = self.outputs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.outputs.len() > OUTPUTS || bytes > OUTPUTS_BYTES {
            self.refused = Some("the outputs of a step are at most 64 and 4 KiB together");
            self.outputs.remove(name);
        }
    }

    /// What the step gave, without what looks like a secret.
    pub(super) fn into_outputs(self, redaction: &Redaction) -> BTreeMap<String, String> {
        let redacted = |(name, value): (String, String)| {
            let value = shortened(&redaction.redact(&value), OUTPUTS_BYTES).to_owned();
            (name, value)
        };
        self.outputs.into_iter().map(redacted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(text: &str) -> Report {
        let mut report = Report::default();
        for byte in text.as_bytes() {
            report.push(std::slice::from_ref(byte));
        }
        report.finish();
        report
    }

    #[test]
    fn progress_is_what_was_said_last_or_the_items_that_were_counted() {
        let table = [
            ("progress 3 10\n", (3, 10, 30.0)),
            ("total 4\nitem\nitem\nitem 1\n", (3, 4, 75.0)),
            ("item\n", (1, 0, 0.0)),
            ("progress 1 2\nprogress x 2\nprogress 1\nprogress 1 2 3\nrubbish\n\n", (1, 2, 50.0)),
            ("progress 1 3\r\nitem", (2, 3, 2.0 / 3.0 * 100.0)),
        ];
        for (text, (current, total, percentage)) in table {
            assert_eq!(reported(text).progress, Progress { current, total, percentage }, "{text}");
        }
    }

    #[test]
    fn nothing_of_nothing_is_all_of_it_once_it_is_done() {
        assert_eq!(Progress::of(0, 0, false).percentage, 0.0);
        assert_eq!(Progress::default().done().percentage, 100.0);
        assert_eq!(Progress::of(1, 4, true).percentage, 25.0);
    }

    #[test]
    fn outputs_are_bounded_and_the_last_of_a_name_counts() {
        let report = reported("output a=1\noutput a=2=3\noutput b=\noutput c\n");
        assert_eq!(report.outputs, BTreeMap::from([("a".into(), "2=3".into()), ("b".into(), String::new())]));
        assert!(reported("output a-b=1\n").refused.is_some());
        let much: String = (0..65).map(|n| format!("output a{n}=1\n")).collect();
        assert!(reported(&much).refused.is_some());
        let long = format!("output a={}\noutput b={}\n", "x".repeat(3_000), "x".repeat(3_000));
        assert!(reported(&long).refused.is_some());
        let line = format!("output a={}\nprogress 1 2\n", "x".repeat(9_000));
        let report = reported(&line);
        assert!(report.outputs.is_empty() && report.progress.current == 1 && report.line.capacity() <= 2 * LINE_BYTES);
    }
}
