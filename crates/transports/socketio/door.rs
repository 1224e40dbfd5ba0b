//! The door: accepting a connection, and taking in what it sends.
//!
//! Guarantees: the token is judged before anything else exists, and a refusal is exactly
//! `Authentication error`; handlers are registered before the client learns that it is connected,
//! so nothing sent in its `connect` callback is lost; they only fill the mailbox, in order.
//! It is not where commands are understood: it reads the packet around them.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
};

use engineioxide::Str;
use serde_json::value::RawValue;
use socketioxide::{
    SocketIo,
    adapter::LocalAdapter,
    extract::SocketRef,
    handler::{ConnectHandler, FromConnectParts, FromMessageParts, Value},
    socket::Socket,
};
use tidings_core::{Error, Principal, json};

use super::{
    MAX_PAYLOAD, SocketIoTransport,
    outlet::SocketOutlet,
    polled::Polled,
    session::{Session, SessionEars},
};
use crate::connection::{Call, Door, Incoming, Line, Packet, Presented, Refused, Request};

/// How clients ask here: with events that are acknowledged.
static DOOR: Door = Door {
    read,
    binary: "binary arguments are not taken: send bytes as base64",
    // A part of a post.
    portion: MAX_PAYLOAD,
};

/// Reads the packet's JSON: an array of the event's name and its arguments.
fn read<'t>(text: &'t json::Text<'_>) -> Request<'t> {
    let parts: Result<Vec<&RawValue>, _> = text.read();
    let call = match parts {
        Ok(parts) => {
            let name = parts.first().and_then(|name| json::from_str(name.get()).ok()).unwrap_or_default();
            Ok(Call { name, arguments: parts.into_iter().skip(1).collect() })
        }
        Err(_) => Err(Error::bad_request("an event is an array of its name and its arguments")),
    };
    Request { id: None, call }
}

/// Registers the namespace `/`.
pub(super) fn open(io: &SocketIo, transport: &Arc<SocketIoTransport>) {
    let (at_door, inside) = (Arc::downgrade(transport), Arc::downgrade(transport));
    let check = async move |AtDoor(socket, presented): AtDoor| {
        let transport = at_door.upgrade().ok_or(Refused::Full)?;
        let principal = transport.connections.admission.judge(presented)?;
        accept(&transport, &socket, principal);
        Ok::<(), Refused>(())
    };
    let connected = async move |socket: SocketRef| {
        let session = inside.upgrade().and_then(|transport| transport.session(socket.id.as_str()));
        if let Some(session) = session
            && session.outlet.with_polled(|polled| polled.connected = true).is_some()
        {
            session.client.opened();
        }
    };
    io.ns("/", connected.with(check));
}

/// Everything of a connection comes to be here, after its token was accepted.
fn accept(transport: &Arc<SocketIoTransport>, socket: &Arc<Socket<LocalAdapter>>, principal: Principal) {
    let (connections, sid) = (&transport.connections, socket.id.to_string());
    let line = socket.req_parts().extensions.get::<Arc<Line>>().cloned();
    let outlet = SocketOutlet::new(line.clone(), || Polled::new(socket.clone()), connections.parts.clock.clone());
    let client = connections.accept(principal, &outlet, &DOOR);
    let session = Session::new(sid.clone(), client, outlet, transport);
    transport.opening.lock().remove(&sid);
    transport.sessions.lock().insert(sid, session.clone());
    register(socket, &session);
    // Looked up after the session is known, as a change looks for the session after its line is: one sees the other.
    let changed = || transport.lines.lock().get(&session.sid).cloned();
    if let Some(line) = line.or_else(changed) {
        line.listen(Arc::new(SessionEars(Arc::downgrade(&session))));
        session.outlet.set_line(line);
    }
}

fn register(socket: &Socket<LocalAdapter>, session: &Arc<Session>) {
    let weak = Arc::downgrade(session);
    socket.on_fallback(move |event: Event| {
        take_in(&weak, event);
        std::future::ready(())
    });
    let weak = Arc::downgrade(session);
    socket.on_disconnect(move || {
        if let Some(session) = weak.upgrade() {
            session.left();
        }
        std::future::ready(())
    });
}

fn take_in(session: &Weak<Session>, event: Event) {
    let Some(session) = session.upgrade() else { return };
    session.client.take_in(event.within(session.client.max_message_bytes()));
}

/// The socket itself, as what is to outlive its handlers needs it, and what the client presents, if that can
/// be read.
struct AtDoor(Arc<Socket<LocalAdapter>>, Option<Presented>);

impl FromConnectParts<LocalAdapter> for AtDoor {
    type Error = Infallible;

    fn from_connect_parts(socket: &Arc<Socket<LocalAdapter>>, auth: &Option<Value>) -> Result<Self, Infallible> {
        let presented = match auth {
            Some(Value::Str(text, _)) => json::from_str(text.as_str()).ok(),
            Some(Value::Bytes(_)) | None => None,
        };
        Ok(Self(socket.clone(), presented))
    }
}

/// An event with its raw arguments and its acknowledgement.
struct Event {
    /// None with binary attachments.
    text: Option<Str>,
    ack: Option<u64>,
}

impl Event {
    /// What is kept of it until its turn: of one that is too large, that it was.
    fn within(self, limit: usize) -> Incoming {
        let packet = match self.text {
            None => Packet::Binary,
            Some(text) if text.len() > limit => Packet::TooLarge,
            // A copy: the text itself would keep the whole buffer that it was read into.
            Some(text) => Packet::Text(text.as_str().into()),
        };
        Incoming { packet, ack: self.ack }
    }
}

impl FromMessageParts<LocalAdapter> for Event {
    type Error = Infallible;

    fn from_message_parts(_: &Arc<Socket>, value: &mut Value, ack: &Option<i64>) -> Result<Self, Infallible> {
        let text = match value {
            Value::Str(_, Some(attached)) if !attached.is_empty() => None,
            Value::Str(text, _) => Some(text.clone()),
            Value::Bytes(_) => None,
        };
        Ok(Self { text, ack: ack.and_then(|id| u64::try_from(id).ok()) })
    }
}
