//! Logging in, refreshing, logging out.

use std::time::Duration;

use tidings_auth::LoginLimits;
use tidings_core::{
    Code, Principal,
    identity::{Identity, Revocation, UserChange},
    principal::Role,
};

use crate::house::{HOUR, House, PASSWORD, refused};

#[tokio::test]
async fn a_login_gives_a_token_with_the_users_roles_and_their_grants() {
    let house = House::new();
    let user = house.user("Ann", &[Role::Operator]).await;
    let login = house.login("aNN").await;
    assert_eq!(login.token_type, "Bearer");
    assert_eq!((&login.user.id, login.user.username.as_str()), (&user.id, "Ann"));
    let principal = house.verify(&login.token).unwrap();
    assert_eq!((&principal.user, &principal.roles), (&user.id, &vec![Role::Operator]));
    assert_eq!(principal.grants, vec![Role::Operator.grant()]);
    assert_eq!(principal.expires_at, Some(login.expires_at));
    assert!(principal.family.is_some() && principal.token_id.is_some());
}

#[tokio::test]
async fn a_wrong_name_a_wrong_password_and_a_disabled_user_are_refused_alike() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let wrong = refused(house.try_login("ann", "not the password").await, Code::Unauthenticated);
    let unknown = refused(house.try_login("bob", PASSWORD).await, Code::Unauthenticated);
    house.change(&user.id, UserChange { disabled: Some(true), ..UserChange::default() }).await;
    let disabled = refused(house.try_login("ann", PASSWORD).await, Code::Unauthenticated);
    let no_name = refused(house.try_login("an n:\0", PASSWORD).await, Code::Unauthenticated);
    assert!(wrong == unknown && unknown == disabled && disabled == no_name);
}

#[tokio::test]
async fn the_first_start_makes_one_admin_whose_password_is_told_once() {
    let house = House::new();
    let admin = house.auth.first_start().await.unwrap().expect("the first start");
    assert!(!format!("{admin:?}").contains(&admin.password.0));
    let login = house.try_login(&admin.username, &admin.password.0).await.unwrap();
    assert!(house.verify(&login.token).unwrap().is_admin());
    assert!(house.auth.first_start().await.unwrap().is_none());
    assert!(house.second().auth.first_start().await.unwrap().is_none());
}

#[tokio::test]
async fn an_access_token_ends_on_time() {
    let house = House::new();
    house.user("ann", &[]).await;
    let login = house.login("ann").await;
    house.clock.advance(Duration::from_secs(15 * 60 - 1));
    house.verify(&login.token).unwrap();
    house.clock.advance(Duration::from_secs(1));
    refused(house.verify(&login.token), Code::TokenExpired);
}

#[tokio::test]
async fn a_refresh_token_works_once_and_then_gives_the_same_answer_for_a_while() {
    let house = House::new();
    house.user("ann", &[]).await;
    let first = house.login("ann").await;
    house.clock.advance(Duration::from_secs(600));
    let second = house.refresh(&first.refresh_token).await.unwrap();
    assert!(second.refresh_token != first.refresh_token && second.token != first.token);
    assert_eq!(house.verify(&second.token).unwrap().family, house.verify(&first.token).unwrap().family);
    house.clock.advance(Duration::from_secs(60));
    let again = house.refresh(&first.refresh_token).await.unwrap();
    assert_eq!((again.token, again.refresh_token), (second.token, second.refresh_token.clone()));
    assert_eq!(again.expires_at, second.expires_at);
    // The repeat used nothing up.
    let third = house.refresh(&second.refresh_token).await.unwrap();
    house.verify(&third.token).unwrap();
}

#[tokio::test]
async fn the_same_answer_is_given_again_after_a_restart_and_after_a_rotation_of_keys() {
    let house = House::new();
    house.user("ann", &[]).await;
    let first = house.login("ann").await;
    let second = house.refresh(&first.refresh_token).await.unwrap();
    let restarted = house.second();
    let again = restarted.refresh(&first.refresh_token).await.unwrap();
    assert_eq!((&again.token, &again.refresh_token), (&second.token, &second.refresh_token));
    restarted.auth.rotate().await.unwrap();
    let again = restarted.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, second.refresh_token);
    restarted.verify(&again.token).unwrap();
}

#[tokio::test]
async fn refreshes_at_the_same_time_get_one_answer() {
    let house = House::new();
    house.user("ann", &[]).await;
    let first = house.login("ann").await;
    let other = house.second();
    let (a, b, c) = tokio::join!(
        house.refresh(&first.refresh_token),
        house.refresh(&first.refresh_token),
        other.refresh(&first.refresh_token)
    );
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    assert!(a.refresh_token == b.refresh_token && b.refresh_token == c.refresh_token);
    assert!(a.token == b.token && b.token == c.token);
}

