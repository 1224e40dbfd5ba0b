//! The heartbeat: this transport pings, and judges who is alive.
//!
//! Guarantees: a client learns the configured interval and time limit; it is pinged after each interval, and taken for
//! dead when there was no sign of it for both together, however it is connected and whether it was let in or not.
//! It is not a timer: the sweep looks. Nor is it socketioxide's, whose one ping, at the start, is held back.

use std::time::Duration;

use crate::connection::ConnectionConfig;

/// The interval and the time limit that socketioxide is told: never. Its own ping would come at the handshake, and its
/// limit count one that still waits behind what a slow client has to read.
pub(super) const ENGINE_INTERVAL: Duration = Duration::from_millis(315_360_000_123);
pub(super) const ENGINE_TIMEOUT: Duration = Duration::from_millis(315_360_000_456);

/// The interval and the time limit that clients are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Advertised {
    interval: Duration,
    timeout: Duration,
}

impl Advertised {
    pub(super) fn of(config: &ConnectionConfig) -> Self {
        Self { interval: config.ping_interval, timeout: config.ping_timeout }
    }

    /// An open packet with the client's times in place of socketioxide's.
    pub(super) fn corrected(self, packet: &[u8]) -> String {
        let text = String::from_utf8_lossy(packet);
        let field = |name: &str, time: Duration| format!(r#""{name}":{}"#, time.as_millis());
        text.replace(&field("pingInterval", ENGINE_INTERVAL), &field("pingInterval", self.interval))
            .replace(&field("pingTimeout", ENGINE_TIMEOUT), &field("pingTimeout", self.timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_packet_tells_the_configured_times() {
        let advertised = Advertised { interval: Duration::from_secs(15), timeout: Duration::from_secs(10) };
        let packet =
            r#"0{"sid":"x","upgrades":[],"pingInterval":315360000123,"pingTimeout":315360000456,"maxPayload":100}"#;
        let told = r#"0{"sid":"x","upgrades":[],"pingInterval":15000,"pingTimeout":10000,"maxPayload":100}"#;
        assert_eq!(advertised.corrected(packet.as_bytes()), told);
    }
}
