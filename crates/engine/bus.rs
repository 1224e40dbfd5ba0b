//! The EventBus: events in, routed by their handlers, into the log; commits out to listeners.
//!
//! Guarantees: what the port in core says. Routing happens in `send`, pure and at once, so that the
//! order of the sends is the order in the log; a listener that is behind reads on from the log.
//! It is not a queue of its own: the log's is the only one between an emitter and the disk.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, Error, Event, Message, Pattern, Result, UserId,
    bus::{EventBus, Listener, Listening, Receipt, SendSlot, Slot},
    fault,
    handler::Route,
    log::{Appended, Committed, EventLog, LogSlot, Publication},
    panics,
    runtime::Tasks,
};
use tokio::sync::Notify;

use crate::registry::Registry;

/// What a send of a service counts for in the log's queue before its size is known, in bytes.
const ASSUMED_BYTES: usize = 16 * 1024;
/// How many messages wait for a listener in memory; one that is further behind reads from the log.
const LISTENER_QUEUE: usize = 1024;
/// How many messages a listener that is behind reads at once.
const CATCH_UP: usize = 256;
/// How long a listener that could not read on waits before it tries again.
const RETRY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;

/// The bus of a server.
pub struct Bus {
    registry: Arc<Registry>,
    log: Arc<dyn EventLog>,
    tasks: Arc<dyn Tasks>,
    ears: Arc<Mutex<Ears>>,
    debug: bool,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bus")
    }
}

#[derive(Default)]
struct Ears {
    ears: Vec<Arc<Ear>>,
    newest: u64,
}

/// One listener with its pattern and what waits for it.
struct Ear {
    pattern: Pattern,
    listener: Arc<dyn Listener>,
    waiting: Mutex<Waiting>,
    /// The newest global number that was given to the listener, or that it has passed over.
    done: AtomicU64,
    wake: Notify,
}

struct Waiting {
    queue: VecDeque<Committed>,
    /// The queue overflowed, or an announcement was lost: the log is read until it has no more.
    behind: bool,
    /// The newest global number that was announced.
    newest: u64,
    /// The newest global number before it fell behind: everything up to here was queued or not wanted.
    /// Reading on starts here, so that what was never wanted from before the start stays unread.
    complete: u64,
    /// How many handles keep it.
    handles: usize,
}

impl Bus {
    /// A bus over a log. In debug mode every event is logged, with its type and channel, not its data.
    #[must_use]
    pub fn new(registry: Arc<Registry>, log: Arc<dyn EventLog>, tasks: Arc<dyn Tasks>, debug: bool) -> Self {
        Self { registry, log, tasks, ears: Arc::default(), debug }
    }

    /// Waits for room for a send of so many bytes.
    ///
    /// # Errors
    /// As the log's `reserve`.
    pub async fn reserve_bytes(&self, bytes: usize) -> Result<RoutedSlot> {
        Ok(self.slot(self.log.reserve(bytes).await?))
    }

    fn slot(&self, slot: Box<dyn LogSlot>) -> RoutedSlot {
        RoutedSlot { slot, registry: self.registry.clone(), debug: self.debug }
    }

    /// Hears of commits; never waits.
    pub fn committed(&self, batch: &[Committed]) {
        let ears = {
            let mut ears = self.ears.lock();
            if let Some(last) = batch.last() {
                ears.newest = ears.newest.max(last.global);
            }
            ears.ears.clone()
        };
        for ear in ears {
            ear.take_in(batch);
        }
    }

    /// Hears that announcements were lost: every listener reads on from the log.
    pub fn uncertain(&self) {
        for ear in self.ears.lock().ears.clone() {
            let mut waiting = ear.waiting.lock();
            waiting.behind = true;
            waiting.newest = u64::MAX;
            drop(waiting);
            ear.wake.notify_one();
        }
    }
}

/// Room for one send whose events may be routed already.
pub struct RoutedSlot {
    slot: Box<dyn LogSlot>,
    registry: Arc<Registry>,
    debug: bool,
}

impl std::fmt::Debug for RoutedSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoutedSlot")
    }
}

