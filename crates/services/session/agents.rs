//! The agents that somebody may start, and what each can.
//!
//! Guarantees: an agent is listed if and only if its start is not refused for the project and the roles of whoever
//! asks; how it is configured is told nobody.
//! It is not the right to command a project, nor the one to execute, which a terminal needs besides: those are the
//! gate's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::principal::{Membership, Role};
use validator::Validate;

use super::{
    adapter,
    command_line::needs_prompt,
    config::{AdapterKind, AgentConfig, Stdin},
    sessions::Sessions,
};
use crate::project::ProjectId;

/// Input of `agent.list`.
#[derive(Debug, Clone, Default, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListAgents {
    /// Only those that may be started in this project.
    #[serde(default)]
    pub project_id: Option<ProjectId>,
}

/// What an agent can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that an agent can or cannot do")]
pub struct Abilities {
    /// Takes messages after the prompt: `session.send_message`.
    pub messages: bool,
    /// Asks people for permission: `session.resolve_permission` answers.
    pub permissions: bool,
    /// Asks people questions: `session.answer_question` answers.
    pub questions: bool,
    /// Its turn can be stopped: `session.interrupt`.
    pub interrupt: bool,
    /// Tells pieces of its texts before they are whole.
    pub deltas: bool,
    /// A conversation that has ended goes on in a new session: `resume` of `session.start`.
    pub resume: bool,
    /// Runs in a terminal: `pty` of `session.start`, which needs the right to execute.
    pub terminal: bool,
}

/// An agent that the caller may start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedAgent {
    /// Its name: `agent` of `session.start`.
    pub name: String,
    /// How the server speaks with it.
    pub adapter: AdapterKind,
    /// Whether a start without a prompt is refused.
    pub needs_prompt: bool,
    /// What it can.
    pub can: Abilities,
    /// The projects in which the caller may start it, of an agent that is for some projects only; absent for one that
    /// is for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<ProjectId>>,
}

/// Answer of `agent.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListedAgents {
    /// The agents, by name.
    pub agents: Vec<ListedAgent>,
}

/// A project that somebody may command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commanded {
    /// The project.
    pub project_id: ProjectId,
    /// What they are in it, if they are a member.
    pub membership: Option<Membership>,
}

impl Sessions {
    /// `agent.list`: the agents that somebody of these roles may start in at least one of these projects.
    #[must_use]
    pub fn agents(&self, roles: &[Role], projects: &[Commanded]) -> ListedAgents {
        let listed = |(name, agent): (&String, &AgentConfig)| {
            let may = |place: &&Commanded| agent.allows(&place.project_id, roles, place.membership).is_ok();
            let mut places = projects.iter().filter(may).peekable();
            places.peek()?;
            let projects = agent.projects.is_some().then(|| places.map(|place| place.project_id.clone()).collect());
            let needs_prompt = needs_prompt(&agent.command);
            Some(ListedAgent {
                name: name.clone(),
                adapter: agent.adapter,
                needs_prompt,
                can: abilities(agent),
                projects,
            })
        };
        ListedAgents { agents: self.config.agents.iter().filter_map(listed).collect() }
    }
}

fn abilities(agent: &AgentConfig) -> Abilities {
    let hears = agent.stdin == Stdin::Open;
    let talks = hears && adapter::talks(&agent.command);
    let has = |option: &str, value: &str| adapter::has_option(&agent.command, option, value);
    let asks = talks && has("--permission-prompt-tool", "stdio");
    let (messages, permissions, questions, interrupt, deltas) = match agent.adapter {
        AdapterKind::Lines => (hears, false, false, false, false),
        AdapterKind::ClaudeCode => {
            (talks, asks, asks, talks, agent.command.iter().any(|part| part == "--include-partial-messages"))
        }
        AdapterKind::Codex => (false, false, false, false, false),
        AdapterKind::Gemini => (false, false, false, false, true),
        AdapterKind::Acp => (hears, hears, false, hears, true),
        AdapterKind::Events => (hears, hears, hears, hears, true),
    };
    Abilities {
        messages,
        permissions,
        questions,
        interrupt,
        deltas,
        resume: agent.resume.is_some() || agent.adapter == AdapterKind::Acp,
        terminal: agent.terminal.is_some() || agent.adapter == AdapterKind::Lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn can(json: &str) -> String {
        let agent: AgentConfig = serde_json::from_str(json).expect("parses");
        let can = serde_json::to_value(abilities(&agent)).expect("serialises");
        let can = can.as_object().expect("an object").iter().filter(|(_, can)| **can == true);
        can.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_an_agent_can_is_what_its_adapter_makes_of_how_it_is_configured() {
        let stream = r#""--input-format","stream-json""#;
        let table = [
            (r#"{"command":["a"]}"#.to_owned(), "messages terminal"),
            (r#"{"command":["a"],"stdin":"close","resume":["a"]}"#.to_owned(), "resume terminal"),
            (r#"{"command":["a","-p"],"adapter":"claude-code"}"#.to_owned(), ""),
            (
                format!(r#"{{"command":["a",{stream},"--permission-prompt-tool","stdio","--include-partial-messages"],"adapter":"claude-code","resume":["a"],"terminal":["a"]}}"#),
                "deltas interrupt messages permissions questions resume terminal",
            ),
            (
                r#"{"command":["a","--input-format=stream-json","--permission-prompt-tool=stdio"],"adapter":"claude-code"}"#.to_owned(),
                "interrupt messages permissions questions",
            ),
            (format!(r#"{{"command":["a",{stream}],"adapter":"claude-code","stdin":"close"}}"#), ""),
            (r#"{"command":["a"],"adapter":"codex","stdin":"close"}"#.to_owned(), ""),
            (r#"{"command":["a"],"adapter":"gemini","stdin":"close"}"#.to_owned(), "deltas"),
            (r#"{"command":["a"],"adapter":"acp"}"#.to_owned(), "deltas interrupt messages permissions resume"),
            (
                r#"{"command":["a"],"adapter":"events"}"#.to_owned(),
                "deltas interrupt messages permissions questions",
            ),
            (r#"{"command":["a"],"adapter":"events","stdin":"close"}"#.to_owned(), "deltas"),
        ];
        for (agent, expected) in table {
            assert_eq!(can(&agent), expected, "{agent}");
        }
    }
}
