//! What the program of a step reports beside its output: lines on a pipe of its own.
//!
//! Guarantees: reading never stops the program for longer than a line takes; a line that is none of the
//! protocol's changes nothing; outputs are whole and redacted, or refused with the reason; what is kept is bounded.
//! It is not the program's output.
//!
//! ```text
//! progress CURRENT TOTAL      so much of so much is done
//! total TOTAL                 there are so many items
//! item [COUNT]                one more of them is done, or so many
//! output NAME=VALUE           what steps that need this one may use
//! output NAME<<DELIMITER      the same over many lines: those up to the next that is DELIMITER
//! ```

use crate::{
    redaction::Redaction,
    workflow::{
        contract::Progress,
        outputs::{MOST, Outputs, STEP_BYTES, bytes, of_step},
    },
};

/// The longest line.
const LINE_BYTES: usize = 64 * 1024;
/// The longest name of an output.
const NAME_BYTES: usize = 64;

/// Why an output of which a line is too long is refused.
const LONG: &str = "a line of an output is longer than 64 KiB: give it as more than one, between 'output NAME<<DELIMITER' \
                    and a line that is DELIMITER";
/// Why what is no output is refused.
const ODD: &str = "an output is 'output NAME=VALUE' or 'output NAME<<DELIMITER', with a NAME of 1 to 64 letters, digits \
                   and '_'";

/// What was reported so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The line that is being read, as far as it is not too long.
    line: Vec<u8>,
    /// Whether it is too long.
    over: bool,
    pub(super) progress: Progress,
    outputs: Outputs,
    /// The output whose lines are being read.
    open: Option<Open>,
    /// Why the outputs cannot be taken. Then none are kept.
    refused: Option<String>,
}

/// An output over many lines.
#[derive(Debug)]
struct Open {
    name: String,
    delimiter: String,
    /// None before its first line.
    value: Option<String>,
    /// How many bytes it may be.
    room: usize,
}

impl Report {
    /// Takes the next bytes. Says whether the progress is another.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let before = self.progress;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ended = part.ends_with(b"\n");
            let part = part.strip_suffix(b"\n").unwrap_or(part);
            let room = LINE_BYTES - self.line.len();
            self.over |= part.len() > room;
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if ended {
                self.line_ends();
            }
        }
        self.progress != before
    }

    /// The pipe is at its end: what is there is the last line.
    pub(super) fn finish(&mut self) {
        if !self.line.is_empty() {
            self.line_ends();
        }
        if let Some(Open { name, .. }) = self.open.take() {
            self.refuse(format!("the output '{name}' has no end: a line that is its delimiter is missing"));
        }
    }

    fn line_ends(&mut self) {
        let (bytes, over) = (std::mem::take(&mut self.line), std::mem::take(&mut self.over));
        let line = String::from_utf8_lossy(&bytes);
        match self.open.take() {
            Some(open) => self.open = self.goes_on(open, &line, over),
            None if over && line.starts_with("output ") => self.refuse(LONG.to_owned()),
            None if over => {}
            None => self.take(line.trim_end_matches('\r')),
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
        let end = text.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let delimiter = rest.strip_prefix("<<").filter(|delimiter| !delimiter.is_empty());
        match (rest.strip_prefix('='), delimiter) {
            _ if name.is_empty() || name.len() > NAME_BYTES => self.refuse(ODD.to_owned()),
            (Some(value), _) => self.keep(name.to_owned(), value.to_owned()),
            (None, Some(delimiter)) => {
                let (name, delimiter, room) =
                    (name.to_owned(), delimiter.to_owned(), self.room(name).unwrap_or_default());
                self.open = Some(Open { name, delimiter, value: None, room });
            }
            (None, None) => self.refuse(ODD.to_owned()),
        }
    }

    /// The next line of an output over many. What is still open after it.
    fn goes_on(&mut self, mut open: Open, line: &str, over: bool) -> Option<Open> {
        if over {
            self.refuse(LONG.to_owned());
        } else if line.trim_end_matches('\r') == open.delimiter {
            self.keep(open.name, open.value.unwrap_or_default());
            return None;
        }
        // What is refused is read to its end: its lines are no lines of the protocol.
        if self.refused.is_none() {
            let value = match &mut open.value {
                Some(value) => {
                    value.push('\n');
                    value
                }
                none => none.insert(String::new()),
            };
            value.push_str(line);
            if value.len() > open.room {
                self.refuse(too_much(&open.name));
            }
        }
        if self.refused.is_some() {
            open.value = None;
        }
        Some(open)
    }

    /// How many bytes the value of an output may be beside the others; none where its name is too much.
    fn room(&self, name: &str) -> Option<usize> {
        let own = self.outputs.get(name).map_or(0, |former| name.len() + former.len());
        STEP_BYTES.checked_sub(bytes(&self.outputs) - own + name.len())
    }

    fn keep(&mut self, name: String, value: String) {
        if self.refused.is_some() {
            return;
        }
        if self.room(&name).is_none_or(|room| value.len() > room) {
            return self.refuse(too_much(&name));
        }
        self.outputs.insert(name, value);
        if self.outputs.len() > MOST {
            self.refuse(format!("a step has at most {MOST} outputs"));
        }
    }

    fn refuse(&mut self, why: String) {
        self.refused.get_or_insert(why);
        self.outputs = Outputs::new();
    }

    /// What the step gave, without what looks like a secret.
    ///
    /// # Errors
    /// Why that cannot be taken.
    pub(super) fn into_outputs(self, redaction: &Redaction) -> Result<Outputs, String> {
        if let Some(why) = self.refused {
            return Err(why);
        }
        let redacted = |(name, value): (String, String)| (name, redaction.redact(&value).into_owned());
        let outputs: Outputs = self.outputs.into_iter().map(redacted).collect();
        // What stands in the place of a secret may be longer than the secret.
        of_step(&outputs).map(|()| outputs)
    }
}

