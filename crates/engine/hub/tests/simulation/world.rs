//! A simulated server with its clients, and what may happen to them.
//!
//! Guarantees: everything that happens is drawn from one seed; every step leaves a line in the trace.
//! It is not a mock: hub, states, bus and registry are the real ones.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tidings_core::{
    Channel, Code, Event, Payload, Principal, Seq,
    log::{EventLog, Publication},
    outlet::Ending,
    runtime::Tasks,
};
use tidings_testkit::{Dice, Faults, MemoryConfig, SimulatedLog, SimulatedOutlet, TestClock, Turns};

use super::{
    super::{
        super::{Hub, HubConfig, fanout::spread, subscription::Phase},
        world::Counts,
    },
    client::Client,
    figures::Figures,
    ledger::{Asked, Ledger, Wants},
};
use crate::{bus::Bus, registry::Registry, sink::EngineSink, states::StateStore};

/// How many steps a failure shows.
const SHOWN: usize = 200;
const WORKERS: usize = 2;
/// A run that does not calm down within so many turns never does.
const MOST_TURNS: u64 = 100_000;

/// One process: it can die, and another one can follow it over the same log.
pub(super) struct Node {
    pub(super) hub: Arc<Hub>,
    pub(super) log: Arc<SimulatedLog>,
    pub(super) turns: Arc<Turns>,
}

/// What the steps reached.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Troubles {
    pub(super) trimmed_in_replay: u64,
    pub(super) asked_while_epoch_changed: u64,
    pub(super) unsubscribed_behind: u64,
    pub(super) closed_in_replay: u64,
    pub(super) replaced_behind: u64,
    pub(super) held_behind: u64,
    pub(super) restarts: u64,
}

impl Troubles {
    pub(super) fn add(&mut self, other: &Self) {
        self.trimmed_in_replay += other.trimmed_in_replay;
        self.asked_while_epoch_changed += other.asked_while_epoch_changed;
        self.unsubscribed_behind += other.unsubscribed_behind;
        self.closed_in_replay += other.closed_in_replay;
        self.replaced_behind += other.replaced_behind;
        self.held_behind += other.held_behind;
        self.restarts += other.restarts;
    }
}

pub(super) struct World {
    pub(super) dice: Arc<Dice>,
    pub(super) clock: Arc<TestClock>,
    pub(super) figures: Arc<Figures>,
    pub(super) node: Node,
    pub(super) clients: Vec<Client>,
    pub(super) channels: Arc<[Channel]>,
    pub(super) troubles: Troubles,
    pub(super) trace: VecDeque<(&'static str, [u64; 3])>,
    pub(super) faults: Faults,
    pub(super) turns_done: u64,
    runtime: tokio::runtime::Runtime,
    config: HubConfig,
    published: u64,
    /// Where subscriptions stood when they were held, by the number of the reason.
    held: BTreeMap<u64, Seq>,
}

impl World {
    /// A world of so many clients, whose figures are counted in `figures`.
    pub(super) fn new(dice: Arc<Dice>, figures: Arc<Figures>, clients: usize, ring: usize) -> Self {
        // Timers are tokio's, its clock stands still, and none of its threads does anything.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let clock = TestClock::new();
        let config = MemoryConfig { projected: HashSet::from(["count".to_owned()]), ..MemoryConfig::default() };
        let log = SimulatedLog::new(config, clock.clone(), dice.clone());
        let config = HubConfig { ring_messages: ring, workers: WORKERS, ..HubConfig::default() };
        let node = start(&config, log, &clock, &dice);
        let channels = ["count:a", "plain:b", "count:c"].iter().enumerate().map(|(at, name)| on_worker(name, at));
        let mut world = Self {
            dice,
            clock,
            figures,
            node,
            clients: Vec::new(),
            channels: channels.collect(),
            troubles: Troubles::default(),
            trace: VecDeque::new(),
            faults: Faults::default(),
            turns_done: 0,
            runtime,
            config,
            published: 0,
            held: BTreeMap::new(),
        };
        for client in 0..clients {
            let client = world.client(client);
            world.clients.push(client);
        }
        world
    }

