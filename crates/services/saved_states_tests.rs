//! Saved states as files: what a directory of this version has in it, and what the next version must read.
//!
//! Guarantees: every reducer has a file of its present version in `fixtures/states`, named after domain,
//! version and what the state is of; a change of a state's shape that a file does not survive fails here
//! until the reducer's version goes up with an upgrade. Files are never edited, only added to; for a version that
//! has none, the failure says what is to be in it.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use serde_json::Value;
use tidings_core::{
    Event, Message, Timestamp,
    contract::EventRow,
    projection::{Fold, Folded, Projection},
};

use crate::{
    git, project,
    session::{self, state::SessionReducer},
    shell::{self, state::ShellReducer},
    user::{self, state::UserReducer},
    workflow::{self, state::RunReducer},
};

/// Every reducer of the services, by its domain.
fn projections() -> BTreeMap<&'static str, Arc<dyn Projection>> {
    BTreeMap::from([
        ("project", Fold::<project::ProjectReducer>::projection()),
        ("session", Fold::<SessionReducer>::projection()),
        ("shell", Fold::<ShellReducer>::projection()),
        ("user", Fold::<UserReducer>::projection()),
        ("workflow", Fold::<RunReducer>::projection()),
    ])
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/states")
}

/// A file: its domain, its version, its bytes.
fn files() -> Vec<(String, u32, Vec<u8>)> {
    let files = fs::read_dir(folder()).expect("the folder is there").map(|file| file.expect("reads").path());
    let named = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
        let mut parts = name.split('.');
        let domain = parts.next().expect("a domain").to_owned();
        let version = parts.next().and_then(|version| version.parse().ok()).expect("a version after the domain");
        (domain, version, fs::read(path).expect("reads"))
    };
    files.map(named).collect()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

#[test]
fn a_saved_state_of_the_present_version_is_read_without_a_loss() {
    let projections = projections();
    for (domain, version, bytes) in files() {
        let projection = &projections[domain.as_str()];
        if version != projection.version() {
            continue;
        }
        let state =
            projection.restore(&bytes).unwrap_or_else(|_| panic!("{domain} no longer reads its version {version}"));
        assert_eq!(
            json(&state.save()),
            json(&bytes),
            "the state of {domain} has another shape now: raise the version of its reducer and write its upgrade, or, \
             where older states are read as they were meant, add a file"
        );
    }
    for (domain, projection) in projections {
        let has_one = files().iter().any(|(of, version, _)| of == domain && *version == projection.version());
        let (version, example) = (projection.version(), |ended| example(domain, &*projection, ended));
        assert!(
            has_one,
            "{domain} has no file of its present version {version}; from the examples of its events, {domain}.{version}.open.json:\n{}\n\
             and {domain}.{version}.ended.json:\n{}",
            example(false),
            example(true)
        );
    }
}

#[test]
fn a_saved_state_of_an_older_version_is_upgraded() {
    let projections = projections();
    for (domain, version, bytes) in files() {
        let projection = &projections[domain.as_str()];
        assert!(version <= projection.version(), "a file of a version that is not there yet");
        if version < projection.version() {
            assert!(projection.upgrade(version, &bytes).is_some(), "{domain} has no way from version {version}");
        }
    }
}

#[test]
fn whatever_a_start_has_to_end_counts_as_open() {
    let projections = projections();
    let mut open = 0;
    for (domain, version, bytes) in files() {
        let projection = &projections[domain.as_str()];
        if version == projection.version() {
            let state = projection.restore(&bytes).expect("of this version");
            assert!(state.abandoned().is_empty() || state.is_open(), "{domain}");
            open += usize::from(state.is_open());
        }
    }
    // What waits for a person is ended where it is: of users a start has to look at nothing.
    assert!(open >= projections.len() - 1, "there is an open one of each other: {open}");
}

/// The types of the events that close something within a thing, which is to stay open in one of the files.
const CLOSERS: &[&str] = &[
    project::contract::MEMBER_REMOVED,
    git::contract::COMPLETED,
    git::contract::FAILED,
    git::contract::CANCELLED,
    session::contract::agent::PERMISSION_RESOLVED,
    session::contract::question::QUESTION_RESOLVED,
    session::contract::agent::TOOL_COMPLETED,
    session::contract::agent::SUBAGENT_COMPLETED,
    session::contract::MESSAGE_DEQUEUED,
    user::contract::ATTENTION_RESOLVED,
];

/// Folds the examples of these rows: all of them and then an end, or those that leave things open.
fn folded(projection: &dyn Projection, rows: &[EventRow], ended: bool) -> Box<dyn Folded> {
    let rows = rows.iter().filter(|row| row.durable && (ended || !CLOSERS.contains(&row.event_type)));
    let (mut last, first): (Vec<&EventRow>, Vec<&EventRow>) =
        rows.partition(|row| projection.ends().contains(&row.event_type));
    last.truncate(usize::from(ended));
    let events = first.into_iter().chain(last).filter_map(EventRow::sample);
    let mut state = projection.start();
    for (seq, event) in (1..).zip(events) {
        let event: Event = event.by(Some("u1".parse().expect("an id")));
        let channel = "test:1".parse().expect("a channel");
        let time = Timestamp(1_700_000_000_000 + i64::try_from(seq).expect("a small number"));
        state.apply(&Message::new(channel, Some(seq), time, event));
    }
    state
}

/// The state that a domain's examples fold to.
fn example(domain: &str, projection: &dyn Projection, ended: bool) -> String {
    let rows = |rows: &'static [EventRow]| rows.iter().cloned();
    let session = || {
        rows(session::contract::EVENTS)
            .chain(rows(session::contract::agent::EVENTS))
            .chain(rows(session::contract::question::EVENTS))
    };
    let rows: Vec<EventRow> = match domain {
        "project" => rows(project::contract::EVENTS)
            .chain(rows(project::contract::SUMMARIES))
            .chain(rows(project::contract::SHELL_SUMMARIES))
            .chain(rows(project::contract::WORKFLOW_SUMMARIES))
            .chain(rows(git::contract::EVENTS).filter(|row| row.namespace == Some("project")))
            .collect(),
        "session" => session().collect(),
        "shell" => rows(shell::contract::EVENTS).collect(),
        "user" => rows(user::contract::EVENTS).collect(),
        _ => rows(workflow::contract::EVENTS).collect(),
    };
    serde_json::to_string_pretty(&json(&folded(projection, &rows, ended).save())).expect("JSON")
}
