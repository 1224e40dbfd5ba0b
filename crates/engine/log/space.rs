//! The log's size as a whole: a limit over all channels, a full disk, and giving space back.
//!
//! Guarantees: beyond the limit the oldest messages of all channels go first, and never one whose
//! effect is in no saved state. The limit is for messages and compared with what they take: nothing else
//! makes one go. When the disk is full the reserve is given up, and the log makes room in its own file until
//! there is a reserve again: answers of commands go first, then messages by the same rule.
//! It is not the retention of a channel.

use std::{
    collections::HashMap,
    ops::{Add, AddAssign, SubAssign},
    time::Duration,
};

use rusqlite::{Connection, Row, params};
use tidings_core::{Channel, Seq};

use super::{
    allowance,
    reserve::Reserve,
    rows::number,
    tally::Why,
    trim::{Instants, SLICE, Slice, Trimmer},
};

/// What a message takes in the file besides its data, about.
const ROW_BYTES: u64 = 160;
/// So many pages are given back to the disk in one slice.
const VACUUM_SLICE: u32 = 1024;
/// The log is weighed again after so many commits, and after this time.
const WEIGH_EVERY: u32 = 256;
const WEIGH_AFTER: Duration = Duration::from_secs(5 * 60);

/// How long after a full disk no space is given back.
const KEPT_AFTER_FULL: Duration = Duration::from_secs(60 * 60);

/// What messages take: their number, and the bytes of their data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Weight {
    /// One message with data of so many bytes.
    pub(super) fn of(bytes: u64) -> Self {
        Self { messages: 1, bytes }
    }

    /// The weight in two columns of a row.
    pub(super) fn in_row(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        let (messages, bytes): (i64, i64) = (row.get(column)?, row.get(column + 1)?);
        Ok(Self { messages: messages as u64, bytes: bytes as u64 })
    }

    /// The bytes of data and rows, about.
    fn total(self) -> u64 {
        self.bytes + self.messages * ROW_BYTES
    }
}

impl Add for Weight {
    type Output = Self;
    fn add(self, more: Self) -> Self {
        Self { messages: self.messages + more.messages, bytes: self.bytes + more.bytes }
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, more: Self) {
        *self = *self + more;
    }
}

impl SubAssign for Weight {
    fn sub_assign(&mut self, less: Self) {
        self.messages = self.messages.saturating_sub(less.messages);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }
}

/// Pages of the file.
struct Pages {
    count: u64,
    free: u64,
    size: u64,
}

impl Pages {
    fn of(sql: &Connection) -> rusqlite::Result<Self> {
        let get = |name: &str| sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(|n| n as u64);
        Ok(Self { count: get("page_count")?, free: get("freelist_count")?, size: get("page_size")? })
    }

    fn used_bytes(&self) -> u64 {
        (self.count - self.free) * self.size
    }

    /// How much may be in use so that so many bytes of the file are free, or a quarter of it.
    fn with_room_for(&self, bytes: u64) -> u64 {
        let all = self.count * self.size;
        all - bytes.min(all / 4)
    }

    /// A quarter of the file, and more than a little, is empty.
    fn is_hollow(&self) -> bool {
        self.free > 4 * u64::from(VACUUM_SLICE) && self.free > self.count / 4
    }
}

/// How much is beyond a limit, and a little more, so that the next commit does not need it again.
fn beyond(used: u64, limit: u64) -> u64 {
    if used <= limit { 0 } else { used - limit + limit / 64 }
}

/// The size of the log.
pub(super) struct Space {
    limit: u64,
    reserve: Reserve,
    reserved: bool,
    /// The disk was full, and there is no reserve again yet.
    full: bool,
    weigh: bool,
    /// Since it is weighed, something went, and nobody was told.
    walking: bool,
    vacuum: bool,
    walked: u64,
    commits: u32,
    weighed_at: Option<Duration>,
    full_at: Option<Duration>,
}

impl Space {
    pub(super) fn new(limit: u64, reserve: Reserve) -> Self {
        let reserved = reserve.ensure();
        Self {
            limit,
            reserve,
            reserved,
            full: false,
            weigh: true,
            walking: false,
            vacuum: true,
            walked: 0,
            commits: 0,
            weighed_at: None,
            full_at: None,
        }
    }

    /// A commit was made.
    pub(super) fn grown(&mut self) {
        self.commits += 1;
        if self.commits >= WEIGH_EVERY {
            self.again();
        }
    }

    /// The log is to be weighed soon: what could not go before may go now.
    pub(super) fn again(&mut self) {
        (self.commits, self.weigh, self.vacuum) = (0, true, true);
    }

    /// The disk is full: gives up the reserve, so that there is room to trim.
    pub(super) fn disk_full(&mut self, monotonic: Duration) {
        // Said once, however often it is found so, until there is a reserve again.
        if !self.full {
            tracing::error!("the disk is full: the log gives up its reserve and trims its oldest messages");
        }
        self.reserve.release();
        (self.reserved, self.full, self.weigh, self.walked) = (false, true, true, 0);
        self.full_at = Some(monotonic);
    }

