//! Revocations: at once, across restarts and processes.

use std::time::Duration;

use tidings_core::{
    Code, Timestamp,
    identity::{Identity, Revocation, UserChange},
    principal::Role,
    runtime::Clock,
};

use crate::house::{House, id, refused};

#[tokio::test]
async fn a_revoked_user_is_out_with_every_token_and_may_log_in_again_in_the_same_millisecond() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    for _ in 0..3 {
        let login = house.login("ann").await;
        house.verify(&login.token).unwrap();
        let minted = house.mint(&user.id, &[]);
        house.verify(&minted).unwrap();
        house.auth.revoke_user(&user.id).await.unwrap();
        refused(house.verify(&login.token), Code::TokenRevoked);
        refused(house.verify(&minted), Code::TokenRevoked);
        refused(house.refresh(&login.refresh_token).await, Code::TokenRevoked);
    }
    house.verify(&house.login("ann").await.token).unwrap();
}

#[tokio::test]
async fn a_user_whom_only_minted_tokens_know_can_be_revoked() {
    let house = House::new();
    let script = id("script");
    let (mine, others) = (house.mint(&script, &[Role::Viewer]), house.mint(&id("other"), &[Role::Viewer]));
    let mut heard = house.revocations();
    house.auth.revoke_user(&script).await.unwrap();
    assert_eq!(heard.so_far(), vec![Revocation::User(script.clone())]);
    refused(house.verify(&mine), Code::TokenRevoked);
    house.verify(&others).unwrap();
    house.verify(&house.mint(&script, &[Role::Viewer])).unwrap();
}

#[tokio::test]
async fn one_token_can_be_revoked_by_its_id() {
    let house = House::new();
    let (one, two) = (house.mint(&id("script"), &[]), house.mint(&id("script"), &[]));
    let token_id = house.verify(&one).unwrap().token_id.unwrap();
    house.auth.revoke_token(&token_id, None).await.unwrap();
    refused(house.verify(&one), Code::TokenRevoked);
    house.verify(&two).unwrap();
    refused(house.auth.revoke_token("", None).await, Code::BadRequest);
    refused(house.auth.revoke_token(&"x".repeat(300), None).await, Code::BadRequest);
}

#[tokio::test]
async fn revocations_outlive_a_restart() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let logged_out = house.login("ann").await;
    house.logout(&house.verify(&logged_out.token).unwrap()).await.unwrap();
    let (by_user, by_id) = (house.mint(&user.id, &[]), house.mint(&id("script"), &[]));
    let token_id = house.verify(&by_id).unwrap().token_id.unwrap();
    house.auth.revoke_token(&token_id, None).await.unwrap();
    house.auth.revoke_user(&user.id).await.unwrap();
    let later = house.second();
    for token in [&logged_out.token, &by_user, &by_id] {
        refused(later.verify(token), Code::TokenRevoked);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_lets_no_old_token_through() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let token = house.mint(&user.id, &[]);
    house.clock.leap_to(Timestamp(house.clock.now().0 - 600_000));
    house.auth.revoke_user(&user.id).await.unwrap();
    refused(house.verify(&token), Code::TokenRevoked);
    house.verify(&house.mint(&user.id, &[])).unwrap();
    house.verify(&house.second().mint(&user.id, &[])).unwrap();
}

#[tokio::test]
async fn after_a_clock_that_was_years_ahead_tokens_live_no_longer_than_they_should() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let now = house.clock.now();
    house.clock.leap_to(now.plus_ms(14 * 365 * 24 * 3_600_000));
    let ahead = house.login("ann").await;
    house.clock.leap_to(now);
    house.auth.revoke_user(&user.id).await.unwrap();
    refused(house.verify(&ahead.token), Code::TokenRevoked);
    let login = house.login("ann").await;
    assert_eq!(login.expires_at, now.plus_ms(15 * 60 * 1000));
    house.verify(&login.token).unwrap();
    let next = house.refresh(&login.refresh_token).await.unwrap();
    let again = house.refresh(&login.refresh_token).await.unwrap();
    assert_eq!((next.expires_at, &next.token), (login.expires_at, &again.token));
    house.clock.advance(Duration::from_secs(15 * 60));
    refused(house.verify(&next.token), Code::TokenExpired);
}

#[tokio::test]
async fn what_another_process_changes_is_seen_and_told_without_being_asked() {
    let server = House::new();
    let user = server.user("ann", &[Role::Viewer]).await;
    server.user("root", &[Role::Admin]).await;
    let login = server.login("ann").await;
    let mut heard = server.revocations();
    let command_line = server.second();
    command_line.change(&user.id, UserChange { disabled: Some(true), ..UserChange::default() }).await;
    assert_eq!(heard.next().await, Revocation::User(user.id.clone()));
    refused(server.verify(&login.token), Code::TokenRevoked);
    command_line.change(&user.id, UserChange { disabled: Some(false), ..UserChange::default() }).await;
    // Without a wait: a login looks at the disk, and what it saw there holds for its token.
    let login = server.login("ann").await;
    server.verify(&login.token).unwrap();
    let bob = command_line.user("bob", &[Role::Operator]).await;
    let login = server.login("bob").await;
    assert_eq!(server.verify(&login.token).unwrap().user, bob.id);
}

#[tokio::test]
async fn revocations_are_told_once_and_in_order() {
    let house = House::new();
    let other = house.second();
    let (mut here, mut there) = (house.revocations(), other.revocations());
    let users: Vec<_> = (0..10).map(|n| id(&format!("u{n}"))).collect();
    for user in &users {
        house.auth.revoke_user(user).await.unwrap();
    }
    let expected: Vec<_> = users.into_iter().map(Revocation::User).collect();
    assert_eq!(here.so_far(), expected);
    for revocation in expected {
        assert_eq!(there.next().await, revocation);
    }
    house.clock.advance(Duration::from_secs(1));
    house.auth.revoke_user(&id("last")).await.unwrap();
    assert_eq!(there.next().await, Revocation::User(id("last")));
}