impl RoutedSlot {
    /// Sends events whose routes are known, as one unit. Their ids and channels count against what the
    /// log allows the user, if there is one.
    pub fn send_routed(self, user: Option<UserId>, events: Vec<(Event, Route)>) -> Receipt {
        let mut homes = Vec::with_capacity(events.len());
        let mut publications = Vec::with_capacity(events.len());
        for (event, route) in events {
            homes.push(publications.len());
            self.publications(event, route, &mut publications);
        }
        metrics::counter!("tidings_events_in_total").increment(homes.len() as u64);
        let appended: Appended = match user {
            Some(user) => self.slot.send_for(user, publications),
            None => self.slot.send(publications),
        };
        Receipt::new(async move {
            let placed = appended.await.map_err(|error| of_event(error, &homes))?;
            Ok(homes.into_iter().filter_map(|index| placed.get(index).cloned()).collect())
        })
    }

    fn publications(&self, event: Event, route: Route, out: &mut Vec<Publication>) {
        if self.debug {
            tracing::info!(event_type = %event.event_type, channel = %route.home, "event");
        }
        let copies = route.copies.into_iter().filter_map(|copy| {
            let event_type = copy.event_type.parse().ok()?;
            let event = Event { event_type, payload: copy.payload, channel: None, by: event.by.clone(), id: None };
            let durable = self.registry.is_durable(&event.event_type);
            Some(Publication { channel: copy.channel, event, durable, opens: None })
        });
        let copies: Vec<Publication> = copies.collect();
        let durable = self.registry.is_durable(&event.event_type);
        out.push(Publication { channel: route.home, event, durable, opens: route.opens });
        out.extend(copies);
    }
}

/// The error of a publication as one of its event, of which the log knows nothing.
fn of_event(error: Error, homes: &[usize]) -> Error {
    let publication = error.entry().filter(|_| homes.len() > 1);
    error.at_entry(publication.map(|at| homes.partition_point(|home| *home <= at).saturating_sub(1)))
}

impl SendSlot for RoutedSlot {
    fn send(self: Box<Self>, events: Vec<Event>) -> Receipt {
        self.route_and_send(None, events)
    }

    fn send_for(self: Box<Self>, user: UserId, events: Vec<Event>) -> Receipt {
        self.route_and_send(Some(user), events)
    }
}

impl RoutedSlot {
    fn route_and_send(self, user: Option<UserId>, events: Vec<Event>) -> Receipt {
        let routed: Result<Vec<(Event, Route)>> = events
            .into_iter()
            .map(|mut event| {
                let route = self.registry.route(&mut event).inspect_err(|error| {
                    tracing::warn!(event_type = %event.event_type, %error, "an event that cannot be routed");
                    metrics::counter!("tidings_bus_refused_total", "code" => error.code().as_str()).increment(1);
                })?;
                Ok((event, route))
            })
            .collect();
        match routed {
            Ok(routed) => self.send_routed(user, routed),
            Err(error) => Receipt::new(std::future::ready(Err(error))),
        }
    }
}

impl EventBus for Bus {
    fn reserve(&self) -> BoxFuture<'_, Result<Slot>> {
        Box::pin(async move { Ok(Slot::new(Box::new(self.reserve_bytes(ASSUMED_BYTES).await?))) })
    }

    fn try_reserve(&self) -> Result<Slot> {
        Ok(Slot::new(Box::new(self.slot(self.log.try_reserve(ASSUMED_BYTES)?))))
    }

    fn on(&self, pattern: Pattern, listener: Arc<dyn Listener>) -> Listening {
        let mut ears = self.ears.lock();
        let known = ears.ears.iter().find(|ear| ear.pattern == pattern && Arc::ptr_eq(&ear.listener, &listener));
        let ear = if let Some(known) = known {
            known.waiting.lock().handles += 1;
            known.clone()
        } else {
            let (queue, newest) = (VecDeque::new(), ears.newest);
            let waiting = Waiting { queue, behind: false, newest, complete: newest, handles: 1 };
            let (waiting, done) = (Mutex::new(waiting), AtomicU64::new(newest));
            let ear = Arc::new(Ear { pattern, listener, waiting, done, wake: Notify::new() });
            ears.ears.push(ear.clone());
            let (own, log, tasks) = (ear.clone(), self.log.clone(), self.tasks.clone());
            let make =
                move |_| -> BoxFuture<'static, ()> { Box::pin(own.clone().listen(log.clone(), tasks.stopping())) };
            self.tasks.supervise("bus.listener", Box::new(make));
            ear
        };
        let all = self.ears.clone();
        Listening::new(move || {
            let mut all = all.lock();
            let mut waiting = ear.waiting.lock();
            waiting.handles -= 1;
            if waiting.handles == 0 {
                drop(waiting);
                all.ears.retain(|other| !Arc::ptr_eq(other, &ear));
                ear.wake.notify_one();
            }
        })
    }
}