    pub(super) fn client(&self, number: usize) -> Client {
        let mut user = Principal::server();
        user.user = format!("u{number}").parse().expect("an id");
        let ledger = Ledger::new(self.node.log.clone(), self.channels.clone());
        Client::connect(user, (&self.node.hub, &*self.node.turns), self.outlet(), ledger)
    }

    pub(super) fn outlet(&self) -> Arc<SimulatedOutlet> {
        let capacity = *self.dice.one_of(&[1, 3, 16, 64, 256]);
        SimulatedOutlet::of(capacity, self.dice.clone(), self.node.log.clone())
    }

    pub(super) fn note(&mut self, what: &'static str, with: [u64; 3]) {
        if self.trace.len() == SHOWN {
            self.trace.pop_front();
        }
        self.trace.push_back((what, with));
    }

    /// Lets up to so many tasks go on, one after the other. Whether one could at the end.
    pub(super) fn turn(&mut self, most: usize) -> bool {
        let (turns, runtime) = (self.node.turns.clone(), self.runtime.handle().clone());
        let _inside = runtime.enter();
        for _ in 0..most {
            let Some(name) = turns.step() else { return false };
            self.turns_done += 1;
            assert!(self.turns_done < MOST_TURNS, "it does not calm down: {:?}", self.node.turns);
            self.note(name, [0; 3]);
        }
        true
    }

    /// Lets time pass, and timers that are due go off.
    pub(super) fn advance(&mut self, time: Duration) {
        self.note("time passes, ms", [u64::try_from(time.as_millis()).unwrap_or(u64::MAX), 0, 0]);
        self.clock.advance(time);
        self.runtime.block_on(tokio::time::advance(time));
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        self.node.log.set_faults(faults);
    }

