//! A run of a simulated world: steps drawn from a seed, then calm, then the judgement.
//!
//! Guarantees: the same seed is the same run; one that fails says its seed and its last steps.
//! It is not a list of steps by hand: those are in `troubles`.

use std::{
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};

use tidings_core::log::EventLog;
use tidings_testkit::{Dice, Faults, Reached};

use super::{
    figures::Figures,
    ledger::{Told, Wants},
    world::{Troubles, World},
};

/// A world that moves for so many rounds never calms down.
const MOST_ROUNDS: usize = 2000;

/// What a run, or many, came across.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Report {
    pub(super) runs: u64,
    pub(super) turns: u64,
    pub(super) told: Told,
    pub(super) troubles: Troubles,
    pub(super) reached: Reached,
    pub(super) fell_behind: u64,
}

impl Report {
    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.turns += other.turns;
        self.fell_behind += other.fell_behind;
        self.told.add(&other.told);
        self.troubles.add(&other.troubles);
        self.reached.add(&other.reached);
    }
}

/// Runs a scene in a world of its own, then lets it calm down and judges it. Fails with seed and trace.
pub(super) fn play(seed: u64, clients: usize, ring: usize, scene: impl FnOnce(&mut World)) -> Report {
    let figures = Arc::new(Figures::default());
    metrics::with_local_recorder(&*figures, || {
        let mut world = World::new(Dice::of(seed), figures.clone(), clients, ring);
        let played = catch_unwind(AssertUnwindSafe(|| {
            scene(&mut world);
            calm_down(&mut world);
            judge(&mut world);
            leave(&mut world);
        }));
        if let Err(cause) = played {
            println!("{}", told_of(seed, &world));
            resume_unwind(cause);
        }
        report(&world)
    })
}

fn told_of(seed: u64, world: &World) -> String {
    let mut text = format!("seed {seed} failed; its last steps:\n");
    for (what, [one, two, three]) in &world.trace {
        writeln!(text, "  {what} {one} {two} {three}").expect("a string takes it");
    }
    text
}

fn report(world: &World) -> Report {
    let mut told = Told::default();
    world.clients.iter().for_each(|client| told.add(&client.ledger.told));
    Report {
        runs: 1,
        turns: world.turns_done,
        told,
        troubles: world.troubles,
        reached: world.node.log.reached(),
        fell_behind: world.figures.counter("tidings_fell_behind_total"),
    }
}

/// Everything is drawn from the seed: how many clients, how much memory, what fails, what happens.
pub(super) fn random(seed: u64) -> Report {
    let dice = Dice::of(!seed);
    let (clients, ring) = (1 + dice.below(3), *dice.one_of(&[1, 2, 8, 40, 1024]));
    play(seed, clients, ring, |world| {
        let faults = Faults {
            reads: *dice.one_of(&[0, 0, 5, 30]),
            slow: *dice.one_of(&[0, 0, 10, 50]),
            commits: *dice.one_of(&[0, 0, 10, 30]),
            meanwhile: *dice.one_of(&[0, 10, 40, 70]),
        };
        world.set_faults(faults);
        let kinds = Kinds::of(&dice);
        for _ in 0..10 + dice.below(50) {
            kinds.step(world, &dice);
            world.turn(dice.below(12));
        }
    })
}

/// Which kinds of steps a run has, and how much of each: not all runs have all, so that each is also
/// seen in a world that lets it go on for long.
struct Kinds(Vec<Kind>);

type Kind = fn(&mut World, &Dice);

const KINDS: &[(usize, Kind)] = &[
    (4, |world, dice| world.publish(dice.below(3), 1 + dice.below(6), 25)),
    (1, |world, dice| world.publish(dice.below(3), 40 + dice.below(160), 3)),
    (4, |world, dice| subscribe(world, dice)),
    (4, |world, dice| {
        let client = dice.below(world.clients.len());
        world.read(client, 1 + dice.below(80));
    }),
    (4, |world, dice| {
        world.turn(1 + dice.below(60));
    }),
    (1, |world, dice| {
        let (client, channel) = some_pair(world, dice);
        world.unsubscribe(client, Some(channel).filter(|_| dice.chance(80)));
    }),
    (1, |world, dice| world.cut(dice.below(world.clients.len()))),
    (1, |world, dice| {
        let client = dice.below(world.clients.len());
        world.clients[client].outlet.set_capacity(*dice.one_of(&[0, 1, 5, 100]));
    }),
    (1, |world, dice| {
        let channel = dice.below(3);
        let (first, head) = world.node.log.stands(&world.channels[channel].clone());
        world.trim(channel, first + dice.below(usize::try_from(head + 2 - first).unwrap_or(1)) as u64);
    }),
    (1, |world, dice| {
        if dice.chance(30) {
            world.delete(dice.below(3));
        }
    }),
    (1, |world, dice| {
        if dice.chance(30) {
            let lost = dice.chance(60).then(|| dice.below(30) as u64);
            world.restart(lost);
        }
    }),
    (1, |world, dice| {
        let (client, channel) = some_pair(world, dice);
        world.lose_grant(client, channel);
    }),
    (1, |world, dice| {
        let (client, channel) = some_pair(world, dice);
        world.hold(client, channel);
    }),
    (1, |world, dice| {
        let client = dice.below(world.clients.len());
        world.judge_held(client, 20);
    }),
    (1, |world, dice| world.advance(Duration::from_millis(*dice.one_of(&[1, 250, 1000, 11_000, 16_000])))),
    (1, |world, dice| {
        if dice.chance(20) {
            world.end(dice.below(world.clients.len()));
        }
    }),
];

