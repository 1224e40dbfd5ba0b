//! A subscription: what was asked, and where it stands.
//!
//! Guarantees: a request is parsed whole before anything happens; the table of protocol.md,
//! section 3, is decided in one place ([`Plan::of`]).
//! It is not the delivery: `fanout` and `drain` move its cursor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::{Channel, Code, Epoch, Error, Message, Position, Result, Seq, refusal};

use super::{
    channel::{ChannelState, Standing, Tick},
    filter::Filter,
};
use crate::budget::Held;

/// The most subscriptions one request may ask for.
pub const MAX_BATCH: usize = 100;
/// The most patterns and fields of a filter.
const MAX_FILTER_PARTS: usize = 32;
/// The most bytes of a filter, as JSON.
const MAX_FILTER_BYTES: usize = 16 * 1024;

/// A position to go on from. A seq above 0 needs its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// The numbering that `seq` is of.
    #[serde(default)]
    pub epoch: Option<Epoch>,
    /// The last message that the client has; 0 for none.
    pub seq: Seq,
}

/// When to skip ahead instead of catching up. Absent parts do not limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxLag {
    /// Skip when more than so many messages behind.
    #[serde(default)]
    pub messages: Option<u64>,
    /// Skip when more than about so many bytes of data behind.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// What a client asks for one channel.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscribeRequest {
    /// The channel.
    pub channel: Channel,
    /// Go on from here.
    #[serde(default)]
    pub since: Option<Since>,
    /// The newest so many messages first.
    #[serde(default)]
    pub last: Option<u64>,
    /// The state first.
    #[serde(default)]
    pub snapshot: bool,
    /// Only what passes.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// Skip ahead when too far behind.
    #[serde(default)]
    pub max_lag: Option<MaxLag>,
    /// How long the filter is as JSON: what it is counted with.
    #[serde(skip)]
    pub filter_bytes: usize,
}

impl SubscribeRequest {
    /// A request for one channel and nothing else.
    #[must_use]
    pub fn plain(channel: Channel) -> Self {
        Self { channel, since: None, last: None, snapshot: false, filter: None, max_lag: None, filter_bytes: 0 }
    }

    /// Parses one request: a channel's name, or an object.
    ///
    /// # Errors
    /// `invalid_channel`; `invalid_data` with the field; `too_large` for a filter; `bad_request` for what is no request.
    pub fn parse(value: &Value) -> Result<Self> {
        let request = match value {
            Value::String(name) => Self::plain(name.parse()?),
            Value::Object(fields) => {
                // The name first: its own error says more than a failed field.
                let name = fields.get("channel").and_then(Value::as_str);
                name.ok_or_else(|| Error::invalid_field("channel", "is missing, or no text"))?.parse::<Channel>()?;
                // It is kept as long as the subscription, of which a connection may have many.
                let bytes = fields.get("filter").map_or(0, |filter| filter.to_string().len());
                if bytes > MAX_FILTER_BYTES {
                    return Err(Error::new(Code::TooLarge, "subscribe: a filter has at most 16 KiB"));
                }
                let request: Self = refusal::read(&value.to_string())?;
                Self { filter_bytes: bytes, ..request }
            }
            _ => return Err(Error::bad_request("subscribe takes a channel, an object, or an array of them")),
        };
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<()> {
        if let Some(since) = &self.since {
            if since.seq > 0 && since.epoch.is_none() {
                return Err(Error::invalid_field("since.epoch", "is missing: a seq above 0 needs it"));
            }
            if self.last.is_some() {
                return Err(Error::invalid_field("last", "excludes since"));
            }
        }
        if let Some(filter) = &self.filter {
            let patterns = filter.types.as_deref().unwrap_or_default();
            if let Some(pattern) = patterns.iter().find(|pattern| pattern.as_str().contains(':')) {
                let why = format!("'{pattern}' is over channels; event types have dots");
                return Err(Error::invalid_field("filter.types", why));
            }
            let types = patterns.len();
            let conditions = filter.conditions.as_ref();
            if types + conditions.map_or(0, BTreeMap::len) > MAX_FILTER_PARTS {
                return Err(Error::invalid_field("filter", "has at most 32 types and fields"));
            }
            let simple = |value: &Value| !value.is_object() && !value.is_array();
            let fine = |value: &Value| match value {
                Value::Array(several) => several.len() <= MAX_FILTER_PARTS && several.iter().all(simple),
                one => simple(one),
            };
            if !conditions.is_none_or(|conditions| conditions.values().all(fine)) {
                return Err(Error::invalid_field("filter.where", "compares a field with a value or up to 32 values"));
            }
        }
        Ok(())
    }

    /// Whether a repeat of this request keeps the running subscription as it is.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.since.is_none()
            && self.last == other.last
            && self.snapshot == other.snapshot
            && self.filter == other.filter
            && self.max_lag == other.max_lag
    }
}

