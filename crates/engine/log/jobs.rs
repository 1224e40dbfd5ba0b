//! What the writer does besides appending: states, deletion, the memory of commands.
//!
//! Guarantees: part of the transaction that is open, in the order of asking.
//! It announces nothing and answers nobody: the transaction is not committed yet.

use rusqlite::{Connection, OptionalExtension, params};
use tidings_core::{
    Channel, UserId,
    log::{Remembered, SavedState},
};

use super::{
    append::{DAY_MS, Now, Numbering},
    facts,
    rows::number,
};

/// Keeps a state, unless a newer one is kept already, and whether the channel is settled with it.
pub(super) fn save_state(
    sql: &Connection,
    numbering: &mut Numbering,
    channel: &Channel,
    state: &SavedState,
    settled: bool,
) -> rusqlite::Result<()> {
    let Some(row) = numbering.channels.get(sql, channel)? else { return Ok(()) };
    let (was_open, is_open) = (row.is_open, !settled || state.seq < row.head);
    let mut upsert = sql.prepare_cached(
        "INSERT INTO state (channel, seq, version, bytes) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (channel) DO UPDATE SET seq = ?2, version = ?3, bytes = ?4 WHERE seq <= ?2",
    )?;
    let kept = upsert.execute(params![row.id, number(state.seq), state.version, state.bytes])? > 0;
    if kept
        && was_open != is_open
        && let Some(row) = numbering.channels.change(sql, channel)?
    {
        row.is_open = is_open;
        numbering.channels.keep();
    }
    Ok(())
}

/// Remembers of which version all saved states of a namespace are.
pub(super) fn states_are_of(sql: &Connection, namespace: &str, version: u32) -> rusqlite::Result<()> {
    sql.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
        .execute(params![facts::version_key(namespace), version.to_string()])
        .map(drop)
}

/// Deletes a channel's messages and state for every reader; the rows go in slices later. Says
/// whether there is such a channel.
pub(super) fn delete(sql: &Connection, numbering: &mut Numbering, channel: &Channel) -> rusqlite::Result<bool> {
    let Some(row) = numbering.channels.change(sql, channel)? else { return Ok(false) };
    row.first = row.head + 1;
    row.bytes = 0;
    row.oldest = None;
    row.is_open = false;
    let id = row.id;
    numbering.channels.keep();
    sql.prepare_cached("DELETE FROM state WHERE channel = ?1")?.execute([id])?;
    Ok(true)
}

/// Notes that a command begins, unless it is known already: then what is remembered.
pub(super) fn begin_command(
    sql: &Connection,
    (user, id): (&UserId, &str),
    digest: &str,
    now: Now,
) -> rusqlite::Result<Option<Remembered>> {
    let mut select =
        sql.prepare_cached("SELECT digest, answer FROM command WHERE user = ?1 AND id = ?2 AND at > ?3")?;
    let known = select
        .query_row(params![user.as_str(), id, now.steady_ms - DAY_MS], |row| {
            Ok(Remembered { digest: row.get(0)?, answer: row.get(1)? })
        })
        .optional()?;
    if known.is_none() {
        let mut insert = sql.prepare_cached("INSERT OR REPLACE INTO command VALUES (?1, ?2, ?3, NULL, ?4)")?;
        insert.execute(params![user.as_str(), id, digest, now.steady_ms])?;
    }
    Ok(known)
}

/// Keeps a command's answer, or forgets that it began.
pub(super) fn end_command(sql: &Connection, (user, id): (&UserId, &str), answer: Option<&str>) -> rusqlite::Result<()> {
    match answer {
        Some(answer) => sql
            .prepare_cached("UPDATE command SET answer = ?3 WHERE user = ?1 AND id = ?2")?
            .execute(params![user.as_str(), id, answer]),
        None => {
            sql.prepare_cached("DELETE FROM command WHERE user = ?1 AND id = ?2")?.execute(params![user.as_str(), id])
        }
    }
    .map(drop)
}
