//! Rights that cannot be read: what follows for whoever listens already.
//!
//! Guarantees: the log fails every read while it is said so, and the clock
//! goes on only by hand or for the retries.

use std::{sync::Arc, time::Duration};

use tidings_core::{Channel, bus::EventBus, principal::Membership};
use tidings_testkit::{PATIENCE, RecordingOutlet, Taken};

use super::*;
use crate::{
    gate::Rejudge,
    house::{event, somebody},
    hub::{Connection, SubscribeRequest},
};

/// Two members of the project that `thing:1` belongs to and one with a grant, all listening.
struct Listening {
    house: House,
    rejudge: Rejudge,
    leaving: (Arc<Connection>, Arc<RecordingOutlet>),
    staying: (Arc<Connection>, Arc<RecordingOutlet>),
    granted: (Arc<Connection>, Arc<RecordingOutlet>),
}

fn thing() -> Channel {
    channel("thing:1")
}

async fn listening() -> Listening {
    let house = super::authorising::house(&Effects::new()).await;
    house.members.set("p", "leaver", Membership::Viewer);
    let rejudge = Rejudge { gate: house.gate.clone(), hub: house.hub.clone() };
    let mut all = Vec::new();
    for (user, grants) in [("leaver", &[][..]), ("viewer", &[]), ("granted", &["thing:1=subscribe"])] {
        let outlet = RecordingOutlet::open();
        let connection = house.hub.connect(somebody(user, grants), outlet.clone());
        house
            .gate
            .subscribe(&connection, vec![Ok(SubscribeRequest::plain(thing()))], |outcomes| {
                assert!(outcomes.iter().all(Result::is_ok));
                None
            })
            .await;
        all.push((connection, outlet));
    }
    let [leaving, staying, granted] = all.try_into().unwrap_or_else(|_| panic!("three"));
    Listening { house, rejudge, leaving, staying, granted }
}

impl Listening {
    /// One of the members is removed. Everybody's rights are judged anew.
    async fn remove(&self) {
        self.house.members.remove("p", "leaver");
        let removed = tidings_core::Event::new("project.removed", json!({}));
        let message = tidings_core::Message::new(channel("project:p"), Some(1), tidings_core::Timestamp(0), removed);
        let heard = tidings_core::bus::Listener::hear(&self.rejudge, Arc::new(message));
        tokio::time::timeout(PATIENCE, heard).await.expect("a listener is not held up").expect("heard");
    }

    /// Waits until nobody tries to read rights any more. The clock goes on only here.
    async fn judged(&self) {
        while self.house.tasks.running().contains(&"gate.rejudge") {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    async fn say(&self, numbers: std::ops::RangeInclusive<u64>) {
        for n in numbers {
            self.house.bus.emit(event("thing.said", "1", n)).await.expect("room").await.expect("durable");
        }
    }
}

fn seqs(outlet: &RecordingOutlet) -> Vec<u64> {
    outlet.taken().iter().filter_map(Taken::seq).collect()
}

async fn until_seq(outlet: &RecordingOutlet, last: u64) {
    outlet
        .until("a message", |taken| {
            (taken.iter().filter_map(|taken| taken.seq()).next_back() >= Some(last)).then_some(())
        })
        .await;
}

fn closed(taken: &[Taken]) -> Vec<serde_json::Value> {
    let closed = taken.iter().filter(|taken| taken.kind() == "channel.closed");
    closed.map(|taken| taken.json["data"]["code"].clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn delivery_waits_until_rights_can_be_read_and_goes_on_without_a_hole_or_ends() {
    let all = listening().await;
    let head = all.house.messages("thing:1").await.len() as u64;
    all.say(1..=3).await;
    for (_, outlet) in [&all.leaving, &all.staying, &all.granted] {
        until_seq(outlet, head + 3).await;
    }
    all.house.log.fail_reads(true);
    all.remove().await;
    all.say(4..=300).await;
    // Whoever has a grant needs no look into the log, and shows that the fan-out is through.
    until_seq(&all.granted.1, head + 300).await;
    // Both are tried again and again.
    while all.house.log.failed_reads() < 20 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    for (connection, outlet) in [&all.leaving, &all.staying] {
        assert_eq!(seqs(outlet), (head + 1..=head + 3).collect::<Vec<_>>(), "nothing while it is not known");
        assert!(closed(&outlet.taken()).is_empty() && !connection.is_closed(), "and nobody is sent away");
        assert_eq!(connection.channels(), [thing()]);
    }
    let view = all.house.hub.channel(&thing()).await.expect("in memory").expect("known");
    assert_eq!((view.subscribers, view.behind_subscribers), (3, 2));
    all.house.log.fail_reads(false);
    until_seq(&all.staying.1, head + 300).await;
    assert_eq!(seqs(&all.staying.1), (head + 1..=head + 300).collect::<Vec<_>>());
    let told = all.leaving.1.until("closed", |taken| Some(closed(taken)).filter(|told| !told.is_empty())).await;
    assert_eq!(told, [json!("forbidden")]);
    assert_eq!(seqs(&all.leaving.1).last(), Some(&(head + 3)), "what came after the removal is never heard");
    all.judged().await;
    all.house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_token_that_cannot_be_judged_holds_what_it_may_not_be_for() {
    let all = listening().await;
    let head = all.house.messages("thing:1").await.len() as u64;
    let (connection, outlet) = &all.granted;
    all.house.log.fail_reads(true);
    connection.set_principal(somebody("granted", &[]));
    all.house.gate.rejudge(connection, connection.channels()).await;
    all.say(1..=2).await;
    until_seq(&all.staying.1, head + 2).await;
    assert_eq!((seqs(outlet), closed(&outlet.taken())), (vec![], vec![]));
    // The right comes back before the log does.
    connection.set_principal(somebody("granted", &["thing:1=subscribe"]));
    all.house.gate.rejudge(connection, connection.channels()).await;
    until_seq(outlet, head + 2).await;
    assert_eq!(seqs(outlet), [head + 1, head + 2]);
    all.house.log.fail_reads(false);
    all.house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_while_its_rights_cannot_be_read_leaves_nothing_behind() {
    let all = listening().await;
    all.house.log.fail_reads(true);
    all.remove().await;
    for (connection, _) in [&all.leaving, &all.staying] {
        connection.unsubscribe(None, None);
    }
    all.judged().await;
    all.remove().await;
    all.leaving.0.release();
    all.staying.0.release();
    all.judged().await;
    assert_eq!(all.house.hub.connection_count(), 1);
    all.house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_rights_that_cannot_be_read() {
    let all = listening().await;
    all.house.log.fail_reads(true);
    all.remove().await;
    assert!(all.house.tasks.running().contains(&"gate.rejudge"));
    all.house.stop().await;
}
