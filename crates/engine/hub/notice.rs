//! Notices: what the server itself says on a connection, as messages of reserved types.
//!
//! Guarantees: each has the envelope of a message and no `seq`; no producer can make one.
//! It is not a message: nothing of it is in the log.

use serde::Serialize;
use serde_json::value::RawValue;
use tidings_core::{
    Channel, Code, Epoch, Seq, Timestamp,
    outlet::{Ending, Said},
};

use super::subscription::Unrecovered;

/// A notice of the server to one connection.
#[derive(Debug)]
pub enum Notice<'a> {
    /// First on every connection.
    Hello(Box<RawValue>),
    /// A channel's state as of exactly `seq`.
    Snapshot {
        /// The channel.
        channel: &'a Channel,
        /// Its epoch.
        epoch: &'a Epoch,
        /// What the state includes.
        seq: Seq,
        /// Why it comes.
        reason: &'a str,
        /// The state.
        snapshot: &'a RawValue,
    },
    /// These positions will not come on this subscription.
    Gap {
        /// The channel.
        channel: &'a Channel,
        /// Its epoch.
        epoch: &'a Epoch,
        /// The first that will not come.
        from: Seq,
        /// The last that will not come.
        to: Seq,
        /// Why.
        reason: &'a str,
    },
    /// The numbering is another one; live goes on after `seq`.
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
    Closed {
        /// The channel.
        channel: &'a Channel,
        /// Why.
        code: Code,
        /// For people.
        message: &'a str,
    },
    /// The token ends soon.
    Expiring(Timestamp),
    /// The server is stopping.
    Draining {
        /// When to come back.
        reconnect_after_ms: u64,
    },
    /// Last on a connection that the server ends.
    ConnectionClosed(&'a Ending),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a Channel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reconnect_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'a RawValue>,
}

const NONE: Data<'static> = Data {
    channel: None,
    epoch: None,
    from: None,
    to: None,
    seq: None,
    head: None,
    live: None,
    code: None,
    message: None,
    retry: None,
    reason: None,
    expires_at: None,
    reconnect_after_ms: None,
    snapshot: None,
};

impl Notice<'_> {
    /// The notice as it is said. One that is about a channel carries it in the envelope too.
    #[must_use]
    pub fn said(&self, now: Timestamp) -> Said {
        let (event_type, channel, data) = self.parts();
        Said::notice(envelope(event_type, channel, now, &data))
    }

    fn parts(&self) -> (&'static str, Option<&Channel>, Box<RawValue>) {
        let data = match self {
            Notice::Hello(data) => return ("server.hello", None, data.clone()),
            Notice::Snapshot { channel, epoch, seq, reason, snapshot } => Data {
                channel: Some(channel),
                epoch: Some(epoch),
                seq: Some(*seq),
                reason: Some(reason),
                snapshot: Some(snapshot),
                ..NONE
            },
            Notice::Gap { channel, epoch, from, to, reason } => Data {
                channel: Some(channel),
                epoch: Some(epoch),
                from: Some(*from),
                to: Some(*to),
                reason: Some(reason),
                ..NONE
            },
            Notice::Reset { channel, epoch, seq, reason } => {
                let reason = match reason {
                    Unrecovered::Trimmed => "trimmed",
                    Unrecovered::Epoch => "epoch",
                    Unrecovered::Future => "future",
                };
                Data { channel: Some(channel), epoch: Some(epoch), seq: Some(*seq), reason: Some(reason), ..NONE }
            }
            Notice::Position { channel, epoch, seq, head, live } => Data {
                channel: Some(channel),
                epoch: Some(epoch),
                seq: Some(*seq),
                head: Some(*head),
                live: Some(*live),
                ..NONE
            },
            Notice::Closed { channel, code, message } => {
                Data { channel: Some(channel), code: Some(*code), message: Some(message), ..NONE }
            }
            Notice::Expiring(expires_at) => Data { expires_at: Some(*expires_at), ..NONE },
            Notice::Draining { reconnect_after_ms } => Data { reconnect_after_ms: Some(*reconnect_after_ms), ..NONE },
            Notice::ConnectionClosed(ending) => {
                Data { code: Some(ending.code), message: Some(&ending.message), retry: Some(ending.retry), ..NONE }
            }
        };
        let json = serde_json::value::to_raw_value(&data).expect("a notice serialises");
        (self.event_type(), data.channel, json)
    }

    fn event_type(&self) -> &'static str {
        match self {
            Notice::Hello(_) => "server.hello",
            Notice::Snapshot { .. } => "channel.snapshot",
            Notice::Gap { .. } => "channel.gap",
            Notice::Reset { .. } => "channel.reset",
            Notice::Position { .. } => "channel.position",
            Notice::Closed { .. } => "channel.closed",
            Notice::Expiring(_) => "auth.expiring",
            Notice::Draining { .. } => "server.draining",
            Notice::ConnectionClosed(_) => "connection.closed",
        }
    }
}

fn envelope(event_type: &'static str, channel: Option<&Channel>, now: Timestamp, data: &RawValue) -> String {
    #[derive(Serialize)]
    struct Envelope<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a Channel>,
        time: Timestamp,
        data: &'a RawValue,
    }
    serde_json::to_string(&Envelope { r#type: event_type, channel, time: now, data }).expect("a notice serialises")
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
            r#"{"type":"channel.gap","channel":"session:1","time":"1970-01-01T00:00:00.000Z","data":{"channel":"session:1","epoch":"e","from":3,"to":5,"reason":"trimmed"}}"#
        );
    }
}
