//! Whether JSON can be the data of an event, and how it is made to.
//!
//! Guarantees: what fits, every reader of the server takes, with whatever it reads it as; most data is seen to
//! fit without being taken apart.
//! It is not the judgement of what data means, nor of how long it is.

use std::{borrow::Cow, fmt};

/// The most levels of objects and arrays inside one another that data has. A state that holds data must
/// stay below the 128 levels that serde_json reads.
pub const LEVELS: usize = 64;

/// What stands for a number that is too large, where a text is made to fit.
pub(super) const LARGEST: &str = "1.7976931348623157e308";
/// A number of fewer bytes is too large only with an exponent of three digits.
const MANY_DIGITS: usize = 200;

/// Why a JSON text cannot be data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is nested too deep.
    Deep,
    /// It holds a number beyond what a double can be.
    Number,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deep => write!(f, "has more than {LEVELS} levels of objects and arrays"),
            Self::Number => f.write_str("holds a number beyond the range of a double"),
        }
    }
}

/// Whether a JSON text can be data: at most [`LEVELS`] levels, and each number a finite double.
///
/// # Errors
/// Why not.
pub fn fits(text: &str) -> std::result::Result<(), Unfit> {
    if clearly_fits(text.as_bytes(), LEVELS) {
        return Ok(());
    }
    let mut levels = 0_usize;
    for part in Parts::of(text) {
        match part {
            Part::Opens(_) if levels == LEVELS => return Err(Unfit::Deep),
            Part::Opens(_) => levels += 1,
            Part::Closes(_) => levels = levels.saturating_sub(1),
            Part::Number(_, number) if too_large(number) => return Err(Unfit::Number),
            Part::Number(..) => {}
        }
    }
    Ok(())
}

/// The text made to fit, for what must not be lost: a number that is too large is the largest with its sign,
/// and what lies deeper than so many levels is a text of its JSON.
#[must_use]
pub fn fitted(text: &str, levels: usize) -> Cow<'_, str> {
    if clearly_fits(text.as_bytes(), levels) {
        return Cow::Borrowed(text);
    }
    let (mut fitted, mut written) = (String::new(), 0);
    // Where something began that is too deep.
    let (mut level, mut deep) = (0_usize, 0);
    for part in Parts::of(text) {
        match part {
            Part::Opens(at) => {
                level += 1;
                if level == levels + 1 {
                    deep = at;
                }
            }
            Part::Closes(at) => {
                if level == levels + 1 {
                    fitted.push_str(&text[written..deep]);
                    fitted.push_str(&serde_json::Value::from(&text[deep..=at]).to_string());
                    written = at + 1;
                }
                level = level.saturating_sub(1);
            }
            Part::Number(at, number) if level <= levels && too_large(number) => {
                fitted.push_str(&text[written..at]);
                fitted.push_str(if number.starts_with('-') { "-" } else { "" });
                fitted.push_str(LARGEST);
                written = at + number.len();
            }
            Part::Number(..) => {}
        }
    }
    if written == 0 {
        return Cow::Borrowed(text);
    }
    fitted.push_str(&text[written..]);
    Cow::Owned(fitted)
}

/// Whether serde_json says that this number is none.
fn too_large(number: &str) -> bool {
    // An exponent of two digits needs many digits before it.
    let exponent = || number.find(['e', 'E']).is_some_and(|at| number.len() > at + 3);
    let may_be = number.len() >= MANY_DIGITS || exponent();
    may_be && serde_json::from_str::<f64>(number).is_err()
}

/// A quick look, which most texts pass: too few brackets to be deep, no run of digits that is long, and
/// nothing like an exponent of three digits. It is done without a branch, many bytes at a time.
fn clearly_fits(bytes: &[u8], levels: usize) -> bool {
    let (mut brackets, mut odd, mut rest) = (0, false, bytes);
    while let Some(window) = rest.first_chunk::<WINDOW>() {
        let look = Look::at(window);
        (brackets, odd, rest) = (brackets + look.brackets, odd | look.odd, &rest[STEP..]);
    }
    let mut last = [0; WINDOW];
    last[..rest.len()].copy_from_slice(rest);
    let look = Look::at(&last);
    brackets + look.brackets <= levels && !odd && !look.odd
}

/// So many bytes are looked at together.
const STEP: usize = 64;
/// As many, and what an exponent that begins in the last of them has besides.
const WINDOW: usize = STEP + 4;

/// What a quick look finds in [`STEP`] bytes.
struct Look {
    /// How many brackets open.
    brackets: usize,
    /// Whether all are digits, as they are somewhere in every run of twice as many, or an exponent may be there.
    odd: bool,
}

impl Look {
    #[inline]
    fn at(window: &[u8; WINDOW]) -> Self {
        let is = |byte: bool| u8::from(byte);
        let digit = |at: usize| is(window[at].wrapping_sub(b'0') < 10);
        let (mut brackets, mut exponents, mut digits) = (0, 0, 1);
        for at in 0..STEP {
            // Both brackets differ in this bit only, as do both cases of a letter; a sign is no digit.
            brackets += is(window[at] | 0x20 == b'{');
            digits &= digit(at);
            let sign = is(window[at + 2] == b'+') | is(window[at + 2] == b'-');
            let many = (digit(at + 2) | sign) & digit(at + 3) & digit(at + 4);
            exponents |= digit(at) & is(window[at + 1] | 0x20 == b'e') & many;
        }
        Self { brackets: usize::from(brackets), odd: (exponents | digits) != 0 }
    }
}

/// A part of a JSON text that is no text.
pub(super) enum Part<'a> {
    /// A bracket opens here.
    Opens(usize),
    /// A bracket closes here.
    Closes(usize),
    /// A number begins here.
    Number(usize, &'a str),
}

/// The parts of a JSON text, in order. Of what is no JSON it gives something.
pub(super) struct Parts<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The place after the text that begins here.
    fn after_text(&self, opening: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = opening + 1;
        // Most texts are short, and a search for a byte is worth its call only in a long one.
        while at < opening + STEP {
            match bytes.get(at) {
                Some(b'"') => return at + 1,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return bytes.len(),
            }
        }
        let mut from = self.text.floor_char_boundary(at);
        loop {
            let Some(quote) = self.text.get(from..).and_then(|rest| rest.find('"')) else { return bytes.len() };
            let quote = from + quote;
            let escapes = bytes[at.min(quote)..quote].iter().rev().take_while(|byte| **byte == b'\\').count();
            from = quote + 1;
            if quote >= at && escapes % 2 == 0 {
                return from;
            }
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let bytes = self.text.as_bytes();
        loop {
            let at = self.at;
            self.at += 1;
            match bytes.get(at)? {
                b'"' => self.at = self.after_text(at),
                b'{' | b'[' => return Some(Part::Opens(at)),
                b'}' | b']' => return Some(Part::Closes(at)),
                b'-' | b'0'..=b'9' => {
                    let of_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    self.at += bytes[self.at..].iter().take_while(of_number).count();
                    return Some(Part::Number(at, &self.text[at..self.at]));
                }
                _ => {}
            }
        }
    }
}
