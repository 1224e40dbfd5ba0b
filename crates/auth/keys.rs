//! Keys: which one a token names, and what it is good for.
//!
//! Guarantees: a key is used with the one algorithm it was given for, whatever a token's header
//! says; issuer and audience are always checked; private keys of others are never held.
//! It is not what the claims mean: see [`crate::claims`].

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, crypto};
use serde::Serialize;
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};
use tidings_core::{Timestamp, identity::Secret};

use crate::{
    config::{AuthConfig, BelievedClaims, KeyAlgorithm, KeyUsers, PublicKeyConfig},
    error::AuthError,
    key_file::{KeyFile, StoredKey},
    signatures::PROVIDER,
};

/// The `kid` of a configured secret.
const CONFIGURED: &str = "configured";
/// The longest token that is looked at, in bytes.
pub(crate) const MOST_BYTES: usize = 16 * 1024;
/// The shortest secret, in bytes: what HS256 asks for (RFC 7518, section 3.2).
const SHORTEST_SECRET: usize = 32;

/// Who signs with a key.
#[derive(Debug)]
pub(crate) enum Owner {
    /// This server. Its retired keys are good until a time, in milliseconds since 1970.
    Here { until: Option<i64> },
    /// Another application, by the name that it has here, of whose claims these are believed, and which names these
    /// users.
    Elsewhere { application: SmolStr, believed: BelievedClaims, users: KeyUsers },
}

/// A key that tokens are checked with.
pub(crate) struct Key {
    kid: Option<String>,
    /// Whether it also checks tokens that name no key.
    nameless: bool,
    algorithm: Algorithm,
    decoding: DecodingKey,
    validation: Validation,
    pub(crate) owner: Owner,
}

impl Key {
    fn fits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
            && match kid {
                Some(_) => self.kid.as_deref() == kid,
                None => self.nameless,
            }
    }
}

/// All keys of a moment.
pub(crate) struct Ring {
    keys: Vec<Arc<Key>>,
    header: Header,
    signing: EncodingKey,
    /// Keys that refresh tokens are derived with; the newest first.
    deriving: Vec<EncodingKey>,
}

impl Ring {
    /// The claims of a token whose signature, issuer and audience are right, and the key.
    /// Times are not looked at.
    pub(crate) fn open(&self, token: &str) -> Option<(Value, Arc<Key>)> {
        if token.len() > MOST_BYTES {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        // RFC 7515, section 4.1.11: who does not know a critical extension refuses the token.
        if header.crit.is_some() {
            return None;
        }
        let fitting = self.keys.iter().filter(|key| key.fits(header.kid.as_deref(), header.alg));
        fitting
            .filter_map(|key| {
                let data = jsonwebtoken::decode::<Value>(token, &key.decoding, &key.validation).ok()?;
                Some((data.claims, Arc::clone(key)))
            })
            .next()
    }

    /// Signs claims with the newest key of this server.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> String {
        jsonwebtoken::encode(&self.header, claims, &self.signing)
            .expect("claims of ours serialise, and HMAC takes any key")
    }

    /// The `kid` of the key that signs.
    pub(crate) fn kid(&self) -> &str {
        self.header.kid.as_deref().unwrap_or_default()
    }

    /// The refresh token after this one.
    pub(crate) fn successor(&self, token: &str) -> String {
        self.possible_successors(token).next().expect("a ring always has the key that signs")
    }

    /// The refresh tokens that may have been given after this one, by the newest key or older ones.
    pub(crate) fn possible_successors(&self, token: &str) -> impl Iterator<Item = String> {
        self.deriving.iter().map(move |key| keyed_hash(token.as_bytes(), key))
    }
}

/// A hash of a message that only who has this secret can make, as base64url.
pub(crate) fn hash_for(secret: &str, message: &str) -> String {
    keyed_hash(message.as_bytes(), &EncodingKey::from_secret(secret.as_bytes()))
}

fn keyed_hash(message: &[u8], key: &EncodingKey) -> String {
    crypto::sign(message, key, Algorithm::HS256).expect("HMAC takes any key and message")
}

