//! Identity: users, passwords, tokens, keys, logins and revocations.
//!
//! [`Auth`] is the house's [`Identity`](tidings_core::identity::Identity): everything it knows is in
//! two files of the data directory, `users.db` and `signing.key`, both readable by their owner only.
//!
//! Guarantees: checking a token touches no disk; a revocation that was answered outlives a crash;
//! a change made by another process on the same directory is known here within a second; no
//! password and no token is stored, logged or told in an error.
//! It is not where grants are judged (the gate's), and knows no transport and no domain.

mod auth;
mod claims;
mod config;
mod error;
mod file;
mod identity;
mod issued;
mod key_file;
mod keys;
mod known;
mod limits;
mod login;
mod logins;
mod mark;
mod mirror;
mod own;
mod passwords;
mod random;
mod refresh;
mod revocations;
mod schema;
mod signatures;
mod store;
mod users;

pub use auth::{Auth, FirstAdmin};
pub use config::{AuthConfig, BelievedClaims, KeyAlgorithm, KeyUsers, LoginLimits, PublicKeyConfig};
pub use error::AuthError;
pub use issued::{NewToken, Whose};
pub use signatures::PROVIDER;
