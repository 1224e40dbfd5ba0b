//! An outlet that records, and that a test can fill and free.
//!
//! Guarantees: what was taken stands in [`RecordingOutlet::taken`], in order, as JSON; a full one
//! refuses and calls its waker when it is given room.
//! It is not a socket: nothing leaves the process.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tidings_core::outlet::{Ending, Frame, Offered, Outlet, Waker, WireForm};
use tokio::{sync::watch, time::timeout};

use crate::PATIENCE;

/// Messages as the JSON that they are.
struct JsonForm;

impl WireForm for JsonForm {
    fn slot(&self) -> usize {
        0
    }
    fn message(&self, json: &str) -> Bytes {
        Bytes::copy_from_slice(json.as_bytes())
    }
}

/// What an outlet took: a message or notice, or the answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Which request it answers.
    pub answer_to: Option<u64>,
    /// Its JSON.
    pub json: Value,
}

impl Taken {
    /// The type of a message or notice; empty for an answer.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.json.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// The seq of a durable message.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.json.get("seq").and_then(Value::as_u64).filter(|_| self.answer_to.is_none())
    }
}

#[derive(Default)]
struct Inside {
    taken: Vec<Taken>,
    room: usize,
    waker: Option<Waker>,
    starved: bool,
    closed: Option<Ending>,
    broken: bool,
}

/// The outlet.
pub struct RecordingOutlet {
    inside: Mutex<Inside>,
    changed: watch::Sender<usize>,
}

impl RecordingOutlet {
    /// An outlet with room for so many frames.
    #[must_use]
    pub fn with_room(room: usize) -> Arc<Self> {
        Arc::new(Self { inside: Mutex::new(Inside { room, ..Inside::default() }), changed: watch::Sender::new(0) })
    }

    /// An outlet that is never full.
    #[must_use]
    pub fn open() -> Arc<Self> {
        Self::with_room(usize::MAX)
    }

    /// Gives it this much room, and wakes whoever was refused if that is some.
    pub fn set_room(&self, room: usize) {
        let waker = {
            let mut inside = self.inside.lock();
            inside.room = room;
            if room > 0 && std::mem::take(&mut inside.starved) { inside.waker.clone() } else { None }
        };
        if let Some(waker) = waker {
            waker();
        }
    }

    /// From now on the connection is gone.
    pub fn break_off(&self) {
        self.inside.lock().broken = true;
    }

    /// What it took so far.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        self.inside.lock().taken.clone()
    }

    /// How the connection was ended, if the server did.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.inside.lock().closed.clone()
    }

    /// Waits until what was taken satisfies a condition.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn until<T>(&self, what: &str, mut found: impl FnMut(&[Taken]) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        loop {
            if let Some(found) = found(&self.inside.lock().taken) {
                return found;
            }
            if timeout(PATIENCE, changes.changed()).await.is_err() {
                panic!("not seen: {what}; taken: {:#?}", self.taken());
            }
        }
    }
}

impl fmt::Debug for RecordingOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordingOutlet")
    }
}

impl Outlet for RecordingOutlet {
    fn form(&self) -> &'static dyn WireForm {
        &JsonForm
    }

    fn set_waker(&self, waker: Waker) {
        self.inside.lock().waker = Some(waker);
    }

    fn offer(&self, frames: &[Frame]) -> Offered {
        let mut inside = self.inside.lock();
        if inside.broken {
            return Offered::Closed;
        }
        let some = frames.len().min(inside.room);
        for frame in &frames[..some] {
            let json = serde_json::from_slice(&frame.body).expect("frames are JSON");
            inside.taken.push(Taken { answer_to: frame.answer_to, json });
        }
        if inside.room != usize::MAX {
            inside.room -= some;
        }
        self.changed.send_modify(|count| *count += some);
        if some == frames.len() {
            return Offered::All;
        }
        inside.starved = true;
        Offered::Some(some)
    }

    fn close(&self, ending: &Ending) {
        self.inside.lock().closed.get_or_insert_with(|| ending.clone());
        self.changed.send_modify(|count| *count += 1);
    }
}
