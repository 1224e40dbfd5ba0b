//! What an operator can say about identity.
//!
//! Guarantees: every field has a default but the directory; secrets show nothing in `Debug`.
//! It is not the configuration file: the root reads that and fills these structs.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_core::identity::Secret;

/// How identity works.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// The data directory: `users.db` and `signing.key` are in it. Made if absent, for its owner only.
    pub dir: PathBuf,
    /// The `iss` of the server's own tokens. `tidings` by default.
    pub issuer: String,
    /// The `aud` that a token must have. `tidings` by default.
    pub audience: String,
    /// How long an access token lives. 15 minutes by default; at least a second.
    pub access_ttl: Duration,
    /// How long a refresh token waits for its use. 30 days by default; each refresh starts it anew.
    pub refresh_ttl: Duration,
    /// How long a used refresh token gets the same answer again. 60 seconds by default; zero means never.
    pub refresh_grace: Duration,
    /// The HS256 secret that tokens are signed with, of at least 32 bytes. None by default: then
    /// one is generated in `signing.key`.
    pub secret: Option<Secret>,
    /// Keys of other applications whose tokens are accepted. None by default.
    pub keys: Vec<PublicKeyConfig>,
    /// How far another application's clock may be off. 30 seconds by default. For so long after a user was revoked, its
    /// tokens are refused that another application dates after that: they may be from before.
    pub leeway: Duration,
    /// How often somebody may try to log in.
    pub login_limits: LoginLimits,
    /// The most logins of one user that go on; at one more, that ends which was not used for longest. 100 by
    /// default; zero means no limit.
    pub max_logins: u32,
}

impl AuthConfig {
    /// The defaults, over a data directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            issuer: "tidings".to_owned(),
            audience: "tidings".to_owned(),
            access_ttl: Duration::from_secs(15 * 60),
            refresh_ttl: Duration::from_secs(30 * 24 * 3600),
            refresh_grace: Duration::from_secs(60),
            secret: None,
            keys: Vec::new(),
            leeway: Duration::from_secs(30),
            login_limits: LoginLimits::default(),
            max_logins: 100,
        }
    }
}

/// How often somebody may try to log in: so many tries at once, then evenly over the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginLimits {
    /// Failed tries from one address (of IPv6: one /64), at names under which it never logged in. 30 by default;
    /// zero means no limit.
    pub per_address: u32,
    /// Tries of one name, whether they succeed or not: from each address that logged in under it before, and from
    /// all others together, of which one gets at most half. 10 by default; zero means no limit.
    pub per_name: u32,
    /// The window of both. One minute by default.
    pub window: Duration,
    /// How long it counts that an address logged in under a name. 90 days by default; zero means never.
    pub remembered: Duration,
}

impl Default for LoginLimits {
    fn default() -> Self {
        let (window, remembered) = (Duration::from_secs(60), Duration::from_secs(90 * 24 * 3600));
        Self { per_address: 30, per_name: 10, window, remembered }
    }
}

/// A key of another application, to check the tokens it mints.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKeyConfig {
    /// The `kid` its tokens name. None: for tokens that name none.
    #[serde(default)]
    pub kid: Option<String>,
    /// The one algorithm that this key is used with, whatever a token says.
    pub algorithm: KeyAlgorithm,
    /// The public key as PEM; for RS256, ES256 and EdDSA.
    #[serde(default)]
    pub pem: Option<String>,
    /// The shared secret, of at least 32 bytes; for HS256.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// The `iss` its tokens must have. None: the server's own.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The `aud` its tokens must have. None: the server's own.
    #[serde(default)]
    pub audience: Option<String>,
    /// Which of its claims are believed.
    #[serde(default)]
    pub claims: BelievedClaims,
    /// Whose users its tokens name. The application's own by default.
    #[serde(default)]
    pub users: KeyUsers,
}

/// Whose users the tokens of a key name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUsers {
    /// The application's own: a token that names a user of this server is refused.
    #[default]
    Foreign,
    /// Those of this server, by their id or their name: a token that names nobody here is refused, and one of a user
    /// ends with the user. Its roles are still those that its claims say.
    Local,
}

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum KeyAlgorithm {
    /// HMAC with SHA-256, by a shared secret.
    HS256,
    /// RSA (PKCS #1 v1.5) with SHA-256, of 2,048 bits or more.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// Which claims of another application's tokens are believed. A name that begins with `/` is a
/// JSON pointer, such as `/realm_access/roles`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BelievedClaims {
    /// Whose token it is. `sub` by default; where a token has none, `userId`.
    pub user: String,
    /// Roles: an array, or a text of words. None by default, so that another application's
    /// `admin` is not ours. Roles that are not ours are ignored.
    pub roles: Option<String>,
    /// Grants: an array of texts such as `session:*=subscribe`. `grants` by default. A token with
    /// one that does not parse is refused.
    pub grants: Option<String>,
}

impl Default for BelievedClaims {
    fn default() -> Self {
        Self { user: "sub".to_owned(), roles: None, grants: Some("grants".to_owned()) }
    }
}
