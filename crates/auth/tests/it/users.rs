//! Users: making, listing, changing, deleting.

use tidings_core::{
    Code,
    identity::{Identity, NewUser, Revocation, Secret, UserChange},
    principal::Role,
};

use crate::house::{House, PASSWORD, id, refused};

fn roles(roles: &[Role]) -> UserChange {
    UserChange { roles: Some(roles.to_vec()), ..UserChange::default() }
}

fn disabled(disabled: bool) -> UserChange {
    UserChange { disabled: Some(disabled), ..UserChange::default() }
}

fn password(text: &str) -> UserChange {
    UserChange { password: Some(Secret(text.to_owned())), ..UserChange::default() }
}

#[tokio::test]
async fn a_user_is_as_it_was_made_and_can_be_found_by_id_and_by_name() {
    let house = House::new();
    let made = house.user("Ann.B@example-1", &[Role::Viewer, Role::Operator, Role::Viewer]).await;
    assert_eq!(made.roles, vec![Role::Operator, Role::Viewer]);
    assert!(!made.disabled);
    assert_eq!(house.auth.user(&made.id).await.unwrap(), made);
    assert_eq!(house.auth.user_by_name("ann.b@EXAMPLE-1").await.unwrap(), made);
    assert_eq!(house.second().auth.user(&made.id).await.unwrap(), made);
    refused(house.auth.user(&id("nobody")).await, Code::NotFound);
    refused(house.auth.user_by_name("nobody").await, Code::NotFound);
}

#[tokio::test]
async fn a_name_is_taken_in_every_case_of_its_letters() {
    let house = House::new();
    house.user("ann", &[]).await;
    let again = NewUser { username: "ANN".to_owned(), password: Secret(PASSWORD.to_owned()), roles: vec![] };
    refused(house.auth.create_user(again).await, Code::Conflict);
}

#[tokio::test]
async fn names_and_passwords_outside_the_rules_are_refused_by_field_and_not_repeated() {
    let house = House::new();
    let long_name = "x".repeat(65);
    let long = "é".repeat(257);
    let cases = [
        ("", PASSWORD, "username"),
        ("ann b", PASSWORD, "username"),
        ("ann:b", PASSWORD, "username"),
        ("änn", PASSWORD, "username"),
        (long_name.as_str(), PASSWORD, "username"),
        ("ann", "elevenchars", "password"),
        ("ann", "", "password"),
        ("ann", long.as_str(), "password"),
    ];
    for (username, password, field) in cases {
        let user = NewUser { username: username.to_owned(), password: Secret(password.to_owned()), roles: vec![] };
        let error = refused(house.auth.create_user(user).await, Code::InvalidData);
        assert_eq!(error.fields().keys().collect::<Vec<_>>(), [field]);
        assert!(password.is_empty() || !error.to_string().contains(password));
    }
    let longest = "é".repeat(256);
    let user = NewUser { username: "ann".to_owned(), password: Secret(longest.clone()), roles: vec![] };
    house.auth.create_user(user).await.unwrap();
    house.try_login("ann", &longest).await.unwrap();
}

