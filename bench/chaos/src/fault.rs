//! What all faults share: the run that they are part of, the load under which they happen, and what must
//! hold after each.
//!
//! Guarantees: after a fault the server is ready, has let everything go that its clients took, and its log
//! is what the ledger says; none of that is skipped when something else was wrong before.
//! It breaks nothing itself: see `faults`.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::runtime::Handle;

use crate::{
    fleet::{Fleet, until},
    ledger::{Book, Leave, Ledger},
    outcome::Outcome,
    publisher::{Filling, Job, Publishers},
    random::Random,
    server::{Footprint, Server, Yard, timed},
    tally::Tally,
};

/// How long it may take until a server has let everything go.
const LETTING_GO: Duration = Duration::from_secs(40);
/// Messages of each channel before a restart: more than a look at a channel ever takes at once, so that
/// a server that keeps only so many is found.
pub const SOME_HISTORY: usize = 150;
/// How long readiness may take to come back.
const READY: Duration = Duration::from_secs(30);
/// What a server may keep of memory when everybody left, in bytes: what the channels keep and what its
/// allocator does, and something for each client that there was.
const KEPT_MEMORY: (f64, f64) = (64e6, 20e3);
/// The log's readers open their files when they are first needed.
const KEPT_FILES: usize = 24;

/// The run that a fault is part of.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where servers come from.
    pub yard: Yard,
    /// Where clients run.
    pub runtime: Handle,
    /// Its chances.
    pub random: Random,
    /// The number of clients.
    pub clients: usize,
    /// How long a fault lasts.
    pub lasting: Duration,
    /// A run in small, of programs that are not optimised.
    pub quick: bool,
    /// Whether disks may be mounted.
    pub mounts: bool,
    /// The program that can be told to panic, if it is not the one that is broken otherwise.
    pub with_faults: Option<PathBuf>,
}

impl Run {
    /// So many channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        if self.quick { 5 } else { 50 }
    }

    /// The events that are published beside most faults.
    #[must_use]
    pub fn job(&self) -> Job {
        Job { rate: if self.quick { 40.0 } else { 200.0 }, batch: 1..4, content: 20..400 }
    }

    /// How long it may take until everybody is there, or has everything.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(if self.quick { 30 } else { 90 })
    }
}

/// A server with clients and producers.
#[derive(Debug)]
pub struct Scene {
    /// The server.
    pub server: Server,
    /// What is known.
    pub ledger: Arc<Ledger>,
    /// The clients.
    pub fleet: Fleet,
    /// The producers, while there are any.
    pub publishers: Option<Publishers>,
    /// What was counted so far.
    pub tally: Tally,
    /// What the server took before anybody came.
    pub before: Footprint,
    /// The name of the fault.
    name: &'static str,
    random: Random,
    rounds: usize,
    published: u64,
    acknowledged: u64,
    refusals: Vec<String>,
}

impl Scene {
    /// Starts a server.
    ///
    /// # Errors
    /// If it does not start.
    pub fn new(run: &Run, name: &'static str, config: &str) -> Result<Self, String> {
        let server = Server::start(&run.yard, name, config)?;
        Self::around(server, run, name)
    }

