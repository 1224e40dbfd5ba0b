//! Redaction of a text that comes in pieces.
//!
//! Guarantees: the output of whole lines is what [`Redaction::redact`] makes of them; at most
//! [`HOLD_BYTES`] are held back, and only of an unfinished line; of a secret whose head
//! was flushed before it could be known, what follows is still hidden.
//! It is not a timer: whoever must not hold text calls [`Redactor::flush`].

use std::sync::Arc;

use super::{HOLD_BYTES, MARKER, Redaction, Span};

/// The most bytes of a private key that are swallowed while its end marker does not come.
const BLOCK_BYTES: usize = 64 * 1024;
/// Enough of the newest bytes of a private key to find an end marker that two pieces split.
const BLOCK_TAIL: usize = 128;

/// What is being swallowed because the secret that it belongs to was shown as hidden already.
#[derive(Debug)]
enum Swallow {
    Nothing,
    /// A secret without an end in sight: up to a space or a quote.
    Word,
    /// A private key: up to its end marker, or so many bytes more.
    Block {
        left: usize,
    },
}

/// Redacts a stream. One for each stream; it keeps the unfinished line.
#[derive(Debug)]
pub struct Redactor {
    redaction: Arc<Redaction>,
    /// The unfinished line: what was given out of it (up to `done`) and what is held back.
    text: String,
    done: usize,
    /// Whether `done` stands in or at the end of a secret that was given out as hidden.
    hidden: bool,
    swallow: Swallow,
}

impl Redactor {
    /// A redactor at the start of a stream.
    #[must_use]
    pub fn new(redaction: Arc<Redaction>) -> Self {
        Self { redaction, text: String::new(), done: 0, hidden: false, swallow: Swallow::Nothing }
    }

    /// Takes the next piece; gives what can be shown now: whole lines, and what is too much to hold.
    #[must_use]
    pub fn push(&mut self, piece: &str) -> String {
        if !self.redaction.enabled {
            return piece.to_owned();
        }
        let piece = self.swallowed(piece);
        self.text.push_str(&piece);
        let lines = self.text.rfind('\n').map_or(0, |at| at + 1);
        let bound = self.text.floor_char_boundary(self.text.len().saturating_sub(HOLD_BYTES));
        self.give(lines.max(bound).max(self.done))
    }

    /// Gives what is held back.
    #[must_use]
    pub fn flush(&mut self) -> String {
        self.give(self.text.len())
    }