/// Why a position could not be gone on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "NotRecovered")]
pub enum Unrecovered {
    /// The log has trimmed what came after it.
    Trimmed,
    /// It is of another numbering.
    Epoch,
    /// It is beyond the head.
    Future,
}

/// The answer to a subscribe request.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Subscribed")]
pub struct Outcome {
    /// That all is well.
    #[schemars(extend("const" = true))]
    ok: bool,
    /// The channel.
    pub channel: Channel,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its head at the moment of attaching.
    pub seq: Seq,
    /// Whether it exists: something durable was published to it, ever. One that does not may begin later.
    pub exists: bool,
    /// Whether a `channel.snapshot` comes now, before what is live.
    pub snapshot: bool,
    /// Whether everything after `since` is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Unrecovered>,
    /// The first kept number, where `reason` is `trimmed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Seq>,
    /// The position that it starts from: what it is given first comes after this. None where a state or a reset is
    /// given first, which says the position, or where the start is still to be found. Not a part of the answer.
    #[serde(skip)]
    pub from: Option<Position>,
}

/// What is owed to a subscription before it goes on from its cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    /// Nothing.
    Nothing,
    /// Find where the newest n that pass begin, not above this head; then perhaps a snapshot.
    Last { count: u64, head: Seq, snapshot: bool },
    /// History up to the state's seq, then the state.
    SnapshotAfterHistory,
    /// The state, for this reason.
    Snapshot(&'static str),
    /// A notice that numbering goes on after the cursor.
    Reset(Unrecovered),
}

/// How a subscription begins.
pub(super) struct Plan {
    pub(super) outcome: Outcome,
    pub(super) cursor: Seq,
    pub(super) owed: Owed,
}

impl Plan {
    /// The table of protocol.md, section 3: what a request gets where a channel stands like this.
    pub(super) fn of(request: &SubscribeRequest, at: Standing, epoch: &Epoch, has_state: bool) -> Self {
        let outcome = Outcome {
            ok: true,
            channel: request.channel.clone(),
            epoch: epoch.clone(),
            seq: at.head,
            exists: at.head > 0,
            snapshot: false,
            recovered: None,
            reason: None,
            first: None,
            from: None,
        };
        // What nothing was published to has no state. It is followed from its first message on instead.
        let snapshot = request.snapshot && has_state && at.head > 0;
        let plan = Self { outcome, cursor: at.head, owed: Owed::Nothing };
        let plan = match (&request.since, request.last) {
            (Some(since), _) => plan.since(since, at, epoch, snapshot),
            (None, Some(count)) => {
                let plain = request.filter.is_none();
                let cursor =
                    if plain { at.head.saturating_sub(count).max(at.first.saturating_sub(1)) } else { at.head };
                let owed = match (plain, snapshot) {
                    (true, false) => Owed::Nothing,
                    (true, true) => Owed::SnapshotAfterHistory,
                    (false, snapshot) => Owed::Last { count, head: at.head, snapshot },
                };
                Self { cursor, owed, ..plan }
            }
            (None, None) if snapshot => Self { owed: Owed::Snapshot("joined"), ..plan },
            (None, None) => plan,
        };
        plan.announced().placed()
    }

    /// The same, with an answer that says whether a snapshot comes.
    fn announced(mut self) -> Self {
        self.outcome.snapshot = match self.owed {
            Owed::Snapshot(_) | Owed::SnapshotAfterHistory => true,
            Owed::Last { snapshot, .. } => snapshot,
            Owed::Nothing | Owed::Reset(_) => false,
        };
        self
    }

    /// With the position that is known now.
    pub(super) fn placed(mut self) -> Self {
        let is_known = self.owed == Owed::Nothing;
        self.outcome.from = is_known.then(|| Position { epoch: self.outcome.epoch.clone(), seq: self.cursor });
        self
    }

