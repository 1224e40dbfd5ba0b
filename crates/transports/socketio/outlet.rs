//! The outlet of a Socket.IO connection, over socketioxide's own queue.
//!
//! Guarantees: it never fills that queue, so that pings and closes always find room; what it took
//! leaves in order; it calls back when what was written makes room again.
//! It is not a queue of the hub's: a full one is told at once.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use socketioxide::{
    SendError, SocketError,
    extract::{AckSender, SocketRef},
};
use tidings_core::{
    outlet::{Ending, Frame, Offered, Outlet, Waker, WireForm},
    runtime::Clock,
};

use super::line::{Line, LineEars};

/// socketioxide's queue for a connection, in packets; the outlet uses half of it.
pub(super) const QUEUE_PACKETS: usize = 512;
const MOST_PACKETS: usize = QUEUE_PACKETS / 2;
/// python-engineio refuses a polling payload of more than 16 packets; one place is left for a ping.
const MOST_PACKETS_PYTHON: usize = 15;
/// What may wait in that queue, in bytes. Less than a polling payload may carry.
const MOST_BYTES: usize = 384 * 1024;

/// Socket.IO messages: the JSON envelope as it is. socketioxide puts the packet around it.
pub(super) struct SocketIoForm;

impl WireForm for SocketIoForm {
    fn slot(&self) -> usize {
        0
    }
    fn message(&self, json: &str) -> Bytes {
        Bytes::copy_from_slice(json.as_bytes())
    }
}

/// The outlet of one connection.
pub(super) struct QueueOutlet {
    socket: SocketRef,
    clock: Arc<dyn Clock>,
    /// What may wait for one poll, in packets.
    polled_packets: usize,
    line: Mutex<Option<Arc<Line>>>,
    flow: Mutex<Flow>,
    waker: OnceLock<Waker>,
    acks: Mutex<HashMap<u64, AckSender>>,
}

#[derive(Default)]
struct Flow {
    /// The sizes of what was taken and is not written yet.
    waiting: VecDeque<usize>,
    bytes: usize,
    /// An offer was refused since the last wake.
    starved: bool,
    /// When the connection was told to close, and whether the client may come back.
    closing: Option<(Duration, bool)>,
    gone: bool,
}

impl fmt::Debug for QueueOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueOutlet")
    }
}

impl QueueOutlet {
    pub(super) fn new(socket: SocketRef, clock: Arc<dyn Clock>) -> Arc<Self> {
        let agent = socket.req_parts().headers.get("user-agent").and_then(|agent| agent.to_str().ok());
        let python = agent.is_some_and(|agent| agent.to_ascii_lowercase().contains("python"));
        Arc::new(Self {
            socket,
            clock,
            polled_packets: if python { MOST_PACKETS_PYTHON } else { MOST_PACKETS },
            line: Mutex::default(),
            flow: Mutex::default(),
            waker: OnceLock::new(),
            acks: Mutex::default(),
        })
    }

    /// Gives it the WebSocket that the connection runs on now.
    pub(super) fn set_line(&self, line: Arc<Line>) {
        *self.line.lock() = Some(line);
    }

    pub(super) fn line(&self) -> Option<Arc<Line>> {
        self.line.lock().clone()
    }

    fn most_packets(&self) -> usize {
        if self.line.lock().is_some() { MOST_PACKETS } else { self.polled_packets }
    }

    /// Keeps the acknowledgement of a request until its answer is offered.
    pub(super) fn expect_answer(&self, request: u64, ack: AckSender) {
        self.acks.lock().insert(request, ack);
    }

    /// So many packets have left.
    pub(super) fn written(&self, packets: usize) {
        let wake = {
            let mut flow = self.flow.lock();
            for _ in 0..packets {
                if let Some(size) = flow.waiting.pop_front() {
                    flow.bytes -= size;
                }
            }
            let room = flow.waiting.len() <= self.most_packets() / 2 && flow.bytes <= MOST_BYTES / 2;
            room && std::mem::take(&mut flow.starved)
        };
        if wake && let Some(waker) = self.waker.get() {
            waker();
        }
    }

    /// The transport is gone.
    pub(super) fn gone(&self) {
        self.flow.lock().gone = true;
        self.acks.lock().clear();
        if let Some(waker) = self.waker.get() {
            waker();
        }
    }

    /// Since when it is closing, if the transport is to be ended now: all was written, or it took too long.
    pub(super) fn farewell(&self, patience: Duration) -> bool {
        let flow = self.flow.lock();
        match flow.closing {
            Some((since, temporary)) => {
                let late = self.clock.monotonic().saturating_sub(since) >= patience;
                late || (temporary && flow.waiting.is_empty())
            }
            None => false,
        }
    }

    /// Puts one frame into socketioxide's queue.
    fn emit(&self, frame: &Frame) -> Result<(), SendError> {
        let body: &RawValue = match serde_json::from_slice(&frame.body) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "a frame that is no JSON was not sent");
                return Ok(());
            }
        };
        let Some(request) = frame.answer_to else { return self.socket.emit("message", body) };
        // No acknowledgement asked for: nothing to say.
        let Some(ack) = self.acks.lock().remove(&request) else { return Ok(()) };
        ack.send(body)
    }
}

impl Outlet for QueueOutlet {
    fn form(&self) -> &'static dyn WireForm {
        &SocketIoForm
    }

    fn set_waker(&self, waker: Waker) {
        self.waker.get_or_init(|| waker);
    }

    fn offer(&self, frames: &[Frame]) -> Offered {
        let most = self.most_packets();
        let mut flow = self.flow.lock();
        for (number, frame) in frames.iter().enumerate() {
            if flow.gone {
                return Offered::Closed;
            }
            let size = frame.body.len();
            let full = flow.waiting.len() >= most || (flow.bytes + size > MOST_BYTES && !flow.waiting.is_empty());
            if full {
                flow.starved = true;
                return Offered::Some(number);
            }
            let silent = frame.answer_to.is_some_and(|request| !self.acks.lock().contains_key(&request));
            if silent {
                continue;
            }
            match self.emit(frame) {
                Ok(()) => {
                    flow.waiting.push_back(size);
                    flow.bytes += size;
                }
                Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                    flow.starved = true;
                    return Offered::Some(number);
                }
                Err(SendError::Socket(SocketError::Closed)) => return Offered::Closed,
                Err(SendError::Serialize(error)) => tracing::error!(%error, "a frame was not sent"),
            }
        }
        Offered::All
    }

    fn close(&self, ending: &Ending) {
        {
            let mut flow = self.flow.lock();
            if flow.closing.is_some() {
                return;
            }
            flow.closing = Some((self.clock.monotonic(), ending.retry));
        }
        if !ending.retry && self.socket.clone().disconnect().is_err() {
            tracing::debug!("a DISCONNECT packet found no room; the transport is closed");
        }
        // A transport that has nothing left to write is ended by the sweep; see `farewell`.
    }
}

impl LineEars for QueueOutlet {
    fn written(&self, packets: usize) {
        QueueOutlet::written(self, packets);
    }
    fn ended(&self) {
        self.gone();
    }
}
