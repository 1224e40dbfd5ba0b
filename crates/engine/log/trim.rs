//! Trimming: what a retention no longer keeps goes, oldest first, in slices between commits.
//!
//! Guarantees: nothing goes before the rules are known, and nothing by a rule in a namespace that has none; nothing
//! goes that the effect of is not in a saved state, where the namespace has a projection; each slice is bounded, so
//! that nobody waits long for it; what stays is contiguous.
//! It is not a schedule by the clock alone: what a commit makes too much goes soon after it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};
use tidings_core::{Channel, Seq, handler::Retention, log::LogRules};

use super::{
    append::{DAY_MS, Numbering},
    channels::Row,
    news::News,
    tally::{Tally, Why},
};

/// The most rows of one slice.
pub(super) const SLICE: usize = 4096;
/// How many channels are looked at in one slice of a sweep.
const SWEEP_SLICE: i64 = 256;
/// How often all channels are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5 * 60);
/// A state that was wanted and did not come is wanted again after this time.
const WANTED_AGAIN: Duration = Duration::from_secs(10);
/// The most channels that are remembered as due; a sweep finds the others.
const MOST_DUE: usize = 64 * 1024;

/// What is to go.
#[derive(Default)]
pub(super) struct Trimmer {
    /// None until they are known.
    rules: Option<LogRules>,
    due: VecDeque<Channel>,
    is_due: HashSet<Channel>,
    wanted: HashMap<Channel, Duration>,
    /// Up to which channel the sweep that is under way has looked.
    sweep: Option<i64>,
    swept_at: Option<Duration>,
    deleted: bool,
    expired: bool,
    /// A sweep has ended, and nobody was told.
    ended: bool,
}

/// The instants of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instants {
    pub(super) steady_ms: i64,
    pub(super) monotonic: Duration,
}

/// A slice of work in a transaction that is open. Where messages go, the index has them all.
pub(super) struct Slice<'a> {
    pub(super) sql: &'a Connection,
    pub(super) numbering: &'a mut Numbering,
    pub(super) now: Instants,
    pub(super) news: &'a mut Vec<News>,
    pub(super) tally: &'a mut Tally,
}

impl Trimmer {
    /// From now on channels are kept so, and all of them are looked at soon.
    pub(super) fn keep(&mut self, rules: LogRules) {
        self.rules = Some(rules);
    }

