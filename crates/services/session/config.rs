//! The configuration of sessions: agents and limits.
//!
//! Guarantees: every value has the default that it documents; of an agent that passes [`SessionConfig::check`], what
//! people say becomes neither the program nor an option of it.
//! It is not where files and variables are read: that is the root's. How programs are run is in
//! [`crate::programs`].

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{
    Code, Error, Pattern, Result,
    principal::{Membership, Role},
};

use super::command_line;
use crate::{programs::Sandbox, project::ProjectId, redaction::Redaction};

/// How the server speaks with an agent's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterKind {
    /// Lines in, text out: what it prints is its output, a message is a line on its standard input.
    #[default]
    Lines,
    /// `claude -p --output-format stream-json --verbose`.
    ClaudeCode,
    /// `codex exec --json`.
    Codex,
    /// `gemini -o stream-json`.
    Gemini,
    /// Any agent that speaks the Agent Client Protocol on its standard input and output.
    Acp,
    /// A program that prints events, one a line.
    Events,
}

impl AdapterKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Lines, Self::ClaudeCode, Self::Codex, Self::Gemini, Self::Acp, Self::Events];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The name in the configuration, and the `source` of what such an agent's adapter does not know.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Acp => "acp",
            Self::Events => "events",
        }
    }
}

/// What becomes of a program's standard input after the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// It stays open for messages until the program ends. A program that reads to the end of its
    /// input before it works would wait for ever.
    #[default]
    Open,
    /// It is closed after the prompt; messages are refused.
    Close,
}

/// Who may start an agent: a role of the user on the server, or in the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentRole {
    /// Who administrates the server, and so may start every agent.
    Admin,
    /// An owner of the project.
    Owner,
    /// An operator of the server or of the project.
    Operator,
    /// A viewer of the server or of the project whom a grant lets command.
    Viewer,
}

impl AgentRole {
    /// All of them, by their names in the configuration.
    pub const ALL: [(&'static str, Self); 4] =
        [("admin", Self::Admin), ("owner", Self::Owner), ("operator", Self::Operator), ("viewer", Self::Viewer)];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, role)| role)
    }

    /// Whether somebody of these roles, and of this membership in the project, has it.
    fn is_of(self, roles: &[Role], membership: Option<Membership>) -> bool {
        let (role, member) = match self {
            Self::Admin => (Some(Role::Admin), None),
            Self::Owner => (None, Some(Membership::Owner)),
            Self::Operator => (Some(Role::Operator), Some(Membership::Operator)),
            Self::Viewer => (Some(Role::Viewer), Some(Membership::Viewer)),
        };
        role.is_some_and(|role| roles.contains(&role)) || (member.is_some() && member == membership)
    }
}

/// A configured agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// How to speak with it; `lines` by default.
    #[serde(default)]
    pub adapter: AdapterKind,
    /// The program and its arguments. `{prompt}` in an argument is replaced by the prompt; without
    /// one the prompt goes to standard input. A prompt that begins with `-` is refused where its argument would,
    /// unless a `--` stands before it.
    pub command: Vec<String>,
    /// What becomes of its standard input; `open` by default.
    #[serde(default)]
    pub stdin: Stdin,
    /// The program and its arguments when an earlier conversation is to go on: `{agentSessionId}` in an
    /// argument is replaced by the agent's own id of it. Without it the agent cannot be resumed,
    /// unless its adapter can do so over its input (`acp`).
    #[serde(default)]
    pub resume: Option<Vec<String>>,
    /// The program and its arguments in a terminal (`pty`), where it speaks no format: `{prompt}` in an argument
    /// is replaced by the prompt; without one it is typed. Without this an agent of another adapter than `lines`
    /// has no terminal, and one of `lines` runs as its `command` says.
    #[serde(default)]
    pub terminal: Option<Vec<String>>,
    /// The projects that it may be started in; all by default.
    #[serde(default)]
    pub projects: Option<Vec<ProjectId>>,
    /// Who may start it, beside administrators: whoever has one of these. By default whoever may command the project.
    #[serde(default)]
    pub roles: Option<Vec<AgentRole>>,
    /// The sandbox of its program; by default that of all programs.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// The types of events of other domains that its program may publish in the name of whoever started it, as far as
    /// they may themselves (`events` only); none by default.
    #[serde(default)]
    pub publish: Vec<Pattern>,
}

impl AgentConfig {
    /// Whether somebody of these roles, and of this membership in the project, may start it there. That they may
    /// command the project is judged before.
    ///
    /// # Errors
    /// `forbidden`, with the reason.
    pub(super) fn allows(&self, project: &ProjectId, roles: &[Role], membership: Option<Membership>) -> Result<()> {
        if self.projects.as_ref().is_some_and(|projects| !projects.contains(project)) {
            return Err(forbidden("this agent is for other projects"));
        }
        let has_one = |wanted: &Vec<AgentRole>| wanted.iter().any(|role| role.is_of(roles, membership));
        if roles.contains(&Role::Admin) || self.roles.as_ref().is_none_or(has_one) {
            return Ok(());
        }
        Err(forbidden("this agent is for other roles"))
    }
}

fn forbidden(why: &'static str) -> Error {
    Error::new(Code::Forbidden, why)
}

