//! Whose a token is, and what ends it: users, subjects, keys of other applications, the list of tokens.
//!
//! Guarantees: each kind of token is tried, over HTTP and on a live connection.
//! They are not the tests of logins, which are in `logins`.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_client::{
    Client, ConnectError, Lost,
    http::{self, Method},
};

use crate::{
    server::{Server, tidings},
    watcher::Watcher,
};

const PASSWORD: &str = "a long enough password";
/// The secret of the application whose users are its own, and of the one whose users are the server's.
const SECRETS: [&str; 2] = ["foreign-0123456789abcdef0123456789", "local-0123456789abcdef0123456789ab"];

/// A server that takes the tokens of two other applications: `foreign`, and `local` with the server's users.
fn server_with_keys() -> Server {
    let home = tempfile::tempdir().expect("a directory");
    let mut config = String::new();
    for (kid, secret) in ["foreign", "local"].into_iter().zip(SECRETS) {
        let file = home.path().join(kid);
        std::fs::write(&file, secret).expect("writes");
        config += &format!(
            "[[auth.keys]]\nkid = \"{kid}\"\nalgorithm = \"HS256\"\nusers = \"{kid}\"\nsecret_file = {:?}\n",
            file.display().to_string()
        );
    }
    std::fs::write(home.path().join("tidings.toml"), config).expect("writes");
    Server::start_in(home, &[])
}

/// A token of one of those applications, for an hour, with these claims beside.
fn minted(kid: &str, claims: &Value) -> String {
    // Whoever was first has installed the same.
    tidings_auth::PROVIDER.install_default().unwrap_or_default();
    let secret = SECRETS[usize::from(kid == "local")];
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(kid.to_owned());
    let now = jsonwebtoken::get_current_timestamp();
    let mut all = json!({"iss": "tidings", "aud": "tidings", "iat": now, "exp": now + 3600});
    for (name, value) in claims.as_object().expect("claims") {
        all[name] = value.clone();
    }
    jsonwebtoken::encode(&header, &all, &EncodingKey::from_secret(secret.as_bytes())).expect("is signed")
}

