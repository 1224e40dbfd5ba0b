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
        if subscription.phase == Phase::Behind {
            self.behind -= 1;
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
