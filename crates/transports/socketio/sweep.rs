//! The sweep: once in a while, whatever of a session is due by time.
//!
//! Guarantees: a silent client is let go within its ping interval, timeout and one turn of the
//! sweep, whatever socketioxide's tasks are stuck in; a token's end is told before and kept. A session
//! for which nothing can be due for some turns is passed over: a look at one is a dozen places in memory,
//! and there are tens of thousands. One whose look panics is ended, and the others are looked at.
//! It is not what pings: socketioxide does.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tidings_core::{BoxFuture, Code, fault, outlet::Ending, panics};
use tidings_engine::hub::Notice;

use super::{SocketIoTransport, command, polling, session::Session};

const TASK: &str = "socketio.sweep";
/// How often it looks at every session.
const TURN: Duration = Duration::from_millis(500);
/// How long a closing connection has for its last words.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// How many times in a ping interval a client is pinged that reads slowly.
const NUDGES: u32 = 3;
/// How many times in a ping interval a session is looked at to which nothing happens.
const LOOKS: u32 = 12;

/// Starts the sweep; it ends with the server.
pub(super) fn start(transport: &Arc<SocketIoTransport>) {
    let (weak, tasks) = (Arc::downgrade(transport), transport.parts.tasks.clone());
    let make = move |_| -> BoxFuture<'static, ()> { Box::pin(sweep(weak.clone(), tasks.stopping())) };
    transport.parts.tasks.supervise(TASK, Box::new(make));
}

async fn sweep(transport: Weak<SocketIoTransport>, mut stopping: BoxFuture<'static, ()>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            () = &mut stopping => return,
        }
        let Some(transport) = transport.upgrade() else { return };
        fault::here(TASK);
        let sessions: Vec<Arc<Session>> = transport.sessions.lock().values().cloned().collect();
        transport.lines.lock().retain(|_, line| !line.is_over());
        let now = transport.parts.clock.monotonic();
        let patience = transport.parts.config.connect_timeout;
        transport.opening.lock().retain(|_, (since, _)| now.saturating_sub(*since) < patience);
        for session in sessions {
            let looked = panics::caught("socketio.session", || {
                fault::here("socketio.session");
                look_at(&transport, &session, now);
            });
            if looked.is_err() {
                // It would panic again, and those after it would never be looked at.
                end_transport(&transport, &session);
            }
        }
    }
}

fn look_at(transport: &Arc<SocketIoTransport>, session: &Arc<Session>, now: Duration) {
    let config = &transport.parts.config;
    if session.outlet.is_due(now, FAREWELL) {
        end_transport(transport, session);
        return;
    }
    if session.is_resting(now) || session.connection.is_closed() {
        return;
    }
    let (silence, limit) = (session.silence(now), config.ping_interval + config.ping_timeout);
    if silence > limit {
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
    let token = watch_token(transport, session);
    if unread.is_none() {
        session.rest(now, token.min(limit - silence).min(config.ping_interval / LOOKS));
    }
}

/// Warns of a token's end, once, and keeps it. For how long there is nothing more to do.
fn watch_token(transport: &SocketIoTransport, session: &Session) -> Duration {
    let principal = session.connection.principal();
    let Some((expires_at, warned_at)) = principal.expires_at.zip(principal.warned_at()) else { return Duration::MAX };
    let now = transport.parts.clock.now();
    if now >= expires_at {
        session.connection.end(&Ending::temporary(Code::TokenExpired, "the token has ended"));
    } else if now >= warned_at && session.warned_of.swap(expires_at.0, Ordering::SeqCst) != expires_at.0 {
        session.connection.notify(&Notice::Expiring { expires_at });
    }
    let next = if now < warned_at { warned_at } else { expires_at };
    Duration::from_millis(u64::try_from(next.0.saturating_sub(now.0)).unwrap_or(0))
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
