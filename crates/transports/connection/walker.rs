//! The walker: from the bytes of a WebSocket to its frames, as they lie.
//!
//! Guarantees: a frame is unmasked where it lies, and nothing is allocated for a message of one frame; what breaks
//! RFC 6455 is found with the code to close with; a message beyond its bound is refused once its length is told.
//! It is not a stream: whoever reads one keeps what is left over. Nor does it know what a message says.

use super::frames::MASKED;

/// The most bytes of a control frame's payload.
const MOST_CONTROL: usize = 125;

/// Codes to close with (RFC 6455, section 7.4.1).
pub(crate) mod code {
    /// All is said.
    pub(crate) const NORMAL: u16 = 1000;
    /// No frame, or none here.
    pub(crate) const PROTOCOL: u16 = 1002;
    /// A kind of message that is not taken.
    pub(crate) const UNSUPPORTED: u16 = 1003;
    /// Text that is none.
    pub(crate) const NOT_TEXT: u16 = 1007;
    /// What is against the rules of what runs on the WebSocket.
    pub(crate) const POLICY: u16 = 1008;
    /// A message that is too large.
    pub(crate) const TOO_LARGE: u16 = 1009;
    /// There is no room now (of the registry of RFC 6455's codes).
    pub(crate) const TRY_AGAIN: u16 = 1013;
}

/// A payload: where it lies, or put together of several frames.
pub(crate) enum Payload<'b> {
    Lying(&'b [u8]),
    Together(Vec<u8>),
}

impl Payload<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Lying(bytes) => bytes,
            Self::Together(bytes) => bytes,
        }
    }
}

/// What a frame is.
pub(crate) enum Frame<'b> {
    Text(Payload<'b>),
    /// Bytes, which nobody wants to see.
    Binary,
    /// A part of a message, whose end is still to come.
    Part,
    Ping(&'b [u8]),
    Pong,
    /// The code to answer with.
    Close(u16),
}

/// What stands at the beginning of some bytes.
pub(crate) enum Step<'b> {
    /// A frame of so many bytes.
    Frame(usize, Frame<'b>),
    /// Not the whole of one yet.
    More,
    /// What is no frame: the code to close with, and why.
    Wrong(u16, &'static str),
}

/// Where in the messages of a stream it is.
#[derive(Default)]
pub(crate) struct Walker {
    /// A message of which some frames came.
    begun: Option<Box<Begun>>,
}

struct Begun {
    is_text: bool,
    bytes: Vec<u8>,
}

/// The head of a frame.
struct Head {
    opcode: u8,
    is_last: bool,
    mask: [u8; 4],
    start: usize,
    length: u64,
}

impl Head {
    /// None if more is needed.
    fn read(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
        let (opcode, is_last) = (first & 0x0f, first & 0x80 != 0);
        if first & 0x70 != 0 {
            return Err("a reserved bit is set");
        }
        if !matches!(opcode, 0..=2 | 8..=10) {
            return Err("an opcode that there is not");
        }
        if second & MASKED == 0 {
            return Err("a frame without a mask");
        }
        let short = second & !MASKED;
        if opcode >= 8 && (!is_last || usize::from(short) > MOST_CONTROL) {
            return Err("a control frame in parts, or too long");
        }
        let wide = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let start = 2 + wide + 4;
        // Whole lengths are read without their masks: a length that is too large is refused before more comes.
        let Some(told) = bytes.get(2..2 + wide) else { return Ok(None) };
        let length = match wide {
            0 => u64::from(short),
            _ => told.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let mask = bytes.get(start - 4..start).and_then(|mask| mask.try_into().ok()).unwrap_or_default();
        Ok(Some(Self { opcode, is_last, mask, start, length }))
    }
}

impl Walker {
    /// How many bytes are kept of a message of which some frames came.
    pub(crate) fn kept(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.bytes.len())
    }

    /// Reads what stands at the beginning of `bytes`, and unmasks it there. A message has at most `limit` bytes.
    pub(crate) fn next<'b>(&mut self, bytes: &'b mut [u8], limit: usize) -> Step<'b> {
        let head = match Head::read(bytes) {
            Ok(Some(head)) => head,
            Ok(None) => return Step::More,
            Err(why) => return Step::Wrong(code::PROTOCOL, why),
        };
        let before = self.begun.as_ref().map_or(0, |begun| begun.bytes.len());
        match (head.opcode, &self.begun) {
            (0, None) => return Step::Wrong(code::PROTOCOL, "the rest of a message that never began"),
            (1 | 2, Some(_)) => return Step::Wrong(code::PROTOCOL, "a message within another"),
            _ => {}
        }
        let length = match usize::try_from(head.length) {
            Ok(length) if head.opcode >= 8 || length <= limit.saturating_sub(before) => length,
            _ => return Step::Wrong(code::TOO_LARGE, "a message is too large"),
        };
        let end = head.start + length;
        let Some(payload) = bytes.get_mut(head.start..end) else { return Step::More };
        unmask(payload, head.mask);
        match self.frame(&head, payload) {
            Ok(frame) => Step::Frame(end, frame),
            Err((code, why)) => Step::Wrong(code, why),
        }
    }

    fn frame<'b>(&mut self, head: &Head, payload: &'b [u8]) -> Result<Frame<'b>, (u16, &'static str)> {
        match head.opcode {
            8 => return closing(payload).map(Frame::Close),
            9 => return Ok(Frame::Ping(payload)),
            10 => return Ok(Frame::Pong),
            _ => {}
        }
        let whole = |is_text, payload| if is_text { Frame::Text(payload) } else { Frame::Binary };
        match (self.begun.take(), head.is_last) {
            (None, true) => Ok(whole(head.opcode == 1, Payload::Lying(payload))),
            (Some(mut begun), true) => {
                begun.bytes.extend_from_slice(payload);
                Ok(whole(begun.is_text, Payload::Together(begun.bytes)))
            }
            (begun, false) => {
                let mut begun =
                    begun.unwrap_or_else(|| Box::new(Begun { is_text: head.opcode == 1, bytes: Vec::new() }));
                begun.bytes.extend_from_slice(payload);
                self.begun = Some(begun);
                Ok(Frame::Part)
            }
        }
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    let whole = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ whole).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

