//! Identity as transports see it: tokens in, principals out; logins; users; revocations.
//!
//! Guarantees of every implementation: a refused token is `unauthenticated`, `token_expired` or
//! `token_revoked` and says no more than that, but for one whose signature is right and whose times are no seconds;
//! passwords and tokens are in no error and no log.
//! It is not where grants are judged: that is the gate's.

use std::{fmt, net::IpAddr, sync::Arc};

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{Grant, Principal, Result, Timestamp, UserId, principal::Role};

/// A text that must never be seen: its `Debug` shows nothing.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A user as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The id; the `sub` of its tokens.
    pub id: UserId,
    /// The name to log in with.
    pub username: String,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Whether it may not log in.
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a login or a refresh gives.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// The access token.
    pub token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// When the access token ends.
    pub expires_at: Timestamp,
    /// Works once, for the next pair.
    pub refresh_token: String,
    /// Who.
    pub user: LoginUser,
}

/// Who logged in.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LoginUser {
    /// The id.
    pub id: UserId,
    /// The name.
    pub username: String,
    /// The roles.
    pub roles: Vec<Role>,
}

/// Where a login comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address, as far as trusted proxies say it.
    pub address: IpAddr,
    /// What the client calls itself (`User-Agent`), for whoever looks at the logins; empty where it says nothing.
    pub agent: String,
}

/// A login that goes on, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnLogin {
    /// What it is ended by.
    pub id: String,
    /// Whether the request came with a token of this login.
    pub current: bool,
    /// When it began; absent for one that an older version of the server began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it got tokens last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refreshed_at: Option<Timestamp>,
    /// When it ends, if it is not refreshed.
    pub expires_at: Timestamp,
    /// The address that it began from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What the client called itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// A change of one's own password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnPassword {
    /// The password as it is.
    pub current: Secret,
    /// The new one: 12 to 256 characters.
    pub password: Secret,
}

/// A token that belongs to no login, as `tidings token` makes them. The token itself is kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuedToken {
    /// Its `jti`, by which it is revoked.
    pub id: String,
    /// Whose it is.
    pub user_id: UserId,
    /// The name of that user; absent for a subject that is no user here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What it is for, as whoever made it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Its grants, beside those of its roles.
    pub grants: Vec<Grant>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Which token was revoked by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// One that was listed as valid: it is no more.
    Listed,
    /// One that had been revoked before.
    Before,
    /// One that is not listed here, such as one that was made elsewhere: its id is refused from now on.
    Unlisted,
}

/// A page of issued tokens, the newest first.
#[derive(Debug, Clone, Default)]
pub struct IssuedTokens {
    /// The tokens.
    pub tokens: Vec<IssuedToken>,
    /// What the next page goes on after; none on the last one.
    pub cursor: Option<String>,
}

/// A user to be made.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewUser {
    /// 1 to 64 characters of `[A-Za-z0-9._@-]`; compared without regard to case.
    #[schemars(regex(pattern = "^[A-Za-z0-9._@-]{1,64}$"))]
    pub username: String,
    /// 12 to 256 characters.
    #[schemars(with = "String", length(min = 12, max = 256))]
    pub password: Secret,
    /// Its roles; none by default.
    #[serde(default)]
    pub roles: Vec<Role>,
}

/// What to change of a user; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserChange {
    /// A new password, of 12 to 256 characters: ends the user's logins.
    #[schemars(with = "Option<String>", length(min = 12, max = 256))]
    pub password: Option<Secret>,
    /// New roles: ends the user's access tokens, so that the next refresh has them.
    pub roles: Option<Vec<Role>>,
    /// Disabling ends the user's logins and connections.
    pub disabled: Option<bool>,
}

/// Whose live connections end now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// Every connection of a user, for good: revoked, disabled or deleted.
    User(UserId),
    /// Every connection with a token of this `jti`, whoever minted it.
    Token(SmolStr),
    /// Every connection with the token of this `jti` that this application minted.
    TokenOf {
        /// As [`Principal::application`] has it.
        application: SmolStr,
        /// The `jti`.
        id: SmolStr,
    },
    /// Every connection of this login.
    Family(SmolStr),
}

impl Revocation {
    /// Whether it concerns this principal.
    #[must_use]
    pub fn concerns(&self, principal: &Principal) -> bool {
        match self {
            Self::User(user) => principal.user == *user,
            Self::Token(id) => principal.token_id.as_ref() == Some(id),
            Self::TokenOf { application, id } => {
                principal.token_id.as_ref() == Some(id) && principal.application.as_ref() == Some(application)
            }
            Self::Family(id) => principal.family.as_ref() == Some(id),
        }
    }
}

