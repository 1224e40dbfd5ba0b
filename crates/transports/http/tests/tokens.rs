//! Tokens that belong to no login, over HTTP.

use super::{ADMIN, NOBODY, Server, VIEWER};

/// The ids of a page, and what the next one goes on after.
async fn page(server: &Server, token: &str, query: &str) -> (Vec<String>, Option<String>) {
    let page = server.ask("GET", &format!("/api/tokens{query}"), token).await.json();
    let tokens = page["tokens"].as_array().expect("tokens").iter();
    let ids = tokens.map(|token| token["id"].as_str().expect("an id").to_owned()).collect();
    (ids, page["cursor"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn everybody_sees_the_own_tokens_and_an_administrator_all() {
    let server = Server::start();
    let both = vec!["token-of-u-root".to_owned(), "token-of-u-viewer".to_owned()];
    assert_eq!(page(&server, ADMIN, "").await, (both.clone(), None));
    assert_eq!(page(&server, ADMIN, "?limit=1").await, (both[..1].to_vec(), Some(both[0].clone())));
    assert_eq!(page(&server, ADMIN, &format!("?limit=1&cursor={}", both[0])).await, (both[1..].to_vec(), None));
    assert_eq!(page(&server, ADMIN, "?userId=u-viewer").await.0, both[1..]);
    assert_eq!(page(&server, VIEWER, "").await.0, both[1..]);
    assert_eq!(page(&server, VIEWER, "?userId=u-viewer").await.0, both[1..]);
    assert_eq!(page(&server, NOBODY, "").await.0, Vec::<String>::new());
    assert_eq!(server.ask("GET", "/api/tokens?userId=u-root", VIEWER).await.code(), "forbidden");
    assert_eq!(server.ask("GET", "/api/tokens?userId=a:b", ADMIN).await.code(), "invalid_data");
    assert_eq!(server.ask("GET", "/api/tokens?user=x", ADMIN).await.code(), "invalid_data");
    assert_eq!(server.ask("GET", "/api/tokens", "").await.code(), "unauthenticated");
    server.stop().await;
}

#[tokio::test]
async fn a_token_is_revoked_by_whom_it_belongs_to_and_any_by_an_administrator() {
    let server = Server::start();
    for (token, id, code) in [
        ("", "token-of-u-viewer", Some("unauthenticated")),
        (NOBODY, "token-of-u-viewer", Some("not_found")),
        (VIEWER, "token-of-u-root", Some("not_found")),
        (VIEWER, "nonsense", Some("not_found")),
        (VIEWER, "token-of-u-viewer", None),
        (VIEWER, "token-of-u-viewer", Some("not_found")),
        (ADMIN, "token-of-u-root", None),
        (ADMIN, "one%2Ffrom%3Aelsewhere", None),
    ] {
        let answer = server.ask("DELETE", &format!("/api/tokens/{id}"), token).await;
        match code {
            Some(code) => assert_eq!(answer.code(), code, "{id}"),
            None => assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""), "{id}"),
        }
    }
    server.stop().await;
}
