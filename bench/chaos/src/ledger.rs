//! The ledger of a run: what was acknowledged where, and what anybody saw there.
//!
//! Guarantees: two clients that saw different things at one position, a client that saw what was not
//! acknowledged, and an acknowledged message that the log does not have are all found.
//! It does not follow the clients one by one: their views do.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::tally::Tally;

/// A kind of channels, and how a message says which one it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// What the names of its channels begin with.
    pub prefix: &'static str,
    /// A type of its domain that no service says.
    pub event_type: &'static str,
    /// The field of the data that names the channel.
    pub field: &'static str,
}

/// Every namespace that the server has without a configuration. What is kept of them, and why, differs.
pub const NAMESPACES: [Namespace; 5] = [
    Namespace { prefix: "session:", event_type: "session.note", field: "sessionId" },
    Namespace { prefix: "user:", event_type: "user.note", field: "userId" },
    Namespace { prefix: "project:", event_type: "project.note", field: "projectId" },
    Namespace { prefix: "shell:terminal:", event_type: "shell.note", field: "terminalId" },
    Namespace { prefix: "workflow:run:", event_type: "workflow.note", field: "runId" },
];

/// The channels of a run.
#[derive(Debug)]
pub struct Ledger {
    books: Vec<Book>,
}

/// One channel.
#[derive(Debug)]
pub struct Book {
    /// Its name.
    pub name: String,
    /// What it is of.
    pub namespace: Namespace,
    pages: Mutex<Vec<Epoch>>,
    /// The oldest number that was kept when somebody last looked.
    first: Mutex<Option<u64>>,
}

/// The numbers of one epoch, from 1 on.
#[derive(Debug, Default)]
struct Epoch {
    name: String,
    entries: Vec<Entry>,
}

/// What is known of one position: hashes of data, none where nothing is.
#[derive(Debug, Default, Clone, Copy)]
struct Entry {
    acknowledged: Option<u64>,
    seen: Option<u64>,
}

/// A channel as the server's own history shows it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct History {
    /// The log's epoch.
    pub epoch: String,
    /// The oldest number that is kept.
    pub first: u64,
    /// The newest number.
    pub head: u64,
    /// Numbers and hashes of what is kept, in order.
    pub events: Vec<(u64, u64)>,
}

/// What an audit has to let pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leave {
    /// The file was damaged on purpose: acknowledged messages may be gone.
    pub lost: bool,
    /// Old messages may have been trimmed.
    pub trimmed: bool,
}