#[tokio::test]
async fn a_refresh_token_used_again_later_ends_its_login_and_no_other() {
    let house = House::new();
    house.user("ann", &[]).await;
    let (stolen, elsewhere) = (house.login("ann").await, house.login("ann").await);
    let mut heard = house.revocations();
    let second = house.refresh(&stolen.refresh_token).await.unwrap();
    let family = house.verify(&second.token).unwrap().family.unwrap();
    house.clock.advance(Duration::from_secs(61));
    refused(house.refresh(&stolen.refresh_token).await, Code::TokenRevoked);
    assert_eq!(heard.so_far(), vec![Revocation::Family(family)]);
    refused(house.verify(&second.token), Code::TokenRevoked);
    refused(house.refresh(&second.refresh_token).await, Code::TokenRevoked);
    refused(house.refresh(&stolen.refresh_token).await, Code::TokenRevoked);
    house.verify(&elsewhere.token).unwrap();
    house.refresh(&elsewhere.refresh_token).await.unwrap();
}

#[tokio::test]
async fn a_refresh_token_far_back_in_the_line_is_still_known_as_used() {
    let house = House::new();
    house.user("ann", &[]).await;
    let first = house.login("ann").await;
    let mut newest = first.clone();
    for _ in 0..20 {
        house.clock.advance(Duration::from_secs(3600));
        newest = house.refresh(&newest.refresh_token).await.unwrap();
    }
    refused(house.refresh(&first.refresh_token).await, Code::TokenRevoked);
    refused(house.refresh(&newest.refresh_token).await, Code::TokenRevoked);
}

#[tokio::test]
async fn a_refresh_token_ends_after_its_time_and_each_use_starts_it_anew() {
    let house = House::new();
    house.user("ann", &[]).await;
    let first = house.login("ann").await;
    house.clock.advance(Duration::from_secs(29 * 24 * 3600));
    let second = house.refresh(&first.refresh_token).await.unwrap();
    house.clock.advance(Duration::from_secs(29 * 24 * 3600));
    let third = house.refresh(&second.refresh_token).await.unwrap();
    house.clock.advance(Duration::from_secs(30 * 24 * 3600));
    assert!(!refused(house.refresh(&third.refresh_token).await, Code::TokenExpired).retryable());
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let house = House::new();
    house.user("ann", &[]).await;
    let login = house.login("ann").await;
    let long = "x".repeat(100_000);
    for bad in ["", "x", &login.token, &login.refresh_token.to_lowercase(), &long] {
        let told = refused(house.refresh(bad).await, Code::Unauthenticated);
        assert!(!told.retryable(), "the same again is refused again");
    }
    refused(house.verify(&login.refresh_token), Code::Unauthenticated);
}

/// What becomes of a refresh token that somebody cut, guessed or copied badly.
fn damaged(token: &str) -> Vec<String> {
    let (handle, rest) = token.split_once('.').unwrap();
    let (secret, mark) = rest.split_once('.').unwrap();
    let last = if token.ends_with('A') { "B" } else { "A" };
    vec![
        handle.to_owned(),
        format!("{handle}."),
        format!("{handle}.{}", "A".repeat(43)),
        format!("{handle}.{}.{}", "A".repeat(43), "A".repeat(22)),
        format!("{handle}.{}.{mark}", "A".repeat(43)),
        format!("{handle}.{secret}"),
        rest.to_owned(),
        token[..token.len() - 1].to_owned(),
        format!("{}{last}", &token[..token.len() - 1]),
        format!("{token}\n"),
        format!("{token}."),
    ]
}

#[tokio::test]
async fn a_damaged_refresh_token_is_no_token_and_changes_nothing() {
    let house = House::new();
    house.user("ann", &[]).await;
    let login = house.login("ann").await;
    let mut heard = house.revocations();
    let in_use = house.refresh(&login.refresh_token).await.unwrap();
    for bad in damaged(&login.refresh_token).into_iter().chain(damaged(&in_use.refresh_token)) {
        let told = refused(house.refresh(&bad).await, Code::Unauthenticated);
        assert!(!told.retryable(), "{bad:?}");
    }
    house.verify(&in_use.token).unwrap();
    assert!(heard.so_far().is_empty());
    let next = house.refresh(&in_use.refresh_token).await.unwrap();
    // Not of another login either, nor of one that has ended.
    let (handle, _) =
        house.login("ann").await.refresh_token.split_once('.').map(|(a, b)| (a.to_owned(), b.len())).unwrap();
    let (_, rest) = next.refresh_token.split_once('.').unwrap();
    refused(house.refresh(&format!("{handle}.{rest}")).await, Code::Unauthenticated);
    house.logout(&house.verify(&next.token).unwrap()).await.unwrap();
    refused(house.refresh(&format!("{}x", next.refresh_token)).await, Code::Unauthenticated);
    refused(house.refresh(&next.refresh_token).await, Code::TokenRevoked);
}

