//! The door: accepting a connection, and how it asks.
//!
//! Guarantees: the token is judged before anything else exists, and the message of a refusal is exactly
//! `Authentication error`; the session is known before the client learns that it is connected, so nothing sent in its
//! `connect` callback is lost.
//! It is not where commands are understood: it reads the packet around them. Nor does it take them in: see `intake`.

use std::{convert::Infallible, sync::Arc};

use serde_json::value::RawValue;
use socketioxide::{
    SocketIo,
    adapter::LocalAdapter,
    extract::SocketRef,
    handler::{ConnectHandler, FromConnectParts, Value},
    socket::Socket,
};
use tidings_core::{Error, Principal, json};

use super::{
    MAX_PAYLOAD, SocketIoTransport, engines::Engine, outlet::SocketOutlet, polled::Polled, said::Reason,
    session::Session,
};
use crate::connection::{Call, Door, Presented, Refused, Request};

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
            let name = parts.first().map(|name| named(name)).unwrap_or_default();
            Ok(Call { name, arguments: parts.into_iter().skip(1).collect() })
        }
        Err(_) => Err(Error::bad_request("an event is an array of its name and its arguments")),
    };
    Request { id: None, call }
}

/// The name of an event, which may also be a number.
fn named(name: &RawValue) -> String {
    json::from_str(name.get()).unwrap_or_else(|_| name.get().to_owned())
}

/// Registers the namespace `/`.
pub(super) fn open(io: &SocketIo, transport: &Arc<SocketIoTransport>) {
    let (at_door, inside) = (Arc::downgrade(transport), Arc::downgrade(transport));
    let check = async move |AtDoor(socket, presented): AtDoor| {
        let transport = at_door.upgrade().ok_or(Reason(Refused::Full))?;
        let engine = transport.engines.get(socket.id.as_str()).ok_or(Reason(Refused::Full))?;
        let mut seat = engine.take_seat();
        let judged = transport.connections.admission.judge(presented, &mut seat);
        engine.keep_seat(seat);
        match judged {
            Ok(principal) => {
                accept(&transport, &engine, &socket, principal);
                Ok(())
            }
            Err(refused) => {
                engine.refused(transport.connections.parts.clock.monotonic());
                // On a WebSocket it is judged once the refusal has left.
                if engine.line().is_none() {
                    engine.judged();
                }
                Err(Reason(refused))
            }
        }
    };
    let connected = async move |socket: SocketRef| {
        let engine = inside.upgrade().and_then(|transport| transport.engines.get(socket.id.as_str()));
        let Some(engine) = engine else { return };
        engine.judged();
        if let Some(session) = engine.session()
            && session.outlet.with_polled(|polled| polled.connected = true).is_some()
        {
            session.client.opened();
        }
    };
    io.ns("/", connected.with(check));
}

/// Everything of a connection comes to be here, after its token was accepted.
fn accept(
    transport: &Arc<SocketIoTransport>,
    engine: &Arc<Engine>,
    socket: &Arc<Socket<LocalAdapter>>,
    principal: Principal,
) {
    let connections = &transport.connections;
    let line = engine.line().cloned();
    let outlet = SocketOutlet::new(line, || Polled::new(socket.clone()), connections.parts.clock.clone());
    let client = connections.accept(principal, &outlet, &DOOR);
    let session = Session::new(client, outlet);
    engine.enter(&session);
    // Looked up after the session is known, as a change looks for the session after its line is: one sees the other.
    if let Some(line) = engine.line() {
        session.outlet.set_line(line.clone());
    }
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
