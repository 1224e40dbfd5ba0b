//! The heartbeat: this transport pings, and judges who is alive.
//!
//! Guarantees: a client learns the configured interval and time limit; it is pinged after each interval or up to a tenth
//! of it earlier, at a pace of its own, and taken for dead when there was no sign of it for both together, however it is
//! connected and whether it was let in or not.
//! It is not a timer: the sweep looks. Nor is it socketioxide's, whose one ping, at the start, is held back.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

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

/// The part of the interval by which the fastest pace is shorter.
const SPREAD: u32 = 10;

/// How long after now the next ping of a session is due. Those that came together, as a crowd does that comes back,
/// would be pinged together for ever: each has a pace of its own, which follows from its id, and, since the sweep sees
/// to all of a turn at once, some chance beside it.
pub(super) fn pace(sid: &str, now: Duration, interval: Duration) -> Duration {
    let own = part_of(&sid);
    let chance = part_of(&(sid, now));
    let spread = u64::try_from((interval / SPREAD).as_millis()).unwrap_or(u64::MAX).min(1 << 30);
    interval.saturating_sub(Duration::from_millis((spread * (own + chance)) >> 33))
}

/// A number below 2 to the power of 32 that follows from a value.
fn part_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish() >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_that_came_together_is_soon_pinged_one_after_the_other_and_nobody_late() {
        const CROWD: usize = 5000;
        const TURN: u64 = 500;
        let interval = Duration::from_secs(15);
        let next = |n: usize, now: u64| {
            let pace = pace(&format!("AAAAAAAAAAAAAAAA{n:04}"), Duration::from_millis(now), interval);
            assert!((interval * 9 / 10..=interval).contains(&pace), "{pace:?}");
            now + u64::try_from(pace.as_millis()).expect("some seconds")
        };
        // The most pings in one turn of the sweep, in each of ten minutes after all came at once.
        let mut due: Vec<u64> = (0..CROWD).map(|n| next(n, 0)).collect();
        let worst: Vec<usize> = (0..10)
            .map(|minute| {
                let turns = (minute * 60_000 / TURN + 1)..=((minute + 1) * 60_000 / TURN);
                let pings = turns.map(|turn| {
                    let now = turn * TURN;
                    let pinged = due.iter_mut().enumerate().filter(|(_, due)| **due <= now);
                    pinged.map(|(n, due)| *due = next(n, now)).count()
                });
                pings.max().expect("turns")
            })
            .collect();
        let share = CROWD / usize::try_from(15_000 / TURN).expect("a few");
        // Without a spread it would be the whole crowd in each minute.
        assert!(worst[1] < CROWD / 5 && worst[9] < 2 * share, "{worst:?}, and an even share is {share}");
        assert_eq!(pace("x", Duration::ZERO, Duration::ZERO), Duration::ZERO);
        assert!(pace("x", Duration::ZERO, Duration::MAX) > Duration::MAX / 2);
    }

    #[test]
    fn an_open_packet_tells_the_configured_times() {
        let advertised = Advertised { interval: Duration::from_secs(15), timeout: Duration::from_secs(10) };
        let packet =
            r#"0{"sid":"x","upgrades":[],"pingInterval":315360000123,"pingTimeout":315360000456,"maxPayload":100}"#;
        let told = r#"0{"sid":"x","upgrades":[],"pingInterval":15000,"pingTimeout":10000,"maxPayload":100}"#;
        assert_eq!(advertised.corrected(packet.as_bytes()), told);
    }
}
