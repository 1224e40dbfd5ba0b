//! The figures that a simulated server counts, for its judge.
//!
//! Guarantees: gauges and counters by name, those of all labels together.
//! It is not an exporter.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

/// A recorder of its own for each simulated server.
#[derive(Debug, Default)]
pub(super) struct Figures {
    gauges: Mutex<HashMap<String, Arc<AtomicU64>>>,
    counters: Mutex<HashMap<String, Arc<AtomicU64>>>,
}

impl Figures {
    /// What a gauge shows.
    pub(super) fn gauge(&self, name: &str) -> f64 {
        self.gauges.lock().get(name).map_or(0.0, |gauge| f64::from_bits(gauge.load(Ordering::Relaxed)))
    }

    /// How much was counted.
    pub(super) fn counter(&self, name: &str) -> u64 {
        self.counters.lock().get(name).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// The process is gone, and its gauges with it.
    pub(super) fn forget_gauges(&self) {
        self.gauges.lock().values().for_each(|gauge| gauge.store(0, Ordering::Relaxed));
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.counters.lock().entry(key.name().to_owned()).or_default().clone())
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.gauges.lock().entry(key.name().to_owned()).or_default().clone())
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
