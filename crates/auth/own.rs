//! What somebody does with the own account: logging in, looking at the own logins and ending them, a new password.
//!
//! Guarantees: a try to log in is counted before the password is looked at; an unknown name, a wrong password and a
//! disabled user cost and say the same, and so does an address whether it logged in before or not. Only a token of
//! a login may look at or change anything here, so that a token that was made for a program is no way to the account.
//! It is not the measure of tries: see [`crate::limits`].

use std::sync::Arc;

use smol_str::SmolStr;
use tidings_core::{
    Code, Error, Principal, Result,
    identity::{Login, Origin, OwnLogin, OwnPassword, Secret},
};

use crate::{
    auth::Auth,
    known,
    limits::Try,
    login, logins,
    passwords::For,
    users::{self, Account},
};

/// A password to be checked. What is too long to be one is not hashed as one.
fn bounded(password: Secret) -> Secret {
    if users::check_password(&password).is_ok() { password } else { Secret(String::new()) }
}

impl Auth {
    pub(crate) async fn log_in(&self, username: String, password: Secret, from: Origin) -> Result<Login> {
        let known_form = users::check_name(&username).is_ok();
        // A name that nobody can have is still limited by its address, and costs the same work.
        let name = if known_form { users::name_key(&username) } else { String::new() };
        let (account, is_known) = self.account(name.clone(), &from).await?;
        let took = self.tries.take(&name, from.address, is_known, self.clock.monotonic());
        let took = took.inspect_err(|_| self.note_slowed(account.as_ref()))?;
        let account = self.right_account(account, password, &took, is_known).await?;
        let (terms, now) = (Arc::clone(&self.terms), self.clock.now());
        let begun =
            self.store.run(move |store, transaction| login::begin(store, transaction, &terms, (&account, &from), now));
        let login = begun.await?;
        self.tries.succeeded(&took);
        metrics::counter!("tidings_logins_total", "result" => "ok").increment(1);
        Ok(login)
    }

    /// The account of a name, and whether it logged in from there before.
    async fn account(&self, name: String, from: &Origin) -> Result<(Option<Account>, bool)> {
        let (address, since) = (from.address, self.clock.now().0.saturating_sub(self.remembered_ms));
        let look = self.store.run(move |_, transaction| {
            let account = users::by_name(transaction, &name)?;
            let user = account.as_ref().map(|account| &account.user.id);
            let is_known = known::is_known(transaction, user, address, since)?;
            Ok((account, is_known))
        });
        let (account, is_known) = look.await?;
        Ok((account, is_known && self.remembered_ms > 0))
    }

    /// The account, if this is its password and it may log in.
    async fn right_account(
        &self,
        account: Option<Account>,
        password: Secret,
        took: &Try,
        is_known: bool,
    ) -> Result<Account> {
        let hash = account.as_ref().map(|account| account.password.clone());
        let who = if is_known { For::Known } else { For::Stranger };
        let checked = self.passwords.check(who, bounded(password), hash).await;
        let right = checked.inspect_err(|_| self.tries.undo(took))?;
        account.filter(|account| right && !account.user.disabled).ok_or_else(|| {
            metrics::counter!("tidings_logins_total", "result" => "wrong").increment(1);
            login::wrong()
        })
    }

    /// Says, once in a while, that somebody tries too often. A name that nobody has is not told: it may be a password.
    fn note_slowed(&self, account: Option<&Account>) {
        if self.slowed_told.is_due(self.clock.monotonic()) {
            let user = account.map(|account| tracing::field::display(&account.user.id));
            tracing::warn!(user, "somebody tries to log in too often, and is slowed down");
        }
    }

    pub(crate) async fn own_logins(&self, principal: &Principal) -> Result<Vec<OwnLogin>> {
        let own = login_of(principal)?;
        let (user, now) = (principal.user.clone(), self.clock.now().0);
        self.store.run(move |_, transaction| Ok(logins::list(transaction, &user, now, &own)?)).await
    }

    pub(crate) async fn end_own_login(&self, principal: &Principal, id: String) -> Result<()> {
        login_of(principal)?;
        let user = principal.user.clone();
        let ended = self.store.run(move |_, transaction| Ok(logins::end_own(transaction, &user, &id)?)).await?;
        if ended { Ok(()) } else { Err(Error::not_found()) }
    }

    pub(crate) async fn set_own_password(&self, principal: &Principal, change: OwnPassword) -> Result<()> {
        let own = login_of(principal)?;
        users::check_password(&change.password)?;
        let user = principal.user.clone();
        // Whoever stole a token must not find the password out here, nor keep others' passwords waiting.
        self.tries.take_own(&own, self.clock.monotonic())?;
        let of = user.clone();
        let account = self.store.run(move |_, transaction| Ok(users::by_id(transaction, &of)?)).await?;
        let account = account.filter(|account| !account.user.disabled).ok_or_else(logins::revoked)?;
        let checked = self.passwords.check(For::Known, bounded(change.current), Some(account.password.clone())).await;
        if !checked.inspect_err(|_| self.tries.undo_own(&own))? {
            return Err(Error::invalid_field("current", "is not the password"));
        }
        let hash = self.passwords.hash(change.password).await?;
        let changed = self.store.run(move |_, transaction| {
            // Meanwhile somebody else may have changed it, or have ended this login.
            let now = users::by_id(transaction, &account.user.id)?;
            if now.is_none_or(|now| now.password != account.password || now.user.disabled) {
                return Err(Error::new(Code::Conflict, "the account was changed meanwhile").into());
            }
            if !logins::goes_on(transaction, &account.user.id, &own)? {
                return Err(logins::revoked().into());
            }
            users::set_password(transaction, &account.user.id, &hash)?;
            Ok(logins::end_others(transaction, &account.user.id, &own)?)
        });
        changed.await
    }
}

/// The login that a token comes from.
fn login_of(principal: &Principal) -> Result<SmolStr> {
    principal.family.clone().ok_or_else(|| Error::new(Code::Forbidden, "this token comes from no login here"))
}
