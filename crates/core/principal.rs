//! Who asks, and what that person or program may do.
//!
//! Guarantees: no is the default; a principal may do what a grant says and nothing else.
//! It is not the whole judgement: ownership and membership of a project are added by the gate.

use std::{fmt, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use crate::{Channel, Error, Pattern, Timestamp, UserId};

/// What may be done on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Read: live, history, snapshot, state.
    Subscribe,
    /// Publish events of types that no service of the server owns.
    Publish,
    /// Publish events of the built-in services' types, as an outside producer of them.
    Ingest,
    /// Run the domain's commands.
    Command,
    /// Run a free command line.
    Execute,
}

impl Action {
    /// Every action, in the order of the documentation.
    pub const ALL: [Action; 5] = [Self::Subscribe, Self::Publish, Self::Ingest, Self::Command, Self::Execute];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Ingest => "ingest",
            Self::Command => "command",
            Self::Execute => "execute",
        }
    }
}

impl FromStr for Action {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| Error::bad_request("an action is one of subscribe, publish, ingest, command, execute"))
    }
}

/// Actions on the channels of a pattern. As text: `session:*=subscribe,publish`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which channels.
    pub pattern: Pattern,
    /// What may be done there.
    pub actions: Vec<Action>,
}

crate::text_schema!(Grant, {
    description: "Actions on the channels of a pattern, as in session:*=subscribe,publish.",
});

impl Grant {
    /// Whether this grant allows an action on a channel.
    #[must_use]
    pub fn allows(&self, action: Action, channel: &Channel) -> bool {
        self.actions.contains(&action) && self.pattern.matches_channel(channel)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<&str> = self.actions.iter().map(|action| action.as_str()).collect();
        write!(f, "{}={}", self.pattern, actions.join(","))
    }
}

impl FromStr for Grant {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let (pattern, actions) = text
            .split_once('=')
            .ok_or_else(|| Error::bad_request("a grant is PATTERN=ACTION[,ACTION]…, as in session:*=subscribe"))?;
        let actions = actions.split(',').map(|action| action.trim().parse()).collect::<Result<Vec<_>, _>>()?;
        if pattern.contains('.') {
            return Err(Error::bad_request("a grant's pattern is over channels, with colons"));
        }
        Ok(Self { pattern: pattern.parse()?, actions })
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}

/// A role of a user. What each grants: docs/ACCESS.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, everywhere, and the administration of users and projects.
    Admin,
    /// Reads and commands everything; runs no free command line and publishes nothing.
    Operator,
    /// Reads everything.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Self::Admin, Self::Operator, Self::Viewer];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// What the role grants.
    #[must_use]
    pub fn grant(self) -> Grant {
        let actions = match self {
            Self::Admin => Action::ALL.to_vec(),
            Self::Operator => vec![Action::Subscribe, Action::Command],
            Self::Viewer => vec![Action::Subscribe],
        };
        Grant { pattern: Pattern::all(), actions }
    }
}

impl FromStr for Role {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| Error::bad_request("a role is one of admin, operator, viewer"))
    }
}

/// What membership in a project makes of somebody. What each grants: docs/ACCESS.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// Reads the project and what runs in it.
    Viewer,
    /// Also starts and commands what runs in it.
    Operator,
    /// Also says who its members are.
    Owner,
}

impl Membership {
    /// Whether this membership allows an action on the project's channels.
    #[must_use]
    pub fn allows(self, action: Action) -> bool {
        match action {
            Action::Subscribe => true,
            Action::Command => self >= Self::Operator,
            Action::Publish | Action::Ingest | Action::Execute => false,
        }
    }
}

/// Who asks, after authentication.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The user, or the subject of a token that another application minted.
    pub user: UserId,
    /// Its roles.
    pub roles: Vec<Role>,
    /// What it may do: the grants of its token and of its roles.
    pub grants: Vec<Grant>,
    /// The token's `jti`; a revocation may name it. Two applications may use the same one.
    pub token_id: Option<SmolStr>,
    /// The other application whose key signed the token; none for the server's own.
    pub application: Option<SmolStr>,
    /// The login that the token comes from; its logout ends it.
    pub family: Option<SmolStr>,
    /// When the token was issued, or, of one that does not say it, when it was looked at; none for the server itself.
    pub issued_at: Option<Timestamp>,
    /// When the token ends; none for the server itself.
    pub expires_at: Option<Timestamp>,
}

