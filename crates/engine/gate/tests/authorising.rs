//! Who may do what on a channel: grants, ownership, membership, and nothing else.

use serde_json::json;
use tidings_core::{
    Action, Code, Event, Principal, Result,
    bus::EventBus,
    command::Visibility,
    principal::{Membership, Role},
};
use tidings_testkit::RecordingOutlet;

use super::{Effects, code, run, things};
use crate::{
    house::{ACTIONS, House, Said, channel, id, of_role, somebody},
    hub::{Outcome, SubscribeRequest},
};

/// A house with `thing:1`, which is the owner's and in project `p`.
pub(super) async fn house(effects: &std::sync::Arc<Effects>) -> House {
    let house = House::new(things(effects));
    let said = Said { id: "1".into(), owner: Some(id("owner")), project: Some("p".into()), ..Said::default() };
    house.bus.emit(Event::new("thing.made", said)).await.expect("room").await.expect("durable");
    for (user, membership) in
        [("viewer", Membership::Viewer), ("operator", Membership::Operator), ("boss", Membership::Owner)]
    {
        house.members.set("p", user, membership);
    }
    house.members.set("other", "stranger", Membership::Owner);
    house
}

#[tokio::test]
async fn grants_ownership_and_membership_allow_what_the_table_says_and_no_more() {
    use Action::{Command, Execute, Ingest, Publish, Subscribe};
    let effects = Effects::new();
    let house = house(&effects).await;
    let table: [(Principal, &str, &[Action]); 17] = [
        (somebody("stranger", &[]), "thing:1", &[]),
        (somebody("stranger", &["thing:2=subscribe", "board:*=subscribe,command"]), "thing:1", &[]),
        (somebody("stranger", &["thing:1=subscribe"]), "thing:1", &[Subscribe]),
        (somebody("stranger", &["thing:*=publish,ingest"]), "thing:1", &[Publish, Ingest]),
        (somebody("stranger", &["*=execute"]), "thing:1", &[Execute]),
        (somebody("owner", &[]), "thing:1", &[Subscribe, Command]),
        (somebody("owner", &[]), "thing:2", &[]),
        (somebody("viewer", &[]), "thing:1", &[Subscribe]),
        (somebody("operator", &[]), "thing:1", &[Subscribe, Command]),
        (somebody("boss", &[]), "thing:1", &[Subscribe, Command]),
        (somebody("boss", &[]), "thing:2", &[]),
        (of_role("r", Role::Viewer), "thing:1", &[Subscribe]),
        (of_role("r", Role::Operator), "thing:1", &[Subscribe, Command]),
        (of_role("r", Role::Admin), "thing:9", &ACTIONS),
        // Whose these are stands in their names, before anything was published there.
        (somebody("owner", &[]), "own:owner", &[Subscribe, Command]),
        (somebody("owner", &[]), "own:viewer", &[]),
        (somebody("operator", &[]), "room:p", &[Subscribe, Command]),
    ];
    for (who, name, allowed) in table {
        for action in ACTIONS {
            let judged = house.gate.authorise(&who, action, &channel(name)).await;
            let expected = (!allowed.contains(&action)).then_some(Code::Forbidden);
            assert_eq!(code(judged), expected, "{} {} {name}", who.user, action.as_str());
        }
    }
    house.stop().await;
}

#[tokio::test]
async fn a_refusal_does_not_tell_whether_the_channel_is_there() {
    let effects = Effects::new();
    let house = house(&effects).await;
    let stranger = somebody("stranger", &[]);
    let there = house.gate.authorise(&stranger, Action::Subscribe, &channel("thing:1")).await;
    let not_there = house.gate.authorise(&stranger, Action::Subscribe, &channel("thing:404")).await;
    assert_eq!(there, not_there);
    let nobodys = house.gate.authorise(&of_role("a", Role::Admin), Action::Subscribe, &channel("nowhere:1")).await;
    assert_eq!(code(nobodys), Some(Code::InvalidChannel), "not even an admin");
    house.stop().await;
}

#[tokio::test]
async fn lists_are_judged_as_the_gate_judges() {
    let effects = Effects::new();
    let house = house(&effects).await;
    let (name, owner) = (channel("thing:1"), id("owner"));
    for user in ["owner", "viewer", "operator", "boss", "stranger"] {
        let who = somebody(user, &[]);
        for action in ACTIONS {
            let listed = house.gate.judge.allows(&who, action, &name, Some(&owner), Some("p"));
            assert_eq!(listed, house.gate.authorise(&who, action, &name).await.is_ok(), "{user} {}", action.as_str());
        }
    }
    house.stop().await;
}

