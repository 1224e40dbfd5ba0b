//! What waits for the writer, and the room that it takes.
//!
//! Guarantees: bounded by count and by bytes, from the reservation until the answer; what is pushed
//! is taken in the order of the pushes; once closed, nothing comes in and what is there comes out.
//! It is not fair by itself: the schedule is.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tidings_core::{
    Channel, Error, Result, UserId,
    bus::Placed,
    log::{Publication, Remembered, SavedState},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

/// Where an answer goes.
pub(super) type To<T> = oneshot::Sender<Result<T>>;

/// Something for the writer to do.
pub(super) enum Work {
    Send { publications: Vec<Publication>, to: To<Vec<Placed>> },
    SaveState { channel: Channel, state: SavedState, to: To<()> },
    Delete { channel: Channel, to: To<()> },
    BeginCommand { user: UserId, id: String, digest: String, to: To<Option<Remembered>> },
    EndCommand { user: UserId, id: String, answer: Option<String>, to: To<()> },
}

/// Room in the queue, given back when dropped.
pub(super) struct Room {
    _count: OwnedSemaphorePermit,
    _bytes: Option<OwnedSemaphorePermit>,
}

/// One piece of work that waits.
pub(super) struct Entry {
    pub(super) work: Work,
    room: Room,
    waiting: Arc<AtomicUsize>,
}

impl Entry {
    /// The work, and its room, which is to be kept until it is answered.
    pub(super) fn open(self) -> (Work, Room) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        (self.work, self.room)
    }

    /// Answers that it cannot be done.
    pub(super) fn refuse(self, error: Error) {
        let (work, _room) = self.open();
        work.refuse(error);
    }

    /// Whether nothing of it is to be written.
    pub(super) fn is_ephemeral(&self) -> bool {
        matches!(&self.work, Work::Send { publications, .. } if publications.iter().all(|one| !one.durable))
    }
}

impl Work {
    /// The channels whose order it belongs to.
    pub(super) fn channels(&self) -> impl Iterator<Item = &Channel> {
        let (publications, one): (&[Publication], Option<&Channel>) = match self {
            Self::Send { publications, .. } => (publications, None),
            Self::SaveState { channel, .. } | Self::Delete { channel, .. } => (&[], Some(channel)),
            Self::BeginCommand { .. } | Self::EndCommand { .. } => (&[], None),
        };
        publications.iter().map(|publication| &publication.channel).chain(one)
    }

    /// How many rows it makes, about.
    pub(super) fn rows(&self) -> usize {
        if let Self::Send { publications, .. } = self { publications.len().max(1) } else { 1 }
    }

    /// How many bytes it writes, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Send { publications, .. } => {
                publications.iter().map(|one| one.event.payload.json().len() + 128).sum()
            }
            Self::SaveState { state, .. } => state.bytes.len(),
            Self::EndCommand { answer, .. } => answer.as_ref().map_or(0, String::len),
            Self::Delete { .. } | Self::BeginCommand { .. } => 0,
        }
    }

    /// Answers that it cannot be done.
    fn refuse(self, error: Error) {
        // Whoever dropped the receipt does not want to know.
        match self {
            Self::Send { to, .. } => drop(to.send(Err(error))),
            Self::SaveState { to, .. } | Self::Delete { to, .. } | Self::EndCommand { to, .. } => {
                drop(to.send(Err(error)));
            }
            Self::BeginCommand { to, .. } => drop(to.send(Err(error))),
        }
    }
}

pub(super) fn closed() -> Error {
    Error::unavailable("the log is closed")
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    closed: bool,
}

/// The queue.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    arrival: Condvar,
    end: Condvar,
    count: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    most_bytes: u32,
    waiting: Arc<AtomicUsize>,
}

impl Queue {
    pub(super) fn new(count: usize, bytes: usize) -> Self {
        let most_bytes = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        Self {
            inner: Mutex::default(),
            arrival: Condvar::new(),
            end: Condvar::new(),
            count: Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(most_bytes as usize)),
            most_bytes,
            waiting: Arc::default(),
        }
    }

    /// A send larger than the whole queue waits until it has it alone.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.most_bytes)
    }

    /// Waits for room.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<Room> {
        let count = self.count.clone().acquire_owned().await.map_err(|_| closed())?;
        let bytes = match self.permits(bytes) {
            0 => None,
            permits => Some(self.bytes.clone().acquire_many_owned(permits).await.map_err(|_| closed())?),
        };
        Ok(Room { _count: count, _bytes: bytes })
    }

    /// Room, if there is some now.
    pub(super) fn try_reserve(&self, bytes: usize) -> Result<Room> {
        let refused = |error| match error {
            TryAcquireError::Closed => closed(),
            TryAcquireError::NoPermits => Error::overloaded("the log has more to write than it may hold"),
        };
        let count = self.count.clone().try_acquire_owned().map_err(refused)?;
        let bytes = match self.permits(bytes) {
            0 => None,
            permits => Some(self.bytes.clone().try_acquire_many_owned(permits).map_err(refused)?),
        };
        Ok(Room { _count: count, _bytes: bytes })
    }

    /// Puts work at the end. Refuses it when closed.
    pub(super) fn push(&self, work: Work, room: Room) {
        let mut inner = self.inner.lock();
        if inner.closed {
            drop(inner);
            work.refuse(closed());
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        inner.entries.push(Entry { work, room, waiting: self.waiting.clone() });
        drop(inner);
        self.arrival.notify_one();
    }

    /// Moves all that came to the end of `taken`, and waits up to `patience` for something if
    /// nothing is there. Says whether the queue is closed.
    pub(super) fn take(&self, taken: &mut VecDeque<Entry>, patience: Duration) -> bool {
        let mut inner = self.inner.lock();
        if taken.is_empty() && inner.entries.is_empty() && !inner.closed && !patience.is_zero() {
            self.arrival.wait_for(&mut inner, patience);
        }
        taken.extend(inner.entries.drain(..));
        inner.closed
    }

    /// Has whoever waits in [`Queue::take`] come back, though nothing is there.
    pub(super) fn wake(&self) {
        self.arrival.notify_all();
    }

    /// Waits until the queue is closed, or so long.
    pub(super) fn pause(&self, time: Duration) {
        let mut inner = self.inner.lock();
        if !inner.closed {
            self.end.wait_for(&mut inner, time);
        }
    }

    /// Refuses everything from now on.
    pub(super) fn close(&self) {
        self.count.close();
        self.bytes.close();
        self.inner.lock().closed = true;
        self.arrival.notify_all();
        self.end.notify_all();
    }

    /// How much waits.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
