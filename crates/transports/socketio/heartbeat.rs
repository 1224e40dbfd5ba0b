//! The heartbeat: socketioxide pings, and this transport judges who is alive.
//!
//! Guarantees: a client learns the configured interval and time limit; it is taken for dead when
//! there was no sign of it for both together, however it is connected.
//! It is not a timer: the sweep looks.

use std::{borrow::Cow, time::Duration};

/// The time limit that socketioxide is told. Its own would count a ping that still waits behind what
/// a slow client has to read; a client that reads is alive.
pub(super) const ENGINE_TIMEOUT: Duration = Duration::from_millis(86_400_123);

/// The time limit that clients are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Advertised(pub(super) Duration);

impl Advertised {
    /// An open packet with the client's time limit in place of socketioxide's.
    pub(super) fn corrected(self, packet: &[u8]) -> String {
        let text = String::from_utf8_lossy(packet);
        let field = |limit: Duration| format!(r#""pingTimeout":{}"#, limit.as_millis());
        text.replace(&field(ENGINE_TIMEOUT), &field(self.0))
    }

    /// The same for the body of a response.
    pub(super) fn corrected_body(self, body: &[u8]) -> Cow<'_, [u8]> {
        if body.starts_with(b"0{") { self.corrected(body).into_bytes().into() } else { body.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_packet_tells_the_configured_time_limit() {
        let advertised = Advertised(Duration::from_secs(10));
        let packet = r#"0{"sid":"x","upgrades":[],"pingInterval":15000,"pingTimeout":86400123,"maxPayload":100}"#;
        let told = r#"0{"sid":"x","upgrades":[],"pingInterval":15000,"pingTimeout":10000,"maxPayload":100}"#;
        assert_eq!(advertised.corrected(packet.as_bytes()), told);
        assert_eq!(&*advertised.corrected_body(packet.as_bytes()), told.as_bytes());
        assert_eq!(&*advertised.corrected_body(b"ok"), b"ok");
    }
}
