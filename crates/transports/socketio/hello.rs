//! The first word on a connection: who it is, what it may, and how much.
//!
//! Guarantees: nothing in it is secret; it is said once, before anything else.
//! It is not the handshake: that is the engine's.

use serde::Serialize;
use tidings_core::{Grant, Principal, Timestamp, UserId, principal::Role};
use tidings_engine::hub::Notice;

use super::{PROTOCOL, SocketIoConfigured};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hello<'a> {
    protocol: u32,
    version: &'static str,
    time: Timestamp,
    user: HelloUser<'a>,
    grants: &'a [Grant],
    limits: Limits,
    ping_interval_ms: u64,
}

#[derive(Serialize)]
struct HelloUser<'a> {
    id: &'a UserId,
    roles: &'a [Role],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    max_message_bytes: usize,
    max_subscriptions: usize,
    rate_burst: u32,
    rate_per_second: u32,
}

/// The first word to a principal.
pub(super) fn hello(principal: &Principal, config: &SocketIoConfigured, now: Timestamp) -> Notice<'static> {
    let hello = Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION"),
        time: now,
        user: HelloUser { id: &principal.user, roles: &principal.roles },
        grants: &principal.grants,
        limits: Limits {
            max_message_bytes: config.max_message_bytes,
            max_subscriptions: config.max_subscriptions,
            rate_burst: config.rate_burst,
            rate_per_second: config.rate_per_second,
        },
        ping_interval_ms: config.ping_interval.as_millis() as u64,
    };
    Notice::Hello(serde_json::value::to_raw_value(&hello).expect("a hello serialises"))
}
