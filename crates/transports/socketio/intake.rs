//! The intake: what becomes of a packet of a client, whichever way it came.
//!
//! Guarantees: events go to the client's mailbox, in order, and to nobody else; only who was let in is heard; what is
//! no packet, or none here, ends the session with one reason.
//! It is not a reader of packets, see `packet`; and who is let in is decided at the door.

use std::sync::Arc;

use super::{
    engines::{Attached, Engine},
    packet::{self, Event, Packet},
    session::Session,
};
use crate::connection::{Incoming, Packet as Body, close_code};

/// What becomes of a packet.
pub(super) enum Taken {
    /// It was taken.
    Done,
    /// socketioxide is to have it.
    Passed,
    /// The client ends the session.
    Closed,
    /// The session is to end: the code of a WebSocket's close, and why.
    Refused(u16, &'static str),
}

/// Why bytes are refused that no event announced.
const NO_BINARY: &str = "binary packets are not taken: use the default parser of socket.io-client 3 or later";

/// Takes in a text.
pub(super) fn text(engine: &Arc<Engine>, text: &str) -> Taken {
    if engine.with_attached(|attached| attached.is_some()) {
        return refused("an attachment was announced, and this is none");
    }
    let session = engine.session();
    let limit = session.as_ref().map_or(usize::MAX, |session| session.client.max_message_bytes());
    match (packet::read(text, limit), session) {
        (None, _) => refused("what was sent is no packet"),
        (Some(Packet::Close), _) => Taken::Closed,
        (Some(Packet::Idle), _) => Taken::Done,
        (Some(Packet::Connect { is_root: false }), _) => Taken::Passed,
        (Some(Packet::Connect { is_root: true }), None) => {
            engine.judge();
            Taken::Passed
        }
        (Some(Packet::Connect { is_root: true }), Some(_)) => refused("the client is connected already"),
        (Some(Packet::Disconnect { is_root: true }), Some(_)) => {
            engine.leave();
            Taken::Passed
        }
        (Some(Packet::Event(event)), Some(session)) if event.is_root => {
            take_event(engine, &session, &event, limit);
            Taken::Done
        }
        (Some(Packet::Acknowledgement { is_root: true, attachments }), Some(_)) => {
            await_attached(engine, attachments, false, None);
            Taken::Done
        }
        (Some(_), _) => refused("the client is not connected to this namespace"),
    }
}

fn refused(why: &'static str) -> Taken {
    Taken::Refused(close_code::POLICY, why)
}

fn take_event(engine: &Engine, session: &Session, event: &Event<'_>, limit: usize) {
    let ack = event.ack.map(|digits| session.outlet.numbers.take(digits));
    if event.attachments > 0 {
        return await_attached(engine, event.attachments, true, ack);
    }
    let packet = if event.body.len() > limit { Body::TooLarge } else { Body::Text(event.body.into()) };
    session.client.take_in(Incoming { packet, ack });
}

fn await_attached(engine: &Engine, left: usize, is_event: bool, ack: Option<u64>) {
    if left > 0 {
        engine.with_attached(|attached| *attached = Some(Box::new(Attached { left, is_event, ack })));
    }
}

/// Takes in bytes. Nothing of them is kept: an event with some is refused once all came.
pub(super) fn binary(engine: &Engine) -> Taken {
    let complete = engine.with_attached(|attached| {
        let waiting = attached.as_mut()?;
        waiting.left -= 1;
        Some(if waiting.left == 0 { attached.take() } else { None })
    });
    match (complete, engine.session()) {
        (None, _) | (_, None) => Taken::Refused(close_code::UNSUPPORTED, NO_BINARY),
        (Some(None), _) => Taken::Done,
        (Some(Some(complete)), Some(session)) => {
            if complete.is_event {
                session.client.take_in(Incoming { packet: Body::Binary, ack: complete.ack });
            }
            Taken::Done
        }
    }
}
