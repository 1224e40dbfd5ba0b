//! The database: one connection, taken in turns, and the mirror that follows it.
//!
//! Guarantees: a piece of work is one transaction, runs on a blocking thread, and is finished even
//! if its caller went away; after it, and at every poll, the mirror has what was committed, by this
//! process or another, and the watchers have heard of every new revocation, in the order of the
//! disk. Users, revocations and keys that were committed stand in the file itself before anybody is answered, and all
//! else within a second, so that whoever removes what SQLite keeps beside it takes next to nothing away. The queue of
//! callers is bounded.
//! It is not SQL: each noun has its own file.

use std::{
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tidings_core::{
    Error, Result, Timestamp, UserId,
    damage::Damage,
    identity::{Revocation, RevocationWatcher},
};
use tokio::sync::Semaphore;

use crate::{
    error::{AuthError, Fault},
    file,
    keys::{KeySource, Ring},
    mark::Mark,
    mirror::Mirror,
    revocations, users,
};

/// The most callers that wait for the database.
const MOST_WAITING: usize = 512;

/// The database and what follows it.
pub(crate) struct Store {
    connection: Mutex<Connection>,
    mirror: RwLock<Mirror>,
    ring: RwLock<Arc<Ring>>,
    source: KeySource,
    mark: Mark,
    watchers: RwLock<Vec<RevocationWatcher>>,
    waiting: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    latest: AtomicI64,
    failing: AtomicBool,
}

impl Store {
    /// Opens `users.db` in a directory and loads everything.
    pub(crate) fn open(dir: &Path, source: KeySource, now: Timestamp) -> Result<Self, AuthError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| AuthError::io(dir, error))?;
        let file = file::path(dir);
        let mut connection = file::open(dir)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let ring = source.load_or_make(now)?;
        transaction.commit()?;
        let store = Self {
            connection: Mutex::new(connection),
            mirror: RwLock::default(),
            ring: RwLock::new(Arc::new(ring)),
            source,
            mark: Mark::of(&file),
            watchers: RwLock::default(),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            turn: Arc::new(Semaphore::new(1)),
            latest: AtomicI64::new(now.0),
            failing: AtomicBool::new(false),
        };
        store.catch_up(&mut store.connection.lock())?;
        if !store.mirror().has_users() && store.mark.is_there()? {
            return Err(Damage::Lost { file, beside: store.mark.path().to_owned(), had: file::HAD }.into());
        }
        Ok(store)
    }

    /// One transaction, on a blocking thread, in turn.
    pub(crate) async fn run<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let busy = || Error::overloaded("too many requests about users wait").with_retry_after_ms(1000);
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| busy())?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| busy())?;
        let store = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            store.run_here(work)
        });
        match done.await {
            Ok(result) => result,
            Err(error) => {
                let answer = Error::internal();
                tracing::error!(%error, id = answer.message(), "work on users.db did not finish");
                Err(answer)
            }
        }
    }

    /// One transaction, on this thread.
    pub(crate) fn run_here<T>(&self, work: impl FnOnce(&Self, &Transaction<'_>) -> Result<T, Fault>) -> Result<T> {
        let mut connection = self.connection.lock();
        let outcome = self.transact(&mut connection, work);
        // Also after a refusal: another process may have changed what the refusal rests on.
        let caught_up = self.catch_up(&mut connection);
        let value = outcome?;
        caught_up.map_err(Fault::from)?;
        Ok(value)
    }

    fn transact<T>(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&Self, &Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(self, &transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// Moves what stands in the write-ahead log into the file, so that the file alone is everything. Blocks on the
    /// disk.
    pub(crate) fn settle(&self) {
        if let Err(error) = checkpoint(&self.connection.lock(), "TRUNCATE") {
            tracing::warn!(%error, "users.db keeps its write-ahead log, which belongs to it");
        }
    }

    /// Learns what other processes changed. A failure is logged when it begins and when it ends.
    pub(crate) fn poll(&self) {
        let mut connection = self.connection.lock();
        // What others wrote, too. Costs nothing where nobody wrote.
        settle_some(&connection);
        match self.catch_up(&mut connection) {
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("users.db can be read again");
                }
            }
            Err(cause) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%cause, "users.db cannot be read: changes of other processes are not seen");
                }
            }
        }
    }

    /// Brings the mirror, and the mark that there are users, up to the disk.
    fn catch_up(&self, connection: &mut Connection) -> Result<(), AuthError> {
        self.learn(connection)?;
        if self.mirror().has_users() {
            self.mark.make();
        }
        Ok(())
    }

    fn learn(&self, connection: &mut Connection) -> Result<(), AuthError> {
        let (known, known_keys) = {
            let mirror = self.mirror.read();
            (mirror.revision, mirror.keys_revision)
        };
        if (value(connection, "revision")?, value(connection, "keys_revision")?) == (known, known_keys) {
            return Ok(());
        }
        settle_some(connection);
        // One transaction, so that users, revocations and the revision are of one moment.
        let transaction = connection.transaction()?;
        let newest = value(&transaction, "revision")?;
        let newest_keys = value(&transaction, "keys_revision")?;
        let changed = users::changed_since(&transaction, known)?;
        let revoked = revocations::changed_since(&transaction, known)?;
        transaction.finish()?;
        // A key file that cannot be read must not keep revocations from being heard.
        let ring = (newest_keys != known_keys).then(|| self.source.load());
        let keys_failed = ring.as_ref().is_some_and(Result::is_err);
        let mut heard = Vec::new();
        {
            let mut mirror = self.mirror.write();
            for (id, standing) in changed {
                mirror.put_user(id, standing);
            }
            for row in revoked {
                heard.extend(row.is_live_since(known).then(|| row.revocation()));
                row.enter(&mut mirror);
            }
            mirror.revision = newest;
            mirror.keys_revision = if keys_failed { known_keys } else { newest_keys };
        }
        self.tell(&heard);
        if let Some(ring) = ring {
            *self.ring.write() = Arc::new(ring?);
        }
        Ok(())
    }

    /// The last user is deleted as one is: that there are none will be no damage.
    pub(crate) fn wants_no_users(&self) {
        self.mark.remove();
    }

    fn tell(&self, heard: &[Revocation]) {
        let watchers = self.watchers.read().clone();
        for revocation in heard {
            for watcher in &watchers {
                watcher(revocation);
            }
        }
    }

    pub(crate) fn watch(&self, watcher: RevocationWatcher) {
        self.watchers.write().push(watcher);
    }

    pub(crate) fn mirror(&self) -> parking_lot::RwLockReadGuard<'_, Mirror> {
        self.mirror.read()
    }

    pub(crate) fn prune_mirror(&self, before: i64) {
        self.mirror.write().prune(before);
    }

    pub(crate) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read())
    }

    pub(crate) fn source(&self) -> &KeySource {
        &self.source
    }

    /// The time to put on tokens and revocations: the wall clock, which here never goes back, or a
    /// token issued before a leap would outlive the revocation after it.
    pub(crate) fn stamp(&self, now: Timestamp) -> i64 {
        self.latest.fetch_max(now.0, Ordering::Relaxed).max(now.0)
    }

    /// The time to put on a token of this user: after whatever revoked the ones before.
    pub(crate) fn stamp_for(&self, user: &UserId, now: Timestamp) -> i64 {
        self.stamp(now).max(self.mirror().earliest(user))
    }
}

