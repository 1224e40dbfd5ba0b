//! Starts: what is refused, what starts once, and what a former life of the server left.

use serde_json::json;
use tidings_core::{Code, Event, bus::EventBus};

use super::house::{Bus, House};
use crate::session::contract::{STARTED, SessionId, Started};

#[tokio::test]
async fn a_start_in_an_unknown_project_or_of_an_unknown_agent_is_refused_and_tells_nothing() {
    let house = House::new();
    let unknown = house.try_start("u1", json!({"projectId": "p9", "command": ["true"]})).await;
    assert_eq!(unknown.expect_err("refused").code(), Code::NotFound);
    let unknown = house.try_start("u1", json!({"projectId": "p1", "agent": "nobody"})).await;
    assert_eq!(unknown.expect_err("refused").code(), Code::InvalidData);
    let all = house.sessions.clone().list(Default::default(), |_, _, _| true).await.expect("lists");
    assert!(all.items.is_empty());
    house.close().await;
}

#[tokio::test]
async fn the_same_key_starts_once_at_once_later_and_in_the_next_life() {
    let mut house = House::new();
    let request = json!({"projectId": "p1", "command": ["true"], "idempotencyKey": "k"});
    let (one, two) =
        futures_util::future::join(house.try_start("u1", request.clone()), house.try_start("u1", request.clone()))
            .await;
    let id = one.expect("starts");
    assert_eq!(two.expect("the same"), id);
    house.end(&id).await;
    assert_eq!(house.start(request.clone()).await, id);
    house.clock.advance(std::time::Duration::from_secs(23 * 3600));
    house.next_life();
    assert_eq!(house.start(request.clone()).await, id);
    assert_eq!(house.types(&id).iter().filter(|name| *name == "session.started").count(), 1);
    let other = json!({"projectId": "p1", "command": ["false"], "idempotencyKey": "k"});
    assert_eq!(house.try_start("u1", other).await.expect_err("refused").code(), Code::Conflict);
    let somebody = house.try_start("u2", request.clone()).await.expect("starts");
    assert_ne!(somebody, id);
    house.end(&somebody).await;
    house.clock.advance(std::time::Duration::from_secs(2 * 3600));
    let anew = house.start(request).await;
    assert_ne!(anew, id);
    house.end(&anew).await;
    house.close().await;
}

#[tokio::test]
async fn a_key_that_is_being_used_for_something_else_is_refused() {
    let house = House::new();
    let id = house.start(json!({"projectId": "p1", "command": ["sleep", "600"], "idempotencyKey": "k"})).await;
    let other = json!({"projectId": "p1", "command": ["sleep", "601"], "idempotencyKey": "k"});
    assert_eq!(house.try_start("u1", other).await.expect_err("refused").code(), Code::Conflict);
    house.cancel(&id).await.expect("cancels");
    house.end(&id).await;
    house.close().await;
}

#[tokio::test]
async fn nobody_gets_more_sessions_than_the_limits_say() {
    let house = House::with(|config| {
        config.limits.per_user = 1;
        config.limits.per_project = 2;
        config.limits.total = 3;
    });
    let request = |project: &str| json!({"projectId": project, "command": ["sleep", "600"]});
    let first = house.try_start("u1", request("p1")).await.expect("starts");
    let refusal = async |user: &str, project: &str| {
        let error = house.try_start(user, request(project)).await.expect_err("refused");
        assert_eq!(error.code(), Code::Overloaded);
        error.message().to_owned()
    };
    assert!(refusal("u1", "p2").await.starts_with("this user has 1"));
    house.try_start("u2", request("p1")).await.expect("starts");
    assert!(refusal("u3", "p1").await.starts_with("this project has 2"));
    house.try_start("u3", request("p2")).await.expect("starts");
    assert!(refusal("u4", "p2").await.starts_with("the server has 3"));
    house.cancel(&first).await.expect("cancels");
    house.end(&first).await;
    house.try_start("u1", request("p1")).await.expect("there is room again");
    house.close().await;
}

#[tokio::test]
async fn what_a_former_life_left_open_is_ended_and_what_runs_elsewhere_is_not() {
    let house = House::new();
    let done = house.sh("true").await;
    house.end(&done).await;
    let open = |name: &str, hosted| Started {
        session_id: name.parse().expect("an id"),
        project_id: Some("p1".parse().expect("an id")),
        title: Some("one".to_owned()),
        agent: None,
        command: None,
        prompt: None,
        worktree: None,
        hosted,
        request: None,
        board: None,
    };
    let bus = Bus(house.memory.clone());
    for (name, hosted) in [("left", true), ("elsewhere", false)] {
        let receipt = bus.emit(Event::new(STARTED, open(name, hosted))).await.expect("room");
        receipt.await.expect("kept");
    }
    house.sessions.recover().await.expect("recovers");
    let (left, elsewhere): (SessionId, SessionId) =
        ("left".parse().expect("an id"), "elsewhere".parse().expect("an id"));
    let (name, data) = house.end(&left).await;
    assert_eq!((name.as_str(), &data["code"]), ("session.error", &json!("server_stopped")));
    assert!(house.ends(&elsewhere).is_empty());
    assert_eq!(house.ends(&done).len(), 1);
    assert_eq!(house.cancel(&elsewhere).await.expect_err("not here").code(), Code::Conflict);
    house.sessions.recover().await.expect("recovers again");
    house.end(&left).await;
    house.close().await;
}