    /// Sends messages to a channel as one transaction; so many of a hundred are ephemeral.
    pub(super) fn publish(&mut self, channel: usize, count: usize, ephemeral: usize) {
        self.note("publish to, messages, from n", [channel as u64, count as u64, self.published + 1]);
        let publications = (0..count).map(|_| {
            self.published += 1;
            let (n, durable) = (self.published, !self.dice.chance(ephemeral));
            let event = Event {
                event_type: if durable { "count.up" } else { "count.beat" }.parse().expect("a type"),
                payload: Payload::kept(&format!(r#"{{"half":{},"n":{n}}}"#, n % 2)),
                channel: None,
                by: None,
                id: None,
            };
            Publication { channel: self.channels[channel].clone(), event, durable, opens: None }
        });
        let publications = publications.collect();
        // Nobody waits for the receipt: what is in the log is what counts.
        drop(self.node.log.try_reserve(0).expect("room").send(publications));
    }

    /// A client subscribes to a channel in this way, from where it stands or from `since`.
    pub(super) fn subscribe(&mut self, client: usize, asked: &[(usize, Option<Seq>, Wants)]) {
        let mut all = Vec::new();
        for (channel, from, wants) in asked {
            let since = match from {
                Some(seq) => Some((Some(self.node.log.epoch()), *seq)),
                None => self.clients[client].since(*channel),
            };
            // A position and the newest n exclude each other.
            let wants = Wants { last: wants.last.filter(|_| since.is_none()), ..*wants };
            let place = self.place(client, *channel);
            self.troubles.replaced_behind += u64::from(place.is_some_and(|(phase, _)| phase == Phase::Behind));
            self.note(
                "subscribe client, to, since",
                [client as u64, *channel as u64, since.as_ref().map_or(u64::MAX, |since| since.1)],
            );
            all.push(Asked { channel: *channel, since, wants, attached: Arc::default() });
        }
        self.clients[client].subscribe(all, &self.node.log, &self.channels);
    }

    /// A client subscribes without a position.
    pub(super) fn subscribe_anew(&mut self, client: usize, channel: usize, wants: Wants) {
        self.note("subscribe anew client, to", [client as u64, channel as u64, 0]);
        let asked = vec![Asked { channel, since: None, wants, attached: Arc::default() }];
        self.clients[client].subscribe(asked, &self.node.log, &self.channels);
    }

    pub(super) fn unsubscribe(&mut self, client: usize, channel: Option<usize>) {
        self.note("unsubscribe client, from", [client as u64, channel.map_or(u64::MAX, |one| one as u64), 0]);
        let place = channel.and_then(|channel| self.place(client, channel));
        self.troubles.unsubscribed_behind += u64::from(place.is_some_and(|(phase, _)| phase == Phase::Behind));
        self.clients[client].unsubscribe(channel, &self.channels);
    }

    /// Where a subscription stands on the server's side.
    pub(super) fn place(&self, client: usize, channel: usize) -> Option<(Phase, Seq)> {
        let out = self.clients[client].connection.out.lock();
        out.subscriptions.of(&self.channels[channel]).map(|known| (known.phase, known.cursor))
    }

    /// Whether a subscription is in the middle of a replay: some was written, more is to come.
    pub(super) fn is_in_replay(&self, client: usize, channel: usize) -> bool {
        let (first, head) = self.node.log.stands(&self.channels[channel]);
        self.place(client, channel)
            .is_some_and(|(phase, cursor)| phase == Phase::Behind && cursor + 1 >= first && cursor > 0 && cursor < head)
    }

    pub(super) fn read(&mut self, client: usize, most: usize) {
        let read = self.clients[client].read(most);
        self.note("read client, frames", [client as u64, read as u64, 0]);
    }

    /// The messages of a channel below `first` go.
    pub(super) fn trim(&mut self, channel: usize, first: Seq) {
        self.note("trim channel, below", [channel as u64, first, 0]);
        let hit = (0..self.clients.len()).filter(|client| {
            self.is_in_replay(*client, channel)
                && self.place(*client, channel).is_some_and(|(_, cursor)| cursor + 1 < first)
        });
        self.troubles.trimmed_in_replay += hit.count() as u64;
        self.node.log.trim(&self.channels[channel], first);
    }

    pub(super) fn delete(&mut self, channel: usize) {
        self.note("delete", [channel as u64, 0, 0]);
        drop(self.node.log.delete(&self.channels[channel]));
    }

    /// The right to read a channel is gone.
    pub(super) fn lose_grant(&mut self, client: usize, channel: usize) {
        self.note("grant lost client, for", [client as u64, channel as u64, 0]);
        self.troubles.closed_in_replay += u64::from(self.is_in_replay(client, channel));
        let connection = &self.clients[client].connection;
        connection.close_subscription(&self.channels[channel], Code::Forbidden, "the right is gone");
    }

    /// It is not known any more whether a client may read a channel.
    pub(super) fn hold(&mut self, client: usize, channel: usize) {
        self.note("hold client, on", [client as u64, channel as u64, 0]);
        let Some((_, cursor)) = self.place(client, channel) else { return };
        self.troubles.held_behind += u64::from(self.is_in_replay(client, channel));
        let reason = self.held.len() as u64 + 1;
        self.held.insert(reason, cursor);
        assert!(self.clients[client].connection.hold(&[self.channels[channel].clone()], reason));
    }

    /// It is known again, for all that a client was held on: mostly, it may.
    pub(super) fn judge_held(&mut self, client: usize, lost: usize) {
        for channel in 0..self.channels.len() {
            let Some((Phase::Held(reason), cursor)) = self.place(client, channel) else { continue };
            assert_eq!(self.held.get(&reason), Some(&cursor), "nothing was given meanwhile");
            let may = !self.dice.chance(lost);
            self.note("judged client, on, may", [client as u64, channel as u64, u64::from(may)]);
            let (connection, name) = (&self.clients[client].connection, &self.channels[channel]);
            // What was found out before the last reason came says nothing.
            connection.judged(name, reason - 1, Err((Code::Forbidden, "too old")));
            connection.judged(name, reason, if may { Ok(()) } else { Err((Code::Forbidden, "the right is gone")) });
        }
    }

    /// The server ends a connection, as at a drain or a revocation.
    pub(super) fn end(&mut self, client: usize) {
        self.note("end client", [client as u64, 0, 0]);
        self.clients[client].connection.end(&Ending::temporary(Code::Draining, "stopping"));
    }

    /// A connection breaks, and the client comes back on another one.
    pub(super) fn cut(&mut self, client: usize) {
        self.note("cut client", [client as u64, 0, 0]);
        self.clients[client].outlet.break_off();
        let old = self.clients[client].connection.clone();
        if self.dice.chance(50) {
            old.release();
        } else {
            // The transport notices some time later.
            self.node.turns.spawn("client.release", Box::pin(async move { old.release() }));
        }
        self.come_back(client);
    }

    fn come_back(&mut self, client: usize) {
        let outlet = self.outlet();
        self.clients[client].reconnect((&self.node.hub, &*self.node.turns), outlet, &self.node.log);
        self.ask_again(client);
    }

    /// Asks again for what is wanted and does not run.
    pub(super) fn ask_again(&mut self, client: usize) {
        let this = &self.clients[client];
        let runs = |channel: &usize| this.ledger.views.get(channel).is_some_and(|view| view.on);
        let missing: Vec<(usize, Wants)> = this
            .wanted
            .iter()
            .filter(|(channel, _)| !runs(channel))
            .map(|(channel, wants)| (*channel, *wants))
            .collect();
        let (known, new): (Vec<_>, Vec<_>) = missing.into_iter().partition(|(one, _)| this.since(*one).is_some());
        if !known.is_empty() {
            let asked: Vec<_> = known.into_iter().map(|(channel, wants)| (channel, None, wants)).collect();
            self.subscribe(client, &asked);
        }
        for (channel, wants) in new {
            self.subscribe_anew(client, channel, wants);
        }
    }

    /// The process dies, and another one begins; with a lost tail, under another epoch.
    pub(super) fn restart(&mut self, lost: Option<u64>) {
        self.note("restart, messages lost", [lost.unwrap_or(0), u64::from(lost.is_some()), 0]);
        let asking = |client: &Client| {
            client.ledger.questions.values().filter(|one| matches!(one, super::ledger::Question::Subscribe(_))).count()
        };
        if lost.is_some() {
            self.troubles.asked_while_epoch_changed += self.clients.iter().map(asking).sum::<usize>() as u64;
        }
        self.troubles.restarts += 1;
        let log = self.node.log.restarted(lost);
        self.put_down();
        self.node = start(&self.config, log, &self.clock, &self.dice);
        self.node.log.set_faults(self.faults);
        for client in 0..self.clients.len() {
            // Whoever cannot tell what it has from what is lost would ask for the future of an old epoch.
            self.come_back(client);
        }
    }

    /// Drops the process with all that it had.
    pub(super) fn put_down(&mut self) {
        let _inside = self.runtime.enter();
        self.clients.iter().for_each(|client| client.outlet.break_off());
        self.node.turns.abandon();
        self.node.hub.connections().iter().for_each(|connection| connection.release());
        drop(self.node.log.close());
        self.figures.forget_gauges();
    }

    /// How many subscriptions there are by channel, on the server's side.
    pub(super) fn subscribers(&self) -> BTreeMap<Channel, usize> {
        self.node.hub.in_memory().iter().map(|one| (one.name.clone(), one.subscriber_count())).collect()
    }
}

/// A name that the hub gives to a certain worker: which one has which would else depend on the process.
fn on_worker(name: &str, worker: usize) -> Channel {
    let mut names = ('a'..='z').map(|last| format!("{name}{last}").parse().expect("a channel"));
    names.find(|name| spread(name, WORKERS) == worker % WORKERS).expect("one of 26")
}

fn start(config: &HubConfig, log: Arc<SimulatedLog>, clock: &Arc<TestClock>, dice: &Arc<Dice>) -> Node {
    let turns = Turns::new(dice.clone());
    let registry = Arc::new(Registry::new(vec![Arc::new(Counts)]).expect("one owner each"));
    let states = StateStore::new(registry.clone(), log.clone(), &*turns);
    let bus = Arc::new(Bus::new(registry, log.clone(), turns.clone(), false));
    let hub = Hub::new(config.clone(), log.clone(), states.clone(), clock.clone(), turns.clone());
    log.attach(Arc::new(EngineSink { hub: hub.clone(), bus, states }));
    turns.spawn("log.writer", Box::pin(log.clone().write()));
    Node { hub, log, turns }
}
