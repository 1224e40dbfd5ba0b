//! The greeting: what a WebSocket's client and socketioxide say to each other, seen and put right on its way.
//!
//! Guarantees: the outlet opens when the client has been told that it is connected, not before, and until then no more
//! is read than a token takes; events go to their mailbox and not to socketioxide.
//! It is not the judgement of a packet: see `intake`; nor what is said in place of the engine's: see `said`.

use std::{
    io,
    sync::{Arc, Weak},
};

use bytes::Bytes;

use super::{
    MAX_UNACCEPTED, SocketIoTransport,
    engines::Engine,
    frames,
    heartbeat::Advertised,
    intake::{self, Taken},
    said::said,
};
use crate::connection::{
    Heard, Line, Message, Unfinished, Watch, close_code,
    frames::{put_as_client, text, whole},
};

/// What is watched of a WebSocket.
pub(super) struct Greeting {
    transport: Weak<SocketIoTransport>,
    line: Weak<Line>,
    /// Known from the handshake on.
    engine: Option<Arc<Engine>>,
    /// How many bytes came before anybody was let in.
    unaccepted: usize,
    /// What is kept of what the client sent.
    kept: Option<Box<Unfinished>>,
    max_message: usize,
    heartbeat: Advertised,
}

impl Greeting {
    /// Of a session that begins anew, or of one that polled.
    pub(super) fn new(transport: &Arc<SocketIoTransport>, line: &Arc<Line>, engine: Option<Arc<Engine>>) -> Self {
        let config = &transport.connections.parts.config;
        Self {
            transport: Arc::downgrade(transport),
            line: Arc::downgrade(line),
            engine,
            unaccepted: 0,
            kept: None,
            max_message: super::most_of_websocket(config),
            heartbeat: Advertised::of(config),
        }
    }

    /// The open packet: the session is known from here on.
    fn opens(&mut self, packet: &[u8]) {
        if let (None, Some(transport), Some(line)) = (&self.engine, self.transport.upgrade(), self.line.upgrade())
            && let Some(sid) = frames::opened(packet)
        {
            self.engine = Some(Engine::on_line(&transport, sid, line));
        }
    }

    /// One frame of socketioxide's.
    fn pass_one(&mut self, line: &Line, frame: &[u8], payload: &[u8]) -> io::Result<()> {
        if !frames::is_text(frame) {
            return line.put(frame);
        }
        if payload.starts_with(b"0{") {
            self.opens(payload);
            // A client that is gone already is found by who reads: the engine would keep a session that it cannot open.
            let told = self.heartbeat.corrected(payload).into_bytes();
            drop(line.put(&text(&[&told])).inspect_err(|error| tracing::trace!(%error, "a client is gone already")));
            return Ok(());
        }
        let Some(engine) = &self.engine else { return Ok(()) };
        // The client's probe was answered already.
        let Some(told) = said(engine, self.heartbeat, payload).filter(|_| payload != b"3probe") else { return Ok(()) };
        if payload.starts_with(b"40{") {
            // The first word of the server leaves with it.
            line.hold(&text(&[&told]))?;
            self.unaccepted = 0;
            line.open();
            return line.put(&[]);
        }
        line.put(&text(&[&told]))?;
        if payload.starts_with(b"44{") {
            engine.judged();
        }
        Ok(())
    }
}

impl Watch for Greeting {
    fn came(&mut self, line: &Line, bytes: usize) -> bool {
        if line.is_open() {
            return true;
        }
        self.unaccepted += bytes;
        self.unaccepted <= MAX_UNACCEPTED
    }

    fn limit(&self, line: &Line) -> usize {
        if line.is_open() { self.max_message } else { MAX_UNACCEPTED }
    }

    fn waits(&self) -> bool {
        self.engine.as_ref().is_none_or(|engine| engine.is_judging())
    }

    fn keeps(&mut self, _: &Line, bytes: usize, is_awaited: bool) -> Result<(), (u16, &'static str)> {
        if bytes == 0 {
            self.kept = None;
            return Ok(());
        }
        // Before somebody is let in there is a bound for each stream, and a time.
        let session = self.engine.as_ref().and_then(|engine| engine.session());
        session.map_or(Ok(()), |session| session.client.keeps(&mut self.kept, (bytes, is_awaited)))
    }

    fn hears(&mut self, _: &Line, message: Message<'_>) -> Heard {
        let Some(engine) = &self.engine else { return Heard::Passed };
        // It came whole: what is kept from here on is of another.
        self.kept = None;
        let taken = match message {
            Message::Text(text) => intake::text(engine, text),
            Message::Binary => intake::binary(engine),
        };
        match taken {
            Taken::Done => Heard::Taken,
            Taken::Passed => Heard::Passed,
            Taken::Closed => Heard::Ends(close_code::NORMAL, ""),
            Taken::Refused(code, why) => Heard::Ends(code, why),
        }
    }

    fn ends(&mut self) {
        if let Some(engine) = &self.engine {
            engine.end("1");
        }
    }

    fn parting(&mut self) -> Option<Bytes> {
        let (engine, transport) = (self.engine.as_ref()?, self.transport.upgrade()?);
        let mut frame = Vec::new();
        put_as_client(&mut frame, transport.parting.packet().as_bytes());
        (!engine.was_accepted()).then(|| frame.into())
    }

    fn pass(&mut self, line: &Line, bytes: &[u8]) -> io::Result<()> {
        whole(bytes).try_for_each(|(frame, payload)| self.pass_one(line, frame, payload))
    }
}
