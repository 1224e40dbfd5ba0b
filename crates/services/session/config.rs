//! The configuration of sessions: agents and limits.
//!
//! Guarantees: every value has the default that it documents.
//! It is not where files and variables are read: that is the root's. How programs are run is in
//! [`crate::programs`].

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::redaction::Redaction;

/// How the server speaks with an agent's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
}

impl AdapterKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Lines, Self::ClaudeCode, Self::Codex, Self::Gemini, Self::Acp];

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

/// A configured agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// How to speak with it; `lines` by default.
    #[serde(default)]
    pub adapter: AdapterKind,
    /// The program and its arguments. `{prompt}` in an argument is replaced by the prompt; without
    /// one the prompt goes to standard input. Put `--` before `{prompt}` where the program takes
    /// options, or a prompt may be taken for one.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_needs_its_command_only() {
        let agent: AgentConfig = serde_json::from_str(r#"{"command":["claude","{prompt}"]}"#).expect("parses");
        assert_eq!((agent.adapter, agent.stdin), (AdapterKind::Lines, Stdin::Open));
        assert!(serde_json::from_str::<AgentConfig>(r#"{"command":[],"adapter":"other"}"#).is_err());
        for kind in
            [AdapterKind::Lines, AdapterKind::ClaudeCode, AdapterKind::Codex, AdapterKind::Gemini, AdapterKind::Acp]
        {
            assert_eq!(serde_json::to_value(kind).expect("serialises"), kind.as_str());
        }
    }
}
