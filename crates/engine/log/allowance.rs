//! What users have in the log besides messages, and the bounds of it.
//!
//! A row of `account` counts for a user: commands that are remembered, the bytes of their answers, ids of
//! publications that are remembered, and the channels that are new in a day. `head.answers` has the bytes of
//! all answers. Both change in the transaction that changes what they count, so they are exact after any end.
//!
//! Guarantees: at a bound of bytes the oldest answers go, and their commands stay; at a bound of rows what is
//! new is refused, and nothing old goes. What is refused or let go is counted.
//! It is not the size of the log: that is the messages' alone.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use tidings_core::{
    Error, UserId,
    log::{Allowances, Ended},
};

use super::{
    append::{DAY_MS, Now},
    rows::number,
    trim::SLICE,
};

/// A number that is never reached, in place of one that means no limit.
fn limit(most: u64) -> i64 {
    if most == 0 { i64::MAX } else { number(most) }
}

/// The refusal of what is new and beyond a bound. Counts it.
pub(super) fn refused(what: &'static str) -> Error {
    metrics::counter!("tidings_log_allowance_refused_total", "what" => what).increment(1);
    let of = match what {
        "command" => "commands with a commandId",
        "id" => "publications with an id",
        _ => "new channels",
    };
    Error::overloaded(format!("this user has as many {of} as a day may have; see log.{what}s_per_user"))
}

/// Counts answers that go, or are not kept at all.
fn count_answers(why: &'static str, count: usize) {
    metrics::counter!("tidings_log_answers_dropped_total", "reason" => why).increment(count as u64);
}

/// Takes an answer that is too long to be kept out of an end.
pub(super) fn shorten(ended: Option<&mut Ended>) {
    if let Some(ended) = ended
        && ended.answer.as_ref().is_some_and(|answer| answer.len() > Allowances::LONGEST_ANSWER)
    {
        ended.answer = None;
        count_answers("too_long", 1);
    }
}

/// Counts one more for a user. False when that would be too many.
fn take(sql: &Connection, one_more: &str, user: &str, most: u64) -> rusqlite::Result<bool> {
    Ok(sql.prepare_cached(one_more)?.execute(params![user, limit(most)])? == 1)
}

/// The same for what is forgotten after a day: what is due goes first if it must.
fn take_for_a_day(sql: &Connection, one_more: &str, user: &str, (most, now): (u64, Now)) -> rusqlite::Result<bool> {
    if take(sql, one_more, user, most)? {
        return Ok(true);
    }
    expire(sql, now.steady_ms)?;
    take(sql, one_more, user, most)
}

/// Counts a command that begins. False when the user has too many.
pub(super) fn take_command(sql: &Connection, user: &UserId, allowed: &Allowances, now: Now) -> rusqlite::Result<bool> {
    let one_more = "INSERT INTO account (user, commands) VALUES (?1, 1)
        ON CONFLICT (user) DO UPDATE SET commands = commands + 1 WHERE commands < ?2";
    take_for_a_day(sql, one_more, user.as_str(), (allowed.commands_per_user, now))
}

/// Counts an id of a publication. False when the user has too many.
pub(super) fn take_id(sql: &Connection, user: &str, allowed: &Allowances, now: Now) -> rusqlite::Result<bool> {
    let one_more = "INSERT INTO account (user, ids) VALUES (?1, 1)
        ON CONFLICT (user) DO UPDATE SET ids = ids + 1 WHERE ids < ?2";
    take_for_a_day(sql, one_more, user, (allowed.ids_per_user, now))
}

/// Counts a new channel. False when the user made too many in this day of UTC.
pub(super) fn take_channel(sql: &Connection, user: &UserId, allowed: &Allowances, now: Now) -> rusqlite::Result<bool> {
    let mut one_more = sql.prepare_cached(
        "INSERT INTO account (user, channels, day) VALUES (?1, 1, ?3)
         ON CONFLICT (user) DO UPDATE SET channels = iif(day = ?3, channels + 1, 1), day = ?3
         WHERE day <> ?3 OR channels < ?2",
    )?;
    let day = now.steady_ms.div_euclid(DAY_MS);
    Ok(one_more.execute(params![user.as_str(), limit(allowed.channels_per_user), day])? == 1)
}

