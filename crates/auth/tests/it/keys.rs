//! Keys: the generated one, its rotation, and the configured ones.

use std::{os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use tidings_auth::{Auth, AuthConfig, AuthError, KeyAlgorithm, PublicKeyConfig};
use tidings_core::{
    Code,
    identity::{Identity, Secret},
    principal::Role,
    runtime::Clock,
};
use tidings_testkit::{TestClock, TestTasks};

use crate::house::{HOUR, House, id, refused};

const SECRET: &str = "a configured secret of 32 bytes!";

fn mode(house: &House, file: &str) -> u32 {
    std::fs::metadata(house.dir.path().join(file)).unwrap().permissions().mode() & 0o777
}

fn key(algorithm: KeyAlgorithm, pem: Option<&str>, secret: Option<&str>) -> PublicKeyConfig {
    PublicKeyConfig {
        kid: Some("k".to_owned()),
        algorithm,
        pem: pem.map(str::to_owned),
        secret: secret.map(|text| Secret(text.to_owned())),
        issuer: None,
        audience: None,
        claims: tidings_auth::BelievedClaims::default(),
        users: tidings_auth::KeyUsers::Foreign,
    }
}

fn why_not(change: impl FnOnce(&mut AuthConfig)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut config = AuthConfig::new(dir.path());
    change(&mut config);
    Auth::open(config, TestClock::new(), TestTasks::new()).expect_err("refused").to_string()
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    let house = House::new();
    house.user("ann", &[]).await;
    for file in ["users.db", "users.db-wal", "users.db-shm", "signing.key"] {
        assert_eq!(mode(&house, file), 0o600, "{file}");
    }
    std::fs::set_permissions(house.dir.path().join("signing.key"), PermissionsExt::from_mode(0o644)).unwrap();
    house.second();
    assert_eq!(mode(&house, "signing.key"), 0o600);
}

#[tokio::test]
async fn a_restart_keeps_the_key() {
    let house = House::new();
    let token = house.mint(&id("script"), &[]);
    house.second().verify(&token).unwrap();
}

#[tokio::test]
async fn processes_that_start_at_the_same_time_agree_on_one_key_and_one_admin() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let config = AuthConfig::new(dir.path());
            tokio::task::spawn_blocking(|| Auth::open(config, TestClock::new(), TestTasks::new()).unwrap())
        })
        .collect();
    let mut auths = Vec::new();
    for start in starts {
        auths.push(start.await.unwrap());
    }
    let admins = futures_util::future::join_all(auths.iter().map(|auth| auth.first_start())).await;
    assert_eq!(admins.into_iter().filter(|admin| matches!(admin, Ok(Some(_)))).count(), 1);
    let token = auths[0].mint(id("script"), &[], &[], HOUR).unwrap().0;
    for auth in &auths {
        auth.verify(&token).unwrap();
    }
}

#[tokio::test]
async fn after_a_rotation_old_tokens_verify_to_their_end_and_new_ones_name_the_new_key() {
    let house = House::new();
    house.user("ann", &[]).await;
    let login = house.login("ann").await;
    let long = house.auth.mint(id("script"), &[], &[], 48 * HOUR).unwrap().0;
    let kid = house.auth.rotate().await.unwrap();
    let fresh = house.mint(&id("script"), &[]);
    assert_eq!(jsonwebtoken::decode_header(&fresh).unwrap().kid.as_deref(), Some(kid.as_str()));
    for token in [&login.token, &long, &fresh] {
        house.verify(token).unwrap();
        house.second().verify(token).unwrap();
    }
    // A key is kept for its longest token, and then no longer.
    house.clock.advance(47 * HOUR);
    house.auth.rotate().await.unwrap();
    house.verify(&long).unwrap();
    house.refresh(&login.refresh_token).await.unwrap();
    house.clock.advance(2 * HOUR);
    refused(house.verify(&long), Code::TokenExpired);
    house.auth.rotate().await.unwrap();
    let kept = std::fs::read_to_string(house.dir.path().join("signing.key")).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let first = jsonwebtoken::decode_header(&long).unwrap().kid.unwrap();
    assert!(kept["keys"].as_array().unwrap().iter().all(|key| key["kid"] != json!(first)));
    refused(house.verify(&long), Code::Unauthenticated);
}

