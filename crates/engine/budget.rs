//! The bytes that clients make the server hold: counted exactly, for each user over all connections, and in all.
//!
//! Guarantees: what is held is given back when its [`Held`] is dropped, whichever way that comes about; what would
//! go beyond a bound is not held, and counted; nothing is remembered of a user for whom nothing is held or open.
//! It is not where the bytes are: whoever keeps them keeps their [`Held`] beside them.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tidings_core::{Code, UserId};

/// For whom something is held or done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// A user, over whatever connection and with whatever token.
    User(UserId),
    /// Somebody without a token; of IPv6, a /64.
    Address(IpAddr),
}

/// How much may be held. Zero means without limit.
#[derive(Debug, Clone, Copy)]
pub struct BudgetConfig {
    /// Bytes for one user over all connections; 64 MiB by default.
    pub user: usize,
    /// Bytes in all; 512 MiB by default.
    pub total: usize,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { user: 64 << 20, total: 512 << 20 }
    }
}

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// One connection's own.
    Connection,
    /// That of its user.
    User,
    /// That of all together.
    Total,
}

impl Bound {
    /// Its name, as counters have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::User => "user",
            Self::Total => "total",
        }
    }

    /// What whoever meets it is told: that all ask for too much, or that this one does.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Total => Code::Overloaded,
            Self::User | Self::Connection => Code::RateLimited,
        }
    }

    /// Counts that something was refused for it. `of` says what: `events`, `answers`, `bodies`.
    pub fn count(self, of: &'static str) {
        metrics::counter!("tidings_held_refused_total", "bound" => self.as_str(), "of" => of).increment(1);
    }
}

/// The bytes of everybody.
pub struct Budget {
    config: BudgetConfig,
    held: AtomicUsize,
    shares: Mutex<HashMap<Who, Weak<Share>>>,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} bytes held)", self.held())
    }
}

/// The bytes of one user. Each connection keeps it.
pub struct Share {
    who: Who,
    held: AtomicUsize,
    budget: Arc<Budget>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} bytes held)", self.held())
    }
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub struct Held {
    share: Arc<Share>,
    bytes: usize,
}

fn fits(held: usize, most: usize) -> bool {
    most == 0 || held <= most
}

/// Adds to what is held, if that fits.
fn add(held: &AtomicUsize, bytes: usize, most: usize) -> bool {
    let sum = |held: usize| held.checked_add(bytes).filter(|sum| fits(*sum, most));
    held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
}

impl Budget {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(config: BudgetConfig) -> Arc<Self> {
        Arc::new(Self { config, held: AtomicUsize::new(0), shares: Mutex::default() })
    }

    /// The share of a user: one and the same for all who ask.
    #[must_use]
    pub fn share(self: &Arc<Self>, who: &Who) -> Arc<Share> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(who).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Share { who: who.clone(), held: AtomicUsize::new(0), budget: self.clone() });
        shares.insert(who.clone(), Arc::downgrade(&share));
        share
    }

    /// How many bytes are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// For how many users something is open or held.
    #[must_use]
    pub fn users(&self) -> usize {
        self.shares.lock().len()
    }
}

impl Share {
    /// How many bytes are held for this user now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Holds so many bytes.
    ///
    /// # Errors
    /// The bound that does not allow it. Nothing is held then.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, Bound> {
        let config = &self.budget.config;
        if !add(&self.held, bytes, config.user) {
            return Err(Bound::User);
        }
        if !add(&self.budget.held, bytes, config.total) {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Bound::Total);
        }
        Ok(Held { share: self.clone(), bytes })
    }

    /// Holds so many bytes, whatever the bounds: they are there already.
    #[must_use]
    pub fn hold_anyway(self: &Arc<Self>, bytes: usize) -> Held {
        let mut held = Held { share: self.clone(), bytes: 0 };
        held.set(bytes);
        held
    }

    /// Whether more than half of a bound is held, so that those who hold something are to wait.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        let config = &self.budget.config;
        !fits(self.held().saturating_mul(2), config.user) || !fits(self.budget.held().saturating_mul(2), config.total)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.budget.shares.lock();
        // Somebody may have got a new one between the last drop and here.
        if shares.get(&self.who).is_some_and(|share| share.strong_count() == 0) {
            shares.remove(&self.who);
        }
    }
}

impl Held {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// It is so many now, whatever the bounds.
    pub fn set(&mut self, bytes: usize) {
        let (share, budget) = (&self.share, &self.share.budget);
        if bytes > self.bytes {
            share.held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
            budget.held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            share.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            budget.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// The bound that is exceeded with what is held now.
    #[must_use]
    pub fn exceeds(&self) -> Option<Bound> {
        let config = &self.share.budget.config;
        if !fits(self.share.held(), config.user) {
            Some(Bound::User)
        } else if !fits(self.share.budget.held(), config.total) {
            Some(Bound::Total)
        } else {
            None
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Who {
        Who::User(name.parse().expect("an id"))
    }

    #[test]
    fn a_user_has_one_share_over_all_connections_and_cannot_take_that_of_others() {
        let budget = Budget::new(BudgetConfig { user: 100, total: 150 });
        let (one, other) = (budget.share(&who("ada")), budget.share(&who("ada")));
        let held = one.hold(60).expect("fits");
        assert_eq!(other.hold(41).err(), Some(Bound::User));
        assert_eq!((budget.held(), one.held()), (60, 60), "what was refused is not held");
        let bob = budget.share(&who("bob"));
        let bobs = bob.hold(90).expect("fits");
        assert_eq!(other.hold(10).err(), Some(Bound::Total));
        drop(held);
        assert_eq!(other.hold(10).map(|held| held.bytes()), Ok(10));
        drop(bobs);
        assert_eq!((budget.held(), budget.users()), (0, 2));
    }

    #[test]
    fn what_is_held_is_given_back_on_a_panic_and_nothing_is_remembered_of_who_is_gone() {
        let budget = Budget::new(BudgetConfig::default());
        let share = budget.share(&who("ada"));
        let held = share.hold(1000).expect("fits");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = held;
            panic!("as the test wants it");
        }));
        assert!(panicked.is_err());
        assert_eq!(budget.held(), 0);
        drop(share);
        assert_eq!(budget.users(), 0);
    }

    #[test]
    fn from_half_of_a_bound_on_those_who_hold_something_are_to_wait() {
        let budget = Budget::new(BudgetConfig { user: 100, total: 120 });
        let (ada, bob) = (budget.share(&who("ada")), budget.share(&who("bob")));
        let mut held = ada.hold(50).expect("fits");
        assert!(!ada.is_pressed());
        held.set(51);
        assert!(ada.is_pressed() && !bob.is_pressed(), "one user's half is not the others'");
        let _bobs = bob.hold(20).expect("fits");
        assert!(bob.is_pressed(), "the half of all is everybody's");
        held.set(500);
        assert_eq!(held.exceeds(), Some(Bound::User), "what is there already is held, and said to be too much");
    }

    #[test]
    fn zero_is_no_limit() {
        let budget = Budget::new(BudgetConfig { user: 0, total: 0 });
        let share = budget.share(&who("ada"));
        let _held = share.hold(usize::MAX / 4).expect("no limit");
        assert!(!share.is_pressed());
    }
}