/// Where the keys of this server come from, and which others there are.
pub(crate) struct KeySource {
    own: Own,
    others: Vec<Arc<Key>>,
    issuer: String,
    audience: String,
}

enum Own {
    Configured(Secret),
    File(PathBuf),
}

impl KeySource {
    /// Checks the configured keys.
    pub(crate) fn new(config: &AuthConfig) -> Result<Self, AuthError> {
        if PROVIDER.install_default().is_err() {
            tracing::debug!("the crypto provider for tokens was installed before");
        }
        let own = match &config.secret {
            Some(secret) if secret.0.len() < SHORTEST_SECRET => {
                return Err(AuthError::key("the token secret", "at least 32 bytes"));
            }
            Some(secret) => Own::Configured(secret.clone()),
            None => Own::File(config.dir.join("signing.key")),
        };
        let mut names = HashSet::from([CONFIGURED]);
        for key in &config.keys {
            if key.kid.as_deref().is_some_and(|kid| !names.insert(kid)) {
                return Err(AuthError::key(name_of(key), "another key has this kid"));
            }
        }
        let others = config.keys.iter().map(|key| other(key, config).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { own, others, issuer: config.issuer.clone(), audience: config.audience.clone() })
    }

    /// The ring, after making `signing.key` where it is needed and absent.
    pub(crate) fn load_or_make(&self, now: Timestamp) -> Result<Ring, AuthError> {
        if let Own::File(path) = &self.own
            && KeyFile::read(path)?.is_none()
        {
            KeyFile::of(StoredKey::generate(now.0)).write(path)?;
        }
        self.load()
    }

    /// The ring as the key file is now.
    pub(crate) fn load(&self) -> Result<Ring, AuthError> {
        match &self.own {
            Own::Configured(secret) => {
                let bytes = secret.0.as_bytes();
                let key = self.own_key(CONFIGURED.to_owned(), true, bytes, None);
                Ok(self.ring(vec![key], CONFIGURED, bytes, vec![deriving(bytes)]))
            }
            Own::File(path) => {
                let file = KeyFile::read(path)?.ok_or_else(|| AuthError::key("signing.key", "it is gone"))?;
                self.ring_of(&file)
            }
        }
    }

    fn ring_of(&self, file: &KeyFile) -> Result<Ring, AuthError> {
        let newest = file.keys.last().ok_or_else(|| AuthError::key("signing.key", "it has no key"))?;
        let mut keys = Vec::new();
        let mut older = Vec::new();
        for stored in file.keys.iter().rev() {
            let bytes = stored.bytes()?;
            keys.push(self.own_key(stored.kid.clone(), false, &bytes, stored.verify_until));
            older.push(deriving(&bytes));
        }
        Ok(self.ring(keys, &newest.kid, &newest.bytes()?, older))
    }

    fn ring(&self, own: Vec<Key>, kid: &str, secret: &[u8], deriving: Vec<EncodingKey>) -> Ring {
        let mut keys: Vec<Arc<Key>> = own.into_iter().map(Arc::new).collect();
        keys.extend(self.others.iter().cloned());
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.to_owned());
        Ring { keys, header, signing: EncodingKey::from_secret(secret), deriving }
    }

    fn own_key(&self, kid: String, nameless: bool, secret: &[u8], until: Option<i64>) -> Key {
        Key {
            kid: Some(kid),
            nameless,
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(secret),
            validation: validation(Algorithm::HS256, &self.issuer, &self.audience),
            owner: Owner::Here { until },
        }
    }

    /// Adds a key that signs from now on; gives its `kid`. `last_expiry` says of a `kid` when its
    /// last token ends; until then that key goes on verifying.
    pub(crate) fn rotate(
        &self,
        now: i64,
        last_expiry: impl Fn(&str) -> Result<i64, rusqlite::Error>,
    ) -> Result<Option<String>, AuthError> {
        let Own::File(path) = &self.own else { return Ok(None) };
        let mut file = KeyFile::read(path)?.ok_or_else(|| AuthError::key("signing.key", "it is gone"))?;
        for key in &mut file.keys {
            if key.verify_until.is_none() {
                key.verify_until = Some(last_expiry(&key.kid)?);
            }
        }
        file.keys.retain(|key| key.verify_until.is_some_and(|until| until >= now));
        let key = StoredKey::generate(now);
        let kid = key.kid.clone();
        file.keys.push(key);
        file.write(path)?;
        Ok(Some(kid))
    }
}

