//! The packets of Engine.IO and Socket.IO in WebSocket frames, as far as this transport makes or reads them itself.
//!
//! Guarantees: what is read here is bounded and refused when it is anything else than expected.
//! It is not the protocol: socketioxide is.

use tidings_core::{Epoch, Message, outlet::Said, parcel::WireForm};

use super::numbers::Numbers;
use crate::connection::frames::{MASKED, TEXT, frame, put};

/// The heartbeat's ping.
pub(super) const PING: &[u8] = &[TEXT, 1, b'2'];
/// A DISCONNECT packet of the namespace `/`: the client stays away.
pub(super) const DISCONNECT: &[u8] = &[TEXT, 2, b'4', b'1'];
/// The answer to the probe of an upgrade.
pub(super) const PROBE_ANSWER: &[u8] = &[TEXT, 6, b'3', b'p', b'r', b'o', b'b', b'e'];

/// Messages as whole frames: the packet of the event `message` around the envelope.
pub(super) struct FrameForm;

impl WireForm for FrameForm {
    fn write(message: &Message, _: &Epoch, out: &mut Vec<u8>) {
        frame(out, |out| {
            out.extend_from_slice(br#"42["message","#);
            message.write_json(0, out);
            out.push(b']');
        });
    }
}

/// Whether a frame of the server's is a text.
pub(super) fn is_text(frame: &[u8]) -> bool {
    frame.first() == Some(&TEXT)
}

/// The id of the session that was opened, in the packet that says so.
pub(super) fn opened(packet: &[u8]) -> Option<&str> {
    let (_, rest) = std::str::from_utf8(packet).ok()?.strip_prefix('0')?.split_once("\"sid\":\"")?;
    Some(rest.split_once('"')?.0)
}

/// Writes the frame of an answer or a notice to the end of `out`.
pub(super) fn said(said: &Said, numbers: &Numbers, out: &mut Vec<u8>) {
    match said.answer_to {
        Some(id) => put(out, &[b"43", numbers.digits(id).as_bytes(), b"[", &said.json, b"]"]),
        None => put(out, &[br#"42["message","#, &said.json, b"]"]),
    }
}

/// What stands at the beginning of a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// A short text frame with this payload, and where it ends.
    Text(Vec<u8>, usize),
    /// Not enough yet.
    Part,
    /// Something else.
    Other,
}

/// Reads one short, masked text frame: all that an upgrade begins with.
pub(super) fn begins(bytes: &[u8]) -> Begins {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Begins::Part };
    let length = usize::from(second & !MASKED);
    if first != TEXT || second & MASKED == 0 || length >= 126 {
        return Begins::Other;
    }
    let (Some(mask), Some(payload)) = (bytes.get(2..6), bytes.get(6..6 + length)) else { return Begins::Part };
    let text = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Begins::Text(text, 6 + length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_core::{Channel, Event, Timestamp, parcel::Parcel};

    use super::*;
    use crate::connection::frames::payloads;

    #[test]
    fn a_probe_is_read_however_it_is_cut_and_anything_else_is_not_one() {
        let mask = [1, 2, 3, 4];
        let masked: Vec<u8> = b"2probe".iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let frame = [&[TEXT, MASKED | 6][..], &mask, &masked, b"more"].concat();
        for end in 0..12 {
            assert_eq!(begins(&frame[..end]), Begins::Part, "{end}");
        }
        assert_eq!(begins(&frame), Begins::Text(b"2probe".to_vec(), 12));
        for other in [&[TEXT, 6][..], &[0x82, MASKED | 6], &[0x88, MASKED], &[TEXT, MASKED | 126]] {
            assert_eq!(begins(other), Begins::Other, "{other:?}");
        }
    }

    #[test]
    fn answers_and_notices_are_packets_around_their_json() {
        let framed = |one: &Said| {
            let mut out = b"before".to_vec();
            said(one, &Numbers::default(), &mut out);
            payloads(&out[6..]).next().map(<[u8]>::to_vec)
        };
        let notice = Said::notice(&br#"{"type":"server.hello"}"#[..]);
        assert_eq!(framed(&notice), Some(br#"42["message",{"type":"server.hello"}]"#.to_vec()));
        let answer = Said::answer(7, &br#"{"ok":true}"#[..]);
        assert_eq!(framed(&answer), Some(br#"437[{"ok":true}]"#.to_vec()));
        assert_eq!(payloads(PROBE_ANSWER).next(), Some(&b"3probe"[..]));
        assert_eq!(payloads(DISCONNECT).next(), Some(&b"41"[..]));
    }

    #[test]
    fn messages_of_a_parcel_are_frames_one_after_the_other() {
        let channel: Channel = "test:1".parse().expect("a channel");
        let made = [0, 50, 70_000].map(|bytes| {
            let event = Event::new("test.said", "x".repeat(bytes));
            Arc::new(Message::new(channel.clone(), Some(1), Timestamp(0), event))
        });
        let parcel = Parcel::new(made.to_vec(), Epoch("e".into()));
        let wire = parcel.wire::<FrameForm>();
        let expected = made.map(|message| format!(r#"42["message",{}]"#, message.to_json(0)).into_bytes());
        assert_eq!(payloads(wire.bytes()).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
        assert_eq!(payloads(wire.part(1)).collect::<Vec<_>>(), [&expected[1]]);
    }
}
