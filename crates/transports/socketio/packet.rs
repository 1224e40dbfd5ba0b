//! The packets that clients send: Engine.IO 4 around Socket.IO 5, as texts.
//!
//! Guarantees: what is no packet is found to be none; the JSON of a packet is JSON, of the form that its type has; a
//! number is any row of digits; nothing is copied.
//! It is not what becomes of a packet: see `intake`.

use serde::de::IgnoredAny;
use serde_json::Value;

/// The most binary attachments of an event that is refused for having some; more are no packet.
const MOST_ATTACHMENTS: usize = 1000;

/// A packet of the engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// The session is over.
    Close,
    /// A sign of life, or what says nothing here.
    Idle,
    Connect {
        is_root: bool,
    },
    Disconnect {
        is_root: bool,
    },
    Event(Event<'a>),
    /// An answer to something that was never asked.
    Acknowledgement {
        is_root: bool,
        attachments: usize,
    },
}

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) is_root: bool,
    /// How many attachments follow; none is an event without bytes.
    pub(super) attachments: usize,
    /// The digits that it is to be answered under.
    pub(super) ack: Option<&'a str>,
    /// An array that begins with its name.
    pub(super) body: &'a str,
}

/// Reads a packet. The JSON of one that is longer than `limit` is not looked at: it is refused anyway.
pub(super) fn read(text: &str, limit: usize) -> Option<Packet<'_>> {
    match text.as_bytes() {
        [b'1'] => Some(Packet::Close),
        [b'3' | b'5' | b'6', ..] if matches!(text, "3" | "5" | "6") => Some(Packet::Idle),
        [b'4', kind, ..] => message(*kind, text.get(2..)?, limit),
        _ => None,
    }
}

fn message(kind: u8, rest: &str, limit: usize) -> Option<Packet<'_>> {
    let (attachments, rest) = match kind {
        b'5' | b'6' => {
            let (count, rest) = rest.split_once('-')?;
            let count = digits(count).filter(|digits| digits.len() == count.len())?.parse().ok()?;
            (Some(count).filter(|count| (1..=MOST_ATTACHMENTS).contains(count))?, rest)
        }
        _ => (0, rest),
    };
    let (namespace, rest) = match rest.as_bytes().first() {
        Some(b'/') => rest.split_once(',').unwrap_or((rest, "")),
        _ => ("/", rest),
    };
    let is_root = namespace == "/";
    let ack = digits(rest);
    let body = &rest[ack.map_or(0, str::len)..];
    match kind {
        b'0' => Some(Packet::Connect { is_root }),
        b'1' => body.is_empty().then_some(Packet::Disconnect { is_root }),
        b'2' | b'5' => {
            is_event(body, attachments, limit).then_some(Packet::Event(Event { is_root, attachments, ack, body }))
        }
        b'3' | b'6' => {
            (ack.is_some() && is_array(body, attachments)).then_some(Packet::Acknowledgement { is_root, attachments })
        }
        _ => None,
    }
}

/// The digits that a text begins with.
fn digits(text: &str) -> Option<&str> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    (count > 0).then(|| &text[..count])
}

fn is_event(body: &str, attachments: usize, limit: usize) -> bool {
    // A name is a text or a number.
    let named = matches!(body.as_bytes(), [b'[', b'"' | b'-' | b'0'..=b'9', ..]) || has_spaced_name(body);
    named && (body.len() > limit || is_array(body, attachments))
}

/// Whether there is a name behind blanks, which JSON allows and hardly anybody writes.
fn has_spaced_name(body: &str) -> bool {
    let within = body.trim_start().strip_prefix('[').map(str::trim_start);
    within.is_some_and(|within| matches!(within.as_bytes(), [b'"' | b'-' | b'0'..=b'9', ..]))
}

/// Whether it is a JSON array whose places for bytes are among the attachments.
fn is_array(body: &str, attachments: usize) -> bool {
    if !body.trim_start().starts_with('[') {
        return false;
    }
    if attachments == 0 {
        return serde_json::from_str::<IgnoredAny>(body).is_ok();
    }
    tidings_core::json::from_str::<Value>(body).is_ok_and(|value| has_places(&value, attachments))
}

fn has_places(value: &Value, attachments: usize) -> bool {
    match value {
        Value::Array(all) => all.iter().all(|one| has_places(one, attachments)),
        Value::Object(fields) if fields.get("_placeholder") == Some(&Value::Bool(true)) => {
            fields.get("num").and_then(Value::as_u64).is_some_and(|place| place < attachments as u64)
        }
        Value::Object(fields) => fields.values().all(|one| has_places(one, attachments)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(ack: Option<&'a str>, body: &'a str) -> Option<Packet<'a>> {
        Some(Packet::Event(Event { is_root: true, attachments: 0, ack, body }))
    }

    #[test]
    fn packets_are_read_with_their_namespace_number_and_body() {
        let read = |text| read(text, 1000);
        assert_eq!(read("1"), Some(Packet::Close));
        assert_eq!(["3", "5", "6"].map(read), [const { Some(Packet::Idle) }; 3]);
        assert_eq!(read("40"), Some(Packet::Connect { is_root: true }));
        assert_eq!(read(r#"40/,{"token":"x"}"#), Some(Packet::Connect { is_root: true }));
        assert_eq!(read("40/other"), Some(Packet::Connect { is_root: false }));
        assert_eq!(read("41"), Some(Packet::Disconnect { is_root: true }));
        assert_eq!(read("41/other,"), Some(Packet::Disconnect { is_root: false }));
        assert_eq!(read(r#"42["x"]"#), event(None, r#"["x"]"#));
        assert_eq!(read(r#"42/,007["x",1]"#), event(Some("007"), r#"["x",1]"#));
        assert_eq!(read("42[5]"), event(None, "[5]"));
        assert_eq!(read(r#"42[ "\u0061"]"#), event(None, r#"[ "\u0061"]"#));
        assert_eq!(read("430[]"), Some(Packet::Acknowledgement { is_root: true, attachments: 0 }));
        let bytes = r#"["x",{"_placeholder":true,"num":0}]"#;
        let binary = Event { is_root: true, attachments: 1, ack: Some("7"), body: bytes };
        assert_eq!(read(&format!("451-7{bytes}")), Some(Packet::Event(binary)));
    }

    #[test]
    fn what_is_no_packet_is_none() {
        let none = [
            "",
            "2",
            "abc",
            "9",
            "7x",
            "31",
            "4",
            "4abc",
            "47",
            "49[]",
            "4-1",
            "44{}",
            "42",
            "425",
            "42{}",
            "42\"x\"",
            "42[]",
            "42[null]",
            "42[{}]",
            "42[[]]",
            r#"42["x""#,
            r#"42["x"]]"#,
            "42['x']",
            "42[x]",
            r#"42["x",NaN]"#,
            r#"42abc["x"]"#,
            r#"42-1["x"]"#,
            r#"421.5["x"]"#,
            "43[]",
            "431",
            "431{}",
            r#"431"x""#,
            r#"41{"x":1}"#,
            r#"45x-["x"]"#,
            r#"45["x"]"#,
            r#"45-1-["x"]"#,
            r#"451.5-["x"]"#,
            r#"450-["x"]"#,
            r#"4599999-["x"]"#,
            r#"451-["x",{"_placeholder":true,"num":5}]"#,
        ];
        for text in none {
            assert_eq!(read(text, 1000), None, "{text}");
        }
    }
}
