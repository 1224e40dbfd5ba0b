//! The writer: the one thread that changes the log.
//!
//! Guarantees: all that waits becomes one transaction, without a timer; after its commit come the
//! announcements, in order, then the answers. A commit that fails is announced to nobody: the file
//! is opened again, the heads are read again, and who asks meanwhile is refused. So it is after a panic; a writer
//! that panics again and again ends, and says so.
//! It is not async: it blocks on the disk, and on nothing else.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tidings_core::{
    Epoch, Error, fault,
    log::{LogRules, LogSink},
    panics::{self, Panics},
    runtime::Clock,
};
use tokio::sync::watch;

use super::{
    Durability, OpenError,
    append::{Now, Numbering},
    batch::Batch,
    epoch::{self, Machine},
    news::{self, News},
    queue::{Entry, Queue},
    schedule::next_batch,
    schema,
    space::Space,
    steady::Steady,
    tail::SharedTail,
    tally::Tally,
    trim::{Instants, Slice, Trimmer},
};

/// How long the writer waits for work before it looks whether something has aged.
const TICK: Duration = Duration::from_secs(1);
/// While work waits, room is made only after so many commits.
const COMMITS_BETWEEN_SLICES: u32 = 4;
/// How long it waits before it opens a failed file again: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What the writer shares with the log's face.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) sink: OnceLock<Arc<dyn LogSink>>,
    /// How channels are kept, once that is known.
    pub(super) rules: OnceLock<LogRules>,
    pub(super) healthy: AtomicBool,
    /// The last failure was a full disk, and the log could not be written since.
    pub(super) full: AtomicBool,
    /// How often the disk was found full.
    pub(super) full_times: AtomicU64,
    /// Somebody else found the disk full.
    pub(super) full_elsewhere: AtomicBool,
    pub(super) ended: watch::Sender<bool>,
}

/// Where the log's file is, and how it is opened.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) durability: Durability,
    /// A bound on the file's pages, which stands for a full disk in tests.
    pub(super) most_pages: Option<u32>,
}

impl Place {
    /// Makes or opens the log, and judges its epoch.
    pub(super) fn open(&self, machine: &Machine) -> Result<(Connection, Epoch), OpenError> {
        let mut sql = schema::prepare(&self.dir)?;
        let epoch = epoch::settle(&mut sql, &self.dir, self.durability, machine)?;
        self.set_up(&sql).map_err(schema::of_file(&self.dir))?;
        Ok((sql, epoch))
    }

