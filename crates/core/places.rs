//! Places that addresses share: a bounded number, and who makes room for a newcomer when all are taken.
//!
//! Guarantees: no more are taken than there are; the newcomer takes the place of the oldest of the address that holds
//! most, so that no address keeps the others out. An address that holds as many as any other has to wait until that
//! one is old: a crowd behind one address gets in turn for turn, and nobody throws out whoever would throw him out
//! again. Taking and giving up cost the logarithm of what is taken, however many addresses there are.
//! It is not a lock and not a clock; nor does it end what was replaced: whoever asks does.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

/// A place that is taken, by which it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    address: IpAddr,
    /// The oldest of an address has the smallest.
    number: u64,
}

/// There is no place, and nobody may be sent away for this newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all places are taken")]
pub struct AllTaken;

#[derive(Debug)]
struct Holder<T> {
    since: Duration,
    what: T,
}

/// How many an address holds and what its oldest is: the last of all is the first to make room.
type Rank = (usize, Reverse<u64>, IpAddr);

/// The places, and what holds each.
#[derive(Debug)]
pub struct Places<T> {
    most: usize,
    young: Duration,
    next: u64,
    taken: BTreeMap<Place, Holder<T>>,
    counts: HashMap<IpAddr, usize>,
    ranks: BTreeSet<Rank>,
}

impl<T> Places<T> {
    /// So many, at least 1. Who is younger than `young` stays when an address that holds no fewer asks.
    #[must_use]
    pub fn new(most: usize, young: Duration) -> Self {
        Self {
            most: most.max(1),
            young,
            next: 0,
            taken: BTreeMap::new(),
            counts: HashMap::new(),
            ranks: BTreeSet::new(),
        }
    }

    /// Takes a place for an address at this monotonic time: which, and what has to be ended for it, if all were taken.
    ///
    /// # Errors
    /// None is free, and none may be taken from others. Nothing was changed.
    pub fn take(&mut self, address: IpAddr, now: Duration, what: T) -> Result<(Place, Option<T>), AllTaken> {
        let replaced =
            if self.taken.len() < self.most { None } else { Some(self.make_room(address, now).ok_or(AllTaken)?) };
        let place = Place { address, number: self.next };
        self.next += 1;
        self.change(address, |taken| {
            taken.insert(place, Holder { since: now, what });
        });
        Ok((place, replaced))
    }

    /// Takes a place from its holder for a newcomer of this address, as if all were taken: what has to be ended. None if
    /// nobody may be sent away.
    pub fn make_room(&mut self, address: IpAddr, now: Duration) -> Option<T> {
        let replaced = self.replaceable(address, now)?;
        self.give_up(&replaced)
    }

    /// Gives a place up: what held it, unless it was replaced.
    pub fn give_up(&mut self, place: &Place) -> Option<T> {
        if !self.taken.contains_key(place) {
            return None;
        }
        let mut held = None;
        self.change(place.address, |taken| held = taken.remove(place));
        held.map(|held| held.what)
    }

    /// What holds a place; none if it was replaced.
    pub fn holder(&mut self, place: &Place) -> Option<&mut T> {
        self.taken.get_mut(place).map(|held| &mut held.what)
    }

    /// How many are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    /// Whether none is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Which one goes for a newcomer of this address.
    fn replaceable(&self, address: IpAddr, now: Duration) -> Option<Place> {
        let own = self.counts.get(&address).copied().unwrap_or_default();
        let &(held, Reverse(number), holder) = self.ranks.last()?;
        // One more than the newcomer's is no more once it is in: neither is to throw the other out.
        if held > own + 1 {
            return Some(Place { address: holder, number });
        }
        let largest = (held > own).then_some(Place { address: holder, number });
        let is_old = |place: &Place| self.taken.get(place).is_some_and(|it| now.saturating_sub(it.since) >= self.young);
        [largest, self.oldest(address)].into_iter().flatten().find(is_old)
    }

    fn oldest(&self, address: IpAddr) -> Option<Place> {
        let from = Place { address, number: 0 };
        self.taken.range(from..).next().map(|(place, _)| *place).filter(|place| place.address == address)
    }

