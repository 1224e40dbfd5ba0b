//! One send becomes rows: numbers, time, idempotency ids.
//!
//! Guarantees: all of a send is in the transaction or nothing of it; this is the one place that
//! gives numbers.
//! It announces nothing and answers nobody: the transaction is not committed yet.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};
use tidings_core::{
    Channel, Code, Epoch, Error, Message, Position, Seq, Timestamp, UserId,
    bus::Placed,
    log::{Allowances, Committed, Opens, Publication},
};

use super::{
    allowance,
    channels::Channels,
    space::Weight,
    tail::{Place, SharedTail},
};

/// How long an idempotency id or a command's answer is kept.
pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The instants of a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// The wall clock, for what people read.
    pub(super) wall: Timestamp,
    /// The clock that windows and ages are measured by.
    pub(super) steady_ms: i64,
}

impl Now {
    /// Whether what was remembered then is forgotten by now.
    pub(super) fn has_forgotten(self, at: i64) -> bool {
        at <= self.steady_ms - DAY_MS
    }
}

/// A send, and the user against whose allowances it counts, if it counts against any.
pub(super) type Send<'a> = (Option<&'a UserId>, Vec<Publication>);

/// Why a send is not in the transaction.
pub(super) enum Failed {
    /// It is bad, and alone in it.
    Refused(Error),
    /// The transaction is lost.
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error)
    }
}

/// Where the numbering of a log stands.
pub(super) struct Numbering {
    pub(super) epoch: Epoch,
    pub(super) channels: Channels,
    pub(super) tail: SharedTail,
    /// What users may have besides messages.
    pub(super) allowed: Allowances,
    /// What the messages take.
    pub(super) weight: Weight,
    global: u64,
    time: i64,
    /// Where the messages of this transaction are, by their channel's row.
    fresh: Vec<(i64, Place)>,
}

/// What a send became.
pub(super) struct Done {
    pub(super) placed: Vec<Placed>,
    pub(super) committed: Vec<Committed>,
}

impl Done {
    fn with_room(count: usize) -> Self {
        Self { placed: Vec::with_capacity(count), committed: Vec::with_capacity(count) }
    }
}

impl Numbering {
    /// The numbering as the file has it.
    pub(super) fn load(sql: &Connection, epoch: Epoch, tail: SharedTail) -> rusqlite::Result<Self> {
        // The row is written when messages go into the index, and before any go for good; what came
        // since is in the newest message, and in the tail.
        let (global, time, mut weight) = sql.query_row(
            "SELECT max(global, coalesce(id, 0)), max(head.time, coalesce(message.time, 0)), messages, bytes
             FROM head LEFT JOIN message ON id = (SELECT max(id) FROM message)",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, Weight::in_row(row, 2)?)),
        )?;
        weight += tail.load(sql)?;
        let channels = Channels::load(sql, &tail)?;
        let allowed = Allowances::default();
        Ok(Self { epoch, channels, tail, allowed, weight, global: global as u64, time, fresh: Vec::new() })
    }

    /// The same, with what users may have.
    pub(super) fn allowing(mut self, allowed: Allowances) -> Self {
        self.allowed = allowed;
        self
    }

    /// The same, in place of one that a failure ended: its time does not go back behind what was announced.
    pub(super) fn in_place_of(mut self, former: &Self) -> Self {
        self.time = self.time.max(former.time);
        self.allowing(former.allowed)
    }

    /// Writes what the transaction changed of the numbering, and gives the channels that it changed.
    pub(super) fn flush(&mut self, sql: &Connection) -> rusqlite::Result<Vec<Channel>> {
        let changed = self.channels.flush(sql)?;
        // Before the commit: who reads right after it must find the places.
        self.tail.add(self.fresh.drain(..));
        Ok(changed)
    }

    /// Puts the places of the newest messages into the index, and what they changed into the rows of
    /// their channels, in a transaction of its own.
    pub(super) fn settle(&mut self, sql: &mut Connection) -> rusqlite::Result<()> {
        let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.channels.write_numbers(&transaction)?;
        self.tail.write(&transaction, (self.global, self.time), self.weight)?;
        transaction.commit()?;
        self.tail.settled(self.global);
        Ok(())
    }

    /// Puts a send that is alone in its transaction into it. When it is refused, the transaction is
    /// to be taken back, and [`Numbering::undo_alone`] called.
    pub(super) fn append_alone(&mut self, sql: &Connection, send: Send<'_>, now: Now) -> Result<Done, Failed> {
        self.time = self.time.max(now.wall.0);
        self.place_all(sql, send, now).map_err(alone)
    }

