//! The sessions of the engine: one table of them, made at the handshake.
//!
//! Guarantees: whoever asks for a session by its id, to poll, to change it or to end it, asks here; the id that a
//! client shows to others is another one; who ends a session ends everything of it, whatever it runs on.
//! It is not the client that was let in: that is a [`Session`], and one may follow another here.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use smol_str::SmolStr;

use tidings_engine::seats::Seat;

use super::{SocketIoTransport, heartbeat::pace, polling, polls::Polls, session::Session};
use crate::connection::{ConnectionConfig, Handshake, Line, LineEars, Replaced};

/// How long a client that was refused has to be let in after all, on the same transport.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// The table.
#[derive(Default)]
pub(super) struct Engines(Mutex<HashMap<SmolStr, Arc<Engine>>>);

impl Engines {
    pub(super) fn get(&self, sid: &str) -> Option<Arc<Engine>> {
        self.0.lock().get(sid).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Engine>> {
        self.0.lock().values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn insert(&self, engine: &Arc<Engine>) {
        self.0.lock().insert(engine.sid.clone(), engine.clone());
    }

    fn remove(&self, sid: &str) {
        self.0.lock().remove(sid);
    }
}

/// How far a session has come.
#[derive(Default)]
struct Stage {
    /// The client that was let in.
    session: Option<Arc<Session>>,
    /// A CONNECT is being judged.
    judging: bool,
    /// A client was let in, now or before.
    was_accepted: bool,
    /// Over, and since when; in milliseconds.
    over: Option<u64>,
    /// Counts it while nobody was let in and it polls.
    handshake: Option<Handshake>,
    /// Counts it as a connection of the user who was let in last, also once that client has left and the transport
    /// stays.
    seat: Option<Seat>,
    /// Until when somebody has to be let in, while nobody is; in milliseconds.
    connect_by: Option<u64>,
    /// The event whose attachments are still to come.
    attached: Option<Box<Attached>>,
}

/// What waits for its attachments.
pub(super) struct Attached {
    pub(super) left: usize,
    /// What to answer then; none for an acknowledgement.
    pub(super) is_event: bool,
    pub(super) ack: Option<u64>,
}

/// One session of the engine.
pub(super) struct Engine {
    /// The engine's id, which only its client knows.
    pub(super) sid: SmolStr,
    pub(super) transport: Weak<SocketIoTransport>,
    /// None for one that began on a WebSocket.
    pub(super) polls: Option<Box<Polls>>,
    /// The WebSocket that it runs on. It never goes back.
    line: OnceLock<Arc<Line>>,
    /// When the last request came, while it polls.
    heard_ms: AtomicU64,
    /// When it is to be pinged.
    ping_ms: AtomicU64,
    stage: Mutex<Stage>,
}

impl Engine {
    /// A session that was opened by polling.
    pub(super) fn polling(transport: &Arc<SocketIoTransport>, sid: &str, handshake: Handshake) -> Arc<Self> {
        let engine = Self::new(transport, sid, Some(Box::default()));
        let owner: Weak<Self> = Arc::downgrade(&engine);
        handshake.belongs_to(owner);
        engine.keep(handshake);
        engine
    }

    /// A session that was opened on a WebSocket.
    pub(super) fn on_line(transport: &Arc<SocketIoTransport>, sid: &str, line: Arc<Line>) -> Arc<Self> {
        let engine = Self::new(transport, sid, None);
        engine.set_line(line);
        engine
    }

    fn new(transport: &Arc<SocketIoTransport>, sid: &str, polls: Option<Box<Polls>>) -> Arc<Self> {
        let parts = &transport.connections.parts;
        let now = parts.clock.monotonic();
        let engine = Arc::new(Self {
            sid: sid.into(),
            transport: Arc::downgrade(transport),
            polls,
            line: OnceLock::new(),
            heard_ms: AtomicU64::new(millis(now)),
            ping_ms: AtomicU64::new(millis(now + pace(sid, now, parts.config.ping_interval))),
            stage: Mutex::new(Stage {
                connect_by: Some(millis(now + parts.config.connect_timeout)),
                ..Stage::default()
            }),
        });
        transport.engines.insert(&engine);
        engine
    }

    /// The WebSocket that it runs on.
    pub(super) fn line(&self) -> Option<&Arc<Line>> {
        self.line.get()
    }

    /// Whether it has a WebSocket, or one probes for it.
    pub(super) fn is_taken(&self) -> bool {
        self.line().is_some() || self.polls.as_ref().is_none_or(|polls| polls.is_probed())
    }

    /// From now on it runs on this WebSocket.
    pub(super) fn set_line(self: &Arc<Self>, line: Arc<Line>) {
        self.line.get_or_init(|| line).listen(Arc::new(EngineEars(Arc::downgrade(self))));
    }

    /// Counts as this handshake until a client is let in, unless it has ended.
    fn keep(&self, handshake: Handshake) {
        let mut stage = self.stage.lock();
        if stage.over.is_none() {
            stage.handshake = Some(handshake);
        }
    }

    /// The handshake that it counts as while it polls: from now on the WebSocket that it changes to does.
    pub(super) fn take_handshake(&self) -> Option<Handshake> {
        self.stage.lock().handshake.take()
    }

    /// Lends what counts it for its user, for a judgement.
    pub(super) fn take_seat(&self) -> Option<Seat> {
        self.stage.lock().seat.take()
    }

    /// Keeps what counts it for its user, unless it has ended.
    pub(super) fn keep_seat(&self, seat: Option<Seat>) {
        let mut stage = self.stage.lock();
        if stage.over.is_none() {
            stage.seat = seat;
        }
    }

    /// The client that is in.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.stage.lock().session.clone()
    }

    /// A CONNECT goes to be judged: what follows it waits.
    pub(super) fn judge(&self) {
        self.stage.lock().judging = true;
    }

    /// The CONNECT was judged.
    pub(super) fn judged(&self) {
        self.stage.lock().judging = false;
        if let Some(line) = self.line() {
            line.wake_reader();
        }
        if let Some(polls) = &self.polls {
            polls.changed();
        }
    }

    /// The client was refused, and told so. It has little time left: a client that ends its connection after a refusal
    /// may poll for the answer to its own close, which it then never sends.
    pub(super) fn refused(&self, now: Duration) {
        let soon = millis(now + AFTER_REFUSAL);
        let mut stage = self.stage.lock();
        stage.connect_by = stage.connect_by.map(|by| by.min(soon));
    }

    /// Whether a CONNECT is being judged.
    pub(super) fn is_judging(&self) -> bool {
        self.stage.lock().judging
    }

    /// A client was let in.
    pub(super) fn enter(&self, session: &Arc<Session>) {
        let mut stage = self.stage.lock();
        if stage.over.is_some() {
            drop(stage);
            return session.over();
        }
        stage.was_accepted = true;
        stage.connect_by = None;
        stage.handshake = None;
        stage.session = Some(session.clone());
    }

    /// The client goes, and its transport stays: it has as long as a new one to CONNECT.
    pub(super) fn leave(&self) {
        let connect_by = self.transport.upgrade().map(|transport| {
            let parts = &transport.connections.parts;
            millis(parts.clock.monotonic() + parts.config.connect_timeout)
        });
        let session = {
            let mut stage = self.stage.lock();
            stage.connect_by = connect_by;
            stage.session.take()
        };
        if let Some(line) = self.line() {
            line.shut_out();
        }
        if let Some(session) = session {
            session.over();
        }
    }

    /// Changes what waits for attachments.
    pub(super) fn with_attached<T>(&self, change: impl FnOnce(&mut Option<Box<Attached>>) -> T) -> T {
        change(&mut self.stage.lock().attached)
    }

    /// Whether a client was let in, now or before.
    pub(super) fn was_accepted(&self) -> bool {
        self.stage.lock().was_accepted
    }

    /// Whether it has ended, though its stream may take a moment more.
    pub(super) fn is_over(&self) -> bool {
        self.stage.lock().over.is_some()
    }

    /// A request of the client came.
    pub(super) fn heard(&self, now: Duration) {
        self.heard_ms.store(millis(now), Ordering::Relaxed);
    }

    /// How long there has been no sign of the client.
    pub(super) fn silence(&self, now: Duration) -> Duration {
        match self.line() {
            Some(line) => line.silence(now),
            None => now.saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))),
        }
    }

    /// Ends a session of which there was no sign for too long, or into which nobody was let within the time for it.
    /// Whether that was done.
    pub(super) fn end_if_silent(&self, now: Duration, config: &ConnectionConfig) -> bool {
        let (silence, limit) = (self.silence(now), config.ping_interval + config.ping_timeout);
        let is_silent = match self.session() {
            Some(session) => session.client.fell_silent(silence),
            None => silence >= limit || self.is_overdue(now),
        };
        if is_silent {
            self.kill();
        }
        is_silent
    }

    /// Whether a ping is due; the next one is at the session's pace.
    pub(super) fn ping_is_due(&self, now: Duration, interval: Duration) -> bool {
        let due = millis(now) >= self.ping_ms.load(Ordering::Relaxed);
        if due {
            self.ping_ms.store(millis(now + pace(&self.sid, now, interval)), Ordering::Relaxed);
        }
        due
    }

    /// Whether nobody was let in within the time for it.
    fn is_overdue(&self, now: Duration) -> bool {
        self.stage.lock().connect_by.is_some_and(|by| millis(now) >= by)
    }

    /// Whether it ended so long ago.
    pub(super) fn ended_before(&self, now: Duration, time: Duration) -> bool {
        self.stage.lock().over.is_some_and(|since| millis(now).saturating_sub(since) >= millis(time))
    }

    /// Ends the session: nothing of its client is left. A WebSocket stays until it is closed; a waiting poll is
    /// answered with this. Idempotent.
    pub(super) fn end(&self, answer: &'static str) {
        let Some(transport) = self.transport.upgrade() else { return };
        let session = {
            let mut stage = self.stage.lock();
            if stage.over.is_some() {
                return;
            }
            stage.over = Some(millis(transport.connections.parts.clock.monotonic()));
            (stage.judging, stage.handshake, stage.seat, stage.attached) = (false, None, None, None);
            stage.session.take()
        };
        if let Some(session) = session {
            session.over();
        }
        if let Some(polls) = &self.polls {
            polls.end(answer);
        }
        if self.line().is_none() {
            transport.engines.remove(&self.sid);
            let (sid, was_accepted) = (self.sid.clone(), self.was_accepted());
            let closing = transport.clone();
            let close = async move { polling::close(&closing, &sid, was_accepted).await };
            transport.connections.parts.tasks.spawn("socketio.close", Box::pin(close));
        }
    }

    /// Ends the session and what it runs on at once, whatever anybody waits for.
    pub(super) fn kill(&self) {
        self.end("1");
        if let Some(line) = self.line() {
            line.kill();
            self.gone();
        }
    }

    fn gone(&self) {
        if let Some(transport) = self.transport.upgrade() {
            transport.engines.remove(&self.sid);
        }
    }
}

impl Replaced for Engine {
    fn replaced(&self) {
        self.kill();
    }
}

/// What a line tells its session.
struct EngineEars(Weak<Engine>);

impl LineEars for EngineEars {
    fn opened(&self) {
        if let Some(session) = self.0.upgrade().and_then(|engine| engine.session()) {
            session.client.opened();
        }
    }

    fn ended(&self) {
        if let Some(engine) = self.0.upgrade() {
            engine.end("1");
            engine.gone();
        }
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}