    /// Sets a connection up for this log.
    pub(super) fn set_up(&self, sql: &Connection) -> rusqlite::Result<()> {
        if let Some(pages) = self.most_pages {
            sql.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        schema::set_durability(sql, self.durability)
    }
}

/// The writer.
pub(super) struct Writer {
    pub(super) place: Place,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
    /// None after a failure, until the file is open again.
    pub(super) sql: Option<Connection>,
    pub(super) numbering: Numbering,
    pub(super) trimmer: Trimmer,
    pub(super) space: Space,
    pub(super) steady: Steady,
    /// What was trimmed and is not told yet.
    pub(super) tally: Tally,
    pub(super) waiting: VecDeque<Entry>,
    pub(super) since_slice: u32,
    pub(super) retry: Duration,
}

impl Writer {
    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let _end = End(self.shared.clone());
        let (mut patience, mut panics) = (Duration::ZERO, Panics::default());
        loop {
            match panics::caught("log.writer", || self.turn(&mut patience)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    self.doubt();
                    let Some(pause) = panics.again(self.clock.monotonic()) else { return };
                    self.shared.queue.pause(pause);
                }
            }
        }
        self.finish();
    }

    /// Takes in what the log was told beside its queue.
    fn hear(&mut self) {
        if !self.trimmer.has_rules()
            && let Some(rules) = self.shared.rules.get()
        {
            self.trimmer.keep(rules.clone());
        }
        if self.shared.full_elsewhere.swap(false, Ordering::Relaxed) {
            self.space.disk_full(self.clock.monotonic());
        }
    }

    /// Takes what waits and writes one batch of it. Says whether to go on.
    fn turn(&mut self, patience: &mut Duration) -> bool {
        let closing = self.shared.queue.take(&mut self.waiting, *patience);
        self.hear();
        metrics::gauge!("tidings_log_waiting").set(self.shared.queue.waiting() as f64);
        if self.sql.is_none() && !self.reopen() {
            self.refuse_waiting();
            if !closing {
                self.shared.queue.pause(self.retry);
                self.retry = (self.retry * 2).min(RETRY.1);
            }
            return !closing;
        }
        let batch = next_batch(&mut self.waiting);
        let idle = batch.is_empty();
        if idle && closing {
            return false;
        }
        if !idle {
            self.commit(Batch::new(batch));
        }
        *patience = if self.make_room(idle) { Duration::ZERO } else { TICK };
        true
    }

    fn instants(&mut self) -> Instants {
        Instants { steady_ms: self.steady.now_ms(&*self.clock), monotonic: self.clock.monotonic() }
    }

    fn commit(&mut self, mut batch: Batch) {
        let started = self.clock.monotonic();
        let instants = self.instants();
        let clock = self.clock.clone();
        let now = || Now { wall: clock.now(), steady_ms: instants.steady_ms };
        let Some(sql) = self.sql.as_mut() else { return batch.refuse(&self.shared.failing()) };
        fault::here("log.writer");
        let written = match fault::fails("log.commit") {
            true => Err(rusqlite::Error::InvalidQuery),
            false => batch.write(sql, &mut self.numbering, now),
        };
        if let Err(error) = written {
            self.failed(&error);
            return batch.refuse(&self.shared.failing());
        }
        metrics::histogram!("tidings_log_commit_seconds").record((self.clock.monotonic() - started).as_secs_f64());
        self.since_slice += 1;
        self.note(&batch, instants);
        fault::here("log.announce");
        self.tell(std::mem::take(&mut batch.news));
        batch.give();
        self.numbering.channels.settle();
        if self.numbering.tail.is_full() {
            self.settle();
        }
    }

    /// Puts the newest messages into the index.
    fn settle(&mut self) {
        let Some(sql) = self.sql.as_mut() else { return };
        if let Err(error) = self.numbering.settle(sql) {
            self.failed(&error);
        }
    }

    /// Remembers what the commit may have made too much.
    fn note(&mut self, batch: &Batch, now: Instants) {
        self.space.grown();
        let Some(sql) = &self.sql else { return };
        for channel in &batch.changed {
            if let Ok(Some(row)) = self.numbering.channels.get(sql, channel) {
                self.trimmer.changed(channel, row, now);
            }
        }
        for channel in &batch.saved {
            self.trimmer.saved(channel);
            self.space.again();
        }
        if batch.news.iter().any(|news| matches!(news, News::Deleted(_))) {
            self.trimmer.has_deleted();
        }
    }

    /// Does one slice of trimming, if it is time for one. Says whether there may be more to do.
    fn make_room(&mut self, idle: bool) -> bool {
        if self.sql.is_none() {
            return true;
        }
        if !idle && self.since_slice < COMMITS_BETWEEN_SLICES && !self.space.is_pressing() {
            return true;
        }
        self.since_slice = 0;
        let now = self.instants();
        if self.tally.is_due(now.monotonic) {
            self.tally.tell();
        }
        // Until the rules are known, nothing is weighed: what may go is not known either.
        let weighs = self.trimmer.has_rules() && self.space.has_work(now);
        if !weighs && !self.trimmer.has_work(now) {
            return false;
        }
        match self.slice(now) {
            Ok((more, news)) => {
                self.tell(news);
                let (swept, weighed) = (self.trimmer.has_swept(), self.space.has_trimmed());
                if swept || weighed {
                    self.tally.tell();
                }
                more
            }
            Err(error) => {
                self.failed(&error);
                true
            }
        }
    }

    fn slice(&mut self, now: Instants) -> rusqlite::Result<(bool, Vec<News>)> {
        let (mut news, mut tally) = (Vec::new(), Tally::default());
        let Some(sql) = self.sql.as_mut() else { return Ok((false, news)) };
        let ruled = self.trimmer.has_rules();
        let weight = self.numbering.weight;
        let needed = self.trimmer.needs_index(now) || (ruled && self.space.will_trim(sql, weight, now)?);
        if needed && !self.numbering.tail.is_empty() {
            self.numbering.settle(sql)?;
        }
        let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let numbering = &mut self.numbering;
        let mut slice = Slice { sql: &transaction, numbering, now, news: &mut news, tally: &mut tally };
        let more = self.trimmer.slice(&mut slice)? || (ruled && self.space.slice(&mut slice, &mut self.trimmer)?);
        self.numbering.channels.flush(&transaction)?;
        transaction.commit()?;
        self.numbering.channels.settle();
        self.tally.join(tally, now.monotonic);
        Ok((more || (ruled && self.space.vacuum_slice(sql, now)?), news))
    }

    /// The outcome of what was under way is not known: nothing in memory is believed any more.
    fn failed(&mut self, error: &rusqlite::Error) {
        metrics::counter!("tidings_log_failed_total").increment(1);
        tracing::error!(%error, "the log cannot be written; it is opened again");
        self.doubt();
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        self.shared.full.store(full, Ordering::Relaxed);
        if full {
            self.shared.full_times.fetch_add(1, Ordering::Relaxed);
            self.space.disk_full(self.clock.monotonic());
        }
    }

    /// Nothing in memory is believed any more: the file is to be opened and read again.
    fn doubt(&mut self) {
        self.shared.healthy.store(false, Ordering::Relaxed);
        self.numbering.channels.clear();
        self.sql = None;
    }

    fn refuse_waiting(&mut self) {
        let why = self.shared.failing();
        self.waiting.drain(..).for_each(|entry| entry.refuse(why.clone()));
    }

    /// Opens the file again after a failure. Says whether that worked.
    fn reopen(&mut self) -> bool {
        match open_again(&self.place, &self.numbering.epoch, &self.numbering.tail) {
            Ok((sql, numbering)) => {
                tracing::info!("the log is open again");
                self.sql = Some(sql);
                self.numbering = numbering.in_place_of(&self.numbering);
                self.retry = RETRY.0;
                self.shared.full.store(false, Ordering::Relaxed);
                self.shared.healthy.store(true, Ordering::Relaxed);
                self.tell(vec![News::Uncertain]);
                true
            }
            Err(error) => {
                // Once: a disk that stays full is not filled further with lines about it.
                if self.retry == RETRY.0 {
                    tracing::error!(%error, "the log cannot be opened again yet");
                } else {
                    tracing::debug!(%error, "the log cannot be opened again yet");
                }
                false
            }
        }
    }

    fn tell(&self, news: Vec<News>) {
        if let Some(sink) = self.shared.sink.get() {
            news::tell(&**sink, news);
        }
    }

    /// Closes the file in order.
    fn finish(mut self) {
        self.refuse_waiting();
        self.tally.tell();
        let Some(sql) = self.sql.take() else { return };
        let closed = epoch::mark_clean(&sql)
            .and_then(|()| sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
            .and_then(|()| sql.close().map_err(|(_, error)| error));
        if let Err(error) = closed {
            tracing::error!(%error, "the log was not closed in order; the next start repairs it");
        }
    }
}

