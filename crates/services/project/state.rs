//! The projection of `project:*`: who belongs to a project, and the board of what runs in it.
//!
//! Guarantees: a pure fold, bounded by [`BOARD_LIMIT`]; a message that it does not know changes nothing.
//! It is not what the gate asks: [`Projects`](super::Projects) keeps memberships in memory.

use tidings_core::{Event, Message, projection::Reducer};

use super::contract::{
    BOARD_LIMIT, MEMBER_REMOVED, MEMBER_SET, MemberRemoved, MemberSet, ProjectState, REGISTERED, REMOVED, Registered,
    SESSION_SUMMARY, SHELL_SUMMARY, Summary, WORKFLOW_RUN_SUMMARY,
};
use crate::git::contract as git;

/// The reducer of a project's channel.
#[derive(Debug)]
pub struct ProjectReducer;

impl Reducer for ProjectReducer {
    type State = ProjectState;
    const VERSION: u32 = 1;
    const ENDS: &'static [&'static str] = &[REMOVED];

    /// Who is a member of it has to be known from the start on, and no operation of git survives the server.
    fn is_open(state: &ProjectState) -> bool {
        state.is_open() || !Self::abandoned(state).is_empty()
    }

    fn apply(state: &mut ProjectState, message: &Message) {
        let payload = &message.payload;
        match message.event_type.as_str() {
            REGISTERED => {
                if let Ok(event) = payload.typed::<Registered>() {
                    state.project_id = Some(event.project_id.clone());
                    state.name.clone_from(&event.name);
                    state.root.clone_from(&event.root);
                }
            }
            MEMBER_SET => {
                if let Ok(event) = payload.typed::<MemberSet>() {
                    state.members.insert(event.user_id.clone(), event.membership);
                }
            }
            MEMBER_REMOVED => {
                if let Ok(event) = payload.typed::<MemberRemoved>() {
                    state.members.remove(&event.user_id);
                }
            }
            REMOVED => {
                state.removed = true;
                state.members.clear();
            }
            SESSION_SUMMARY => {
                if let Ok(summary) = payload.typed::<Summary>() {
                    show(&mut state.sessions, (*summary).clone());
                }
            }
            SHELL_SUMMARY => {
                if let Ok(summary) = payload.typed::<Summary>() {
                    show(&mut state.shells, (*summary).clone());
                }
            }
            WORKFLOW_RUN_SUMMARY => {
                if let Ok(summary) = payload.typed::<Summary>() {
                    show(&mut state.runs, (*summary).clone());
                }
            }
            _ => apply_git(&mut state.git, message),
        }
    }

    fn abandoned(state: &ProjectState) -> Vec<Event> {
        let Some(project_id) = &state.project_id else { return Vec::new() };
        let open = state.git.operations.iter().filter(|(_, operation)| operation.hosted);
        let end = |(id, operation): (&git::OperationId, &git::OpenOperation)| {
            let data = git::OperationFailed {
                project_id: project_id.clone(),
                operation_id: id.clone(),
                kind: operation.kind,
                code: "server_stopped".to_owned(),
                message: git::stopped(operation.queued).to_owned(),
                output: String::new(),
                conflicts: Vec::new(),
            };
            Event::new(git::FAILED, data)
        };
        open.map(end).collect()
    }
}

/// What of git is kept: how the repository is, and what has not ended.
fn apply_git(state: &mut git::GitState, message: &Message) {
    let payload = &message.payload;
    match message.event_type.as_str() {
        git::QUEUED => {
            if let Ok(event) = payload.typed::<git::OperationQueued>() {
                open_one(state, &event.operation_id, (event.kind, true, event.hosted), message);
            }
        }
        git::STARTED => {
            if let Ok(event) = payload.typed::<git::OperationStarted>() {
                open_one(state, &event.operation_id, (event.kind, false, event.hosted), message);
            }
        }
        git::PROGRESS => {
            if let Ok(event) = payload.typed::<git::OperationProgress>()
                && let Some(open) = state.operations.get_mut(&event.operation_id)
            {
                open.progress = Some(event.progress.clone());
            }
        }
        git::COMPLETED | git::FAILED | git::CANCELLED => {
            if let Ok(event) = payload.typed::<git::OperationNamed>() {
                state.operations.remove(&event.operation_id);
            }
        }
        git::STATUS_CHANGED => {
            if let Ok(event) = payload.typed::<git::StatusChanged>() {
                state.status = Some(event.status.clone());
            }
        }
        _ => {}
    }
}

