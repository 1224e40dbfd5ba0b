//! How long messages were on their way.
//!
//! Guarantees: a fixed share of the deliveries is sampled, whichever those are.
//! It takes no histogram: the samples of a run fit into memory, and so the percentiles are exact.

/// One in so many deliveries is sampled. A prime, so that it is not always the same subscribers.
const EVERY: u64 = 7;

/// Samples, in nanoseconds.
#[derive(Debug, Default)]
pub struct Latencies {
    samples: Vec<u64>,
    seen: u64,
}

/// Percentiles, in milliseconds; zeros without samples.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub most: f64,
}

impl Latencies {
    /// Whether the delivery that is here is one of the sampled; to be called once for each.
    pub fn wants(&mut self) -> bool {
        self.seen += 1;
        self.seen.is_multiple_of(EVERY)
    }

    /// Takes a sample.
    pub fn take(&mut self, nanoseconds: u64) {
        self.samples.push(nanoseconds);
    }

    /// The percentiles of all samples.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        let at = |share: f64| {
            let rank = (sorted.len() as f64 * share).ceil() as usize;
            sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).map_or(0.0, |sample| *sample as f64 / 1e6)
        };
        Percentiles { p50: at(0.5), p99: at(0.99), most: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentiles(), Percentiles::default());
        (1..=100).rev().for_each(|ms| latencies.take(ms * 1_000_000));
        assert_eq!(latencies.percentiles(), Percentiles { p50: 50.0, p99: 99.0, most: 100.0 });
    }

    #[test]
    fn one_in_seven_is_wanted() {
        let mut latencies = Latencies::default();
        assert_eq!((0..700).filter(|_| latencies.wants()).count(), 100);
    }
}
