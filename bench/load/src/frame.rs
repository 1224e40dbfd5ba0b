//! WebSocket frames, as far as a server's are read and a client's are written.
//!
//! Guarantees: a frame is found in place, without a copy, wherever the bytes were cut.
//! It does not join fragments: no server here sends any, and one that does is refused.

/// A text frame.
pub const TEXT: u8 = 0x1;
/// The server closes.
pub const CLOSE: u8 = 0x8;
/// A question of the WebSocket itself; Engine.IO has its own.
pub const PING: u8 = 0x9;
/// The answer to it.
pub const PONG: u8 = 0xa;

/// The most that a frame may hold; more means that the place in the stream is lost.
const MOST_BYTES: u64 = 512 << 10;

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Split<'a> {
    /// A whole frame.
    Whole {
        /// What kind of frame.
        opcode: u8,
        /// What it holds.
        payload: &'a [u8],
        /// The bytes it takes, head and all.
        length: usize,
    },
    /// The beginning of a frame, or nothing.
    Part,
    /// No frame that a server may send here.
    Broken,
}

/// Looks at the frame at the beginning of `bytes`.
#[must_use]
pub fn split(bytes: &[u8]) -> Split<'_> {
    split_within(bytes, MOST_BYTES)
}

/// The same, where a frame may hold up to `most` bytes: of somebody who reads what is large.
#[must_use]
pub fn split_within(bytes: &[u8], most: u64) -> Split<'_> {
    let [first, second, rest @ ..] = bytes else { return Split::Part };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Split::Broken;
    }
    let (extra, length) = match (second, rest) {
        (126, [a, b, ..]) => (2, u64::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => (8, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        (126 | 127, _) => return Split::Part,
        (small, _) => (0, u64::from(*small)),
    };
    if length > most {
        return Split::Broken;
    }
    let length = length as usize;
    match rest.get(extra..extra + length) {
        Some(payload) => Split::Whole { opcode: first & 0x0f, payload, length: 2 + extra + length },
        None => Split::Part,
    }
}

/// Writes a client's frame. Its mask is zero, which every server has to take and costs nothing.
///
/// # Panics
/// If the payload has 64 KiB or more: nothing that a subscriber says is that long.
pub fn write(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        small @ ..126 => out.push(0x80 | small as u8),
        length => {
            let length = u16::try_from(length).expect("what a subscriber says is short");
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_a_server(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81];
        match payload.len() {
            small @ ..126 => frame.push(small as u8),
            length @ ..65_536 => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_frame_is_whole_at_its_last_byte_and_not_before() {
        for length in [0, 1, 125, 126, 300, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let frame = of_a_server(&payload);
            for cut in (0..frame.len()).step_by(if length > 300 { 251 } else { 1 }) {
                assert_eq!(split(&frame[..cut]), Split::Part, "{length} bytes, cut at {cut}");
            }
            let more = [frame.as_slice(), b"\x81\x01"].concat();
            let whole = Split::Whole { opcode: TEXT, payload: &payload, length: frame.len() };
            assert_eq!(split(&more), whole);
        }
    }

    #[test]
    fn what_no_server_may_send_is_broken() {
        assert_eq!(split(&[0x01, 0x01, b'x']), Split::Broken, "a fragment");
        assert_eq!(split(&[0x81, 0x81, 0, 0, 0, 0, b'x']), Split::Broken, "a mask");
        assert_eq!(split(&[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0]), Split::Broken, "a length beyond reason");
    }

    #[test]
    fn a_written_frame_has_a_mask_and_the_right_length() {
        for length in [0, 125, 126, 4_000] {
            let mut out = Vec::new();
            write(TEXT, &vec![b'y'; length], &mut out);
            assert_eq!((out[0], out[1] & 0x80), (0x81, 0x80));
            assert_eq!(out.len(), length + if length < 126 { 6 } else { 8 });
        }
    }
}
