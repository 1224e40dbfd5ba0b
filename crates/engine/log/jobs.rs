//! What the writer does besides appending: states, deletion, the memory of commands.
//!
//! Guarantees: part of the transaction that is open, in the order of asking.
//! It announces nothing and answers nobody: the transaction is not committed yet.

use rusqlite::{Connection, OptionalExtension, params};
use tidings_core::{
    Channel, Code, Result, UserId,
    log::{Allowances, Ended, Remembered, SavedState},
};

use super::{
    allowance,
    append::{Now, Numbering},
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

/// Notes that a command begins, unless it is known already: then what is remembered. The error is a
/// refusal.
pub(super) fn begin_command(
    sql: &Connection,
    (user, id): (&UserId, &str),
    digest: &str,
    (allowed, now): (&Allowances, Now),
) -> rusqlite::Result<Result<Option<Remembered>>> {
    let mut select = sql.prepare_cached("SELECT digest, ended, answer, at FROM command WHERE user = ?1 AND id = ?2")?;
    let known = select
        .query_row(params![user.as_str(), id], |row| {
            let ended: Option<String> = row.get(1)?;
            let answer = row.get(2)?;
            let ended = ended.map(|code| Ended { code: code_of(&code), answer });
            Ok((Remembered { digest: row.get(0)?, ended }, row.get(3)?))
        })
        .optional()?;
    match known {
        Some((known, at)) if !now.has_forgotten(at) => return Ok(Ok(Some(known))),
        Some(_) => allowance::forget_command(sql, (user, id))?,
        None => {}
    }
    if !allowance::take_command(sql, user, allowed, now)? {
        return Ok(Err(allowance::refused("command")));
    }
    sql.prepare_cached("INSERT INTO command (user, id, digest, at) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        user.as_str(),
        id,
        digest,
        now.steady_ms
    ])?;
    Ok(Ok(None))
}

/// Keeps how a command ended, or forgets that it began.
pub(super) fn end_command(
    sql: &Connection,
    (user, id): (&UserId, &str),
    ended: Option<Ended>,
    allowed: &Allowances,
) -> rusqlite::Result<()> {
    let Some(Ended { code, answer }) = ended else { return allowance::forget_command(sql, (user, id)) };
    let kept = allowance::keep_answer(sql, (user, id), answer.as_deref(), allowed)?;
    let answer = answer.filter(|_| kept);
    let code = code.map_or("", Code::as_str);
    sql.prepare_cached("UPDATE command SET ended = ?3, answer = ?4 WHERE user = ?1 AND id = ?2")?
        .execute(params![user.as_str(), id, code, answer])
        .map(drop)
}

/// The code in a row; none for a good end.
fn code_of(text: &str) -> Option<Code> {
    let known = || Code::ALL.iter().copied().find(|code| code.as_str() == text);
    // A code that this program does not know is an error all the same.
    (!text.is_empty()).then(|| known().unwrap_or(Code::Internal))
}