/// Keeps an answer of a command, in place of the one that it had, as far as there is room. Says whether it is kept.
pub(super) fn keep_answer(
    sql: &Connection,
    (user, id): (&UserId, &str),
    answer: Option<&str>,
    allowed: &Allowances,
) -> rusqlite::Result<bool> {
    let mut select = sql.prepare_cached("SELECT octet_length(answer) FROM command WHERE user = ?1 AND id = ?2")?;
    let found: Option<Option<i64>> = select.query_row(params![user.as_str(), id], |row| row.get(0)).optional()?;
    let Some(former) = found else { return Ok(false) };
    let mut gone = Gone::default();
    gone.answer(user.as_str(), former);
    gone.settle(sql)?;
    let Some(answer) = answer else { return Ok(false) };
    let size = answer.len() as u64;
    let fits = size <= Allowances::LONGEST_ANSWER as u64
        && make_room(sql, Some(user), size, allowed.answers_per_user)?
        && make_room(sql, None, size, allowed.answers)?;
    if !fits {
        count_answers("no_room", 1);
        return Ok(false);
    }
    sql.prepare_cached("UPDATE account SET answers = answers + ?2 WHERE user = ?1")?
        .execute(params![user.as_str(), number(size)])?;
    sql.prepare_cached("UPDATE head SET answers = answers + ?1")?.execute([number(size)])?;
    Ok(true)
}

/// Lets the oldest answers go, of a user or of all, until so many bytes more are within the bound. Says
/// whether they are.
fn make_room(sql: &Connection, user: Option<&UserId>, size: u64, most: u64) -> rusqlite::Result<bool> {
    let most = limit(most) as u64;
    if size > most {
        return Ok(false);
    }
    let held: Option<i64> = match user {
        Some(user) => sql
            .prepare_cached("SELECT answers FROM account WHERE user = ?1")?
            .query_row([user.as_str()], |row| row.get(0))
            .optional()?,
        None => Some(sql.prepare_cached("SELECT answers FROM head")?.query_row([], |row| row.get(0))?),
    };
    let over = (held.unwrap_or(0) as u64 + size).saturating_sub(most);
    Ok(over == 0 || let_go(sql, user, over)? >= over)
}

/// Lets the oldest answers go, of a user or of all, until so many bytes went, or a slice of them. Gives how
/// many bytes went. Their commands stay, so that none runs twice.
pub(super) fn let_go(sql: &Connection, user: Option<&UserId>, bytes: u64) -> rusqlite::Result<u64> {
    let mut oldest = sql.prepare_cached(match user {
        Some(_) => {
            "SELECT user, id, octet_length(answer) FROM command INDEXED BY command_answers_of
             WHERE user = ?2 AND answer IS NOT NULL ORDER BY at LIMIT ?1"
        }
        None => {
            "SELECT user, id, octet_length(answer) FROM command INDEXED BY command_answers
             WHERE answer IS NOT NULL ORDER BY at LIMIT ?1"
        }
    })?;
    let slice = SLICE as i64;
    let mut rows = match user {
        Some(user) => oldest.query(params![slice, user.as_str()])?,
        None => oldest.query([slice])?,
    };
    let (mut gone, mut freed, mut chosen) = (Gone::default(), 0, Vec::new());
    while freed < bytes
        && let Some(row) = rows.next()?
    {
        let (user, id, size): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        freed += size as u64;
        gone.answer(&user, Some(size));
        chosen.push((user, id));
    }
    drop(rows);
    let mut forget = sql.prepare_cached("UPDATE command SET answer = NULL WHERE user = ?1 AND id = ?2")?;
    for (user, id) in &chosen {
        forget.execute(params![user, id])?;
    }
    count_answers("oldest", chosen.len());
    gone.settle(sql)?;
    Ok(freed)
}

/// Forgets a command.
pub(super) fn forget_command(sql: &Connection, (user, id): (&UserId, &str)) -> rusqlite::Result<()> {
    let mut delete =
        sql.prepare_cached("DELETE FROM command WHERE user = ?1 AND id = ?2 RETURNING octet_length(answer)")?;
    let gone: Option<Option<i64>> = delete.query_row(params![user.as_str(), id], |row| row.get(0)).optional()?;
    let Some(size) = gone else { return Ok(()) };
    let mut gone = Gone::default();
    gone.command(user.as_str(), size);
    gone.settle(sql)
}

