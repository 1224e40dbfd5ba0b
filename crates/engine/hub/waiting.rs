//! What waits to be said to one connection: answers and notices that its outlet did not take yet.
//!
//! Guarantees: the bytes of its answers are known at any time, and counted for its user while they wait; what is offered at
//! once is a bounded part of it, so that a long queue is not copied for each little that leaves.
//! It is not a bound: whoever adds looks whether it became too much.

use std::{collections::VecDeque, sync::Arc};

use tidings_core::outlet::Said;

use crate::budget::{Bound, Held, Share};

/// About so many bytes are offered at once: more than a socket takes.
const PORTION: usize = 256 * 1024;
/// What one of them takes in memory beside its JSON, about.
const EACH: usize = 64;

/// The queue. It lives under the connection's lock.
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<Said>,
    bytes: usize,
    held: Option<Held>,
}

/// What is counted of one: an answer's own bytes. A notice is bounded otherwise, for the next large one is made
/// only once all has left, and its bytes may be shared by many connections.
fn weight(said: &Said) -> usize {
    EACH + if said.answer_to.is_some() { said.json.len() } else { 0 }
}

impl Waiting {
    pub(super) fn push(&mut self, said: Said) {
        self.bytes += weight(&said);
        self.queue.push_back(said);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first of them, as many as are to be offered at once.
    pub(super) fn portion(&mut self) -> &[Said] {
        let all = self.queue.make_contiguous();
        let mut bytes = 0;
        let fits = |said: &&Said| {
            bytes += said.json.len() + EACH;
            bytes <= PORTION
        };
        let count = all.iter().take_while(fits).count();
        &all[..count.max(1).min(all.len())]
    }

    /// The first so many have left.
    pub(super) fn left(&mut self, count: usize) {
        let count = count.min(self.queue.len());
        self.bytes -= self.queue.drain(..count).map(|said| weight(&said)).sum::<usize>();
        if self.queue.is_empty() {
            // Most connections have nothing waiting: no room is kept for it.
            self.queue = VecDeque::new();
        }
    }

    /// Counts what waits now for its user.
    pub(super) fn settle(&mut self, share: &Arc<Share>) {
        match &mut self.held {
            held @ Some(_) if self.bytes == 0 => *held = None,
            Some(held) => held.set(self.bytes),
            held @ None if self.bytes > 0 => *held = Some(share.hold_anyway(self.bytes)),
            None => {}
        }
    }

    /// The bound of the user or of all that is exceeded with what waits here.
    pub(super) fn exceeds(&self) -> Option<Bound> {
        self.held.as_ref().and_then(Held::exceeds)
    }

    /// Throws all of it away.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Extend<Said> for Waiting {
    fn extend<T: IntoIterator<Item = Said>>(&mut self, more: T) {
        more.into_iter().for_each(|said| self.push(said));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, BudgetConfig, Who};

    fn said(bytes: usize) -> Said {
        Said::answer(1, vec![b'x'; bytes])
    }

    #[test]
    fn what_waits_is_counted_to_the_byte_until_it_has_left_or_is_thrown_away() {
        let budget = Budget::new(BudgetConfig::default());
        let share = budget.share(&Who::User("ada".parse().expect("an id")));
        let mut waiting = Waiting::default();
        waiting.extend([said(1000), said(500), said(1)]);
        waiting.settle(&share);
        assert_eq!((waiting.bytes(), budget.held()), (1501 + 3 * EACH, 1501 + 3 * EACH));
        waiting.left(2);
        waiting.settle(&share);
        assert_eq!((waiting.len(), budget.held()), (1, 1 + EACH));
        waiting.left(1);
        waiting.settle(&share);
        assert_eq!((waiting.bytes(), budget.held()), (0, 0));
        waiting.push(said(7));
        waiting.settle(&share);
        waiting.clear();
        assert_eq!((waiting.bytes(), budget.held()), (0, 0));
        waiting.extend([said(7), Said::notice(vec![b'x'; 1000])]);
        waiting.settle(&share);
        assert_eq!(budget.held(), 7 + 2 * EACH, "a notice is no answer");
        drop(waiting);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_long_queue_is_offered_in_parts_and_what_is_larger_than_one_alone() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.portion().len(), 0);
        waiting.extend((0..100).map(|_| said(10_000)));
        assert_eq!(waiting.portion().len(), PORTION / (10_000 + EACH));
        waiting.clear();
        waiting.extend([said(10 * PORTION), said(1)]);
        assert_eq!(waiting.portion().len(), 1);
    }
}
