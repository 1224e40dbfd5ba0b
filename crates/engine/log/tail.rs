//! The places of the newest messages, in memory: what the file's index does not have yet.
//!
//! An index over channels and numbers, and the numbers in the channels' own rows, would be written in
//! as many pages as there are channels in a commit. So both are written now and then, for thousands of
//! messages at once, in their own order; until then the places are here, with what they add to a row.
//!
//! Guarantees: whoever looks here after its moment of the file began finds every place of that moment
//! which the index of that moment lacks and no later one, or is told that the index has moved on since.
//! It is not kept over a start: the messages themselves say where they are.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use rusqlite::{Connection, Row, params};
use tidings_core::Seq;

use super::space::Weight;

/// So many places are put into the index at once.
const MOST: usize = 8192;

/// Where a message of a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: Seq,
    /// Its number in the whole log, which is its row's.
    pub(super) global: u64,
    /// How many bytes of data it has.
    pub(super) bytes: u64,
    /// When it was published, in milliseconds since 1970.
    pub(super) time: i64,
}

/// A moment of the file, as a reader sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The index has everything up to here.
    pub(super) indexed: u64,
    /// The newest message.
    pub(super) newest: u64,
}

/// The two columns that say which moment a statement is of, for [`Moment::in_row`].
macro_rules! moment_columns {
    () => {
        "(SELECT indexed FROM head), coalesce((SELECT max(id) FROM message), 0)"
    };
}
pub(super) use moment_columns;

impl Moment {
    /// The moment that a transaction of a reader began in.
    pub(super) fn of(sql: &Connection) -> rusqlite::Result<Self> {
        sql.prepare_cached(concat!("SELECT ", moment_columns!()))?.query_row([], |row| Self::in_row(row, 0))
    }

    /// The moment in two columns of a row.
    pub(super) fn in_row(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        let (indexed, newest): (i64, i64) = (row.get(column)?, row.get(column + 1)?);
        Ok(Self { indexed: indexed as u64, newest: newest as u64 })
    }
}

/// The places, shared by the writer and the readers.
#[derive(Default)]
pub(super) struct Tail(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    /// The index has everything up to here.
    indexed: u64,
    count: usize,
    /// By the channel's row; rising. A channel keeps its room until the index is written once more.
    places: HashMap<i64, Vec<Place>, foldhash::fast::RandomState>,
}

impl Inner {
    fn add(&mut self, channel: i64, place: Place) {
        self.places.entry(channel).or_default().push(place);
        self.count += 1;
    }
}

impl Tail {
    /// Forgets everything and reads again what the index of the file lacks. Gives the weight of that.
    pub(super) fn load(&self, sql: &Connection) -> rusqlite::Result<Weight> {
        let mut weight = Weight::default();
        let indexed = sql.query_row("SELECT indexed FROM head", [], |row| row.get::<_, i64>(0))?;
        let mut inner = Inner { indexed: indexed as u64, ..Inner::default() };
        let mut select =
            sql.prepare("SELECT channel, seq, id, octet_length(data), time FROM message WHERE id > ?1 ORDER BY id")?;
        let mut rows = select.query([indexed])?;
        while let Some(row) = rows.next()? {
            let place = Place {
                seq: row.get::<_, i64>(1)? as Seq,
                global: row.get::<_, i64>(2)? as u64,
                bytes: row.get::<_, i64>(3)? as u64,
                time: row.get(4)?,
            };
            weight += Weight::of(place.bytes);
            inner.add(row.get(0)?, place);
        }
        *self.0.write() = inner;
        Ok(weight)
    }

    /// Takes in what is about to be committed.
    pub(super) fn add(&self, places: impl Iterator<Item = (i64, Place)>) {
        let mut inner = self.0.write();
        places.for_each(|(channel, place)| inner.add(channel, place));
    }

    /// Looks at the places of a channel that the index of a moment lacks, rising. None when the index
    /// has moved on since: then the file is to be asked again.
    pub(super) fn beyond<T>(&self, moment: Moment, channel: i64, look: impl FnOnce(&[Place]) -> T) -> Option<T> {
        let inner = self.0.read();
        if inner.indexed > moment.indexed {
            return None;
        }
        let places = inner.places.get(&channel).map_or(&[][..], Vec::as_slice);
        let start = places.partition_point(|place| place.global <= moment.indexed);
        // What is about to be committed stands here already.
        let end = places.partition_point(|place| place.global <= moment.newest);
        Some(look(places.get(start..end).unwrap_or_default()))
    }

    /// The places of each channel, for whoever knows the channels' rows.
    pub(super) fn by_channel(&self) -> Vec<(i64, Vec<Place>)> {
        self.0.read().places.iter().map(|(&channel, places)| (channel, places.clone())).collect()
    }

    /// Whether the index has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.read().count == 0
    }

    /// Whether there is enough for the index.
    pub(super) fn is_full(&self) -> bool {
        self.0.read().count >= MOST
    }

    /// Puts all places into the index, with the newest number and time of the log and its weight. Once that
    /// is committed, [`Tail::settled`] is to be called.
    pub(super) fn write(&self, sql: &Connection, (global, time): (u64, i64), weight: Weight) -> rusqlite::Result<()> {
        let mut insert = sql.prepare_cached("INSERT INTO place VALUES (?1, ?2, ?3)")?;
        for (channel, place) in self.sorted() {
            insert.execute(params![channel, place.seq as i64, place.global as i64])?;
        }
        sql.prepare_cached("UPDATE head SET global = ?1, indexed = ?1, time = ?2, messages = ?3, bytes = ?4")?
            .execute(params![global as i64, time, weight.messages as i64, weight.bytes as i64])
            .map(drop)
    }

    /// The index has everything up to this number.
    pub(super) fn settled(&self, global: u64) {
        let mut inner = self.0.write();
        (inner.indexed, inner.count) = (global, 0);
        inner.places.retain(|_, places| !places.is_empty());
        inner.places.values_mut().for_each(Vec::clear);
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
