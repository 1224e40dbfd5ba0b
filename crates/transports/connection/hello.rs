//! The first word on a connection: who it is, what it may, and how much.
//!
//! Guarantees: nothing in it is secret; it is said once, before anything else.
//! It is not the handshake: that is the transport's.

use tidings_core::{Principal, Timestamp};
use tidings_engine::hub::{Hello, HelloLimits, HelloUser, Notice};

use super::{ConnectionConfig, PROTOCOL};

/// The first word to a principal.
pub(super) fn hello(principal: &Principal, config: &ConnectionConfig, now: Timestamp) -> Notice<'static> {
    Notice::Hello(Box::new(Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION"),
        time: now,
        user: HelloUser { id: principal.user.clone(), roles: principal.roles.clone() },
        grants: principal.grants.clone(),
        limits: HelloLimits {
            max_message_bytes: config.max_message_bytes,
            max_subscriptions: config.max_subscriptions,
            rate_burst: config.rate_burst,
            rate_per_second: config.rate_per_second,
        },
        ping_interval_ms: config.ping_interval.as_millis() as u64,
    }))
}
