//! How often something may be done: the one token bucket of the house, alone or as a bounded table of them.
//!
//! Guarantees: a bucket is one instant, so that counting costs nothing between two uses; a table has a bounded
//! number of buckets however many keys come, and whoever is held back longest is remembered longest.
//! It is not a clock and not a lock: whoever asks says what time it is, and sees to it that one asks at a time.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// A rate: so many at once, then one for each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    window: Duration,
}

impl Rate {
    /// `burst` at once, then so many a second. None without a limit: for 0 a second.
    #[must_use]
    pub fn per_second(per_second: u32, burst: u32) -> Option<Self> {
        (per_second > 0).then(|| Self::of(Duration::from_secs(1) / per_second, burst))
    }

    /// So many at once, then evenly over the window. None without a limit: for 0.
    #[must_use]
    pub fn over(tries: u32, window: Duration) -> Option<Self> {
        (tries > 0).then(|| Self { interval: window / tries, window })
    }

    fn of(interval: Duration, burst: u32) -> Self {
        Self { interval, window: interval * burst.max(1) }
    }
}

/// A token bucket, as the time at which it is full again: the generic cell rate algorithm. A new one is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes one at this monotonic time.
    ///
    /// # Errors
    /// How long to wait for one. Nothing was taken.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + rate.interval;
        let wait = full_at.saturating_sub(now + rate.window);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Gives one back.
    pub fn give_back(&mut self, rate: Rate) {
        self.full_at = self.full_at.saturating_sub(rate.interval);
    }
}

/// Buckets of one rate, by whom they are of.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    most: usize,
    buckets: HashMap<K, Bucket>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// A table that remembers so many at most: at least 4.
    #[must_use]
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most: most.max(4), buckets: HashMap::new() }
    }

    /// Takes one of this key's at this monotonic time.
    ///
    /// # Errors
    /// How long to wait for one. Nothing was taken.
    pub fn take(&mut self, key: &K, now: Duration) -> Result<(), Duration> {
        if let Some(bucket) = self.buckets.get_mut(key) {
            return bucket.take(self.rate, now);
        }
        if self.buckets.len() >= self.most {
            self.evict(now);
        }
        let mut bucket = Bucket::default();
        let taken = bucket.take(self.rate, now);
        self.buckets.insert(key.clone(), bucket);
        taken
    }

    /// Gives this key one back.
    pub fn give_back(&mut self, key: &K) {
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.give_back(self.rate);
        }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Forgets whoever is full, and, if that leaves more than half, those that are nearest to it: a look at all of
    /// them is paid by as many newcomers.
    fn evict(&mut self, now: Duration) {
        self.buckets.retain(|_, bucket| bucket.full_at > now);
        let keep = self.most / 2;
        if self.buckets.len() <= keep {
            return;
        }
        let mut times: Vec<Duration> = self.buckets.values().map(|bucket| bucket.full_at).collect();
        let place = times.len() - keep;
        let (_, least, _) = times.select_nth_unstable(place);
        let least = *least;
        let above = self.buckets.values().filter(|bucket| bucket.full_at > least).count();
        let mut room = keep.saturating_sub(above);
        self.buckets.retain(|_, bucket| {
            let shares = bucket.full_at == least && room > 0;
            room -= usize::from(shares);
            bucket.full_at > least || shares
        });
    }
}

/// What counts as one address: an IPv4 address, or an IPv6 /64, which is what one household gets.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate_and_says_how_long_to_wait() {
        let rate = Rate::per_second(10, 3).expect("a limit");
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, START), Ok(()));
        }
        assert_eq!(bucket.take(rate, START), Err(ms(100)));
        assert_eq!(bucket.take(rate, START + ms(60)), Err(ms(40)));
        assert_eq!(bucket.take(rate, START + ms(100)), Ok(()));
        assert_eq!(bucket.take(rate, START + ms(100)), Err(ms(100)), "what was refused has taken nothing");
        bucket.give_back(rate);
        assert_eq!(bucket.take(rate, START + ms(100)), Ok(()));
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, START + ms(10_000)), Ok(()), "it does not fill beyond its burst");
        }
        assert!(bucket.take(rate, START + ms(10_000)).is_err());
    }

    #[test]
    fn zero_is_no_limit_and_a_burst_of_zero_is_one() {
        assert_eq!((Rate::per_second(0, 5), Rate::over(0, START)), (None, None));
        let rate = Rate::per_second(1, 0).expect("a limit");
        let mut bucket = Bucket::default();
        assert_eq!((bucket.take(rate, START), bucket.take(rate, START)), (Ok(()), Err(ms(1000))));
    }

    #[test]
    fn a_table_is_bounded_and_who_is_held_back_stays_held_back() {
        let mut buckets = Buckets::new(Rate::over(2, ms(60_000)).expect("a limit"), 1024);
        for _ in 0..2 {
            buckets.take(&0, START).expect("a try");
        }
        for key in 1..10_000 {
            buckets.take(&key, START).expect("a try");
            assert!(buckets.len() <= 1024);
        }
        assert_eq!(buckets.take(&0, START), Err(ms(30_000)));
    }

    #[test]
    fn a_full_table_is_looked_through_once_for_as_many_newcomers_as_half_of_it() {
        let mut buckets = Buckets::new(Rate::over(2, ms(60_000)).expect("a limit"), 1024);
        // One of them is full again at each moment: without the half each newcomer would cost a look at all.
        for key in 0..1024_u32 {
            buckets.take(&key, START + ms(u64::from(key))).expect("a try");
        }
        buckets.take(&2000, START + ms(30_001)).expect("a try");
        assert!(buckets.len() <= 513, "{}", buckets.len());
    }

    #[test]
    fn all_of_an_ipv6_network_and_a_mapped_ipv4_address_count_as_one() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.9"), of("::ffff:192.0.2.9"));
        assert_ne!(of("192.0.2.9"), of("192.0.2.8"));
    }
}
