//! Tokens that other applications mint, with keys made for the test.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto::aws_lc::DEFAULT_PROVIDER, jwk::Jwk};
use serde_json::{Value, json};
use tidings_auth::{Auth, AuthConfig, BelievedClaims, KeyAlgorithm, KeyUsers, PublicKeyConfig};
use tidings_core::{
    Code, Principal, Result,
    identity::{Identity, NewUser, Origin, Secret, UserChange},
    principal::Role,
    runtime::Clock,
};
use tidings_testkit::{TestClock, TestTasks};

use crate::house::{id, refused};

const SECRET: &str = "a secret shared with another app";

struct Minter {
    algorithm: Algorithm,
    config: PublicKeyConfig,
    key: EncodingKey,
}

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
}

fn minter(kid: &str, algorithm: KeyAlgorithm, public: Option<&[u8]>, key: EncodingKey) -> Minter {
    let config = PublicKeyConfig {
        kid: Some(kid.to_owned()),
        algorithm,
        pem: public.map(|der| pem("PUBLIC KEY", der)),
        secret: public.is_none().then(|| Secret(SECRET.to_owned())),
        issuer: Some("https://app.example".to_owned()),
        audience: None,
        claims: BelievedClaims::default(),
        users: KeyUsers::Foreign,
    };
    let algorithm = match algorithm {
        KeyAlgorithm::HS256 => Algorithm::HS256,
        KeyAlgorithm::RS256 => Algorithm::RS256,
        KeyAlgorithm::ES256 => Algorithm::ES256,
        KeyAlgorithm::EdDSA => Algorithm::EdDSA,
    };
    Minter { algorithm, config, key }
}

fn public_der<K>(key: &K) -> Vec<u8>
where
    K: AsDer<PublicKeyX509Der<'static>>,
{
    key.as_der().unwrap().as_ref().to_vec()
}

fn private_pem(der: &[u8]) -> String {
    pem("PRIVATE KEY", der)
}

static MINTERS: LazyLock<[Minter; 4]> = LazyLock::new(|| {
    let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let rsa_private = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
    let rsa_key = EncodingKey::from_rsa_pem(private_pem(rsa_private.as_ref()).as_bytes()).unwrap();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ec_key = EncodingKey::from_ec_pem(private_pem(ec.to_pkcs8v1().unwrap().as_ref()).as_bytes()).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_key = EncodingKey::from_ed_pem(private_pem(ed.to_pkcs8v1().unwrap().as_ref()).as_bytes()).unwrap();
    [
        minter("rsa", KeyAlgorithm::RS256, Some(&public_der(rsa.public_key())), rsa_key),
        minter("ec", KeyAlgorithm::ES256, Some(&public_der(ec.public_key())), ec_key),
        minter("ed", KeyAlgorithm::EdDSA, Some(&public_der(ed.public_key())), ed_key),
        minter("hs", KeyAlgorithm::HS256, None, EncodingKey::from_secret(SECRET.as_bytes())),
    ]
});

struct Door {
    auth: Arc<Auth>,
    clock: Arc<TestClock>,
    config: AuthConfig,
    _dir: tempfile::TempDir,
}

impl Door {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// A server that knows the keys of all minters.
    fn with(change: impl Fn(&mut PublicKeyConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let mut config = AuthConfig::new(dir.path());
        config.keys = MINTERS.iter().map(|minter| minter.config.clone()).collect();
        config.keys.iter_mut().for_each(change);
        let port: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
        Self { auth: Auth::open(config.clone(), port, TestTasks::new()).unwrap(), clock, config, _dir: dir }
    }

    /// Identity over the same directory, as it is after a restart.
    fn again(&self) -> Arc<Auth> {
        let port: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.clock);
        Auth::open(self.config.clone(), port, TestTasks::new()).unwrap()
    }

    fn now(&self) -> i64 {
        self.clock.now().0.div_euclid(1000)
    }

    /// Goes to where no clock that is off by no more than the leeway says a time from before.
    fn after_the_leeway(&self) {
        self.clock.advance(AuthConfig::new("").leeway + Duration::from_secs(1));
    }

    fn claims(&self) -> Value {
        json!({"sub": "ann", "iss": "https://app.example", "aud": "tidings", "jti": "t1",
               "iat": self.now(), "exp": self.now() + 600, "grants": ["session:*=subscribe"], "roles": ["admin"]})
    }

