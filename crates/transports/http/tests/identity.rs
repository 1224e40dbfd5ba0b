//! An identity in memory: fixed tokens, real users, refresh tokens that work once.
//!
//! Guarantees: it obeys the port; it remembers the addresses of logins.
//! It is not safe: passwords and tokens are plain texts.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tidings_core::{
    Code, Error, Principal, Result, Timestamp, UserId,
    identity::{
        Identity, IssuedToken, IssuedTokens, Login, LoginUser, NewUser, Origin, OwnLogin, OwnPassword, Revocation,
        RevocationWatcher, Revoked, Secret, User, UserChange,
    },
    principal::Role,
};

use super::{ADMIN, NOBODY, PRODUCER, VIEWER};

/// When the fixed tokens end.
pub(super) const ENDS: Timestamp = Timestamp(1_795_208_400_000);

#[derive(Default)]
struct State {
    tokens: BTreeMap<String, Result<Principal>>,
    users: BTreeMap<String, (User, String)>,
    refresh: BTreeMap<String, String>,
    addresses: Vec<IpAddr>,
    agents: Vec<String>,
    issued: Vec<IssuedToken>,
    watchers: Vec<RevocationWatcher>,
    made: u64,
}

pub(super) struct MemoryIdentity(Mutex<State>);

fn id(text: &str) -> UserId {
    text.parse().expect("an id")
}

impl MemoryIdentity {
    /// With the administrator `root`, password `correct horse battery`, and the fixed tokens.
    pub(super) fn new() -> Arc<Self> {
        let mut state = State::default();
        let root = User {
            id: id("u-root"),
            username: "root".to_owned(),
            roles: vec![Role::Admin],
            disabled: false,
            created_at: Timestamp(0),
        };
        state.users.insert("root".to_owned(), (root, "correct horse battery".to_owned()));
        let grant = "build:*=publish".parse().expect("a grant");
        for (token, user, roles, grants) in [
            (ADMIN, "u-root", vec![Role::Admin], vec![]),
            (VIEWER, "u-viewer", vec![Role::Viewer], vec![]),
            (PRODUCER, "u-producer", vec![], vec![grant]),
            (NOBODY, "u-nobody", vec![], vec![]),
        ] {
            let mut principal = Principal::new(id(user), roles, grants);
            principal.expires_at = Some(ENDS);
            principal.family = Some(user.into());
            state.tokens.insert(token.to_owned(), Ok(principal));
        }
        for (token, code) in [("expired-token", Code::TokenExpired), ("revoked-token", Code::TokenRevoked)] {
            state.tokens.insert(token.to_owned(), Err(Error::new(code, "no longer")));
        }
        state.issued = ["u-root", "u-viewer"].map(issued).to_vec();
        Arc::new(Self(Mutex::new(state)))
    }

    /// The addresses that logins came from.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.0.lock().addresses.clone()
    }

    /// What the clients of logins called themselves.
    pub(super) fn agents(&self) -> Vec<String> {
        self.0.lock().agents.clone()
    }
}

/// A token of the list, with its user as its id.
fn issued(user: &str) -> IssuedToken {
    IssuedToken {
        id: format!("token-of-{user}"),
        user_id: id(user),
        username: None,
        name: None,
        roles: vec![],
        grants: vec![],
        created_at: Timestamp(0),
        expires_at: ENDS,
    }
}

impl State {
    fn login(&mut self, username: &str) -> Result<Login> {
        let (user, _) = self.users.get(username).cloned().ok_or_else(refused)?;
        self.made += 1;
        let (token, refresh_token) = (format!("access-{}", self.made), format!("refresh-{}", self.made));
        let mut principal = Principal::new(user.id.clone(), user.roles.clone(), vec![]);
        principal.family = Some(username.into());
        self.tokens.insert(token.clone(), Ok(principal));
        self.refresh.insert(refresh_token.clone(), username.to_owned());
        let user = LoginUser { id: user.id, username: user.username, roles: user.roles };
        Ok(Login { token, token_type: "Bearer", expires_at: ENDS, refresh_token, user })
    }

    fn by_id(&mut self, id: &UserId) -> Result<&mut (User, String)> {
        self.users.values_mut().find(|(user, _)| user.id == *id).ok_or_else(Error::not_found)
    }

    fn end(&mut self, revocation: &Revocation) {
        for token in self.tokens.values_mut() {
            if token.as_ref().is_ok_and(|principal| revocation.concerns(principal)) {
                *token = Err(Error::new(Code::TokenRevoked, "no longer"));
            }
        }
        for watcher in &self.watchers {
            watcher(revocation);
        }
    }
}

fn refused() -> Error {
    Error::new(Code::Unauthenticated, "wrong name or password")
}

fn ready<T: Send + 'static>(value: T) -> BoxFuture<'static, T> {
    std::future::ready(value).boxed()
}

impl Identity for MemoryIdentity {
    fn verify(&self, token: &str) -> Result<Principal> {
        let unknown = || Err(Error::new(Code::Unauthenticated, "no such token"));
        self.0.lock().tokens.get(token).cloned().unwrap_or_else(unknown)
    }

