//! The port [`Identity`], over [`Auth`].
//!
//! Guarantees: what a call changed is on the disk, in the mirror, and told to the watchers before
//! it answers; an unknown name, a wrong password and a disabled user cost and say the same.
//! It is not where anything is stored: each noun has its own file.

use std::sync::Arc;

use tidings_core::{
    BoxFuture, Error, Principal, Result, UserId,
    identity::{
        Identity, IssuedTokens, Login, NewUser, Origin, OwnLogin, OwnPassword, RevocationWatcher, Revoked, Secret,
        User, UserChange,
    },
};

use crate::{
    auth::Auth,
    claims, issued, login, logins, revocations,
    users::{self, Change},
};

/// The most of one page of a list.
const MOST_LISTED: usize = 1000;
/// The longest refresh token and token id that are looked at, in bytes.
const MOST_BYTES: usize = 256;

impl Identity for Auth {
    fn verify(&self, token: &str) -> Result<Principal> {
        let (claims, key) = self.store.ring().open(token).ok_or_else(logins::not_valid)?;
        claims::principal(&claims, &key.owner, &self.store.mirror(), self.clock.now(), self.leeway_ms)
    }

    fn login(&self, username: String, password: Secret, from: Origin) -> BoxFuture<'_, Result<Login>> {
        Box::pin(self.log_in(username, password, from))
    }

    fn refresh(&self, refresh_token: Secret) -> BoxFuture<'_, Result<Login>> {
        Box::pin(async move {
            if refresh_token.0.len() > MOST_BYTES {
                return Err(login::spent(logins::not_valid()));
            }
            let (terms, now) = (Arc::clone(&self.terms), self.clock.now());
            let refreshed = self
                .store
                .run(move |store, transaction| login::refresh(store, transaction, &terms, &refresh_token.0, now))
                .await?;
            refreshed.map_err(login::spent)
        })
    }

    fn logout(&self, principal: &Principal) -> BoxFuture<'_, Result<()>> {
        let (family, token_id) = (principal.family.clone(), principal.token_id.clone());
        let application = principal.application.clone();
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
            // What can be ended is ended, whoever made it: that is what is meant by logging out with it.
            let Some(id) = token_id else {
                return Err(Error::bad_request("this token comes from no login here and has no id (`jti`) to revoke"));
            };
            let revoked = self.store.run(move |_, transaction| {
                Ok(revocations::presented(transaction, application.as_deref(), &id, until)?)
            });
            revoked.await
        })
    }

    fn logins(&self, principal: &Principal) -> BoxFuture<'_, Result<Vec<OwnLogin>>> {
        let principal = principal.clone();
        Box::pin(async move { self.own_logins(&principal).await })
    }

    fn end_login(&self, principal: &Principal, id: &str) -> BoxFuture<'_, Result<()>> {
        let (principal, id) = (principal.clone(), id.to_owned());
        Box::pin(async move { self.end_own_login(&principal, id).await })
    }

    fn change_own_password(&self, principal: &Principal, change: OwnPassword) -> BoxFuture<'_, Result<()>> {
        let principal = principal.clone();
        Box::pin(async move { self.set_own_password(&principal, change).await })
    }

    fn tokens(&self, of: Option<UserId>, after: Option<String>, limit: usize) -> BoxFuture<'_, Result<IssuedTokens>> {
        let (limit, now) = (limit.clamp(1, MOST_LISTED), self.clock.now().0);
        Box::pin(async move {
            let after = after.as_deref().map(issued::cursor).transpose()?;
            self.store.run(move |_, transaction| Ok(issued::list(transaction, of.as_ref(), after, limit, now)?)).await
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
        let limit = limit.clamp(1, MOST_LISTED);
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
        let (id, now) = (id.clone(), self.store.stamp(self.clock.now()));
        Box::pin(async move {
            let deleted = self.store.run(move |store, transaction| {
                users::delete(transaction, &id, now)?;
                Ok(users::is_empty(transaction)?.then(|| store.wants_no_users()))
            });
            deleted.await.map(drop)
        })
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

    fn revoke_token(&self, token_id: &str, of: Option<&UserId>) -> BoxFuture<'_, Result<Revoked>> {
        let (id, of, now) = (token_id.to_owned(), of.cloned(), self.clock.now().0);
        Box::pin(async move {
            if id.is_empty() || id.len() > MOST_BYTES {
                return Err(Error::bad_request("a token's id has 1 to 256 bytes"));
            }
            let revoked = self.store.run(move |_, transaction| {
                let found = issued::find(transaction, &id, now)?;
                // Of one that is not on the list it is not known when it ends, so its revocation never does.
                let known = match (&found, revocations::is_token(transaction, &id)?) {
                    (Some(_), _) => Revoked::Listed,
                    (None, true) => Revoked::Before,
                    (None, false) => Revoked::Unlisted,
                };
                let until = match (found, &of) {
                    (Some((user, _)), Some(of)) if user != *of => return Err(Error::not_found().into()),
                    (None, Some(_)) => return Err(Error::not_found().into()),
                    (Some((_, until)), _) => until,
                    (None, None) => i64::MAX,
                };
                revocations::token(transaction, &id, until)?;
                Ok(known)
            });
            revoked.await
        })
    }

    fn watch_revocations(&self, watcher: RevocationWatcher) {
        self.store.watch(watcher);
    }
}