    /// Whether something is held back.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.text.len() > self.done
    }

    /// Gives the text from `done` to `limit`, redacted, and forgets what is not needed any more.
    fn give(&mut self, limit: usize) -> String {
        let spans = self.redaction.spans(&self.text);
        let mut out = String::with_capacity(limit - self.done);
        let mut at = self.done;
        let mut cut = None;
        for span in spans.iter().take_while(|span| span.start < limit).filter(|span| span.end > self.done) {
            out.push_str(&self.text[at..span.start.max(at)]);
            let continued = self.hidden && span.start < self.done;
            if !continued {
                out.push_str(MARKER);
            }
            at = span.end.min(limit);
            if span.end >= limit {
                cut = Some(*span);
            }
        }
        out.push_str(&self.text[at..limit]);
        let still_hidden = limit == self.done && self.hidden;
        self.done = limit;
        self.forget(cut, still_hidden);
        out
    }

    /// Keeps of the text given out only the unfinished line, and of that only a bounded part.
    fn forget(&mut self, cut: Option<Span>, still_hidden: bool) {
        let ends_here = cut.filter(|span| span.end == self.text.len() || span.end > self.done);
        self.hidden = ends_here.is_some() || still_hidden;
        if cut.is_some_and(|span| span.open_block) {
            self.text.drain(..self.text.floor_char_boundary(self.text.len().saturating_sub(BLOCK_TAIL)));
            self.done = self.text.len();
            self.swallow = Swallow::Block { left: BLOCK_BYTES };
            return;
        }
        let line = self.text[..self.done].rfind('\n').map_or(0, |at| at + 1);
        let bound = self.text.floor_char_boundary(self.done.saturating_sub(HOLD_BYTES));
        let from = line.max(bound);
        if let Some(span) = ends_here.filter(|span| span.start < from) {
            self.text.drain(..span.end);
            self.done = 0;
            self.hidden = false;
            self.swallow = if self.text.is_empty() { Swallow::Word } else { Swallow::Nothing };
            return;
        }
        self.text.drain(..from);
        self.done -= from;
    }

    /// The piece without what belongs to a secret that is being swallowed.
    fn swallowed(&mut self, piece: &str) -> String {
        match self.swallow {
            Swallow::Nothing => piece.to_owned(),
            Swallow::Word => match piece.find(|c: char| c.is_whitespace() || c == '"' || c == '\'') {
                Some(end) => {
                    self.swallow = Swallow::Nothing;
                    piece[end..].to_owned()
                }
                None => String::new(),
            },
            Swallow::Block { left } => self.swallow_block(piece, left),
        }
    }

    fn swallow_block(&mut self, piece: &str, left: usize) -> String {
        let tail = std::mem::take(&mut self.text);
        let seen = format!("{tail}{piece}");
        let end = self.redaction.block_end.find(&seen).map(|end| end.end());
        let given_up = (piece.len() > left).then(|| tail.len() + piece.floor_char_boundary(left));
        self.done = 0;
        self.hidden = false;
        if let Some(end) = end.or(given_up) {
            self.swallow = Swallow::Nothing;
            return seen[end.max(tail.len())..].to_owned();
        }
        self.swallow = Swallow::Block { left: left - piece.len() };
        seen[seen.floor_char_boundary(seen.len().saturating_sub(BLOCK_TAIL))..].clone_into(&mut self.text);
        self.done = self.text.len();
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{built_in, secrets},
        *,
    };

    fn redactor() -> Redactor {
        Redactor::new(Arc::new(built_in()))
    }

    #[test]
    fn a_secret_split_anywhere_between_two_reads_is_hidden() {
        let redaction = Arc::new(built_in());
        for secret in secrets().into_iter().chain(["password=\"ab c\"".to_owned(), "token=é1".to_owned()]) {
            let text = format!("one\nsee {secret} there\ntwo");
            let whole = redaction.redact(&text).into_owned();
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                let mut stream = Redactor::new(redaction.clone());
                let mut out = stream.push(&text[..cut]);
                out.push_str(&stream.push(&text[cut..]));
                out.push_str(&stream.flush());
                assert_eq!(out, whole, "{secret} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_private_key_that_comes_line_by_line_is_hidden_also_when_it_is_long() {
        let key = format!("{}\n", "B".repeat(64)).repeat(120);
        let text = format!("a\n-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----\nb\n");
        for size in [1, 7, 64, 1000, text.len()] {
            let mut stream = redactor();
            let mut out = String::new();
            for piece in text.as_bytes().chunks(size) {
                out.push_str(&stream.push(std::str::from_utf8(piece).expect("ASCII")));
                assert!(stream.text.len() <= HOLD_BYTES + size);
            }
            out.push_str(&stream.flush());
            assert_eq!(out, format!("a\n{MARKER}\nb\n"), "in pieces of {size}");
        }
    }

    #[test]
    fn after_a_flush_the_rest_of_a_known_secret_is_still_hidden() {
        let mut stream = redactor();
        let mut out = stream.push("password=hun");
        out.push_str(&stream.flush());
        out.push_str(&stream.push("ter2 done\n"));
        assert_eq!(out, "password=[redacted] done\n");
    }

    #[test]
    fn after_a_flush_the_rest_of_a_secret_that_was_not_known_yet_is_hidden() {
        let secret = &secrets()[0];
        let mut stream = redactor();
        let mut out = stream.push(&secret[..8]);
        out.push_str(&stream.flush());
        out.push_str(&stream.push(&format!("{} done\n", &secret[8..])));
        assert_eq!(out, format!("{}{MARKER} done\n", &secret[..8]));
    }

    #[test]
    fn an_endless_line_is_given_out_and_little_of_it_is_held() {
        let mut stream = redactor();
        let mut out = String::new();
        for _ in 0..100 {
            out.push_str(&stream.push(&"x ".repeat(500)));
            assert!(stream.text.len() <= 2 * HOLD_BYTES + 1000);
        }
        out.push_str(&stream.flush());
        assert_eq!(out, "x ".repeat(50_000));
    }

    #[test]
    fn an_endless_secret_is_swallowed_to_its_end() {
        let mut stream = redactor();
        let mut out = stream.push("token=");
        for _ in 0..100 {
            out.push_str(&stream.push(&"y".repeat(1000)));
            assert!(stream.text.len() <= 2 * HOLD_BYTES + 1000);
        }
        out.push_str(&stream.push("y end\n"));
        assert_eq!(out, "token=[redacted] end\n");
    }

    #[test]
    fn a_line_is_given_at_once_and_an_unfinished_one_is_held_until_the_flush() {
        let mut stream = redactor();
        assert_eq!(stream.push("one\ntw"), "one\n");
        assert!(stream.holds());
        assert_eq!(stream.flush(), "tw");
        assert!(!stream.holds());
        assert_eq!(stream.push("o\n"), "o\n");
    }
}
