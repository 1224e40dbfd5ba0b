//! The rows of channels, as the writer knows them.
//!
//! Guarantees: what it gives is what the file has plus what this transaction changed; after a
//! failure everything is read again. Bounded: a channel that is not in use costs nothing.
//! It never asks for the highest number among the messages: trimming may have taken it.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use smol_str::SmolStr;
use tidings_core::{Channel, Seq, UserId, log::Opens};

/// How many channels are remembered between transactions.
const REMEMBERED: usize = 16 * 1024;

/// What of a row differs from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    Nothing,
    /// Only what every message changes.
    Numbers,
    All,
}

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
    changed: Changed,
}

impl Row {
    /// How many messages are kept.
    pub(super) fn count(&self) -> u64 {
        (self.head + 1).saturating_sub(self.first)
    }

    /// Takes the next number for a message of so many bytes.
    pub(super) fn next(&mut self, bytes: usize, time: i64) -> Seq {
        self.head += 1;
        self.bytes += bytes as u64;
        self.oldest = self.oldest.or(Some(time));
        self.updated_at = time;
        self.head
    }

    /// Sets the facts that are not set yet.
    pub(super) fn open(&mut self, opens: Opens) {
        self.owner = self.owner.take().or(opens.owner);
        self.project = self.project.take().or(opens.project);
        self.changed = Changed::All;
    }
}

/// The channels.
#[derive(Default)]
pub(super) struct Channels {
    rows: HashMap<Channel, Row>,
    /// Those that may differ from the file.
    changed: Vec<Channel>,
    /// What was known before the send that is under way; none where it was not known.
    before: Vec<(Channel, Option<Row>)>,
}

impl Channels {
    /// The row of a channel, to be read.
    pub(super) fn get(&mut self, sql: &Connection, channel: &Channel) -> rusqlite::Result<Option<&Row>> {
        Ok(self.known(sql, channel)?.map(|row| &*row))
    }

    fn known(&mut self, sql: &Connection, channel: &Channel) -> rusqlite::Result<Option<&mut Row>> {
        if !self.rows.contains_key(channel) {
            let Some(row) = load(sql, channel)? else { return Ok(None) };
            self.rows.insert(channel.clone(), row);
        }
        Ok(self.rows.get_mut(channel))
    }

    /// The row of a channel, to be changed.
    pub(super) fn change(&mut self, sql: &Connection, channel: &Channel) -> rusqlite::Result<Option<&mut Row>> {
        if self.known(sql, channel)?.is_none() {
            return Ok(None);
        }
        Ok(self.mark(channel, Changed::All))
    }

    /// The row of a channel that is known, to be changed this far.
    fn mark(&mut self, channel: &Channel, changed: Changed) -> Option<&mut Row> {
        let row = self.rows.get_mut(channel)?;
        self.before.push((channel.clone(), Some(row.clone())));
        if row.changed == Changed::Nothing {
            self.changed.push(channel.clone());
        }
        row.changed = row.changed.max(changed);
        Some(row)
    }

    /// The row of a channel, to be given a message; a new one if it was never published to.
    pub(super) fn open(&mut self, sql: &Connection, channel: &Channel, time: i64) -> rusqlite::Result<&mut Row> {
        if self.known(sql, channel)?.is_none() {
            let row = insert(sql, channel, time)?;
            self.before.push((channel.clone(), None));
            self.rows.insert(channel.clone(), row);
        }
        self.mark(channel, Changed::Numbers).ok_or(rusqlite::Error::QueryReturnedNoRows)
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

    /// Writes what changed, and gives the names of it.
    pub(super) fn flush(&mut self, sql: &Connection) -> rusqlite::Result<Vec<Channel>> {
        self.before.clear();
        let mut written = std::mem::take(&mut self.changed);
        let mut numbers = sql.prepare_cached(UPDATE_NUMBERS)?;
        let mut all = sql.prepare_cached(UPDATE_ALL)?;
        for channel in &written {
            let Some(row) = self.rows.get_mut(channel) else { continue };
            let (head, bytes) = (row.head as i64, row.bytes as i64);
            match std::mem::replace(&mut row.changed, Changed::Nothing) {
                Changed::Nothing => 0,
                Changed::Numbers => numbers.execute(params![row.id, head, bytes, row.oldest, row.updated_at])?,
                Changed::All => all.execute(params![
                    row.id,
                    head,
                    bytes,
                    row.oldest,
                    row.updated_at,
                    row.first as i64,
                    row.lowest as i64,
                    row.owner.as_ref().map(UserId::as_str),
                    row.project.as_deref(),
                ])?,
            };
        }
        // What a send took back may stand here without need.
        written.retain(|channel| self.rows.contains_key(channel));
        Ok(written)
    }

    /// Forgets what is not needed. Only between transactions.
    pub(super) fn settle(&mut self) {
        if self.rows.len() > REMEMBERED {
            self.rows.clear();
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
    owner = ?8, project = ?9 WHERE id = ?1";

fn insert(sql: &Connection, channel: &Channel, time: i64) -> rusqlite::Result<Row> {
    let mut insert = sql.prepare_cached(
        "INSERT INTO channel (name, head, first, lowest, bytes, created_at, updated_at)
         VALUES (?1, 0, 1, 1, 0, ?2, ?2)",
    )?;
    let id = insert.insert(params![channel.as_str(), time])?;
    let (owner, project, changed) = (None, None, Changed::Nothing);
    Ok(Row { id, head: 0, first: 1, lowest: 1, bytes: 0, oldest: None, owner, project, updated_at: time, changed })
}

fn load(sql: &Connection, channel: &Channel) -> rusqlite::Result<Option<Row>> {
    let mut select = sql.prepare_cached(
        "SELECT id, head, first, lowest, bytes, oldest, owner, project, updated_at FROM channel WHERE name = ?1",
    )?;
    select.query_row([channel.as_str()], row).optional()
}

fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        head: row.get::<_, i64>(1)? as Seq,
        first: row.get::<_, i64>(2)? as Seq,
        lowest: row.get::<_, i64>(3)? as Seq,
        bytes: row.get::<_, i64>(4)? as u64,
        oldest: row.get(5)?,
        owner: super::rows::user(row, 6)?,
        project: row.get::<_, Option<String>>(7)?.map(SmolStr::from),
        updated_at: row.get(8)?,
        changed: Changed::Nothing,
    })
}
