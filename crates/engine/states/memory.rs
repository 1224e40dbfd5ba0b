//! States in memory: what was folded last, and the folds that are under way.
//!
//! Guarantees: bounded by count and by bytes, whoever was not asked for longest goes first; nothing is folded,
//! copied or encoded under its lock; one fold of a channel at a time, whoever asks for it.
//! It is not a truth of its own: everything in it can be folded again.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use tidings_core::{Channel, Result, Seq, projection::Folded};

use super::StateAt;

/// How many states are kept in memory.
pub(super) const KEPT: usize = 1024;
/// How many bytes of states are kept in memory, about: of each its JSON, twice, because it may be kept as JSON too.
pub(super) const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// A fold that is under way, for all who wait for it.
pub(super) type Flight = Shared<Fold>;
type Fold = BoxFuture<'static, Result<StateAt>>;

/// What is kept of a channel.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) at: StateAt,
    /// Up to where it is saved.
    pub(super) saved: Seq,
    /// How long its JSON is, about.
    pub(super) bytes: usize,
}

/// A state with a draft in it, made once for all who are shown it.
pub(super) struct Shown {
    /// Which draft.
    draft: u64,
    state: OnceLock<Arc<dyn Folded>>,
}

impl Shown {
    /// The state, made by whoever asks first.
    pub(super) fn state(&self, make: impl FnOnce() -> Arc<dyn Folded>) -> Arc<dyn Folded> {
        self.state.get_or_init(make).clone()
    }
}

struct Place {
    kept: Kept,
    shown: Option<Arc<Shown>>,
    used: u64,
}

/// The states.
#[derive(Default)]
pub(super) struct Memory {
    places: HashMap<Channel, Place>,
    bytes: usize,
    tick: u64,
    flights: HashMap<Channel, (u64, WeakShared<Fold>)>,
    /// How often a channel was deleted: a fold that began before one may hold what is gone.
    pub(super) deletions: u64,
}

impl Memory {
    fn tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// What is kept of a channel.
    pub(super) fn get(&mut self, channel: &Channel) -> Option<Kept> {
        let used = self.tick();
        let place = self.places.get_mut(channel)?;
        place.used = used;
        Some(place.kept.clone())
    }

    /// Keeps a state, unless there is a newer one. What had to go for it is given back, to be dropped
    /// without the lock.
    #[must_use]
    pub(super) fn keep(&mut self, channel: &Channel, kept: Kept) -> Vec<impl Sized + use<>> {
        let used = self.tick();
        let mut gone = Vec::new();
        if self.places.get(channel).is_none_or(|place| place.kept.at.seq <= kept.at.seq) {
            self.bytes += kept.bytes;
            let former = self.places.insert(channel.clone(), Place { kept, shown: None, used });
            gone.extend(former);
            self.bytes -= gone.iter().map(|place| place.kept.bytes).sum::<usize>();
        }
        if self.places.len() > KEPT || 2 * self.bytes > KEPT_BYTES {
            self.make_room(&mut gone);
        }
        gone
    }

    /// Lets go of what was not asked for longest, until a quarter is free.
    fn make_room(&mut self, gone: &mut Vec<Place>) {
        let mut ages: Vec<(u64, Channel)> =
            self.places.iter().map(|(channel, place)| (place.used, channel.clone())).collect();
        ages.sort_unstable_by_key(|(used, _)| *used);
        for (_, channel) in ages {
            if self.places.len() <= KEPT / 4 * 3 && 2 * self.bytes <= KEPT_BYTES / 4 * 3 {
                return;
            }
            if let Some(place) = self.places.remove(&channel) {
                self.bytes -= place.kept.bytes;
                gone.push(place);
            }
        }
    }

    /// It is saved up to here.
    pub(super) fn saved(&mut self, channel: &Channel, seq: Seq) {
        if let Some(place) = self.places.get_mut(channel) {
            place.kept.saved = place.kept.saved.max(seq);
        }
    }

    /// The state of exactly `seq` with this draft in it, made or not yet; none if that is not kept.
    pub(super) fn shown(&mut self, channel: &Channel, seq: Seq, draft: u64) -> Option<Arc<Shown>> {
        let place = self.places.get_mut(channel).filter(|place| place.kept.at.seq == seq)?;
        if place.shown.as_ref().is_none_or(|shown| shown.draft != draft) {
            place.shown = Some(Arc::new(Shown { draft, state: OnceLock::new() }));
        }
        place.shown.clone()
    }

    /// A channel is gone, and the fold of it that is under way is of no use to others.
    #[must_use]
    pub(super) fn forget(&mut self, channel: &Channel) -> impl Sized + use<> {
        self.deletions += 1;
        self.flights.remove(channel);
        let place = self.places.remove(channel);
        self.bytes -= place.as_ref().map_or(0, |place| place.kept.bytes);
        place
    }

    /// The fold of a channel that is under way, or a new one, which is given its number.
    pub(super) fn flight(&mut self, channel: &Channel, begin: impl FnOnce(u64) -> Fold) -> Flight {
        if let Some(flight) = self.flights.get(channel).and_then(|(_, flight)| flight.upgrade()) {
            return flight;
        }
        if self.flights.len() > KEPT {
            // Those that everybody went away from.
            self.flights.retain(|_, (_, flight)| flight.upgrade().is_some());
        }
        let number = self.tick();
        let flight = begin(number).shared();
        if let Some(weak) = flight.downgrade() {
            self.flights.insert(channel.clone(), (number, weak));
        }
        flight
    }

    /// A fold is over: whoever asks from now on finds it in memory, or begins anew.
    pub(super) fn landed(&mut self, channel: &Channel, number: u64) {
        if self.flights.get(channel).is_some_and(|(under_way, _)| *under_way == number) {
            self.flights.remove(channel);
        }
    }

    /// How many states are kept, and their bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.places.len(), self.bytes)
    }
}
