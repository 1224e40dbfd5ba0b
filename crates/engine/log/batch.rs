//! One transaction of the writer: work in, answers and announcements out.
//!
//! Guarantees: nobody is answered before the commit; when it fails, everybody in it is refused and
//! nothing of it is announced.
//! It is not the choice of what goes together: the schedule's.

use rusqlite::{Connection, TransactionBehavior};
use tidings_core::{Channel, Error, Result};

use super::{
    append::{Failed, Now, Numbering},
    jobs,
    news::News,
    queue::{Entry, To, Work},
};

/// Gives an answer once the outcome is known: the one that was found, or this error instead.
type Answer = Box<dyn FnOnce(Option<Error>) + Send>;

/// Work that is done together.
pub(super) struct Batch {
    entries: std::vec::IntoIter<Entry>,
    answers: Vec<Answer>,
    /// It is one piece of work: its transaction can stand for the savepoint that a send needs.
    alone: bool,
    /// The one send was refused: nothing is to be committed.
    undone: bool,
    /// What is to be announced after the commit.
    pub(super) news: Vec<News>,
    /// The channels that the commit changed.
    pub(super) changed: Vec<Channel>,
    /// The channels that a state was saved of.
    pub(super) saved: Vec<Channel>,
}

impl Batch {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let answers = Vec::with_capacity(entries.len());
        Self {
            alone: entries.len() == 1,
            undone: false,
            entries: entries.into_iter(),
            answers,
            news: Vec::new(),
            changed: Vec::new(),
            saved: Vec::new(),
        }
    }

    /// Does all of it in one transaction and commits it.
    pub(super) fn write(
        &mut self,
        sql: &mut Connection,
        numbering: &mut Numbering,
        now: impl Fn() -> Now,
    ) -> rusqlite::Result<()> {
        if self.entries.as_slice().iter().all(|entry| entry.is_ephemeral()) {
            return self.apply_all(sql, numbering, now);
        }
        let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.apply_all(&transaction, numbering, now)?;
        if self.undone {
            numbering.undo_alone();
            return transaction.rollback();
        }
        self.changed = numbering.flush(&transaction)?;
        transaction.commit()
    }

    fn apply_all(
        &mut self,
        sql: &Connection,
        numbering: &mut Numbering,
        now: impl Fn() -> Now,
    ) -> rusqlite::Result<()> {
        while let Some(entry) = self.entries.next() {
            self.apply(sql, numbering, entry, now())?;
        }
        Ok(())
    }

    fn apply(&mut self, sql: &Connection, numbering: &mut Numbering, entry: Entry, now: Now) -> rusqlite::Result<()> {
        let (work, room) = entry.open();
        match work {
            Work::Send { publications, to } => {
                let done = if self.alone {
                    numbering.append_alone(sql, publications, now)
                } else {
                    numbering.append(sql, publications, now)
                };
                let (answer, broken) = match done {
                    Ok(done) => {
                        self.news.push(News::Committed(done.committed));
                        (Ok(Ok(done.placed)), Ok(()))
                    }
                    Err(Failed::Refused(error)) => {
                        self.undone = self.alone;
                        (Ok(Err(error)), Ok(()))
                    }
                    Err(Failed::Broken(error)) => (Err(()), Err(error)),
                };
                self.answer(to, answer, room);
                broken
            }
            Work::SaveState { channel, state, settled, to } => {
                let saved = jobs::save_state(sql, numbering, &channel, &state, settled);
                self.saved.push(channel);
                self.settle(to, saved, Ok, room)
            }
            Work::StatesAreOf { namespace, version, to } => {
                let written = jobs::states_are_of(sql, &namespace, version);
                self.settle(to, written, Ok, room)
            }
            Work::Delete { channel, to } => {
                let deleted = jobs::delete(sql, numbering, &channel);
                if let Ok(true) = deleted {
                    self.news.push(News::Deleted(channel));
                }
                self.settle(to, deleted, |there| if there { Ok(()) } else { Err(Error::not_found()) }, room)
            }
            Work::BeginCommand { user, id, digest, to } => {
                let known = jobs::begin_command(sql, (&user, &id), &digest, now);
                self.settle(to, known, Ok, room)
            }
            Work::EndCommand { user, id, answer, to } => {
                let ended = jobs::end_command(sql, (&user, &id), answer.as_deref());
                self.settle(to, ended, Ok, room)
            }
        }
    }

    fn settle<T, U: Send + 'static>(
        &mut self,
        to: To<U>,
        done: rusqlite::Result<T>,
        answer: impl FnOnce(T) -> Result<U>,
        room: impl Send + 'static,
    ) -> rusqlite::Result<()> {
        let (answer, broken) = match done {
            Ok(done) => (Ok(answer(done)), Ok(())),
            Err(error) => (Err(()), Err(error)),
        };
        self.answer(to, answer, room);
        broken
    }

    /// Keeps an answer until the outcome is known. The room is free again after it.
    fn answer<T: Send + 'static>(&mut self, to: To<T>, answer: Result<Result<T>, ()>, room: impl Send + 'static) {
        self.answers.push(Box::new(move |failed| {
            let answer = match (failed, answer) {
                (Some(error), _) => Err(error),
                (None, Ok(answer)) => answer,
                (None, Err(())) => Err(Error::internal()),
            };
            // Whoever dropped the receipt does not want to know.
            drop(to.send(answer));
            drop(room);
        }));
    }

    /// Answers everybody as the work went.
    pub(super) fn give(self) {
        self.answers.into_iter().for_each(|answer| answer(None));
    }

    /// Answers everybody that it failed.
    pub(super) fn refuse(self, error: &Error) {
        self.answers.into_iter().for_each(|answer| answer(Some(error.clone())));
        self.entries.for_each(|entry| entry.refuse(error.clone()));
    }
}
