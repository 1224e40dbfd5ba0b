//! The projection of `project:*`: who belongs to a project, and the board of what runs in it.
//!
//! Guarantees: a pure fold, bounded by [`BOARD_LIMIT`]; a message that it does not know changes nothing.
//! It is not what the gate asks: [`Projects`](super::Projects) keeps memberships in memory.

use tidings_core::{Message, projection::Reducer};

use super::contract::{
    BOARD_LIMIT, MEMBER_REMOVED, MEMBER_SET, MemberRemoved, MemberSet, ProjectState, REGISTERED, REMOVED, Registered,
    SESSION_SUMMARY, Summary, WORKFLOW_RUN_SUMMARY,
};

/// The reducer of a project's channel.
#[derive(Debug)]
pub struct ProjectReducer;

impl Reducer for ProjectReducer {
    type State = ProjectState;
    const VERSION: u32 = 1;

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
            WORKFLOW_RUN_SUMMARY => {
                if let Ok(summary) = payload.typed::<Summary>() {
                    show(&mut state.runs, (*summary).clone());
                }
            }
            _ => {}
        }
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
