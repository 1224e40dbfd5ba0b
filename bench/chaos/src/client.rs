//! A client as people have them: it follows its channels, is cut off, comes back and goes on.
//!
//! Guarantees: it goes on from the last message that it saw, waits before it comes back as socket.io-client
//! does or as the server asked, and answers pings; every command is watched until its answer.
//! It does not judge what it saw: its views and the ledger do. One connection of it is in [`talk`].

mod talk;

use std::{
    fmt,
    net::SocketAddr,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    ledger::Ledger,
    link::{Link, NoLink},
    random::Random,
    tally::Tally,
    view::View,
};

use talk::{End, Talk};

/// What clients do at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// What their manners say.
    Run,
    /// Only read, so that everybody gets to the head.
    CatchUp,
    /// End in order.
    Leave,
}

/// What a client does beside reading. Each range is the time between two such things.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// It cuts its connection.
    pub cut: Option<Range<Duration>>,
    /// It stops reading.
    pub pause: Option<Range<Duration>>,
    /// For so long.
    pub pausing: Range<Duration>,
    /// It sends a command.
    pub act: Option<Range<Duration>>,
    /// Its socket is soon full.
    pub narrow: bool,
    /// Its server panics on purpose: it may end a connection for that.
    pub faults: bool,
    /// Its first connection goes another way.
    pub first_through: Option<SocketAddr>,
}

/// What is known of a client.
#[derive(Debug, Default)]
pub struct State {
    /// Its channels.
    pub views: Vec<View>,
    /// What it counted.
    pub tally: Tally,
    /// Whether every subscription of it stands.
    pub live: bool,
}

/// The same, for the client and for whoever looks at it.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// The state of a client that follows these channels.
    #[must_use]
    pub fn new(views: Vec<View>) -> Self {
        Self(Arc::new(Mutex::new(State { views, ..State::default() })))
    }

    /// Looks at it. Nobody may wait for anything meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(out)
    }
}

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Where the server is.
    pub host: SocketAddr,
    /// What it logs in with.
    pub token: Arc<str>,
    /// What everybody saw.
    pub ledger: Arc<Ledger>,
    /// What it does beside reading.
    pub manners: Manners,
    /// Its chances.
    pub random: Random,
    /// What it is told to do.
    pub phase: watch::Receiver<Phase>,
    /// What it knows.
    pub state: Shared,
}

/// What a client waits before it comes back: at first, and at most.
const RETURN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

impl Client {
    /// Lives until it is told to leave.
    pub async fn run(mut self) {
        let (mut failures, mut first) = (0, true);
        loop {
            let host = self.manners.first_through.filter(|_| first).unwrap_or(self.host);
            let opened = tokio::select! {
                opened = Link::open(host, self.manners.narrow) => opened,
                () = self.is_sent_away() => return,
            };
            let mut back_at = None;
            match opened {
                Ok(link) => {
                    self.state.lock().tally.reconnects += u64::from(!first);
                    first = false;
                    let end = Talk::new(&mut self, link).run().await;
                    let mut state = self.state.lock();
                    failures = if state.live { 0 } else { failures + 1 };
                    state.live = false;
                    state.views.iter_mut().for_each(|view| view.attached = false);
                    match end {
                        End::Left | End::ForGood => return,
                        End::Cut => {
                            failures = 0;
                            state.tally.ended("cut by the client");
                        }
                        End::Lost(why) => state.tally.ended(&why),
                        End::Asked(at) => {
                            back_at = Some(at);
                            state.tally.ended("asked to come back");
                        }
                    }
                }
                Err(NoLink::Unreachable) => {
                    failures += 1;
                    self.state.lock().tally.ended("unreachable");
                }
                Err(NoLink::Status(503)) => {
                    failures += 1;
                    self.state.lock().tally.ended("503");
                }
                Err(NoLink::Status(status)) => {
                    failures += 1;
                    self.state.lock().tally.is_broken(|| format!("no WebSocket: HTTP status {status}"));
                }
            }
            let back_at = back_at.unwrap_or_else(|| Instant::now() + self.back_off(failures));
            tokio::select! {
                () = sleep_until(back_at) => {}
                () = self.is_sent_away() => return,
            }
        }
    }

    async fn is_sent_away(&self) {
        // An error means that whoever could send it away is gone.
        self.phase.clone().wait_for(|phase| *phase == Phase::Leave).await.map(drop).unwrap_or_default();
    }

    /// Longer after each failure, and never the same for two.
    fn back_off(&mut self, failures: u32) -> Duration {
        let longest = (RETURN.0 * 2u32.saturating_pow(failures.min(8))).min(RETURN.1);
        self.random.time(&(longest / 4..longest))
    }
}