#[tokio::test]
async fn a_command_gets_what_its_row_needs_and_of_two_needs_both() {
    let effects = Effects::new();
    let house = house(&effects).await;
    let (say, own) = (r#"{"id":"1","text":"x"}"#, r#"{"project":"p"}"#);
    let table = [
        ("thing.say", say, somebody("operator", &[]), true),
        ("thing.say", say, somebody("viewer", &[]), false),
        ("thing.both", say, somebody("operator", &[]), false),
        ("thing.both", say, somebody("u", &["board:all=publish"]), false),
        ("thing.both", say, somebody("u", &["board:all=publish", "thing:1=command"]), true),
        ("thing.both", say, somebody("operator", &["board:all=publish"]), true),
        ("thing.admin", "{}", somebody("boss", &["*=subscribe,publish,ingest,command,execute"]), false),
        ("thing.admin", "{}", of_role("r", Role::Operator), false),
        ("thing.admin", "{}", of_role("r", Role::Admin), true),
        ("thing.own", own, somebody("boss", &[]), true),
        ("thing.own", own, somebody("operator", &["*=command"]), false),
        ("thing.own", own, somebody("owner", &[]), false),
        ("thing.own", own, somebody("stranger", &[]), false),
        ("thing.own", own, of_role("r", Role::Admin), true),
        ("thing.list", "{}", somebody("anybody", &[]), true),
    ];
    let mut expected = 0;
    for (name, input, who, may) in table {
        let answer = run(&house, &who, name, input, None).await;
        if may {
            expected += 1;
            assert_eq!(answer, Ok(json!({"nth": expected})), "{} {name}", who.user);
        } else {
            assert_eq!(code(answer), Some(Code::Forbidden), "{} {name}", who.user);
        }
        assert_eq!(effects.count(), expected, "{} {name}", who.user);
    }
    house.stop().await;
}

/// The codes with which a connection was told that subscriptions are gone.
fn closed(outlet: &RecordingOutlet) -> Vec<serde_json::Value> {
    let taken = outlet.taken().into_iter();
    taken.filter(|taken| taken.kind() == "channel.closed").map(|taken| taken.json["data"]["code"].clone()).collect()
}

#[tokio::test]
async fn a_right_that_is_lost_while_the_subscription_is_under_way_does_not_leave_it_standing() {
    let effects = Effects::new();
    let house = house(&effects).await;
    let subscribe = || vec![Ok(SubscribeRequest::plain(channel("thing:1")))];
    // The membership goes, and who listens is looked through, just before the subscription stands.
    let outlet = RecordingOutlet::open();
    let member = house.hub.connect(somebody("viewer", &[]), outlet.clone());
    let meanwhile = |outcomes: Vec<Result<Outcome>>| {
        assert!(outcomes.iter().all(Result::is_ok), "it was allowed when it was asked");
        house.members.remove("p", "viewer");
        house.gate.rights_changed();
        None
    };
    house.gate.subscribe(&member, subscribe(), meanwhile).await;
    assert_eq!((closed(&outlet), member.channels().len()), (vec![json!("forbidden")], 0));
    // The token is replaced by one that grants less.
    let outlet = RecordingOutlet::open();
    let granted = house.hub.connect(somebody("u", &["thing:1=subscribe"]), outlet.clone());
    let refreshed = granted.clone();
    let meanwhile = move |_: Vec<Result<Outcome>>| {
        refreshed.set_principal(somebody("u", &[]));
        None
    };
    house.gate.subscribe(&granted, subscribe(), meanwhile).await;
    assert_eq!((closed(&outlet), granted.channels().len()), (vec![json!("forbidden")], 0));
    // Nothing changes, or it does not concern who subscribes.
    let outlet = RecordingOutlet::open();
    let kept = house.hub.connect(somebody("operator", &[]), outlet.clone());
    house.gate.subscribe(&kept, subscribe(), |_| None).await;
    let other = |_: Vec<Result<Outcome>>| {
        house.gate.rights_changed();
        None
    };
    house.gate.subscribe(&kept, subscribe(), other).await;
    assert_eq!((closed(&outlet), kept.channels().len()), (vec![], 1));
    house.stop().await;
}
