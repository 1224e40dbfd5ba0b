//! The domain `agent`: which agents there are for whom.
//!
//! Guarantees: owns no namespace and tells no event; nobody sees an agent whose start would be refused.
//! It is not where agents are started: that is the domain `session`.

use std::sync::Arc;

use tidings_core::{
    Action, Channel, Code, Error, Event, Result,
    command::{Caller, Command, Json, Method, Need},
    contract::EventRow,
    handler::{Handler, Retention, Route},
};
use tidings_services::{
    project::{ProjectId, Projects},
    session::{
        Sessions,
        agents::{Commanded, ListAgents, ListedAgents},
    },
};

use crate::project;

/// The handler of agents.
#[derive(Debug)]
pub struct AgentHandler {
    sessions: Arc<Sessions>,
    projects: Arc<Projects>,
}

impl AgentHandler {
    /// A handler over the services.
    #[must_use]
    pub fn new(sessions: Arc<Sessions>, projects: Arc<Projects>) -> Self {
        Self { sessions, projects }
    }
}

impl Handler for AgentHandler {
    fn domain(&self) -> &'static str {
        "agent"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &[]
    }

    fn events(&self) -> Vec<EventRow> {
        Vec::new()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        let why = format!("event type '{}': what an agent says is told by events of its session", event.event_type);
        Err(Error::new(Code::InvalidEvent, why))
    }

    fn channel(&self, _: &str) -> Option<Channel> {
        None
    }

    fn commands(&self) -> Vec<Command> {
        let (sessions, projects) = (self.sessions.clone(), self.projects.clone());
        vec![Command::new(
            "agent.list",
            (Method::Get, "/api/agents"),
            "Lists the agents that the caller may start, and what each can.",
            |input: &ListAgents| match &input.project_id {
                Some(id) => Need::On(Action::Subscribe, project::channel(id)),
                None => Need::Login,
            },
            move |caller: Caller, input: ListAgents| {
                std::future::ready(list(&sessions, &projects, &caller, &input).map(Json))
            },
        )]
    }

    fn retention(&self) -> Retention {
        // It owns no channel.
        Retention { messages: 0, bytes: 0, age_ms: 0 }
    }
}

fn list(sessions: &Sessions, projects: &Projects, caller: &Caller, input: &ListAgents) -> Result<ListedAgents> {
    let open = projects.all_open();
    let asked = match &input.project_id {
        Some(id) if !open.contains(id) => return Err(Error::not_found()),
        Some(id) => vec![id.clone()],
        // Whoever may command any project may start agents in the next one, too.
        None => open.into_iter().chain([ProjectId::random()]).collect(),
    };
    let commanded = |project_id: ProjectId| {
        let (name, id) = (project::channel(&project_id), project_id.as_str());
        let may = caller.visibility.allows(&caller.principal, Action::Command, &name, None, Some(id));
        let membership = caller.visibility.membership(&caller.principal, id);
        may.then_some(Commanded { project_id, membership })
    };
    let commanded: Vec<Commanded> = asked.into_iter().filter_map(commanded).collect();
    Ok(sessions.agents(&caller.principal.roles, &commanded))
}

#[cfg(test)]
#[path = "cases/agent.rs"]
mod tests;
