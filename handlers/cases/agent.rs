//! The tests of the handler of agents: who is shown which.

use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use tidings_core::{
    Principal, UserId,
    command::{Answer, Visibility},
    principal::{Membership, Role},
};
use tidings_services::{
    programs::{Programs, ProgramsConfig},
    redaction::{Redaction, RedactionConfig},
    session::{SessionConfig, SessionPorts},
};
use tidings_testkit::Nowhere;

use super::*;

/// A judge who goes by grants and by what he was told of members.
#[derive(Debug, Default)]
struct Members(Vec<(&'static str, &'static str, Membership)>);

impl Visibility for Members {
    fn allows(
        &self,
        principal: &Principal,
        action: Action,
        channel: &Channel,
        _: Option<&UserId>,
        project: Option<&str>,
    ) -> bool {
        let member = project.and_then(|project| self.membership(principal, project));
        principal.allows(action, channel) || member.is_some_and(|member| member.allows(action))
    }

    fn membership(&self, principal: &Principal, project: &str) -> Option<Membership> {
        let is_it = |(of, who, _): &&(&str, &str, Membership)| *of == project && *who == principal.user.as_str();
        self.0.iter().find(is_it).map(|(.., membership)| *membership)
    }
}

fn handler() -> AgentHandler {
    let dir = tempfile::tempdir().expect("a directory");
    let nowhere = Arc::new(Nowhere);
    let (bus, states) = (nowhere.clone(), nowhere.clone());
    let (roots, clock) = (Arc::default(), nowhere.clone());
    let ports =
        SessionPorts { bus, states, roots, clock, tasks: nowhere.clone(), surroundings: None, publishing: None };
    let programs = Programs::new(ProgramsConfig::new(dir.path().to_path_buf())).expect("ready");
    let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
    let mut config = SessionConfig::new(redaction);
    for (name, agent) in [
        ("all", json!({"command": ["a", "{prompt}"]})),
        ("admins", json!({"command": ["a"], "roles": ["admin"]})),
        ("elsewhere", json!({"command": ["a"], "projects": ["p1"]})),
        ("operators", json!({"command": ["a"], "roles": ["operator"], "adapter": "acp"})),
    ] {
        config.agents.insert(name.to_owned(), serde_json::from_value(agent).expect("parses"));
    }
    let sessions = Sessions::new(ports, programs, config).expect("a service");
    AgentHandler::new(sessions, Projects::new(nowhere.clone(), nowhere, Arc::default()))
}

fn caller(principal: Principal, members: Members) -> Caller {
    Caller { principal, visibility: Arc::new(members) }
}

/// The agents that the command shows. It waits for nothing.
fn shown(caller: Caller, input: &Value) -> Result<Vec<Value>> {
    let rows = handler().commands();
    let [row] = &rows[..] else { panic!("one row") };
    let input = row.parse_json(&input.to_string())?;
    let mut waits_for_nothing = Context::from_waker(Waker::noop());
    let Poll::Ready(answer) = row.call(caller, input).as_mut().poll(&mut waits_for_nothing) else { panic!("at once") };
    let Answer::Json(json) = answer? else { panic!("no JSON") };
    let answer: Value = serde_json::from_str(json.get()).expect("JSON");
    Ok(answer["agents"].as_array().expect("agents").clone())
}

fn names(agents: &[Value]) -> Vec<&str> {
    agents.iter().map(|agent| agent["name"].as_str().expect("a name")).collect()
}

fn of_role(role: Role) -> Principal {
    Principal::new("u".parse().expect("an id"), vec![role], vec![])
}

#[test]
fn whoever_may_command_any_project_sees_what_may_be_started_in_the_next_one() {
    let admin = shown(caller(of_role(Role::Admin), Members::default()), &json!({})).expect("a list");
    assert_eq!(names(&admin), ["admins", "all", "operators"]);
    let operator = shown(caller(of_role(Role::Operator), Members::default()), &json!({})).expect("a list");
    assert_eq!(names(&operator), ["all", "operators"]);
    let viewer = shown(caller(of_role(Role::Viewer), Members::default()), &json!({})).expect("a list");
    assert!(viewer.is_empty(), "{viewer:?}");
    let of_a_token = Principal::new("u".parse().expect("an id"), vec![], vec!["*=command".parse().expect("a grant")]);
    let of_a_token = shown(caller(of_a_token, Members::default()), &json!({})).expect("a list");
    assert_eq!(names(&of_a_token), ["all"], "a grant is no role");
    assert_eq!((&admin[1]["adapter"], &admin[1]["needsPrompt"]), (&json!("lines"), &json!(true)));
    assert_eq!((&admin[2]["can"]["permissions"], &admin[2]["can"]["terminal"]), (&json!(true), &json!(false)));
    assert!(!admin.iter().any(|agent| agent.to_string().contains("command")), "how it is configured is told nobody");
}

#[test]
fn a_project_that_is_not_open_has_no_agents_and_its_list_needs_the_right_to_see_it() {
    let member = Members(vec![("p1", "u", Membership::Owner)]);
    let refused = shown(caller(of_role(Role::Viewer), member), &json!({"projectId": "p1"}));
    assert_eq!(refused.expect_err("not open").code(), Code::NotFound);
    let rows = handler().commands();
    let need = |json: &str| rows[0].parse_json(json).and_then(|input| rows[0].needs(&input));
    assert_eq!(need("{}"), Ok(Need::Login));
    let on = Need::On(Action::Subscribe, "project:p1".parse().expect("a channel"));
    assert_eq!(need(r#"{"projectId":"p1"}"#), Ok(on));
    assert_eq!(need(r#"{"projectId":"p1:2"}"#).expect_err("no id").code(), Code::InvalidData);
    let event = Event::new("agent.noted", json!({}));
    assert_eq!(handler().route(&event).expect_err("no event").code(), Code::InvalidEvent);
}
