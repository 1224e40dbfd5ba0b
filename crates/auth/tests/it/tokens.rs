//! Tokens that were tampered with, and what minted ones say.

use std::{sync::LazyLock, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_core::{Code, Grant, identity::Identity, principal::Role};

use crate::house::{HOUR, House, id, refused};

fn parts(token: &str) -> (Value, Value, String) {
    let mut parts = token.split('.');
    let mut json = || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap()).unwrap();
    let (header, claims) = (json(), json());
    (header, claims, parts.next().unwrap().to_owned())
}

fn join(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[tokio::test]
async fn a_minted_token_says_what_was_asked_and_no_more() {
    let house = House::new();
    let grant: Grant = "session:*=subscribe,publish".parse().unwrap();
    let (token, until) = house.auth.mint(id("script"), &[Role::Viewer], std::slice::from_ref(&grant), HOUR).unwrap();
    let (header, claims, _) = parts(&token);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("HS256"), &json!("JWT")));
    assert!(header["kid"].is_string());
    let mut names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["aud", "exp", "grants", "iat", "iatMs", "iss", "jti", "roles", "sub"]);
    assert_eq!(claims["grants"], json!(["session:*=subscribe,publish"]));
    let principal = house.verify(&token).unwrap();
    assert_eq!(principal.grants, vec![grant, Role::Viewer.grant()]);
    assert_eq!((principal.expires_at, principal.family), (Some(until), None));
    house.clock.advance(HOUR);
    refused(house.verify(&token), Code::TokenExpired);
}

#[tokio::test]
async fn a_life_that_makes_no_sense_is_refused() {
    let house = House::new();
    for ttl in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
        refused(house.auth.mint(id("script"), &[], &[], ttl), Code::InvalidData);
    }
    let (_, until) = house.auth.mint(id("script"), &[], &[], Duration::from_millis(1500)).unwrap();
    assert_eq!(until.0 % 1000, 0);
}

#[tokio::test]
async fn a_token_without_a_signature_or_with_another_algorithm_is_refused() {
    let house = House::new();
    let token = house.mint(&id("script"), &[Role::Viewer]);
    let (header, claims, signature) = parts(&token);
    for algorithm in ["none", "None", "HS384", "HS512", "RS256", "ES256", "EdDSA", ""] {
        let mut header = header.clone();
        header["alg"] = json!(algorithm);
        for signature in ["", &signature] {
            refused(house.verify(&join(&header, &claims, signature)), Code::Unauthenticated);
        }
    }
}

#[tokio::test]
async fn a_token_with_other_claims_or_another_key_id_is_refused() {
    let house = House::new();
    let token = house.mint(&id("script"), &[Role::Viewer]);
    let (header, claims, signature) = parts(&token);
    assert_eq!(house.verify(&join(&header, &claims, &signature)).is_ok(), join(&header, &claims, &signature) == token);
    let mut admin = claims.clone();
    admin["roles"] = json!(["admin"]);
    refused(house.verify(&join(&header, &admin, &signature)), Code::Unauthenticated);
    for kid in [json!("unknown"), json!("configured"), Value::Null, json!("../../etc/passwd")] {
        let mut header = header.clone();
        header["kid"] = kid;
        refused(house.verify(&join(&header, &claims, &signature)), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn another_servers_token_is_refused() {
    let (house, other) = (House::new(), House::new());
    refused(house.verify(&other.mint(&id("script"), &[Role::Admin])), Code::Unauthenticated);
}

#[tokio::test]
async fn a_token_for_another_issuer_or_audience_is_refused() {
    let house = House::new();
    let token = house.mint(&id("script"), &[]);
    let open = |issuer: &str, audience: &str| {
        let mut config = tidings_auth::AuthConfig::new(house.dir.path());
        (config.issuer, config.audience) = (issuer.to_owned(), audience.to_owned());
        let clock: std::sync::Arc<dyn tidings_core::runtime::Clock> = std::sync::Arc::clone(&house.clock) as _;
        tidings_auth::Auth::open(config, clock, tidings_testkit::TestTasks::new()).unwrap()
    };
    open("tidings", "tidings").verify(&token).unwrap();
    refused(open("other", "tidings").verify(&token), Code::Unauthenticated);
    refused(open("tidings", "other").verify(&token), Code::Unauthenticated);
}

#[tokio::test]
async fn what_is_no_token_is_refused_and_not_repeated() {
    let house = House::new();
    let long = format!("eyJ{}", "x".repeat(1_000_000));
    for bad in ["", ".", "..", "...", "a.b.c", "Bearer x", "\0\0.\0.\0", &long] {
        let error = refused(house.verify(bad), Code::Unauthenticated);
        assert_eq!(error.message(), "the token is not valid");
    }
}

static TOKEN: LazyLock<(String, tempfile::TempDir)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let dir = tempfile::tempdir().unwrap();
    let auth = open_at(&dir);
    (auth.mint(id("script"), &[Role::Admin], &[], HOUR).unwrap().0, dir)
});

fn open_at(dir: &tempfile::TempDir) -> std::sync::Arc<tidings_auth::Auth> {
    let config = tidings_auth::AuthConfig::new(dir.path());
    tidings_auth::Auth::open(config, tidings_testkit::TestClock::new(), tidings_testkit::TestTasks::new()).unwrap()
}

#[test]
fn a_token_with_any_character_changed_is_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let (token, dir) = &*TOKEN;
    let auth = open_at(dir);
    auth.verify(token).expect("the token itself is good");
    proptest!(|(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9._=-]|\\PC")| {
        let at = at.index(token.len());
        let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
        prop_assert_eq!(auth.verify(&changed).is_ok(), changed == *token);
    });
    proptest!(|(text in "\\PC{0,200}")| prop_assert!(auth.verify(&text).is_err()));
}
