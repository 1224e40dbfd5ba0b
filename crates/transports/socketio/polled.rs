//! What a polling connection is fed: a bounded amount for each poll, through socketioxide's queue.
//!
//! Guarantees: never more waits in that queue than it and one response have room for, so nothing of
//! it is dropped or kept back; what a poll answered counts as arrived once the next poll comes.
//! It is not the way of a WebSocket: see `line`.

use std::{collections::VecDeque, sync::Arc};

use serde_json::value::RawValue;
use socketioxide::{
    SendError, SocketError,
    adapter::LocalAdapter,
    extract::AckSender,
    handler::{FromMessageParts, Value},
    socket::Socket,
};
use tidings_core::{Epoch, Message, outlet::Offered, parcel::WireForm};

/// socketioxide's queue for a connection, in packets: room for what is fed, and for its own.
pub(super) const QUEUE_PACKETS: usize = 512;
const MOST_PACKETS: usize = QUEUE_PACKETS / 2;
/// python-engineio refuses a polling payload of more than 16 packets; one place is left for a ping.
const MOST_PACKETS_PYTHON: usize = 15;
/// What may wait in that queue, in bytes. Less than a polling payload may carry.
const MOST_BYTES: usize = 384 * 1024;

/// Messages as their JSON: socketioxide puts the packet around it.
pub(super) struct JsonForm;

impl WireForm for JsonForm {
    fn write(message: &Message, _: &Epoch, out: &mut Vec<u8>) {
        message.write_json(0, out);
    }
}

/// The feeding of one connection.
pub(super) struct Polled {
    socket: Arc<Socket<LocalAdapter>>,
    most_packets: usize,
    /// The sizes of what was fed and has not arrived.
    waiting: VecDeque<usize>,
    bytes: usize,
    /// Packets in the last response.
    last: usize,
    /// The client has been told that it is connected: socketioxide takes packets for it.
    pub(super) connected: bool,
    /// A response carried that word to the client.
    pub(super) told: bool,
    /// It changes to a WebSocket: nothing more goes in here.
    pub(super) changing: bool,
}

impl Polled {
    pub(super) fn new(socket: Arc<Socket<LocalAdapter>>) -> Self {
        let agent = socket.req_parts().headers.get("user-agent").and_then(|agent| agent.to_str().ok());
        let python = agent.is_some_and(|agent| agent.to_ascii_lowercase().contains("python"));
        Self {
            socket,
            most_packets: if python { MOST_PACKETS_PYTHON } else { MOST_PACKETS },
            waiting: VecDeque::new(),
            bytes: 0,
            last: 0,
            connected: false,
            told: false,
            changing: false,
        }
    }

    /// A poll came: what the last one answered has arrived.
    pub(super) fn arrived(&mut self) {
        for size in self.waiting.drain(..self.last.min(self.waiting.len())) {
            self.bytes -= size;
        }
        self.last = 0;
    }

    /// A poll was answered with these packets.
    pub(super) fn answered<'a>(&mut self, packets: impl Iterator<Item = &'a [u8]>) {
        for packet in packets {
            self.told |= packet.starts_with(b"40");
            self.last += usize::from(packet.starts_with(b"42") || packet.starts_with(b"43"));
        }
    }

    /// Whether something more may go in.
    pub(super) fn has_room(&self) -> bool {
        self.connected && !self.changing && self.waiting.len() <= self.most_packets / 2 && self.bytes <= MOST_BYTES / 2
    }

    /// Whether everything has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Feeds as many as there is room for, each an answer to a request or an event, with its JSON.
    pub(super) fn offer<'a>(&mut self, count: usize, one: impl Fn(usize) -> (Option<u64>, &'a [u8])) -> Offered {
        if !self.connected || self.changing {
            return Offered::Full(0);
        }
        for number in 0..count {
            let (answer_to, json) = one(number);
            let size = json.len();
            let full =
                self.waiting.len() >= self.most_packets || (self.bytes + size > MOST_BYTES && !self.waiting.is_empty());
            if full {
                return Offered::Full(number);
            }
            match self.emit(answer_to, json) {
                Ok(()) => {
                    self.waiting.push_back(size);
                    self.bytes += size;
                }
                Err(SendError::Socket(SocketError::InternalChannelFull)) => return Offered::Full(number),
                Err(SendError::Socket(SocketError::Closed)) => return Offered::Closed,
                Err(SendError::Serialize(error)) => tracing::error!(%error, "a packet was not sent"),
            }
        }
        Offered::All
    }

    fn emit(&self, answer_to: Option<u64>, json: &[u8]) -> Result<(), SendError> {
        let json: &RawValue = match serde_json::from_slice(json) {
            Ok(json) => json,
            Err(error) => {
                tracing::error!(%error, "what is no JSON was not sent");
                return Ok(());
            }
        };
        let Some(request) = answer_to else { return self.socket.emit("message", json) };
        let (mut none, id) = (Value::Str("[]".into(), None), i64::try_from(request).ok());
        match AckSender::<LocalAdapter>::from_message_parts(&self.socket, &mut none, &id) {
            Ok(ack) => ack.send(json),
            Err(never) => match never {},
        }
    }

    /// Says to the client that it is to stay away.
    pub(super) fn disconnect(&self) {
        if self.socket.clone().disconnect().is_err() {
            tracing::debug!("a DISCONNECT packet found no room; the session is closed");
        }
    }
}
