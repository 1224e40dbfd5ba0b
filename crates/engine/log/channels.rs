//! The rows of channels, as the writer knows them.
//!
//! A row in the file is as of its `head`: what messages change of it (number, size, times) is written
//! together with the index, and until then follows from the messages after that number.
//!
//! Guarantees: what it gives is what the file has, with the messages that the index lacks, plus what
//! this transaction changed; after a failure everything is read again. Bounded: a channel that is not
//! in use costs nothing.
//! It never asks for the highest number among the messages: trimming may have taken it.

use std::collections::hash_map::{Entry, HashMap};

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use smol_str::SmolStr;
use tidings_core::{Channel, Seq, UserId, log::Opens};

use super::tail::{Place, Tail};

/// How many channels are remembered between transactions.
const REMEMBERED: usize = 16 * 1024;

/// No transaction has this number.
const NEVER: u64 = u64::MAX;

/// A channel's row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) head: Seq,
    /// Messages below it are gone for every reader.
    pub(super) first: Seq,
    /// The lowest number whose row may still lie in the file.
    pub(super) lowest: Seq,
    pub(super) bytes: u64,
    /// When message `first` was published; none when nothing is kept.
    pub(super) oldest: Option<i64>,
    owner: Option<UserId>,
    project: Option<SmolStr>,
    updated_at: i64,
    /// Something may be open in it.
    pub(super) is_open: bool,
    /// The file does not have all of its numbers.
    is_late: bool,
    /// The transaction that changed it last.
    touched: u64,
}

impl Row {
    /// How many messages are kept.
    pub(super) fn count(&self) -> u64 {
        (self.head + 1).saturating_sub(self.first)
    }

    /// Whether another user has opened the channel already, or in another project.
    pub(super) fn is_of_others(&self, opens: &Opens) -> bool {
        opens.differ(self.owner.as_ref(), self.project.as_deref())
    }

    /// Takes the next number for a message of so many bytes.
    pub(super) fn next(&mut self, bytes: usize, time: i64) -> Seq {
        self.head += 1;
        self.bytes += bytes as u64;
        self.oldest = self.oldest.or(Some(time));
        self.updated_at = time;
        self.head
    }

    /// Takes in a message that is in the file already, unless the row knows of it.
    fn catch_up(&mut self, place: &Place) {
        if place.seq > self.head {
            self.head = place.seq - 1;
            self.next(place.bytes as usize, place.time);
        }
    }
}

/// A channel's name and row, in the order in which [`row`] reads it.
macro_rules! select_row {
    () => {
        "SELECT name, id, head, first, lowest, bytes, oldest, owner, project, updated_at, open FROM channel"
    };
}

/// The channels.
#[derive(Default)]
pub(super) struct Channels {
    rows: HashMap<Channel, Row, foldhash::fast::RandomState>,
    /// Counts the transactions.
    transaction: u64,
    /// Those that this transaction may have changed.
    touched: Vec<Channel>,
    /// Those of them whose rows it writes.
    rewritten: Vec<Channel>,
    /// What was known before the send that is under way; none where it was not known.
    before: Vec<(Channel, Option<Row>)>,
}

impl Channels {
    /// The channels whose rows are behind their messages, brought up to them.
    pub(super) fn load(sql: &Connection, tail: &Tail) -> rusqlite::Result<Self> {
        let mut channels = Self::default();
        let mut select = sql.prepare(concat!(select_row!(), " WHERE id = ?1"))?;
        for (id, places) in tail.by_channel() {
            let (channel, mut row) =
                select.query_row([id], |found| Ok((super::rows::channel(found, 0)?, row(found)?)))?;
            places.iter().for_each(|place| row.catch_up(place));
            row.is_late = true;
            channels.rows.insert(channel, row);
        }
        Ok(channels)
    }

    /// The row of a channel, to be read.
    pub(super) fn get(&mut self, sql: &Connection, channel: &Channel) -> rusqlite::Result<Option<&Row>> {
        Ok(self.known(sql, channel)?.map(|row| &*row))
    }

