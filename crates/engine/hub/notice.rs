//! Notices: what the server itself says on a connection, as messages of reserved types.
//!
//! Guarantees: each has the envelope of a message and no `seq`; no producer can make one.
//! It is not a message: nothing of it is in the log.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use tidings_core::{
    Channel, Code, Epoch, Grant, Position, Seq, Timestamp, UserId,
    outlet::{Ending, Reached, Said},
    principal::Role,
};

use super::subscription::Unrecovered;

/// A notice of the server to one connection. Its JSON has the type and the data of the message.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all_fields = "camelCase")]
pub enum Notice<'a> {
    /// First on every connection: who it is, what it may, and how much.
    #[serde(rename = "server.hello")]
    Hello(Box<Hello>),
    /// A channel's state as of exactly `seq`, in place of all that was known of it.
    #[serde(rename = "channel.snapshot")]
    Snapshot {
        /// The channel.
        channel: &'a Channel,
        /// Its epoch.
        epoch: &'a Epoch,
        /// What the state includes; messages go on with the next number.
        seq: Seq,
        /// Why it comes: `joined`, `not_recovered`, `gap`, `reset` or `lag`.
        reason: &'a str,
        /// The state.
        snapshot: &'a RawValue,
    },
    /// These numbers will not come on this subscription.
    #[serde(rename = "channel.gap")]
    Gap {
        /// The channel.
        channel: &'a Channel,
        /// Its epoch.
        epoch: &'a Epoch,
        /// The first that will not come.
        from: Seq,
        /// The last that will not come.
        to: Seq,
        /// Why: `trimmed` or `lag`.
        reason: &'a str,
    },
    /// The numbering is another one; live goes on after `seq`.
    #[serde(rename = "channel.reset")]
    Reset {
        /// The channel.
        channel: &'a Channel,
        /// Its epoch.
        epoch: &'a Epoch,
        /// Live goes on after this.
        seq: Seq,
        /// Why.
        reason: Unrecovered,
    },
    /// Where the subscription stands.
    #[serde(rename = "channel.position")]
    Position {
        /// The channel.
        channel: &'a Channel,
        /// Its epoch.
        epoch: &'a Epoch,
        /// What it was given, or moved past.
        seq: Seq,
        /// The channel's head.
        head: Seq,
        /// Whether it is at the head.
        live: bool,
    },
    /// The server ended the subscription.
    #[serde(rename = "channel.closed")]
    Closed {
        /// The channel.
        channel: &'a Channel,
        /// Why.
        code: Code,
        /// For people.
        message: &'a str,
    },
    /// The token ends soon: send `auth.refresh`.
    #[serde(rename = "auth.expiring")]
    Expiring {
        /// When it ends.
        expires_at: Timestamp,
    },
    /// The server is stopping.
    #[serde(rename = "server.draining")]
    Draining {
        /// How many milliseconds from now to come back, once the stop is over; another number for each client.
        reconnect_after_ms: u64,
    },
    /// Last on a connection that the server ends.
    #[serde(rename = "connection.closed")]
    ConnectionClosed(&'a Ending),
}

/// The first word on a connection. Nothing in it is secret.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The version of the protocol.
    pub protocol: u32,
    /// The version of the server.
    pub version: &'static str,
    /// The server's time.
    pub time: Timestamp,
    /// Who the connection is of.
    pub user: HelloUser,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// How much it may.
    pub limits: HelloLimits,
    /// The time between pings, in milliseconds.
    pub ping_interval_ms: u64,
}

/// Who a connection is of.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HelloUser {
    /// The user.
    pub id: UserId,
    /// Its roles.
    pub roles: Vec<Role>,
}

/// How much a connection may.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloLimits {
    /// The largest data of a message, in bytes.
    pub max_message_bytes: usize,
    /// The most channels that it may follow.
    pub max_subscriptions: usize,
    /// How many events it may send at once before it is slowed down.
    pub rate_burst: u32,
    /// How many a second after that.
    pub rate_per_second: u32,
}