fn too_much(name: &str) -> String {
    format!("the outputs of a step are at most 256 KiB together: with '{name}' they are more")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::redaction::RedactionConfig;

    fn reported(text: &str) -> Report {
        let mut report = Report::default();
        for byte in text.as_bytes() {
            report.push(std::slice::from_ref(byte));
        }
        report.finish();
        report
    }

    fn outputs(text: &str) -> Result<Outputs, String> {
        let redaction = Redaction::new(&RedactionConfig::default()).expect("compiles");
        reported(text).into_outputs(&redaction)
    }

    fn of<const N: usize>(outputs: [(&str, &str); N]) -> Result<Outputs, String> {
        Ok(outputs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
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
    fn the_last_output_of_a_name_counts_and_what_follows_the_first_sign_is_its_value() {
        assert_eq!(outputs("output a=1\noutput a=2=3\noutput b=\n"), of([("a", "2=3"), ("b", "")]));
        assert_eq!(outputs("output a=x<<y\r\noutput  b=c d "), of([("a", "x<<y"), ("b", "c d ")]));
        assert_eq!(outputs("rubbish\noutputs a=1\nan output"), of([]));
    }

    #[test]
    fn an_output_over_many_lines_is_all_of_them_up_to_its_delimiter() {
        let table = [
            ("output a<<EOF\none\n\n  two=2\nEOF\noutput b=1\n", of([("a", "one\n\n  two=2"), ("b", "1")])),
            ("output a<<EOF\nEOF\n", of([("a", "")])),
            ("output a<<EOF\n\nEOF", of([("a", "")])),
            ("output a<<EOF\n\n\nEOF", of([("a", "\n")])),
            ("output a<<b c\nEOF\n b c\nb c\r\n", of([("a", "EOF\n b c")])),
            ("output a<<=\nx\r\n=\n", of([("a", "x\r")])),
            ("output a=1\noutput a<<E\n2\nE\n", of([("a", "2")])),
        ];
        for (text, expected) in table {
            assert_eq!(outputs(text), expected, "{text}");
        }
        let report = reported("output a<<EOF\nprogress 1 2\noutput b=1\nEOF\nitem\n");
        assert_eq!(
            (report.progress.current, report.progress.total),
            (1, 0),
            "what is inside is no line of the protocol"
        );
    }

    #[test]
    fn what_is_no_output_is_refused_and_says_why() {
        for odd in ["a-b=1", "c", "=1", "a<<", "a<b", "é=1", &format!("{}=1", "x".repeat(65)), ""] {
            let why = outputs(&format!("output {odd}\noutput fine=1\n")).expect_err(odd);
            assert!(why.contains("output NAME=VALUE"), "{odd}: {why}");
        }
        assert!(outputs("output a<<EOF\none\n").expect_err("open").contains("'a' has no end"));
        assert!(outputs("output a-b=1\noutput a<<EOF").expect_err("the first counts").contains("NAME=VALUE"));
    }

    #[test]
    fn a_line_of_an_output_is_whole_up_to_64_kib_and_refused_beyond() {
        let fits = "x".repeat(LINE_BYTES - "output a=".len());
        assert_eq!(outputs(&format!("output a={fits}\n")), of([("a", &fits)]));
        let long = format!("output a={fits}x\nprogress 1 2\n");
        assert!(outputs(&long).expect_err("beyond").contains("longer than 64 KiB"));
        assert_eq!(reported(&long).progress.current, 1, "what follows is read");
        let inside = format!("output a<<E\n{}\nE\n", "x".repeat(LINE_BYTES + 1));
        assert!(outputs(&inside).expect_err("beyond").contains("longer than 64 KiB"));
        let rubbish = format!("{}\noutput a=1\n", "x".repeat(3 * LINE_BYTES));
        assert_eq!(outputs(&rubbish), of([("a", "1")]), "a long line of something else changes nothing");
        let mut report = Report::default();
        report.push(rubbish.as_bytes());
        report.push("x".repeat(LINE_BYTES * 3).as_bytes());
        assert!(report.line.len() <= LINE_BYTES, "nothing is kept of it");
    }

    #[test]
    fn the_outputs_of_a_step_are_whole_up_to_their_bounds_and_refused_beyond() {
        let line = "x".repeat(1_023);
        let lines = |count: usize| vec![line.as_str(); count].join("\n");
        // 256 lines of 1 KiB with their ends, but for the last one's, and the name.
        let fits = lines(256);
        assert_eq!(outputs(&format!("output a<<E\n{fits}\nE\n")), of([("a", &fits)]));
        assert_eq!(outputs(&format!("output a=1\noutput a<<E\n{fits}\nE\n")), of([("a", &fits)]));
        let named = outputs(&format!("output a<<E\n{fits}\nE\noutput b=\n"));
        assert!(named.expect_err("its name").contains("256 KiB together: with 'b'"));
        let beyond = outputs(&format!("output b=1\noutput a<<E\n{fits}\nE\noutput c=1\n"));
        assert!(beyond.expect_err("beyond").contains("256 KiB together: with 'a'"));
        let mut report = Report::default();
        report.push(format!("output a<<E\n{}", lines(2_000)).as_bytes());
        assert!(report.open.is_some_and(|open| open.value.is_none()), "nothing is kept of what is refused");
        let many = |count: usize| (0..count).map(|n| format!("output a{n}=1\n")).collect::<String>();
        assert_eq!(outputs(&many(MOST)).expect("fits").len(), MOST);
        assert!(outputs(&many(MOST + 1)).expect_err("beyond").contains("at most 64 outputs"));
    }

    #[test]
    fn a_secret_over_many_lines_is_taken_out_and_what_grows_beyond_the_bound_by_that_is_refused() {
        let key = "output a<<E\nsee\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nthere\nE\n";
        assert_eq!(outputs(key), of([("a", "see\n[redacted]\nthere")]));
        let line = "token=x ".repeat(8_000);
        let grown = format!("output a<<E\n{line}\n{line}\n{line}\n{line}\nE\n");
        assert!(outputs(&grown).expect_err("grown").contains("256 KiB"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// However the bytes come, what is read is the same, and a value comes back as it was given.
        #[test]
        fn however_a_report_is_cut_its_outputs_are_the_same(
            values in proptest::collection::vec("[a-z<=\n]{0,30}", 1..5),
            size in 1usize..9,
        ) {
            let text: String =
                values.iter().enumerate().map(|(n, value)| format!("output v{n}<<END\n{value}\nEND\n")).collect();
            let mut cut = Report::default();
            for part in text.as_bytes().chunks(size) {
                cut.push(part);
            }
            cut.finish();
            let expected: Outputs =
                values.iter().enumerate().map(|(n, value)| (format!("v{n}"), value.clone())).collect();
            prop_assert_eq!(&cut.outputs, &expected);
            prop_assert_eq!(&reported(&text).outputs, &expected);
        }
    }
}