impl Ledger {
    /// A ledger of so many channels, of one namespace after the other, whose ids begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &str, count: usize) -> Self {
        let book = |index: usize| {
            let namespace = NAMESPACES[index % NAMESPACES.len()];
            let name = format!("{}{prefix}{index}", namespace.prefix);
            Book { name, namespace, pages: Mutex::default(), first: Mutex::default() }
        };
        Self { books: (0..count.max(1)).map(book).collect() }
    }

    /// The books of all channels.
    #[must_use]
    pub fn books(&self) -> &[Book] {
        &self.books
    }

    /// How many messages were acknowledged, over all channels and epochs.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let count = |book: &Book| {
            let pages = book.pages();
            let entries = pages.iter().flat_map(|epoch| &epoch.entries);
            entries.filter(|entry| entry.acknowledged.is_some()).count() as u64
        };
        self.books.iter().map(count).sum()
    }
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Vec<Epoch>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id that the data of its messages carries.
    #[must_use]
    pub fn id(&self) -> &str {
        self.name.rsplit(':').next().unwrap_or_default()
    }

    /// Nothing below what is kept now may go any more without a reason.
    pub fn keeps_from(&self, first: u64) {
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
    }

    /// Holds the oldest number that is kept now against the one of before.
    pub fn holds_first(&self, first: u64, tally: &mut Tally) {
        let before = *self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = before.filter(|before| first > *before) {
            tally.is_broken(|| format!("{}: it began with {before}, and after a restart with {first}", self.name));
        }
    }

    /// Enters what a client saw. False if it is something else than was acknowledged there, or than
    /// another one saw.
    pub fn saw(&self, epoch: &str, seq: u64, hash: u64) -> bool {
        let mut pages = self.pages();
        let entry = entry(&mut pages, epoch, seq);
        let before = entry.seen.or(entry.acknowledged);
        entry.seen.get_or_insert(hash);
        before.is_none_or(|before| before == hash)
    }

    /// Enters what the server acknowledged. False if the position was given before, or somebody saw
    /// something else there.
    pub fn acknowledged(&self, epoch: &str, seq: u64, hash: u64) -> bool {
        let mut pages = self.pages();
        let entry = entry(&mut pages, epoch, seq);
        let before = entry.acknowledged.replace(hash);
        before.is_none() && entry.seen.is_none_or(|seen| seen == hash)
    }

    /// The newest acknowledged position of the newest epoch, if there is any.
    #[must_use]
    pub fn head(&self) -> Option<(String, u64)> {
        let pages = self.pages();
        let epoch = pages.last()?;
        let newest = epoch.entries.iter().rposition(|entry| entry.acknowledged.is_some())?;
        Some((epoch.name.clone(), newest as u64 + 1))
    }

    /// What came after the log's head was destroyed on purpose, and nothing is known of it any more. What is
    /// left has to be what was acknowledged, in the old epoch or in a new one.
    pub fn forget_after(&self, history: &History, tally: &mut Tally) {
        let mut pages = self.pages();
        let mut known = pages.last().map(|page| page.entries.clone()).unwrap_or_default();
        let as_known =
            |(seq, hash): &(u64, u64)| known.get(*seq as usize - 1).and_then(|entry| entry.acknowledged) == Some(*hash);
        if history.first > 1 {
            tally.is_broken(|| format!("{}: what is left of the log begins with {}", self.name, history.first));
        }
        if !history.events.iter().all(as_known) {
            tally.strangers += 1;
            tally.note(|| format!("{}: what is left of the log is not what was acknowledged", self.name));
        }
        known.truncate(history.head as usize);
        match pages.iter_mut().find(|page| page.name == history.epoch) {
            Some(page) => page.entries = known,
            None => pages.push(Epoch { name: history.epoch.clone(), entries: known }),
        }
    }

    /// The log was restored, and goes on in another epoch: what it kept is known there too.
    pub fn renew(&self, history: &History, tally: &mut Tally) {
        let mut pages = self.pages();
        let name = &self.name;
        if pages.iter().any(|page| page.name == history.epoch) {
            return tally.is_broken(|| format!("{name}: the restored log has its old epoch {}", history.epoch));
        }
        let known = pages.last().map(|page| page.entries.clone()).unwrap_or_default();
        let kept = history.events.iter().map(|(seq, hash)| (*seq, Some(*hash)));
        if !kept.eq((1..).zip(known.iter().map(|entry| entry.acknowledged))) {
            tally.strangers += 1;
            tally.note(|| format!("{name}: the restored log is not what was acknowledged"));
        }
        pages.push(Epoch { name: history.epoch.clone(), entries: known });
    }

    /// Holds the ledger against the server's own history.
    pub fn audit(&self, history: &History, leave: Leave, tally: &mut Tally) {
        let pages = self.pages();
        let name = &self.name;
        let empty = Vec::new();
        let page = pages.iter().find(|page| page.name == history.epoch);
        let entries = page.map_or(&empty, |page| &page.entries);
        let at = |seq: u64| entries.get(seq as usize - 1).copied().unwrap_or_default();
        let mut next = history.first;
        for (seq, hash) in &history.events {
            if *seq != next {
                tally.holes += 1;
                tally.note(|| format!("{name}: the log goes from {next} to {seq}"));
            }
            next = seq + 1;
            let Entry { acknowledged, seen } = at(*seq);
            if acknowledged.is_some_and(|other| other != *hash) || seen.is_some_and(|other| other != *hash) {
                tally.strangers += 1;
                tally.note(|| format!("{name}: the log has something else at {seq} than was acknowledged or seen"));
            } else if acknowledged.is_none() && page.is_some() && !leave.lost {
                tally.strangers += 1;
                tally.note(|| format!("{name}: nobody was told that {seq} was accepted, and it is in the log"));
            }
        }
        if next != history.head + 1 {
            tally.is_broken(|| format!("{name}: its history ends before {next}, its head is {}", history.head));
        }
        if history.first > 1 && !leave.trimmed && !leave.lost {
            tally.is_broken(|| format!("{name}: what came before {} was trimmed", history.first));
        }
        if !leave.trimmed && !leave.lost {
            self.holds_first(history.first, tally);
        }
        for seq in history.head + 1..=entries.len() as u64 {
            let Entry { acknowledged, seen } = at(seq);
            if (acknowledged.is_some() || seen.is_some()) && !leave.lost {
                tally.strangers += 1;
                tally.note(|| format!("{name}: {seq} was accepted or seen, the log's head is {}", history.head));
            }
        }
    }
}

