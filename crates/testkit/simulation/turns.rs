//! Tasks of a simulated world: one thread, and the dice say who goes on next.
//!
//! Guarantees: of the tasks that could go on, any may be the next, whoever was woken first; some are
//! slow for all their life, so that a task can be overtaken by far; a run depends on the dice alone.
//! It is not a runtime: it has no timers, and nothing runs but in [`Turns::step`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use futures_util::future::{BoxFuture, poll_fn};
use parking_lot::Mutex;
use tidings_core::runtime::{Make, Tasks};
use tokio::sync::watch;

use super::Dice;

/// How often a task steps back when it is its turn, in percent; drawn for each task.
const SLOWNESS: &[usize] = &[0, 0, 0, 50, 90];

type Ready = Arc<Mutex<BTreeSet<u64>>>;

struct Task {
    name: &'static str,
    slow: usize,
    waker: Waker,
    /// None while it runs.
    future: Option<BoxFuture<'static, ()>>,
}

/// The [`Tasks`] of a simulated world.
pub struct Turns {
    dice: Arc<Dice>,
    tasks: Mutex<(u64, BTreeMap<u64, Task>)>,
    ready: Ready,
    stopping: watch::Sender<bool>,
}

struct Wakes {
    id: u64,
    ready: Ready,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.ready.lock().insert(self.id);
    }
}

impl Turns {
    /// No tasks yet.
    #[must_use]
    pub fn new(dice: Arc<Dice>) -> Arc<Self> {
        Arc::new(Self { dice, tasks: Mutex::default(), ready: Ready::default(), stopping: watch::Sender::new(false) })
    }

    /// Lets one task go on, if any can. Its name.
    pub fn step(&self) -> Option<&'static str> {
        let id = self.choose()?;
        let taken = self.tasks.lock().1.get_mut(&id).map(|task| (task.name, task.waker.clone(), task.future.take()));
        let Some((name, waker, Some(mut future))) = taken else { return Some("ended") };
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => drop(self.tasks.lock().1.remove(&id)),
            Poll::Pending => {
                if let Some(task) = self.tasks.lock().1.get_mut(&id) {
                    task.future = Some(future);
                }
            }
        }
        Some(name)
    }

    fn choose(&self) -> Option<u64> {
        let mut ready = self.ready.lock();
        let tasks = self.tasks.lock();
        let mut tries = 0;
        loop {
            let id = *ready.iter().nth(self.dice.below(ready.len()))?;
            let slow = tasks.1.get(&id).map_or(0, |task| task.slow);
            tries += 1;
            if tries > 3 || ready.len() == 1 || !self.dice.chance(slow) {
                ready.remove(&id);
                return Some(id);
            }
        }
    }

    /// The names of the tasks that have not ended, in the order in which they began.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        self.tasks.lock().1.values().map(|task| task.name).collect()
    }

    /// Drops all tasks where they stand, as the end of a process does.
    pub fn abandon(&self) {
        let tasks = std::mem::take(&mut self.tasks.lock().1);
        drop(tasks);
        self.ready.lock().clear();
    }

    /// Says that the server is stopping.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

impl Tasks for Turns {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        let slow = *self.dice.one_of(SLOWNESS);
        let mut tasks = self.tasks.lock();
        tasks.0 += 1;
        let id = tasks.0;
        let waker = Waker::from(Arc::new(Wakes { id, ready: self.ready.clone() }));
        tasks.1.insert(id, Task { name, slow, waker, future: Some(future) });
        drop(tasks);
        self.ready.lock().insert(id);
    }

    fn supervise(&self, name: &'static str, mut make: Make) {
        // A panic ends the simulation where it is: it can be repeated from its seed.
        self.spawn(name, make(0));
    }

    fn stopping(&self) -> BoxFuture<'static, ()> {
        let mut stopping = self.stopping.subscribe();
        Box::pin(async move {
            // An error means that the tasks are gone, which is a stop as well.
            drop(stopping.wait_for(|stopping| *stopping).await);
        })
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turns({:?})", self.running())
    }
}

/// Lets others go on so many times.
pub async fn pass_turns(mut turns: usize) {
    poll_fn(|context| {
        if turns == 0 {
            return Poll::Ready(());
        }
        turns -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