impl Kinds {
    fn of(dice: &Dice) -> Self {
        let mut kinds = Vec::new();
        for (index, (weight, kind)) in KINDS.iter().enumerate() {
            if index < 5 || dice.chance(60) {
                kinds.extend(std::iter::repeat_n(*kind, weight * (1 + dice.below(3))));
            }
        }
        Self(kinds)
    }

    fn step(&self, world: &mut World, dice: &Dice) {
        dice.one_of(&self.0)(world, dice);
    }
}

fn some_pair(world: &World, dice: &Dice) -> (usize, usize) {
    (dice.below(world.clients.len()), dice.below(world.channels.len()))
}

fn subscribe(world: &mut World, dice: &Dice) {
    let (client, channel) = some_pair(world, dice);
    let known = world.clients[client].wanted.get(&channel).copied().filter(|_| dice.chance(70));
    let wants = known.unwrap_or_else(|| some_wants(dice, world.channels[channel].namespace() == "count"));
    match dice.below(4) {
        0 => world.subscribe_anew(client, channel, wants),
        1 => world.subscribe(client, &[(channel, Some(0), Wants { last: None, ..wants })]),
        2 if dice.chance(50) => {
            let other = (channel + 1) % world.channels.len();
            let last = Wants { last: None, ..wants };
            let both = [(channel, None, last), (other, None, Wants { snapshot: false, ..last })];
            world.subscribe(client, &both);
        }
        _ => world.subscribe(client, &[(channel, None, Wants { last: None, ..wants })]),
    }
}

fn some_wants(dice: &Dice, projected: bool) -> Wants {
    let filter = dice.chance(25);
    Wants {
        filter,
        snapshot: projected && dice.chance(40),
        max_lag: dice.chance(15).then(|| 1 + dice.below(30) as u64),
        // The newest n of a filter begin where only the server knows.
        last: (!filter && dice.chance(20)).then(|| dice.below(60) as u64),
    }
}

/// Nothing fails any more, outlets are wide, clients read and ask again: until nothing moves.
pub(super) fn calm_down(world: &mut World) {
    world.note("calm", [0; 3]);
    world.set_faults(Faults::default());
    let (mut still, mut rounds) = (0, 0);
    while still < 4 {
        rounds += 1;
        assert!(rounds < MOST_ROUNDS, "it does not calm down: {:?}", world.node.turns);
        let mut moved = world.node.log.is_idle();
        moved = world.turn(2000) || !moved;
        for client in 0..world.clients.len() {
            world.clients[client].outlet.set_capacity(256);
            world.judge_held(client, 0);
            moved |= world.clients[client].read(usize::MAX) > 0;
            if world.clients[client].connection.is_closed() {
                world.cut(client);
                moved = true;
            }
            if !moved && world.clients[client].ledger.questions.is_empty() {
                world.ask_again(client);
                moved |= !world.clients[client].ledger.questions.is_empty();
            }
        }
        still = if moved { 0 } else { still + 1 };
        if !moved {
            // Whoever waits before it tries again goes on.
            world.advance(Duration::from_millis(300));
        }
    }
}

/// What must hold once nothing moves.
fn judge(world: &mut World) {
    for (at, client) in world.clients.iter().enumerate() {
        client.ledger.expect_at_head();
        for channel in 0..world.channels.len() {
            let told = client.ledger.views.get(&channel).is_some_and(|view| view.on);
            let place = world.place(at, channel);
            assert_eq!(told, place.is_some(), "client {at} and the server agree on channel {channel}");
            assert!(place.is_none_or(|(phase, _)| phase == super::LIVE), "client {at} is live on {channel}: {place:?}");
        }
    }
    let count: usize = world.subscribers().values().sum();
    let on = |client: &super::client::Client| client.ledger.views.values().filter(|view| view.on).count();
    assert_eq!(count, world.clients.iter().map(on).sum::<usize>(), "the hub's lists");
    assert_eq!(world.figures.gauge("tidings_subscriptions"), count as f64);
    assert_eq!(world.figures.gauge("tidings_behind_subscriptions"), 0.0);
    assert_eq!(world.figures.gauge("tidings_connections"), world.clients.len() as f64);
    // The next ephemeral message tells how many were lost: one that passes a filter, and one that does not.
    for _ in 0..2 {
        (0..world.channels.len()).for_each(|channel| world.publish(channel, 1, 100));
        calm_down(world);
    }
    world.clients.iter().for_each(|client| client.ledger.expect_all_counted());
}

/// Everybody leaves, and nothing of them stays.
fn leave(world: &mut World) {
    // Every second says so, the others are just gone.
    (0..world.clients.len()).step_by(2).for_each(|client| world.unsubscribe(client, None));
    calm_down(world);
    for client in &world.clients {
        client.outlet.break_off();
        client.connection.release();
    }
    world.turn(usize::MAX);
    let hub = world.node.hub.clone();
    assert_eq!(hub.connection_count(), 0);
    assert_eq!(world.subscribers().values().sum::<usize>(), 0, "nobody is on a list");
    // A channel that was used goes at the second look.
    for _ in 0..3 {
        world.advance(Duration::from_secs(16));
        world.turn(usize::MAX);
    }
    assert_eq!(world.subscribers().len(), 0, "channels that stay in memory: {:?}", world.subscribers());
    assert_eq!(hub.ring_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
    for gauge in ["tidings_subscriptions", "tidings_behind_subscriptions", "tidings_connections"] {
        assert_eq!(world.figures.gauge(gauge), 0.0, "{gauge}");
    }
    world.node.turns.stop();
    world.turn(usize::MAX);
    // The commands of a client end when it drops its mailbox; the log's thread is the log's.
    let left: Vec<_> = world.node.turns.running();
    assert!(left.iter().all(|name| ["log.writer", "client.commands"].contains(name)), "tasks that stay: {left:?}");
    drop(world.node.log.close());
    world.put_down();
}
