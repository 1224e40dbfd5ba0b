//! How often somebody may try to log in.
//!
//! Guarantees: a constant amount of memory however many names and addresses try; windows are
//! monotonic. A try is taken before the password is looked at, so parallel tries count too.
//! It is not a lock-out: whoever waits may try again.

use std::{hash::Hash, net::IpAddr, time::Duration};

use parking_lot::Mutex;
use tidings_core::{
    Code, Error, Result,
    rate::{Buckets, Rate, network},
};

use crate::config::LoginLimits;

/// The most names, and the most addresses, that are remembered.
const MOST: usize = 16_384;

/// The tries of whoever is told apart by such a key; none without a limit.
#[derive(Debug)]
struct Tries<K>(Option<Mutex<Buckets<K>>>);

impl<K: Hash + Eq + Clone> Tries<K> {
    fn new(tries: u32, window: Duration) -> Self {
        Self(Rate::over(tries, window).map(|rate| Mutex::new(Buckets::new(rate, MOST))))
    }

    fn take(&self, key: &K, now: Duration) -> Result<()> {
        let Some(buckets) = &self.0 else { return Ok(()) };
        buckets.lock().take(key, now).map_err(refuse)
    }

    fn give_back(&self, key: &K) {
        if let Some(buckets) = &self.0 {
            buckets.lock().give_back(key);
        }
    }
}

/// The tries of all names and addresses.
#[derive(Debug)]
pub(crate) struct LoginTries {
    names: Tries<String>,
    addresses: Tries<IpAddr>,
}

impl LoginTries {
    pub(crate) fn new(limits: LoginLimits) -> Self {
        Self {
            names: Tries::new(limits.per_name, limits.window),
            addresses: Tries::new(limits.per_address, limits.window),
        }
    }

    /// Takes a try of this name from this address, or refuses with `rate_limited`.
    pub(crate) fn take(&self, name: &str, address: IpAddr, now: Duration) -> Result<()> {
        let address = network(address);
        self.addresses.take(&address, now)?;
        // The address is not to blame for a name that others try.
        self.names.take(&name.to_owned(), now).inspect_err(|_| self.succeeded(address))
    }

    /// Gives the address its try back, so that many people behind one address can log in.
    pub(crate) fn succeeded(&self, address: IpAddr) {
        self.addresses.give_back(&network(address));
    }
}

fn refuse(wait: Duration) -> Error {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Error::new(Code::RateLimited, "too many tries to log in").with_retry_after_ms(ms)
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
            assert!(tries.names.0.as_ref().expect("a limit").lock().len() <= MOST);
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
