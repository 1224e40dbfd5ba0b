//! Reading a part of a channel: from the index, and beyond it from the tail.
//!
//! Guarantees: a page is of one moment of the log, and its messages are contiguous.
//! It is not a cache: every page is read from the file.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use tidings_core::{
    Channel, Message, Seq,
    log::{Page, Read},
};

use super::{
    rows::{Names, message, message_columns, number},
    tail::{Moment, Place, Tail},
};

/// A channel's row at one moment.
struct Bounds {
    id: i64,
    head: i64,
    first: i64,
}

/// What a page is of: the channel's newest number, the range to read, and the places of it that the
/// index lacks, as many as are asked for.
struct Wanted {
    head: i64,
    range: (i64, i64),
    beyond: Vec<Place>,
}

/// Reads a page of a channel.
pub(super) fn read(sql: &Connection, tail: &Tail, channel: &Channel, read: &Read) -> rusqlite::Result<Page> {
    loop {
        let moment = sql.unchecked_transaction()?;
        let Some(bounds) = bounds(&moment, channel)? else {
            return Ok(Page { messages: Vec::new(), head: 0, first: 1 });
        };
        // None: the index grew after the moment began. The next moment has it.
        let of = Moment::of(&moment)?;
        let Some(wanted) = tail.beyond(of, bounds.id, |places| bounds.wanted(read, places)) else { continue };
        let mut taken = Taken { channel, read, names: Names::default(), messages: Vec::new(), bytes: 0 };
        if wanted.range.0 <= wanted.range.1 && read.limit > 0 {
            taken.range(&moment, bounds.id, &wanted)?;
        }
        if read.newest {
            taken.messages.reverse();
        }
        return Ok(Page { messages: taken.messages, head: wanted.head as Seq, first: bounds.first as Seq });
    }
}

fn bounds(sql: &Connection, channel: &Channel) -> rusqlite::Result<Option<Bounds>> {
    sql.prepare_cached("SELECT id, head, first FROM channel WHERE name = ?1")?
        .query_row([channel.as_str()], |row| Ok(Bounds { id: row.get(0)?, head: row.get(1)?, first: row.get(2)? }))
        .optional()
}

impl Bounds {
    /// What a page is of, given the places that the index lacks.
    fn wanted(&self, read: &Read, places: &[Place]) -> Wanted {
        let head = places.last().map_or(0, |place| number(place.seq)).max(self.head);
        let from = number(read.after.saturating_add(1)).max(self.first);
        let to = read.before.map_or(head, |before| number(before).saturating_sub(1)).min(head);
        let start = places.partition_point(|place| number(place.seq) < from);
        let end = places.partition_point(|place| number(place.seq) <= to);
        let beyond = places.get(start..end).unwrap_or_default();
        let cut = beyond.len().saturating_sub(read.limit);
        let beyond = if read.newest { &beyond[cut..] } else { &beyond[..beyond.len() - cut] };
        Wanted { head, range: (from, to), beyond: beyond.to_vec() }
    }
}

/// What a page has so far, in the order of reading.
struct Taken<'a> {
    channel: &'a Channel,
    read: &'a Read,
    names: Names,
    messages: Vec<Arc<Message>>,
    bytes: usize,
}

impl Taken<'_> {
    fn range(&mut self, sql: &Connection, id: i64, wanted: &Wanted) -> rusqlite::Result<()> {
        let (range, beyond) = (wanted.range, &wanted.beyond);
        if self.read.newest {
            let _more = self.tail(sql, beyond.iter().rev())? && self.index(sql, INDEX_DOWN, id, range)?;
        } else {
            let _more = self.index(sql, INDEX_UP, id, range)? && self.tail(sql, beyond.iter())?;
        }
        Ok(())
    }

    /// Takes what the index has of a range. Says whether there is room for more.
    fn index(&mut self, sql: &Connection, order: &str, id: i64, (from, to): (i64, i64)) -> rusqlite::Result<bool> {
        let left = self.read.limit - self.messages.len();
        let mut select = sql.prepare_cached(order)?;
        let mut rows = select.query(params![id, from, to, number(left as u64)])?;
        while let Some(row) = rows.next()? {
            if !self.take(row)? {
                return Ok(false);
            }
        }
        Ok(self.messages.len() < self.read.limit)
    }

    /// Takes what the tail says. Says whether there is room for more.
    fn tail<'p>(&mut self, sql: &Connection, places: impl Iterator<Item = &'p Place>) -> rusqlite::Result<bool> {
        let mut select = sql.prepare_cached(AT)?;
        for place in places {
            let room = self.messages.len() < self.read.limit;
            if !room || !select.query_row([place.global as i64], |row| self.take(row))? {
                return Ok(false);
            }
        }
        Ok(self.messages.len() < self.read.limit)
    }

    /// Takes a message, unless it is too much.
    fn take(&mut self, row: &Row<'_>) -> rusqlite::Result<bool> {
        self.bytes = self.bytes.saturating_add(row.get_ref(5)?.as_bytes()?.len());
        if self.bytes > self.read.max_bytes && !self.messages.is_empty() {
            return Ok(false);
        }
        self.messages.push(Arc::new(message(row, self.channel.clone(), &mut self.names)?));
        Ok(true)
    }
}

/// The message at a place.
const AT: &str = concat!("SELECT ", message_columns!(), " FROM message m WHERE m.id = ?1");

/// A range of a channel by the index, rising and falling.
const INDEX_UP: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM place p JOIN message m ON m.id = p.message
     WHERE p.channel = ?1 AND p.seq BETWEEN ?2 AND ?3 ORDER BY p.seq LIMIT ?4"
);
const INDEX_DOWN: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM place p JOIN message m ON m.id = p.message
     WHERE p.channel = ?1 AND p.seq BETWEEN ?2 AND ?3 ORDER BY p.seq DESC LIMIT ?4"
);