/// Moves what stands in the write-ahead log into the file, as far as nobody reads it. What could not be moved, as on a
/// full disk, is tried again at the next poll.
fn settle_some(connection: &Connection) {
    if let Err(error) = checkpoint(connection, "PASSIVE") {
        tracing::debug!(%error, "users.db is not whole without its write-ahead log now");
    }
}

fn checkpoint(connection: &Connection, how: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()))
}

fn value(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?.query_row([name], |row| row.get(0))
}

/// The revision that the rows changed by this transaction carry.
pub(crate) fn next_revision(transaction: &Transaction<'_>) -> Result<i64, rusqlite::Error> {
    transaction
        .prepare_cached("UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value")?
        .query_row((), |row| row.get(0))
}

/// Says that `signing.key` changed.
pub(crate) fn keys_changed(transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    let revision = next_revision(transaction)?;
    transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'keys_revision'", [revision])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use tidings_core::identity::Identity;
    use tidings_testkit::{TestClock, TestTasks};

    use super::*;
    use crate::{Auth, AuthConfig};

    fn open(dir: &Path) -> Result<Arc<Auth>, AuthError> {
        Auth::open(AuthConfig::new(dir), TestClock::new(), TestTasks::new())
    }

    #[tokio::test]
    async fn users_that_were_committed_stand_in_the_file_itself_and_do_not_go_with_what_is_beside_it() {
        let (dir, kept) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let auth = open(dir.path()).expect("opens");
        let admin = auth.first_start().await.expect("works").expect("the first");
        // As a kill leaves the directory, and somebody who removes what ends in -wal.
        for file in ["users.db", "signing.key", "users.db.had-users"] {
            fs::copy(dir.path().join(file), kept.path().join(file)).expect("copied");
        }
        let later = open(kept.path()).expect("opens");
        assert!(later.first_start().await.expect("works").is_none());
        assert!(later.user_by_name(&admin.username).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_that_lost_its_users_is_damage_and_one_that_never_had_any_is_a_first_start() {
        let (dir, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let auth = open(dir.path()).expect("opens");
        auth.settle();
        fs::copy(dir.path().join("users.db"), other.path().join("users.db")).expect("copied");
        let admin = auth.first_start().await.expect("works").expect("the first");
        drop(auth);
        for file in ["users.db", "users.db-wal", "users.db-shm"] {
            drop(fs::remove_file(dir.path().join(file)));
        }
        fs::copy(other.path().join("users.db"), dir.path().join("users.db")).expect("copied");
        let error = open(dir.path()).expect_err("damaged");
        assert!(matches!(error, AuthError::Damaged(Damage::Lost { .. })), "{error}");
        assert!(!error.to_string().contains(&admin.password.0), "{error}");
        let first = open(other.path()).expect("opens").first_start().await.expect("works");
        assert!(first.is_some());
    }

    #[tokio::test]
    async fn users_that_were_all_deleted_are_no_damage() {
        let dir = tempfile::tempdir().expect("a directory");
        let auth = open(dir.path()).expect("opens");
        let password = tidings_core::identity::Secret("a long enough password".to_owned());
        let user = tidings_core::identity::NewUser { username: "ann".to_owned(), password, roles: vec![] };
        let user = auth.create_user(user).await.expect("made");
        assert!(dir.path().join("users.db.had-users").exists());
        auth.delete_user(&user.id).await.expect("deleted");
        drop(auth);
        assert!(open(dir.path()).expect("opens").first_start().await.expect("works").is_some());
    }
}
