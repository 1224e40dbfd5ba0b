//! The one reading of JSON that others wrote: clients, producers, agents, and what was kept of them.
//!
//! Guarantees: what serde_json takes is read as serde_json reads it, and costs nothing more. Half of a
//! surrogate pair (`"\ud83d"`, which JavaScript and Python write) is no syntax error: read as a text it is
//! U+FFFD. A number that is whole is one where an integer is read, also as `80.0`. Whoever passes raw JSON on
//! passes on what came. Data that not every reader could take is found by [`fits`], in one pass over the bytes.
//! It is not a parser: that is serde_json's. What the server wrote itself needs none of this.

use std::{borrow::Cow, cell::OnceCell};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Result, value::RawValue};

mod fit;
#[cfg(test)]
mod tests;
mod whole;

pub use fit::{LEVELS, Unfit, fits, fitted};

/// A half of a pair is six bytes long, and so is this: every place in a text stays where it is.
const REPLACEMENT: &[u8; 6] = b"\\ufffd";

/// Reads a JSON text.
///
/// A [`RawValue`] inside may hold U+FFFD in place of a half of a pair, and 80 in place of 80.0, if another part of
/// the text holds one too: where bytes are passed on, read a [`Text`].
///
/// # Errors
/// What serde_json says of it.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).or_else(|refused| {
        let refused = match mended(text).map_or(Err(refused), |mended| serde_json::from_str(&mended)) {
            Ok(read) => return Ok(read),
            Err(refused) => refused,
        };
        // Once more with the whole numbers as integers, unless it is no JSON or of another form all the same.
        let plain = if refused.is_data() { plain(text) } else { None };
        plain.map_or(Err(refused), |plain| serde_json::from_str(&plain))
    })
}

/// The same text without halves of pairs, and with each whole number as an integer; none if it has no such number.
pub(crate) fn plain(text: &str) -> Option<String> {
    whole::whole(&readable(text))
}

/// The same text as serde_json takes it: with U+FFFD for each half of a pair, at the same places.
#[must_use]
pub fn readable(text: &str) -> Cow<'_, str> {
    mended(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// A JSON text whose parts are borrowed from it, or passed on.
#[derive(Debug)]
pub struct Text<'a> {
    came: &'a str,
    /// The readable copy, once it was needed; none if there is nothing to mend.
    mended: OnceCell<Option<String>>,
}

impl<'a> Text<'a> {
    /// A text, which is not looked at yet.
    #[must_use]
    pub fn new(came: &'a str) -> Self {
        Self { came, mended: OnceCell::new() }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What serde_json says of it.
    pub fn read<'t, T: Deserialize<'t>>(&'t self) -> Result<T> {
        serde_json::from_str(self.came).or_else(|refused| match self.mended.get_or_init(|| mended(self.came)) {
            Some(mended) => serde_json::from_str(mended),
            None => Err(refused),
        })
    }

    /// The text as it was read last.
    pub(crate) fn readable(&self) -> &str {
        self.mended.get().and_then(Option::as_deref).unwrap_or(self.came)
    }

    /// A part that was read, byte for byte as it came.
    #[must_use]
    pub fn came<'t>(&'t self, part: &'t RawValue) -> &'t RawValue {
        let Some(mended) = self.mended.get().and_then(Option::as_deref) else { return part };
        let text = part.get();
        let place = (text.as_ptr() as usize).checked_sub(mended.as_ptr() as usize);
        let same = place.and_then(|place| self.came.get(place..place + text.len()));
        same.and_then(|same| serde_json::from_str(same).ok()).unwrap_or(part)
    }
}

/// The text with U+FFFD for each half of a surrogate pair; none if it holds none.
fn mended(text: &str) -> Option<String> {
    let mut mended: Option<Vec<u8>> = None;
    let (bytes, mut at) = (text.as_bytes(), 0);
    while let Some(found) = text.get(at..)?.find('\\') {
        at += found;
        at += match (unit(bytes, at), unit(bytes, at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                let mended = mended.get_or_insert_with(|| bytes.to_vec());
                mended[at..at + 6].copy_from_slice(REPLACEMENT);
                6
            }
            (Some(_), _) => 6,
            // What is escaped may be more than a byte long where the text is no JSON.
            (None, _) => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    String::from_utf8(mended?).ok()
}

/// The UTF-16 unit that is escaped here.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}
