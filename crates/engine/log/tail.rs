//! The places of the newest messages, in memory: what the file's index does not have yet.
//!
//! An index over channels and numbers would be written in as many pages as there are channels in a
//! commit. So it is written now and then, for thousands of messages at once, in its own order; until
//! then their places are here.
//!
//! Guarantees: whoever looks here after its moment of the file began finds every place of that moment
//! which the index of that moment lacks, or is told that the index has moved on since.
//! It is not kept over a start: the messages themselves say where they are.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use rusqlite::{Connection, TransactionBehavior, params};
use tidings_core::Seq;

use super::rows::number;

/// So many places are put into the index at once.
const MOST: usize = 8192;

/// Where a message of a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: Seq,
    /// Its number in the whole log, which is its row's.
    pub(super) global: u64,
}

/// The places, shared by the writer and the readers.
#[derive(Default)]
pub(super) struct Tail(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    /// The index has everything up to here.
    indexed: u64,
    count: usize,
    /// By the channel's row; rising.
    places: HashMap<i64, Vec<Place>>,
}

impl Inner {
    fn add(&mut self, channel: i64, place: Place) {
        self.places.entry(channel).or_default().push(place);
        self.count += 1;
    }
}

impl Tail {
    /// Forgets everything and reads again what the index of the file lacks.
    pub(super) fn load(&self, sql: &Connection) -> rusqlite::Result<()> {
        let indexed = sql.query_row("SELECT indexed FROM head", [], |row| row.get::<_, i64>(0))?;
        let mut inner = Inner { indexed: indexed as u64, ..Inner::default() };
        let mut select = sql.prepare("SELECT channel, seq, id FROM message WHERE id > ?1 ORDER BY id")?;
        let mut rows = select.query([indexed])?;
        while let Some(row) = rows.next()? {
            let place = Place { seq: row.get::<_, i64>(1)? as Seq, global: row.get::<_, i64>(2)? as u64 };
            inner.add(row.get(0)?, place);
        }
        *self.0.write() = inner;
        Ok(())
    }

    /// Takes in what is about to be committed.
    pub(super) fn add(&self, places: impl Iterator<Item = (i64, Place)>) {
        let mut inner = self.0.write();
        places.for_each(|(channel, place)| inner.add(channel, place));
    }

    /// The places of a channel between two numbers, both included, that an index up to `indexed`
    /// lacks. None when the index has moved on: then the file is to be asked again.
    pub(super) fn beyond(&self, indexed: u64, channel: i64, (from, to): (i64, i64)) -> Option<Vec<Place>> {
        let inner = self.0.read();
        if inner.indexed > indexed {
            return None;
        }
        let Some(places) = inner.places.get(&channel) else { return Some(Vec::new()) };
        let start = places.partition_point(|place| number(place.seq) < from || place.global <= indexed);
        let end = places.partition_point(|place| number(place.seq) <= to);
        Some(places.get(start..end).unwrap_or_default().to_vec())
    }

    /// Whether the index has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.read().count == 0
    }

    /// Whether there is enough for the index.
    pub(super) fn is_full(&self) -> bool {
        self.0.read().count >= MOST
    }

    /// Puts all places into the index, in a transaction of its own, with the newest number and time
    /// of the log.
    pub(super) fn settle(&self, sql: &mut Connection, global: u64, time: i64) -> rusqlite::Result<()> {
        let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut insert = transaction.prepare_cached("INSERT INTO place VALUES (?1, ?2, ?3)")?;
        for (channel, place) in self.sorted() {
            insert.execute(params![channel, place.seq as i64, place.global as i64])?;
        }
        drop(insert);
        transaction
            .prepare_cached("UPDATE head SET global = ?1, indexed = ?1, time = ?2")?
            .execute(params![global as i64, time])?;
        transaction.commit()?;
        *self.0.write() = Inner { indexed: global, ..Inner::default() };
        Ok(())
    }

    /// All places in the order of the index.
    fn sorted(&self) -> Vec<(i64, Place)> {
        let inner = self.0.read();
        let mut channels: Vec<(&i64, &Vec<Place>)> = inner.places.iter().collect();
        channels.sort_unstable_by_key(|(channel, _)| **channel);
        channels.into_iter().flat_map(|(&channel, places)| places.iter().map(move |&place| (channel, place))).collect()
    }
}

/// The tail as its holders share it.
pub(super) type SharedTail = Arc<Tail>;