    /// The scene around a server that runs.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn around(server: Server, run: &Run, name: &'static str) -> Result<Self, String> {
        Self::with(server, run, name, run.channels())
    }

    /// The same, with so many channels.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn with(server: Server, run: &Run, name: &'static str, channels: usize) -> Result<Self, String> {
        let ledger = Arc::new(Ledger::new(name, channels));
        Ok(Self {
            before: server.footprint()?,
            fleet: Fleet::new(&run.runtime, &ledger),
            server,
            ledger,
            publishers: None,
            tally: Tally::default(),
            name,
            random: run.random.stream(name, 0),
            rounds: 0,
            published: 0,
            acknowledged: 0,
            refusals: Vec::new(),
        })
    }

    /// Chances of this fault.
    #[must_use]
    pub fn chances(&self, what: &str) -> Random {
        self.random.stream(what, 0)
    }

    /// Publishes so many events to each channel, and waits until all are acknowledged.
    pub fn fill(&mut self, each: usize, job: &Job) {
        self.fill_some(each, job, |_| true);
    }

    /// The same, to some of them only.
    pub fn fill_some(&mut self, each: usize, job: &Job, wanted: fn(&Book) -> bool) {
        self.finish_publishing();
        let name = format!("{}fill{}", self.name, self.rounds);
        self.rounds += 1;
        let filling = Filling { each, wanted };
        self.publishers = Some(Publishers::fill(&self.server, &self.ledger, job, &self.random, &name, filling));
        self.finish_publishing();
    }

    /// Ends the server and starts it again: how long each took. What it kept of a channel before, it has to
    /// keep after, unless `leave` says otherwise.
    ///
    /// # Errors
    /// If it does not end, or not become ready.
    pub fn restart(
        &mut self,
        end: impl FnOnce(&mut Server) -> Result<(), String>,
        leave: Leave,
    ) -> Result<(Duration, Duration), String> {
        for book in self.ledger.books() {
            book.keeps_from(self.server.first(&book.name)?);
        }
        let (ended, ending) = timed(|| end(&mut self.server));
        ended?;
        let (started, starting) = timed(|| self.server.start_again());
        started?;
        self.hold_firsts(leave)?;
        Ok((ending, starting))
    }

    /// Holds the beginning of every channel against what it was before the restart.
    fn hold_firsts(&mut self, leave: Leave) -> Result<(), String> {
        for book in self.ledger.books().iter().filter(|_| leave == Leave::default()) {
            book.holds_first(self.server.first(&book.name)?, &mut self.tally);
        }
        Ok(())
    }

    /// Lets producers begin.
    pub fn publish(&mut self, job: &Job) {
        self.finish_publishing();
        let name = format!("{}{}", self.name, self.rounds);
        self.rounds += 1;
        self.publishers = Some(Publishers::start(&self.server, &self.ledger, job, &self.random, &name));
    }

    /// Lets them settle what they sent, and stop.
    pub fn finish_publishing(&mut self) {
        let Some(publishers) = self.publishers.take() else { return };
        let counts = publishers.finish(&mut self.tally);
        self.published += counts.published.load(Ordering::Relaxed);
        self.acknowledged += counts.acknowledged.load(Ordering::Relaxed);
        let refusals = counts.refusals_told();
        if !refusals.is_empty() {
            self.refusals.push(refusals);
        }
    }

    /// The end of every fault: everybody catches up, the log is audited, everybody leaves, and the server
    /// must be as it was.
    #[must_use]
    pub fn end(mut self, run: &Run, leave: Leave) -> Outcome {
        self.finish_publishing();
        if !self.fleet.catch_up(run.patience()) {
            self.tally.note(|| format!("{} clients do not get to the head", self.fleet.behind()));
        }
        self.audit(leave);
        let clients = self.fleet.len();
        let peak = self.server.process().and_then(tidings_load::process::Process::peak).unwrap_or_default();
        self.tally += &self.fleet.leave();
        let (after, letting_go) = timed(|| aftermath(&self.server, self.before, clients, &mut self.tally));
        let panics = self.server.panics();
        if panics > 0 {
            self.tally.is_broken(|| format!("{panics} panics in the server; {}", self.server.last_words()));
        }
        let mut facts = vec![format!("let go of everything in {:.1} s", letting_go.as_secs_f64())];
        facts.extend(self.refusals.iter().map(|told| format!("tried again ({told})")));
        let ends = self.tally.ends.iter().map(|(why, count)| format!("{why}: {count}")).collect::<Vec<_>>();
        facts.extend((!ends.is_empty()).then(|| format!("connections ended ({})", ends.join(", "))));
        Outcome {
            fault: self.name,
            clients,
            published: self.published,
            acknowledged: self.acknowledged,
            tally: self.tally,
            peak,
            after: after.unwrap_or_default().memory,
            facts,
            ..Outcome::default()
        }
    }

    fn audit(&mut self, leave: Leave) {
        for book in self.ledger.books() {
            match self.server.history(&book.name) {
                Ok(history) => book.audit(&history, leave, &mut self.tally),
                Err(error) => self.tally.is_broken(|| format!("the history cannot be read: {error}")),
            }
        }
    }
}

/// Waits until the server is ready and has let everything go, and says what it takes then.
fn aftermath(server: &Server, before: Footprint, clients: usize, tally: &mut Tally) -> Option<Footprint> {
    if !until(READY, || server.is_ready()) {
        tally.is_broken(|| format!("it does not become ready again; {}", server.last_words()));
    }
    let mut found = None;
    let as_before = |now: Footprint| {
        now.connections == 0.0
            && now.subscriptions <= before.subscriptions.max(1.0)
            && now.files <= before.files + KEPT_FILES
            && now.memory <= before.memory + KEPT_MEMORY.0 + KEPT_MEMORY.1 * clients as f64
    };
    let let_go = until(LETTING_GO, || {
        found = server.footprint().ok();
        found.is_some_and(as_before)
    });
    if !let_go {
        tally.is_broken(|| format!("it keeps what clients had: {found:?}, before them {before:?}"));
    }
    found
}
