//! How often somebody may try to log in.
//!
//! Guarantees: a constant amount of memory however many names and addresses try; windows are
//! monotonic. A try is taken before the password is looked at, so parallel tries count too.
//! It is not a lock-out: whoever waits may try again.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{Code, Error, Result};

use crate::config::LoginLimits;

/// The most names, and the most addresses, that are remembered.
const MOST: usize = 16_384;

/// For each key the time at which it will have all its tries back. Full tries at once, then one
/// for each `interval`: the generic cell rate algorithm.
#[derive(Debug)]
struct Buckets<K> {
    full_at: Mutex<HashMap<K, Duration>>,
    interval: Duration,
    window: Duration,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(tries: u32, window: Duration) -> Option<Self> {
        (tries > 0).then(|| Self { full_at: Mutex::default(), interval: window / tries, window })
    }

    /// Takes one try, or says how long to wait for one.
    fn take(&self, key: K, now: Duration) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock();
        if full_at.len() >= MOST && !full_at.contains_key(&key) {
            evict(&mut full_at, now);
        }
        let at = full_at.get(&key).copied().unwrap_or_default().max(now) + self.interval;
        let wait = at.saturating_sub(now + self.window);
        if !wait.is_zero() {
            return Err(wait);
        }
        full_at.insert(key, at);
        Ok(())
    }

    fn give_back(&self, key: &K) {
        if let Some(at) = self.full_at.lock().get_mut(key) {
            *at = at.saturating_sub(self.interval);
        }
    }
}

/// Forgets whoever has all tries back, and, if that is not enough, the half that has most of them:
/// who is being held back is remembered longest.
fn evict<K: Hash + Eq + Clone>(full_at: &mut HashMap<K, Duration>, now: Duration) {
    full_at.retain(|_, at| *at > now);
    if full_at.len() < MOST {
        return;
    }
    let mut times: Vec<Duration> = full_at.values().copied().collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    let above = full_at.values().filter(|at| **at > median).count();
    let mut room = (MOST / 2).saturating_sub(above);
    full_at.retain(|_, at| {
        let shares = *at == median && room > 0;
        room -= usize::from(shares);
        *at > median || shares
    });
}

/// The tries of all names and addresses.
#[derive(Debug)]
pub(crate) struct LoginTries {
    names: Option<Buckets<String>>,
    addresses: Option<Buckets<IpAddr>>,
}

impl LoginTries {
    pub(crate) fn new(limits: LoginLimits) -> Self {
        Self {
            names: Buckets::new(limits.per_name, limits.window),
            addresses: Buckets::new(limits.per_address, limits.window),
        }
    }

    /// Takes a try of this name from this address, or refuses with `rate_limited`.
    pub(crate) fn take(&self, name: &str, address: IpAddr, now: Duration) -> Result<()> {
        let address = network(address);
        if let Some(addresses) = &self.addresses {
            addresses.take(address, now).map_err(refuse)?;
        }
        if let Some(names) = &self.names {
            names.take(name.to_owned(), now).map_err(|wait| {
                // The address is not to blame for a name that others try.
                self.succeeded(address);
                refuse(wait)
            })?;
        }
        Ok(())
    }

    /// Gives the address its try back, so that many people behind one address can log in.
    pub(crate) fn succeeded(&self, address: IpAddr) {
        if let Some(addresses) = &self.addresses {
            addresses.give_back(&network(address));
        }
    }
}

fn refuse(wait: Duration) -> Error {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Error::new(Code::RateLimited, "too many tries to log in").with_retry_after_ms(ms)
}

/// What counts as one address: an IPv4 address, or an IPv6 /64, which is what one household gets.
fn network(address: IpAddr) -> IpAddr {
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

    const WINDOW: Duration = Duration::from_secs(60);

    fn tries(per_name: u32, per_address: u32) -> LoginTries {
        LoginTries::new(LoginLimits { per_name, per_address, window: WINDOW })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_name_has_its_tries_at_once_and_then_one_for_each_share_of_the_window() {
        let tries = tries(10, 0);
        let start = Duration::from_secs(1000);
        for _ in 0..10 {
            tries.take("ann", ip("10.0.0.1"), start).expect("a try");
        }
        let error = tries.take("ann", ip("10.0.0.2"), start).expect_err("too many");
        assert_eq!(error.code(), Code::RateLimited);
        assert_eq!(error.retry_after_ms(), Some(6000));
        tries.take("bob", ip("10.0.0.1"), start).expect("another name");
        tries.take("ann", ip("10.0.0.1"), start + Duration::from_secs(6)).expect("one came back");
        assert!(tries.take("ann", ip("10.0.0.1"), start + Duration::from_secs(6)).is_err());
    }

    #[test]
    fn an_address_gets_the_tries_back_that_succeeded_and_those_that_the_name_refused() {
        let tries = tries(2, 3);
        for round in 0..50 {
            let name = format!("user{round}");
            tries.take(&name, ip("192.0.2.1"), WINDOW).expect("a try");
            tries.succeeded(ip("192.0.2.1"));
        }
        for _ in 0..2 {
            tries.take("ann", ip("192.0.2.1"), WINDOW).expect("a try");
        }
        for _ in 0..5 {
            tries.take("ann", ip("192.0.2.1"), WINDOW).expect_err("the name is out of tries");
        }
        tries.take("bob", ip("192.0.2.1"), WINDOW).expect("the address still has one");
        assert!(tries.take("eve", ip("192.0.2.1"), WINDOW).is_err());
    }

    #[test]
    fn all_of_an_ipv6_network_and_a_mapped_ipv4_address_count_as_one() {
        let tries = tries(0, 1);
        tries.take("a", ip("2001:db8::1"), WINDOW).expect("a try");
        assert!(tries.take("b", ip("2001:db8::2"), WINDOW).is_err());
        tries.take("c", ip("2001:db8:0:1::1"), WINDOW).expect("another network");
        tries.take("d", ip("192.0.2.9"), WINDOW).expect("a try");
        assert!(tries.take("e", ip("::ffff:192.0.2.9"), WINDOW).is_err());
    }

    #[test]
    fn memory_is_bounded_and_who_is_held_back_stays_held_back() {
        let tries = tries(2, 0);
        for _ in 0..2 {
            tries.take("victim", ip("10.0.0.1"), WINDOW).expect("a try");
        }
        for n in 0..3 * MOST {
            tries.take(&format!("n{n}"), ip("10.0.0.1"), WINDOW).expect("a try");
            assert!(tries.names.as_ref().expect("a limit").full_at.lock().len() <= MOST);
        }
        assert!(tries.take("victim", ip("10.0.0.1"), WINDOW).is_err());
    }

    #[test]
    fn zero_means_no_limit() {
        let tries = tries(0, 0);
        for _ in 0..1000 {
            tries.take("ann", ip("10.0.0.1"), WINDOW).expect("no limit");
        }
    }
}
