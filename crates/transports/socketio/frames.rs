//! WebSocket frames (RFC 6455, section 5.2), as far as this transport makes or reads them itself.
//!
//! Guarantees: a server's frame is the same for every client, so one of shared bytes serves all;
//! what is read here is bounded and refused when it is anything else than expected.
//! It is not a WebSocket implementation: tungstenite is.

use bytes::Bytes;
use tidings_core::{Epoch, Message, outlet::Said, parcel::WireForm};

/// A final text frame, without its length.
const TEXT: u8 = 0x81;
/// The bit that says that a payload is masked, in the byte of the length.
const MASKED: u8 = 0x80;

/// The heartbeat's ping.
pub(super) const PING: &[u8] = &[TEXT, 1, b'2'];
/// A DISCONNECT packet of the namespace `/`: the client stays away.
pub(super) const DISCONNECT: &[u8] = &[TEXT, 2, b'4', b'1'];
/// A close frame with the code 1001, "going away": the client comes back.
pub(super) const GOING_AWAY: &[u8] = &[0x88, 2, 0x03, 0xe9];
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

/// Writes the frame of an answer or a notice to the end of `out`.
pub(super) fn said(said: &Said, out: &mut Vec<u8>) {
    match said.answer_to {
        Some(id) => put(out, &[b"43", id.to_string().as_bytes(), b"[", &said.json, b"]"]),
        None => put(out, &[br#"42["message","#, &said.json, b"]"]),
    }
}

/// A text frame of these parts.
pub(super) fn text(parts: &[&[u8]]) -> Bytes {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 10);
    put(&mut out, parts);
    out.into()
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    frame(out, |out| parts.iter().for_each(|part| out.extend_from_slice(part)));
}

/// Puts a text frame to the end of `out`, around what `write` puts there.
fn frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // As most frames have it: the two bytes of a middle length. What is shorter or longer is moved.
    out.extend_from_slice(&[TEXT, 126, 0, 0]);
    let payload = out.len();
    write(out);
    let length = out.len() - payload;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => {
            out[start + 1] = short;
            out.drain(start + 2..payload);
        }
        (_, Ok(middle)) => out[start + 2..payload].copy_from_slice(&middle.to_be_bytes()),
        _ => {
            out[start + 1] = 127;
            out.splice(start + 2..payload, (length as u64).to_be_bytes());
        }
    }
}

/// The payloads of the whole frames of a server in `bytes`. What comes after the last whole one is left out.
pub(super) fn payloads(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (start, length): (usize, usize) = match *bytes.get(1)? & !MASKED {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
            short => (2, usize::from(short)),
        };
        let payload = bytes.get(start..start.checked_add(length)?)?;
        bytes = &bytes[start + length..];
        Some(payload)
    })
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

    #[test]
    fn a_frame_has_the_length_of_its_payload_in_each_of_the_three_forms() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
            let payload = vec![b'x'; length];
            let frame = text(&[&payload[..length / 2], &payload[length / 2..]]);
            let header = match length {
                0..126 => 2,
                126..65_536 => 4,
                _ => 10,
            };
            assert_eq!(frame.len(), header + length);
            assert_eq!(payloads(&frame).collect::<Vec<_>>(), [&payload[..]]);
        }
    }

    #[test]
    fn frames_in_a_row_are_taken_apart_and_a_part_of_one_is_left() {
        let row = [text(&[b"2"]), text(&[b"40{}"]), text(&[&[b'x'; 200]])].concat();
        assert_eq!(payloads(&row).count(), 3);
        assert_eq!(payloads(&row[..row.len() - 1]).collect::<Vec<_>>(), [&b"2"[..], b"40{}"]);
        assert_eq!(payloads(&row[..1]).count(), 0);
        assert_eq!(payloads(&[TEXT, 127, 255, 255, 255, 255, 255, 255, 255, 255]).count(), 0);
    }

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
            said(one, &mut out);
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
