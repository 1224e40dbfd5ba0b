//! The outlet of a Socket.IO connection: a WebSocket's line, or what is fed to polls.
//!
//! Guarantees: what it took leaves in order, also where the connection changes from polling to a
//! WebSocket meanwhile; between the two nothing is taken. A closing connection takes nothing more.
//! It is not a queue of the hub's: a full one is told at once.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{
    BoxFuture,
    outlet::{Ending, Offered, Outlet, Said},
    parcel::{Parcel, Wire},
    runtime::Clock,
};
use tokio::sync::Notify;

use super::{
    frames::{self, FrameForm},
    numbers::Numbers,
    polled::{JsonForm, Polled},
};
use crate::connection::{Carrier, Closing, Line, frames::GOING_AWAY};

/// What an answer or a notice takes besides its JSON, at most, in bytes.
const AROUND: usize = 40;

/// The outlet of one connection.
pub(super) struct SocketOutlet {
    clock: Arc<dyn Clock>,
    /// The WebSocket, once the connection runs on one. It never goes back.
    line: OnceLock<Arc<Line>>,
    /// None for a connection that began on a WebSocket.
    polled: Mutex<Option<Box<Polled>>>,
    closing: Closing,
    /// Under which numbers its client's events are answered.
    pub(super) numbers: Numbers,
    /// There may be room, or it is over.
    changed: Notify,
}

impl fmt::Debug for SocketOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketOutlet")
    }
}

impl SocketOutlet {
    /// The outlet of a connection that runs on this WebSocket, or else polls.
    pub(super) fn new(line: Option<Arc<Line>>, polled: impl FnOnce() -> Polled, clock: Arc<dyn Clock>) -> Arc<Self> {
        let polled = if line.is_some() { None } else { Some(Box::new(polled())) };
        Arc::new(Self {
            clock,
            line: line.map_or_else(OnceLock::new, OnceLock::from),
            polled: Mutex::new(polled),
            closing: Closing::default(),
            numbers: Numbers::default(),
            changed: Notify::new(),
        })
    }

    /// Changes something of the feeding of polls, and says so to whoever waits.
    pub(super) fn with_polled<T>(&self, change: impl FnOnce(&mut Polled) -> T) -> Option<T> {
        let changed = self.polled.lock().as_deref_mut().map(change);
        self.changed.notify_waiters();
        changed
    }

    /// From now on the connection runs on this WebSocket.
    pub(super) fn set_line(&self, line: Arc<Line>) {
        self.line.get_or_init(|| line);
        *self.polled.lock() = None;
        self.changed.notify_waiters();
    }

    /// The client is gone.
    pub(super) fn gone(&self) {
        self.closing.begin(self.clock.monotonic(), true);
        self.changed.notify_waiters();
    }

    fn is_gone(&self) -> bool {
        self.closing.has_begun()
    }

    /// Whether it is closing and its transport is to be ended now: all has left, or it took too long.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        if !self.closing.has_begun() {
            return false;
        }
        let arrived = self.polled.lock().as_deref().is_some_and(Polled::is_empty);
        self.closing.is_late(now) || (self.closing.may_return() && self.line.get().is_none() && arrived)
    }

    fn feed<'a>(&self, count: usize, one: impl Fn(usize) -> (Option<u64>, &'a [u8])) -> Offered {
        if self.closing.has_begun() {
            return Offered::Closed;
        }
        match self.polled.lock().as_deref_mut() {
            Some(polled) => polled.offer(count, one),
            // It became a WebSocket in this moment: the next offer goes there.
            None => Offered::Full(0),
        }
    }
}

impl Carrier for SocketOutlet {
    fn pause(&self, paused: bool) {
        if let Some(line) = self.line.get() {
            line.pause(paused);
        }
    }
}

impl Outlet for SocketOutlet {
    fn say(&self, said: &[Said]) -> Offered {
        let Some(line) = self.line.get() else {
            return self.feed(said.len(), |index| (said[index].answer_to, &said[index].json));
        };
        if self.is_gone() {
            return Offered::Closed;
        }
        let room = said.iter().map(|said| said.json.len() + AROUND).sum();
        let offered = line.offer(&Wire::of(said.iter(), room, |said, out| frames::said(said, &self.numbers, out)));
        let taken = match offered {
            Offered::All => said.len(),
            Offered::Full(taken) => taken,
            Offered::Closed => 0,
        };
        said[..taken].iter().filter_map(|said| said.answer_to).for_each(|number| self.numbers.answered(number));
        offered
    }

    fn deliver(&self, parcel: &Parcel) -> Offered {
        if let Some(line) = self.line.get() {
            // A client that is out may come in again on the same line: nothing of before goes there.
            return if self.is_gone() { Offered::Closed } else { line.offer(parcel.wire::<FrameForm>()) };
        }
        let wire = parcel.wire::<JsonForm>();
        self.feed(wire.count(), |index| (None, wire.part(index)))
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if let Some(line) = self.line.get() {
                    return line.room().await;
                }
                let ready = self.polled.lock().as_deref().is_none_or(Polled::has_room);
                if ready || self.closing.has_begun() {
                    return;
                }
                changed.await;
            }
        })
    }

    fn close(&self, ending: &Ending) {
        if !self.closing.begin(self.clock.monotonic(), ending.retry) {
            return;
        }
        match self.line.get() {
            Some(line) => line.leave(if ending.retry { GOING_AWAY } else { frames::DISCONNECT }),
            // What ends a polling session is the sweep, once everything has arrived.
            None if ending.retry => {}
            None => drop(self.with_polled(|polled| polled.disconnect())),
        }
        self.changed.notify_waiters();
    }
}
