//! Bytes that come in pieces, as text.
//!
//! Guarantees: pieces are cut between characters: at most three bytes of an unfinished character wait
//! for the rest of it; bytes that are no UTF-8 become U+FFFD, the same as if all had come at once.
//! It is not a splitter of lines.

/// A decoder of one stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    carry: Vec<u8>,
}

impl Decoder {
    /// The text of the next bytes, and of what waited for them.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.carry.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.carry.len());
        let mut rest: &[u8] = &self.carry;
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    if let Some(bad) = error.error_len() {
                        text.push(char::REPLACEMENT_CHARACTER);
                        rest = &after[bad..];
                        continue;
                    }
                }
            }
            break;
        }
        self.carry = rest.to_vec();
        text
    }

    /// What is left at the end: an unfinished character is one U+FFFD.
    pub(crate) fn finish(&mut self) -> String {
        let left = std::mem::take(&mut self.carry);
        String::from_utf8_lossy(&left).into_owned()
    }
}

/// A text as pieces of at most `limit` bytes, cut between characters. `limit` is at least 4.
pub(crate) fn pieces(text: &str, limit: usize) -> Vec<&str> {
    let mut rest = text;
    let mut pieces = Vec::with_capacity(text.len() / limit + 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(limit));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The first part of a text, of at most `limit` bytes.
pub(crate) fn shortened(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_character_split_over_pieces_comes_whole() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"a\xF0\x9F"), "a");
        assert_eq!(decoder.push(b"\xA6"), "");
        assert_eq!(decoder.push(b"\x80b"), "\u{1F980}b");
        assert_eq!(decoder.finish(), "");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced_and_take_nothing_with_them() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"a\xFFb\xC3"), "a\u{FFFD}b");
        assert_eq!(decoder.push(b"c\xE2\x82"), "\u{FFFD}c");
        assert_eq!(decoder.finish(), "\u{FFFD}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn however_the_bytes_are_cut_the_text_is_the_same(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xE2), Just(0x82), Just(0xAC), 0x61..0x7Au8], 0..64),
            cuts in proptest::collection::vec(0usize..64, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut decoder = Decoder::default();
            let mut text: String = cuts.windows(2).map(|pair| decoder.push(&bytes[pair[0]..pair[1]])).collect();
            prop_assert!(decoder.carry.len() <= 3);
            text.push_str(&decoder.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes).into_owned());
        }

        #[test]
        fn pieces_are_bounded_and_make_the_whole(text in "\\PC{0,60}") {
            let cut = pieces(&text, 5);
            prop_assert!(cut.iter().all(|piece| !piece.is_empty() && piece.len() <= 5));
            prop_assert_eq!(cut.concat(), text);
        }
    }
}
