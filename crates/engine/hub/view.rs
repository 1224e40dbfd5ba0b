//! What operators see of the hub: channels that are live, who is behind and by how much.
//!
//! Guarantees: no socket or connection number leaves the server; figures are of this moment, and no connection
//! is asked for a figure that its channel keeps.
//! It is not a statistic over time: that is `/metrics`.

use std::{collections::BinaryHeap, fmt, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{Channel, Epoch, Result, Seq, UserId, log::ChannelFacts};

use super::{
    Hub,
    channel::{ChannelState, Subscriber},
    subscription::Phase,
};

/// The most subscriptions that are behind of which one channel's view tells.
const MOST_BEHIND: usize = 1000;

/// A channel as it stands.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    /// The channel.
    pub channel: Channel,
    /// The numbering.
    pub epoch: Epoch,
    /// The newest number.
    pub head: Seq,
    /// The oldest kept number; `head + 1` when nothing is kept.
    pub first: Seq,
    /// Live subscriptions.
    pub subscribers: usize,
    /// How many of them are behind.
    pub behind_subscribers: usize,
    /// Messages a second, over the last ten seconds.
    pub messages_per_second: f64,
    /// Who is behind, and by how much: at most 1,000, and only for one channel at a time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<BehindView>,
}

/// A subscription that is behind.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BehindView {
    /// Whose it is.
    pub user_id: UserId,
    /// What it was given last.
    pub seq: Seq,
    /// How many messages it is behind.
    pub lag: u64,
}

/// A channel with subscribers.
pub struct Live<'a> {
    hub: &'a Hub,
    state: Arc<ChannelState>,
}

impl fmt::Debug for Live<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({})", self.state.name)
    }
}

impl Live<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Channel {
        &self.state.name
    }

    /// How it stands.
    #[must_use]
    pub fn view(&self) -> ChannelView {
        self.hub.view(&self.state)
    }
}

/// Channels by name, each ordered when it is its turn: a page of many need not pay for the order of all.
struct ByName(Arc<ChannelState>);

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The first name is the greatest: a heap gives that one out.
        other.0.name.cmp(&self.0.name)
    }
}

impl Hub {
    /// The channels with subscribers whose names come after this one, by name.
    pub fn live(&self, after: Option<&Channel>) -> impl Iterator<Item = Live<'_>> + use<'_> {
        let mut heap: Vec<ByName> = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            let wanted = shard.values().filter(|channel| after.is_none_or(|after| channel.name > *after));
            heap.extend(wanted.filter(|channel| channel.subscriber_count() > 0).cloned().map(ByName));
        }
        let mut heap = BinaryHeap::from(heap);
        std::iter::from_fn(move || heap.pop().map(|ByName(state)| Live { hub: self, state }))
    }

    /// One channel, with who is behind; none if it has no subscribers and was never published to.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    pub async fn channel(&self, channel: &Channel) -> Result<Option<ChannelView>> {
        if let Some(known) = self.known(channel).filter(|known| known.is_loaded() && known.subscriber_count() > 0) {
            let behind = self.who_is_behind(&known);
            return Ok(Some(ChannelView { behind, ..self.view(&known) }));
        }
        Ok(self.log.facts(channel).await?.map(|facts| self.view_of(&facts)))
    }

    /// A channel that was published to, live or not, without who is behind.
    #[must_use]
    pub fn view_of(&self, facts: &ChannelFacts) -> ChannelView {
        let known = self.known(&facts.channel);
        if let Some(live) = known.as_ref().filter(|known| known.is_loaded() && known.subscriber_count() > 0) {
            return self.view(live);
        }
        ChannelView {
            channel: facts.channel.clone(),
            epoch: self.log.epoch(),
            head: facts.head,
            first: facts.first,
            subscribers: 0,
            behind_subscribers: 0,
            messages_per_second: known.map_or(0.0, |known| known.rate(self.clock.monotonic())),
            behind: Vec::new(),
        }
    }

    fn view(&self, channel: &ChannelState) -> ChannelView {
        let standing = channel.standing();
        ChannelView {
            channel: channel.name.clone(),
            epoch: self.log.epoch(),
            head: standing.head,
            first: standing.first,
            subscribers: channel.subscriber_count(),
            behind_subscribers: channel.behind(),
            messages_per_second: channel.rate(self.clock.monotonic()),
            behind: Vec::new(),
        }
    }

    /// Who is behind in a channel, and by how much: asked of connections only while somebody is.
    fn who_is_behind(&self, channel: &ChannelState) -> Vec<BehindView> {
        let (head, wanted) = (channel.standing().head, channel.behind().min(MOST_BEHIND));
        let (mut behind, mut some, mut from) = (Vec::new(), Vec::new(), Some(0));
        while let Some(start) = from.filter(|_| behind.len() < wanted) {
            some.clear();
            from = channel.subscribers(start, 1024, &mut some);
            for Subscriber { connection, key } in &some {
                let mut out = connection.out.lock();
                let known = out.subscriptions.get(*key).filter(|known| known.phase != Phase::Live);
                let Some(seq) = known.map(|known| known.cursor) else { continue };
                drop(out);
                let user_id = connection.principal().user.clone();
                behind.push(BehindView { user_id, seq, lag: head.saturating_sub(seq) });
            }
        }
        behind.truncate(MOST_BEHIND);
        behind
    }
}
