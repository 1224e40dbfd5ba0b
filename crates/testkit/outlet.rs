//! An outlet that records, and that a test can fill and free.
//!
//! Guarantees: what was taken stands in [`RecordingOutlet::taken`], in order, as JSON; a full one
//! refuses until it is given room.
//! It is not a socket: nothing leaves the process.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tidings_core::{
    outlet::{Ending, Offered, Outlet, Said},
    parcel::Parcel,
};
use tokio::{sync::watch, time::timeout};

use crate::PATIENCE;

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
    closed: Option<Ending>,
    broken: bool,
}

impl Inside {
    fn is_free(&self) -> bool {
        self.room > 0 || self.broken || self.closed.is_some()
    }
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

    /// Gives it this much room.
    pub fn set_room(&self, room: usize) {
        self.inside.lock().room = room;
        self.changed.send_modify(|count| *count += 1);
    }

    /// From now on the connection is gone.
    pub fn break_off(&self) {
        self.inside.lock().broken = true;
        self.changed.send_modify(|count| *count += 1);
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

    /// Waits until the server ends the connection: how it does.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn ended(&self) -> Ending {
        let mut changes = self.changed.subscribe();
        loop {
            if let Some(ending) = self.ending() {
                return ending;
            }
            assert!(timeout(PATIENCE, changes.changed()).await.is_ok(), "not ended; taken: {:#?}", self.taken());
        }
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

impl RecordingOutlet {
    fn take<T>(&self, offered: &[T], json: impl Fn(&T) -> Taken) -> Offered {
        let mut inside = self.inside.lock();
        if inside.broken {
            return Offered::Closed;
        }
        let some = offered.len().min(inside.room);
        inside.taken.extend(offered[..some].iter().map(json));
        if inside.room != usize::MAX {
            inside.room -= some;
        }
        self.changed.send_modify(|count| *count += some);
        if some == offered.len() { Offered::All } else { Offered::Full(some) }
    }
}

impl Outlet for RecordingOutlet {
    fn say(&self, said: &[Said]) -> Offered {
        self.take(said, |said| {
            let json = serde_json::from_slice(&said.json).expect("what is said is JSON");
            Taken { answer_to: said.answer_to, json }
        })
    }

    fn deliver(&self, parcel: &Parcel) -> Offered {
        self.take(parcel.messages(), |message| {
            let json = serde_json::from_str(&message.to_json(0)).expect("messages are JSON");
            Taken { answer_to: None, json }
        })
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let mut changes = self.changed.subscribe();
            while !self.inside.lock().is_free() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn close(&self, ending: &Ending) {
        self.inside.lock().closed.get_or_insert_with(|| ending.clone());
        self.changed.send_modify(|count| *count += 1);
    }
}
