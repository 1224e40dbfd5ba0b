//! The sweep: once in a while, whatever of a session is due by time.
//!
//! Guarantees: a silent client is let go within its ping interval, timeout and one turn of the
//! sweep, whatever socketioxide's tasks are stuck in; a token's end is told before and kept.
//! It is not what pings: socketioxide does.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidings_core::{Code, outlet::Ending};
use tidings_engine::hub::Notice;

use super::{SocketIoTransport, command, polling, session::Session};

/// How often it looks at every session.
const TURN: Duration = Duration::from_millis(500);
/// How long a closing connection has for its last words.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// How many times in a ping interval a client is pinged that reads slowly.
const NUDGES: u32 = 3;

/// Starts the sweep; it ends with the server.
pub(super) fn start(transport: &Arc<SocketIoTransport>) {
    let (weak, mut stopping) = (Arc::downgrade(transport), transport.parts.tasks.stopping());
    transport.parts.tasks.spawn(
        "socketio.sweep",
        Box::pin(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(TURN) => {}
                    () = &mut stopping => return,
                }
                let Some(transport) = weak.upgrade() else { return };
                let sessions: Vec<Arc<Session>> = transport.sessions.lock().values().cloned().collect();
                transport.lines.lock().retain(|_, line| !line.is_over());
                let now = transport.parts.clock.monotonic();
                for session in sessions {
                    look_at(&transport, &session, now);
                }
            }
        }),
    );
}

fn look_at(transport: &Arc<SocketIoTransport>, session: &Arc<Session>, now: Duration) {
    let config = &transport.parts.config;
    if session.outlet.is_due(now, FAREWELL) {
        end_transport(transport, session);
        return;
    }
    if session.connection.is_closed() {
        return;
    }
    if session.silence(now) > config.ping_interval + config.ping_timeout {
        session.connection.release_silent();
        end_transport(transport, session);
        return;
    }
    if let Some(line) = session.outlet.line() {
        line.nudge(now, config.ping_interval / NUDGES);
    }
    let unread = {
        session.regulate(now);
        *session.unread_since.lock()
    };
    if unread.is_some_and(|since| now.saturating_sub(since) >= config.unread) {
        session.connection.end(&command::flooding());
    }
    watch_token(transport, session);
}

fn watch_token(transport: &SocketIoTransport, session: &Session) {
    let Some(expires_at) = session.connection.principal().expires_at else { return };
    let left = expires_at.0 - transport.parts.clock.now().0;
    let warning = transport.parts.config.expiry_warning.as_millis() as i64;
    if left <= 0 {
        session.connection.end(&Ending::temporary(Code::TokenExpired, "the token has ended"));
    } else if left <= warning && !session.warned.swap(true, Ordering::SeqCst) {
        session.connection.notify(&Notice::Expiring { expires_at });
    }
}

/// Ends what the connection runs on, and everything of it, whatever anybody waits for.
fn end_transport(transport: &Arc<SocketIoTransport>, session: &Arc<Session>) {
    if let Some(line) = session.outlet.line() {
        line.kill();
        session.over();
        return;
    }
    session.over();
    let (transport, session) = (transport.clone(), session.clone());
    let tasks = transport.parts.tasks.clone();
    tasks.spawn(
        "socketio.close",
        Box::pin(async move {
            polling::close(&transport, &session.sid).await;
        }),
    );
}
