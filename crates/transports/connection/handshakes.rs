//! Handshakes under way, by address: what is open, and whose client is not let in yet.
//!
//! Guarantees: each counts from its first request until its client is let in, it ends or it is replaced, and nothing of
//! it is kept here afterwards; when as many are under way as may be, a newcomer replaces one as [`Places`] says, which
//! is ended at once and counted.
//! It does not know how one is ended: what the handshake belongs to does.

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::places::{AllTaken, Place, Places};

/// How long a handshake has before its own address may replace it: an honest client is let in within that, also in a
/// crowd that comes back.
const YOUNG: Duration = Duration::from_secs(2);

/// What a handshake belongs to.
pub(crate) trait Replaced: Send + Sync {
    /// Another handshake takes its place: it is to end at once.
    fn replaced(&self);
}

/// None while it belongs to nothing yet.
type Owner = Option<Weak<dyn Replaced>>;

/// All that are under way.
pub(crate) struct Handshakes(Mutex<Places<Owner>>);

impl Handshakes {
    /// None yet, and so many at most.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Places::new(most, YOUNG))))
    }

    /// How many are under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// One of this address begins, in the place of another if need be.
    ///
    /// # Errors
    /// There are as many as may be, and none that may be replaced.
    pub(crate) fn begin(self: &Arc<Self>, address: IpAddr, now: Duration) -> Result<Handshake, AllTaken> {
        let (place, replaced) = self.0.lock().take(address, now, None)?;
        if let Some(owner) = replaced {
            metrics::counter!("tidings_handshakes_replaced_total").increment(1);
            // One that belongs to nothing yet finds its place taken.
            if let Some(owner) = owner.as_ref().and_then(Weak::upgrade) {
                owner.replaced();
            }
        }
        Ok(Handshake(Box::new((self.clone(), place))))
    }
}

/// Counts a handshake that is under way, until dropped. A pointer, since a connection keeps room for it all its life.
pub(crate) struct Handshake(Box<(Arc<Handshakes>, Place)>);

impl Handshake {
    /// From now on this is ended when the handshake is replaced; at once if it was.
    pub(crate) fn belongs_to(&self, owner: Weak<dyn Replaced>) {
        let (all, place) = &*self.0;
        if let Some(holder) = all.0.lock().holder(place) {
            *holder = Some(owner);
            return;
        }
        if let Some(owner) = owner.upgrade() {
            owner.replaced();
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let (all, place) = &*self.0;
        all.0.lock().give_up(place);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const START: Duration = Duration::from_secs(1000);

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Replaced for Counted {
        fn replaced(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn weak(owner: &Arc<Counted>) -> Weak<dyn Replaced> {
        let weak: Weak<Counted> = Arc::downgrade(owner);
        weak
    }

    #[test]
    fn what_is_replaced_is_ended_once_and_counts_no_longer() {
        let (all, owner) = (Handshakes::new(2), Arc::<Counted>::default());
        let held = [0, 1].map(|_| all.begin(at(1), START).ok().unwrap());
        held.iter().for_each(|one| one.belongs_to(weak(&owner)));
        assert!(all.begin(at(1), START).is_err(), "they are young");
        let other = all.begin(at(2), START).ok().unwrap();
        assert_eq!((owner.0.load(Ordering::SeqCst), all.len()), (1, 2));
        drop(held);
        assert_eq!(all.len(), 1, "the place of the other is not given up");
        drop(other);
        assert_eq!((owner.0.load(Ordering::SeqCst), all.len()), (1, 0));
    }

    #[test]
    fn what_is_replaced_before_it_belongs_to_anything_is_ended_once_it_does() {
        let (all, owner) = (Handshakes::new(1), Arc::<Counted>::default());
        let held = all.begin(at(1), START).ok().unwrap();
        let _other = all.begin(at(2), START + YOUNG).ok().unwrap();
        assert_eq!(owner.0.load(Ordering::SeqCst), 0);
        held.belongs_to(weak(&owner));
        assert_eq!(owner.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_handshake_takes_one_word_of_the_connection_that_has_had_it() {
        assert_eq!(size_of::<Option<Handshake>>(), size_of::<usize>());
    }
}
