//! Programs that a server runs in sessions, where a fault needs one.
//!
//! Guarantees: each is in a project of the server's own directory, and ends with its server at the latest.
//! They break nothing themselves.

use std::fs;

use serde::Deserialize;

use crate::server::Server;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    id: Option<String>,
    project_id: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    projects: Vec<Made>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
}

/// Starts a line of a shell in a session: its id.
///
/// # Errors
/// If it does not start.
pub fn starts(server: &Server, line: &str) -> Result<String, String> {
    let mut ask = server.ask()?;
    let wrong = |error: serde_json::Error| error.to_string();
    let listed: Listed = serde_json::from_str(&ask.get("/api/projects")?).map_err(wrong)?;
    let known = listed.projects.into_iter().find_map(|project| project.project_id);
    let project = match known {
        Some(project) => project,
        None => {
            let root = server.home().join("project");
            fs::create_dir_all(&root).map_err(|error| error.to_string())?;
            let root = serde_json::to_string(&root).map_err(wrong)?;
            let made = ask.post("/api/projects", &format!("{{\"name\":\"chaos\",\"root\":{root}}}"))?;
            serde_json::from_str::<Made>(&made).map_err(wrong)?.project_id.ok_or("a project without an id")?
        }
    };
    let line = serde_json::to_string(line).map_err(wrong)?;
    let body = format!("{{\"projectId\":\"{project}\",\"command\":[\"sh\",\"-c\",{line}]}}");
    let made: Made = serde_json::from_str(&ask.post("/api/sessions", &body)?).map_err(wrong)?;
    made.id.ok_or_else(|| "a session without an id".to_owned())
}

/// How many ends a session has.
///
/// # Errors
/// If it cannot be read.
pub fn ends(server: &Server, session: &str) -> Result<usize, String> {
    let (mut ask, ends) = (server.ask()?, ["session.completed", "session.error", "session.cancelled"]);
    let path = format!("/api/channels/session:{session}/events?limit=1000&types={}", ends.join(","));
    let page: Page = serde_json::from_str(&ask.get(&path)?).map_err(|error| error.to_string())?;
    Ok(page.events.iter().filter(|event| ends.contains(&event.kind.as_str())).count())
}