/// The key that refresh tokens are derived with, apart from the one that signs: no signature is
/// ever a refresh token.
fn deriving(secret: &[u8]) -> EncodingKey {
    let key = EncodingKey::from_secret(secret);
    EncodingKey::from_secret(keyed_hash(b"tidings: the successors of refresh tokens", &key).as_bytes())
}

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    // Times are judged by the Clock port, in `claims`.
    validation.validate_exp = false;
    validation
}

fn name_of(key: &PublicKeyConfig) -> String {
    key.kid.as_ref().map_or_else(|| "a key without kid".to_owned(), |kid| format!("key '{kid}'"))
}

/// What an application is called here: by its key, so that no other's `jti`s are taken for its own; those without `kid`
/// are told apart by their issuers.
fn application(key: &PublicKeyConfig, issuer: &str) -> SmolStr {
    match &key.kid {
        Some(kid) => format_smolstr!("kid {kid}"),
        None => format_smolstr!("iss {issuer}"),
    }
}

impl PublicKeyConfig {
    /// Whether tokens can be checked with this key; its name is not looked at.
    ///
    /// # Errors
    /// Why not, without anything of the key.
    pub fn check(&self) -> Result<(), &'static str> {
        decoding(self).map(drop)
    }
}

fn decoding(key: &PublicKeyConfig) -> Result<DecodingKey, &'static str> {
    match (key.algorithm, &key.secret, &key.pem) {
        (KeyAlgorithm::HS256, Some(secret), None) if secret.0.len() >= SHORTEST_SECRET => {
            Ok(DecodingKey::from_secret(secret.0.as_bytes()))
        }
        (KeyAlgorithm::HS256, ..) => Err("HS256 takes a secret of at least 32 bytes, and no pem"),
        (_, None, Some(pem)) => public(key.algorithm, pem),
        _ => Err("RS256, ES256 and EdDSA take a public key as pem, and no secret"),
    }
}

fn other(key: &PublicKeyConfig, config: &AuthConfig) -> Result<Key, AuthError> {
    let algorithm = match key.algorithm {
        KeyAlgorithm::HS256 => Algorithm::HS256,
        KeyAlgorithm::RS256 => Algorithm::RS256,
        KeyAlgorithm::ES256 => Algorithm::ES256,
        KeyAlgorithm::EdDSA => Algorithm::EdDSA,
    };
    let decoding = decoding(key).map_err(|why| AuthError::key(name_of(key), why))?;
    let issuer = key.issuer.as_deref().unwrap_or(&config.issuer);
    let audience = key.audience.as_deref().unwrap_or(&config.audience);
    Ok(Key {
        kid: key.kid.clone(),
        nameless: key.kid.is_none(),
        algorithm,
        decoding,
        validation: validation(algorithm, issuer, audience),
        owner: Owner::Elsewhere {
            application: application(key, issuer),
            believed: key.claims.clone(),
            users: key.users,
        },
    })
}

fn public(algorithm: KeyAlgorithm, pem: &str) -> Result<DecodingKey, &'static str> {
    if pem.contains("PRIVATE KEY") {
        return Err("this is a private key: give the public one, and keep this one where tokens are minted");
    }
    let key = match algorithm {
        KeyAlgorithm::RS256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
        KeyAlgorithm::ES256 => DecodingKey::from_ec_pem(pem.as_bytes()),
        KeyAlgorithm::EdDSA => DecodingKey::from_ed_pem(pem.as_bytes()),
        KeyAlgorithm::HS256 => return Err("a secret, not a pem"),
    };
    key.map_err(|_| "the pem is no public key of this algorithm")
}