#[tokio::test]
async fn a_server_learns_of_a_rotation_by_another_process() {
    let server = House::new();
    let command_line = server.second();
    command_line.auth.rotate().await.unwrap();
    let token = command_line.mint(&id("script"), &[]);
    let verified = tokio::time::timeout(tidings_testkit::PATIENCE, async {
        while server.verify(&token).is_err() {
            // The poll of the server runs meanwhile; each look at the disk lets it.
            command_line.auth.users(None, 1).await.unwrap();
        }
    });
    verified.await.expect("the new key is not known");
}

#[tokio::test]
async fn with_a_configured_secret_no_key_is_made_and_tokens_of_whoever_knows_it_are_good() {
    let house = House::with(|config| config.secret = Some(Secret(SECRET.to_owned())));
    assert!(!house.dir.path().join("signing.key").exists());
    house.verify(&house.mint(&id("script"), &[])).unwrap();
    let now = house.clock.now().0 / 1000;
    // No kid and no `sub`, as a program of a few lines mints it.
    let claims =
        json!({"userId": 42, "roles": ["viewer", "dj"], "iss": "tidings", "aud": ["x", "tidings"], "exp": now + 60});
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), &claims, &secret).unwrap();
    let principal = house.verify(&token).unwrap();
    assert_eq!((principal.user.as_str(), principal.roles), ("42", vec![Role::Viewer]));
    refused(house.auth.rotate().await, Code::Conflict);
    let generated = House::new();
    refused(generated.verify(&token), Code::Unauthenticated);
}

#[tokio::test]
async fn what_another_program_dates_with_the_configured_secret_outlives_no_revocation_either() {
    let house = House::with(|config| config.secret = Some(Secret(SECRET.to_owned())));
    let now = house.clock.now().0 / 1000;
    let dated = |ahead: i64| {
        let claims = json!({"sub": "script", "iss": "tidings", "aud": "tidings", "iat": now + ahead, "exp": now + 600});
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    };
    house.verify(&dated(30)).unwrap();
    refused(house.verify(&dated(31)), Code::Unauthenticated);
    let own = house.mint(&id("script"), &[]);
    house.auth.revoke_user(&id("script")).await.unwrap();
    refused(house.verify(&own), Code::TokenRevoked);
    refused(house.verify(&dated(30)), Code::TokenRevoked);
    house.verify(&house.mint(&id("script"), &[])).unwrap();
    house.clock.advance(Duration::from_secs(31));
    refused(house.verify(&dated(30)), Code::TokenRevoked);
    house.verify(&dated(31)).unwrap();
}

#[tokio::test]
async fn keys_that_are_none_are_refused_at_the_start_with_the_reason_and_without_the_key() {
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----";
    let cases = [
        (key(KeyAlgorithm::RS256, None, None), "public key"),
        (key(KeyAlgorithm::RS256, Some("not a pem"), None), "pem"),
        (key(KeyAlgorithm::EdDSA, Some(private), None), "private"),
        (key(KeyAlgorithm::ES256, None, Some(SECRET)), "public key"),
        (key(KeyAlgorithm::HS256, Some(private), None), "secret"),
        (key(KeyAlgorithm::HS256, None, Some("too short")), "32 bytes"),
    ];
    for (key, word) in cases {
        let why = why_not(|config| config.keys = vec![key]);
        assert!(why.contains("'k'") && why.contains(word), "{why}");
        assert!(!why.contains("too short") && !why.contains("MC4CAQ"), "{why}");
    }
    assert!(why_not(|config| config.secret = Some(Secret("short".to_owned()))).contains("32 bytes"));
    let twice = || key(KeyAlgorithm::HS256, None, Some(SECRET));
    assert!(why_not(|config| config.keys = vec![twice(), twice()]).contains("another key has this kid"));
}

#[tokio::test]
async fn a_damaged_key_file_stops_the_start_and_is_not_shown() {
    let house = House::new();
    let path = house.dir.path().join("signing.key");
    let good = std::fs::read_to_string(&path).unwrap();
    for damaged in ["", "{}", &good[..good.len() - 3], r#"{"version":9,"keys":[]}"#] {
        std::fs::write(&path, damaged).unwrap();
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&house.clock);
        let error = Auth::open(AuthConfig::new(house.dir.path()), clock, TestTasks::new()).expect_err("damaged");
        assert!(matches!(error, AuthError::Key { .. }), "{error}");
        let secret = serde_json::from_str::<serde_json::Value>(&good).unwrap()["keys"][0]["secret"].to_string();
        assert!(!error.to_string().contains(secret.trim_matches('"')));
    }
}