/// Forgets an idempotency id.
pub(super) fn forget_id(sql: &Connection, channel: i64, (user, id): (&str, &str)) -> rusqlite::Result<()> {
    let mut delete =
        sql.prepare_cached("DELETE FROM sent WHERE channel = ?1 AND user = ?2 AND id = ?3 RETURNING counted")?;
    let counted: Option<bool> = delete.query_row(params![channel, user, id], |row| row.get(0)).optional()?;
    let mut gone = Gone::default();
    gone.id(user, counted == Some(true));
    gone.settle(sql)
}

/// Forgets a slice of the ids and commands that are older than a day. Says whether there may be more.
pub(super) fn expire(sql: &Connection, steady_ms: i64) -> rusqlite::Result<bool> {
    let due = params![steady_ms - DAY_MS, SLICE as i64];
    let mut gone = Gone::default();
    let (mut ids, mut commands) = (0, 0);
    let mut delete = sql.prepare_cached(
        "DELETE FROM sent WHERE (channel, user, id) IN
         (SELECT channel, user, id FROM sent WHERE at <= ?1 ORDER BY at LIMIT ?2) RETURNING user, counted",
    )?;
    let mut rows = delete.query(due)?;
    while let Some(row) = rows.next()? {
        gone.id(row.get_ref(0)?.as_str()?, row.get(1)?);
        ids += 1;
    }
    let mut delete = sql.prepare_cached(
        "DELETE FROM command WHERE (user, id) IN
         (SELECT user, id FROM command WHERE at <= ?1 ORDER BY at LIMIT ?2) RETURNING user, octet_length(answer)",
    )?;
    let mut rows = delete.query(due)?;
    while let Some(row) = rows.next()? {
        gone.command(row.get_ref(0)?.as_str()?, row.get(1)?);
        commands += 1;
    }
    drop(rows);
    gone.settle(sql)?;
    if ids + commands > 0 {
        let today = steady_ms.div_euclid(DAY_MS);
        gone.close_accounts(sql, today)?;
    }
    Ok(ids == SLICE || commands == SLICE)
}

/// What is no longer there of a user.
#[derive(Default)]
struct Share {
    commands: i64,
    answers: i64,
    ids: i64,
}

/// What is no longer there, by user.
#[derive(Default)]
struct Gone(HashMap<String, Share>);

impl Gone {
    fn of(&mut self, user: &str) -> &mut Share {
        self.0.entry(user.to_owned()).or_default()
    }

    fn answer(&mut self, user: &str, size: Option<i64>) {
        if let Some(size) = size {
            self.of(user).answers += size;
        }
    }

    fn command(&mut self, user: &str, answer: Option<i64>) {
        self.of(user).commands += 1;
        self.answer(user, answer);
    }

    fn id(&mut self, user: &str, counted: bool) {
        if counted {
            self.of(user).ids += 1;
        }
    }

    /// Writes it down.
    fn settle(&self, sql: &Connection) -> rusqlite::Result<()> {
        let mut answers = 0;
        for (user, share) in &self.0 {
            answers += share.answers;
            sql.prepare_cached(
                "UPDATE account SET commands = commands - ?2, answers = answers - ?3, ids = ids - ?4 WHERE user = ?1",
            )?
            .execute(params![user, share.commands, share.answers, share.ids])?;
        }
        if answers > 0 {
            sql.prepare_cached("UPDATE head SET answers = answers - ?1")?.execute([answers])?;
        }
        Ok(())
    }

    /// Forgets those of the users who have nothing any more.
    fn close_accounts(&self, sql: &Connection, today: i64) -> rusqlite::Result<()> {
        let mut delete =
            sql.prepare_cached("DELETE FROM account WHERE user = ?1 AND commands = 0 AND ids = 0 AND day <> ?2")?;
        for user in self.0.keys() {
            delete.execute(params![user, today])?;
        }
        Ok(())
    }
}