impl Shared {
    /// What is refused while the log cannot be written, with the reason where it is one that the operator can end.
    fn failing(&self) -> Error {
        if self.full.load(Ordering::Relaxed) {
            return Error::unavailable("the log cannot be written now: the disk is full");
        }
        Error::unavailable("the log cannot be written now")
    }
}

/// Opens the file as it was open before, and tries whether it can be written.
pub(super) fn open_again(
    place: &Place,
    epoch: &Epoch,
    tail: &SharedTail,
) -> Result<(Connection, Numbering), OpenError> {
    let failed = schema::of_file(&place.dir);
    if fault::fails("log.open") {
        return Err(failed(rusqlite::Error::InvalidQuery));
    }
    let sql = schema::writer(&place.dir).map_err(&failed)?;
    // A fresh file in the old one's place would give its numbers again.
    if epoch::current(&sql).map_err(&failed)?.as_deref() != Some(&*epoch.0) {
        return Err(OpenError::Replaced { path: schema::file(&place.dir) });
    }
    place.set_up(&sql).map_err(&failed)?;
    // On a full disk this needs the room that the reserve left, and gives the write-ahead log's back.
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(&failed)?;
    sql.execute("UPDATE head SET time = time", []).map_err(&failed)?;
    let numbering = Numbering::load(&sql, epoch.clone(), tail.clone()).map_err(&failed)?;
    Ok((sql, numbering))
}

/// Lets nobody wait for a writer that is gone, however it went.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.queue.close();
        let mut left = VecDeque::new();
        self.0.queue.take(&mut left, Duration::ZERO);
        left.into_iter().for_each(|entry| entry.refuse(self.0.failing()));
        self.0.healthy.store(false, Ordering::Relaxed);
        self.0.ended.send_replace(true);
    }
}
