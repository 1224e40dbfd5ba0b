//! What the server says in `message` events: publications and notices.
//!
//! Guarantees: a publication's JSON is kept byte for byte; an unknown notice is passed over.
//! It is not the reaction: see the follower and its cursors.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Position;

/// A message of a channel.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it was published.
    pub channel: String,
    /// What happened.
    pub event_type: String,
    /// Its number; none for an ephemeral message.
    pub seq: Option<u64>,
    /// What its number belongs to; none for an ephemeral message.
    pub epoch: Option<String>,
    /// When it was published, RFC 3339.
    pub time: String,
    /// The whole message, as it came.
    pub json: Box<RawValue>,
}

impl Message {
    /// The message's data, as it came.
    #[must_use]
    pub fn data(&self) -> &str {
        serde_json::from_str::<Body<'_>>(self.json.get()).map_or("null", |body| body.data.get())
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

pub(super) enum Notice {
    Message(Message),
    Channel(String, Change),
    Expiring,
    Draining { reconnect_after_ms: u64 },
    Closing(Closing),
    Other,
}

/// What became of a subscription.
#[derive(Debug)]
pub(super) enum Change {
    Snapshot { position: Position, reason: String, snapshot: Box<RawValue> },
    Gap { epoch: String, from: u64, to: u64, reason: String },
    Reset { position: Position, reason: String },
    Stands { position: Position, live: bool },
    Closed { code: String, message: String },
}

/// How the server ends the connection.
#[derive(Debug, Deserialize)]
pub(super) struct Closing {
    pub(super) code: String,
    pub(super) message: String,
    #[serde(default)]
    pub(super) retry: bool,
}

#[derive(Deserialize)]
struct Head<'a> {
    r#type: String,
    channel: Option<String>,
    seq: Option<u64>,
    time: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct SnapshotData {
    channel: String,
    #[serde(flatten)]
    position: Position,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct SnapshotBody {
    snapshot: Box<RawValue>,
}

#[derive(Deserialize)]
struct GapData {
    channel: String,
    epoch: String,
    from: u64,
    to: u64,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct PositionData {
    channel: String,
    epoch: String,
    seq: u64,
    live: bool,
}

#[derive(Deserialize)]
struct ClosedData {
    channel: String,
    code: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DrainingData {
    #[serde(default)]
    reconnect_after_ms: u64,
}

/// Reads the argument of a `message` event.
pub(super) fn read(json: Box<RawValue>) -> serde_json::Result<Notice> {
    let head: Head<'_> = serde_json::from_str(json.get())?;
    let data = head.data.get();
    match head.r#type.as_str() {
        "channel.snapshot" => {
            // Apart, because a raw value cannot stand beside flattened fields.
            let SnapshotData { channel, position, reason } = serde_json::from_str(data)?;
            let SnapshotBody { snapshot } = serde_json::from_str(data)?;
            Ok(Notice::Channel(channel, Change::Snapshot { position, reason, snapshot }))
        }
        "channel.gap" => {
            let GapData { channel, epoch, from, to, reason } = serde_json::from_str(data)?;
            Ok(Notice::Channel(channel, Change::Gap { epoch, from, to, reason }))
        }
        "channel.reset" => {
            let SnapshotData { channel, position, reason } = serde_json::from_str(data)?;
            Ok(Notice::Channel(channel, Change::Reset { position, reason }))
        }
        "channel.position" => {
            let PositionData { channel, epoch, seq, live } = serde_json::from_str(data)?;
            Ok(Notice::Channel(channel, Change::Stands { position: Position { epoch, seq }, live }))
        }
        "channel.closed" => {
            let ClosedData { channel, code, message } = serde_json::from_str(data)?;
            Ok(Notice::Channel(channel, Change::Closed { code, message }))
        }
        "auth.expiring" => Ok(Notice::Expiring),
        "server.draining" => {
            let DrainingData { reconnect_after_ms } = serde_json::from_str(data)?;
            Ok(Notice::Draining { reconnect_after_ms })
        }
        "connection.closed" => Ok(Notice::Closing(serde_json::from_str(data)?)),
        _ => {
            let Head { r#type: event_type, channel, seq, time, .. } = head;
            let Some(channel) = channel else { return Ok(Notice::Other) };
            let time = time.unwrap_or_default();
            Ok(Notice::Message(Message { channel, event_type, seq, epoch: None, time, json }))
        }
    }
}