/// How long before its end the owner of a token is told: when a fifth of its life is left, at most 60 seconds, at
/// least one.
#[must_use]
pub fn warning(issued: Timestamp, expires: Timestamp) -> Duration {
    let life = u64::try_from(expires.0.saturating_sub(issued.0)).unwrap_or(0);
    Duration::from_millis((life / 5).clamp(1000, 60_000))
}

impl Principal {
    /// A principal of these roles and further grants.
    #[must_use]
    pub fn new(user: UserId, roles: Vec<Role>, mut grants: Vec<Grant>) -> Self {
        grants.extend(roles.iter().map(|role| role.grant()));
        Self { user, roles, grants, token_id: None, application: None, family: None, issued_at: None, expires_at: None }
    }

    /// The server itself, for what it does of its own accord.
    #[must_use]
    pub fn server() -> Self {
        let user = "server".parse().unwrap_or_else(|_| unreachable!("a constant that is an id"));
        Self::new(user, vec![Role::Admin], vec![])
    }

    /// Whether a grant allows an action on a channel.
    #[must_use]
    pub fn allows(&self, action: Action, channel: &Channel) -> bool {
        self.grants.iter().any(|grant| grant.allows(action, channel))
    }

    /// When its owner is to be told that its token ends; none if it does not.
    #[must_use]
    pub fn warned_at(&self) -> Option<Timestamp> {
        let expires = self.expires_at?;
        let before = warning(self.issued_at.unwrap_or(expires), expires);
        Some(Timestamp(expires.0.saturating_sub(i64::try_from(before.as_millis()).unwrap_or(i64::MAX))))
    }

    /// Whether it administrates users and projects.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.roles.contains(&Role::Admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_reads_back_from_its_text_and_bad_ones_are_refused() {
        let grant: Grant = "session:*=subscribe,publish".parse().expect("a grant");
        assert_eq!(grant.to_string(), "session:*=subscribe,publish");
        for bad in ["session:*", "session:*=", "session:*=fly", "session.*=subscribe", "=subscribe"] {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tokens_end_is_told_when_a_fifth_of_its_life_is_left_within_bounds() {
        let (second, issued) = (1000, Timestamp(1_700_000_000_000));
        let table = [(0, 1), (1, 1), (4, 1), (5, 1), (45, 9), (60, 12), (300, 60), (900, 60), (1 << 40, 60)];
        for (life, warned) in table {
            assert_eq!(warning(issued, issued.plus_ms(life * second)).as_secs(), warned, "{life}");
        }
        assert_eq!(warning(issued, Timestamp(i64::MIN)), Duration::from_secs(1));
        assert_eq!(warning(Timestamp(i64::MIN), Timestamp(i64::MAX)), Duration::from_secs(60));
        let mut principal = Principal::server();
        assert_eq!(principal.warned_at(), None);
        principal.expires_at = Some(issued.plus_ms(45 * second));
        assert_eq!(principal.warned_at(), Some(issued.plus_ms(44 * second)), "how long it has lived is not known");
        principal.issued_at = Some(issued);
        assert_eq!(principal.warned_at(), Some(issued.plus_ms(36 * second)));
    }

    #[test]
    fn nobody_may_do_anything_without_a_grant() {
        let channel: Channel = "session:1".parse().expect("a channel");
        let nobody = Principal::new("u1".parse().expect("an id"), vec![], vec![]);
        for action in Action::ALL {
            assert!(!nobody.allows(action, &channel));
        }
        let viewer = Principal::new("u1".parse().expect("an id"), vec![Role::Viewer], vec![]);
        assert!(viewer.allows(Action::Subscribe, &channel));
        assert!(!viewer.allows(Action::Command, &channel));
    }
}