    /// So many messages of so many bytes, which the index had, are no longer in the file.
    pub(super) fn lighten(&mut self, sql: &Connection, gone: Weight) -> rusqlite::Result<()> {
        self.weight -= gone;
        sql.prepare_cached("UPDATE head SET messages = messages - ?1, bytes = bytes - ?2")?
            .execute(params![gone.messages as i64, gone.bytes as i64])
            .map(drop)
    }

    /// Takes back in memory what the transaction's only send did.
    pub(super) fn undo_alone(&mut self) {
        self.channels.undo();
        self.forget_fresh(0);
    }

    fn forget_fresh(&mut self, from: usize) {
        for (_, place) in self.fresh.drain(from..) {
            self.global -= 1;
            self.weight -= Weight::of(place.bytes);
        }
    }

    /// Puts a send into the transaction that is open.
    pub(super) fn append(&mut self, sql: &Connection, send: Send<'_>, now: Now) -> Result<Done, Failed> {
        self.time = self.time.max(now.wall.0);
        let durable = send.1.iter().any(|publication| publication.durable);
        if !durable {
            return self.place_all(sql, send, now);
        }
        let fresh = self.fresh.len();
        sql.prepare_cached("SAVEPOINT send")?.execute([])?;
        match self.place_all(sql, send, now) {
            Ok(done) => {
                sql.prepare_cached("RELEASE send")?.execute([])?;
                self.channels.keep();
                Ok(done)
            }
            Err(failed) => {
                // When SQLite has taken the whole transaction back, there is no savepoint left.
                if sql.is_autocommit() {
                    return Err(failed);
                }
                sql.prepare_cached("ROLLBACK TO send")?.execute([])?;
                sql.prepare_cached("RELEASE send")?.execute([])?;
                self.channels.undo();
                self.forget_fresh(fresh);
                Err(alone(failed))
            }
        }
    }

    fn place_all(&mut self, sql: &Connection, (payer, send): Send<'_>, now: Now) -> Result<Done, Failed> {
        let mut done = Done::with_room(send.len());
        let (mut insert, mut left) = (None, send.into_iter().peekable());
        while let Some(first) = left.next() {
            let Some((user, id)) = key(&first) else {
                self.place(sql, &mut insert, (payer, first, now), &mut done)?;
                continue;
            };
            // Those without an id that follow it are repeated with it, so that a retry makes no second copy in
            // another channel.
            let mut group = vec![first];
            while let Some(next) = left.next_if(|publication| key(publication).is_none()) {
                group.push(next);
            }
            let digest = digest(&group);
            if let Some(known) = self.known(sql, &group[0].channel, (&user, &id), now)? {
                if known.digest != digest {
                    return Err(Failed::Refused(conflict(done.placed.len())));
                }
                self.repeat(&group, &known.places, &mut done);
                continue;
            }
            let channel = group[0].channel.clone();
            let start = done.placed.len();
            for publication in group {
                self.place(sql, &mut insert, (payer, publication, now), &mut done)?;
            }
            let places: Vec<Option<Seq>> =
                done.placed[start..].iter().map(|placed| placed.position.as_ref().map(|at| at.seq)).collect();
            self.remember(sql, (payer.is_some(), &channel), (&user, &id), &Known { digest, places }, now)?;
        }
        Ok(done)
    }

