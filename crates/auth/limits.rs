//! How often somebody may try to log in.
//!
//! An address that logged in under a name before has a measure of its own for that name. All others share the
//! name's, of which one address gets at most half, and each has one over all names: so a guesser slows a name down
//! for those who never logged in under it, takes it from them only with several addresses, and from the others never.
//!
//! Guarantees: a constant amount of memory however many names and addresses try; windows are
//! monotonic. A try is taken before the password is looked at, so parallel tries count too. Each refusal is counted
//! under the measure that it comes from (`tidings_limited_total{limit}`).
//! It is not a lock-out: whoever waits may try again. It does not know who logged in before: see [`crate::known`].

use std::{hash::Hash, net::IpAddr, time::Duration};

use parking_lot::Mutex;
use smol_str::SmolStr;
use tidings_core::{
    Code, Error, Result,
    rate::{Buckets, Rate, network},
};

use crate::config::LoginLimits;

/// How often the own password may be told in a window where names have no limit.
const OWN: u32 = 10;
/// The most names, addresses and pairs of them that are remembered, of each.
const MOST: usize = 16_384;

/// The tries of whoever is told apart by such a key; none without a limit.
#[derive(Debug)]
struct Tries<K> {
    name: &'static str,
    buckets: Option<Mutex<Buckets<K>>>,
}

impl<K: Hash + Eq + Clone> Tries<K> {
    fn new(name: &'static str, tries: u32, window: Duration) -> Self {
        Self { name, buckets: Rate::over(tries, window).map(|rate| Mutex::new(Buckets::new(rate, MOST))) }
    }

    fn take(&self, key: &K, now: Duration) -> Result<()> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        let taken = buckets.lock().take(key, now);
        taken.map_err(|wait| {
            metrics::counter!("tidings_limited_total", "limit" => self.name).increment(1);
            refuse(wait)
        })
    }

    fn give_back(&self, key: &K) {
        if let Some(buckets) = &self.buckets {
            buckets.lock().give_back(key);
        }
    }
}

/// A name from an address: of IPv6, from a /64.
type Pair = (String, IpAddr);

/// A try that was taken.
#[derive(Debug)]
pub(crate) struct Try {
    pair: Pair,
    is_known: bool,
}

/// The tries of all names and addresses.
#[derive(Debug)]
pub(crate) struct LoginTries {
    addresses: Tries<IpAddr>,
    names: Tries<String>,
    shares: Tries<Pair>,
    known: Tries<Pair>,
    known_get_back: bool,
    own: Tries<SmolStr>,
}

impl LoginTries {
    pub(crate) fn new(limits: LoginLimits) -> Self {
        let LoginLimits { per_address, per_name, window, .. } = limits;
        Self {
            addresses: Tries::new("login_address", per_address, window),
            names: Tries::new("login_name", per_name, window),
            shares: Tries::new("login_name_share", per_name.div_ceil(2), window),
            // Without a limit of names that of addresses is left, and counts as it does elsewhere.
            known: Tries::new("login_known_address", if per_name > 0 { per_name } else { per_address }, window),
            known_get_back: per_name == 0,
            own: Tries::new("own_password", if per_name > 0 { per_name } else { OWN }, window),
        }
    }

    /// Takes a try of this name from this address, or refuses with `rate_limited`. `is_known` says whether it
    /// logged in under the name before.
    pub(crate) fn take(&self, name: &str, address: IpAddr, is_known: bool, now: Duration) -> Result<Try> {
        let pair = (name.to_owned(), network(address));
        if is_known {
            self.known.take(&pair, now)?;
            return Ok(Try { pair, is_known });
        }
        self.addresses.take(&pair.1, now)?;
        // The address is not to blame for a name that others try, and goes on with others.
        self.shares.take(&pair, now).inspect_err(|_| self.addresses.give_back(&pair.1))?;
        self.names.take(&pair.0, now).inspect_err(|_| {
            self.addresses.give_back(&pair.1);
            self.shares.give_back(&pair);
        })?;
        Ok(Try { pair, is_known })
    }

    /// Gives the address its try back, so that many people behind one address can log in. That of the name stays
    /// taken: so nobody makes logins without a bound.
    pub(crate) fn succeeded(&self, took: &Try) {
        if !took.is_known {
            self.addresses.give_back(&took.pair.1);
        } else if self.known_get_back {
            self.known.give_back(&took.pair);
        }
    }

    /// Gives all of a try back: no password was looked at.
    pub(crate) fn undo(&self, took: &Try) {
        if took.is_known {
            self.known.give_back(&took.pair);
            return;
        }
        self.addresses.give_back(&took.pair.1);
        self.shares.give_back(&took.pair);
        self.names.give_back(&took.pair.0);
    }

    /// Takes a try of a login to tell the own password, or refuses with `rate_limited`. One login's tries are none of
    /// another's: who stole one must not keep its owner from a new password.
    pub(crate) fn take_own(&self, login: &SmolStr, now: Duration) -> Result<()> {
        self.own.take(login, now)
    }

    /// Gives that try back: no password was looked at.
    pub(crate) fn undo_own(&self, login: &SmolStr) {
        self.own.give_back(login);
    }
}

/// What is told once in a while, however often it happens.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Duration>>);

impl Seldom {
    /// Whether it is to be told at this monotonic time: once a minute.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let mut last = self.0.lock();
        let is_due = last.is_none_or(|last| now.saturating_sub(last) >= Duration::from_secs(60));
        if is_due {
            *last = Some(now);
        }
        is_due
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
        LoginTries::new(LoginLimits { per_name, per_address, window: WINDOW, remembered: WINDOW })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    impl LoginTries {
        /// A try from an address that never logged in under the name.
        fn stranger(&self, name: &str, address: &str, now: Duration) -> Result<Try> {
            self.take(name, ip(address), false, now)
        }
    }