fn entry<'a>(pages: &'a mut Vec<Epoch>, epoch: &str, seq: u64) -> &'a mut Entry {
    let known = pages.iter().position(|page| page.name == epoch);
    let index = known.unwrap_or_else(|| {
        pages.push(Epoch { name: epoch.to_owned(), entries: Vec::new() });
        pages.len() - 1
    });
    let entries = &mut pages[index].entries;
    let place = seq.max(1) as usize - 1;
    if entries.len() <= place {
        entries.resize(place + 1, Entry::default());
    }
    &mut entries[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(first: u64, events: &[u64]) -> History {
        let head = first + events.len() as u64 - 1;
        let events = (first..).zip(events).map(|(seq, hash)| (seq, *hash)).collect();
        History { epoch: "e".to_owned(), first, head, events }
    }

    fn book(hashes: &[u64]) -> Ledger {
        let ledger = Ledger::new("t", 1);
        for (seq, hash) in (1..).zip(hashes) {
            assert!(ledger.books()[0].acknowledged("e", seq, *hash));
            assert!(ledger.books()[0].saw("e", seq, *hash));
        }
        ledger
    }

    fn faults(ledger: &Ledger, history: &History, leave: Leave) -> u64 {
        let mut tally = Tally::default();
        ledger.books()[0].audit(history, leave, &mut tally);
        tally.faults()
    }

    #[test]
    fn an_exact_log_has_no_fault() {
        let ledger = book(&[7, 8, 9]);
        assert_eq!(faults(&ledger, &history(1, &[7, 8, 9]), Leave::default()), 0);
        assert_eq!((ledger.acknowledged(), ledger.books()[0].head()), (3, Some(("e".to_owned(), 3))));
    }

    #[test]
    fn what_the_log_lacks_changed_or_has_beyond_is_found() {
        let ledger = book(&[7, 8, 9]);
        for wrong in [history(1, &[7, 8]), history(1, &[7, 5, 9]), history(1, &[7, 8, 9, 4]), history(2, &[8, 9])] {
            assert!(faults(&ledger, &wrong, Leave::default()) > 0, "{wrong:?}");
        }
        let hole = History { events: vec![(1, 7), (3, 9)], ..history(1, &[7, 8, 9]) };
        assert!(faults(&ledger, &hole, Leave::default()) > 0);
    }

    #[test]
    fn what_was_trimmed_or_destroyed_on_purpose_may_be_gone_but_never_be_another() {
        let ledger = book(&[7, 8, 9]);
        assert_eq!(faults(&ledger, &history(2, &[8, 9]), Leave { trimmed: true, lost: false }), 0);
        let lost = Leave { lost: true, trimmed: false };
        assert_eq!(faults(&ledger, &history(1, &[7, 8]), lost), 0);
        assert!(faults(&ledger, &history(1, &[7, 5]), lost) > 0);
    }

    #[test]
    fn what_was_destroyed_is_forgotten_and_what_was_restored_has_another_epoch() {
        let ledger = book(&[7, 8, 9]);
        let book = &ledger.books()[0];
        let mut tally = Tally::default();
        book.forget_after(&history(1, &[7, 8]), &mut tally);
        assert!(book.acknowledged("e", 3, 5), "the number is free again");
        book.renew(&History { epoch: "f".to_owned(), ..history(1, &[7, 8, 5]) }, &mut tally);
        assert_eq!((tally.faults(), book.head()), (0, Some(("f".to_owned(), 3))));
        book.renew(&History { epoch: "f".to_owned(), ..history(1, &[7, 8, 5]) }, &mut tally);
        book.renew(&History { epoch: "g".to_owned(), ..history(1, &[7, 8]) }, &mut tally);
        assert_eq!(tally.faults(), 2, "no new epoch, and less than was acknowledged");
    }

    #[test]
    fn what_is_left_of_a_log_has_to_be_what_was_acknowledged() {
        let (ledger, mut tally) = (book(&[7, 8, 9]), Tally::default());
        let book = &ledger.books()[0];
        book.forget_after(&History { epoch: "f".to_owned(), ..History::default() }, &mut tally);
        assert_eq!((book.head(), tally.faults()), (None, 0), "nothing is left, in another epoch");
        book.forget_after(&history(1, &[7]), &mut tally);
        assert_eq!(tally.strangers, 1, "it was gone before");
    }

    #[test]
    fn a_channel_that_begins_later_after_a_restart_is_found_also_where_its_tail_was_destroyed() {
        let (ledger, mut tally) = (book(&[7, 8, 9]), Tally::default());
        let book = &ledger.books()[0];
        book.holds_first(9, &mut tally);
        book.keeps_from(2);
        book.holds_first(1, &mut tally);
        book.holds_first(2, &mut tally);
        assert_eq!(tally.faults(), 0, "nobody looked before, or nothing is gone");
        book.holds_first(3, &mut tally);
        book.forget_after(&history(2, &[8]), &mut tally);
        assert_eq!(tally.broken, 2);
    }

    #[test]
    fn each_namespace_gets_its_channels_and_their_messages_name_them() {
        let ledger = Ledger::new("t", 7);
        let named: Vec<_> = ledger.books().iter().map(|book| (book.name.as_str(), book.id())).collect();
        assert_eq!(named[1], ("user:t1", "t1"));
        assert_eq!(named[4], ("workflow:run:t4", "t4"));
        assert_eq!(named[5], ("session:t5", "t5"));
    }

    #[test]
    fn two_that_see_different_things_and_a_number_given_twice_are_found() {
        let ledger = book(&[7]);
        let book = &ledger.books()[0];
        assert!(!book.saw("e", 1, 6) && !book.acknowledged("e", 1, 7));
        assert!(book.saw("f", 1, 6), "another epoch has numbers of its own");
        assert!(book.saw("e", 2, 6) && !book.acknowledged("e", 2, 5), "seen before it was acknowledged, as another");
    }
}