/// Keeps an operation that has not ended, in place of what was kept of it before.
fn open_one(
    state: &mut git::GitState,
    id: &git::OperationId,
    (kind, queued, hosted): (git::Kind, bool, bool),
    message: &Message,
) {
    if state.operations.len() < git::OPEN_LIMIT || state.operations.contains_key(id) {
        let open = git::OpenOperation { kind, started_at: message.time, queued, hosted, progress: None };
        state.operations.insert(id.clone(), open);
    }
}

/// Puts a summary first on the board, in place of an older one of the same thing.
fn show(board: &mut Vec<Summary>, summary: Summary) {
    board.retain(|shown| shown.id != summary.id);
    board.insert(0, summary);
    board.truncate(BOARD_LIMIT);
}

#[cfg(test)]
mod tests {
    use tidings_core::{Event, Timestamp, UserId, principal::Membership, projection::Fold};

    use super::*;
    use crate::project::ProjectId;

    fn message(seq: u64, event: Event) -> Message {
        Message::new("project:p1".parse().expect("a channel"), Some(seq), Timestamp(seq as i64), event)
    }

    fn summary(number: u64, status: &str) -> Event {
        let id = format!("s{number}");
        let channel = format!("session:{id}").parse().expect("a channel");
        let data = Summary { id, channel, status: status.into(), title: None, updated_at: Timestamp(number as i64) };
        Event::new(SESSION_SUMMARY, data)
    }

    fn registered() -> Event {
        let project_id: ProjectId = "p1".parse().expect("an id");
        Event::new(REGISTERED, Registered { project_id, name: "one".into(), root: "/one".into() })
    }

    fn member(user: &str, membership: Membership) -> Event {
        let user_id: UserId = user.parse().expect("an id");
        Event::new(MEMBER_SET, MemberSet { project_id: "p1".parse().expect("an id"), user_id, membership })
    }

    fn folded(events: Vec<Event>) -> ProjectState {
        let mut state = ProjectState::default();
        for (index, event) in events.into_iter().enumerate() {
            ProjectReducer::apply(&mut state, &message(index as u64 + 1, event));
        }
        state
    }

    #[test]
    fn the_board_shows_each_session_once_and_the_last_changed_first() {
        let state = folded(vec![registered(), summary(1, "running"), summary(2, "running"), summary(1, "completed")]);
        let seen: Vec<_> = state.sessions.iter().map(|shown| (shown.id.as_str(), shown.status.as_str())).collect();
        assert_eq!(seen, [("s1", "completed"), ("s2", "running")]);
    }

    #[test]
    fn the_board_is_bounded_and_keeps_the_newest() {
        let state = folded((0..BOARD_LIMIT as u64 + 7).map(|number| summary(number, "running")).collect());
        assert_eq!(state.sessions.len(), BOARD_LIMIT);
        assert_eq!(state.sessions[0].id, format!("s{}", BOARD_LIMIT + 6));
    }

    #[test]
    fn members_come_change_and_go_and_a_removed_project_has_none() {
        let user: UserId = "u1".parse().expect("an id");
        let mut events = vec![registered(), member("u1", Membership::Viewer), member("u1", Membership::Owner)];
        assert_eq!(folded(events.clone()).members.get(&user), Some(&Membership::Owner));
        events.push(Event::new(REMOVED, super::super::contract::Removed { project_id: "p1".parse().expect("an id") }));
        let state = folded(events);
        assert!(state.members.is_empty() && !state.is_open());
    }

