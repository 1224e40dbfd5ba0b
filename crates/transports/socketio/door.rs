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

use serde::Deserialize;
use socketioxide::{
    SocketIo,
    adapter::LocalAdapter,
    extract::{AckSender, SocketRef, TryData},
    handler::{ConnectHandler, FromMessageParts, Value},
    socket::Socket,
};
use tidings_core::{Principal, identity::Secret, outlet::Ending};

use super::{
    PROTOCOL, SocketIoTransport, command,
    line::{Line, LineEars},
    mailbox::{Incoming, Mailbox},
    outlet::QueueOutlet,
    session::{Session, SessionEars},
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
    let check = async move |socket: SocketRef, TryData(presented): TryData<Presented>| {
        let transport = at_door.upgrade().ok_or(Refused::Full)?;
        let presented = presented.map_err(|_| Refused::Authentication)?;
        let principal = judge(&transport, presented).inspect_err(|why| {
            metrics::counter!("tidings_connections_refused_total").increment(1);
            tracing::debug!(%why, "a connection was refused");
        })?;
        accept(&transport, &socket, principal);
        Ok::<(), Refused>(())
    };
    let connected = async move |socket: SocketRef| {
        let session = inside.upgrade().and_then(|transport| transport.session(socket.id.as_str()));
        if let Some(session) = session {
            session.mailbox_open();
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
fn accept(transport: &Arc<SocketIoTransport>, socket: &SocketRef, principal: Principal) {
    let parts = &transport.parts;
    let sid = socket.id.to_string();
    let outlet = QueueOutlet::new(socket.clone(), parts.clock.clone());
    let connection = parts.hub.connect(principal, outlet.clone());
    let (mailbox, waiting) = Mailbox::new(parts.config.mailbox);
    let session = Arc::new(Session {
        sid: sid.clone(),
        connection,
        outlet,
        mailbox,
        opened: tokio::sync::Notify::new(),
        warned: false.into(),
        last_poll: 0.into(),
        unread_since: parking_lot::Mutex::default(),
        transport: Arc::downgrade(transport),
    });
    transport.sessions.lock().insert(sid, session.clone());
    register(socket, &session);
    parts.tasks.spawn("socketio.commands", Box::pin(command::serve(transport.clone(), session.clone(), waiting)));
    // Looked up after the session is known, as an upgrade looks for the session after its line is: one sees the other.
    let direct = socket.req_parts().extensions.get::<Arc<Line>>().cloned();
    let line = direct.or_else(|| transport.lines.lock().get(&session.sid).cloned());
    if let Some(line) = line {
        session.outlet.set_line(line.clone());
        let ears: Arc<dyn LineEars> = Arc::new(SessionEars(Arc::downgrade(&session)));
        line.listen(&ears);
    }
}

fn register(socket: &SocketRef, session: &Arc<Session>) {
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
    if !session.mailbox.put(event.0) && !session.connection.is_closed() {
        // Unread since half: what comes all the same was on its way already, and is more than fits.
        let why = "more was sent at once than may wait";
        session.connection.end(&Ending::temporary(tidings_core::Code::RateLimited, why));
        return;
    }
    session.regulate(now);
}

/// An event with its raw arguments and its acknowledgement.
struct Event(Incoming);

impl FromMessageParts<LocalAdapter> for Event {
    type Error = Infallible;

    fn from_message_parts(socket: &Arc<Socket>, value: &mut Value, ack: &Option<i64>) -> Result<Self, Infallible> {
        let sender = ack.is_some().then(|| AckSender::from_message_parts(socket, value, ack));
        let ack = sender.and_then(Result::ok);
        Ok(Self(match value {
            Value::Str(text, attached) => {
                let binary = attached.as_ref().is_some_and(|attached| !attached.is_empty());
                Incoming { text: text.to_string(), binary, ack }
            }
            Value::Bytes(_) => Incoming { text: String::new(), binary: true, ack },
        }))
    }
}
