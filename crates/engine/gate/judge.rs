//! The judgement: whether somebody may do something on a channel.
//!
//! Guarantees: a grant, ownership of the channel or membership in its project, and nothing else;
//! what is refused says nothing of what exists.
//! It is not authentication: the principal comes judged by identity already.

use std::sync::Arc;

use tidings_core::{
    Action, Channel, Code, Error, Principal, Result, UserId,
    command::{Need, Visibility},
    log::{ChannelFacts, EventLog},
    principal::Membership,
    runtime::Memberships,
};

use crate::registry::Registry;

/// Judges by grants, ownership and membership.
pub struct Judge {
    registry: Arc<Registry>,
    memberships: Arc<dyn Memberships>,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judge")
    }
}

/// What ownership of a channel allows.
fn owner_may(action: Action) -> bool {
    matches!(action, Action::Subscribe | Action::Command)
}

impl Judge {
    pub(super) fn new(registry: Arc<Registry>, memberships: Arc<dyn Memberships>) -> Self {
        Self { registry, memberships }
    }

    /// What can be said without a look into the log: yes, or that nobody owns the channel's namespace. None
    /// where the log has to be asked.
    pub(super) fn at_once(&self, principal: &Principal, action: Action, channel: &Channel) -> Option<Result<()>> {
        let standing = match self.registry.owner(channel) {
            Ok(owner) => owner.standing(channel),
            Err(error) => return Some(Err(error)),
        };
        let may = self.allows(principal, action, channel, standing.owner.as_ref(), standing.project.as_deref());
        may.then_some(Ok(()))
    }

    pub(super) async fn authorise(
        &self,
        log: &dyn EventLog,
        principal: &Principal,
        action: Action,
        channel: &Channel,
    ) -> Result<()> {
        if let Some(known) = self.at_once(principal, action, channel) {
            return known;
        }
        // Ownership and project of a channel are in the log; a grant needs no look.
        let facts = log.facts(channel).await?;
        let may = facts.is_some_and(|facts| self.knows(principal, action, &facts));
        if may { Ok(()) } else { Err(refuse(action)) }
    }

    /// Whether what the log knows of a channel allows it.
    pub(super) fn knows(&self, principal: &Principal, action: Action, facts: &ChannelFacts) -> bool {
        self.allows(principal, action, &facts.channel, facts.owner.as_ref(), facts.project.as_deref())
    }

    pub(super) async fn satisfies(&self, log: &dyn EventLog, principal: &Principal, need: &Need) -> Result<()> {
        let mut open = vec![need];
        while let Some(need) = open.pop() {
            match need {
                Need::Login => {}
                Need::Admin if principal.is_admin() => {}
                Need::Admin => return Err(Error::forbidden()),
                Need::On(action, channel) => self.authorise(log, principal, *action, channel).await?,
                Need::Both(one, other) => open.extend([&**one, &**other]),
                Need::ProjectOwner(project) => {
                    let owner = self.memberships.membership(project, &principal.user) == Some(Membership::Owner);
                    if !owner && !principal.is_admin() {
                        return Err(Error::forbidden());
                    }
                }
            }
        }
        Ok(())
    }
}

fn refuse(action: Action) -> Error {
    metrics::counter!("tidings_denied_total", "action" => action.as_str()).increment(1);
    Error::new(Code::Forbidden, format!("not allowed to {} there, or not there", action.as_str()))
}

impl Visibility for Judge {
    fn allows(
        &self,
        principal: &Principal,
        action: Action,
        channel: &Channel,
        owner: Option<&UserId>,
        project: Option<&str>,
    ) -> bool {
        principal.allows(action, channel)
            || (owner == Some(&principal.user) && owner_may(action))
            || project
                .and_then(|project| self.memberships.membership(project, &principal.user))
                .is_some_and(|membership| membership.allows(action))
    }

    fn membership(&self, principal: &Principal, project: &str) -> Option<Membership> {
        self.memberships.membership(project, &principal.user)
    }
}