/// Called for every revocation. It must not wait.
pub type RevocationWatcher = Arc<dyn Fn(&Revocation) + Send + Sync>;

/// Who is who.
pub trait Identity: Send + Sync + 'static {
    /// The principal of an access token.
    ///
    /// # Errors
    /// `unauthenticated`, `token_expired`, `token_revoked`.
    fn verify(&self, token: &str) -> Result<Principal>;

    /// Logs in.
    ///
    /// # Errors
    /// `unauthenticated`, not retryable, for a wrong name or password or a disabled user, all alike and after the
    /// same time; `rate_limited`; `overloaded`; `unavailable`.
    fn login(&self, username: String, password: Secret, from: Origin) -> BoxFuture<'_, Result<Login>>;

    /// The next pair of tokens for a refresh token.
    ///
    /// # Errors
    /// `unauthenticated`, `token_expired`; `token_revoked` when it was used before (the family ends). None of them is
    /// retryable: the same refresh token is never accepted again.
    fn refresh(&self, refresh_token: Secret) -> BoxFuture<'_, Result<Login>>;

    /// Ends the login that this principal's token comes from, and its live connections. A token that comes from no
    /// login is revoked by its id.
    ///
    /// # Errors
    /// `bad_request` for a token that comes from no login here and has no id (then nothing changes); `unavailable`.
    fn logout(&self, principal: &Principal) -> BoxFuture<'_, Result<()>>;

    /// The logins of this principal's user that go on, the one that was used last first.
    ///
    /// # Errors
    /// `forbidden` for a token that comes from no login here; `unavailable`.
    fn logins(&self, principal: &Principal) -> BoxFuture<'_, Result<Vec<OwnLogin>>>;

    /// Ends a login of this principal's user, and its live connections.
    ///
    /// # Errors
    /// `forbidden` for a token that comes from no login here; `not_found`; `unavailable`.
    fn end_login(&self, principal: &Principal, id: &str) -> BoxFuture<'_, Result<()>>;

    /// Changes the password of this principal's user and ends its other logins.
    ///
    /// # Errors
    /// `forbidden` for a token that comes from no login here; `invalid_data` by field for a wrong password as well
    /// as for a new one outside the rules; `rate_limited` after too many wrong ones; `unavailable`.
    fn change_own_password(&self, principal: &Principal, change: OwnPassword) -> BoxFuture<'_, Result<()>>;

    /// Tokens that belong to no login, were made here and are good still: of one user, or of all.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is none; `unavailable`.
    fn tokens(&self, of: Option<UserId>, after: Option<String>, limit: usize) -> BoxFuture<'_, Result<IssuedTokens>>;

    /// Makes a user.
    ///
    /// # Errors
    /// `invalid_data`, `conflict` for a name that is taken.
    fn create_user(&self, user: NewUser) -> BoxFuture<'_, Result<User>>;

    /// Users by name, above `after`.
    ///
    /// # Errors
    /// `unavailable`.
    fn users(&self, after: Option<String>, limit: usize) -> BoxFuture<'_, Result<Vec<User>>>;

    /// One user.
    ///
    /// # Errors
    /// `not_found`.
    fn user(&self, id: &UserId) -> BoxFuture<'_, Result<User>>;

    /// Changes a user.
    ///
    /// # Errors
    /// `not_found`, `invalid_data`; `conflict` if no admin would be left.
    fn change_user(&self, id: &UserId, change: UserChange) -> BoxFuture<'_, Result<User>>;

    /// Deletes a user and ends its logins and connections.
    ///
    /// # Errors
    /// `not_found`; `conflict` if no admin would be left.
    fn delete_user(&self, id: &UserId) -> BoxFuture<'_, Result<()>>;

    /// Ends every login and connection of a user, also one that only tokens minted elsewhere know.
    ///
    /// # Errors
    /// `unavailable`.
    fn revoke_user(&self, id: &UserId) -> BoxFuture<'_, Result<()>>;

    /// Revokes one token by its `jti`: any, also those of that `jti` that were made elsewhere, or with `of` one of
    /// [`Self::tokens`] of that user. Says which kind of token it was.
    ///
    /// # Errors
    /// `not_found` for a token that is not among them; `bad_request` for what is no `jti`; `unavailable`.
    fn revoke_token(&self, token_id: &str, of: Option<&UserId>) -> BoxFuture<'_, Result<Revoked>>;

    /// Says who hears of revocations from now on.
    fn watch_revocations(&self, watcher: RevocationWatcher);
}