    /// Verifies a token of the Ed25519 minter whose claims were changed.
    fn verify_with(&self, change: impl FnOnce(&mut Value)) -> Result<Principal> {
        let mut claims = self.claims();
        change(&mut claims);
        self.auth.verify(&MINTERS[2].mint(&claims))
    }
}

/// Signed by another crypto library than the one that checks.
fn encode(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
    let message =
        format!("{}.{}", part(serde_json::to_vec(header).unwrap()), part(serde_json::to_vec(claims).unwrap()));
    let signer = (DEFAULT_PROVIDER.signer_factory)(&header.alg, key).unwrap();
    let signature = signer.try_sign(message.as_bytes()).unwrap();
    format!("{message}.{}", part(signature))
}

impl Minter {
    fn mint(&self, claims: &Value) -> String {
        self.mint_as(self.config.kid.as_deref(), claims)
    }

    fn mint_as(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        encode(&header, claims, &self.key)
    }
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_good_with_their_own_key_only() {
    let door = Door::new();
    for minter in &*MINTERS {
        let principal = door.auth.verify(&minter.mint(&door.claims())).unwrap();
        assert_eq!(principal.user, id("ann"));
        assert_eq!(principal.grants, vec!["session:*=subscribe".parse().unwrap()]);
        assert!(principal.roles.is_empty(), "another application's admin is not ours");
        assert_eq!((principal.token_id.as_deref(), principal.family), (Some("t1"), None));
        for other in &*MINTERS {
            let is_own = other.config.kid == minter.config.kid;
            let verified = door.auth.verify(&minter.mint_as(other.config.kid.as_deref(), &door.claims()));
            assert_eq!(verified.is_ok(), is_own, "{:?} as {:?}", minter.config.kid, other.config.kid);
        }
        refused(door.auth.verify(&minter.mint_as(None, &door.claims())), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_public_key_is_never_taken_for_a_secret() {
    let door = Door::new();
    for minter in &MINTERS[..3] {
        let pem = minter.config.pem.as_deref().unwrap();
        let der = STANDARD.decode(pem.lines().nth(1).unwrap()).unwrap();
        for secret in [pem.as_bytes(), pem.trim().as_bytes(), &der] {
            let mut header = Header::new(Algorithm::HS256);
            for kid in [minter.config.kid.clone(), None] {
                header.kid = kid;
                let token = encode(&header, &door.claims(), &EncodingKey::from_secret(secret));
                refused(door.auth.verify(&token), Code::Unauthenticated);
            }
        }
    }
}

#[tokio::test]
async fn a_key_in_the_tokens_own_header_is_not_used() {
    let door = Door::new();
    let attacker = Ed25519KeyPair::generate().unwrap();
    let private = private_pem(attacker.to_pkcs8v1().unwrap().as_ref());
    let key = EncodingKey::from_ed_pem(private.as_bytes()).unwrap();
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("ed".to_owned());
    let x = URL_SAFE_NO_PAD.encode(attacker.public_key());
    let jwk: Jwk = serde_json::from_value(json!({"kty": "OKP", "crv": "Ed25519", "x": x})).unwrap();
    header.jwk = Some(jwk);
    let token = encode(&header, &door.claims(), &key);
    refused(door.auth.verify(&token), Code::Unauthenticated);
}

#[tokio::test]
async fn a_critical_header_that_nobody_knows_refuses_the_token() {
    let door = Door::new();
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("ed".to_owned());
    header.crit = Some(vec!["b64".to_owned()]);
    let token = encode(&header, &door.claims(), &MINTERS[2].key);
    refused(door.auth.verify(&token), Code::Unauthenticated);
}

#[tokio::test]
async fn issuer_audience_and_end_are_needed_and_must_be_right() {
    let door = Door::new();
    door.verify_with(|_| {}).unwrap();
    for claim in ["iss", "aud", "exp", "sub"] {
        let gone = door.verify_with(|claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        refused(gone, Code::Unauthenticated);
        refused(door.verify_with(|claims| claims[claim] = json!({"a": 1})), Code::Unauthenticated);
    }
    refused(door.verify_with(|claims| claims["iss"] = json!("tidings")), Code::Unauthenticated);
    refused(door.verify_with(|claims| claims["aud"] = json!(["another", "one"])), Code::Unauthenticated);
    door.verify_with(|claims| claims["aud"] = json!(["another", "tidings"])).unwrap();
}

#[tokio::test]
async fn times_are_judged_by_our_clock_with_some_leeway() {
    let door = Door::new();
    let now = door.now();
    door.verify_with(|claims| claims["exp"] = json!(now - 29)).unwrap();
    refused(door.verify_with(|claims| claims["exp"] = json!(now - 30)), Code::TokenExpired);
    refused(door.verify_with(|claims| claims["exp"] = json!(0)), Code::TokenExpired);
    refused(door.verify_with(|claims| claims["exp"] = json!("soon")), Code::Unauthenticated);
    refused(door.verify_with(|claims| claims["exp"] = json!(1e300)), Code::Unauthenticated);
    door.verify_with(|claims| claims["exp"] = json!(99_999_999_999_i64)).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a time of our days")]
    door.verify_with(|claims| claims["exp"] = json!(now as f64 + 0.5)).unwrap();
    door.verify_with(|claims| claims["nbf"] = json!(now + 30)).unwrap();
    refused(door.verify_with(|claims| claims["nbf"] = json!(now + 31)), Code::Unauthenticated);
    refused(door.verify_with(|claims| claims["nbf"] = json!("now")), Code::Unauthenticated);
    door.verify_with(|claims| claims["iat"] = json!(now + 30)).unwrap();
    refused(door.verify_with(|claims| claims["iat"] = json!(now + 31)), Code::Unauthenticated);
}

#[tokio::test]
async fn a_revocation_of_the_user_or_the_token_id_holds_for_tokens_from_elsewhere() {
    let door = Door::new();
    let old = MINTERS[0].mint(&door.claims());
    door.auth.revoke_token("t1", None).await.unwrap();
    refused(door.auth.verify(&old), Code::TokenRevoked);
    let fresh = |claims: &mut Value| claims["jti"] = json!("t2");
    door.verify_with(fresh).unwrap();
    door.auth.revoke_user(&id("ann")).await.unwrap();
    // The other clock may be ahead: one that it dates within the leeway may be from before.
    refused(door.verify_with(fresh), Code::TokenRevoked);
    door.after_the_leeway();
    door.verify_with(fresh).unwrap();
    let undated = |claims: &mut Value| {
        fresh(claims);
        claims.as_object_mut().unwrap().remove("iat");
    };
    refused(door.verify_with(undated), Code::TokenRevoked);
    refused(door.verify_with(|claims| claims["iatMs"] = json!(i64::MAX)), Code::TokenRevoked);
}

#[tokio::test]
async fn whoever_presents_a_token_to_be_revoked_ends_no_other_of_the_same_jti() {
    for nameless in [false, true] {
        // Keys without a name are told apart by their issuers.
        let issuer = |key: &PublicKeyConfig| format!("https://{}.example", key.kid.as_deref().unwrap_or_default());
        let door = Door::with(|key| {
            if nameless {
                (key.issuer, key.kid) = (Some(issuer(key)), None);
            }
        });
        let own = door.auth.mint(id("script"), &[], &[], Duration::from_secs(60)).unwrap().0;
        let jti = door.auth.verify(&own).unwrap().token_id.unwrap();
        let tokens = [0, 2].map(|number: usize| {
            let (minter, mut claims) = (&MINTERS[number], door.claims());
            claims["jti"] = json!(jti);
            if nameless {
                claims["iss"] = json!(issuer(&minter.config));
            }
            minter.mint_as(minter.config.kid.as_deref().filter(|_| !nameless), &claims)
        });
        let [evil, other] = tokens.each_ref().map(|token| door.auth.verify(token).unwrap());
        let (sender, heard) = std::sync::mpsc::sync_channel(8);
        door.auth.watch_revocations(Arc::new(move |revocation| sender.send(revocation.clone()).unwrap()));
        door.auth.logout(&evil).await.unwrap();
        let revocation = heard.try_recv().unwrap();
        let concerned = [&evil, &other, &door.auth.verify(&own).unwrap()].map(|one| revocation.concerns(one));
        assert_eq!(concerned, [true, false, false]);
        for auth in [&door.auth, &door.again()] {
            refused(auth.verify(&tokens[0]), Code::TokenRevoked);
            auth.verify(&tokens[1]).unwrap();
            auth.verify(&own).unwrap();
        }
        // An administrator who names a `jti` means it, whoever minted it; versions before kept every one like that.
        door.auth.revoke_token(&jti, None).await.unwrap();
        for auth in [&door.auth, &door.again()] {
            for token in [&tokens[0], &tokens[1], &own] {
                refused(auth.verify(token), Code::TokenRevoked);
            }
        }
    }
}

#[tokio::test]
async fn no_token_for_whoever_had_a_name_before_is_one_for_the_next_user_of_that_name() {
    let door = Door::with(|key| key.users = KeyUsers::Local);
    let user = |username: &str| {
        let password = Secret("a long enough password".to_owned());
        door.auth.create_user(NewUser { username: username.to_owned(), password, roles: vec![] })
    };
    let start = door.now();
    let minted = |issued: Option<i64>| {
        let mut claims = door.claims();
        claims["iat"] = json!(issued);
        if issued.is_none() {
            claims.as_object_mut().unwrap().remove("iat");
        }
        MINTERS[2].mint(&claims)
    };
    let first = user("Ann").await.unwrap().id;
    assert_eq!(door.auth.verify(&minted(None)).unwrap().user, first);
    // From before there was anybody of that name, as far as the clocks may be off.
    assert_eq!(door.auth.verify(&minted(Some(start - 30))).unwrap().user, first);
    refused(door.auth.verify(&minted(Some(start - 31))), Code::TokenRevoked);
    let old = [None, Some(start), Some(start + 30)].map(minted);
    door.auth.delete_user(&first).await.unwrap();
    let second = user("ann").await.unwrap().id;
    let later = door.again();
    for auth in [&door.auth, &later] {
        for token in &old {
            refused(auth.verify(token), Code::TokenRevoked);
        }
    }
    // The own tokens of the next one are good at once.
    let password = Secret("a long enough password".to_owned());
    let from = Origin { address: [127, 0, 0, 1].into(), agent: String::new() };
    let login = door.auth.login("ann".to_owned(), password, from).await.unwrap();
    assert_eq!(door.auth.verify(&login.token).unwrap().user, second);
    door.after_the_leeway();
    for auth in [&door.auth, &later] {
        for token in &old {
            refused(auth.verify(token), Code::TokenRevoked);
        }
        assert_eq!(auth.verify(&minted(Some(door.now()))).unwrap().user, second);
    }
    // A name that nobody had waits for nothing.
    user("bob").await.unwrap();
    door.verify_with(|claims| claims["sub"] = json!("bob")).unwrap();
}

#[tokio::test]
async fn no_token_that_a_clock_ahead_dated_outlives_a_revocation_and_new_ones_are_good_after_the_leeway() {
    let door = Door::with(|key| key.users = KeyUsers::Local);
    let password = || Secret("a long enough password".to_owned());
    let user = door.auth.create_user(NewUser { username: "ann".to_owned(), password: password(), roles: vec![] });
    let ann = user.await.unwrap().id;
    for how in ["revoked", "disabled", "password", "roles"] {
        door.after_the_leeway();
        let now = door.now();
        let dated = |ahead: i64| door.verify_with(|claims| claims["iat"] = json!(now + ahead));
        for ahead in [-30, 0, 5, 25, 30] {
            dated(ahead).unwrap();
        }
        let change = match how {
            "disabled" => UserChange { disabled: Some(true), ..UserChange::default() },
            "password" => UserChange { password: Some(password()), ..UserChange::default() },
            _ => UserChange { roles: Some(vec![Role::Operator]), ..UserChange::default() },
        };
        if how == "revoked" {
            door.auth.revoke_user(&ann).await.unwrap();
        } else {
            door.auth.change_user(&ann, change).await.unwrap();
            let enabled = UserChange { disabled: Some(false), ..UserChange::default() };
            door.auth.change_user(&ann, enabled).await.unwrap();
        }
        for ahead in [-30, 0, 5, 25, 30] {
            refused(dated(ahead), Code::TokenRevoked);
        }
        // Also when the time that it says has come.
        door.clock.advance(Duration::from_secs(30));
        refused(dated(30), Code::TokenRevoked);
        door.clock.advance(Duration::from_secs(1));
        dated(31).unwrap();
    }
}

#[tokio::test]
async fn only_the_configured_claims_are_believed() {
    let door = Door::with(|key| {
        key.claims = BelievedClaims {
            user: "/user/id".to_owned(),
            roles: Some("https://app.example/roles".to_owned()),
            grants: None,
        };
    });
    let principal = door
        .verify_with(|claims| {
            claims["user"] = json!({"id": "bob"});
            claims["https://app.example/roles"] = json!("operator dj");
            claims["grants"] = json!(["nonsense"]);
            claims["fam"] = json!("f1");
        })
        .unwrap();
    assert_eq!((principal.user, principal.roles), (id("bob"), vec![Role::Operator]));
    assert_eq!(principal.grants, vec![Role::Operator.grant()]);
    assert_eq!(principal.family, None);
    refused(door.verify_with(|_| {}), Code::Unauthenticated);
}

#[tokio::test]
async fn times_in_milliseconds_are_refused_with_the_reason() {
    let door = Door::new();
    for claim in ["exp", "iat", "nbf"] {
        for wrong in [json!(door.now() * 1000), json!(100_000_000_000_i64), json!(1e11), json!(i64::MAX)] {
            let error = refused(door.verify_with(|claims| claims[claim] = wrong.clone()), Code::Unauthenticated);
            assert!(error.message().contains("seconds"), "{claim}: {error}");
        }
    }
}

#[tokio::test]
async fn a_token_says_when_it_was_issued_and_else_counts_from_when_it_is_seen() {
    let door = Door::new();
    let life = |principal: Principal| principal.expires_at.unwrap().0 - principal.issued_at.unwrap().0;
    assert_eq!(life(door.verify_with(|_| {}).unwrap()) / 1000, 630, "with the leeway");
    assert_eq!(life(door.verify_with(|claims| claims["iat"] = json!(door.now() - 100)).unwrap()) / 1000, 730);
    let undated = door.verify_with(|claims| drop(claims.as_object_mut().unwrap().remove("iat"))).unwrap();
    assert_eq!(undated.issued_at, Some(door.clock.now()));
}

#[tokio::test]
async fn a_foreign_subject_is_a_user_of_this_server_only_where_the_key_may_name_them() {
    let (foreign, local) = (Door::new(), Door::with(|key| key.users = KeyUsers::Local));
    for door in [&foreign, &local] {
        let user = |username: &str, roles: &[Role]| {
            let password = Secret("a long enough password".to_owned());
            door.auth.create_user(NewUser { username: username.to_owned(), password, roles: roles.to_vec() })
        };
        user("root", &[Role::Admin]).await.unwrap();
        let ann = user("Ann@example.com", &[Role::Operator]).await.unwrap();
        let of = |subject: &str| door.verify_with(|claims| claims["sub"] = json!(subject));
        if std::ptr::eq(door, &foreign) {
            refused(of(ann.id.as_str()), Code::Unauthenticated);
            assert_eq!(of("ann").unwrap().user, id("ann"));
            continue;
        }
        for subject in [ann.id.as_str(), "ann@EXAMPLE.com"] {
            let principal = of(subject).unwrap();
            assert_eq!((&principal.user, principal.roles.as_slice()), (&ann.id, [].as_slice()), "as its claims say");
        }
        for subject in ["ann", "server", "", "bob"] {
            refused(of(subject), Code::Unauthenticated);
        }
        let disabled = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
        door.auth.change_user(&ann.id, disabled(true)).await.unwrap();
        refused(of("ann@example.com"), Code::TokenRevoked);
        door.auth.change_user(&ann.id, disabled(false)).await.unwrap();
        refused(of("ann@example.com"), Code::TokenRevoked);
        door.after_the_leeway();
        of("ann@example.com").unwrap();
        door.auth.delete_user(&ann.id).await.unwrap();
        refused(of("ann@example.com"), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn subjects_and_grants_outside_the_grammar_refuse_the_token() {
    let door = Door::new();
    for subject in [json!("a:b"), json!(""), json!("auth0|1"), json!(1.5), json!(null), json!("server")] {
        refused(door.verify_with(|claims| claims["sub"] = subject), Code::Unauthenticated);
    }
    let user = door.verify_with(|claims| {
        claims.as_object_mut().unwrap().remove("sub");
        claims["userId"] = json!("u1");
    });
    assert_eq!(user.unwrap().user, id("u1"));
    let many = json!(vec!["session:*=subscribe"; 201]);
    for grants in [json!("session:*=subscribe"), json!(["session:*"]), json!([1]), json!({}), many] {
        refused(door.verify_with(|claims| claims["grants"] = grants), Code::Unauthenticated);
    }
    refused(door.verify_with(|claims| claims["jti"] = json!("x".repeat(257))), Code::Unauthenticated);
    refused(door.verify_with(|claims| claims["jti"] = json!(7)), Code::Unauthenticated);
}
