//! One client's view of one channel: from where it began to what it has now.
//!
//! Guarantees: a message that is left out, comes twice or comes late is counted as exactly that; a gap
//! that was told is no hole, one that was not is.
//! It does not know what should have been in the messages: the ledger does.

use std::ops::Range;

use crate::{ledger::Book, tally::Tally};

/// The view.
#[derive(Debug)]
pub struct View {
    /// Which of the ledger's channels.
    pub channel: usize,
    /// Whether it began with the oldest message, not with the newest.
    pub from_oldest: bool,
    /// Whether the subscription stands, as far as this client knows.
    pub attached: bool,
    /// Where it is: the epoch and the last number that came; none before the first answer.
    place: Option<(String, u64)>,
    /// Where it began, in this epoch.
    start: u64,
    /// What came in this epoch, each once.
    seen: u64,
    /// What was told not to come, in this epoch.
    passed: u64,
    /// What was left out without a word.
    missing: Vec<Range<u64>>,
}

impl View {
    /// A view that has not begun.
    #[must_use]
    pub fn new(channel: usize, from_oldest: bool) -> Self {
        let (place, missing) = (None, Vec::new());
        Self { channel, from_oldest, attached: false, place, start: 0, seen: 0, passed: 0, missing }
    }

    /// The epoch and the last number, once it has begun.
    #[must_use]
    pub fn place(&self) -> Option<(&str, u64)> {
        self.place.as_ref().map(|(epoch, seq)| (epoch.as_str(), *seq))
    }

    /// A subscription was answered: `seq` is the channel's head at that moment.
    pub fn answered(&mut self, epoch: &str, seq: u64, recovered: Option<bool>, tally: &mut Tally) {
        self.attached = true;
        match &mut self.place {
            None => {
                self.start = if self.from_oldest { 0 } else { seq };
                self.place = Some((epoch.to_owned(), self.start));
            }
            // The beginning is the same place in every epoch.
            Some((known, 0)) if recovered == Some(true) => epoch.clone_into(known),
            Some((known, last)) if recovered == Some(true) && (known != epoch || seq < *last) => {
                let (known, last) = (known.clone(), *last);
                tally.is_broken(|| format!("recovered from {known} {last} at {epoch} {seq}"));
            }
            Some(_) => {}
        }
    }

    /// A message came.
    pub fn message(&mut self, seq: u64, hash: u64, book: &Book, tally: &mut Tally) {
        let name = &book.name;
        let Some((epoch, last)) = &mut self.place else {
            return tally.is_broken(|| format!("{name}: {seq} came before the answer to the subscription"));
        };
        if !self.attached {
            return tally.is_broken(|| format!("{name}: {seq} came without a subscription"));
        }
        if !book.saw(epoch, seq, hash) {
            tally.strangers += 1;
            tally.note(|| format!("{name}: another message at {epoch} {seq} than was acknowledged or seen"));
        }
        if seq > *last {
            if seq > *last + 1 {
                tally.holes += 1;
                tally.note(|| format!("{name}: {seq} came after {last}"));
                self.missing.push(*last + 1..seq);
            }
            *last = seq;
            self.seen += 1;
        } else if self.fill(seq) {
            self.seen += 1;
            tally.disorders += 1;
            tally.note(|| format!("{name}: {seq} came late"));
        } else {
            tally.doubles += 1;
            tally.note(|| format!("{name}: {seq} came again"));
        }
    }

    fn fill(&mut self, seq: u64) -> bool {
        let Some(at) = self.missing.iter().position(|range| range.contains(&seq)) else { return false };
        let range = self.missing.swap_remove(at);
        let parts = [range.start..seq, seq + 1..range.end];
        self.missing.extend(parts.into_iter().filter(|part| !part.is_empty()));
        true
    }

    /// It was told that these numbers will not come.
    pub fn gap(&mut self, from: u64, to: u64, tally: &mut Tally) {
        tally.told += 1;
        let Some((_, last)) = &mut self.place else { return tally.is_broken(|| "a gap before any answer".to_owned()) };
        if from > *last + 1 {
            tally.holes += 1;
            tally.note(|| format!("a gap was told from {from}, the last message was {last}"));
        }
        if to > *last {
            let passed = to - from.max(*last + 1) + 1;
            (self.passed, tally.told_messages) = (self.passed + passed, tally.told_messages + passed);
            *last = to;
        }
    }

    /// It was told of another epoch: live messages follow after `seq`.
    pub fn reset(&mut self, epoch: &str, seq: u64, tally: &mut Tally) {
        tally.told += 1;
        self.close(tally);
        self.place = Some((epoch.to_owned(), seq));
        (self.start, self.seen, self.passed) = (seq, 0, 0);
        self.missing.clear();
    }

    /// Adds what was expected and seen so far.
    fn close(&self, tally: &mut Tally) {
        let Some((_, last)) = self.place() else { return };
        tally.seen += self.seen;
        tally.expected += (last - self.start) - self.passed;
    }

