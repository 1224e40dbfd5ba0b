//! What the hub counts: its handles, looked up once.
//!
//! Guarantees: counting a delivery costs an addition, not a look-up by name.
//! It is not the list of all metrics: what is rare is counted where it happens.

use metrics::{Counter, Gauge};

pub(super) struct Figures {
    pub(super) subscriptions: Gauge,
    pub(super) behind: Gauge,
    pub(super) fell_behind: Counter,
    pub(super) ephemeral_dropped: Counter,
    pub(super) replayed: Counter,
    deliveries: Counter,
    delivered_bytes: Counter,
}

impl Figures {
    /// The handles of the recorder that is installed now.
    pub(super) fn new() -> Self {
        Self {
            subscriptions: metrics::gauge!("tidings_subscriptions"),
            behind: metrics::gauge!("tidings_behind_subscriptions"),
            fell_behind: metrics::counter!("tidings_fell_behind_total"),
            ephemeral_dropped: metrics::counter!("tidings_ephemeral_dropped_total"),
            replayed: metrics::counter!("tidings_replayed_total"),
            deliveries: metrics::counter!("tidings_deliveries_total"),
            delivered_bytes: metrics::counter!("tidings_delivered_bytes_total"),
        }
    }

    /// So many messages with so many bytes of data were taken by outlets.
    pub(super) fn delivered(&self, messages: u64, bytes: u64) {
        self.deliveries.increment(messages);
        self.delivered_bytes.increment(bytes);
    }
}
