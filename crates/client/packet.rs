//! Socket.IO packets as text: what follows the `4` of an Engine.IO message.
//!
//! Guarantees: decoding keeps the JSON of arguments byte for byte and never panics.
//! It is not the whole protocol: packets of other namespaces and binary packets are [`BadPacket`].

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// A packet that came from the server.
#[derive(Debug)]
pub enum Packet {
    /// The namespace accepted the connection.
    Connect,
    /// The namespace refused the connection, and why.
    ConnectError {
        /// The server's text.
        message: String,
        /// Why, where the server says more.
        why: Option<Why>,
    },
    /// The server ended the connection for good.
    Disconnect,
    /// An event.
    Event {
        /// The id that the server wants acknowledged, if it does.
        id: Option<u64>,
        /// The event's name.
        name: String,
        /// Its arguments.
        args: Vec<Box<RawValue>>,
    },
    /// The answer to an event of ours.
    Ack {
        /// The id that the event had.
        id: u64,
        /// What was answered.
        args: Vec<Box<RawValue>>,
    },
}

/// A text that is no packet of this client's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Socket.IO packet of the main namespace")]
pub struct BadPacket;

/// Why a connection was refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Why {
    /// The error's code.
    pub code: String,
    /// The error's text.
    pub message: String,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

/// Decodes a packet, without the `4` before it.
///
/// # Errors
/// See [`BadPacket`].
pub fn decode(text: &str) -> Result<Packet, BadPacket> {
    let (kind, rest) = text.split_at_checked(1).ok_or(BadPacket)?;
    match kind {
        "0" => Ok(Packet::Connect),
        "1" => Ok(Packet::Disconnect),
        "2" => {
            let (id, json) = leading_id(rest);
            let mut args: Vec<Box<RawValue>> = serde_json::from_str(json).map_err(|_| BadPacket)?;
            if args.is_empty() {
                return Err(BadPacket);
            }
            let name = serde_json::from_str(args.remove(0).get()).map_err(|_| BadPacket)?;
            Ok(Packet::Event { id, name, args })
        }
        "3" => {
            let (id, json) = leading_id(rest);
            let args = serde_json::from_str(json).map_err(|_| BadPacket)?;
            Ok(Packet::Ack { id: id.ok_or(BadPacket)?, args })
        }
        "4" => {
            let refusal: Refusal = serde_json::from_str(rest).map_err(|_| BadPacket)?;
            // Other servers put anything there.
            let why = refusal.data.and_then(|data| serde_json::from_str(data.get()).ok());
            Ok(Packet::ConnectError { message: refusal.message, why })
        }
        _ => Err(BadPacket),
    }
}

fn leading_id(text: &str) -> (Option<u64>, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (id, rest) = text.split_at(digits);
    (id.parse().ok(), rest)
}

/// An event of ours as a whole Engine.IO message; with an id, the server acknowledges it.
#[must_use]
pub fn encode_event(name: &str, args: &[Value], id: Option<u64>) -> String {
    let mut all = vec![Value::from(name)];
    all.extend_from_slice(args);
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    format!("42{id}{}", Value::Array(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_keeps_the_bytes_of_its_arguments() {
        let Packet::Event { id, name, args } = decode(r#"2["message",{"b":1.0,"a":1e3}]"#).expect("a packet") else {
            panic!("not an event")
        };
        assert_eq!((id, name.as_str()), (None, "message"));
        assert_eq!(args[0].get(), r#"{"b":1.0,"a":1e3}"#);
    }

    #[test]
    fn an_acknowledgement_names_its_request() {
        let Packet::Ack { id, args } = decode(r#"317[{"ok":true}]"#).expect("a packet") else { panic!("not an ack") };
        assert_eq!((id, args[0].get()), (17, r#"{"ok":true}"#));
    }

    #[test]
    fn what_is_no_packet_is_refused_without_a_panic() {
        for bad in ["", "2", "2[]", "2[1]", "3[]", "9", "2/other,[\"a\"]", "4", "51-[\"a\"]", "é", "2[\"a\""] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn our_events_are_engine_messages() {
        assert_eq!(encode_event("a", &[serde_json::json!({"x": 1})], Some(3)), r#"423["a",{"x":1}]"#);
        assert_eq!(encode_event("a", &[], None), r#"42["a"]"#);
    }
}