    #[test]
    fn strangers_share_the_tries_of_a_name_which_come_back_one_by_one_over_the_window() {
        let tries = tries(10, 0);
        let start = Duration::from_secs(1000);
        for address in ["10.0.0.1", "10.0.0.2"] {
            for _ in 0..5 {
                tries.stranger("ann", address, start).expect("a try");
            }
        }
        let error = tries.stranger("ann", "10.0.0.3", start).expect_err("too many");
        assert_eq!((error.code(), error.retry_after_ms()), (Code::RateLimited, Some(6000)));
        tries.stranger("bob", "10.0.0.1", start).expect("another name");
        let later = start + Duration::from_secs(6);
        tries.stranger("ann", "10.0.0.3", later).expect("one came back");
        assert!(tries.stranger("ann", "10.0.0.4", later).is_err());
    }

    #[test]
    fn one_guesser_never_takes_a_name_from_other_strangers() {
        let tries = tries(10, 30);
        // Ten times a second for ten minutes.
        let mut passed = 0;
        for tick in 0..6000 {
            let now = WINDOW + Duration::from_millis(100) * tick;
            passed += u32::from(tries.stranger("admin", "10.0.0.1", now).is_ok());
            if tick % 600 == 599 {
                tries.stranger("admin", "10.0.0.2", now).expect("the right password, from somewhere new");
            }
        }
        assert!((50..=55).contains(&passed), "{passed}");
    }

    #[test]
    fn a_known_address_has_its_own_tries_whatever_strangers_and_its_neighbours_do() {
        let tries = tries(4, 3);
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            for _ in 0..10 {
                drop(tries.stranger("ann", address, WINDOW));
            }
        }
        // At the address itself somebody tries other names.
        for name in ["bob", "eve", "zoe", "joe"] {
            drop(tries.stranger(name, "10.0.0.9", WINDOW));
        }
        assert!(tries.stranger("ann", "10.0.0.9", WINDOW).is_err());
        for _ in 0..4 {
            tries.take("ann", ip("10.0.0.9"), true, WINDOW).expect("its own try");
        }
        assert!(tries.take("ann", ip("10.0.0.9"), true, WINDOW).is_err(), "it has an end, too");
        tries.take("ann", ip("10.0.0.8"), true, WINDOW).expect("each has its own");
    }

    #[test]
    fn an_address_gets_the_tries_back_that_succeeded_and_those_that_the_name_refused() {
        let tries = tries(4, 3);
        for round in 0..50 {
            let took = tries.stranger(&format!("user{round}"), "192.0.2.1", WINDOW).expect("a try");
            tries.succeeded(&took);
        }
        for _ in 0..2 {
            tries.stranger("ann", "192.0.2.1", WINDOW).expect("a try");
        }
        for _ in 0..5 {
            tries.stranger("ann", "192.0.2.1", WINDOW).expect_err("its share is used up");
        }
        tries.stranger("bob", "192.0.2.1", WINDOW).expect("the address still has one");
        assert!(tries.stranger("eve", "192.0.2.1", WINDOW).is_err());
    }

    #[test]
    fn a_try_without_a_look_at_the_password_is_none() {
        let tries = tries(1, 1);
        for is_known in [true, false] {
            for _ in 0..5 {
                let took = tries.take("ann", ip("192.0.2.1"), is_known, WINDOW).expect("a try");
                tries.undo(&took);
            }
        }
        let (one, other) = (SmolStr::new("one"), SmolStr::new("other"));
        tries.take_own(&one, WINDOW).expect("a try");
        assert_eq!(tries.take_own(&one, WINDOW).expect_err("too many").code(), Code::RateLimited);
        tries.take_own(&other, WINDOW).expect("another login");
        tries.undo_own(&one);
        tries.take_own(&one, WINDOW).expect("a try");
    }

    #[test]
    fn all_of_an_ipv6_network_and_a_mapped_ipv4_address_count_as_one() {
        let tries = tries(0, 1);
        tries.stranger("a", "2001:db8::1", WINDOW).expect("a try");
        assert!(tries.stranger("b", "2001:db8::2", WINDOW).is_err());
        tries.stranger("c", "2001:db8:0:1::1", WINDOW).expect("another network");
        tries.stranger("d", "192.0.2.9", WINDOW).expect("a try");
        assert!(tries.stranger("e", "::ffff:192.0.2.9", WINDOW).is_err());
    }

    #[test]
    fn memory_is_bounded_and_who_is_held_back_stays_held_back() {
        let tries = tries(2, 0);
        for address in ["10.0.0.1", "10.0.0.2"] {
            tries.stranger("victim", address, WINDOW).expect("a try");
        }
        for n in 0..3 * MOST {
            tries.stranger(&format!("n{n}"), "10.0.0.1", WINDOW).expect("a try");
            assert!(tries.names.buckets.as_ref().expect("a limit").lock().len() <= MOST);
            assert!(tries.shares.buckets.as_ref().expect("a limit").lock().len() <= MOST);
        }
        assert!(tries.stranger("victim", "10.0.0.3", WINDOW).is_err());
    }

    #[test]
    fn zero_means_no_limit() {
        let tries = tries(0, 0);
        for _ in 0..1000 {
            tries.stranger("ann", "10.0.0.1", WINDOW).expect("no limit");
        }
    }
}
