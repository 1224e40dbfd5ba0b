//! What checking a token needs of the database, in memory.
//!
//! Guarantees: it says of a user, a token or a login exactly what the rows up to `revision` say.
//! It is not the truth: that is on the disk, and [`crate::store`] brings this up to it.

use std::collections::HashMap;

use smol_str::SmolStr;
use tidings_core::{UserId, principal::Role};

use crate::users::name_key;

/// A `not_before` that no token outlives: the user was deleted.
pub(crate) const FOR_GOOD: i64 = i64::MAX;

/// What a user may be taken for.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// The form of its name by which it is found.
    pub(crate) name: SmolStr,
    pub(crate) roles: Vec<Role>,
    pub(crate) disabled: bool,
    /// When it was made.
    pub(crate) created: i64,
}

/// Users and revocations. Times are milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    pub(crate) revision: i64,
    pub(crate) keys_revision: i64,
    users: HashMap<UserId, Standing>,
    names: HashMap<SmolStr, UserId>,
    not_before: HashMap<UserId, i64>,
    /// By their `jti`s, whoever minted them.
    tokens: HashMap<SmolStr, i64>,
    /// By the application that minted them, then by their `jti`s.
    tokens_of: HashMap<SmolStr, HashMap<SmolStr, i64>>,
    families: HashMap<SmolStr, i64>,
}

/// What of a token decides whether it was revoked.
#[derive(Debug)]
pub(crate) struct Marks<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) issued_ms: i64,
    pub(crate) token_id: Option<&'a str>,
    pub(crate) application: Option<&'a str>,
    pub(crate) family: Option<&'a str>,
}

impl Mirror {
    pub(crate) fn user(&self, id: &UserId) -> Option<&Standing> {
        self.users.get(id)
    }

    /// The user that a text names: by the id, or by the name in any case.
    pub(crate) fn named(&self, text: &str) -> Option<&UserId> {
        let by_id = text.parse().ok().and_then(|id: UserId| self.users.get_key_value(&id));
        by_id.map(|(id, _)| id).or_else(|| self.names.get(name_key(text).as_str()))
    }

    pub(crate) fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// The first millisecond at which a token of this user may be issued.
    pub(crate) fn earliest(&self, id: &UserId) -> i64 {
        self.not_before.get(id).map_or(i64::MIN, |at| at.saturating_add(1))
    }

    pub(crate) fn revoked(&self, marks: &Marks<'_>) -> bool {
        self.users.get(marks.user).is_some_and(|standing| standing.disabled)
            || self.not_before.get(marks.user).is_some_and(|at| marks.issued_ms <= *at)
            || marks.token_id.is_some_and(|id| self.tokens.contains_key(id) || self.revoked_of(marks.application, id))
            || marks.family.is_some_and(|id| self.families.contains_key(id))
    }

    fn revoked_of(&self, application: Option<&str>, id: &str) -> bool {
        application.and_then(|name| self.tokens_of.get(name)).is_some_and(|tokens| tokens.contains_key(id))
    }

    pub(crate) fn put_user(&mut self, id: UserId, standing: Standing) {
        self.names.insert(standing.name.clone(), id.clone());
        self.users.insert(id, standing);
    }

    pub(crate) fn revoke_user(&mut self, id: UserId, not_before: i64) {
        if not_before == FOR_GOOD
            && let Some(gone) = self.users.remove(&id)
            // Somebody else may have the name by now.
            && self.names.get(&gone.name) == Some(&id)
        {
            self.names.remove(&gone.name);
        }
        self.not_before.insert(id, not_before);
    }

    pub(crate) fn revoke_token(&mut self, id: SmolStr, until: i64) {
        self.tokens.insert(id, until);
    }

    pub(crate) fn revoke_token_of(&mut self, application: SmolStr, id: SmolStr, until: i64) {
        self.tokens_of.entry(application).or_default().insert(id, until);
    }

    pub(crate) fn end_family(&mut self, id: SmolStr, until: i64) {
        self.families.insert(id, until);
    }

    /// Forgets what no living token can have.
    pub(crate) fn prune(&mut self, before: i64) {
        self.tokens.retain(|_, until| *until >= before);
        self.tokens_of.retain(|_, tokens| {
            tokens.retain(|_, until| *until >= before);
            !tokens.is_empty()
        });
        self.families.retain(|_, until| *until >= before);
    }
}
