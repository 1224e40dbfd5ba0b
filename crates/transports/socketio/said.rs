//! What the engine says to clients, put right on its way out: one place for the WebSocket, for polls, and for what
//! waited while a session changed.
//!
//! Guarantees: the id that a client is told opens nothing; a refusal says why; the heartbeat that is told is the
//! configured one.
//! It is not the protocol: socketioxide is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tidings_core::{Code, Error};

use super::{engines::Engine, heartbeat::Advertised};
use crate::connection::Refused;

/// What a refusal says, as the message that socketioxide sends.
#[derive(Serialize)]
struct Refusal {
    message: String,
    data: Error,
}

/// A refusal, with its reason in its text: see [`said`].
#[derive(Debug)]
pub(super) struct Reason(pub(super) Refused);

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = match &self.0 {
            Refused::Authentication(Code::TokenExpired) => "the token has ended",
            Refused::Authentication(Code::TokenRevoked) => "the token was revoked",
            Refused::Authentication(_) => "there is no token that verifies",
            Refused::Protocol => "this server speaks protocol 1",
            Refused::Full => "there are as many connections as there may be",
            Refused::FullForUser => "the user has as many connections as one may have",
        };
        let refusal = Refusal { message: self.0.to_string(), data: Error::new(self.0.code(), message) };
        f.write_str(&serde_json::to_string(&refusal).map_err(|_| std::fmt::Error)?)
    }
}

/// A packet of the engine's, as the client is to have it; none if it is not to have it.
pub(super) fn said<'p>(engine: &Engine, heartbeat: Advertised, packet: &'p [u8]) -> Option<Cow<'p, [u8]>> {
    match packet {
        // The engine's own ping, and what ends a poll there: both are this transport's.
        b"2" | b"6" => None,
        // The one other namespace that lets anybody in is for the end of a session: see `parting`.
        [b'4', b'0', b'/', ..] => None,
        [b'0', b'{', ..] => Some(heartbeat.corrected(packet).into_bytes().into()),
        // Who was refused or left meanwhile is not let in.
        [b'4', b'0', b'{', ..] => {
            engine.session().map(|session| format!(r#"40{{"sid":"{}"}}"#, session.id).into_bytes().into())
        }
        [b'4', b'4', b'{', ..] => Some(refusal(packet)),
        [b'4', b'3', ..] => Some(answer(engine, packet)),
        _ => Some(packet.into()),
    }
}

/// A refusal whose message is a [`Refusal`] becomes that.
fn refusal(packet: &[u8]) -> Cow<'_, [u8]> {
    #[derive(Deserialize)]
    struct Told {
        message: String,
    }
    let told = serde_json::from_slice::<Told>(&packet[2..]).ok().map(|told| told.message);
    match told.filter(|message| message.starts_with('{')) {
        Some(message) => [b"44", message.as_bytes()].concat().into(),
        None => packet.into(),
    }
}

/// An answer under a number of the server's own goes under the digits that the client gave.
fn answer<'p>(engine: &Engine, packet: &'p [u8]) -> Cow<'p, [u8]> {
    let digits = packet[2..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    // Shorter ones are those of clients.
    if digits < 19 {
        return packet.into();
    }
    let number = std::str::from_utf8(&packet[2..2 + digits]).ok().and_then(|digits| digits.parse().ok());
    match (number, engine.session()) {
        (Some(number), Some(session)) => {
            let told = session.outlet.numbers.digits(number);
            session.outlet.numbers.answered(number);
            [b"43", told.as_bytes(), &packet[2 + digits..]].concat().into()
        }
        _ => packet.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_beside_the_text_that_it_always_had() {
        let sent = serde_json::json!({ "message": Reason(Refused::Authentication(Code::TokenExpired)).to_string() });
        let told = refusal(format!("44{sent}").as_bytes()).into_owned();
        let expected = r#"44{"message":"Authentication error","data":{"code":"token_expired","message":"the token has ended","retryable":true}}"#;
        assert_eq!(String::from_utf8(told).expect("text"), expected);
        assert_eq!(&*refusal(br#"44{"message":"Invalid namespace"}"#), br#"44{"message":"Invalid namespace"}"#);
    }
}