enum Next {
    Message(Committed),
    CatchUp(u64),
    Wait,
    End,
}

impl Ear {
    fn wants(&self, message: &Message) -> bool {
        self.pattern.matches_event(&message.event_type)
    }

    fn take_in(&self, batch: &[Committed]) {
        let mut waiting = self.waiting.lock();
        for committed in batch {
            waiting.newest = waiting.newest.max(committed.global);
            let wanted = self.wants(&committed.message);
            waiting.behind |= wanted && waiting.queue.len() >= LISTENER_QUEUE;
            if !waiting.behind {
                waiting.complete = waiting.complete.max(committed.global);
                if wanted {
                    waiting.queue.push_back(committed.clone());
                }
            } else if wanted && committed.message.seq.is_none() {
                metrics::counter!("tidings_bus_ephemeral_dropped_total").increment(1);
            }
        }
        drop(waiting);
        self.wake.notify_one();
    }

    fn next(&self) -> Next {
        let mut waiting = self.waiting.lock();
        if waiting.handles == 0 {
            return Next::End;
        }
        match waiting.queue.pop_front() {
            Some(committed) => Next::Message(committed),
            None if waiting.behind => Next::CatchUp(waiting.complete),
            None => Next::Wait,
        }
    }

    /// Hears message after message until its last handle is dropped, or the server stops and nothing
    /// waits. Made again after a panic, it goes on with what waits.
    async fn listen(self: Arc<Self>, log: Arc<dyn EventLog>, mut stopping: BoxFuture<'static, ()>) {
        loop {
            fault::here("bus.listener");
            let done = self.done.load(Ordering::Relaxed);
            match self.next() {
                Next::Message(committed) => {
                    // What was read from the log may be announced only afterwards.
                    let fresh = committed.message.seq.is_none() || committed.global > done;
                    self.done.fetch_max(committed.global, Ordering::Relaxed);
                    if fresh {
                        self.hear(committed.message).await;
                    }
                }
                Next::CatchUp(complete) => match self.catch_up(&*log, done.max(complete)).await {
                    Ok(read) => drop(self.done.fetch_max(read, Ordering::Relaxed)),
                    Err(error) => {
                        let listener = self.listener.name();
                        tracing::warn!(listener, %error, "a listener cannot read on; it tries again");
                        tokio::select! {
                            () = tokio::time::sleep(RETRY) => {}
                            () = &mut stopping => return,
                        }
                    }
                },
                Next::Wait => tokio::select! {
                    () = self.wake.notified() => {}
                    () = &mut stopping => return,
                },
                Next::End => return,
            }
        }
    }

    /// Reads one part of what was missed. Back on the queue once nothing newer was announced.
    async fn catch_up(&self, log: &dyn EventLog, mut done: u64) -> Result<u64> {
        let read = log.feed(done, CATCH_UP).await?;
        let empty = read.is_empty();
        for committed in read {
            if self.waiting.lock().handles == 0 {
                return Ok(done);
            }
            done = committed.global;
            if self.wants(&committed.message) {
                self.hear(committed.message).await;
            }
        }
        let mut waiting = self.waiting.lock();
        if done >= waiting.newest || (empty && waiting.newest == u64::MAX) {
            waiting.behind = false;
            waiting.newest = done;
            waiting.complete = done;
        }
        Ok(done)
    }

    async fn hear(&self, message: Arc<Message>) {
        let name = self.listener.name().to_owned();
        let heard = panics::caught_in("bus.hear", async { self.listener.hear(message).await });
        let Err(why) = heard.await.flatten() else { return };
        metrics::counter!("tidings_bus_listener_failures_total").increment(1);
        tracing::error!(listener = name, %why, "a listener failed; the next event comes all the same");
    }
}
