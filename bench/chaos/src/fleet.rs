//! Many clients: their start, what they do, and the verdict on all of them.
//!
//! Guarantees: every client is a task that ends with the fleet; waiting for them ends at a time limit, and
//! who is missing then is told.
//! It does not publish: see `publisher`.

use std::{sync::Arc, thread, time::Duration};

use tidings_load::clock;
use tokio::{runtime::Handle, sync::watch, task::JoinSet};

use crate::{
    client::{Client, Manners, Phase, Shared},
    ledger::Ledger,
    random::Random,
    server::Server,
    tally::Tally,
    view::View,
};

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);
/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(30);

/// The clients.
#[derive(Debug)]
pub struct Fleet {
    runtime: Handle,
    tasks: JoinSet<()>,
    phase: watch::Sender<Phase>,
    ledger: Arc<Ledger>,
    clients: Vec<Shared>,
}

/// How to follow channels.
#[derive(Debug, Clone)]
pub struct Following {
    /// So many channels for a client, at most.
    pub channels: usize,
    /// What clients do beside reading.
    pub manners: Manners,
}

impl Fleet {
    /// A fleet without clients.
    #[must_use]
    pub fn new(runtime: &Handle, ledger: &Arc<Ledger>) -> Self {
        let (phase, _) = watch::channel(Phase::Run);
        Self { runtime: runtime.clone(), tasks: JoinSet::new(), phase, ledger: ledger.clone(), clients: Vec::new() }
    }

    /// Adds so many clients, each with chances of its own.
    pub fn add(&mut self, count: usize, server: &Server, following: &Following, random: &Random) {
        for index in self.clients.len()..self.clients.len() + count {
            let mut random = random.stream("client", index as u64);
            let most = following.channels.clamp(1, self.ledger.books().len());
            let first = random.within(0..self.ledger.books().len());
            let channels = (first..first + random.within(1..most + 1)).map(|it| it % self.ledger.books().len());
            let views = channels.map(|channel| View::new(channel, random.chance(0.5))).collect();
            let state = Shared::new(views);
            self.clients.push(state.clone());
            let client = Client {
                host: server.host(),
                token: server.token().into(),
                ledger: self.ledger.clone(),
                manners: following.manners.clone(),
                random,
                phase: self.phase.subscribe(),
                state,
            };
            self.tasks.spawn_on(client.run(), &self.runtime);
        }
    }

    /// How many clients there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many subscriptions they have together.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.clients.iter().map(|client| client.lock().views.len()).sum()
    }

    /// How many of them have all their subscriptions.
    #[must_use]
    pub fn live(&self) -> usize {
        self.clients.iter().filter(|client| client.lock().live).count()
    }

    /// Waits until all of them have all their subscriptions.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn wait_until_live(&self, limit: Duration) -> Result<(), String> {
        let all = until(limit, || self.live() == self.len());
        if all { Ok(()) } else { Err(format!("only {} of {} are there", self.live(), self.len())) }
    }

    /// Lets everybody only read, and waits until each has all that was acknowledged. False if that takes
    /// too long: the verdict then tells who lacks what.
    pub fn catch_up(&self, limit: Duration) -> bool {
        self.phase.send_replace(Phase::CatchUp);
        until(limit, || self.behind() == 0)
    }

    /// Lets everybody do again what their manners say.
    pub fn go_on(&self) {
        self.phase.send_replace(Phase::Run);
    }

    /// How many have not got everything.
    #[must_use]
    pub fn behind(&self) -> usize {
        let lacks = |client: &&Shared| {
            client.lock().views.iter().any(|view| !view.is_at_head(&self.ledger.books()[view.channel]))
        };
        self.clients.iter().filter(lacks).count()
    }

    /// Sends everybody away, and returns what they counted.
    pub fn leave(mut self) -> Tally {
        self.phase.send_replace(Phase::Leave);
        let mut tally = Tally::default();
        let limit = until(LEAVING, || {
            while self.tasks.try_join_next().is_some() {}
            self.tasks.is_empty()
        });
        if !limit {
            tally.is_broken(|| format!("{} clients do not end: the harness is at fault", self.tasks.len()));
        }
        for client in &self.clients {
            let mut state = client.lock();
            let mut own = std::mem::take(&mut state.tally);
            for view in &state.views {
                view.judge(&self.ledger.books()[view.channel], &mut own);
            }
            tally += &own;
        }
        tally
    }
}

/// Asks again and again until it is so. False if it is not within the time limit.
#[must_use]
pub fn until(limit: Duration, mut so: impl FnMut() -> bool) -> bool {
    let start = clock::now();
    while !so() {
        if clock::since(start) > limit {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}