    fn since(mut self, since: &Since, at: Standing, epoch: &Epoch, snapshot: bool) -> Self {
        let foreign = since.seq > 0 && since.epoch.as_ref() != Some(epoch);
        let reason = if foreign {
            Some(Unrecovered::Epoch)
        } else if since.seq > at.head {
            Some(Unrecovered::Future)
        } else if since.seq + 1 < at.first {
            Some(Unrecovered::Trimmed)
        } else {
            None
        };
        self.outcome.recovered = Some(reason.is_none());
        self.outcome.reason = reason;
        let Some(reason) = reason else {
            self.cursor = since.seq;
            return self;
        };
        match (reason, snapshot) {
            (_, true) => self.owed = Owed::Snapshot("not_recovered"),
            // The reading itself meets the hole and tells it.
            (Unrecovered::Trimmed, false) => self.cursor = since.seq,
            (other, false) => self.owed = Owed::Reset(other),
        }
        if reason == Unrecovered::Trimmed {
            self.outcome.first = Some(at.first);
        }
        self
    }
}

/// Whether new messages are written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// At the head: the fan-out writes.
    Live,
    /// Reads on from its cursor: the connection's drain writes.
    Behind,
    /// Whether it may be read is being found out: nobody writes, and its cursor stands still. With the
    /// number of the newest reason to find that out.
    Held(u64),
}

/// A subscription of a connection. It lives under the connection's lock.
pub(super) struct Subscription {
    pub(super) id: u64,
    pub(super) channel: Arc<ChannelState>,
    pub(super) slot: usize,
    pub(super) request: SubscribeRequest,
    pub(super) cursor: Seq,
    pub(super) tick: Tick,
    /// How many ephemeral messages the channel had had at that tick.
    pub(super) ephemeral: u64,
    pub(super) phase: Phase,
    pub(super) owed: Owed,
    /// Ephemeral messages lost since the last one that was written.
    pub(super) dropped: u64,
    /// When its position was last told.
    pub(super) told_at: Duration,
    /// It has not been at the head yet.
    pub(super) initial: bool,
    /// The bytes of its filter, for its user.
    pub(super) _held: Option<Held>,
}

impl Subscription {
    pub(super) fn passes(&self, message: &Message) -> bool {
        self.request.filter.as_ref().is_none_or(|filter| filter.passes(message))
    }

