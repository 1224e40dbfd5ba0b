//! The subscriptions of one connection, each in a place of its own.
//!
//! Guarantees: the fan-out finds a subscription by its place, without a look-up by name; how many
//! are behind is known at any time, here and in each channel, and the next of them is found in turn.
//! It is not a lock: all of it lives under the connection's.

use std::collections::HashMap;

use tidings_core::Channel;

use super::subscription::{Phase, Subscription};

/// Where a subscription stands in its connection, until it ends.
pub(super) type Place = usize;

/// One subscription of a connection: a place is used again, a number never is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) id: u64,
}

#[derive(Default)]
pub(super) struct Subscriptions {
    places: Vec<Option<Subscription>>,
    names: HashMap<Channel, Place>,
    behind: usize,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn channels(&self) -> Vec<Channel> {
        self.names.keys().cloned().collect()
    }

    /// How many are behind.
    pub(super) fn behind(&self) -> usize {
        self.behind
    }

    pub(super) fn of(&self, channel: &Channel) -> Option<&Subscription> {
        self.places.get(*self.names.get(channel)?)?.as_ref()
    }

    /// The subscription of this key, if it has not ended.
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Subscription> {
        self.places.get_mut(key.place)?.as_mut().filter(|known| known.id == key.id)
    }

    /// The place that the next subscription gets.
    pub(super) fn next_place(&self) -> Place {
        self.places.iter().position(Option::is_none).unwrap_or(self.places.len())
    }

    /// Puts a subscription into the next place.
    pub(super) fn insert(&mut self, subscription: Subscription) {
        let (place, name) = (self.next_place(), subscription.request.channel.clone());
        if subscription.phase == Phase::Behind {
            self.behind += 1;
            subscription.channel.fell_behind();
        }
        if place == self.places.len() {
            // Most connections have one: no room for others before they come.
            self.places.reserve_exact(if place == 0 { 1 } else { place });
            self.places.push(None);
        }
        self.places[place] = Some(subscription);
        self.names.insert(name, place);
    }

    pub(super) fn remove(&mut self, channel: &Channel) -> Option<Subscription> {
        let subscription = self.places.get_mut(self.names.remove(channel)?)?.take()?;
        self.behind -= usize::from(subscription.phase == Phase::Behind);
        // For the channel, whoever is held is behind.
        if subscription.phase != Phase::Live {
            subscription.channel.caught_up();
        }
        Some(subscription)
    }

    /// The subscription in a place is behind from now on.
    pub(super) fn fall_behind(&mut self, place: Place) {
        if let Some(Some(subscription)) = self.places.get_mut(place)
            && subscription.phase == Phase::Live
        {
            subscription.phase = Phase::Behind;
            self.behind += 1;
            subscription.channel.fell_behind();
        }
    }

    /// The subscription in a place is live from now on.
    pub(super) fn settle(&mut self, place: Place) {
        if let Some(Some(subscription)) = self.places.get_mut(place)
            && subscription.phase == Phase::Behind
        {
            subscription.phase = Phase::Live;
            self.behind -= 1;
            subscription.channel.caught_up();
        }
    }

    /// The subscription of this key, if it has not ended and is behind: whoever serves it may go on.
    pub(super) fn served(&mut self, key: Key) -> Option<&mut Subscription> {
        self.get(key).filter(|known| known.phase == Phase::Behind)
    }

    /// Nothing is given to a subscription from now on, for this reason or a newer one that it has already.
    /// Whether there is one.
    pub(super) fn hold(&mut self, channel: &Channel, reason: u64) -> bool {
        let Some(Some(known)) = self.names.get(channel).and_then(|place| self.places.get_mut(*place)) else {
            return false;
        };
        known.phase = match known.phase {
            Phase::Held(newer) => Phase::Held(newer.max(reason)),
            Phase::Behind => {
                self.behind -= 1;
                Phase::Held(reason)
            }
            Phase::Live => {
                known.channel.fell_behind();
                Phase::Held(reason)
            }
        };
        true
    }

    /// For which reason a subscription is held, if it is.
    pub(super) fn is_held(&self, channel: &Channel) -> Option<u64> {
        match self.of(channel)?.phase {
            Phase::Held(reason) => Some(reason),
            Phase::Live | Phase::Behind => None,
        }
    }

    /// A subscription that was held goes on from its cursor.
    pub(super) fn let_go(&mut self, channel: &Channel) {
        if let Some(Some(known)) = self.names.get(channel).and_then(|place| self.places.get_mut(*place))
            && matches!(known.phase, Phase::Held(_))
        {
            known.phase = Phase::Behind;
            self.behind += 1;
        }
    }

    /// The channels of those that are held.
    pub(super) fn held(&self) -> Vec<Channel> {
        let held = self.places.iter().flatten().filter(|known| matches!(known.phase, Phase::Held(_)));
        held.map(|known| known.request.channel.clone()).collect()
    }

    /// The next that is behind, after a place and around.
    pub(super) fn next_behind(&self, after: Place) -> Option<(Key, &Subscription)> {
        if self.behind == 0 {
            return None;
        }
        let count = self.places.len();
        (1..=count).map(|step| (after + step) % count).find_map(|place| {
            let known = self.places[place].as_ref().filter(|known| known.phase == Phase::Behind)?;
            Some((Key { place, id: known.id }, known))
        })
    }
}
