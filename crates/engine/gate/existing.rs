//! What exists: the channels of a namespace that were ever published to, page by page.
//!
//! Guarantees: a principal sees the channels that it may subscribe to and no others; one request looks through a
//! bounded number of channels, and then answers with a cursor, however few were found.
//! It is not what is live: that is the hub's.

use tidings_core::{
    Action, Channel, Principal, Result,
    log::{ChannelFacts, ListChannels},
};

use super::Gate;
use crate::registry::RESERVED_DOMAINS;

/// How many channels are read at once.
const BATCH: usize = 256;
/// How many channels one request looks through at most.
const SCAN: usize = 2_048;

/// A page of the channels of a namespace, newest name first.
#[derive(Debug)]
pub struct Existing {
    /// The channels; there may be fewer than asked for and a cursor all the same.
    pub channels: Vec<ChannelFacts>,
    /// For the next page; none on the last one.
    pub cursor: Option<Channel>,
}

impl Gate {
    /// Which channels of a namespace exist whose names come below this one.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    pub async fn existing(
        &self,
        principal: &Principal,
        namespace: &str,
        mut below: Option<Channel>,
        limit: usize,
    ) -> Result<Existing> {
        let mut page = Existing { channels: Vec::new(), cursor: None };
        // What a domain left that is declared no more: nobody may read it, since nobody says who may.
        if !self.parts.registry.namespaces().contains(&namespace) {
            return Ok(page);
        }
        for _ in 0..SCAN / BATCH {
            let query = ListChannels {
                namespace: Some(namespace.to_owned()),
                below: below.take(),
                limit: BATCH,
                ..ListChannels::default()
            };
            let some = self.parts.log.list(query).await?;
            let is_last = some.len() < BATCH;
            below = some.last().map(|facts| facts.channel.clone());
            for facts in some.into_iter().filter(|facts| self.may_see(principal, facts)) {
                if page.channels.len() == limit {
                    page.cursor = page.channels.last().map(|last| last.channel.clone());
                    return Ok(page);
                }
                page.channels.push(facts);
            }
            if is_last {
                return Ok(page);
            }
        }
        page.cursor = below;
        Ok(page)
    }

    /// The namespaces of channels that exist and that no handler owns. Costs a read for each namespace.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    pub async fn ownerless(&self) -> Result<Vec<String>> {
        let owned = self.parts.registry.namespaces();
        let mut found = Vec::new();
        let mut below = None;
        loop {
            let query = ListChannels { below: below.take(), limit: 1, ..ListChannels::default() };
            let Some(facts) = self.parts.log.list(query).await?.into_iter().next() else { return Ok(found) };
            let namespace = facts.channel.namespace();
            if !owned.contains(&namespace) && !RESERVED_DOMAINS.contains(&namespace) {
                found.push(namespace.to_owned());
            }
            // The first name that a channel of it may have.
            below = Some(format!("{namespace}:-").parse()?);
        }
    }

    /// Whether a principal may subscribe to a channel whose facts are known.
    fn may_see(&self, principal: &Principal, facts: &ChannelFacts) -> bool {
        let channel = &facts.channel;
        self.judge.at_once(principal, Action::Subscribe, channel).is_some_and(|may| may.is_ok())
            || self.judge.knows(principal, Action::Subscribe, facts)
    }
}
