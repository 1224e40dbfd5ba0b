//! The administration of users over HTTP.

use serde_json::json;

use super::{ADMIN, PRODUCER, Server, VIEWER};

const ADA: &str = r#"{"username":"ada","password":"a long enough one","roles":["operator"]}"#;

#[tokio::test]
async fn a_user_is_made_shown_changed_and_deleted() {
    let server = Server::start();
    let made = server.tell("POST", "/api/users", ADMIN, ADA).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, "/api/users/u-ada"));
    assert!(!made.text.contains("password"));
    let shown = server.ask("GET", "/api/users/u-ada", ADMIN).await.json();
    assert_eq!(shown, made.json());
    let changed = server.tell("PATCH", "/api/users/u-ada", ADMIN, r#"{"roles":["viewer"],"disabled":true}"#).await;
    assert_eq!(changed.json()["roles"], json!(["viewer"]));
    let login = r#"{"username":"ada","password":"a long enough one"}"#;
    assert_eq!(server.tell("POST", "/api/auth/login", "", login).await.code(), "unauthenticated");
    assert_eq!(server.ask("DELETE", "/api/users/u-ada", ADMIN).await.status.as_u16(), 204);
    assert_eq!(server.ask("GET", "/api/users/u-ada", ADMIN).await.code(), "not_found");
    server.stop().await;
}

#[tokio::test]
async fn a_list_of_users_goes_on_at_its_cursor() {
    let server = Server::start();
    for name in ["bob", "eve", "zoe"] {
        let body = json!({"username": name, "password": "a long enough one"}).to_string();
        server.tell("POST", "/api/users", ADMIN, &body).await.json();
    }
    let (mut names, mut path) = (Vec::new(), "/api/users?limit=2".to_owned());
    loop {
        let page = server.ask("GET", &path, ADMIN).await.json();
        let users = page["users"].as_array().expect("users");
        names.extend(users.iter().map(|user| user["username"].as_str().expect("a name").to_owned()));
        let Some(cursor) = page["cursor"].as_str() else { break };
        path = format!("/api/users?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["bob", "eve", "root", "zoe"]);
    server.stop().await;
}

#[tokio::test]
async fn a_revocation_ends_tokens_at_once() {
    let server = Server::start();
    assert_eq!(server.ask("POST", "/api/users/u-viewer/revoke", ADMIN).await.status.as_u16(), 204);
    assert_eq!(server.ask("GET", "/api/auth/me", VIEWER).await.code(), "token_revoked");
    server.stop().await;
}

#[tokio::test]
async fn nobody_but_an_administrator_reaches_users() {
    let server = Server::start();
    for (method, path) in [
        ("GET", "/api/users"),
        ("POST", "/api/users"),
        ("GET", "/api/users/u-root"),
        ("PATCH", "/api/users/u-root"),
        ("DELETE", "/api/users/u-root"),
        ("POST", "/api/users/u-root/revoke"),
    ] {
        for token in [VIEWER, PRODUCER] {
            assert_eq!(server.tell(method, path, token, "nonsense").await.code(), "forbidden", "{method} {path}");
        }
        assert_eq!(server.tell(method, path, "", "nonsense").await.code(), "unauthenticated", "{method} {path}");
    }
    assert_eq!(server.ask("GET", "/api/auth/me", ADMIN).await.json()["user"]["username"], "root");
    server.stop().await;
}
