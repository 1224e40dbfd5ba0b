//! Which of the waiting work is written together, and in which order.
//!
//! Guarantees: work of one channel keeps its order; a channel that has much waiting gets a share of
//! a batch first and more only when nobody else wants it, so that nobody waits for somebody else's flood.
//! It is not a queue: it takes from one.

use std::collections::{HashMap, VecDeque};

use tidings_core::Channel;

use super::queue::Entry;

/// The most publications of one transaction.
const BATCH_ROWS: usize = 512;
/// The most bytes of one transaction, unless one send alone has more.
const BATCH_BYTES: usize = 1024 * 1024;
/// A channel's share of a batch while others wait.
const SHARE_ROWS: usize = 64;
const SHARE_BYTES: usize = 128 * 1024;

/// What is taken so far.
#[derive(Default, Clone, Copy)]
struct Load {
    rows: usize,
    bytes: usize,
}

impl Load {
    fn and(self, entry: &Entry) -> Self {
        Self { rows: self.rows + entry.work.rows(), bytes: self.bytes + entry.work.bytes() }
    }

    fn within(self, rows: usize, bytes: usize) -> bool {
        self.rows <= rows && self.bytes <= bytes
    }
}

/// Takes the next batch out of what waits: at least one entry, if there is one.
pub(super) fn next_batch(waiting: &mut VecDeque<Entry>) -> Vec<Entry> {
    let total = waiting.iter().fold(Load::default(), Load::and);
    if total.within(BATCH_ROWS, BATCH_BYTES) {
        return waiting.drain(..).collect();
    }
    let mut batch = Vec::new();
    let mut load = Load::default();
    shares(waiting, &mut batch, &mut load);
    // What is left of the batch goes to whoever waited longest.
    while let Some(entry) = waiting.pop_front() {
        let more = load.and(&entry);
        if !batch.is_empty() && !more.within(BATCH_ROWS, BATCH_BYTES) {
            waiting.push_front(entry);
            break;
        }
        load = more;
        batch.push(entry);
    }
    batch
}

/// A share of each channel, oldest first. A channel whose share is used up is passed over from
/// there on, together with every later entry of the channels that it would have to overtake.
fn shares(waiting: &mut VecDeque<Entry>, batch: &mut Vec<Entry>, load: &mut Load) {
    let mut used: HashMap<Channel, Option<Load>> = HashMap::new();
    let mut left = VecDeque::with_capacity(waiting.len());
    while let Some(entry) = waiting.pop_front() {
        let more = load.and(&entry);
        if !more.within(BATCH_ROWS, BATCH_BYTES) {
            left.push_back(entry);
            break;
        }
        let channels: Vec<Channel> = entry.work.channels().cloned().collect();
        let free = channels.iter().all(|channel| match used.get(channel) {
            Some(Some(share)) => share.and(&entry).within(SHARE_ROWS, SHARE_BYTES),
            Some(None) => false,
            None => true,
        });
        for channel in channels {
            let share = used.entry(channel).or_insert(Some(Load::default()));
            *share = share.filter(|_| free).map(|share| share.and(&entry));
        }
        if free {
            *load = more;
            batch.push(entry);
        } else {
            left.push_back(entry);
        }
    }
    left.append(waiting);
    *waiting = left;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tidings_core::{Event, log::Publication};
    use tokio::sync::oneshot;

    use super::{
        super::queue::{Queue, Work},
        *,
    };

    /// A send of one message to each of these channels. Its number is its payload.
    fn send(queue: &Queue, number: u64, channels: &[u8]) {
        let publications = channels
            .iter()
            .map(|channel| Publication {
                channel: format!("test:{channel}").parse().unwrap(),
                event: Event::new("test.said", number),
                durable: true,
                opens: None,
            })
            .collect();
        let (to, _) = oneshot::channel();
        queue.push(Work::Send { publications, user: None, to }, queue.try_reserve(1).unwrap());
    }

    fn number(entry: &Entry) -> u64 {
        let Work::Send { publications, .. } = &entry.work else { panic!("only sends here") };
        *publications[0].event.payload.typed::<u64>().unwrap()
    }

    #[test]
    fn one_message_of_a_quiet_channel_does_not_wait_for_a_flood() {
        let queue = Queue::new(10_000, 1_000_000);
        (0..5000).for_each(|n| send(&queue, n, &[0]));
        send(&queue, 5000, &[1]);
        let mut waiting = VecDeque::new();
        queue.take(&mut waiting, Duration::ZERO);
        let batch: Vec<u64> = next_batch(&mut waiting).iter().map(number).collect();
        assert!(batch.contains(&5000));
        assert_eq!(batch.len(), BATCH_ROWS, "the flood has what nobody else wants");
        let next: Vec<u64> = next_batch(&mut waiting).iter().map(number).collect();
        assert_eq!(next[0], BATCH_ROWS as u64 - 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_channel_keeps_its_order_and_nothing_is_lost(
            sends in prop::collection::vec(prop::collection::vec(0u8..6, 1..4), 600..1500)
        ) {
            let queue = Queue::new(10_000, 1_000_000);
            for (number, channels) in (0..).zip(&sends) {
                send(&queue, number, channels);
            }
            let mut waiting = VecDeque::new();
            queue.take(&mut waiting, Duration::ZERO);
            let mut last: HashMap<Channel, u64> = HashMap::new();
            let mut count = 0;
            while !waiting.is_empty() {
                for entry in next_batch(&mut waiting) {
                    count += 1;
                    for channel in entry.work.channels() {
                        let before = last.insert(channel.clone(), number(&entry));
                        prop_assert!(before.is_none_or(|before| before <= number(&entry)));
                    }
                }
            }
            prop_assert_eq!(count, sends.len());
        }
    }
}
