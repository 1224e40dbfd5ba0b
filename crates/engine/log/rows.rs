//! From the file's rows to the vocabulary, and the queries of readers.
//!
//! Guarantees: each answer is of one moment of the log, and its messages are contiguous. A name that
//! does not parse is an error, never a message with a hole in it; data was checked when it came in.
//! It never writes.

use std::{error::Error as StdError, str::FromStr, sync::Arc};

use rusqlite::{Connection, Row, params, types::Type};
use tidings_core::{Channel, Event, EventType, Message, Payload, Seq, Timestamp, UserId, log::Committed};

/// A number as the file has it. What is larger than any there is comes out as the largest.
pub(super) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn broken(column: usize, why: impl StdError + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(why))
}

fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: StdError + Send + Sync + 'static,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|why| broken(column, why))
}

/// The channel in a column.
pub(super) fn channel(row: &Row<'_>, column: usize) -> rusqlite::Result<Channel> {
    parsed(row, column)
}

/// A user in a column that may be empty.
pub(super) fn user(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<UserId>> {
    match row.get_ref(column)?.as_str_or_null()? {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|why| broken(column, why)),
    }
}

/// The columns of a message, in the order in which [`message`] reads them.
macro_rules! message_columns {
    () => {
        "m.seq, m.time, m.type, m.by, m.key, m.data"
    };
}
pub(super) use message_columns;

/// The names of the row before, which the next row mostly has as well.
#[derive(Default)]
pub(super) struct Names {
    event_type: Option<EventType>,
    by: Option<UserId>,
}

impl Names {
    fn event_type(&mut self, row: &Row<'_>) -> rusqlite::Result<EventType> {
        let text = row.get_ref(2)?.as_str()?;
        match &self.event_type {
            Some(same) if same.as_str() == text => Ok(same.clone()),
            _ => Ok(self.event_type.insert(parsed(row, 2)?).clone()),
        }
    }

    fn by(&mut self, row: &Row<'_>) -> rusqlite::Result<Option<UserId>> {
        let text = row.get_ref(3)?.as_str_or_null()?;
        if text.is_some() && text != self.by.as_ref().map(UserId::as_str) {
            self.by = user(row, 3)?;
        }
        Ok(self.by.clone().filter(|_| text.is_some()))
    }
}

pub(super) fn message(row: &Row<'_>, channel: Channel, names: &mut Names) -> rusqlite::Result<Message> {
    let event = Event {
        event_type: names.event_type(row)?,
        // It was checked before the writer put it there: parsing it again would be most of a replay.
        payload: Payload::kept(row.get_ref(5)?.as_str()?),
        channel: None,
        by: names.by(row)?,
        id: row.get_ref(4)?.as_str_or_null()?.map(Into::into),
    };
    Ok(Message::new(channel, Some(row.get::<_, i64>(0)? as Seq), Timestamp(row.get(1)?), event))
}

/// Reads all channels in the order of the log.
pub(super) fn feed(sql: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<Committed>> {
    let mut select = sql.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        ", m.id, c.name FROM message m JOIN channel c ON c.id = m.channel
         WHERE m.id > ?1 AND m.seq >= c.first ORDER BY m.id LIMIT ?2"
    ))?;
    let mut names = Names::default();
    let rows = select.query_map(params![number(after), number(limit as u64)], |row| {
        let global = row.get::<_, i64>(6)? as u64;
        Ok(Committed { global, message: Arc::new(message(row, channel(row, 7)?, &mut names)?) })
    })?;
    rows.collect()
}
