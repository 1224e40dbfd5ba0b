//! What is known of channels: facts, lists, saved states, deletion, and all of it after a restart.

use std::sync::Arc;

use tidings_core::{
    Code,
    handler::Retention,
    log::{EventLog, ListChannels, Opens, OtherVersions, Publication, SavedAt, SavedState},
};

use super::{Case, KEEP_ALL, MINUTE, Make, name, numbers, said, seqs, with_id};
use crate::Heard;

pub(super) async fn cases(make: Make<'_>) {
    facts_are_set_by_the_event_that_opens_a_channel_and_stay(make).await;
    channels_are_listed_by_name_newest_first(make).await;
    states_are_read_by_themselves_in_the_order_of_asking(make).await;
    an_older_state_is_ignored(make).await;
    states_of_other_versions_are_found_until_it_is_said_that_there_are_none(make).await;
    a_channel_is_open_until_a_state_of_its_head_says_that_it_is_settled(make).await;
    a_deleted_channel_keeps_its_head(make).await;
    a_restart_changes_nothing(make).await;
}

fn opening(channel: &str, owner: Option<&str>, project: Option<&str>) -> Vec<Publication> {
    let opens = Opens { owner: owner.map(|owner| owner.parse().expect("an id")), project: project.map(Into::into) };
    vec![Publication { opens: Some(opens), ..said(channel, "opened") }]
}

fn state(seq: u64, bytes: &[u8]) -> SavedState {
    SavedState { seq, version: 3, bytes: bytes.to_vec() }
}

