//! The door: accepting a connection, and taking in what it sends.
//!
//! Guarantees: the token is judged before anything else exists, and a refusal is exactly
//! `Authentication error`; handlers are registered before the client learns that it is connected,
//! so nothing sent in its `connect` callback is lost; they only fill the mailbox, in order.
//! It is not where commands are understood.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Weak},
};

use engineioxide::Str;
use serde::Deserialize;
use socketioxide::{
    SocketIo,
    adapter::LocalAdapter,
    extract::SocketRef,
    handler::{ConnectHandler, FromConnectParts, FromMessageParts, Value},
    socket::Socket,
};
use tidings_core::{Code, Principal, identity::Secret, json, rate::Rate};

use super::{
    MAX_PAYLOAD, PROTOCOL, SocketIoTransport, command,
    line::Line,
    mailbox::{Capacity, Incoming, Mailbox, Packet, Put},
    outlet::SocketOutlet,
    polled::Polled,
    session::{Session, SessionEars, SessionParts},
};

/// What a client presents.
#[derive(Deserialize)]
struct Presented {
    token: Option<Secret>,
    protocol: Option<u32>,
}

/// Why a connection is refused. The texts are part of the wire.
#[derive(Debug)]
enum Refused {
    Authentication,
    Protocol,
    Full,
}

impl Refused {
    /// How it is counted. On the wire there is only the text.
    fn code(&self) -> Code {
        match self {
            Self::Authentication => Code::Unauthenticated,
            Self::Protocol => Code::BadRequest,
            Self::Full => Code::Overloaded,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authentication => "Authentication error",
            Self::Protocol => "Unsupported protocol: this server speaks 1",
            Self::Full => "Too many connections: try again later",
        })
    }
}

/// Registers the namespace `/`.
pub(super) fn open(io: &SocketIo, transport: &Arc<SocketIoTransport>) {
    let (at_door, inside) = (Arc::downgrade(transport), Arc::downgrade(transport));
    let check = async move |AtDoor(socket, presented): AtDoor| {
        let transport = at_door.upgrade().ok_or(Refused::Full)?;
        let presented = presented.ok_or(Refused::Authentication);
        let principal = presented.and_then(|presented| judge(&transport, presented)).inspect_err(|why| {
            metrics::counter!("tidings_connections_refused_total", "code" => why.code().as_str()).increment(1);
            tracing::debug!(code = %why.code(), %why, "a connection was refused");
        })?;
        accept(&transport, &socket, principal);
        Ok::<(), Refused>(())
    };
    let connected = async move |socket: SocketRef| {
        let session = inside.upgrade().and_then(|transport| transport.session(socket.id.as_str()));
        if let Some(session) = session
            && session.outlet.with_polled(|polled| polled.connected = true).is_some()
        {
            session.opened();
        }
    };
    io.ns("/", connected.with(check));
}

fn judge(transport: &SocketIoTransport, presented: Presented) -> Result<Principal, Refused> {
    let token = presented.token.ok_or(Refused::Authentication)?;
    let principal = transport.parts.identity.verify(&token.0).map_err(|_| Refused::Authentication)?;
    if presented.protocol.is_some_and(|protocol| protocol != PROTOCOL) {
        return Err(Refused::Protocol);
    }
    if transport.is_full() {
        return Err(Refused::Full);
    }
    Ok(principal)
}

/// Everything of a connection comes to be here, after its token was accepted.
fn accept(transport: &Arc<SocketIoTransport>, socket: &Arc<Socket<LocalAdapter>>, principal: Principal) {
    let (parts, sid) = (&transport.parts, socket.id.to_string());
    let line = socket.req_parts().extensions.get::<Arc<Line>>().cloned();
    let outlet = SocketOutlet::new(line.clone(), || Polled::new(socket.clone()), parts.clock.clone());
    let connection = parts.hub.connect(principal, outlet.clone());
    let config = &parts.config;
    let capacity = Capacity {
        count: config.mailbox,
        // Room for what may still come when it is half full: what is on its way, and a portion of a post.
        bytes: config.mailbox_bytes.max(config.max_message_bytes.saturating_mul(4)).max(4 * MAX_PAYLOAD),
        rate: Rate::per_second(config.rate_per_second, config.rate_burst),
    };
    let mailbox = Mailbox::new(capacity, connection.share().clone(), parts.clock.clone());
    let session = Session::new(SessionParts { sid: sid.clone(), connection, outlet, mailbox }, transport);
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
    let Some(transport) = session.transport.upgrade() else { return };
    let now = transport.parts.clock.monotonic();
    match session.mailbox.put(event.within(transport.parts.config.max_message_bytes)) {
        Put::Waits => {}
        Put::Serve => {
            let tasks = transport.parts.tasks.clone();
            tasks.spawn("socketio.commands", Box::pin(command::serve(transport, session.clone())));
        }
        Put::Closed => return,
        Put::Full(_) if session.connection.is_closed() => return,
        Put::Full(bound) => {
            session.connection.end(&command::overfull(bound));
            return;
        }
    }
    session.regulate(now);
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
