//! Which agents there are: those that are configured, and the demo.
//!
//! Guarantees: the demo is this program itself, and there unless it is switched off or another agent has its name; of
//! an agent that is switched off nothing is left.
//! It is not what the demo does: that is the program's.

use std::{collections::BTreeMap, path::PathBuf};

use tidings_core::Pattern;
use toml::{Table, Value};

use super::{
    Agent, Config,
    key::{Key, key, list},
    kind::Kind,
    passes::is_event_pattern,
};

/// The name of the demo.
pub(super) const DEMO: &str = "demo";
/// The command of this program that plays it.
const DEMO_COMMAND: &str = "demo-agent";

pub(super) const ENABLED: Key = key(
    "agents.*.enabled",
    Kind::Flag,
    "Whether it is there. `agents.demo.enabled = false` switches the built-in demo off, which needs no further key.",
);

pub(super) const ADAPTER: Key = key(
    "agents.*.adapter",
    Kind::Word(&["lines", "claude-code", "codex", "gemini", "acp", "events"]),
    "How the server speaks with the agent's program: lines in, text out, or in the format of such an agent, or in events, one a line.",
);

pub(super) const PUBLISH: Key = key(
    "agents.*.publish",
    list(0, "a pattern of event types such as deploy.*", is_event_pattern),
    "The types of events of other domains that a program of the adapter `events` may publish, in the name of whoever started the session, as far as they may themselves. Absent: none.",
);

/// This program, and what it is to do as the demo; none where the system does not say which program this is.
fn demo_command() -> Option<Vec<String>> {
    let itself = std::env::current_exe().ok()?.into_os_string().into_string().ok()?;
    Some(vec![itself, DEMO_COMMAND.to_owned()])
}

/// Completes what is said of the demo, unless that is an agent of its own.
pub(super) fn complete(tree: &mut Table) {
    let agents = tree.get_mut("agents").and_then(Value::as_table_mut);
    let Some(demo) = agents.and_then(|agents| agents.get_mut(DEMO)).and_then(Value::as_table_mut) else { return };
    if demo.contains_key("command") {
        return;
    }
    if let Some(command) = demo_command() {
        demo.insert("command".to_owned(), command.into());
        demo.entry("adapter").or_insert_with(|| "events".into());
    }
}

impl Config {
    /// Every agent that there is, by its name.
    pub(crate) fn all_agents(&self) -> BTreeMap<String, Agent> {
        let mut agents: BTreeMap<String, Agent> = self.agents.clone();
        if !agents.contains_key(DEMO)
            && let Some(command) = demo_command()
        {
            agents.insert(DEMO.to_owned(), Agent::speaking_events(command));
        }
        agents.retain(|_, agent| agent.enabled);
        agents
    }

    /// What the demo needs in its sandbox: itself.
    pub(super) fn program_of_the_demo(agent: &Agent) -> Option<PathBuf> {
        let command = demo_command().filter(|command| *command == agent.command)?;
        command.into_iter().next().map(PathBuf::from)
    }
}

impl Agent {
    /// An agent of the adapter `events`, as it is by default.
    fn speaking_events(command: Vec<String>) -> Self {
        Self {
            enabled: true,
            adapter: "events".to_owned(),
            command,
            stdin: "open".to_owned(),
            resume: None,
            terminal: None,
            projects: None,
            roles: None,
            sandbox: None,
            sandbox_read: None,
            sandbox_write: None,
            publish: None::<Vec<Pattern>>,
        }
    }
}