    fn of_git(event_type: &'static str, mut data: serde_json::Value) -> Event {
        data["projectId"] = "p1".into();
        Event::new(event_type, data)
    }

    #[test]
    fn an_operation_is_open_from_its_start_to_its_end_and_the_servers_own_are_ended_when_it_dies() {
        let started = |id: &str, hosted: bool| {
            of_git(git::STARTED, serde_json::json!({"operationId": id, "kind": "clone", "hosted": hosted}))
        };
        let progress = serde_json::json!({"operationId": "o1", "progress": {"phase": "Receiving", "current": 3}});
        let queued =
            |id: &str| of_git(git::QUEUED, serde_json::json!({"operationId": id, "kind": "commit", "hosted": true}));
        let mut events =
            vec![registered(), queued("o1"), started("o1", true), started("o2", false), started("o3", true)];
        events.push(queued("o4"));
        events.push(queued("o5"));
        events.push(of_git(git::PROGRESS, progress));
        events.push(of_git(git::COMPLETED, serde_json::json!({"operationId": "o3", "kind": "clone"})));
        events.push(of_git(git::CANCELLED, serde_json::json!({"operationId": "o5", "kind": "commit"})));
        let state = folded(events);
        let of =
            |(id, it): (&git::OperationId, &git::OpenOperation)| (id.to_string(), it.queued, it.progress.is_some());
        let open: Vec<_> = state.git.operations.iter().map(of).collect();
        let expected = [("o1", false, true), ("o2", false, false), ("o4", true, false)];
        assert_eq!(open, expected.map(|(id, queued, progress)| (id.to_owned(), queued, progress)));
        let ended = ProjectReducer::abandoned(&state);
        assert_eq!(ended.len(), 2, "what a producer outside began is not ours to end");
        for (event, id) in ended.iter().zip(["o1", "o4"]) {
            let failed = event.payload.typed::<git::OperationFailed>().expect("an end");
            assert_eq!((failed.operation_id.as_str(), failed.code.as_str()), (id, "server_stopped"));
        }
    }

    #[test]
    fn what_is_kept_of_git_is_bounded_and_is_what_was_told_last() {
        let started = |n: usize| {
            of_git(git::STARTED, serde_json::json!({"operationId": format!("o{n}"), "kind": "push", "hosted": false}))
        };
        let status = |branch: &str| {
            let counts = serde_json::json!({"staged": 1});
            let data = serde_json::json!({"branch": branch, "counts": counts, "digest": "d", "files": [], "more": 0});
            of_git(git::STATUS_CHANGED, data)
        };
        let mut events = vec![registered(), status("main"), status("topic")];
        events.extend((0..2 * git::OPEN_LIMIT).map(started));
        let state = folded(events);
        assert_eq!(state.git.operations.len(), git::OPEN_LIMIT);
        let kept = state.git.status.expect("a status");
        assert_eq!((kept.branch.as_deref(), kept.counts.staged), (Some("topic"), 1));
    }

    #[test]
    fn a_saved_state_and_the_rest_is_the_same_as_folding_everything() {
        let projection = Fold::<ProjectReducer>::projection();
        let events = vec![registered(), member("u1", Membership::Operator), summary(1, "running"), summary(2, "error")];
        let whole = folded(events.clone());
        for cut in 0..=events.len() {
            let mut state = projection.start();
            for (index, event) in events.iter().cloned().enumerate() {
                if index == cut {
                    state = projection.restore(&state.save()).expect("restores");
                }
                state.apply(&message(index as u64 + 1, event));
            }
            assert_eq!(state.as_any().downcast_ref::<ProjectState>(), Some(&whole));
        }
    }

    #[test]
    fn what_it_does_not_know_or_cannot_read_changes_nothing() {
        let odd = Event::new(SESSION_SUMMARY, serde_json::json!({"id": 5}));
        let other = Event::new("git.head.changed", serde_json::json!({}));
        assert_eq!(folded(vec![registered(), odd, other]), folded(vec![registered()]));
    }
}