    /// Puts one publication where it belongs. `insert` is prepared for the first durable one of a send.
    fn place<'sql>(
        &mut self,
        sql: &'sql Connection,
        insert: &mut Option<CachedStatement<'sql>>,
        (payer, publication, now): (Option<&UserId>, Publication, Now),
        done: &mut Done,
    ) -> Result<(), Failed> {
        let Publication { channel, event, durable, opens } = publication;
        let time = Timestamp(self.time);
        if !durable {
            done.placed.push(Placed { channel: channel.clone(), position: None });
            let message = Arc::new(Message::new(channel, None, time, event));
            done.committed.push(Committed { global: self.global, message });
            return Ok(());
        }
        let bytes = event.payload.json().len();
        let row = self.channels.open(sql, &channel, time.0)?;
        if opens.as_ref().is_some_and(|opens| row.is_of_others(opens)) {
            return Err(Failed::Refused(Opens::refused(done.placed.len())));
        }
        let (is_new, seq, id) = (row.head == 0, row.next(bytes, time.0), row.id);
        if is_new {
            let owner = opens.as_ref().and_then(|opens| opens.owner.as_ref());
            let paid =
                payer.or(owner).map_or(Ok(true), |user| allowance::take_channel(sql, user, &self.allowed, now))?;
            if !paid {
                return Err(Failed::Refused(allowance::refused("channel")));
            }
        }
        if let Some(opens) = opens {
            self.channels.set(&channel, opens);
        }
        self.global += 1;
        self.weight += Weight::of(bytes as u64);
        self.fresh.push((id, Place { seq, global: self.global, bytes: bytes as u64, time: time.0 }));
        let message = Message::new(channel.clone(), Some(seq), time, event);
        let insert = match insert {
            Some(prepared) => prepared,
            None => insert.insert(sql.prepare_cached("INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?),
        };
        insert.execute(params![
            self.global as i64,
            id,
            seq as i64,
            time.0,
            message.event_type.as_str(),
            message.by.as_ref().map(UserId::as_str),
            message.id.as_deref(),
            message.payload.json(),
        ])?;
        done.placed.push(Placed { channel, position: Some(Position { epoch: self.epoch.clone(), seq }) });
        done.committed.push(Committed { global: self.global, message: Arc::new(message) });
        Ok(())
    }

    fn repeat(&self, group: &[Publication], places: &[Option<Seq>], done: &mut Done) {
        done.placed.extend(group.iter().zip(places).map(|(publication, seq)| Placed {
            channel: publication.channel.clone(),
            position: seq.map(|seq| Position { epoch: self.epoch.clone(), seq }),
        }));
    }

    fn known(
        &mut self,
        sql: &Connection,
        channel: &Channel,
        (user, id): (&str, &str),
        now: Now,
    ) -> Result<Option<Known>, Failed> {
        let Some(row) = self.channels.get(sql, channel)? else { return Ok(None) };
        let mut select =
            sql.prepare_cached("SELECT digest, places, at FROM sent WHERE channel = ?1 AND user = ?2 AND id = ?3")?;
        let found = select
            .query_row(params![row.id, user, id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))
            .optional()?;
        let Some((digest, places, at)) = found else { return Ok(None) };
        if now.has_forgotten(at) {
            allowance::forget_id(sql, row.id, (user, id))?;
            return Ok(None);
        }
        let places = serde_json::from_str(&places).map_err(|_| Failed::Refused(Error::internal()))?;
        Ok(Some(Known { digest, places }))
    }

    fn remember(
        &mut self,
        sql: &Connection,
        (is_counted, channel): (bool, &Channel),
        (user, id): (&str, &str),
        known: &Known,
        now: Now,
    ) -> Result<(), Failed> {
        if is_counted && !allowance::take_id(sql, user, &self.allowed, now)? {
            return Err(Failed::Refused(allowance::refused("id")));
        }
        let Some(row) = self.channels.get(sql, channel)? else { return Ok(()) };
        let places = serde_json::to_string(&known.places).map_err(|_| Failed::Refused(Error::internal()))?;
        sql.prepare_cached("INSERT INTO sent VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
            row.id,
            user,
            id,
            known.digest,
            places,
            now.steady_ms,
            is_counted
        ])?;
        Ok(())
    }
}

/// What is known of an idempotency id.
struct Known {
    digest: Vec<u8>,
    /// The numbers of its publication and of those that followed it in its send.
    places: Vec<Option<Seq>>,
}

/// Whether a failure concerns one send only, or everything written since the transaction began.
fn alone(failed: Failed) -> Failed {
    let Failed::Broken(error) = failed else { return failed };
    let only_it = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    );
    if !only_it {
        return Failed::Broken(error);
    }
    let answer = Error::internal();
    tracing::error!(%error, %answer, "a send could not be written; it fails alone");
    Failed::Refused(answer)
}

/// The user and the id that a publication is known by.
fn key(publication: &Publication) -> Option<(String, String)> {
    let id = publication.event.id.as_ref().filter(|_| publication.durable)?;
    let user = publication.event.by.as_ref().map_or("", UserId::as_str);
    Some((user.to_owned(), id.to_string()))
}

fn digest(group: &[Publication]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for publication in group {
        digest.update([u8::from(publication.durable)]);
        let parts =
            [publication.channel.as_str(), publication.event.event_type.as_str(), publication.event.payload.json()];
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    digest.finalize().to_vec()
}

/// The refusal of the publication at this place of a send.
fn conflict(at: usize) -> Error {
    let why = "this id was used for something else before";
    Error::new(Code::Conflict, why).with_field("id", why).at_entry(Some(at))
}
