//! The domain `project`: directories in which programs run, and who belongs to them.
//!
//! Guarantees: owns the namespace `project`; what the channel `project:{projectId}` belongs to is told
//! by its name alone.
//! It is not where what runs in a project is told: of that it carries summaries, which the
//! handlers of those things copy here.

use std::sync::Arc;

use serde::Deserialize;
use tidings_core::{
    Action, Channel, Code, Error, Event, Payload, Result,
    command::{Command, Json, Method, Need, answer_with},
    contract::EventRow,
    handler::{Handler, Retention, Route, Standing},
    json,
    projection::{Fold, Projection},
};
use tidings_services::project::{
    ProjectId, ProjectReducer, Projects,
    contract::{Board, EVENTS, List, Named, REGISTERED, Register, RemoveMember, SetMember, Summary},
};

use crate::Made;

const NAMESPACE: &str = "project";

/// The channel of a project, for those who copy summaries into it.
#[must_use]
pub fn channel(project_id: &ProjectId) -> Channel {
    Channel::of(NAMESPACE, project_id)
}

/// The route of an event of a domain whose things are in projects: to the channel of the project that the data
/// names, which the event's own must agree with.
///
/// # Errors
/// `invalid_data`.
pub(crate) fn named_in_data(event: &Event) -> Result<Route> {
    let carried = event.payload.typed::<Carried>()?;
    Route::named_by("data.projectId", event, channel(&carried.project_id))
}

/// The refusal of an event from outside that says that this server runs something.
pub(crate) fn only_the_server_hosts() -> Error {
    Error::invalid_field("data.hosted", "only the server says that, of what it runs itself: leave it out")
}

/// With a summary for the project's board, of this type, where a service gave something to show.
#[must_use]
pub fn with_summary(route: Route, event_type: &'static str, board: Option<&Board>) -> Route {
    let Some(board) = board else { return route };
    let summary = Summary {
        id: route.home.id().to_owned(),
        channel: route.home.clone(),
        status: board.status.to_owned(),
        title: Some(board.title.clone()),
        updated_at: board.at,
    };
    route.copy(channel(&board.project_id), event_type, Payload::of(summary))
}

/// The handler of projects.
#[derive(Debug)]
pub struct ProjectHandler {
    projects: Arc<Projects>,
}

impl ProjectHandler {
    /// A handler over the service.
    #[must_use]
    pub fn new(projects: Arc<Projects>) -> Self {
        Self { projects }
    }
}

/// What every event of the domain carries.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Carried {
    project_id: ProjectId,
}

impl Handler for ProjectHandler {
    fn domain(&self) -> &'static str {
        "project"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &[NAMESPACE]
    }

    fn channels(&self) -> Vec<String> {
        vec!["project:{projectId}".to_owned()]
    }

    fn events(&self) -> Vec<EventRow> {
        EVENTS.to_vec()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        let home = home(event)?;
        let project = named(&home).ok_or_else(|| Error::new(Code::InvalidChannel, "it is project:{projectId}"))?;
        Ok(if event.event_type.as_str() == REGISTERED {
            Route::to(home).opening(None, Some(project.as_str().into()))
        } else {
            Route::to(home)
        })
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        id.parse().ok().map(|id: ProjectId| channel(&id))
    }

    fn standing(&self, channel: &Channel) -> Standing {
        Standing { owner: None, project: named(channel).map(|id| id.as_str().into()) }
    }

    fn commands(&self) -> Vec<Command> {
        let mut rows = projects(&self.projects);
        rows.extend(members(&self.projects));
        rows
    }

    fn projection(&self) -> Option<Arc<dyn Projection>> {
        Some(Fold::<ProjectReducer>::projection())
    }

    fn retention(&self) -> Retention {
        // A project outlives what runs in it: its state is saved before a message is trimmed.
        Retention { messages: 100_000, bytes: 64 << 20, age_ms: 0 }
    }
}

/// The project that a channel is of, if it is a whole `project:{projectId}`.
pub(crate) fn named(channel: &Channel) -> Option<ProjectId> {
    channel.as_str().strip_prefix(NAMESPACE)?.strip_prefix(':')?.parse().ok()
}

/// The channel of an event: of the project in its data, or, from outside, the one that it names.
fn home(event: &Event) -> Result<Channel> {
    let in_data = json::from_str::<Carried>(event.payload.json()).map(|carried| channel(&carried.project_id));
    match (in_data, &event.channel) {
        (Ok(home), _) => Route::named_by("data.projectId", event, home).map(|route| route.home),
        (Err(_), Some(named)) if named.namespace() == NAMESPACE => Ok(named.clone()),
        (Err(_), _) => Err(Error::invalid_field("data.projectId", "names the project")),
    }
}

fn projects(projects: &Arc<Projects>) -> Vec<Command> {
    let (register, list, get, remove) = (projects.clone(), projects.clone(), projects.clone(), projects.clone());
    vec![
        Command::new(
            "project.register",
            (Method::Post, "/api/projects"),
            "Makes a project of an existing directory.",
            |_: &Register| Need::Admin,
            move |caller, input| {
                answer_with(register.clone().register(caller.principal.user, input), |Json(shown)| {
                    Made::answer(shown.project_id.clone(), channel(&shown.project_id), shown)
                })
            },
        )
        .with_status(201),
        Command::new(
            "project.list",
            (Method::Get, "/api/projects"),
            "Lists the projects that the caller may see, newest first.",
            |_: &List| Need::Login,
            move |caller, input: List| {
                let seen = |id: &ProjectId| {
                    let project = Some(id.as_str());
                    caller.visibility.allows(&caller.principal, Action::Subscribe, &channel(id), None, project)
                };
                std::future::ready(Ok(list.list(&caller.principal.user, &input, seen)))
            },
        ),
        Command::new(
            "project.get",
            (Method::Get, "/api/projects/{projectId}"),
            "Shows a project: its directory, its members, its board.",
            |input: &Named| Need::On(Action::Subscribe, channel(&input.project_id)),
            move |_, input| get.clone().get(input),
        ),
        Command::new(
            "project.remove",
            (Method::Delete, "/api/projects/{projectId}"),
            "Ends a project and its memberships; its directory is not touched.",
            |_: &Named| Need::Admin,
            move |caller, input| remove.clone().remove(caller.principal.user, input),
        ),
    ]
}

