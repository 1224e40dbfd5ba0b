//! Troubles with a name: each is brought about on purpose, in many interleavings.
//!
//! Guarantees: a run in which the trouble did not happen fails.
//! It is not the whole: what nobody thought of is left to `run::random`.

use std::time::Duration;

use tidings_core::Seq;
use tidings_testkit::Faults;

use super::{
    ledger::Wants,
    run::{Report, play},
    world::World,
};

/// Each trouble is met in so many interleavings.
const RUNS: u64 = 60;
/// A channel with a state.
const COUNT: usize = 0;
/// A channel that is trimmed whatever is saved.
const PLAIN: usize = 1;

/// Lets tasks go on, one by one, until something is the case.
fn until(world: &mut World, what: &str, is: impl Fn(&World) -> bool) {
    while !is(world) {
        assert!(world.turn(1), "nothing moves any more, and never: {what}");
    }
}

/// One client is in the middle of a long replay: some of it was written, and its outlet is full.
fn in_the_middle_of_a_replay(world: &mut World, channel: usize, wants: Wants) {
    world.set_faults(Faults { meanwhile: 20, ..Faults::default() });
    for _ in 0..4 {
        world.publish(channel, 50, 5);
    }
    world.turn(usize::MAX);
    world.clients[0].outlet.set_capacity(7);
    world.subscribe(0, &[(channel, Some(0), wants)]);
    until(world, "in the middle of a replay", |world| world.is_in_replay(0, channel));
    // Anywhere on the way, also while a read is under way.
    let some = world.dice.below(30);
    for _ in 0..some {
        world.turn(1);
        world.read(0, 1);
    }
}

fn each(clients: usize, scene: impl Fn(&mut World)) -> Report {
    let mut all = Report::default();
    for seed in 0..RUNS {
        all.add(&play(seed, clients, 4, |world| scene(world)));
    }
    all
}

#[test]
fn a_trim_while_a_replay_runs_is_told_as_a_gap_and_the_rest_follows() {
    let all = each(1, |world| {
        in_the_middle_of_a_replay(world, PLAIN, Wants::default());
        let before = world.troubles.trimmed_in_replay;
        let head: Seq = world.node.log.stands(&world.channels[PLAIN].clone()).1;
        world.trim(PLAIN, head - 10);
        assert_eq!(world.troubles.trimmed_in_replay, before + 1, "a replay runs, and lacks what is trimmed");
        world.publish(PLAIN, 3, 0);
    });
    assert_eq!(all.told.gaps, RUNS, "{all:?}");
    assert!(all.reached.trims_in_reads > 0, "some of them while the log was read: {all:?}");
}

#[test]
fn a_deletion_while_a_replay_runs_closes_the_subscription_after_what_was_written() {
    let all = each(1, |world| {
        in_the_middle_of_a_replay(world, PLAIN, Wants::default());
        world.clients[0].wanted.clear();
        world.delete(PLAIN);
        world.publish(PLAIN, 3, 0);
    });
    assert_eq!(all.told.closed, RUNS, "{all:?}");
    assert!(all.reached.deletions_in_reads > 0, "some of them while the log was read: {all:?}");
}

#[test]
fn a_subscribe_while_the_epoch_changes_is_asked_again_and_told() {
    for snapshot in [false, true] {
        let wants = Wants { snapshot, ..Wants::default() };
        let all = each(2, |world| {
            world.publish(COUNT, 20, 0);
            world.turn(usize::MAX);
            for client in 0..2 {
                world.subscribe(client, &[(COUNT, Some(0), wants)]);
            }
            for _ in 0..40 {
                world.turn(usize::MAX);
                (0..2).for_each(|client| world.read(client, usize::MAX));
            }
            // One asks again, where it stands; the other is live.
            world.subscribe(0, &[(COUNT, None, wants)]);
            let some = world.dice.below(8);
            world.turn(some);
            let before = world.troubles.asked_while_epoch_changed;
            world.restart(Some(5));
            assert_eq!(world.troubles.asked_while_epoch_changed, before + 1, "a question was open");
            world.publish(COUNT, 8, 10);
        });
        let told = if snapshot { all.told.snapshots } else { all.told.resets };
        assert!(told >= 2 * RUNS, "both learn of the new numbering: {all:?}");
    }
}

#[test]
fn nothing_comes_after_an_unsubscribe_while_behind() {
    let all = each(1, |world| {
        in_the_middle_of_a_replay(world, PLAIN, Wants::default());
        let before = world.troubles.unsubscribed_behind;
        world.unsubscribe(0, Some(PLAIN));
        assert_eq!(world.troubles.unsubscribed_behind, before + 1, "it is behind");
        world.publish(PLAIN, 3, 30);
    });
    assert!(all.told.messages < RUNS * 150, "none of them read to the end: {all:?}");
}

#[test]
fn a_grant_lost_in_the_middle_of_a_replay_ends_it_there() {
    let all = each(1, |world| {
        in_the_middle_of_a_replay(world, PLAIN, Wants { filter: true, ..Wants::default() });
        world.clients[0].wanted.clear();
        let before = world.troubles.closed_in_replay;
        world.lose_grant(0, PLAIN);
        assert_eq!(world.troubles.closed_in_replay, before + 1, "a replay runs");
        world.publish(PLAIN, 3, 30);
    });
    assert_eq!(all.told.closed, RUNS, "{all:?}");
}

#[test]
fn what_is_held_in_the_middle_of_a_replay_stands_still_and_goes_on_without_a_hole() {
    let all = each(1, |world| {
        in_the_middle_of_a_replay(world, PLAIN, Wants::default());
        let before = world.troubles.held_behind;
        world.hold(0, PLAIN);
        assert_eq!(world.troubles.held_behind, before + 1, "a replay runs");
        for _ in 0..5 {
            world.publish(PLAIN, 3, 30);
            let some = world.dice.below(20);
            world.turn(some);
            world.read(0, 4);
        }
        world.judge_held(0, 0);
    });
    assert_eq!((all.told.closed, all.told.gaps), (0, 0), "{all:?}");
}

#[test]
fn a_channel_that_is_about_to_be_listened_to_is_not_swept_away() {
    let all = each(1, |world| {
        world.set_faults(Faults { slow: 100, ..Faults::default() });
        world.subscribe_anew(0, PLAIN, Wants::default());
        world.turn(12);
        for _ in 0..3 {
            // The second look at an idle channel lets it go.
            world.advance(Duration::from_secs(16));
            world.turn(12);
        }
        until(world, "subscribed", |world| world.place(0, PLAIN).is_some());
        world.publish(PLAIN, 3, 0);
    });
    assert_eq!(all.told.messages, 3 * RUNS, "whoever came gets what follows: {all:?}");
}

#[test]
fn who_falls_behind_while_announcements_are_lost_is_at_the_head_in_the_end() {
    let all = each(2, |world| {
        for client in 0..2 {
            world.subscribe(client, &[(PLAIN, Some(0), Wants::default())]);
        }
        world.turn(usize::MAX);
        world.set_faults(Faults { commits: 60, reads: 20, meanwhile: 30, ..Faults::default() });
        for _ in 0..12 {
            world.publish(PLAIN, 3, 20);
            let some = world.dice.below(12);
            world.turn(some);
            world.read(0, 4);
        }
    });
    assert!(all.reached.lost_announcements > RUNS as usize, "{all:?}");
}