async fn user(server: &Server, admin: &str, name: &str) -> String {
    let body = json!({"username": name, "password": PASSWORD, "roles": ["viewer"]});
    let made = server.post("/api/users", admin, body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().expect("an id").to_owned()
}

async fn login(server: &Server, name: &str) -> Value {
    let body = json!({"username": name, "password": PASSWORD});
    let login = http::post_json(&server.url(), "/api/auth/login", None, &body).await.expect("an answer");
    assert_eq!(login.status, 200, "{}", login.text());
    login.json()
}

fn token_of(login: &Value) -> String {
    login["token"].as_str().expect("a token").to_owned()
}

/// The status and the code of the answer to who one is.
async fn me(server: &Server, token: &str) -> (u16, Option<String>) {
    let answer = server.get("/api/auth/me", token).await;
    (answer.status, answer.json()["code"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn every_token_of_a_user_ends_with_the_user_and_those_of_a_subject_of_the_same_name_do_not() {
    let server = server_with_keys();
    let admin = server.admin();
    let of_subject = |name: &str| [server.token(name, &["--role", "viewer"]), minted("foreign", &json!({"sub": name}))];
    let subjects = ["bob0", "bob1", "bob2"].map(of_subject).concat();
    let ways = [
        (Method::PATCH, "", Some(json!({"disabled": true}))),
        (Method::DELETE, "", None),
        (Method::POST, "/revoke", Some(json!({}))),
    ];
    for (number, (method, path, body)) in ways.into_iter().enumerate() {
        // Another name each time: the other application's tokens for the next of a name are good after the leeway.
        let name = format!("Bob{number}");
        let id = user(&server, &admin, &name).await;
        let of_login = login(&server, &name).await;
        let tokens = [
            token_of(&of_login),
            server.token_of(&name, &["--role", "viewer"]),
            server.token_of(&id, &["--ttl", "300d"]),
            minted("local", &json!({"sub": name.to_lowercase()})),
            minted("local", &json!({"sub": id})),
        ];
        let mut watchers = Vec::new();
        for token in &tokens {
            let whose = server.get("/api/auth/me", token).await.json()["user"].clone();
            assert_eq!((&whose["id"], &whose["username"]), (&json!(id), &json!(name)));
            watchers.push(Watcher::connect(&server, token).await);
        }
        let path = format!("/api/users/{id}{path}");
        let ended = server.call(method.clone(), &path, &admin, body).await;
        assert!((200..300).contains(&ended.status), "{}", ended.text());
        for (token, mut watcher) in tokens.iter().zip(watchers) {
            assert_eq!(me(&server, token).await.0, 401, "{method} {path}");
            let closed = watcher.of_type("connection.closed").await;
            assert_eq!((&closed["data"]["code"], &closed["data"]["retry"]), (&json!("token_revoked"), &json!(false)));
            assert_eq!(watcher.ended().await, Lost::Disconnected);
        }
        let refresh = json!({"refreshToken": of_login["refreshToken"]});
        let refused = http::post_json(&server.url(), "/api/auth/refresh", None, &refresh).await.expect("an answer");
        assert_eq!(refused.status, 401, "{}", refused.text());
        for token in &subjects {
            assert_eq!(me(&server, token).await, (200, None), "somebody else of that name");
        }
        if method != Method::DELETE {
            server.call(Method::DELETE, &format!("/api/users/{id}"), &admin, None).await;
        }
    }
}

#[tokio::test]
async fn no_key_of_another_application_makes_somebody_a_user_here_who_may_not() {
    let server = server_with_keys();
    let id = user(&server, &server.admin(), "bob").await;
    assert_eq!(me(&server, &minted("foreign", &json!({"sub": id}))).await, (401, Some("unauthenticated".to_owned())));
    for subject in ["nobody", "server", ""] {
        let token = minted("local", &json!({"sub": subject}));
        assert_eq!(me(&server, &token).await, (401, Some("unauthenticated".to_owned())), "{subject}");
    }
    // Where the key may name bob, bob's things are bob's, and the rights are still those of the claims.
    let bob = minted("local", &json!({"sub": "bob", "roles": ["admin"], "grants": ["session:1=subscribe"]}));
    let own = server.get("/api/auth/me", &bob).await.json();
    assert_eq!((&own["roles"], &own["grants"]), (&json!([]), &json!(["session:1=subscribe"])));
    let mut watcher = Watcher::connect(&server, &bob).await;
    watcher.done("subscribe", json!(format!("user:{id}"))).await;
    let notice =
        json!({"type": "user.notice", "channel": format!("user:{id}"), "data": {"userId": id, "text": "hello"}});
    server.publish(&server.admin(), notice).await;
    assert_eq!(watcher.of_type("user.notice").await["data"]["text"], "hello");
}

#[tokio::test]
async fn a_token_that_another_application_minted_for_a_deleted_user_is_none_for_the_next_of_that_name() {
    let server = server_with_keys();
    let admin = server.admin();
    let first = user(&server, &admin, "zoe").await;
    let old = minted("local", &json!({"sub": "zoe", "iat": jsonwebtoken::get_current_timestamp() - 20}));
    assert_eq!(server.get("/api/auth/me", &old).await.json()["user"]["id"], json!(first));
    server.call(Method::DELETE, &format!("/api/users/{first}"), &admin, None).await;
    assert_eq!(me(&server, &old).await, (401, Some("unauthenticated".to_owned())));
    let second = user(&server, &admin, "Zoe").await;
    assert_eq!(me(&server, &old).await, (401, Some("token_revoked".to_owned())));
    let connected = Client::connect(&server.url(), tidings_client::token(&old)).await.map(drop);
    assert!(matches!(connected, Err(ConnectError::Refused { .. })));
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_logout_with_a_token_of_another_key_ends_no_other_token_of_the_same_jti() {
    let server = server_with_keys();
    let id = user(&server, &server.admin(), "bob").await;
    let victims = [token_of(&login(&server, "bob").await), server.token_of("bob", &["--name", "board"])];
    for victim in victims {
        let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&victim).expect("a token").claims;
        let also_local = minted("local", &json!({"sub": "bob", "jti": claims["jti"]}));
        let mut watchers = Vec::new();
        for token in [&victim, &also_local] {
            watchers.push(Watcher::connect(&server, token).await);
        }
        let evil = minted("foreign", &json!({"sub": "evil", "jti": claims["jti"]}));
        server.post("/api/auth/logout", &evil, json!({})).await;
        for token in [&victim, &also_local] {
            assert_eq!(me(&server, token).await, (200, None));
        }
        for watcher in &watchers {
            watcher.done("subscribe", json!(format!("user:{id}"))).await;
        }
    }
}

#[tokio::test]
async fn a_token_with_times_in_milliseconds_is_refused_and_says_why() {
    let server = server_with_keys();
    let now = jsonwebtoken::get_current_timestamp();
    for claim in ["exp", "iat", "nbf"] {
        let token = minted("foreign", &json!({"sub": "s", claim: now * 1000}));
        let refused = server.get("/api/auth/me", &token).await;
        let said = refused.json();
        assert_eq!((refused.status, &said["code"]), (401, &json!("unauthenticated")), "{claim}");
        assert!(said["detail"].as_str().is_some_and(|why| why.contains("not in seconds")), "{said}");
        let connected = Client::connect(&server.url(), tidings_client::token(&token)).await.map(drop);
        assert!(matches!(connected, Err(ConnectError::Refused { .. })), "{claim}");
    }
    assert_eq!(me(&server, &minted("foreign", &json!({"sub": "s"}))).await, (200, None));
}

/// What a command says whose exit code is 1.
fn failure(server: &Server, arguments: &[&str]) -> String {
    let output = tidings(server.home()).args(arguments).output().expect("runs");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), [].as_slice()), "{arguments:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test]
async fn the_command_line_looks_a_user_up_and_says_when_there_is_none() {
    let server = Server::start("");
    server.cli(&["user", "add", "bob"], "a long enough password\n");
    let id = server.cli(&["user", "list"], "").lines().find(|line| line.contains(" bob ")).expect("bob").to_owned();
    let id = id.split(' ').next().expect("an id").to_owned();
    for name in ["bob", "BOB", &id] {
        let me = server.get("/api/auth/me", &server.token_of(name, &[])).await.json();
        assert_eq!((&me["user"]["id"], &me["user"]["username"]), (&json!(id), &json!("bob")));
    }
    let no_such = failure(&server, &["token", "--user", "ci"]);
    assert!(no_such.contains("no user of this name") && no_such.contains("not_found"), "{no_such}");
    assert!(failure(&server, &["token", "--subject", &id]).contains("id of a user here"));
    assert!(failure(&server, &["token", "--subject", "server"]).contains("what the server calls itself"));
    server.cli(&["user", "disable", "bob"], "");
    assert!(failure(&server, &["token", "--user", "bob"]).contains("disabled"));
    // Somebody elsewhere may be called bob, too; whoever makes the token is told that it is not the one here.
    let output = tidings(server.home()).args(["token", "--subject", "bob"]).output().expect("runs");
    let (token, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("not one of the user bob"), "{said}");
    assert_eq!(server.get("/api/auth/me", token.trim()).await.json()["user"], json!({"id": "bob", "roles": []}));
}

/// The names of the tokens that somebody sees.
async fn names(server: &Server, token: &str, query: &str) -> Vec<String> {
    let listed = server.get(&format!("/api/tokens{query}"), token).await.json();
    let tokens = listed["tokens"].as_array().expect("tokens").iter();
    tokens.map(|token| token["name"].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test]
async fn long_lived_tokens_are_listed_and_revoked_by_whom_they_belong_to_and_all_by_an_administrator() {
    let mut server = Server::start("");
    let admin = server.admin();
    let id = user(&server, &admin, "bob").await;
    let nightly = server.token_of("bob", &["--name", "nightly", "--role", "viewer", "--ttl", "1000d"]);
    let hall = server.token_of("bob", &["--name", "hall", "--grant", "session:*=subscribe", "--ttl", "30d"]);
    let ci = server.token("ci", &["--name", "ci"]);
    // What a command makes for itself is not one of them.
    server.cli(&["emit", "user.notice", "--data", "{\"userId\":\"1\"}"], "");
    assert_eq!(names(&server, &admin, "").await, ["ci", "hall", "nightly", "-"]);
    assert_eq!(names(&server, &admin, &format!("?userId={id}")).await, ["hall", "nightly"]);
    let bob = token_of(&login(&server, "bob").await);
    assert_eq!(names(&server, &bob, "").await, ["hall", "nightly"]);
    assert_eq!(names(&server, &ci, "").await, ["ci"]);
    assert_eq!(server.get("/api/tokens?userId=ci", &bob).await.status, 403);
    let first = server.get("/api/tokens?limit=1", &bob).await.json();
    let (shown, cursor) = (&first["tokens"][0], first["cursor"].as_str().expect("another page"));
    assert_eq!((&shown["userId"], &shown["username"]), (&json!(id), &json!("bob")), "{shown}");
    assert_eq!((&shown["roles"], &shown["grants"]), (&json!([]), &json!(["session:*=subscribe"])), "{shown}");
    assert!(shown["createdAt"].is_string() && shown["expiresAt"].is_string(), "{shown}");
    assert!(!first.to_string().contains(&hall) && !first.to_string().contains("eyJ"));
    assert_eq!(names(&server, &bob, &format!("?limit=1&cursor={cursor}")).await, ["nightly"]);

    let mut watcher = Watcher::connect(&server, &hall).await;
    let hall_id = shown["id"].as_str().expect("an id").to_owned();
    let revoke = async |token: &str, id: &str| {
        server.call(Method::DELETE, &format!("/api/tokens/{id}"), token, None).await.status
    };
    assert_eq!((revoke(&ci, &hall_id).await, revoke(&bob, "nonsense").await), (404, 404));
    assert_eq!(revoke(&bob, &hall_id).await, 204);
    assert_eq!(watcher.of_type("connection.closed").await["data"]["code"], "token_revoked");
    assert_eq!(me(&server, &hall).await, (401, Some("token_revoked".to_owned())));
    assert_eq!(revoke(&bob, &hall_id).await, 404);
    assert_eq!(names(&server, &bob, "").await, ["nightly"]);

    // The command line sees and ends the same, also over a kill.
    server.kill();
    server.start_again();
    let listed = server.cli(&["token", "list"], "");
    let line = listed.lines().find(|line| line.ends_with(" viewer nightly")).unwrap_or_else(|| panic!("{listed}"));
    assert!(line.contains(" bob until "), "{line}");
    server.cli(&["token", "revoke", line.split(' ').next().expect("an id")], "");
    crate::server::eventually("the end of the token", async || me(&server, &nightly).await.0 == 401).await;
    assert_eq!(me(&server, &hall).await.0, 401);
    assert_eq!(me(&server, &ci).await.0, 200);
    let listed = server.cli(&["token", "list", "--json"], "");
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(listed.iter().map(|token| &token["userId"]).collect::<Vec<_>>(), [&json!("ci"), &json!("root")]);
}

#[tokio::test]
async fn the_end_of_a_token_is_told_once_and_in_time_also_to_whoever_refreshes_with_the_same_one() {
    let server = Server::start("");
    let token = server.token("ada", &["--role", "viewer", "--ttl", "5s"]);
    let mut watcher = Watcher::connect(&server, &token).await;
    let told = watcher.of_type("auth.expiring").await;
    // It is asked of the server's clock, which is this one.
    let before = server.get("/api/auth/me", &token).await;
    assert_eq!(before.status, 200, "a fifth of its life is left");
    assert_eq!(told["data"]["expiresAt"], before.json()["expiresAt"]);
    watcher.done("auth.refresh", json!({"token": token})).await;
    let last = watcher.until("the end", |message| message["type"] == "connection.closed").await;
    assert!(last.iter().all(|message| message["type"] != "auth.expiring"), "{last:?}");
    assert_eq!(last.last().expect("the end")["data"]["code"], "token_expired");
}

/// Everything in a data directory, but for these.
fn copied(from: &std::path::Path, without: &[&str]) -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    std::fs::create_dir(&data).expect("is made");
    for entry in std::fs::read_dir(from).expect("reads").flatten() {
        let name = entry.file_name().into_string().expect("text");
        if entry.path().is_file() && !without.contains(&name.as_str()) {
            std::fs::copy(entry.path(), data.join(&name)).expect("copies");
        }
    }
    home
}

#[tokio::test]
async fn users_outlive_a_kill_and_the_loss_of_what_is_beside_their_file_and_are_never_made_anew() {
    let mut server = Server::start("");
    let (admin, password) = (server.admin(), server.password().to_owned());
    user(&server, &admin, "bob").await;
    server.kill();
    let data = server.data_dir();
    for file in ["users.db-wal", "users.db-shm"] {
        std::fs::remove_file(data.join(file)).expect("was there");
    }
    let unmarked = copied(&data, &["users.db.had-users"]);
    server.start_again();
    login(&server, "bob").await;
    let body = json!({"username": "admin", "password": password});
    let again = http::post_json(&server.url(), "/api/auth/login", None, &body).await.expect("an answer");
    assert_eq!(again.status, 200, "{}", again.text());
    // A directory of before the mark gets it, and one that was copied whole or with the page's commands starts.
    let restored = Server::start_in(unmarked, &[]);
    login(&restored, "bob").await;
    assert!(restored.data_dir().join("users.db.had-users").exists());

    // A file that has lost its users, or is gone, is damage: nobody is made, and nothing is changed.
    server.stop();
    let empty = tempfile::tempdir().expect("a directory");
    let refused = tidings(empty.path()).args(["user", "list"]).output().expect("runs");
    assert!(!refused.status.success());
    let short = tidings(empty.path()).args(["user", "add", "x"]).stdin(std::process::Stdio::null()).output();
    assert!(!short.expect("runs").status.success() && empty.path().join("data/users.db").exists());
    let empty_users = copied(&data, &["users.db"]);
    std::fs::copy(empty.path().join("data/users.db"), empty_users.path().join("data/users.db")).expect("copies");
    for (home, why) in [(empty_users, "has no users, but"), (copied(&data, &["users.db"]), "is not there, but")] {
        let ended = tidings(home.path()).args(["serve", "--listen", "127.0.0.1:0"]).output().expect("runs");
        let (out, said) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.code() == Some(1) && !out.contains("password"), "{out}{said}");
        for word in [why, "users.db.had-users", "back-up", "to begin anew"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        std::fs::remove_file(home.path().join("data/users.db.had-users")).expect("was there");
        drop(std::fs::remove_file(home.path().join("data/users.db")));
        assert_ne!(Server::start_in(home, &[]).password(), password, "whoever wants to begins anew");
    }
}

#[tokio::test]
async fn every_route_of_the_document_asks_for_a_token_except_those_that_are_for_everybody() {
    const FOR_EVERYBODY: [&str; 5] =
        ["GET /", "GET /health/live", "GET /health/ready", "POST /api/auth/login", "POST /api/auth/refresh"];
    let server = Server::start("[http]\nmetrics_public = false\n");
    let ask = async |method: &str, path: &str, token: Option<&str>, body: &Value| {
        let body = (method != "GET").then(|| ("application/json", body.to_string().into()));
        let method = method.parse().expect("a method");
        http::request(method, &server.url(), path, token, body).await.expect("an answer").status
    };
    let mut for_everybody = Vec::new();
    for (method, path, body) in crate::origins::routes(&server, "nobody").await {
        let route = format!("{method} {path}");
        let (without, with_none) =
            (ask(&method, &path, None, &body).await, ask(&method, &path, Some("x"), &body).await);
        match FOR_EVERYBODY.iter().find(|known| **known == route) {
            Some(known) => {
                assert_ne!(without, 401, "{route}");
                for_everybody.push(*known);
            }
            None if path == "/nowhere" => assert_eq!((without, with_none), (404, 404)),
            None => assert_eq!((without, with_none), (401, 401), "{route}"),
        }
    }
    for_everybody.sort_unstable();
    assert_eq!(for_everybody, FOR_EVERYBODY);
}
