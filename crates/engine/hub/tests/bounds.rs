//! What a connection that does not read costs, and what the figures cost others.
//!
//! Guarantees: every lock that a test holds is one that the server holds, too.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use serde_json::json;
use tidings_core::{Code, Principal, outlet::Said};
use tidings_testkit::{PATIENCE, RecordingOutlet};
use tokio::time::timeout;

use super::world::{World, until_seq};
use crate::{
    budget::{BudgetConfig, Who},
    hub::{Connection, HubConfig},
};

fn answer(bytes: usize) -> Said {
    Said::answer(1, format!("{:?}", "x".repeat(bytes)))
}

fn small(answer_bytes: usize, budget: BudgetConfig) -> HubConfig {
    HubConfig { workers: 2, answer_bytes, budget, ..HubConfig::default() }
}

fn is_ready(connection: &Arc<Connection>) -> bool {
    connection.answers_left().now_or_never().is_some()
}

#[tokio::test]
async fn the_list_of_channels_and_the_figures_are_there_while_a_connection_is_busy() {
    let world = World::new(0, 16);
    let connection = world.connect(&RecordingOutlet::open());
    world.subscribe(&connection, json!({})).await;
    let (seen, sees) = std::sync::mpsc::sync_channel(1);
    let hub = world.hub.clone();
    let look = move || {
        let views: Vec<_> = hub.live(None).map(|live| live.view()).collect();
        let figures = (hub.slow_connection_count(), hub.connection_count());
        seen.send((views[0].subscribers, views[0].behind_subscribers, figures)).expect("somebody waits");
    };
    {
        let _busy = connection.out.lock();
        std::thread::spawn(look);
        let seen = sees.recv_timeout(PATIENCE).expect("nobody waits for the connection");
        assert_eq!(seen, (1, 0, (0, 1)));
    }
    world.stop().await;
}

#[tokio::test]
async fn who_is_slow_and_who_is_behind_is_counted_from_the_first_moment_to_the_last() {
    let world = World::new(0, 1024);
    let (stalled, gone) = (RecordingOutlet::with_room(1), RecordingOutlet::with_room(1));
    let connections = [world.connect(&stalled), world.connect(&gone)];
    for connection in &connections {
        world.subscribe(connection, json!({})).await;
    }
    world.publish("count.up", 50).await;
    let hub = world.hub.clone();
    let figures = || {
        let view = hub.live(None).next().expect("one").view();
        (view.behind_subscribers, hub.slow_connection_count())
    };
    let until = async |wanted: (usize, usize)| {
        let reached = async {
            while figures() != wanted {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(PATIENCE, reached).await.is_ok(), "{:?} and not {wanted:?}", figures());
    };
    until((2, 2)).await;
    let one = hub.channel(&world.channel).await.expect("reads").expect("there");
    assert_eq!((one.behind.len(), one.behind[0].lag > 0), (2, true), "{one:?}");
    connections[1].release();
    until((1, 1)).await;
    stalled.set_room(usize::MAX);
    stalled.until("50", until_seq(50)).await;
    until((0, 0)).await;
    assert_eq!(hub.channel(&world.channel).await.expect("reads").expect("there").behind.len(), 0);
    world.stop().await;
}

#[tokio::test]
async fn answers_that_are_not_read_hold_commands_back_then_end_the_connection_and_leave_nothing() {
    let world = World::with(small(10_000, BudgetConfig::default()));
    let outlet = RecordingOutlet::with_room(0);
    let connection = world.connect(&outlet);
    assert!(is_ready(&connection));
    connection.say(answer(6000));
    assert!(is_ready(&connection), "there is room for more");
    connection.say(answer(6000));
    assert!(!is_ready(&connection), "by bytes, long before there are many");
    let held = world.hub.budget().held();
    assert!((12_000..13_000).contains(&held), "{held}");
    // What was begun before goes on being answered, up to a point.
    (0..4).for_each(|_| connection.say(answer(6000)));
    assert!(!connection.is_closed());
    connection.say(answer(6000));
    let ending = outlet.ending().expect("it is ended");
    assert_eq!((ending.code, ending.retry), (Code::RateLimited, true));
    assert_eq!((world.hub.budget().held(), world.hub.connection_count(), world.hub.slow_connection_count()), (0, 0, 0));
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_gets_answers_of_any_size_and_any_number() {
    let world = World::with(small(10_000, BudgetConfig { user: 20_000, total: 20_000 }));
    let outlet = RecordingOutlet::with_room(0);
    let connection = world.connect(&outlet);
    connection.say(answer(18_000));
    assert!(!is_ready(&connection));
    outlet.set_room(usize::MAX);
    let left = timeout(PATIENCE, connection.answers_left()).await;
    assert!(left.is_ok(), "it is told once the answer has left");
    (0..1000).for_each(|_| connection.say(answer(15_000)));
    assert_eq!(outlet.until("1,001", |taken| (taken.len() == 1001).then_some(())).await, ());
    assert_eq!((world.hub.budget().held(), connection.is_closed()), (0, false));
    world.stop().await;
}

#[tokio::test]
async fn the_answers_of_a_user_are_bounded_over_all_connections_and_cost_others_nothing() {
    let world = World::with(small(10_000, BudgetConfig { user: 30_000, total: 100_000 }));
    let user = |name: &str| Principal::new(name.parse().expect("an id"), vec![], vec![]);
    let connect = |name: &str| {
        let outlet = RecordingOutlet::with_room(0);
        (world.hub.connect(user(name), outlet.clone()), outlet)
    };
    let adas: Vec<_> = (0..4).map(|_| connect("ada")).collect();
    for (connection, _) in &adas {
        connection.say(answer(9000));
    }
    let codes: Vec<_> = adas.iter().map(|(_, outlet)| outlet.ending().map(|ending| ending.code)).collect();
    assert_eq!(codes, [None, None, None, Some(Code::RateLimited)]);
    let (bobs, outlet) = connect("bob");
    bobs.say(answer(9000));
    assert!(is_ready(&bobs) && outlet.ending().is_none());
    let share = world.hub.budget().share(&Who::User("ada".parse().expect("an id")));
    assert!((27_000..28_000).contains(&share.held()), "{share:?}");
    adas.iter().for_each(|(connection, _)| connection.release());
    assert_eq!(share.held(), 0);
    world.clock.advance(Duration::from_secs(1));
    world.stop().await;
}