/// A notice with what every message has.
#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a Channel>,
    time: Timestamp,
    #[serde(flatten)]
    notice: &'a Notice<'a>,
}

impl Notice<'_> {
    /// The notice as it is said. One that is about a channel carries it in the envelope too.
    ///
    /// # Panics
    /// Never: every notice serialises.
    #[must_use]
    pub fn said(&self, now: Timestamp) -> Said {
        let envelope = Envelope { channel: self.channel(), time: now, notice: self };
        let said = Said::notice(serde_json::to_string(&envelope).expect("a notice serialises"));
        Said { reaches: self.reaches().map(Box::new), ..said }
    }

    /// Where whoever has the notice stands in its channel.
    fn reaches(&self) -> Option<Reached> {
        match self {
            Self::Snapshot { channel, epoch, seq, .. }
            | Self::Reset { channel, epoch, seq, .. }
            | Self::Position { channel, epoch, seq, .. }
            | Self::Gap { channel, epoch, to: seq, .. } => {
                let position = Position { epoch: (*epoch).clone(), seq: *seq };
                Some(Reached { channel: (*channel).clone(), position })
            }
            Self::Closed { .. }
            | Self::Hello(_)
            | Self::Expiring { .. }
            | Self::Draining { .. }
            | Self::ConnectionClosed(_) => None,
        }
    }

    fn channel(&self) -> Option<&Channel> {
        match self {
            Self::Snapshot { channel, .. }
            | Self::Gap { channel, .. }
            | Self::Reset { channel, .. }
            | Self::Position { channel, .. }
            | Self::Closed { channel, .. } => Some(channel),
            Self::Hello(_) | Self::Expiring { .. } | Self::Draining { .. } | Self::ConnectionClosed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_a_message_without_seq_that_names_its_channel_twice() {
        let channel: Channel = "session:1".parse().expect("a channel");
        let epoch = Epoch("e".into());
        let notice = Notice::Gap { channel: &channel, epoch: &epoch, from: 3, to: 5, reason: "trimmed" };
        let said = notice.said(Timestamp(0));
        assert_eq!(
            std::str::from_utf8(&said.json).expect("UTF-8"),
            r#"{"channel":"session:1","time":"1970-01-01T00:00:00.000Z","type":"channel.gap","data":{"channel":"session:1","epoch":"e","from":3,"to":5,"reason":"trimmed"}}"#
        );
    }

    #[test]
    fn a_notice_that_moves_a_subscription_carries_the_position_that_it_reaches() {
        let (channel, epoch): (Channel, _) = ("session:1".parse().expect("a channel"), Epoch("e".into()));
        let (channel, epoch) = (&channel, &epoch);
        let state: &RawValue = serde_json::from_str("{}").expect("JSON");
        let reached = |notice: &Notice<'_>| {
            let said = notice.said(Timestamp(0));
            said.reaches.map(|reached| (reached.channel, reached.position))
        };
        let moving = [
            (Notice::Snapshot { channel, epoch, seq: 7, reason: "joined", snapshot: state }, 7),
            (Notice::Gap { channel, epoch, from: 3, to: 5, reason: "lag" }, 5),
            (Notice::Reset { channel, epoch, seq: 9, reason: Unrecovered::Epoch }, 9),
            (Notice::Position { channel, epoch, seq: 2, head: 8, live: false }, 2),
        ];
        for (notice, seq) in moving {
            let expected = Some((channel.clone(), Position { epoch: epoch.clone(), seq }));
            assert_eq!(reached(&notice), expected, "{notice:?}");
        }
        assert_eq!(reached(&Notice::Closed { channel, code: Code::NotFound, message: "gone" }), None);
        assert_eq!(reached(&Notice::Draining { reconnect_after_ms: 1 }), None);
    }
}
