//! What somebody does with the own account, and the tokens that belong to no login.

use std::time::Duration;

use tidings_auth::{NewToken, Whose};
use tidings_core::{
    Code, Error, Result,
    identity::{Identity, OwnPassword, Revocation, Revoked, Secret, UserChange},
    principal::Role,
    runtime::Clock,
};

use crate::house::{HOUR, House, PASSWORD, id, refused};

const ANOTHER: &str = "another long password";

fn own(current: &str, password: &str) -> OwnPassword {
    OwnPassword { current: Secret(current.to_owned()), password: Secret(password.to_owned()) }
}

#[tokio::test]
async fn somebody_sees_the_own_logins_and_ends_one_of_them() {
    let house = House::new();
    house.user("ann", &[]).await;
    house.user("bob", &[]).await;
    let (bob, there) = (house.login("bob").await, house.try_login_from("198.51.100.7", "ann", PASSWORD).await.unwrap());
    house.clock.advance(Duration::from_secs(60));
    let here = house.login("ann").await;
    let logins = house.own(&here).await;
    let [mine, other] = logins.as_slice() else { panic!("{logins:?}") };
    assert!(mine.current && !other.current && mine.id != other.id);
    assert_eq!(other.address.as_deref(), Some("198.51.100.7"));
    assert_eq!(other.agent.as_deref(), Some("agent at 198.51.100.7"));
    assert_eq!(mine.created_at, Some(house.clock.now()));
    assert_eq!(other.created_at.map(|at| at.plus_ms(60_000)), mine.created_at);
    let principal = house.verify(&here.token).unwrap();
    let bobs = house.own(&bob).await.remove(0).id;
    for wrong in [bobs.as_str(), "", "nonsense"] {
        refused(house.auth.end_login(&principal, wrong).await, Code::NotFound);
    }
    let mut heard = house.revocations();
    house.auth.end_login(&principal, &other.id).await.unwrap();
    assert_eq!(heard.so_far(), vec![Revocation::Family(other.id.as_str().into())]);
    refused(house.auth.end_login(&principal, &other.id).await, Code::NotFound);
    refused(house.refresh(&there.refresh_token).await, Code::TokenRevoked);
    assert_eq!(house.own(&here).await.len(), 1);
    house.verify(&bob.token).unwrap();
}

#[tokio::test]
async fn a_new_password_of_ones_own_ends_all_other_logins_and_keeps_this_one() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let (here, there, bob) = (house.login("ann").await, house.login("ann").await, house.user("bob", &[]).await);
    let (token, bobs) = (house.issue(Whose::User("ann".to_owned())).unwrap(), house.mint(&bob.id, &[]));
    let principal = house.verify(&here.token).unwrap();
    for (change, field) in [(own("a wrong password", ANOTHER), "current"), (own(PASSWORD, "short"), "password")] {
        let error = refused(house.auth.change_own_password(&principal, change).await, Code::InvalidData);
        assert_eq!(error.fields().keys().collect::<Vec<_>>(), [field]);
    }
    house.verify(&there.token).unwrap();
    house.auth.change_own_password(&principal, own(PASSWORD, ANOTHER)).await.unwrap();
    refused(house.verify(&there.token), Code::TokenRevoked);
    refused(house.refresh(&there.refresh_token).await, Code::TokenRevoked);
    for token in [&here.token, &token, &bobs, &house.refresh(&here.refresh_token).await.unwrap().token] {
        house.verify(token).unwrap();
    }
    refused(house.try_login("ann", PASSWORD).await, Code::Unauthenticated);
    let again = house.try_login("ann", ANOTHER).await.unwrap();
    assert_eq!(house.verify(&again.token).unwrap().user, user.id);
}

