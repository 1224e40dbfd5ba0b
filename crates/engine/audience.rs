//! Who follows what live, for services that end what nobody watches.
//!
//! Guarantees: counts subscriptions, of this moment; a thing that no handler knows has none.
//! It is not a list of who: that is the hub's view.

use std::sync::Arc;

use tidings_core::runtime;

use crate::{hub::Hub, registry::Registry};

/// The subscriptions of the hub, by domain and id.
#[derive(Debug)]
pub struct Audience {
    /// Which channel is whose.
    pub registry: Arc<Registry>,
    /// Where the subscriptions are.
    pub hub: Arc<Hub>,
}

impl runtime::Audience for Audience {
    fn watching(&self, domain: &'static str, id: &str) -> usize {
        let channel = self.registry.handler(domain).and_then(|handler| handler.channel(id));
        channel.map_or(0, |channel| self.hub.subscriber_count(&channel))
    }
}
