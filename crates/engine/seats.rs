//! What is under way at once for one user, and in all.
//!
//! Guarantees: a seat is given up when it is dropped, whichever way that comes about; nothing is remembered of a
//! user for whom nothing is under way.
//! It is not a queue: who finds no seat is refused.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;

use crate::budget::{Bound, Who};

/// How many may be under way at once. Zero, the default, means without limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeatsConfig {
    /// For one user, or one address without a token.
    pub user: usize,
    /// In all.
    pub total: usize,
}

#[derive(Default)]
struct Taken {
    total: usize,
    users: HashMap<Who, usize>,
}

/// The seats.
pub struct Seats {
    config: SeatsConfig,
    taken: Mutex<Taken>,
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seats({} taken)", self.taken())
    }
}

/// A seat; dropping it gives it up.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    who: Who,
}

impl Seats {
    /// None is taken yet.
    #[must_use]
    pub fn new(config: SeatsConfig) -> Arc<Self> {
        Arc::new(Self { config, taken: Mutex::default() })
    }

    /// Takes a seat.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn enter(self: &Arc<Self>, who: Who) -> Result<Seat, Bound> {
        let SeatsConfig { user, total } = self.config;
        let mut taken = self.taken.lock();
        if total > 0 && taken.total >= total {
            return Err(Bound::Total);
        }
        let own = taken.users.get(&who).copied().unwrap_or_default();
        if user > 0 && own >= user {
            return Err(Bound::User);
        }
        taken.total += 1;
        taken.users.insert(who.clone(), own + 1);
        drop(taken);
        Ok(Seat { seats: self.clone(), who })
    }

    /// How many are taken now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.lock().total
    }
}

impl Seat {
    /// Whether it is one of these.
    #[must_use]
    pub fn is_of(&self, who: &Who) -> bool {
        self.who == *who
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        taken.total -= 1;
        if let Some(own) = taken.users.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                taken.users.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Who {
        Who::User(name.parse().expect("an id"))
    }

    #[test]
    fn a_user_has_so_many_seats_others_have_their_own_and_all_have_an_end() {
        let seats = Seats::new(SeatsConfig { user: 2, total: 3 });
        let ada = [seats.enter(who("ada")).expect("free"), seats.enter(who("ada")).expect("free")];
        assert_eq!(seats.enter(who("ada")).err(), Some(Bound::User));
        let bob = seats.enter(who("bob")).expect("free");
        assert_eq!(seats.enter(who("eve")).err(), Some(Bound::Total));
        drop(bob);
        assert!(seats.enter(who("eve")).expect("free").is_of(&who("eve")));
        drop(ada);
        assert_eq!((seats.taken(), seats.taken.lock().users.len()), (0, 0), "nothing is remembered");
    }
}