    /// Whether it is further behind than it wants to be.
    pub(super) fn lags(&self, head: Seq) -> bool {
        let Some(limit) = self.request.max_lag else { return false };
        let messages = head.saturating_sub(self.cursor);
        limit.messages.is_some_and(|most| messages > most)
            || limit.bytes.is_some_and(|most| messages > 0 && self.channel.bytes_after(self.cursor) > most)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(value: &Value) -> SubscribeRequest {
        SubscribeRequest::parse(value).expect("a request")
    }

    fn plan(value: &Value, head: Seq, first: Seq, has_state: bool) -> (Value, Seq, Owed, Option<Seq>) {
        let epoch = Epoch("e1".into());
        let plan = Plan::of(&request(value), Standing { head, first, tick: 0, ephemeral: 0 }, &epoch, has_state);
        let from = plan.outcome.from.as_ref().map(|from| from.seq);
        (serde_json::to_value(&plan.outcome).expect("serialises"), plan.cursor, plan.owed, from)
    }

    #[test]
    fn every_row_of_the_table_begins_as_the_protocol_says() {
        let answer = |more: Value| {
            let mut base = json!({"ok": true, "channel": "session:1", "epoch": "e1", "seq": 10, "exists": true, "snapshot": false});
            base.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            base
        };
        let with = |more: Value| {
            let mut base = json!({"channel": "session:1"});
            base.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            base
        };
        let since = |seq: u64, epoch: &str| json!({"since": {"seq": seq, "epoch": epoch}});
        let lost = |reason: &str| json!({"recovered": false, "reason": reason});
        let table = [
            (json!({}), 1, true, json!({}), 10, Owed::Nothing),
            (since(4, "e1"), 1, true, json!({"recovered": true}), 4, Owed::Nothing),
            (since(10, "e1"), 1, true, json!({"recovered": true}), 10, Owed::Nothing),
            (json!({"since": {"seq": 0}}), 1, true, json!({"recovered": true}), 0, Owed::Nothing),
            (
                json!({"since": {"seq": 0}}),
                3,
                true,
                json!({"recovered": false, "reason": "trimmed", "first": 3}),
                0,
                Owed::Nothing,
            ),
            (since(4, "e1"), 6, true, json!({"recovered": false, "reason": "trimmed", "first": 6}), 4, Owed::Nothing),
            (since(5, "e1"), 6, true, json!({"recovered": true}), 5, Owed::Nothing),
            (since(4, "e0"), 1, true, lost("epoch"), 10, Owed::Reset(Unrecovered::Epoch)),
            (since(11, "e1"), 1, true, lost("future"), 10, Owed::Reset(Unrecovered::Future)),
            (json!({"last": 3}), 1, true, json!({}), 7, Owed::Nothing),
            (json!({"last": 30}), 4, true, json!({}), 3, Owed::Nothing),
            (json!({"snapshot": true}), 1, true, json!({"snapshot": true}), 10, Owed::Snapshot("joined")),
            (json!({"snapshot": true}), 1, false, json!({}), 10, Owed::Nothing),
            (json!({"snapshot": true, "last": 2}), 1, true, json!({"snapshot": true}), 8, Owed::SnapshotAfterHistory),
            (
                json!({"snapshot": true, "since": {"seq": 4, "epoch": "e1"}}),
                1,
                true,
                json!({"recovered": true}),
                4,
                Owed::Nothing,
            ),
            (
                json!({"snapshot": true, "since": {"seq": 4, "epoch": "e0"}}),
                1,
                true,
                json!({"recovered": false, "reason": "epoch", "snapshot": true}),
                10,
                Owed::Snapshot("not_recovered"),
            ),
            (
                json!({"snapshot": true, "last": 2, "filter": {"types": ["a.b"]}}),
                1,
                true,
                json!({"snapshot": true}),
                10,
                Owed::Last { count: 2, head: 10, snapshot: true },
            ),
        ];
        for (asked, first, has_state, outcome, cursor, owed) in table {
            let (got, at, owes, from) = plan(&with(asked.clone()), 10, first, has_state);
            assert_eq!((got, at, owes), (answer(outcome), cursor, owed), "{asked}");
            assert_eq!(from, (owed == Owed::Nothing).then_some(cursor), "{asked}");
        }
    }

    #[test]
    fn a_channel_that_nothing_was_published_to_does_not_exist_and_has_no_snapshot_to_come() {
        for more in [json!({}), json!({"snapshot": true}), json!({"snapshot": true, "last": 2})] {
            let mut asked = json!({"channel": "session:1"});
            asked.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            let (outcome, cursor, owed, _) = plan(&asked, 0, 1, true);
            assert_eq!((&outcome["exists"], &outcome["snapshot"]), (&json!(false), &json!(false)), "{more}");
            assert_eq!((cursor, owed), (0, Owed::Nothing), "{more}");
        }
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let asked = request(
            &json!({"channel": "session:1", "since": {"seq": 3.0, "epoch": "e1"}, "maxLag": {"messages": 1e2}}),
        );
        assert_eq!(asked.since.map(|since| since.seq), Some(3));
        assert_eq!(asked.max_lag.and_then(|lag| lag.messages), Some(100));
    }

    #[test]
    fn bad_requests_are_refused_with_the_field_and_the_reason() {
        let long = "x".repeat(MAX_FILTER_BYTES);
        let with = |name: &str, value: serde_json::Value| json!({ "channel": "session:1", name: value });
        let table = [
            (with("filter", json!({"where": {"a": long}})), Code::TooLarge, ""),
            (with("filter", json!({"where": {(long.clone()): 1}})), Code::TooLarge, ""),
            (json!(7), Code::BadRequest, ""),
            (json!("session.1"), Code::InvalidChannel, "channel"),
            (json!({"channel": 7}), Code::InvalidData, "channel"),
            (json!({"last": 7}), Code::InvalidData, "channel"),
            (with("sincee", json!({"seq": 0})), Code::InvalidData, "sincee"),
            (with("since", json!({"seq": 3})), Code::InvalidData, "since.epoch"),
            (with("since", json!({"seq": -1})), Code::InvalidData, "since.seq"),
            (with("since", json!({"seq": 0, "epoche": "e"})), Code::InvalidData, "since.epoche"),
            (json!({"channel": "session:1", "since": {"seq": 0}, "last": 1}), Code::InvalidData, "last"),
            (with("last", json!(-1)), Code::InvalidData, "last"),
            (with("snapshot", json!("yes")), Code::InvalidData, "snapshot"),
            (with("filter", json!({"where": {"a": {"b": 1}}})), Code::InvalidData, "filter.where"),
            (with("filter", json!({"types": ["a:b.c"]})), Code::InvalidData, "filter.types[0]"),
            (with("filter", json!({"types": ["session:*"]})), Code::InvalidData, "filter.types"),
        ];
        for (value, code, field) in table {
            let error = SubscribeRequest::parse(&value).expect_err("refused");
            let named = error.fields().keys().next().map_or("", String::as_str);
            assert_eq!((error.code(), named), (code, field), "{value}");
        }
    }
}
