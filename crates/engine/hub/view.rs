//! What operators see of the hub: channels that are live, who is behind and by how much.
//!
//! Guarantees: no socket or connection number leaves the server; figures are of this moment.
//! It is not a statistic over time: that is `/metrics`.

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{Channel, Epoch, Result, Seq, UserId};

use super::{Hub, channel::ChannelState, subscription::Phase};

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
    /// Who is behind, and by how much; only for one channel at a time.
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

impl Hub {
    /// The channels with subscribers, by name.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelView> {
        let live = self.in_memory().into_iter().filter(|channel| channel.subscriber_count() > 0);
        live.map(|channel| {
            let mut view = self.view(&channel);
            view.behind.clear();
            view
        })
        .collect()
    }

    /// One channel, with who is behind; none if it has no subscribers and was never published to.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    pub async fn channel(&self, channel: &Channel) -> Result<Option<ChannelView>> {
        if let Some(known) = self.known(channel).filter(|known| known.is_loaded() && known.subscriber_count() > 0) {
            return Ok(Some(self.view(&known)));
        }
        let Some(facts) = self.log.facts(channel).await? else { return Ok(None) };
        Ok(Some(ChannelView {
            channel: channel.clone(),
            epoch: self.log.epoch(),
            head: facts.head,
            first: facts.first,
            subscribers: 0,
            behind_subscribers: 0,
            messages_per_second: self.known(channel).map_or(0.0, |known| known.rate(self.clock.monotonic())),
            behind: Vec::new(),
        }))
    }

    fn view(&self, channel: &ChannelState) -> ChannelView {
        let standing = channel.standing();
        let mut subscribers = Vec::new();
        let mut from = Some(0);
        while let Some(start) = from {
            from = channel.subscribers(start, 1024, &mut subscribers);
        }
        let mut behind = Vec::new();
        for subscriber in &subscribers {
            let user_id = subscriber.connection.principal().user.clone();
            let mut out = subscriber.connection.out.lock();
            if let Some(known) = out.subscriptions.get(subscriber.key)
                && known.phase != Phase::Live
            {
                behind.push(BehindView { user_id, seq: known.cursor, lag: standing.head.saturating_sub(known.cursor) });
            }
        }
        ChannelView {
            channel: channel.name.clone(),
            epoch: self.log.epoch(),
            head: standing.head,
            first: standing.first,
            subscribers: subscribers.len(),
            behind_subscribers: behind.len(),
            messages_per_second: channel.rate(self.clock.monotonic()),
            behind,
        }
    }
}
