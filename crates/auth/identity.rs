//! The port [`Identity`], over [`Auth`].
//!
//! Guarantees: what a call changed is on the disk, in the mirror, and told to the watchers before
//! it answers; an unknown name, a wrong password and a disabled user cost and say the same.
//! It is not where anything is stored: each noun has its own file.

use std::{net::IpAddr, sync::Arc};

use tidings_core::{
    BoxFuture, Error, Principal, Result, UserId,
    identity::{Identity, Login, NewUser, RevocationWatcher, Secret, User, UserChange},
};

use crate::{
    auth::Auth,
    claims, login, logins, revocations,
    users::{self, Change},
};

/// The most users of one list.
const MOST_USERS: usize = 1000;
/// The longest refresh token and token id that are looked at, in bytes.
const MOST_BYTES: usize = 256;

impl Identity for Auth {
    fn verify(&self, token: &str) -> Result<Principal> {
        let (claims, key) = self.store.ring().open(token).ok_or_else(logins::not_valid)?;
        claims::principal(&claims, &key.owner, &self.store.mirror(), self.clock.now(), self.leeway_ms)
    }

    fn login(&self, username: String, password: Secret, address: IpAddr) -> BoxFuture<'_, Result<Login>> {
        Box::pin(async move {
            let known_form = users::check_name(&username).is_ok();
            // A name that nobody can have is still limited by its address, and costs the same work.
            let name = if known_form { users::name_key(&username) } else { String::new() };
            self.tries.take(&name, address, self.clock.monotonic())?;
            let account = self.store.run(move |_, transaction| Ok(users::by_name(transaction, &name)?)).await?;
            let hash = account.as_ref().map(|account| account.password.clone());
            // What is too long to be a password is not hashed as one.
            let password = if users::check_password(&password).is_ok() { password } else { Secret(String::new()) };
            let right = self.passwords.check(password, hash).await?;
            let account = account.filter(|account| right && !account.user.disabled).ok_or_else(login::wrong)?;
            let (terms, now) = (Arc::clone(&self.terms), self.clock.now());
            let begun =
                self.store.run(move |store, transaction| login::begin(store, transaction, &terms, &account, now));
            let login = begun.await?;
            self.tries.succeeded(address);
            Ok(login)
        })
    }

    fn refresh(&self, refresh_token: Secret) -> BoxFuture<'_, Result<Login>> {
        Box::pin(async move {
            if refresh_token.0.len() > MOST_BYTES {
                return Err(logins::not_valid());
            }
            let (terms, now) = (Arc::clone(&self.terms), self.clock.now());
            self.store
                .run(move |store, transaction| login::refresh(store, transaction, &terms, &refresh_token.0, now))
                .await?
        })
    }

    fn logout(&self, principal: &Principal) -> BoxFuture<'_, Result<()>> {
        let (family, token_id) = (principal.family.clone(), principal.token_id.clone());
        let until = principal.expires_at.map_or(i64::MAX, |at| at.0);
        Box::pin(async move {
            if let Some(family) = family {
                let ended = self.store.run(move |_, transaction| {
                    if !logins::end(transaction, &family)? {
                        revocations::family(transaction, &family, until)?;
                    }
                    Ok(())
                });
                return ended.await;
            }
            if let Some(id) = token_id {
                self.store.run(move |_, transaction| Ok(revocations::token(transaction, &id, until)?)).await?;
            }
            Err(Error::bad_request("this token comes from no login here"))
        })
    }

    fn create_user(&self, user: NewUser) -> BoxFuture<'_, Result<User>> {
        Box::pin(async move {
            users::check_name(&user.username)?;
            users::check_password(&user.password)?;
            let NewUser { username, password, roles } = user;
            let hash = self.passwords.hash(password).await?;
            let now = self.clock.now();
            self.store.run(move |_, transaction| users::insert(transaction, username, &hash, roles, now)).await
        })
    }

    fn users(&self, after: Option<String>, limit: usize) -> BoxFuture<'_, Result<Vec<User>>> {
        let limit = limit.clamp(1, MOST_USERS);
        Box::pin(async move {
            self.store.run(move |_, transaction| Ok(users::list(transaction, after.as_deref(), limit)?)).await
        })
    }

    fn user(&self, id: &UserId) -> BoxFuture<'_, Result<User>> {
        let id = id.clone();
        Box::pin(async move {
            let found = self.store.run(move |_, transaction| Ok(users::by_id(transaction, &id)?)).await?;
            Ok(found.ok_or_else(Error::not_found)?.user)
        })
    }

    fn change_user(&self, id: &UserId, change: UserChange) -> BoxFuture<'_, Result<User>> {
        let id = id.clone();
        Box::pin(async move {
            let UserChange { password, roles, disabled } = change;
            let password = match password {
                Some(password) => {
                    users::check_password(&password)?;
                    Some(self.passwords.hash(password).await?)
                }
                None => None,
            };
            let now = self.store.stamp(self.clock.now());
            let change = Change { password, roles, disabled };
            self.store.run(move |_, transaction| users::change(transaction, &id, change, now)).await
        })
    }

    fn delete_user(&self, id: &UserId) -> BoxFuture<'_, Result<()>> {
        let id = id.clone();
        Box::pin(async move { self.store.run(move |_, transaction| users::delete(transaction, &id)).await })
    }

    fn revoke_user(&self, id: &UserId) -> BoxFuture<'_, Result<()>> {
        let id = id.clone();
        Box::pin(async move {
            let now = self.store.stamp(self.clock.now());
            let revoked = self.store.run(move |_, transaction| {
                logins::end_all(transaction, &id)?;
                revocations::user(transaction, &id, now, true)?;
                Ok(())
            });
            revoked.await
        })
    }

    fn revoke_token(&self, token_id: &str) -> BoxFuture<'_, Result<()>> {
        let id = token_id.to_owned();
        Box::pin(async move {
            if id.is_empty() || id.len() > MOST_BYTES {
                return Err(Error::bad_request("a token's id has 1 to 256 bytes"));
            }
            // When the token ends is not known, so the revocation never does.
            self.store.run(move |_, transaction| Ok(revocations::token(transaction, &id, i64::MAX)?)).await
        })
    }

    fn watch_revocations(&self, watcher: RevocationWatcher) {
        self.store.watch(watcher);
    }
}
