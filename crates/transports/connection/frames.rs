//! WebSocket frames (RFC 6455, section 5.2), as far as the server makes or reads them itself.
//!
//! Guarantees: a server's frame is the same for every client, so one of shared bytes serves all.
//! It is not a WebSocket implementation: tungstenite is.

use bytes::Bytes;

/// A final text frame, without its length.
pub(crate) const TEXT: u8 = 0x81;
/// The bit that says that a payload is masked, in the byte of the length.
pub(crate) const MASKED: u8 = 0x80;

/// A close frame with the code 1001, "going away": the client comes back.
pub(crate) const GOING_AWAY: &[u8] = &[0x88, 2, 0x03, 0xe9];

/// A text frame of these parts.
pub(crate) fn text(parts: &[&[u8]]) -> Bytes {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 10);
    put(&mut out, parts);
    out.into()
}

/// Writes a text frame of these parts to the end of `out`.
pub(crate) fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    frame(out, |out| parts.iter().for_each(|part| out.extend_from_slice(part)));
}

/// Puts a text frame to the end of `out`, around what `write` puts there.
pub(crate) fn frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
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

/// The whole frames of a server in `bytes`, each as it is and its payload. What comes after the last whole one is left
/// out.
pub(crate) fn whole(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (start, length): (usize, usize) = match *bytes.get(1)? & !MASKED {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
            short => (2, usize::from(short)),
        };
        let end = start.checked_add(length)?;
        let (frame, payload) = (bytes.get(..end)?, bytes.get(start..end)?);
        bytes = &bytes[end..];
        Some((frame, payload))
    })
}

/// The payloads of the whole frames of a server in `bytes`.
#[cfg(test)]
pub(crate) fn payloads(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    whole(bytes).map(|(_, payload)| payload)
}

/// A close frame with a code and a reason of at most 123 bytes.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.len().min(123)];
    let mut out = vec![0x88, 2 + reason.len() as u8];
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason);
    out
}

/// A pong frame with the payload of a ping, which has at most 125 bytes.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    [&[0x8a, payload.len() as u8][..], payload].concat()
}

/// Puts a client's text frame to the end of `out`: masked with nothing.
pub(crate) fn put_as_client(out: &mut Vec<u8>, payload: &[u8]) {
    let start = out.len();
    frame(out, |out| {
        out.extend_from_slice(payload);
    });
    let head = match payload.len() {
        0..126 => 2,
        126..65_536 => 4,
        _ => 10,
    };
    out[start + 1] |= MASKED;
    out.splice(start + head..start + head, [0; 4]);
}

#[cfg(test)]
mod tests {
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
}
