//! The facts of channels: their rows, with what the newest messages add to them.
//!
//! Guarantees: each answer is of one moment of the log, though a row is only written with the index.
//! It never writes, and reads no message; a state's bytes only where they are asked for.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use tidings_core::{
    Channel, Seq, Timestamp,
    log::{ChannelFacts, ListChannels, OtherVersions, SavedAt, SavedState},
};

use super::{
    rows::{channel, number, user},
    tail::{Moment, Place, Tail, moment_columns},
};

/// The columns of a channel's facts and of their moment, in the order in which [`facts_of`] reads them.
macro_rules! select_facts {
    () => {
        select_facts!("")
    };
    ($index:literal) => {
        concat!(
            "SELECT c.name, c.head, c.first, c.owner, c.project, c.created_at, c.updated_at, c.bytes, s.seq, s.version,
             c.id, c.open, ",
            moment_columns!(),
            " FROM channel c ",
            $index,
            " LEFT JOIN state s ON s.channel = c.id"
        )
    };
}

/// The facts of a channel.
pub(super) fn one(sql: &Connection, tail: &Tail, channel: &Channel) -> rusqlite::Result<Option<ChannelFacts>> {
    let mut select = sql.prepare_cached(concat!(select_facts!(), " WHERE c.name = ?1"))?;
    loop {
        match select.query_row([channel.as_str()], |row| facts_of(row, tail)).optional()? {
            None => return Ok(None),
            Some(Some(facts)) => return Ok(Some(facts)),
            // The index grew after the moment began. The next moment has it.
            Some(None) => {}
        }
    }
}

/// The saved states of channels.
pub(super) fn states(sql: &Connection, channels: &[Channel]) -> rusqlite::Result<Vec<Option<SavedState>>> {
    let mut select = sql.prepare_cached(
        "SELECT s.seq, s.version, s.bytes FROM channel c JOIN state s ON s.channel = c.id WHERE c.name = ?1",
    )?;
    let mut state = |channel: &Channel| {
        let read = |row: &Row<'_>| {
            Ok(SavedState { seq: row.get::<_, i64>(0)? as Seq, version: row.get(1)?, bytes: row.get(2)? })
        };
        select.query_row([channel.as_str()], read).optional()
    };
    channels.iter().map(&mut state).collect()
}

/// The key under which the file says of which version all saved states of a namespace are.
pub(super) fn version_key(namespace: &str) -> String {
    format!("states.{namespace}")
}

/// The channels of a namespace whose saved state is of another version.
pub(super) fn of_others(sql: &Connection, tail: &Tail, query: &OtherVersions) -> rusqlite::Result<Vec<ChannelFacts>> {
    let known: Option<String> = sql
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([version_key(&query.namespace)], |row| row.get(0))
        .optional()?;
    if known.is_some_and(|known| known == query.version.to_string()) {
        return Ok(Vec::new());
    }
    let above = query.above.as_ref().map_or_else(|| format!("{}:", query.namespace), ToString::to_string);
    let (below, limit) = (format!("{};", query.namespace), number(query.limit as u64));
    let mut select = sql.prepare_cached(concat!(
        select_facts!(),
        " WHERE c.name > ?1 AND c.name < ?2 AND s.version <> ?3 ORDER BY c.name LIMIT ?4"
    ))?;
    loop {
        let with = params![above, below, query.version, limit];
        let found: Option<Vec<ChannelFacts>> =
            select.query_map(with, |row| facts_of(row, tail))?.collect::<Result<_, _>>()?;
        // None: as above.
        if let Some(found) = found {
            return Ok(found);
        }
    }
}

/// A part of the list of channels.
pub(super) fn list(sql: &Connection, tail: &Tail, query: &ListChannels) -> rusqlite::Result<Vec<ChannelFacts>> {
    // Names of a namespace lie between "name:" and "name;", the next character after the colon.
    let from = query.namespace.as_ref().map_or_else(String::new, |namespace| format!("{namespace}:"));
    let mut below = query.namespace.as_ref().map_or_else(|| "{".to_owned(), |namespace| format!("{namespace};"));
    if let Some(cursor) = &query.below {
        below = below.min(cursor.as_str().to_owned());
    }
    let limit = number(query.limit as u64);
    let mut with: Vec<&dyn ToSql> = vec![&from, &below, &limit];
    with.extend(query.project.as_ref().map(|project| project as &dyn ToSql));
    let select = match (&query.project, query.open) {
        (None, false) => OF_ALL,
        (Some(_), false) => OF_PROJECT,
        (None, true) => OPEN_OF_ALL,
        (Some(_), true) => OPEN_OF_PROJECT,
    };
    let mut select = sql.prepare_cached(select)?;
    loop {
        let found: Option<Vec<ChannelFacts>> =
            select.query_map(&*with, |row| facts_of(row, tail))?.collect::<Result<_, _>>()?;
        // None: as above.
        if let Some(found) = found {
            return Ok(found);
        }
    }
}

const OF_PROJECT: &str =
    concat!(select_facts!(), " WHERE c.project = ?4 AND c.name >= ?1 AND c.name < ?2 ORDER BY c.name DESC LIMIT ?3");
const OPEN_OF_PROJECT: &str = concat!(
    select_facts!("INDEXED BY channel_open"),
    " WHERE c.open = 1 AND c.project = ?4 AND c.name >= ?1 AND c.name < ?2 ORDER BY c.name DESC LIMIT ?3"
);
const OPEN_OF_ALL: &str = concat!(
    select_facts!("INDEXED BY channel_open"),
    " WHERE c.open = 1 AND c.name >= ?1 AND c.name < ?2 ORDER BY c.name DESC LIMIT ?3"
);
const OF_ALL: &str = concat!(select_facts!(), " WHERE c.name >= ?1 AND c.name < ?2 ORDER BY c.name DESC LIMIT ?3");

/// A row as of its moment, which is the statement's. None when the index has grown since.
fn facts_of(row: &Row<'_>, tail: &Tail) -> rusqlite::Result<Option<ChannelFacts>> {
    let saved = match row.get::<_, Option<i64>>(8)? {
        Some(seq) => Some(SavedAt { seq: seq as Seq, version: row.get(9)? }),
        None => None,
    };
    let mut facts = ChannelFacts {
        channel: channel(row, 0)?,
        head: row.get::<_, i64>(1)? as Seq,
        first: row.get::<_, i64>(2)? as Seq,
        owner: user(row, 3)?,
        project: row.get_ref(4)?.as_str_or_null()?.map(Into::into),
        created_at: Timestamp(row.get(5)?),
        updated_at: Timestamp(row.get(6)?),
        bytes: row.get::<_, i64>(7)? as u64,
        open: row.get(11)?,
        saved,
    };
    let known = tail.beyond(Moment::in_row(row, 12)?, row.get(10)?, |places| add(&mut facts, places));
    Ok(known.map(|()| facts))
}

/// Adds the messages that the row does not know of.
fn add(facts: &mut ChannelFacts, places: &[Place]) {
    let start = places.partition_point(|place| place.seq <= facts.head);
    for place in &places[start..] {
        facts.head = place.seq;
        facts.updated_at = Timestamp(place.time);
        facts.bytes += place.bytes;
    }
}