#[tokio::test]
async fn whoever_has_a_token_cannot_guess_the_password_with_it() {
    let house = House::new();
    house.user("ann", &[]).await;
    let principal = house.verify(&house.login("ann").await.token).unwrap();
    for _ in 0..10 {
        let wrong = house.auth.change_own_password(&principal, own("a wrong password", ANOTHER)).await;
        refused(wrong, Code::InvalidData);
    }
    refused(house.auth.change_own_password(&principal, own(PASSWORD, ANOTHER)).await, Code::RateLimited);
    house.login("ann").await;
}

#[tokio::test]
async fn a_token_of_no_login_is_no_way_to_the_account() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let login = house.login("ann").await;
    let principal = house.verify(&house.issue(Whose::User("ann".to_owned())).unwrap()).unwrap();
    assert_eq!(principal.user, user.id);
    let id = house.own(&login).await.remove(0).id;
    refused(house.auth.logins(&principal).await, Code::Forbidden);
    refused(house.auth.end_login(&principal, &id).await, Code::Forbidden);
    refused(house.auth.change_own_password(&principal, own(PASSWORD, ANOTHER)).await, Code::Forbidden);
    house.verify(&login.token).unwrap();
}

#[tokio::test]
async fn a_token_is_made_for_a_user_by_name_or_id_and_ends_with_the_user() {
    let house = House::new();
    house.user("root", &[Role::Admin]).await;
    for (number, end) in ["disabled", "deleted", "revoked", "demoted"].into_iter().enumerate() {
        let user = house.user(&format!("User.{number}"), &[Role::Viewer]).await;
        let by_name = house.issue(Whose::User(format!("uSER.{number}"))).unwrap();
        let by_id = house.issue(Whose::User(user.id.to_string())).unwrap();
        for token in [&by_name, &by_id] {
            assert_eq!(house.verify(token).unwrap().user, user.id);
        }
        let listed = house.auth.tokens(Some(user.id.clone()), None, 10).await.unwrap().tokens;
        assert_eq!((listed.len(), listed[0].username.as_deref()), (2, Some(user.username.as_str())));
        match end {
            "disabled" => {
                drop(house.change(&user.id, UserChange { disabled: Some(true), ..UserChange::default() }).await)
            }
            "deleted" => house.auth.delete_user(&user.id).await.unwrap(),
            "revoked" => house.auth.revoke_user(&user.id).await.unwrap(),
            _ => drop(house.change(&user.id, UserChange { roles: Some(vec![]), ..UserChange::default() }).await),
        }
        for token in [&by_name, &by_id] {
            refused(house.verify(token), Code::TokenRevoked);
        }
        assert_eq!(house.auth.tokens(Some(user.id), None, 10).await.unwrap().tokens, vec![], "{end}");
        let code = match end {
            "disabled" => Code::Conflict,
            "deleted" => Code::NotFound,
            _ => continue,
        };
        refused(house.issue(Whose::User(format!("user.{number}"))), code);
    }
}

#[tokio::test]
async fn a_subject_is_nobody_here() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let error = refused(house.issue(Whose::User("nobody".to_owned())), Code::NotFound);
    assert!(error.message().contains("no user"), "{error}");
    refused(house.issue(Whose::Subject(user.id.clone())), Code::Conflict);
    let reserved = refused(house.issue(Whose::Subject(id("server"))), Code::InvalidData);
    assert!(reserved.fields().contains_key("subject"), "{reserved}");
    // Another application may have somebody of the same name.
    let token = house.issue(Whose::Subject(id("ann"))).unwrap();
    assert_eq!(house.verify(&token).unwrap().user, id("ann"));
    house.auth.delete_user(&user.id).await.unwrap();
    house.verify(&token).unwrap();
    let gone = refused(house.issue(Whose::Subject(user.id.clone())), Code::Conflict);
    assert!(gone.message().contains("deleted"), "{gone}");
}

fn new(grants: usize, name: &str) -> NewToken {
    let grants = vec!["session:*=subscribe".parse().unwrap(); grants];
    NewToken { whose: Whose::Subject(id("s")), name: Some(name.to_owned()), roles: vec![], grants, ttl: HOUR }
}

