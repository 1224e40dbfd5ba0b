//! The sweep: once in a while, whatever of a session is due by time.
//!
//! Guarantees: a client is pinged at its own pace since its handshake, so that the pings of a crowd that came together
//! are soon spread;
//! a silent one is let go within its ping interval, timeout and one turn of the sweep, and a session into which nobody
//! is let within the time for it, be it new or left by its client, whatever socketioxide's tasks are stuck in; a token's
//! end is told before and kept. A session for which nothing can be due for some turns is passed over: a look at one is a
//! dozen places in memory, and there are tens of thousands. One whose look panics is ended, and the others are looked at.
//! It is not what is due whatever a client runs on: see `connection/client`.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tidings_core::{BoxFuture, fault, panics};

use super::{SocketIoTransport, engines::Engine, frames};

const TASK: &str = "socketio.sweep";
/// How often it looks at every session.
const TURN: Duration = Duration::from_millis(500);
/// How many times in a ping interval a client is pinged that reads slowly.
const NUDGES: u32 = 3;
/// After how many sessions others have a turn.
const PORTION: usize = 256;
/// How long a close may take to arrive.
const FAREWELL: Duration = Duration::from_secs(1);

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
        let engines = transport.engines.all();
        let now = transport.connections.parts.clock.monotonic();
        for (number, engine) in engines.iter().enumerate() {
            let looked = panics::caught("socketio.session", || {
                fault::here("socketio.session");
                look_at(&transport, engine, now);
            });
            if looked.is_err() {
                // It would panic again, and those after it would never be looked at.
                engine.kill();
            }
            if number % PORTION == PORTION - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
}

fn look_at(transport: &SocketIoTransport, engine: &Engine, now: Duration) {
    let config = &transport.connections.parts.config;
    if engine.is_over() {
        // What is left is its stream, on which the close is on its way.
        if engine.ended_before(now, FAREWELL) {
            engine.kill();
        }
        return;
    }
    let ping = engine.ping_is_due(now, config.ping_interval);
    let session = engine.session();
    if let Some(session) = &session {
        if session.outlet.is_due(now) {
            return engine.kill();
        }
        if !ping && session.client.is_resting(now) {
            return;
        }
    }
    if engine.end_if_silent(now, config) {
        return;
    }
    if ping {
        send_ping(engine);
    }
    if let Some(session) = session {
        if let Some(line) = engine.line() {
            line.nudge(frames::PING, now, config.ping_interval / NUDGES);
        }
        session.client.attend(now, engine.silence(now));
    }
}

fn send_ping(engine: &Engine) {
    match (engine.line(), &engine.polls) {
        (Some(line), _) => {
            if let Err(error) = line.put(frames::PING) {
                tracing::trace!(%error, "a client is gone already");
            }
        }
        (None, Some(polls)) => polls.ping(),
        (None, None) => {}
    }
}