#[tokio::test]
async fn users_are_listed_by_name_page_by_page() {
    let house = House::new();
    for name in ["dora", "Bob", "ann", "Carl"] {
        house.user(name, &[]).await;
    }
    let names = |users: Vec<tidings_core::identity::User>| users.into_iter().map(|u| u.username).collect::<Vec<_>>();
    let first = names(house.auth.users(None, 3).await.unwrap());
    assert_eq!(first, ["ann", "Bob", "Carl"]);
    assert_eq!(names(house.auth.users(Some("CARL".to_owned()), 3).await.unwrap()), ["dora"]);
    assert!(house.auth.users(Some("dora".to_owned()), 3).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_new_password_ends_the_logins_made_with_the_old_one() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let login = house.login("ann").await;
    let mut heard = house.revocations();
    house.change(&user.id, password("another long password")).await;
    assert_eq!(heard.so_far(), vec![Revocation::User(user.id)]);
    refused(house.verify(&login.token), Code::TokenRevoked);
    refused(house.refresh(&login.refresh_token).await, Code::TokenRevoked);
    refused(house.try_login("ann", PASSWORD).await, Code::Unauthenticated);
    let login = house.try_login("ann", "another long password").await.unwrap();
    house.verify(&login.token).unwrap();
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once_and_back_when_enabled_but_not_with_old_tokens() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let login = house.login("ann").await;
    let minted = house.mint(&user.id, &[Role::Viewer]);
    let mut heard = house.revocations();
    assert!(house.change(&user.id, disabled(true)).await.disabled);
    assert_eq!(heard.so_far(), vec![Revocation::User(user.id.clone())]);
    for token in [&login.token, &minted, &house.mint(&user.id, &[Role::Viewer])] {
        refused(house.verify(token), Code::TokenRevoked);
    }
    refused(house.refresh(&login.refresh_token).await, Code::TokenRevoked);
    house.change(&user.id, disabled(false)).await;
    for token in [&login.token, &minted] {
        refused(house.verify(token), Code::TokenRevoked);
    }
    refused(house.refresh(&login.refresh_token).await, Code::TokenRevoked);
    house.verify(&house.login("ann").await.token).unwrap();
}

#[tokio::test]
async fn fewer_roles_end_connections_and_more_roles_come_with_the_next_token() {
    let house = House::new();
    let user = house.user("ann", &[Role::Viewer]).await;
    let login = house.login("ann").await;
    let mut heard = house.revocations();
    house.change(&user.id, roles(&[Role::Operator, Role::Viewer])).await;
    assert_eq!(heard.so_far(), vec![]);
    refused(house.verify(&login.token), Code::TokenRevoked);
    let login = house.refresh(&login.refresh_token).await.unwrap();
    assert_eq!(login.user.roles, vec![Role::Operator, Role::Viewer]);
    assert_eq!(house.verify(&login.token).unwrap().roles, vec![Role::Operator, Role::Viewer]);
    house.change(&user.id, roles(&[Role::Viewer])).await;
    assert_eq!(heard.so_far(), vec![Revocation::User(user.id.clone())]);
    refused(house.verify(&login.token), Code::TokenRevoked);
    let login = house.refresh(&login.refresh_token).await.unwrap();
    assert_eq!(house.verify(&login.token).unwrap().roles, vec![Role::Viewer]);
    house.change(&user.id, roles(&[Role::Viewer])).await;
    house.verify(&login.token).unwrap();
}

#[tokio::test]
async fn an_answer_that_is_given_again_has_the_roles_of_now() {
    let house = House::new();
    let user = house.user("ann", &[Role::Viewer]).await;
    let first = house.login("ann").await;
    let second = house.refresh(&first.refresh_token).await.unwrap();
    house.change(&user.id, roles(&[])).await;
    let again = house.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, second.refresh_token);
    assert!(house.verify(&again.token).unwrap().roles.is_empty());
}

#[tokio::test]
async fn a_deleted_user_is_gone_with_all_its_tokens_for_good() {
    let house = House::new();
    let user = house.user("ann", &[]).await;
    let login = house.login("ann").await;
    let mut heard = house.revocations();
    house.auth.delete_user(&user.id).await.unwrap();
    assert_eq!(heard.so_far(), vec![Revocation::User(user.id.clone())]);
    refused(house.verify(&login.token), Code::TokenRevoked);
    refused(house.refresh(&login.refresh_token).await, Code::TokenRevoked);
    refused(house.try_login("ann", PASSWORD).await, Code::Unauthenticated);
    refused(house.auth.delete_user(&user.id).await, Code::NotFound);
    let later = house.second();
    refused(later.verify(&later.mint(&user.id, &[])), Code::TokenRevoked);
    let another = house.user("ann", &[]).await;
    assert_ne!(another.id, user.id);
    house.verify(&house.login("ann").await.token).unwrap();
}

#[tokio::test]
async fn the_last_admin_can_be_neither_deleted_disabled_nor_demoted() {
    let house = House::new();
    let ann = house.user("ann", &[Role::Admin]).await.id;
    let bob = house.user("bob", &[Role::Admin]).await.id;
    house.change(&bob, disabled(true)).await;
    refused(house.auth.delete_user(&ann).await, Code::Conflict);
    refused(house.auth.change_user(&ann, disabled(true)).await, Code::Conflict);
    refused(house.auth.change_user(&ann, roles(&[Role::Operator])).await, Code::Conflict);
    assert_eq!(house.auth.user(&ann).await.unwrap().roles, vec![Role::Admin]);
    house.login("ann").await;
    house.change(&bob, disabled(false)).await;
    house.change(&ann, roles(&[Role::Operator])).await;
    refused(house.auth.delete_user(&bob).await, Code::Conflict);
    house.auth.delete_user(&ann).await.unwrap();
}

#[tokio::test]
async fn two_admins_cannot_remove_each_other_at_the_same_time() {
    let house = House::new();
    let ann = house.user("ann", &[Role::Admin]).await.id;
    let bob = house.user("bob", &[Role::Admin]).await.id;
    let other = house.second();
    let (a, b) = tokio::join!(house.auth.delete_user(&ann), other.auth.delete_user(&bob));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
}

#[tokio::test]
async fn nothing_that_was_secret_is_in_the_files() {
    let house = House::new();
    house.user("ann", &[]).await;
    let login = house.login("ann").await;
    let next = house.refresh(&login.refresh_token).await.unwrap();
    for file in ["users.db", "users.db-wal"] {
        let bytes = std::fs::read(house.dir.path().join(file)).unwrap();
        for secret in [PASSWORD, &login.token, &login.refresh_token, &next.refresh_token] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{file}");
        }
    }
}
