//! What a subscriber reads of a message: its number, its place in the channel, its time.
//!
//! Guarantees: only the beginning of a message is looked at, so that long ones cost no more.
//! It does not parse JSON: the publisher wrote these fields itself and knows how they look.

use memchr::memmem;

/// How far into a packet the fields may stand.
const HEAD_BYTES: usize = 320;

/// The beginning of every packet that carries a message.
const MESSAGE: &[u8] = b"42[\"message\",";

/// The publisher's number of an event in its channel: 0, 1, 2 …
pub const NUMBER: &[u8] = b"\"n\":";
/// When it was posted, in nanoseconds.
pub const STAMP: &[u8] = b"\"ts\":";
/// The server's number of it in its channel.
pub const SEQ: &[u8] = b"\"seq\":";

/// The part of a packet in which the fields of a message stand; none if it carries no message.
#[must_use]
pub fn head(packet: &[u8]) -> Option<&[u8]> {
    packet.starts_with(MESSAGE).then(|| &packet[..packet.len().min(HEAD_BYTES)])
}

/// Finds the number after a key.
#[must_use]
pub fn number(head: &[u8], key: &[u8]) -> Option<u64> {
    let at = memmem::find(head, key)?;
    digits(&head[at + key.len()..])
}

/// The same, for a key that mostly stands where it stood in the message before: `place` is that.
#[must_use]
pub fn number_near(head: &[u8], key: &[u8], place: &mut usize) -> Option<u64> {
    if head.get(*place..*place + key.len()) != Some(key) {
        *place = memmem::find(head, key)?;
    }
    digits(&head[*place + key.len()..])
}

/// The text after `"key":"`, up to the next quote.
#[must_use]
pub fn text<'a>(packet: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let rest = &packet[memmem::find(packet, key)? + key.len()..];
    let rest = rest.strip_prefix(b"\"")?;
    std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
}

fn digits(text: &[u8]) -> Option<u64> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 19 {
        return None;
    }
    Some(
        text[..count]
            .iter()
            .fold(0, |number: u64, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: &[u8] = br#"42["message",{"type":"session.stream_output","channel":"session:load0","seq":8,"time":"2026-11-20T20:31:29.123Z","data":{"sessionId":"load0","n":7,"ts":1234567,"content":"xx"}}]"#;

    #[test]
    fn the_fields_of_a_message_are_found() {
        let head = head(PACKET).expect("a message");
        assert_eq!(number(head, NUMBER), Some(7));
        assert_eq!(number(head, STAMP), Some(1_234_567));
        assert_eq!(number(head, SEQ), Some(8));
    }

    #[test]
    fn a_number_is_found_where_it_was_and_where_it_was_not() {
        for mut place in [0, 3, 150, usize::MAX / 2] {
            for _ in 0..2 {
                assert_eq!(number_near(PACKET, NUMBER, &mut place), Some(7));
            }
        }
        assert_eq!(number_near(b"42[\"message\",{}]", NUMBER, &mut 150), None);
    }

    #[test]
    fn a_notice_has_no_number_and_an_answer_is_no_message() {
        let hello = br#"42["message",{"type":"server.hello","data":{"protocol":1}}]"#;
        assert_eq!(number(head(hello).expect("a message"), NUMBER), None);
        assert_eq!(head(br#"431[{"ok":true}]"#), None);
        assert_eq!(number(b"\"n\":null", NUMBER), None);
        assert_eq!(number(b"\"n\":99999999999999999999", NUMBER), None);
    }

    #[test]
    fn a_text_is_found_by_its_key() {
        let answer = br#"431[{"ok":true,"channel":"session:load0","epoch":"01a2","seq":5}]"#;
        assert_eq!(text(answer, b"\"epoch\":"), Some("01a2"));
        assert_eq!(text(answer, b"\"seq\":"), None);
    }
}