async fn facts_are_set_by_the_event_that_opens_a_channel_and_stay(make: Make<'_>) {
    let case = Case::new(make);
    case.send(opening("test:a", Some("u1"), Some("p1"))).await.expect("durable");
    case.clock.advance(MINUTE);
    for (owner, project) in [("intruder", "p1"), ("u1", "p2"), ("intruder", "p2")] {
        let refused = case.send(opening("test:a", Some(owner), Some(project))).await.expect_err("a conflict");
        assert_eq!((refused.code(), refused.entry()), (Code::Conflict, Some(0)), "{owner} {project}");
    }
    let both = [opening("test:c", Some("u1"), None), opening("test:c", Some("u2"), None)].concat();
    let refused = case.send(both).await.expect_err("a conflict within a send");
    assert_eq!((refused.code(), refused.entry()), (Code::Conflict, Some(1)));
    assert!(case.log().facts(&name("test:c")).await.expect("reads").is_none(), "all or nothing");
    case.send(opening("test:a", Some("u1"), None)).await.expect("durable");
    let facts = case.log().facts(&name("test:a")).await.expect("reads").expect("known");
    assert_eq!(facts.channel, name("test:a"));
    assert_eq!(facts.owner.expect("an owner").as_str(), "u1");
    assert_eq!(facts.project.as_deref(), Some("p1"));
    assert_eq!((facts.first, facts.head), (1, 2));
    assert_eq!(facts.updated_at.0 - facts.created_at.0, 60_000);
    assert_eq!(facts.bytes, 2 * r#"{"text":"opened"}"#.len() as u64);
    assert_eq!(facts.saved, None);
    case.publish("test:b", &["no facts"]).await;
    let facts = case.log().facts(&name("test:b")).await.expect("reads").expect("known");
    assert_eq!((facts.owner, facts.project), (None, None));
    case.end().await;
}

async fn channels_are_listed_by_name_newest_first(make: Make<'_>) {
    let case = Case::new(make);
    for (channel, project) in [("test:1", "p"), ("test:3", "q"), ("test:2", "p"), ("tester:9", "p"), ("test:4", "p")] {
        case.send(opening(channel, None, Some(project))).await.expect("durable");
    }
    let list = async |namespace: Option<&str>, project: Option<&str>, below: Option<&str>, limit: usize| {
        let (namespace, project) = (namespace.map(str::to_owned), project.map(str::to_owned));
        let query = ListChannels { namespace, project, below: below.map(name), open: false, limit };
        let found = case.log().list(query).await.expect("reads");
        found.iter().map(|facts| facts.channel.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, None, 9).await, ["tester:9", "test:4", "test:3", "test:2", "test:1"]);
    assert_eq!(list(Some("test"), None, None, 2).await, ["test:4", "test:3"]);
    assert_eq!(list(Some("test"), None, Some("test:3"), 9).await, ["test:2", "test:1"]);
    assert_eq!(list(Some("test"), Some("p"), None, 9).await, ["test:4", "test:2", "test:1"]);
    assert_eq!(list(None, Some("p"), Some("test:4"), 1).await, ["test:2"]);
    assert_eq!(list(Some("none"), None, None, 9).await, [""; 0]);
    assert_eq!(list(Some("test"), None, None, 0).await, [""; 0]);
    case.log().save_state(&name("test:2"), state(1, b"two"), false).await.expect("saved");
    let query = ListChannels { below: Some(name("test:3")), limit: 2, ..ListChannels::default() };
    let found = case.log().list(query).await.expect("reads");
    let saved: Vec<Option<SavedAt>> = found.into_iter().map(|facts| facts.saved).collect();
    assert_eq!(saved, [Some(SavedAt { seq: 1, version: 3 }), None]);
    case.end().await;
}

async fn states_are_read_by_themselves_in_the_order_of_asking(make: Make<'_>) {
    let case = Case::new(make);
    case.publish("test:a", &["1"]).await;
    case.publish("test:b", &["1", "2"]).await;
    case.publish("test:none", &["1"]).await;
    case.log().save_state(&name("test:a"), state(1, b"of a"), false).await.expect("saved");
    case.log().save_state(&name("test:b"), state(2, b"of b"), false).await.expect("saved");
    let asked = ["test:b", "test:none", "test:unknown", "test:a"].map(name);
    let states = case.log().states(asked.to_vec()).await.expect("reads");
    assert_eq!(states, [Some(state(2, b"of b")), None, None, Some(state(1, b"of a"))]);
    assert_eq!(case.log().states(Vec::new()).await.expect("reads"), []);
    let facts = case.log().facts(&name("test:b")).await.expect("reads").expect("known");
    assert_eq!(facts.saved, Some(SavedAt { seq: 2, version: 3 }));
    case.end().await;
}

async fn an_older_state_is_ignored(make: Make<'_>) {
    let case = Case::new(make);
    case.publish("test:a", &["1", "2", "3"]).await;
    for (given, kept) in [(state(2, b"two"), b"two"), (state(1, b"one"), b"two"), (state(3, b"3.."), b"3..")] {
        case.log().save_state(&name("test:a"), given, false).await.expect("saved");
        assert_eq!(case.state("test:a").await.expect("a state").bytes, kept);
    }
    case.end().await;
}

async fn states_of_other_versions_are_found_until_it_is_said_that_there_are_none(make: Make<'_>) {
    let mut case = Case::new(make);
    for (channel, version) in [("test:a", 3), ("test:b", 4), ("test:c", 3), ("test:d", 2), ("tester:a", 1)] {
        case.publish(channel, &["1", "2"]).await;
        let saved = SavedState { version, ..state(1, b"one") };
        case.log().save_state(&name(channel), saved, false).await.expect("saved");
    }
    case.publish("test:none", &["1"]).await;
    let others = async |log: Arc<dyn EventLog>, version: u32, above: Option<&str>, limit: usize| {
        let query = OtherVersions { namespace: "test".to_owned(), version, above: above.map(name), limit };
        let found = log.states_of_others(query).await.expect("reads");
        found.iter().map(|facts| (facts.channel.to_string(), facts.head)).collect::<Vec<_>>()
    };
    let two = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 2)).collect::<Vec<_>>();
    assert_eq!(others(case.log(), 4, None, 9).await, two(&["test:a", "test:c", "test:d"]));
    assert_eq!(others(case.log(), 4, None, 2).await, two(&["test:a", "test:c"]));
    assert_eq!(others(case.log(), 4, Some("test:c"), 2).await, two(&["test:d"]));
    case.log().states_are_of("test", 4).await.expect("written");
    for _ in 0..2 {
        assert_eq!(others(case.log(), 4, None, 9).await, [], "it was said that there are none");
        assert_eq!(others(case.log(), 3, None, 9).await, two(&["test:b", "test:d"]), "of another version it was not");
        case.restart().await;
    }
    case.end().await;
}

