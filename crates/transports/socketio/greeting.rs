//! The greeting: what the transport looks for in the frames with which a WebSocket begins.
//!
//! Guarantees: the outlet opens when the client has been told that it is connected, not before, and until then no more
//! is read than a token takes; afterwards what passes is not looked at.
//! It is not a parser of the protocol: it looks at the frames of the handshake and passes on the rest.

use std::io;

use super::{MAX_UNACCEPTED, frames, heartbeat::Advertised};
use crate::connection::{
    Line, Watch,
    frames::{payloads, text},
};

/// How far a WebSocket has begun.
pub(super) struct Greeting {
    /// The probe of an upgrade was answered already.
    probed: bool,
    /// The frames of the handshake are still to come.
    watching: bool,
    /// How many bytes came by then.
    unaccepted: usize,
    heartbeat: Advertised,
}

impl Greeting {
    /// One that begins anew.
    pub(super) fn new(heartbeat: Advertised) -> Self {
        Self { probed: false, watching: true, unaccepted: 0, heartbeat }
    }

    /// One of a session that polled: the answer to the client's probe was given already, and is not given again.
    pub(super) fn probed(heartbeat: Advertised) -> Self {
        Self { probed: true, ..Self::new(heartbeat) }
    }
}

impl Watch for Greeting {
    fn came(&mut self, line: &Line, bytes: usize) -> bool {
        if !self.watching || line.is_open() {
            return true;
        }
        self.unaccepted += bytes;
        self.unaccepted <= MAX_UNACCEPTED
    }

    fn pass(&mut self, line: &Line, bytes: &[u8]) -> io::Result<()> {
        if !self.watching {
            return line.put(bytes);
        }
        if self.probed && bytes == frames::PROBE_ANSWER {
            self.probed = false;
            self.watching = !line.is_open();
            return Ok(());
        }
        let Some(opening) = payloads(bytes).find(|payload| payload.starts_with(b"0{")) else {
            if !payloads(bytes).any(|payload| payload.starts_with(b"40")) {
                return line.put(bytes);
            }
            // The first word of the server leaves with it.
            line.hold(bytes)?;
            self.watching = false;
            line.open();
            return line.put(&[]);
        };
        line.put(&text(&[self.heartbeat.corrected(opening).as_bytes()]))
    }
}
