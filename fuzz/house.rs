//! Services for the targets that need handlers: their ports lead nowhere.
//!
//! Guarantees: nothing is started, and nothing is left on the disk.
//! It is not a test of the services: only their inputs and routes are asked for.
#![allow(dead_code, reason = "each target uses its part of it")]

use std::sync::Arc;

use tidings_core::{UserId, principal::Membership, runtime::Memberships};
use tidings_services::{
    programs::{Programs, ProgramsConfig},
    project::Projects,
    redaction::{Redaction, RedactionConfig},
    session::{SessionConfig, SessionPorts, Sessions},
};
use tidings_testkit::Nowhere;

pub(crate) fn projects() -> Arc<Projects> {
    Projects::new(Arc::new(Nowhere), Arc::new(Nowhere), Arc::default())
}

pub(crate) fn sessions() -> Arc<Sessions> {
    let nowhere = Arc::new(Nowhere);
    let (bus, states) = (nowhere.clone(), nowhere.clone());
    let (roots, clock) = (Arc::default(), nowhere.clone());
    let ports = SessionPorts { bus, states, roots, clock, tasks: nowhere, surroundings: None, publishing: None };
    let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("the built-in rules"));
    let dir = tempfile::tempdir().expect("a directory");
    let programs = Programs::new(ProgramsConfig::new(dir.path().to_owned())).expect("ready");
    Sessions::new(ports, programs, SessionConfig::new(redaction)).expect("a service")
}

/// Nobody is a member of anything.
pub(crate) struct NoMembers;

impl Memberships for NoMembers {
    fn membership(&self, _project: &str, _user: &UserId) -> Option<Membership> {
        None
    }
}
