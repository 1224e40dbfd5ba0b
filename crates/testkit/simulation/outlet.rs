//! An outlet as a pipe: it holds so many frames, and its client takes them out when it likes.
//!
//! Guarantees: it keeps the port's rules, and uses all that they allow: it is full early, full
//! exactly at the end of an offer, and full until somebody has waited; what is in it when the
//! connection breaks is lost, as in a socket's buffers.
//! It is not a judge of what passes through.

use std::{collections::VecDeque, fmt, sync::Arc};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidings_core::{
    Message,
    outlet::{Ending, Offered, Outlet, Said},
    parcel::Parcel,
};
use tokio::sync::Notify;

use super::{Dice, SimulatedLog};

/// What left the server.
#[derive(Debug, Clone)]
pub enum Sent {
    /// An answer or a notice.
    Said(Said),
    /// A message.
    Message(Arc<Message>),
}

#[derive(Default)]
struct Inside {
    pipe: VecDeque<Sent>,
    capacity: usize,
    full: bool,
    broken: bool,
    ending: Option<Ending>,
}

impl Inside {
    fn is_over(&self) -> bool {
        self.broken || self.ending.is_some()
    }
}

/// The outlet.
pub struct SimulatedOutlet {
    dice: Arc<Dice>,
    log: Arc<SimulatedLog>,
    inside: Mutex<Inside>,
    changed: Notify,
}

impl SimulatedOutlet {
    /// A pipe of so many frames. While it is written to, the log's thread may get on.
    #[must_use]
    pub fn of(capacity: usize, dice: Arc<Dice>, log: Arc<SimulatedLog>) -> Arc<Self> {
        let inside = Mutex::new(Inside { capacity, ..Inside::default() });
        Arc::new(Self { dice, log, inside, changed: Notify::new() })
    }

    /// Makes it hold so many frames.
    pub fn set_capacity(&self, capacity: usize) {
        self.inside.lock().capacity = capacity;
        self.changed.notify_waiters();
    }

    /// The client takes the next frame out.
    pub fn take(&self) -> Option<Sent> {
        let sent = self.inside.lock().pipe.pop_front();
        self.changed.notify_waiters();
        sent
    }

    /// How many frames are in it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inside.lock().pipe.len()
    }

    /// Whether the server ended the connection, and how.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.inside.lock().ending.clone()
    }

    /// From now on the connection is gone, with what was in the pipe.
    pub fn break_off(&self) {
        let mut inside = self.inside.lock();
        inside.broken = true;
        inside.pipe.clear();
        drop(inside);
        self.changed.notify_waiters();
    }

    fn offer<T>(&self, offered: &[T], sent: impl Fn(&T) -> Sent) -> Offered {
        self.log.meanwhile();
        let mut inside = self.inside.lock();
        if inside.is_over() {
            return Offered::Closed;
        }
        if inside.full {
            return Offered::Full(0);
        }
        let room = inside.capacity.saturating_sub(inside.pipe.len());
        let some = offered.len().min(room);
        inside.pipe.extend(offered[..some].iter().map(sent));
        let full = some < offered.len() || (some == room && some > 0 && self.dice.chance(50));
        inside.full = full;
        drop(inside);
        self.log.meanwhile();
        if full { Offered::Full(some) } else { Offered::All }
    }
}

impl Outlet for SimulatedOutlet {
    fn say(&self, said: &[Said]) -> Offered {
        self.offer(said, |said| Sent::Said(said.clone()))
    }

    fn deliver(&self, parcel: &Parcel) -> Offered {
        self.offer(parcel.messages(), |message| Sent::Message(message.clone()))
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                let changed = self.changed.notified();
                {
                    let mut inside = self.inside.lock();
                    if inside.is_over() || inside.pipe.len() < inside.capacity {
                        inside.full = false;
                        return;
                    }
                }
                changed.await;
            }
        })
    }

    fn close(&self, ending: &Ending) {
        self.inside.lock().ending.get_or_insert_with(|| ending.clone());
        self.changed.notify_waiters();
    }
}

impl fmt::Debug for SimulatedOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedOutlet")
    }
}
