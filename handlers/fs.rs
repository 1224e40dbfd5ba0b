//! The domain `fs`: the files of a project.
//!
//! Guarantees: owns no namespace: all of it goes into the channel of its project.
//! It is not where files are watched: that is `tidings_services::fs`.

use std::sync::Arc;

use tidings_core::{
    Action, Channel, Event, Result,
    command::{Command, Method, Need},
    contract::EventRow,
    handler::{Handler, Retention, Route},
};
use tidings_services::{
    fs::{
        Files,
        contract::EVENTS,
        input::{ListFolder, ReadFile, Watch},
    },
    project::ProjectId,
};

use crate::project;

/// The handler of files.
#[derive(Debug)]
pub struct FsHandler {
    files: Arc<Files>,
}

impl FsHandler {
    /// A handler over the service.
    #[must_use]
    pub fn new(files: Arc<Files>) -> Self {
        Self { files }
    }
}

impl Handler for FsHandler {
    fn domain(&self) -> &'static str {
        "fs"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &[]
    }

    fn events(&self) -> Vec<EventRow> {
        EVENTS.to_vec()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        project::named_in_data(event)
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        id.parse().ok().map(|id: ProjectId| project::channel(&id))
    }

    fn commands(&self) -> Vec<Command> {
        let (read, list, watch) = (self.files.clone(), self.files.clone(), self.files.clone());
        vec![
            Command::new(
                "fs.read",
                (Method::Get, "/api/projects/{projectId}/file"),
                "Reads a file of a project, or a part of it.",
                |input: &ReadFile| Need::On(Action::Subscribe, project::channel(&input.project_id)),
                move |_, input| read.clone().read(input),
            ),
            Command::new(
                "fs.list",
                (Method::Get, "/api/projects/{projectId}/files"),
                "Lists a folder of a project.",
                |input: &ListFolder| Need::On(Action::Subscribe, project::channel(&input.project_id)),
                move |_, input| list.clone().list(input),
            ),
            Command::new(
                "fs.watch",
                (Method::Post, "/api/projects/{projectId}/watch"),
                "Tells changes of a project's files and repository for as long as somebody subscribes to it.",
                |input: &Watch| Need::On(Action::Subscribe, project::channel(&input.project_id)),
                move |_, input| watch.clone().watch(input),
            ),
        ]
    }

    fn retention(&self) -> Retention {
        // It owns no channel: what is kept is for the project's handler to say.
        Retention { messages: 0, bytes: 0, age_ms: 0 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_core::Code;
    use tidings_services::fs::{FsConfig, FsPorts, contract::Witness};
    use tidings_testkit::Nowhere;

    use super::*;

    struct Nobody;

    impl Witness for Nobody {
        fn saw(&self, _: &ProjectId, _: &std::path::Path) {}
    }

    fn handler() -> FsHandler {
        let nowhere = Arc::new(Nowhere);
        let (bus, states, clock) = (nowhere.clone(), nowhere.clone(), nowhere.clone());
        let (roots, tasks) = (Arc::default(), nowhere.clone());
        let ports = FsPorts { bus, states, roots, clock, tasks, audience: nowhere };
        FsHandler::new(Files::new(ports, FsConfig::default(), Arc::new(Nobody)))
    }

    #[test]
    fn files_are_for_whoever_may_see_the_project_and_no_path_leaves_it() {
        let on = Ok(Need::On(Action::Subscribe, "project:p1".parse().expect("a channel")));
        let table = [
            ("fs.read", json!({"projectId": "p1", "path": "a/b", "offset": 5, "length": 7}), on.clone()),
            ("fs.read", json!({"projectId": "p1", "path": "../b"}), Err(Code::InvalidData)),
            ("fs.read", json!({"projectId": "p1", "path": "/b"}), Err(Code::InvalidData)),
            ("fs.read", json!({"projectId": "p1", "path": "a\u{0}"}), Err(Code::InvalidData)),
            ("fs.read", json!({"projectId": "p1"}), Err(Code::InvalidData)),
            ("fs.list", json!({"projectId": "p1"}), on.clone()),
            ("fs.list", json!({"projectId": "p1", "path": "a/.."}), Err(Code::InvalidData)),
            ("fs.watch", json!({"projectId": "p1"}), on),
            ("fs.watch", json!({"projectId": "p1", "path": "a"}), Err(Code::InvalidData)),
        ];
        let rows = handler().commands();
        for (name, input, expected) in table {
            let row = rows.iter().find(|row| row.name == name).expect("a row");
            let need = row.parse_json(&input.to_string()).and_then(|input| row.needs(&input));
            assert_eq!(need.map_err(|error| error.code()), expected, "{name} {input}");
        }
    }

    #[test]
    fn every_event_goes_to_the_channel_of_its_project() {
        for row in EVENTS {
            let mut event = row.sample().expect(row.event_type);
            row.data.read(&mut event.payload).expect(row.event_type);
            assert_eq!(handler().route(&event).expect("routes").home.as_str(), "project:p1", "{}", row.event_type);
        }
        assert!(handler().route(&Event::new("fs.noted", json!({}))).is_err());
    }
}