fn members(projects: &Arc<Projects>) -> Vec<Command> {
    let (set, remove) = (projects.clone(), projects.clone());
    vec![
        Command::new(
            "project.set_member",
            (Method::Post, "/api/projects/{projectId}/members"),
            "Makes somebody a member of a project, or another kind of member.",
            |input: &SetMember| Need::ProjectOwner(input.project_id.as_str().into()),
            move |caller, input| set.clone().set_member(caller.principal.user, input),
        ),
        Command::new(
            "project.remove_member",
            (Method::Delete, "/api/projects/{projectId}/members/{userId}"),
            "Ends somebody's membership of a project.",
            |input: &RemoveMember| Need::ProjectOwner(input.project_id.as_str().into()),
            move |caller, input| remove.clone().remove_member(caller.principal.user, input),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use tidings_testkit::Nowhere;

    use super::*;

    fn handler() -> ProjectHandler {
        ProjectHandler::new(Projects::new(Arc::new(Nowhere), Arc::new(Nowhere), Arc::default()))
    }

    fn event(event_type: &'static str, data: serde_json::Value, channel: Option<&str>) -> Event {
        let mut event = Event::new(event_type, data);
        event.channel = channel.map(|channel| channel.parse().expect("a channel"));
        event
    }

    #[test]
    fn every_event_goes_to_the_channel_of_its_project_and_only_the_first_opens_it() {
        for row in EVENTS {
            let mut event = row.sample().expect(row.event_type);
            row.data.read(&mut event.payload).expect(row.event_type);
            let route = handler().route(&event).expect("routes");
            assert_eq!(route.home.as_str(), "project:p1");
            let opened = route.opens.map(|opens| (opens.owner, opens.project));
            let expected = (row.event_type == REGISTERED).then(|| (None, Some("p1".into())));
            assert_eq!(opened, expected, "{}", row.event_type);
        }
    }

    #[test]
    fn an_event_that_names_no_project_or_two_is_refused() {
        let table = [
            (serde_json::json!({"projectId": "p1"}), Some("project:p1"), Ok("project:p1")),
            (serde_json::json!({}), Some("project:p1"), Ok("project:p1")),
            (serde_json::json!({"projectId": "p1"}), Some("project:p2"), Err(Code::InvalidData)),
            (serde_json::json!({"projectId": "p1:2"}), None, Err(Code::InvalidData)),
            (serde_json::json!({}), None, Err(Code::InvalidData)),
            (serde_json::json!({}), Some("session:1"), Err(Code::InvalidData)),
            (serde_json::json!({}), Some("project:a:b"), Err(Code::InvalidChannel)),
        ];
        for (data, channel, expected) in table {
            let routed = handler().route(&event("project.noted", data.clone(), channel));
            let routed = routed.map(|route| route.home.to_string()).map_err(|error| error.code());
            assert_eq!(routed, expected.map(str::to_owned), "{data} {channel:?}");
        }
    }

    #[test]
    fn the_channel_of_a_project_belongs_to_it_and_a_longer_name_to_nobody() {
        let standing = |name: &str| handler().standing(&name.parse().expect("a channel")).project;
        assert_eq!(standing("project:p1").as_deref(), Some("p1"));
        assert_eq!(standing("project:x:p1"), None);
        assert_eq!(handler().channel("a:b"), None);
    }

    #[test]
    fn each_command_asks_for_what_it_needs() {
        let admin = Need::Admin;
        let owner = Need::ProjectOwner("p1".into());
        let on = Need::On(Action::Subscribe, "project:p1".parse().expect("a channel"));
        let table = [
            ("project.register", r#"{"name":"one","root":"/one"}"#, Ok(admin.clone())),
            ("project.register", r#"{"name":"","root":"/one"}"#, Err(Code::InvalidData)),
            ("project.register", r#"{"name":"a\nb","root":"/one"}"#, Err(Code::InvalidData)),
            ("project.register", r#"{"name":"one","root":"/one","more":1}"#, Err(Code::InvalidData)),
            ("project.list", r#"{"limit":5}"#, Ok(Need::Login)),
            ("project.list", r#"{"limit":0}"#, Err(Code::InvalidData)),
            ("project.get", r#"{"projectId":"p1"}"#, Ok(on)),
            ("project.get", r#"{"projectId":"p1:2"}"#, Err(Code::InvalidData)),
            ("project.remove", r#"{"projectId":"p1"}"#, Ok(admin)),
            ("project.set_member", r#"{"projectId":"p1","userId":"u","membership":"owner"}"#, Ok(owner.clone())),
            ("project.set_member", r#"{"projectId":"p1","userId":"u","membership":"king"}"#, Err(Code::InvalidData)),
            ("project.remove_member", r#"{"projectId":"p1","userId":"u"}"#, Ok(owner)),
        ];
        let rows = handler().commands();
        for (name, input, expected) in table {
            let row = rows.iter().find(|row| row.name == name).expect("a row");
            let need = row.parse_json(input).and_then(|input| row.needs(&input)).map_err(|error| error.code());
            assert_eq!(need, expected, "{name} {input}");
        }
    }
}