    /// The end: what is missing up to the channel's head is a hole.
    pub fn judge(&self, book: &Book, tally: &mut Tally) {
        let name = &book.name;
        let Some((head_epoch, head)) = book.head() else { return };
        let Some((epoch, last)) = self.place() else {
            return tally.is_broken(|| format!("{name}: a subscription was never answered"));
        };
        self.close(tally);
        if epoch != head_epoch || last < head {
            tally.holes += 1;
            tally.expected += if epoch == head_epoch { head - last } else { 0 };
            tally.note(|| format!("{name}: it ends at {epoch} {last}, the head is {head_epoch} {head}"));
        }
    }

    /// Whether it has all that there is.
    #[must_use]
    pub fn is_at_head(&self, book: &Book) -> bool {
        match (book.head(), self.place()) {
            (None, _) => true,
            (Some((epoch, head)), Some((own, last))) => epoch == own && last >= head,
            (Some(_), None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    /// Lets these messages come from the beginning, then judges at the acknowledged `head`.
    fn tally(head: u64, told: impl Fn(&mut View, &mut Tally), numbers: &[u64]) -> Tally {
        let ledger = Ledger::new("t", 1);
        let book = &ledger.books()[0];
        (1..=head).for_each(|seq| assert!(book.acknowledged("e", seq, seq)));
        let (mut view, mut tally) = (View::new(0, true), Tally::default());
        view.answered("e", 0, None, &mut tally);
        told(&mut view, &mut tally);
        numbers.iter().for_each(|seq| view.message(*seq, *seq, book, &mut tally));
        view.judge(book, &mut tally);
        tally
    }

    #[test]
    fn what_comes_once_and_in_order_is_exact() {
        let found = tally(3, |_, _| {}, &[1, 2, 3]);
        assert_eq!((found.faults(), found.expected, found.seen), (0, 3, 3));
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        let of = |numbers: &[u64]| {
            let found = tally(3, |_, _| {}, numbers);
            (found.holes, found.doubles, found.disorders)
        };
        assert_eq!(of(&[1, 3]), (1, 0, 0));
        assert_eq!(of(&[1, 3, 2]), (1, 0, 1));
        assert_eq!(of(&[1, 2, 2, 3]), (0, 1, 0));
        assert_eq!(of(&[1, 2]), (1, 0, 0), "the end is missing");
        assert_eq!(of(&[]), (1, 0, 0));
    }

    #[test]
    fn a_told_gap_is_no_hole_and_an_untold_one_before_it_is() {
        let found = tally(5, |view, tally| view.gap(1, 2, tally), &[3, 4, 5]);
        assert_eq!((found.faults(), found.told_messages, found.expected, found.seen), (0, 2, 3, 3));
        assert_eq!(tally(5, |view, tally| view.gap(2, 3, tally), &[4, 5]).holes, 1);
    }

    #[test]
    fn a_reset_begins_anew_and_another_content_is_a_stranger() {
        let ledger = Ledger::new("t", 1);
        let book = &ledger.books()[0];
        let (mut view, mut tally) = (View::new(0, false), Tally::default());
        view.answered("e", 4, None, &mut tally);
        view.message(5, 5, book, &mut tally);
        view.reset("f", 2, &mut tally);
        assert!(book.acknowledged("f", 3, 3));
        assert!(!view.is_at_head(book));
        view.message(3, 3, book, &mut tally);
        assert!(view.is_at_head(book));
        view.judge(book, &mut tally);
        assert_eq!((tally.faults(), tally.expected, tally.seen, tally.told), (0, 2, 2, 1));
        assert!(book.acknowledged("f", 4, 4));
        view.message(4, 9, book, &mut tally);
        assert_eq!(tally.strangers, 1);
    }

    #[test]
    fn only_from_the_beginning_anybody_is_recovered_in_another_epoch() {
        let recovered = |last: u64| {
            let (mut view, mut tally) = (View::new(0, false), Tally::default());
            view.answered("e", last, None, &mut tally);
            view.answered("f", 5, Some(true), &mut tally);
            (tally.broken, view.place().map(|(epoch, _)| epoch.to_owned()))
        };
        assert_eq!(recovered(0), (0, Some("f".to_owned())));
        assert_eq!(recovered(3), (1, Some("e".to_owned())));
    }

    #[test]
    fn what_comes_without_a_subscription_is_broken() {
        let ledger = Ledger::new("t", 1);
        let (mut view, mut tally) = (View::new(0, false), Tally::default());
        view.message(1, 1, &ledger.books()[0], &mut tally);
        view.answered("e", 1, None, &mut tally);
        view.attached = false;
        view.message(2, 2, &ledger.books()[0], &mut tally);
        assert_eq!(tally.broken, 2);
    }
}