/// Limits. Zero means without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Sessions of one user that run at once; 8 by default.
    pub per_user: usize,
    /// Sessions of one project that run at once; 16 by default.
    pub per_project: usize,
    /// Sessions that run at once; 64 by default.
    pub total: usize,
    /// How long a session may run, in milliseconds; 6 hours by default.
    pub wall_ms: u64,
    /// How much a session may print, in bytes; 1 GiB by default.
    pub output_bytes: u64,
    /// How long a busy session may print nothing, in milliseconds; without limit by default. Waiting for
    /// a person, standing still, and having nothing to do are no silence.
    pub silence_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_user: 8, per_project: 16, total: 64, wall_ms: 6 * 3_600_000, output_bytes: 1 << 30, silence_ms: 0 }
    }
}

/// The configuration of the service.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The agents, by name.
    pub agents: BTreeMap<String, AgentConfig>,
    /// The limits.
    pub limits: Limits,
    /// Between heartbeats, in milliseconds; 5,000 by default. Zero: none.
    pub heartbeat_ms: u64,
    /// How long an agent whose standard input is closed may stay after it has answered, in
    /// milliseconds; 10,000 by default. Zero: for ever.
    pub linger_ms: u64,
    /// What is taken out of output, prompts and messages before anybody sees them.
    pub redaction: Arc<Redaction>,
}

impl SessionConfig {
    /// The defaults: no agents.
    #[must_use]
    pub fn new(redaction: Arc<Redaction>) -> Self {
        Self { agents: BTreeMap::new(), limits: Limits::default(), heartbeat_ms: 5_000, linger_ms: 10_000, redaction }
    }

    /// Judges the command lines of all agents.
    ///
    /// # Errors
    /// `invalid_data` with each that is wrong, as in `agents.claude.command`.
    pub fn check(&self) -> Result<()> {
        let lines = self.agents.iter().flat_map(|(name, agent)| {
            let lines = [("command", Some(&agent.command)), ("resume", agent.resume.as_ref())];
            let lines = lines.into_iter().chain([("terminal", agent.terminal.as_ref())]);
            lines.map(move |(key, line)| (format!("agents.{name}.{key}"), line))
        });
        let flaws: Vec<_> = lines.filter_map(|(key, line)| Some((key, command_line::flaw(line?)?))).collect();
        let Some((key, why)) = flaws.first() else { return Ok(()) };
        let error = Error::invalid_field(key.clone(), *why);
        Err(flaws.into_iter().skip(1).fold(error, |error, (key, why)| error.with_field(key, why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_needs_its_command_only() {
        let agent: AgentConfig = serde_json::from_str(r#"{"command":["claude","{prompt}"]}"#).expect("parses");
        assert_eq!((agent.adapter, agent.stdin), (AdapterKind::Lines, Stdin::Open));
        assert!(serde_json::from_str::<AgentConfig>(r#"{"command":[],"adapter":"other"}"#).is_err());
        assert_eq!((agent.projects, agent.roles, agent.sandbox), (None, None, None));
        for kind in AdapterKind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("serialises"), kind.as_str());
        }
    }

    #[test]
    fn an_agent_is_started_where_it_is_for_and_by_whom_it_is_for() {
        let agent = |json: &str| -> AgentConfig { serde_json::from_str(json).expect("parses") };
        let (everybody, restricted) = (
            agent(r#"{"command":["a"]}"#),
            agent(r#"{"command":["a"],"projects":["p1","p2"],"roles":["owner","operator"]}"#),
        );
        let table = [
            ("p1", &[][..], None, false),
            ("p1", &[][..], Some(Membership::Viewer), false),
            ("p1", &[][..], Some(Membership::Operator), true),
            ("p2", &[][..], Some(Membership::Owner), true),
            ("p3", &[][..], Some(Membership::Owner), false),
            ("p1", &[Role::Viewer][..], None, false),
            ("p1", &[Role::Viewer, Role::Operator][..], None, true),
            ("p3", &[Role::Operator][..], None, false),
            ("p1", &[Role::Admin][..], None, true),
            ("p3", &[Role::Admin][..], None, false),
        ];
        for (project, roles, membership, may) in table {
            let project = project.parse().expect("an id");
            assert_eq!(
                restricted.allows(&project, roles, membership).is_ok(),
                may,
                "{project} {roles:?} {membership:?}"
            );
            assert!(everybody.allows(&project, roles, membership).is_ok());
        }
        let admins = agent(r#"{"command":["a"],"roles":["admin"]}"#);
        let project = "p1".parse().expect("an id");
        assert!(admins.allows(&project, &[Role::Operator], Some(Membership::Owner)).is_err());
        assert!(admins.allows(&project, &[Role::Admin], None).is_ok());
        for (name, role) in AgentRole::ALL {
            assert_eq!(
                (serde_json::to_value(role).expect("serialises"), AgentRole::named(name)),
                (name.into(), Some(role))
            );
        }
    }

    #[test]
    fn every_command_line_that_leaves_its_program_or_its_options_to_others_is_named() {
        let redaction = Redaction::new(&crate::redaction::RedactionConfig::default()).expect("compiles");
        let mut config = SessionConfig::new(Arc::new(redaction));
        let agent = r#"{"command":["{prompt}"],"resume":["a","--{agentSessionId}"],"terminal":["a","{prompt}"]}"#;
        config.agents.insert("x".to_owned(), serde_json::from_str(agent).expect("parses"));
        let refused = config.check().expect_err("refused");
        assert_eq!(refused.fields().keys().collect::<Vec<_>>(), ["agents.x.command", "agents.x.resume"]);
        config.agents.clear();
        assert_eq!(config.check(), Ok(()));
    }
}
