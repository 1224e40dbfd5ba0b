//! What a text of the configuration may be, for the schema.
//!
//! Guarantees: what passes is taken by whoever reads it later.
//! It is not the list of keys, nor the words that tell people what is allowed: those are the schema's.

use std::path::Path;

use tidings_core::{Pattern, id};
use tidings_services::{
    redaction::{Redaction, RedactionConfig},
    session::AgentRole,
};
use tidings_transports::http::{HttpConfig, Network};

/// The levels of the log.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(super) fn is_any(_: &str) -> bool {
    true
}

pub(super) fn is_absolute(text: &str) -> bool {
    Path::new(text).is_absolute()
}

pub(super) fn is_program(text: &str) -> bool {
    !text.is_empty() && (is_absolute(text) || !text.contains('/'))
}

pub(super) fn is_segment(text: &str) -> bool {
    id::is_segment(text)
}

pub(super) fn is_role(text: &str) -> bool {
    AgentRole::named(text).is_some()
}

pub(super) fn is_event_pattern(text: &str) -> bool {
    !text.contains(':') && text.parse::<Pattern>().is_ok()
}

pub(super) fn is_network(text: &str) -> bool {
    text.parse::<Network>().is_ok()
}

pub(super) fn is_origin(text: &str) -> bool {
    HttpConfig::is_origin(text)
}

pub(super) fn is_pattern(text: &str) -> bool {
    Redaction::new(&RedactionConfig { enabled: true, patterns: vec![text.to_owned()] }).is_ok()
}

pub(super) fn is_variable(text: &str) -> bool {
    !text.is_empty() && !text.contains(['=', '\0']) && !text.to_ascii_uppercase().starts_with("TIDINGS_")
}

/// What tells which lines the log has. A bare word is a level: tracing takes any other one as a target with every
/// level, so that a level with a typing error in it would silence all else.
pub(super) fn is_filter(text: &str) -> bool {
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_directive = |part: &str| match part.trim().rsplit_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(part.trim()),
    };
    text.split(',').all(is_directive) && is_taken(text)
}

fn is_taken(text: &str) -> bool {
    text.parse::<tracing_subscriber::filter::Targets>().is_ok() || tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

pub(super) fn is_protocol(text: &str) -> bool {
    ["https", "http", "ssh", "git", "file"].contains(&text)
}

/// A secret that signs tokens: HMAC-SHA-256 is no stronger than its key.
pub(super) fn is_long(text: &str) -> bool {
    text.len() >= 32
}