#[tokio::test]
async fn one_that_was_given_out_long_ago_ends_its_login_whatever_keys_there_were_since() {
    let house = House::new();
    house.user("ann", &[]).await;
    let stolen = house.login("ann").await;
    let mut newest = house.refresh(&stolen.refresh_token).await.unwrap();
    for _ in 0..3 {
        house.clock.advance(2 * HOUR);
        house.auth.rotate().await.unwrap();
        newest = house.refresh(&newest.refresh_token).await.unwrap();
    }
    refused(house.refresh(&stolen.refresh_token).await, Code::TokenRevoked);
    refused(house.refresh(&newest.refresh_token).await, Code::TokenRevoked);
}

#[tokio::test]
async fn logging_out_ends_the_login_at_once_and_no_other() {
    let house = House::new();
    house.user("ann", &[]).await;
    let (here, there) = (house.login("ann").await, house.login("ann").await);
    let principal = house.verify(&here.token).unwrap();
    let mut heard = house.revocations();
    house.logout(&principal).await.unwrap();
    let heard = heard.so_far();
    assert!(heard.len() == 1 && heard[0].concerns(&principal), "{heard:?}");
    assert!(!heard[0].concerns(&house.verify(&there.token).unwrap()));
    refused(house.verify(&here.token), Code::TokenRevoked);
    refused(house.refresh(&here.refresh_token).await, Code::TokenRevoked);
    house.logout(&principal).await.unwrap();
    house.refresh(&there.refresh_token).await.unwrap();
}

#[tokio::test]
async fn logging_out_with_a_minted_token_ends_it() {
    let house = House::new();
    let token = house.mint(&crate::house::id("script"), &[Role::Viewer]);
    let principal = house.verify(&token).unwrap();
    let mut heard = house.revocations();
    house.logout(&principal).await.unwrap();
    assert_eq!(heard.so_far(), vec![Revocation::Token(principal.token_id.unwrap())]);
    refused(house.verify(&token), Code::TokenRevoked);
}

#[tokio::test]
async fn logging_out_with_a_token_that_has_no_id_is_refused_and_changes_nothing() {
    let house = House::new();
    let token = house.mint(&crate::house::id("script"), &[Role::Viewer]);
    let principal = Principal { token_id: None, ..house.verify(&token).unwrap() };
    let mut heard = house.revocations();
    refused(house.logout(&principal).await, Code::BadRequest);
    assert!(heard.so_far().is_empty());
    house.verify(&token).unwrap();
}

fn limits(per_address: u32, per_name: u32, seconds: u64) -> LoginLimits {
    LoginLimits { per_address, per_name, window: Duration::from_secs(seconds), remembered: HOUR }
}

#[tokio::test]
async fn too_many_wrong_passwords_are_refused_until_the_time_that_the_error_says() {
    let house = House::with(|config| config.login_limits = limits(0, 4, 20));
    house.user("ann", &[]).await;
    for _ in 0..2 {
        let wrong = refused(house.try_login("ann", "a wrong password").await, Code::Unauthenticated);
        assert!(!wrong.retryable(), "the same again would be wrong again");
    }
    // One address gets half of a name's tries.
    let error = refused(house.try_login("Ann", PASSWORD).await, Code::RateLimited);
    assert_eq!((error.retry_after_ms(), error.retryable()), (Some(10_000), true));
    refused(house.try_login("bob", PASSWORD).await, Code::Unauthenticated);
    house.clock.advance(Duration::from_secs(10));
    house.login("ann").await;
}

#[tokio::test]
async fn guessers_slow_a_name_down_and_never_lock_out_where_it_logged_in_before() {
    let house = House::with(|config| config.login_limits = limits(30, 10, 60));
    let user = house.user("ann", &[]).await;
    house.try_login_from("198.51.100.1", "ann", PASSWORD).await.unwrap();
    let guess = async |house: &House| {
        for guesser in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
            for _ in 0..10 {
                house.try_login_from(guesser, "ann", "a wrong password").await.unwrap_err();
            }
        }
    };
    guess(&house).await;
    let elsewhere = house.try_login_from("198.51.100.2", "ann", PASSWORD).await;
    assert!(refused(elsewhere, Code::RateLimited).retry_after_ms().is_some());
    house.try_login_from("198.51.100.1", "ANN", PASSWORD).await.unwrap();
    // What slows guessers down is forgotten with a restart, where somebody logged in from is not.
    let later = house.second();
    guess(&later).await;
    later.try_login_from("198.51.100.1", "ann", PASSWORD).await.unwrap();
    refused(later.try_login_from("198.51.100.2", "ann", PASSWORD).await, Code::RateLimited);
    // It has an age, counts under this name only, and goes with a user who is disabled.
    later.clock.advance(2 * HOUR);
    guess(&later).await;
    refused(later.try_login_from("198.51.100.1", "ann", PASSWORD).await, Code::RateLimited);
    later.clock.advance(HOUR);
    later.try_login_from("198.51.100.1", "ann", PASSWORD).await.unwrap();
    house.user("root", &[Role::Admin]).await;
    for disabled in [true, false] {
        house.change(&user.id, UserChange { disabled: Some(disabled), ..UserChange::default() }).await;
    }
    guess(&later).await;
    refused(later.try_login_from("198.51.100.1", "ann", PASSWORD).await, Code::RateLimited);
}