    fn known(&mut self, sql: &Connection, channel: &Channel) -> rusqlite::Result<Option<&mut Row>> {
        Ok(match self.rows.entry(channel.clone()) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => load(sql, channel)?.map(|row| place.insert(row)),
        })
    }

    /// The row of a channel, to be changed.
    pub(super) fn change(&mut self, sql: &Connection, channel: &Channel) -> rusqlite::Result<Option<&mut Row>> {
        if self.known(sql, channel)?.is_none() {
            return Ok(None);
        }
        self.rewritten.push(channel.clone());
        self.touch(sql, channel, 0, false).map(Some)
    }

    /// The row of a channel, to be given a message; a new one if it was never published to. From now on
    /// something may be open in it.
    pub(super) fn open(&mut self, sql: &Connection, channel: &Channel, time: i64) -> rusqlite::Result<&mut Row> {
        self.touch(sql, channel, time, true)
    }

    fn touch(&mut self, sql: &Connection, channel: &Channel, time: i64, opens: bool) -> rusqlite::Result<&mut Row> {
        let (row, before) = match self.rows.entry(channel.clone()) {
            Entry::Occupied(known) => {
                let row = known.into_mut();
                let before = Some(row.clone());
                (row, before)
            }
            Entry::Vacant(place) => {
                let before = load(sql, channel)?;
                let row = before.clone().map_or_else(|| insert(sql, channel, time), Ok)?;
                (place.insert(row), before)
            }
        };
        self.before.push((channel.clone(), before));
        if std::mem::replace(&mut row.touched, self.transaction) != self.transaction {
            self.touched.push(channel.clone());
        }
        if opens && !std::mem::replace(&mut row.is_open, true) {
            // With the message, not later with the index: a start must find it.
            self.rewritten.push(channel.clone());
        }
        row.is_late = true;
        Ok(row)
    }

    /// Sets facts of a channel that is open and does not have them yet.
    pub(super) fn set(&mut self, channel: &Channel, opens: Opens) {
        if let Some(row) = self.rows.get_mut(channel) {
            row.owner = row.owner.take().or(opens.owner);
            row.project = row.project.take().or(opens.project);
            self.rewritten.push(channel.clone());
        }
    }

    /// The send that was under way stays.
    pub(super) fn keep(&mut self) {
        self.before.clear();
    }

    /// The send that was under way is taken back.
    pub(super) fn undo(&mut self) {
        while let Some((channel, row)) = self.before.pop() {
            match row {
                Some(row) => drop(self.rows.insert(channel, row)),
                None => drop(self.rows.remove(&channel)),
            }
        }
    }

    /// Writes what changed beyond the numbers, and gives the names of all that changed.
    pub(super) fn flush(&mut self, sql: &Connection) -> rusqlite::Result<Vec<Channel>> {
        self.before.clear();
        self.transaction += 1;
        // What a send took back may stand in both lists without need.
        for channel in self.rewritten.drain(..) {
            if let Some(row) = self.rows.get_mut(&channel) {
                update_all(sql, row)?;
                row.is_late = false;
            }
        }
        Ok(std::mem::take(&mut self.touched))
    }

    /// Writes the numbers that changed since they were written.
    pub(super) fn write_numbers(&mut self, sql: &Connection) -> rusqlite::Result<()> {
        let mut late: Vec<&mut Row> = self.rows.values_mut().filter(|row| row.is_late).collect();
        late.sort_unstable_by_key(|row| row.id);
        let mut update = sql.prepare_cached(UPDATE_NUMBERS)?;
        for row in late {
            let (head, bytes) = (row.head as i64, row.bytes as i64);
            update.execute(params![row.id, head, bytes, row.oldest, row.updated_at])?;
            row.is_late = false;
        }
        Ok(())
    }

    /// Forgets what is not needed: not what the file does not have. Only between transactions.
    pub(super) fn settle(&mut self) {
        if self.rows.len() > REMEMBERED {
            self.rows.retain(|_, row| row.is_late);
        }
    }

    /// Forgets everything: it is read again.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

const UPDATE_NUMBERS: &str = "UPDATE channel SET head = ?2, bytes = ?3, oldest = ?4, updated_at = ?5 WHERE id = ?1";

const UPDATE_ALL: &str =
    "UPDATE channel SET head = ?2, bytes = ?3, oldest = ?4, updated_at = ?5, first = ?6, lowest = ?7,
    owner = ?8, project = ?9, open = ?10 WHERE id = ?1";

fn update_all(sql: &Connection, row: &Row) -> rusqlite::Result<()> {
    let (head, bytes) = (row.head as i64, row.bytes as i64);
    let (owner, project) = (row.owner.as_ref().map(UserId::as_str), row.project.as_deref());
    let (first, lowest) = (row.first as i64, row.lowest as i64);
    sql.prepare_cached(UPDATE_ALL)?
        .execute(params![row.id, head, bytes, row.oldest, row.updated_at, first, lowest, owner, project, row.is_open])
        .map(drop)
}

fn insert(sql: &Connection, channel: &Channel, time: i64) -> rusqlite::Result<Row> {
    let mut insert = sql.prepare_cached(
        "INSERT INTO channel (name, head, first, lowest, bytes, created_at, updated_at)
         VALUES (?1, 0, 1, 1, 0, ?2, ?2)",
    )?;
    let id = insert.insert(params![channel.as_str(), time])?;
    Ok(Row {
        id,
        head: 0,
        first: 1,
        lowest: 1,
        bytes: 0,
        oldest: None,
        owner: None,
        project: None,
        updated_at: time,
        is_open: true,
        is_late: false,
        touched: NEVER,
    })
}

fn load(sql: &Connection, channel: &Channel) -> rusqlite::Result<Option<Row>> {
    let mut select = sql.prepare_cached(concat!(select_row!(), " WHERE name = ?1"))?;
    select.query_row([channel.as_str()], row).optional()
}

fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(1)?,
        head: row.get::<_, i64>(2)? as Seq,
        first: row.get::<_, i64>(3)? as Seq,
        lowest: row.get::<_, i64>(4)? as Seq,
        bytes: row.get::<_, i64>(5)? as u64,
        oldest: row.get(6)?,
        owner: super::rows::user(row, 7)?,
        project: row.get::<_, Option<String>>(8)?.map(SmolStr::from),
        updated_at: row.get(9)?,
        is_open: row.get(10)?,
        is_late: false,
        touched: NEVER,
    })
}