    /// Whether it is known how channels are kept.
    pub(super) fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Whether a sweep has ended since this was asked last.
    pub(super) fn has_swept(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// A commit changed this channel.
    pub(super) fn changed(&mut self, channel: &Channel, row: &Row, now: Instants) {
        if self.over(channel, (row.count(), row.bytes, row.oldest), now).is_none() {
            return;
        }
        let waits = self.wanted.get(channel).is_some_and(|at| now.monotonic.saturating_sub(*at) < WANTED_AGAIN);
        if !waits {
            self.push(channel);
        }
    }

    /// A state of this channel was saved.
    pub(super) fn saved(&mut self, channel: &Channel) {
        if self.wanted.remove(channel).is_some() {
            self.push(channel);
        }
    }

    /// A channel was deleted: its rows are to go.
    pub(super) fn has_deleted(&mut self) {
        self.deleted = true;
    }

    fn push(&mut self, channel: &Channel) {
        if self.due.len() < MOST_DUE && self.is_due.insert(channel.clone()) {
            self.due.push_back(channel.clone());
        }
    }

    /// How much of a channel is kept, by its namespace's rule.
    fn retention(&self, channel: &Channel) -> Option<Retention> {
        self.rules.as_ref()?.of(channel.namespace()).map(|rule| rule.retention)
    }

    /// What a channel has too much of, with what is to be kept of it.
    fn over(&self, channel: &Channel, has: Has, now: Instants) -> Option<(Why, Retention)> {
        let keep = self.retention(channel)?;
        over(keep, has, now).map(|why| (why, keep))
    }

    fn is_sweep_due(&self, now: Instants) -> bool {
        self.has_rules() && self.swept_at.is_none_or(|at| now.monotonic.saturating_sub(at) >= SWEEP_EVERY)
    }

    /// Whether a slice would find something to look at.
    pub(super) fn has_work(&self, now: Instants) -> bool {
        !self.due.is_empty() || self.deleted || self.expired || self.sweep.is_some() || self.is_sweep_due(now)
    }

    /// Whether the next slice needs the index and the rows of channels to be up to date: it would
    /// remove messages, or look at all channels.
    pub(super) fn needs_index(&self, now: Instants) -> bool {
        !self.due.is_empty() || self.deleted || (self.sweep.is_none() && self.is_sweep_due(now))
    }

    /// Does one slice of what is to go. Says whether there was something.
    pub(super) fn slice(&mut self, slice: &mut Slice<'_>) -> rusqlite::Result<bool> {
        let now = slice.now;
        if !self.due.is_empty() {
            self.trim_due(slice)?;
        } else if self.deleted {
            self.deleted = remove_deleted(slice)?;
        } else if self.expired {
            self.expired = expire(slice.sql, now)?;
        } else if let Some(from) = self.sweep {
            self.sweep = self.look_on(slice.sql, from, now)?;
            self.ended = self.sweep.is_none();
        } else if self.is_sweep_due(now) {
            self.swept_at = Some(now.monotonic);
            (self.sweep, self.deleted, self.expired) = (Some(0), true, true);
            self.wanted.retain(|_, at| now.monotonic.saturating_sub(*at) < WANTED_AGAIN);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn trim_due(&mut self, slice: &mut Slice<'_>) -> rusqlite::Result<()> {
        let mut budget = SLICE;
        while budget > 0 {
            let Some(channel) = self.due.pop_front() else { break };
            self.is_due.remove(&channel);
            if self.trim_channel(slice, &channel, &mut budget)? {
                self.push(&channel);
            }
            budget = budget.saturating_sub(1);
        }
        Ok(())
    }

    /// Trims a channel as far as the budget goes. Says whether there is more to do.
    fn trim_channel(&mut self, slice: &mut Slice<'_>, channel: &Channel, budget: &mut usize) -> rusqlite::Result<bool> {
        let Some(row) = slice.numbering.channels.get(slice.sql, channel)?.cloned() else { return Ok(false) };
        let Some((why, keep)) = self.over(channel, (row.count(), row.bytes, row.oldest), slice.now) else {
            return Ok(false);
        };
        let target = target(slice.sql, &row, keep, *budget, slice.now)?;
        *budget -= (target - row.first).min(*budget as u64) as usize;
        let cut_to = self.cut(slice, (channel, row.id), target, why)?;
        Ok(*budget == 0 && cut_to == target)
    }

    /// Trims a channel to begin with `target`, or as far as its saved state allows: then it asks for
    /// a newer one. Gives the number that it begins with.
    pub(super) fn cut(
        &mut self,
        slice: &mut Slice<'_>,
        (channel, id): (&Channel, i64),
        target: Seq,
        why: Why,
    ) -> rusqlite::Result<Seq> {
        let rule = self.rules.as_ref().and_then(|rules| rules.of(channel.namespace()));
        let mut to = target;
        if rule.is_none_or(|rule| rule.projected) {
            let saved: Option<i64> = slice
                .sql
                .prepare_cached("SELECT seq FROM state WHERE channel = ?1")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            // Without a rule nobody can be asked for a state, but one that is there stays complete.
            let saved = saved.or(rule.map(|_| 0));
            to = saved.map_or(target, |saved| target.min(saved as Seq + 1));
            if to < target && rule.is_some() {
                self.want(slice, channel, target - 1);
            }
        }
        let gone = cut(slice, channel, to)?;
        slice.tally.add(id, gone, why, rule.is_some());
        Ok(to)
    }

    fn want(&mut self, slice: &mut Slice<'_>, channel: &Channel, through: Seq) {
        let now = slice.now.monotonic;
        let asked = self.wanted.get(channel).is_some_and(|at| now.saturating_sub(*at) < WANTED_AGAIN);
        if !asked && self.wanted.len() < MOST_DUE {
            self.wanted.insert(channel.clone(), now);
            slice.news.push(News::StateWanted(channel.clone(), through));
        }
    }

    /// Looks at the next channels of a sweep. Gives the last of them; none at the end.
    fn look_on(&mut self, sql: &Connection, from: i64, now: Instants) -> rusqlite::Result<Option<i64>> {
        let mut select = sql.prepare_cached(
            "SELECT id, name, head, first, bytes, oldest FROM channel WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = select.query(params![from, SWEEP_SLICE])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            let Ok(channel) = row.get_ref(1)?.as_str()?.parse::<Channel>() else { continue };
            let count = (row.get::<_, i64>(2)? + 1 - row.get::<_, i64>(3)?).max(0) as u64;
            if self.over(&channel, (count, row.get::<_, i64>(4)? as u64, row.get(5)?), now).is_some() {
                self.push(&channel);
            }
        }
        Ok(last)
    }
}

/// How many messages and bytes a channel has, and when its oldest message was published.
type Has = (u64, u64, Option<i64>);

/// What there is too much of.
fn over(keep: Retention, (count, bytes, oldest): Has, now: Instants) -> Option<Why> {
    if keep.messages > 0 && count > keep.messages {
        return Some(Why::Messages);
    }
    if keep.bytes > 0 && bytes > keep.bytes {
        return Some(Why::Bytes);
    }
    oldest.filter(|oldest| is_old(*oldest, keep, now)).map(|_| Why::Age)
}

fn is_old(time: i64, keep: Retention, now: Instants) -> bool {
    keep.age_ms > 0 && u64::try_from(now.steady_ms - time).is_ok_and(|age| age > keep.age_ms)
}

/// The first number that the retention keeps, looking at no more rows than the budget has.
fn target(sql: &Connection, row: &Row, keep: Retention, budget: usize, now: Instants) -> rusqlite::Result<Seq> {
    let (mut count, mut bytes, mut first) = (row.count(), row.bytes, row.first);
    let mut select = sql.prepare_cached(
        "SELECT p.seq, m.time, octet_length(m.data) FROM place p JOIN message m ON m.id = p.message
         WHERE p.channel = ?1 AND p.seq >= ?2 ORDER BY p.seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![row.id, row.first as i64, budget as i64])?;
    while let Some(message) = rows.next()? {
        if over(keep, (count, bytes, Some(message.get(1)?)), now).is_none() {
            break;
        }
        count -= 1;
        bytes = bytes.saturating_sub(message.get::<_, i64>(2)? as u64);
        first = message.get::<_, i64>(0)? as Seq + 1;
    }
    Ok(first)
}

/// Removes the messages of a channel before `first`, and gives how many.
fn cut(slice: &mut Slice<'_>, channel: &Channel, first: Seq) -> rusqlite::Result<u64> {
    let sql = slice.sql;
    let Some(row) = slice.numbering.channels.change(sql, channel)?.filter(|row| row.first < first) else {
        return Ok(0);
    };
    let mut delete = sql.prepare_cached(
        "DELETE FROM message WHERE id IN (SELECT message FROM place WHERE channel = ?1 AND seq >= ?2 AND seq < ?3)
         RETURNING octet_length(data)",
    )?;
    let mut rows = delete.query(params![row.id, row.first as i64, first as i64])?;
    let (mut count, mut bytes) = (0, 0_u64);
    while let Some(gone) = rows.next()? {
        count += 1;
        bytes += gone.get::<_, i64>(0)? as u64;
    }
    drop(rows);
    sql.prepare_cached("DELETE FROM place WHERE channel = ?1 AND seq >= ?2 AND seq < ?3")?.execute(params![
        row.id,
        row.first as i64,
        first as i64
    ])?;
    row.bytes = row.bytes.saturating_sub(bytes);
    if row.lowest == row.first {
        row.lowest = first;
    }
    row.first = first;
    row.oldest = sql
        .prepare_cached(
            "SELECT m.time FROM place p JOIN message m ON m.id = p.message WHERE p.channel = ?1 AND p.seq = ?2",
        )?
        .query_row(params![row.id, first as i64], |row| row.get(0))
        .optional()?;
    metrics::counter!("tidings_log_trimmed_total").increment(count);
    slice.news.push(News::Trimmed(channel.clone(), first));
    Ok(count)
}

/// Removes rows of deleted channels. Says whether there may be more.
fn remove_deleted(slice: &mut Slice<'_>) -> rusqlite::Result<bool> {
    let sql = slice.sql;
    let name: Option<String> = sql
        .prepare_cached("SELECT name FROM channel WHERE lowest < first LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let Some(channel) = name.and_then(|name| name.parse::<Channel>().ok()) else { return Ok(false) };
    let Some(row) = slice.numbering.channels.change(sql, &channel)? else { return Ok(false) };
    let to = row.first.min(row.lowest + SLICE as u64);
    let up_to = params![row.id, to as i64];
    sql.prepare_cached("DELETE FROM message WHERE id IN (SELECT message FROM place WHERE channel = ?1 AND seq < ?2)")?
        .execute(up_to)?;
    sql.prepare_cached("DELETE FROM place WHERE channel = ?1 AND seq < ?2")?.execute(up_to)?;
    row.lowest = to;
    Ok(true)
}

/// Forgets ids and answers older than a day. Says whether there may be more.
fn expire(sql: &Connection, now: Instants) -> rusqlite::Result<bool> {
    let before = now.steady_ms - DAY_MS;
    let sent = sql
        .prepare_cached(
            "DELETE FROM sent WHERE (channel, user, id) IN
             (SELECT channel, user, id FROM sent WHERE at <= ?1 ORDER BY at LIMIT ?2)",
        )?
        .execute(params![before, SLICE as i64])?;
    let commands = sql
        .prepare_cached(
            "DELETE FROM command WHERE (user, id) IN
             (SELECT user, id FROM command WHERE at <= ?1 ORDER BY at LIMIT ?2)",
        )?
        .execute(params![before, SLICE as i64])?;
    Ok(sent == SLICE || commands == SLICE)
}