#[tokio::test]
async fn of_too_many_logins_of_a_user_the_one_that_was_not_used_for_longest_ends_and_says_why() {
    let house = House::with(|config| config.max_logins = 3);
    house.user("ann", &[]).await;
    house.user("bob", &[]).await;
    let mut logins = vec![];
    for _ in 0..3 {
        logins.push(house.login("ann").await);
        house.clock.advance(Duration::from_secs(10));
    }
    let bobs = house.login("bob").await;
    // The first one is used, so that the second one is the one to go.
    let first = house.refresh(&logins[0].refresh_token).await.unwrap();
    let family = house.verify(&logins[1].token).unwrap().family.unwrap();
    let mut heard = house.revocations();
    let fourth = house.login("ann").await;
    assert_eq!(heard.so_far(), vec![Revocation::Family(family)]);
    refused(house.verify(&logins[1].token), Code::TokenRevoked);
    let told = refused(house.refresh(&logins[1].refresh_token).await, Code::TokenRevoked);
    assert!(told.message().contains("too many"), "{told}");
    for token in [&first.token, &logins[2].token, &fourth.token, &bobs.token] {
        house.verify(token).unwrap();
    }
    house.refresh(&logins[2].refresh_token).await.unwrap();
    assert_eq!(house.own(&fourth).await.len(), 3);
}

#[tokio::test]
async fn the_rows_of_a_user_are_bounded_however_often_it_logs_in_refreshes_and_logs_out() {
    let house = House::with(|config| {
        config.max_logins = 3;
        config.login_limits = limits(0, 0, 60);
    });
    house.user("ann", &[]).await;
    for _ in 0..12 {
        let mut login = house.login("ann").await;
        for _ in 0..25 {
            login = house.refresh(&login.refresh_token).await.unwrap();
        }
        house.logout(&house.verify(&login.token).unwrap()).await.unwrap();
    }
    let mut login = house.login("ann").await;
    for _ in 0..25 {
        login = house.refresh(&login.refresh_token).await.unwrap();
    }
    let sql = rusqlite::Connection::open(house.dir.path().join("users.db")).unwrap();
    let rows =
        |table: &str| -> i64 { sql.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap() };
    assert!(rows("logins") <= 4 && rows("refresh_line") <= 17, "{} {}", rows("logins"), rows("refresh_line"));
    house.refresh(&login.refresh_token).await.unwrap();
}

#[tokio::test]
async fn used_refresh_tokens_are_gone_from_the_disk_within_a_minute_of_the_grace_and_still_known() {
    let house = House::new();
    house.user("ann", &[]).await;
    let first = house.login("ann").await;
    let second = house.refresh(&first.refresh_token).await.unwrap();
    let sql = rusqlite::Connection::open(house.dir.path().join("users.db")).unwrap();
    let rows = || -> i64 { sql.query_row("SELECT count(*) FROM refresh_line", (), |row| row.get(0)).unwrap() };
    assert_eq!(rows(), 2);
    house.clock.advance(Duration::from_secs(60 + 31));
    let pruned = tokio::time::timeout(tidings_testkit::PATIENCE, async {
        while rows() > 1 {
            // The step of the server runs meanwhile; each look at the disk lets it.
            house.auth.users(None, 1).await.unwrap();
        }
    });
    pruned.await.expect("they stay");
    refused(house.refresh(&first.refresh_token).await, Code::TokenRevoked);
    refused(house.refresh(&second.refresh_token).await, Code::TokenRevoked);
}

#[tokio::test]
async fn many_people_behind_one_address_can_log_in() {
    let house = House::with(|config| config.login_limits = limits(2, 0, 60));
    house.user("ann", &[]).await;
    for _ in 0..5 {
        house.login("ann").await;
    }
    for _ in 0..2 {
        refused(house.try_login("ann", "a wrong password").await, Code::Unauthenticated);
    }
    refused(house.try_login("ann", PASSWORD).await, Code::RateLimited);
}