/// The code to answer a close frame with.
fn closing(payload: &[u8]) -> Result<u16, (u16, &'static str)> {
    let told = match payload {
        [] => return Ok(code::NORMAL),
        [first, second, reason @ ..] if std::str::from_utf8(reason).is_ok() => u16::from_be_bytes([*first, *second]),
        [_] => return Err((code::PROTOCOL, "half a close code")),
        _ => return Err((code::NOT_TEXT, "a reason is not UTF-8")),
    };
    if matches!(told, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        Ok(told)
    } else {
        Err((code::PROTOCOL, "a close code that is not to be sent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 11, 13, 17];
        let mut out = match payload.len() {
            length @ 0..126 => vec![first, MASKED | length as u8],
            length => [&[first, MASKED | 126][..], &(length as u16).to_be_bytes()].concat(),
        };
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    /// What comes of a stream that arrives in pieces of this size.
    fn walked(stream: &[u8], piece: usize) -> Vec<String> {
        let (mut walker, mut kept, mut seen) = (Walker::default(), Vec::new(), Vec::new());
        for part in stream.chunks(piece) {
            kept.extend_from_slice(part);
            let mut used = 0;
            loop {
                let (length, shown) = match walker.next(&mut kept[used..], 1000) {
                    Step::More => break,
                    Step::Wrong(code, _) => {
                        seen.push(format!("wrong {code}"));
                        return seen;
                    }
                    Step::Frame(length, frame) => (length, shown(&frame)),
                };
                used += length;
                seen.push(shown);
            }
            kept.drain(..used);
        }
        seen
    }

    fn shown(frame: &Frame<'_>) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(12).collect::<String>();
        match frame {
            Frame::Text(payload) => format!("text {}", text(payload.bytes())),
            Frame::Binary => "binary".into(),
            Frame::Part => "part".into(),
            Frame::Ping(payload) => format!("ping {}", text(payload)),
            Frame::Pong => "pong".into(),
            Frame::Close(code) => format!("close {code}"),
        }
    }

    #[test]
    fn frames_are_read_however_the_stream_is_cut() {
        let stream = [
            masked(0x81, b"3"),
            masked(0x01, b"42[\"a"),
            masked(0x89, b"beat"),
            masked(0x80, b"b\"]"),
            masked(0x82, &[1; 300]),
            masked(0x8a, b""),
            masked(0x88, &[0x03, 0xe9]),
        ]
        .concat();
        let expected =
            ["text 3", "part", "ping beat", "text 42[\"ab\"]", "binary", "pong", "close 1001"].map(String::from);
        for piece in [1, 2, 3, 7, 50, 1000] {
            assert_eq!(walked(&stream, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_found_with_its_code() {
        let table: &[(&str, Vec<u8>, u16)] = &[
            ("no mask", vec![0x81, 1, b'3'], 1002),
            ("a reserved bit", masked(0xc1, b"3"), 1002),
            ("an unknown opcode", masked(0x83, b"3"), 1002),
            ("a control frame in parts", masked(0x09, b"x"), 1002),
            ("a long control frame", masked(0x89, &[b'x'; 126]), 1002),
            ("a rest of nothing", masked(0x80, b"x"), 1002),
            ("a message within another", [masked(0x01, b"4"), masked(0x81, b"3")].concat(), 1002),
            ("half a close code", masked(0x88, &[3]), 1002),
            ("a close code of nobody", masked(0x88, &[0x03, 0xee]), 1002),
            ("a reason of no text", masked(0x88, &[0x03, 0xe8, 0xff]), 1007),
            ("a length that is too large", vec![0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0], 1009),
            ("parts that are too large", [masked(0x01, &[b'x'; 900]), masked(0x80, &[b'x'; 101])].concat(), 1009),
        ];
        for (what, stream, code) in table {
            assert_eq!(walked(stream, 4096).last(), Some(&format!("wrong {code}")), "{what}");
        }
    }
}