    fn login(&self, username: String, password: Secret, from: Origin) -> BoxFuture<'_, Result<Login>> {
        let mut state = self.0.lock();
        state.addresses.push(from.address);
        state.agents.push(from.agent);
        if username == "flood" {
            return ready(Err(Error::new(Code::RateLimited, "too many logins").with_retry_after_ms(1500)));
        }
        let right = state.users.get(&username).is_some_and(|(user, own)| !user.disabled && *own == password.0);
        ready(if right { state.login(&username) } else { Err(refused()) })
    }

    fn refresh(&self, refresh_token: Secret) -> BoxFuture<'_, Result<Login>> {
        let mut state = self.0.lock();
        let username = state.refresh.remove(&refresh_token.0);
        ready(username.ok_or_else(refused).and_then(|username| state.login(&username)))
    }

    fn logout(&self, principal: &Principal) -> BoxFuture<'_, Result<()>> {
        if let Some(family) = principal.family.clone() {
            self.0.lock().end(&Revocation::Family(family));
        }
        ready(Ok(()))
    }

    fn logins(&self, principal: &Principal) -> BoxFuture<'_, Result<Vec<OwnLogin>>> {
        let id = principal.family.clone().unwrap_or_default().to_string();
        let (created_at, refreshed_at, address, agent) = (None, None, None, Some("a browser".to_owned()));
        let own = OwnLogin { id, current: true, created_at, refreshed_at, expires_at: ENDS, address, agent };
        ready(Ok(vec![own]))
    }

    fn end_login(&self, principal: &Principal, id: &str) -> BoxFuture<'_, Result<()>> {
        if principal.family.as_deref() != Some(id) {
            return ready(Err(Error::not_found()));
        }
        self.0.lock().end(&Revocation::Family(id.into()));
        ready(Ok(()))
    }

    fn change_own_password(&self, principal: &Principal, change: OwnPassword) -> BoxFuture<'_, Result<()>> {
        let mut state = self.0.lock();
        let changed = state.by_id(&principal.user).and_then(|(_, password)| {
            if *password != change.current.0 {
                return Err(Error::invalid_field("current", "is not the password"));
            }
            *password = change.password.0;
            Ok(())
        });
        ready(changed)
    }

    fn tokens(&self, of: Option<UserId>, after: Option<String>, limit: usize) -> BoxFuture<'_, Result<IssuedTokens>> {
        let state = self.0.lock();
        let mut tokens: Vec<IssuedToken> = state
            .issued
            .iter()
            .filter(|token| of.as_ref().is_none_or(|of| token.user_id == *of))
            .filter(|token| after.as_ref().is_none_or(|after| token.id > *after))
            .cloned()
            .collect();
        let more = tokens.len() > limit;
        tokens.truncate(limit);
        let cursor = tokens.last().filter(|_| more).map(|token| token.id.clone());
        ready(Ok(IssuedTokens { tokens, cursor }))
    }

    fn create_user(&self, user: NewUser) -> BoxFuture<'_, Result<User>> {
        let mut state = self.0.lock();
        if user.password.0.len() < 12 {
            return ready(Err(Error::invalid_field("password", "12 to 256 characters")));
        }
        if state.users.contains_key(&user.username) {
            return ready(Err(Error::new(Code::Conflict, "the name is taken")));
        }
        let made = User {
            id: id(&format!("u-{}", user.username)),
            username: user.username.clone(),
            roles: user.roles,
            disabled: false,
            created_at: Timestamp(0),
        };
        state.users.insert(user.username, (made.clone(), user.password.0));
        ready(Ok(made))
    }

    fn users(&self, after: Option<String>, limit: usize) -> BoxFuture<'_, Result<Vec<User>>> {
        let state = self.0.lock();
        let later = state.users.values().filter(|(user, _)| after.as_ref().is_none_or(|after| user.username > *after));
        ready(Ok(later.take(limit).map(|(user, _)| user.clone()).collect()))
    }

    fn user(&self, id: &UserId) -> BoxFuture<'_, Result<User>> {
        ready(self.0.lock().by_id(id).map(|(user, _)| user.clone()))
    }

    fn change_user(&self, id: &UserId, change: UserChange) -> BoxFuture<'_, Result<User>> {
        let mut state = self.0.lock();
        let changed = state.by_id(id).map(|(user, password)| {
            user.roles = change.roles.unwrap_or_else(|| user.roles.clone());
            user.disabled = change.disabled.unwrap_or(user.disabled);
            if let Some(Secret(new)) = change.password {
                *password = new;
            }
            user.clone()
        });
        ready(changed)
    }

    fn delete_user(&self, id: &UserId) -> BoxFuture<'_, Result<()>> {
        let mut state = self.0.lock();
        let username = state.by_id(id).map(|(user, _)| user.username.clone());
        ready(username.map(|username| drop(state.users.remove(&username))))
    }

    fn revoke_user(&self, id: &UserId) -> BoxFuture<'_, Result<()>> {
        self.0.lock().end(&Revocation::User(id.clone()));
        ready(Ok(()))
    }

    fn revoke_token(&self, token_id: &str, of: Option<&UserId>) -> BoxFuture<'_, Result<Revoked>> {
        let mut state = self.0.lock();
        let is_of = |token: &IssuedToken| token.id == token_id && of.is_some_and(|of| token.user_id == *of);
        if of.is_some() && !state.issued.iter().any(is_of) {
            return ready(Err(Error::not_found()));
        }
        let listed = state.issued.len();
        state.issued.retain(|token| token.id != token_id);
        let known = if state.issued.len() < listed { Revoked::Listed } else { Revoked::Unlisted };
        state.end(&Revocation::Token(token_id.into()));
        ready(Ok(known))
    }

    fn watch_revocations(&self, watcher: RevocationWatcher) {
        self.0.lock().watchers.push(watcher);
    }
}