async fn a_channel_is_open_until_a_state_of_its_head_says_that_it_is_settled(make: Make<'_>) {
    let mut case = Case::keeping(make, Retention { messages: 2, ..KEEP_ALL }, &["test"]);
    let open = async |log: Arc<dyn EventLog>, project: Option<&str>| {
        let namespace = Some("test".to_owned());
        let query = ListChannels { namespace, project: project.map(str::to_owned), open: true, limit: 9, below: None };
        let found = log.list(query).await.expect("reads");
        assert!(found.iter().all(|facts| facts.open));
        found.iter().map(|facts| facts.channel.to_string()).collect::<Vec<_>>()
    };
    for (channel, project) in [("test:a", "p"), ("test:b", "q"), ("test:c", "p"), ("tester:d", "p")] {
        case.send(opening(channel, None, Some(project))).await.expect("durable");
        case.publish(channel, &["2", "3", "4"]).await;
    }
    assert_eq!(open(case.log(), None).await, ["test:c", "test:b", "test:a"]);
    let save = async |log: Arc<dyn EventLog>, channel: &str, seq, settled| {
        log.save_state(&name(channel), state(seq, b"s"), settled).await.expect("saved");
    };
    save(case.log(), "test:a", 4, true).await;
    save(case.log(), "test:b", 3, true).await;
    save(case.log(), "test:c", 4, false).await;
    // What trims, and what writes the index, changes nothing.
    case.sink.until_trimmed(&name("test:a"), 3).await;
    for _ in 0..2 {
        assert_eq!(open(case.log(), None).await, ["test:c", "test:b"], "one has a newer message, one something open");
        assert_eq!(open(case.log(), Some("p")).await, ["test:c"]);
        assert!(!case.log().facts(&name("test:a")).await.expect("reads").expect("known").open);
        case.restart().await;
    }
    case.publish("test:a", &["5"]).await;
    for _ in 0..2 {
        assert_eq!(open(case.log(), Some("p")).await, ["test:c", "test:a"], "a message opens it again");
        case.restart().await;
    }
    save(case.log(), "test:a", 4, true).await;
    assert_eq!(open(case.log(), Some("p")).await, ["test:c", "test:a"], "an older state says nothing of it");
    save(case.log(), "test:a", 5, true).await;
    assert_eq!(open(case.log(), Some("p")).await, ["test:c"]);
    save(case.log(), "test:a", 5, false).await;
    assert_eq!(open(case.log(), Some("p")).await, ["test:c", "test:a"], "another reducer may see it otherwise");
    case.log().delete(&name("test:a")).await.expect("deleted");
    assert_eq!(open(case.log(), Some("p")).await, ["test:c"], "nothing is open in what is deleted");
    // What is refused opens nothing.
    let refused = vec![
        with_id(said("test:b", "x"), "one"),
        with_id(said("test:a", "y"), "two"),
        with_id(said("test:b", "z"), "one"),
    ];
    case.send(refused).await.expect_err("a conflict");
    assert_eq!(open(case.log(), Some("p")).await, ["test:c"]);
    case.end().await;
}

async fn a_deleted_channel_keeps_its_head(make: Make<'_>) {
    let mut case = Case::new(make);
    let refused = case.log().delete(&name("test:unknown")).await.expect_err("never published to");
    assert_eq!(refused.code(), Code::NotFound);
    case.send(opening("test:a", Some("u1"), None)).await.expect("durable");
    case.publish("test:a", &["2", "3"]).await;
    case.publish("test:b", &["stays"]).await;
    case.log().save_state(&name("test:a"), state(2, b"two"), false).await.expect("saved");
    case.log().delete(&name("test:a")).await.expect("deleted");
    case.sink
        .until("the deletion", |heard| {
            heard
                .iter()
                .any(|heard| matches!(heard, Heard::Deleted(channel) if *channel == name("test:a")))
                .then_some(())
        })
        .await;
    for _ in 0..2 {
        let page = case.kept("test:a").await;
        assert_eq!((page.messages.len(), page.first, page.head), (0, 4, 3));
        let facts = case.log().facts(&name("test:a")).await.expect("reads").expect("still known");
        assert_eq!((facts.head, facts.first, facts.bytes, facts.saved), (3, 4, 0, None));
        assert_eq!(case.state("test:a").await, None);
        assert_eq!(facts.owner.expect("the owner stays").as_str(), "u1");
        let fed = case.log().feed(0, 100).await.expect("reads");
        assert_eq!(fed.len(), 1, "only what was not deleted");
        case.restart().await;
    }
    assert_eq!(case.publish("test:a", &["new"]).await, 4);
    assert_eq!(numbers(&case.kept("test:a").await.messages), [4]);
    case.end().await;
}

async fn a_restart_changes_nothing(make: Make<'_>) {
    let mut case = Case::new(make);
    let epoch = case.log().epoch();
    case.send(opening("test:a", Some("u1"), Some("p"))).await.expect("durable");
    case.publish("test:a", &["2"]).await;
    case.log().save_state(&name("test:a"), state(2, b"two"), false).await.expect("saved");
    let before = case.log().facts(&name("test:a")).await.expect("reads");
    case.restart().await;
    assert_eq!(case.log().epoch(), epoch);
    let after = case.log().facts(&name("test:a")).await.expect("reads");
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    assert_eq!(case.state("test:a").await, Some(state(2, b"two")));
    let placed = case.send(vec![said("test:a", "3"), said("test:b", "1")]).await.expect("durable");
    assert_eq!(seqs(&placed), [Some(3), Some(1)]);
    assert_eq!(numbers(&case.kept("test:a").await.messages), [1, 2, 3]);
    case.end().await;
}
