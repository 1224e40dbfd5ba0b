//! The packets that a client of Tidings meets, parsed.
//!
//! Guarantees: the data of a message is looked at byte for byte as it came; fields that nobody here
//! knows are passed over, as the protocol asks.
//! It knows no sockets: see `link`.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A message or a notice.
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Where it was published; notices have it in their data.
    pub channel: Option<&'a str>,
    /// Its number; ephemeral messages and notices have none.
    pub seq: Option<u64>,
    /// Its data, as it came.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// The data of a notice, of whichever type.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Notice {
    /// Which channel it is about.
    pub channel: String,
    /// The epoch of its numbers.
    pub epoch: String,
    /// A position.
    pub seq: u64,
    /// The first number that will not come.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// Why.
    pub reason: String,
    /// A code of the protocol's table.
    pub code: String,
    /// When to come back.
    pub reconnect_after_ms: Option<u64>,
}

/// The answer to a command.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// Which channel it is about.
    pub channel: String,
    /// The epoch of its numbers.
    pub epoch: String,
    /// The channel's head when the subscription was attached.
    pub seq: u64,
    /// Whether everything since the position that was asked for will come.
    pub recovered: Option<bool>,
    /// Why not.
    pub reason: Option<String>,
    /// The answers to an array's parts.
    pub results: Vec<Answer>,
    /// Why it was not done.
    pub error: Option<Refusal>,
}

/// Why something was not done.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// A code of the protocol's table.
    pub code: String,
    /// The same for people.
    pub message: String,
    /// Whether the same may work later.
    pub retryable: bool,
}

/// What the server begins with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// Between its pings, in milliseconds.
    pub ping_interval: u64,
    /// How long one may wait for its answer.
    pub ping_timeout: u64,
}

/// A packet of the server.
#[derive(Debug)]
pub enum Packet<'a> {
    /// The first one.
    Open(Open),
    /// Wants to be answered.
    Ping,
    /// The namespace is open.
    Connected,
    /// The namespace stays closed, and why.
    Refused(&'a str),
    /// The server has ended the namespace for good.
    Disconnected,
    /// The event `message`.
    Message(Message<'a>),
    /// An answer to the command with this number.
    Answer(u64, Answer),
    /// Something that a client may pass over.
    Other,
}

/// Reads a packet.
///
/// # Errors
/// If it is none that a server may send.
pub fn parse(text: &str) -> Result<Packet<'_>, String> {
    let wrong = |error: serde_json::Error| format!("{error} in {}", text.chars().take(200).collect::<String>());
    if text == "2" {
        return Ok(Packet::Ping);
    }
    if let Some(open) = text.strip_prefix('0') {
        return serde_json::from_str(open).map(Packet::Open).map_err(wrong);
    }
    match text.split_at_checked(2) {
        Some(("40", _)) => Ok(Packet::Connected),
        Some(("41", _)) => Ok(Packet::Disconnected),
        Some(("44", why)) => Ok(Packet::Refused(why)),
        Some(("42", event)) => {
            let (name, message): (&str, Message<'_>) = serde_json::from_str(event).map_err(wrong)?;
            Ok(if name == "message" { Packet::Message(message) } else { Packet::Other })
        }
        Some(("43", rest)) => {
            let digits = rest.find('[').ok_or_else(|| format!("an answer without arguments: {rest}"))?;
            // The server answers with whatever number it was asked with, also one that no client here counts to.
            let is_number = digits > 0 && rest[..digits].bytes().all(|byte| byte.is_ascii_digit());
            if is_number && rest[..digits].parse::<u64>().is_err() {
                return Ok(Packet::Other);
            }
            let id = rest[..digits].parse().map_err(|_| format!("an answer without a number: {rest}"))?;
            let (answer,): (Answer,) = serde_json::from_str(&rest[digits..]).map_err(wrong)?;
            Ok(Packet::Answer(id, answer))
        }
        _ => Ok(Packet::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_the_bytes_of_its_data() {
        let text = r#"42["message",{"type":"session.note","channel":"session:1","seq":7,"time":"x","by":{"userId":"u"},"data":{ "n" : 1.50 }}]"#;
        let Ok(Packet::Message(message)) = parse(text) else { panic!("a message") };
        assert_eq!((message.channel, message.seq), (Some("session:1"), Some(7)));
        assert_eq!(message.data.get(), r#"{ "n" : 1.50 }"#);
    }

    #[test]
    fn answers_to_one_and_to_many_are_read() {
        let Ok(Packet::Answer(12, one)) = parse(r#"4312[{"ok":true,"channel":"a:1","epoch":"e","seq":5,"new":1}]"#)
        else {
            panic!("an answer")
        };
        assert!(one.ok && one.recovered.is_none() && one.seq == 5);
        let many = r#"431[{"ok":true,"results":[{"ok":false,"error":{"code":"forbidden","message":"no"}}]}]"#;
        let Ok(Packet::Answer(1, many)) = parse(many) else { panic!("an answer") };
        assert_eq!(many.results[0].error.as_ref().map(|error| error.code.as_str()), Some("forbidden"));
    }

    #[test]
    fn what_is_broken_is_told_and_what_is_unknown_is_passed_over() {
        for broken in ["42[\"message\",{]", "43x[{}]", "431", "0{}"] {
            assert!(parse(broken).is_err(), "{broken}");
        }
        for other in ["6", "1", "43999999999999999999999[{\"ok\":true}]", "42[\"else\",{\"type\":\"x\",\"data\":{}}]"] {
            assert!(matches!(parse(other), Ok(Packet::Other)), "{other}");
        }
    }
}