#[tokio::test]
async fn a_token_that_would_not_verify_is_not_made() {
    let house = House::new();
    let made = |new: NewToken| -> Result<()> { house.verify(&house.auth.issue(&new)?.0).map(drop) };
    made(new(200, "x")).unwrap();
    for (bad, field) in [(new(201, "x"), "grants"), (new(0, ""), "name"), (new(0, "a\nb"), "name")] {
        let error: Error = refused(made(bad), Code::InvalidData);
        assert!(error.fields().contains_key(field), "{error}");
    }
    let mut long = new(200, "x");
    long.grants = vec![format!("session:{}=subscribe", "x".repeat(200)).parse().unwrap(); 200];
    refused(made(long), Code::InvalidData);
    assert_eq!(house.auth.tokens(None, None, 10).await.unwrap().tokens.len(), 1, "what was refused is not listed");
}

#[tokio::test]
async fn tokens_are_listed_page_by_page_and_revoked_by_whom_they_belong_to() {
    let house = House::new();
    for number in 0..5 {
        let whose = Whose::Subject(id(if number % 2 == 0 { "even" } else { "odd" }));
        let name = Some(format!("number {number}"));
        let roles = vec![Role::Viewer, Role::Viewer];
        house.auth.issue(&NewToken { whose, name, roles, grants: vec![], ttl: HOUR }).unwrap();
    }
    // What a program mints for itself is on no list.
    house.mint(&id("even"), &[]);
    let (mut names, mut after) = (vec![], None);
    loop {
        let page = house.auth.tokens(None, after, 2).await.unwrap();
        names.extend(page.tokens.iter().map(|token| token.name.clone().unwrap()));
        after = page.cursor;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["number 4", "number 3", "number 2", "number 1", "number 0"]);
    refused(house.auth.tokens(None, Some("x".to_owned()), 2).await, Code::InvalidData);
    let odd = house.auth.tokens(Some(id("odd")), None, 10).await.unwrap().tokens;
    assert_eq!((odd.len(), &odd[0].roles), (2, &vec![Role::Viewer]));
    refused(house.auth.revoke_token(&odd[0].id, Some(&id("even"))).await, Code::NotFound);
    refused(house.auth.revoke_token("nonsense", Some(&id("odd"))).await, Code::NotFound);
    let mut heard = house.revocations();
    house.auth.revoke_token(&odd[0].id, Some(&id("odd"))).await.unwrap();
    assert_eq!(house.auth.revoke_token(&odd[1].id, None).await.unwrap(), Revoked::Listed);
    assert_eq!(house.auth.revoke_token("one from elsewhere", None).await.unwrap(), Revoked::Unlisted);
    let told = [&odd[0].id, &odd[1].id, "one from elsewhere"].map(|id| Revocation::Token(id.into()));
    assert_eq!(heard.so_far(), told);
    refused(house.auth.revoke_token(&odd[0].id, Some(&id("odd"))).await, Code::NotFound);
    assert_eq!(house.auth.revoke_token(&odd[1].id, None).await.unwrap(), Revoked::Before);
    assert_eq!(house.auth.tokens(Some(id("odd")), None, 10).await.unwrap().tokens, vec![]);
    // What has ended is on it no more.
    house.clock.advance(HOUR);
    assert_eq!(house.auth.tokens(None, None, 10).await.unwrap().tokens, vec![]);
}

#[tokio::test]
async fn a_revocation_catches_a_token_that_a_process_with_a_fast_clock_made() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let now = house.clock.now();
    let command_line = house.second();
    house.clock.leap_to(now.plus_ms(600_000));
    let token = command_line.issue(Whose::User("ann".to_owned())).unwrap();
    house.clock.leap_to(now);
    house.verify(&token).unwrap();
    let later = house.second();
    later.auth.revoke_user(&user.id).await.unwrap();
    refused(later.verify(&token), Code::TokenRevoked);
    later.verify(&later.login("ann").await.token).unwrap();
}
