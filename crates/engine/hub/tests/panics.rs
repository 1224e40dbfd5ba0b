//! What panics on the way of a message: an outlet, a draft, a reducer. Everybody else has everything, once.
//!
//! Guarantees: nothing waits for a time to pass.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use tidings_core::{
    BoxFuture, Code, Principal,
    log::EventLog,
    outlet::{Ending, Offered, Outlet, Said},
    parcel::Parcel,
};
use tidings_testkit::RecordingOutlet;

use super::{
    super::Connection,
    world::{World, of_kind, seqs, until_seq},
};

/// An outlet that panics after a write: nobody knows what the client has of it, which is all of it.
#[derive(Debug)]
struct Fragile {
    inner: Arc<RecordingOutlet>,
    /// How many writes of messages go well, and how many of what is said.
    delivers: AtomicUsize,
    says: AtomicUsize,
}

impl Fragile {
    fn after(delivers: usize, says: usize) -> Arc<Self> {
        let (delivers, says) = (AtomicUsize::new(delivers), AtomicUsize::new(says));
        Arc::new(Self { inner: RecordingOutlet::open(), delivers, says })
    }

    fn connect(self: &Arc<Self>, world: &World) -> Arc<Connection> {
        world.hub.connect(Principal::server(), self.clone())
    }
}

fn spend(left: &AtomicUsize) {
    let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    spent.expect("of the test");
}

impl Outlet for Fragile {
    fn say(&self, said: &[Said]) -> Offered {
        let offered = self.inner.say(said);
        spend(&self.says);
        offered
    }
    fn deliver(&self, parcel: &Parcel) -> Offered {
        let offered = self.inner.deliver(parcel);
        spend(&self.delivers);
        offered
    }
    fn room(&self) -> BoxFuture<'_, ()> {
        self.inner.room()
    }
    fn close(&self, ending: &Ending) {
        self.inner.close(ending);
    }
}

#[tokio::test]
async fn an_outlet_that_panics_ends_its_connection_and_costs_nobody_else_a_message() {
    let world = World::new(0, 1024);
    let (fragile, mut others) = (Fragile::after(1, 9), Vec::new());
    for number in 0..7 {
        // In the middle, so that some have the batch when it is broken off and some have not.
        if number == 3 {
            world.subscribe(&fragile.connect(&world), json!({})).await;
        }
        let outlet = RecordingOutlet::open();
        world.subscribe(&world.connect(&outlet), json!({})).await;
        others.push(outlet);
    }
    world.publish("count.up", 1).await;
    others[6].until("1", until_seq(1)).await;
    world.publish("count.up", 20).await;
    world.publish("count.up", 20).await;
    for outlet in &others {
        assert_eq!(seqs(&outlet.until("41", until_seq(41)).await), (1..=41).collect::<Vec<u64>>());
    }
    let ending = fragile.inner.ended().await;
    assert_eq!((ending.code, ending.retry), (Code::Internal, true));
    let seen = seqs(&fragile.inner.taken());
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<u64>>(), "nothing twice");
    assert_eq!(world.tasks.take_restarted(), ["hub.fanout"]);
    world.stop().await;
}

#[tokio::test]
async fn an_outlet_that_panics_while_it_is_behind_ends_its_connection() {
    let world = World::new(0, 4);
    world.publish("count.up", 300).await;
    let fragile = Fragile::after(1, 9);
    world.subscribe(&fragile.connect(&world), json!({"since": {"seq": 0}})).await;
    fragile.inner.ended().await;
    let seen = seqs(&fragile.inner.taken());
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<u64>>(), "nothing twice");
    world.stop().await;
}

#[tokio::test]
async fn a_deleted_channel_is_told_to_everybody_although_somebodys_outlet_panics_at_it() {
    let world = World::new(0, 1024);
    world.publish("count.up", 1).await;
    let fragile = Fragile::after(9, 1);
    world.subscribe(&fragile.connect(&world), json!({})).await;
    let outlet = RecordingOutlet::open();
    world.subscribe(&world.connect(&outlet), json!({})).await;
    world.log.delete(&world.channel).await.expect("deleted");
    outlet.until("the end of the subscription", |taken| of_kind(taken, "channel.closed").cloned()).await;
    fragile.inner.ended().await;
    assert_eq!(world.tasks.take_restarted(), ["hub.fanout"]);
    world.stop().await;
}

#[tokio::test]
async fn a_draft_that_panics_is_let_go_and_nothing_else_is() {
    let world = World::new(0, 1024);
    let outlet = RecordingOutlet::open();
    world.subscribe(&world.connect(&outlet), json!({})).await;
    world.publish("count.word", 3).await;
    world.publish("count.spoilt", 1).await;
    world.publish("count.up", 2).await;
    let taken = outlet.until("2", until_seq(2)).await;
    let kinds: Vec<&str> = taken.iter().map(tidings_testkit::Taken::kind).filter(|kind| !kind.is_empty()).collect();
    assert_eq!(kinds, ["count.word", "count.word", "count.word", "count.spoilt", "count.up", "count.up"]);
    world.stop().await;
}

#[tokio::test]
async fn a_reducer_that_panics_costs_the_subscription_and_not_the_connection() {
    let world = World::new(0, 1024);
    world.publish("count.rotten", 1).await;
    let outlet = RecordingOutlet::open();
    let connection = world.connect(&outlet);
    world.subscribe(&connection, json!({"snapshot": true})).await;
    let closed = outlet.until("the reason", |taken| of_kind(taken, "channel.closed").cloned()).await;
    assert_eq!(closed["code"], "internal");
    world.subscribe(&connection, json!({})).await;
    world.publish("count.up", 1).await;
    assert_eq!(seqs(&outlet.until("2", until_seq(2)).await), [2]);
    assert!(!connection.is_closed());
    world.stop().await;
}