    /// Whether room must be made before anything else is written.
    pub(super) fn is_pressing(&self) -> bool {
        self.full && self.weigh
    }

    fn is_weighing_due(&self, now: Instants) -> bool {
        self.weighed_at.is_none_or(|at| now.monotonic.saturating_sub(at) >= WEIGH_AFTER)
    }

    /// Whether a slice would find something to look at.
    pub(super) fn has_work(&self, now: Instants) -> bool {
        self.weigh || self.may_vacuum(now) || self.is_weighing_due(now)
    }

    /// For an hour after the disk was full, what the log freed stays its own: somebody else would
    /// fill the disk with it, and the log would trim again.
    fn may_vacuum(&self, now: Instants) -> bool {
        let lately = self.full_at.is_some_and(|at| now.monotonic.saturating_sub(at) < KEPT_AFTER_FULL);
        self.vacuum && !self.full && !lately
    }

    /// Does one slice of what is to go. Says whether there was something.
    pub(super) fn slice(&mut self, slice: &mut Slice<'_>, trimmer: &mut Trimmer) -> rusqlite::Result<bool> {
        let now = slice.now;
        if self.is_weighing_due(now) {
            self.again();
        }
        if !self.weigh {
            return Ok(false);
        }
        self.weighed_at = Some(now.monotonic);
        metrics::gauge!("tidings_log_message_bytes").set(slice.numbering.weight.total() as f64);
        let excess = self.excess(slice.sql, slice.numbering.weight)?;
        if excess == 0 {
            self.weigh = false;
            self.reserved = self.reserved || self.reserve.ensure();
            if self.full && self.reserved {
                tracing::info!("the disk has room again: the log has its reserve");
            }
            self.full = self.full && !self.reserved;
            return Ok(true);
        }
        // On a full disk what can be done without goes first.
        if self.full && allowance::let_go(slice.sql, None, excess)? > 0 {
            return Ok(true);
        }
        self.weigh = self.walk(slice, trimmer, excess)?;
        self.walking = true;
        Ok(true)
    }

    /// Whether a trimming has ended since this was asked last.
    pub(super) fn has_trimmed(&mut self) -> bool {
        !self.weigh && std::mem::take(&mut self.walking)
    }

    /// Whether the next slice would trim.
    pub(super) fn will_trim(&self, sql: &Connection, weight: Weight, now: Instants) -> rusqlite::Result<bool> {
        Ok((self.weigh || self.is_weighing_due(now)) && self.excess(sql, weight)? > 0)
    }

    /// How many bytes are to go: of messages beyond the limit, and on a full disk of pages.
    fn excess(&self, sql: &Connection, weight: Weight) -> rusqlite::Result<u64> {
        let of_messages = if self.limit == 0 { 0 } else { beyond(weight.total(), self.limit) };
        if !self.full {
            return Ok(of_messages);
        }
        let pages = Pages::of(sql)?;
        Ok(of_messages.max(beyond(pages.used_bytes(), pages.with_room_for(self.reserve.bytes()))))
    }

    /// Trims the oldest messages of all channels. Says whether there may be more to trim.
    fn walk(&mut self, slice: &mut Slice<'_>, trimmer: &mut Trimmer, excess: u64) -> rusqlite::Result<bool> {
        let mut firsts: HashMap<Channel, (i64, Seq)> = HashMap::new();
        let (mut freed, mut last) = (0, None);
        let mut select = slice.sql.prepare_cached(
            "SELECT m.id, c.name, c.id, m.seq, octet_length(m.data) FROM message m JOIN channel c ON c.id = m.channel
             WHERE m.id > ?1 AND m.seq >= c.first ORDER BY m.id LIMIT ?2",
        )?;
        let mut rows = select.query(params![number(self.walked), SLICE as i64])?;
        while let Some(row) = rows.next()? {
            last = Some(row.get::<_, i64>(0)? as u64);
            let Ok(channel) = row.get_ref(1)?.as_str()?.parse::<Channel>() else { continue };
            firsts.insert(channel, (row.get(2)?, row.get::<_, i64>(3)? as Seq + 1));
            freed += row.get::<_, i64>(4)? as u64 + ROW_BYTES;
            if freed >= excess {
                break;
            }
        }
        drop(rows);
        // What waits for a saved state is passed over until the next time.
        self.walked = last.unwrap_or(0);
        let why = if self.full { Why::FullDisk } else { Why::TotalBytes };
        for (channel, (id, target)) in firsts {
            trimmer.cut(slice, (&channel, id), target, why)?;
        }
        Ok(last.is_some())
    }

    /// Gives empty pages back to the disk. Says whether there was something. Not part of a transaction.
    pub(super) fn vacuum_slice(&mut self, sql: &Connection, now: Instants) -> rusqlite::Result<bool> {
        if !self.may_vacuum(now) {
            return Ok(false);
        }
        self.vacuum = Pages::of(sql)?.is_hollow();
        if self.vacuum {
            let mut vacuum = sql.prepare_cached(&format!("PRAGMA incremental_vacuum({VACUUM_SLICE})"))?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(self.vacuum)
    }
}