    /// Changes what is taken by an address, and its rank by that.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut BTreeMap<Place, Holder<T>>)) {
        if let Some(rank) = self.rank(address) {
            self.ranks.remove(&rank);
        }
        let before = self.taken.len();
        change(&mut self.taken);
        let count = self.counts.entry(address).or_default();
        *count = (*count + self.taken.len()).saturating_sub(before);
        if *count == 0 {
            self.counts.remove(&address);
        }
        if let Some(rank) = self.rank(address) {
            self.ranks.insert(rank);
        }
    }

    fn rank(&self, address: IpAddr) -> Option<Rank> {
        let count = *self.counts.get(&address)?;
        self.oldest(address).map(|oldest| (count, Reverse(oldest.number), address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);
    const YOUNG: Duration = Duration::from_secs(2);

    fn at(last: u16) -> IpAddr {
        let [high, low] = last.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    fn filled(most: usize, by: &[(u16, usize)]) -> Places<usize> {
        let mut places = Places::new(most, YOUNG);
        let holders = by.iter().flat_map(|(address, count)| std::iter::repeat_n(*address, *count));
        for (number, address) in holders.enumerate() {
            places.take(at(address), START, number).expect("free");
        }
        places
    }

    /// What goes for a newcomer of this address.
    fn goes(places: &mut Places<usize>, address: u16, now: Duration) -> Result<Option<usize>, AllTaken> {
        places.take(at(address), now, 1000).map(|(_, replaced)| replaced)
    }

    #[test]
    fn who_holds_most_makes_room_and_its_oldest_goes_first() {
        let mut places = filled(6, &[(1, 2), (2, 4)]);
        assert_eq!(goes(&mut places, 3, START), Ok(Some(2)));
        assert_eq!(goes(&mut places, 3, START), Ok(Some(3)));
        assert_eq!(goes(&mut places, 3, START), Err(AllTaken), "two each: nobody throws another out");
        assert_eq!(goes(&mut places, 4, START), Ok(Some(0)), "of those that hold as many, the oldest");
        assert_eq!(places.len(), 6);
    }

    #[test]
    fn neither_of_two_addresses_throws_the_other_out_for_one_more() {
        let mut places = filled(5, &[(1, 3), (2, 2)]);
        assert_eq!(goes(&mut places, 2, START), Err(AllTaken));
        assert_eq!(goes(&mut places, 1, START), Err(AllTaken));
        assert_eq!(goes(&mut places, 2, START + YOUNG), Ok(Some(0)), "it is old");
    }

    #[test]
    fn a_crowd_of_one_address_replaces_its_own_once_they_are_old() {
        let mut places = filled(3, &[(1, 3)]);
        assert_eq!(goes(&mut places, 1, START + YOUNG / 2), Err(AllTaken));
        for oldest in 0..3 {
            assert_eq!(goes(&mut places, 1, START + YOUNG), Ok(Some(oldest)));
        }
        assert_eq!(goes(&mut places, 1, START + YOUNG), Err(AllTaken), "those are young");
    }

    #[test]
    fn an_address_that_holds_as_many_pays_with_its_own() {
        let mut places = filled(4, &[(1, 2), (2, 2)]);
        assert_eq!(goes(&mut places, 2, START + YOUNG), Ok(Some(2)));
    }

    #[test]
    fn of_many_addresses_with_one_each_the_oldest_goes_and_only_once_it_is_old() {
        let by: Vec<(u16, usize)> = (1..=100).map(|address| (address, 1)).collect();
        let mut places = filled(100, &by);
        assert_eq!(goes(&mut places, 1000, START), Err(AllTaken));
        assert_eq!(goes(&mut places, 1000, START + YOUNG), Ok(Some(0)));
    }

    #[test]
    fn a_place_that_is_given_up_or_replaced_leaves_nothing_behind() {
        let mut places = Places::new(2, YOUNG);
        let (first, _) = places.take(at(1), START, "first").expect("free");
        let (second, _) = places.take(at(1), START, "second").expect("free");
        let (third, replaced) = places.take(at(2), START, "third").expect("of the other");
        assert_eq!((replaced, places.holder(&first)), (Some("first"), None));
        assert_eq!(places.give_up(&first), None, "it is another's");
        assert_eq!((places.give_up(&second), places.give_up(&third)), (Some("second"), Some("third")));
        assert!(places.is_empty() && places.counts.is_empty() && places.ranks.is_empty());
    }

    #[test]
    fn the_rank_of_each_address_is_what_it_holds_whatever_comes_and_goes() {
        let (mut places, mut taken, mut state) = (Places::new(50, Duration::ZERO), Vec::new(), 7_u32);
        for _ in 0..5000 {
            // A linear congruential generator: the same run each time.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let chance = state >> 16;
            if chance % 3 == 0 && !taken.is_empty() {
                places.give_up(&taken.swap_remove(chance as usize % taken.len()));
            } else {
                taken.push(places.take(at((chance % 7) as u16), START, ()).expect("all are old").0);
            }
            assert!(places.len() <= 50);
            let count = |address| places.taken.keys().filter(|place| place.address == address).count();
            let held = places.counts.iter().map(|(address, held)| (*held, *address));
            assert!(held.clone().all(|(held, address)| held == count(address)));
            assert_eq!(held.map(|(held, _)| held).sum::<usize>(), places.len());
            assert_eq!(places.ranks.len(), places.counts.len());
            let mut ranked = places.ranks.iter().map(|(held, Reverse(oldest), address)| (*held, *oldest, *address));
            assert!(ranked.all(|(held, oldest, address)| {
                places.counts[&address] == held && places.oldest(address).map(|place| place.number) == Some(oldest)
            }));
        }
    }
}
