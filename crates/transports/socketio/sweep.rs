//! The sweep: once in a while, whatever of a session is due by time.
//!
//! Guarantees: a silent client is let go within its ping interval, timeout and one turn of the
//! sweep, whatever socketioxide's tasks are stuck in; a token's end is told before and kept. A session
//! for which nothing can be due for some turns is passed over: a look at one is a dozen places in memory,
//! and there are tens of thousands. One whose look panics is ended, and the others are looked at.
//! It is not what pings: socketioxide does. Nor is it what is due whatever a client runs on: see `connection/client`.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tidings_core::{BoxFuture, fault, panics};

use super::{SocketIoTransport, frames, polling, session::Session};

const TASK: &str = "socketio.sweep";
/// How often it looks at every session.
const TURN: Duration = Duration::from_millis(500);
/// How many times in a ping interval a client is pinged that reads slowly.
const NUDGES: u32 = 3;

/// Starts the sweep; it ends with the server.
pub(super) fn start(transport: &Arc<SocketIoTransport>) {
    let (weak, tasks) = (Arc::downgrade(transport), transport.connections.parts.tasks.clone());
    let make = move |_| -> BoxFuture<'static, ()> { Box::pin(sweep(weak.clone(), tasks.stopping())) };
    transport.connections.parts.tasks.supervise(TASK, Box::new(make));
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
        let parts = &transport.connections.parts;
        let (now, patience) = (parts.clock.monotonic(), parts.config.connect_timeout);
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
    let client = &session.client;
    if session.outlet.is_due(now) {
        end_transport(transport, session);
        return;
    }
    if client.is_resting(now) {
        return;
    }
    let silence = session.silence(now);
    if client.fell_silent(silence) {
        end_transport(transport, session);
        return;
    }
    if let Some(line) = session.outlet.line() {
        line.nudge(frames::PING, now, transport.connections.parts.config.ping_interval / NUDGES);
    }
    client.attend(now, silence);
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
    let tasks = transport.connections.parts.tasks.clone();
    tasks.spawn(
        "socketio.close",
        Box::pin(async move {
            polling::close(&transport, &session.sid).await;
        }),
    );
}
