//! [`Auth`]: opening, the first admin, rotating keys, and following other processes.
//!
//! Guarantees: while its task runs, what another process changed on the same directory is seen
//! within a second, refresh tokens that were used before the grace are forgotten within a minute of it, and what
//! ended long ago is forgotten, too.
//! It is not the port: that is in [`crate::identity`].

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::OptionalExtension;
use tidings_core::{
    Code, Error, Principal, Result, Timestamp, fault,
    identity::{Secret, User},
    panics,
    principal::Role,
    runtime::{Clock, Tasks},
};

use crate::{
    config::AuthConfig,
    error::AuthError,
    issued,
    keys::KeySource,
    known,
    limits::{LoginTries, Seldom},
    login::Terms,
    logins,
    mirror::Marks,
    passwords::Passwords,
    random, refresh, revocations,
    store::{self, Store},
    users,
};

/// How often changes of other processes are looked for.
const POLL: Duration = Duration::from_millis(400);
/// How often refresh tokens that were used are forgotten.
const FORGET_USED: Duration = Duration::from_secs(30);
/// How often what ended is forgotten.
const PRUNE: Duration = Duration::from_secs(3600);
/// How much the wall clock may differ from the monotonic one before forgetting waits.
const LEAP_MS: i64 = 10 * 60 * 1000;

/// Identity over one data directory.
pub struct Auth {
    pub(crate) terms: Arc<Terms>,
    pub(crate) leeway_ms: i64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<Store>,
    pub(crate) passwords: Passwords,
    pub(crate) tries: LoginTries,
    pub(crate) slowed_told: Seldom,
    /// How long it counts that an address logged in under a name, in milliseconds.
    pub(crate) remembered_ms: i64,
    forgot_used: Mutex<Duration>,
    pruned: Mutex<Option<(Duration, Timestamp)>>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth")
    }
}

/// The admin that the first start made. Its password is nowhere else.
#[derive(Debug)]
pub struct FirstAdmin {
    /// Always `admin`.
    pub username: String,
    /// Random; to be shown once.
    pub password: Secret,
}

impl Auth {
    /// Opens identity over a data directory, making what is not there, and starts the task
    /// `auth.follow` that looks for changes of other processes.
    ///
    /// It reads and writes files, and `tasks` may need to be called within a runtime.
    ///
    /// # Errors
    /// A file that cannot be used, a database of a newer version, or a key that is none.
    #[expect(clippy::needless_pass_by_value, reason = "the ports are handed over, as everywhere in the house")]
    pub fn open(config: AuthConfig, clock: Arc<dyn Clock>, tasks: Arc<dyn Tasks>) -> Result<Arc<Self>, AuthError> {
        let source = KeySource::new(&config)?;
        let store = Store::open(&config.dir, source, clock.now())?;
        let auth = Arc::new(Self {
            terms: Arc::new(Terms::of(&config)),
            leeway_ms: i64::try_from(config.leeway.as_millis()).unwrap_or(i64::MAX),
            clock,
            store: Arc::new(store),
            passwords: Passwords::new(),
            tries: LoginTries::new(config.login_limits),
            slowed_told: Seldom::default(),
            remembered_ms: i64::try_from(config.login_limits.remembered.as_millis()).unwrap_or(i64::MAX),
            forgot_used: Mutex::default(),
            pruned: Mutex::default(),
        });
        let follow = follow(Arc::downgrade(&auth), tasks.stopping());
        tasks.spawn("auth.follow", Box::pin(follow));
        Ok(auth)
    }

    /// Puts all of `users.db` into the one file, at the end of a server. Blocks on the disk.
    pub fn settle(&self) {
        self.store.settle();
    }

    /// Makes the user `admin` with a random password if there are no users; none if there are.
    ///
    /// # Errors
    /// `unavailable`, `overloaded`.
    pub async fn first_start(&self) -> Result<Option<FirstAdmin>> {
        if !self.store.run(|_, transaction| Ok(users::is_empty(transaction)?)).await? {
            return Ok(None);
        }
        let password = Secret(random::text::<18>());
        let hash = self.passwords.hash(password.clone()).await?;
        let now = self.clock.now();
        let made = self.store.run(move |_, transaction| {
            // Another process may have been first.
            if !users::is_empty(transaction)? {
                return Ok(false);
            }
            users::insert(transaction, "admin".to_owned(), &hash, vec![Role::Admin], now)?;
            Ok(true)
        });
        Ok(made.await?.then(|| FirstAdmin { username: "admin".to_owned(), password }))
    }

    /// The user of a name, without regard to case.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn user_by_name(&self, username: &str) -> Result<User> {
        let username = username.to_owned();
        let found = self.store.run(move |_, transaction| Ok(users::by_name(transaction, &username)?));
        Ok(found.await?.ok_or_else(Error::not_found)?.user)
    }

    /// Whether nothing that a principal's token came with was taken away since: the user, the token or the login was
    /// revoked, disabled, deleted, or given other roles. That the token ends by its time takes nothing away.
    #[must_use]
    pub fn stands(&self, principal: &Principal) -> bool {
        // As when the token was verified: another application's clock may be ahead.
        let ahead = if principal.application.is_some() { self.leeway_ms } else { 0 };
        let marks = Marks {
            user: &principal.user,
            issued_ms: principal.issued_at.map_or(i64::MIN, |at| at.0.saturating_sub(ahead)),
            token_id: principal.token_id.as_deref(),
            application: principal.application.as_deref(),
            // A logout ends a login, and not what was begun in it.
            family: None,
        };
        !self.store.mirror().revoked(&marks)
    }

    /// Makes a new signing key, and gives its `kid`. Tokens of the older keys verify to their end.
    ///
    /// # Errors
    /// `conflict` if the secret is configured: then whoever configures it rotates it; `unavailable`.
    pub async fn rotate(&self) -> Result<String> {
        let now = self.clock.now().0;
        let shortest = now.saturating_add(self.terms.longest());
        self.store
            .run(move |store, transaction| {
                let last_expiry = |kid: &str| {
                    let minted: Option<i64> = transaction
                        .query_row("SELECT last_expiry FROM signing_keys WHERE kid = ?1", [kid], |row| row.get(0))
                        .optional()?;
                    Ok(minted.map_or(shortest, |minted| minted.max(shortest)))
                };
                let kid = store.source().rotate(now, last_expiry)?;
                let kid = kid.ok_or_else(|| Error::new(Code::Conflict, "the secret is configured, not generated"))?;
                store::keys_changed(transaction)?;
                Ok(kid)
            })
            .await
    }

    /// One step of the task: learns what others changed, and now and then forgets what counts no more.
    fn step(&self) {
        self.store.poll();
        if let Err(error) = self.forget_used() {
            tracing::warn!(%error, "refresh tokens that were used could not be forgotten");
        }
        if !self.is_time_to_prune() {
            return;
        }
        let now = self.clock.now().0;
        let (before, known) = (logins::forgettable(now), logins::forgettable(now.saturating_sub(self.remembered_ms)));
        let pruned = self.store.run_here(|_, transaction| {
            logins::prune(transaction, before)?;
            revocations::prune(transaction, before)?;
            issued::prune(transaction, before)?;
            known::prune(transaction, known)?;
            transaction.execute("DELETE FROM signing_keys WHERE last_expiry < ?1", [before])?;
            Ok(())
        });
        match pruned {
            Ok(()) => self.store.prune_mirror(before),
            Err(error) => tracing::warn!(%error, "what ended long ago could not be forgotten"),
        }
    }

    /// Once in a while, forgets refresh tokens that were used before the grace.
    fn forget_used(&self) -> Result<()> {
        let now = self.clock.monotonic();
        {
            let mut forgot = self.forgot_used.lock();
            if now.saturating_sub(*forgot) < FORGET_USED {
                return Ok(());
            }
            *forgot = now;
        }
        let before = self.clock.now().0.saturating_sub(self.terms.grace());
        self.store.run_here(|_, transaction| Ok(refresh::forget_used(transaction, before)?))
    }

    /// Once in a while, and only if both clocks agree on how long it was: a wall clock that leapt
    /// ahead would have everything forgotten.
    fn is_time_to_prune(&self) -> bool {
        let now = (self.clock.monotonic(), self.clock.now());
        let mut pruned = self.pruned.lock();
        let Some((monotonic, wall)) = *pruned else {
            *pruned = Some(now);
            return false;
        };
        let passed = now.0.saturating_sub(monotonic);
        if passed < PRUNE {
            return false;
        }
        *pruned = Some(now);
        let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        now.1.0.saturating_sub(wall.0).abs_diff(passed_ms) <= LEAP_MS.unsigned_abs()
    }
}

async fn follow(auth: Weak<Auth>, mut stopping: tidings_core::BoxFuture<'static, ()>) {
    loop {
        tokio::select! {
            () = &mut stopping => return,
            () = tokio::time::sleep(POLL) => {}
        }
        let Some(auth) = auth.upgrade() else { return };
        let step = move || {
            panics::caught("auth.follow", || {
                fault::here("auth.follow");
                auth.step();
            })
        };
        // What panicked is counted and named; what is not run any more is so because the runtime ends.
        drop(tokio::task::spawn_blocking(step).await);
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::{
        UserId,
        identity::{Identity, Origin},
    };
    use tidings_testkit::{TestClock, TestTasks};

    use super::*;

    fn open(dir: &tempfile::TempDir, clock: &Arc<TestClock>) -> Arc<Auth> {
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
        Auth::open(AuthConfig::new(dir.path()), clock, TestTasks::new()).expect("opens")
    }

    fn home() -> Origin {
        Origin { address: [127, 0, 0, 1].into(), agent: String::new() }
    }

    fn rows(auth: &Auth, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        auth.store.run_here(|_, transaction| Ok(transaction.query_row(&sql, (), |row| row.get(0))?)).expect("counted")
    }

    async fn leave_a_finished_login(auth: &Auth) {
        let admin = auth.first_start().await.expect("works").expect("the first");
        let login = auth.login(admin.username, admin.password, home()).await.expect("logs in");
        let principal = auth.verify(&login.token).expect("verifies");
        auth.logout(&principal).await.expect("logs out");
    }

    #[tokio::test]
    async fn what_ended_long_ago_is_forgotten_and_what_did_not_is_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = TestClock::new();
        let auth = open(&dir, &clock);
        leave_a_finished_login(&auth).await;
        let nobody: UserId = "nobody".parse().expect("an id");
        auth.revoke_user(&nobody).await.expect("revoked");
        auth.step();
        clock.advance(Duration::from_secs(3 * 24 * 3600));
        auth.step();
        assert_eq!(rows(&auth, "revocations"), 1, "the login's is forgotten, the user's is kept");
        assert_eq!(rows(&auth, "logins"), 1, "its refresh token could still be brought");
        clock.advance(Duration::from_secs(31 * 24 * 3600));
        auth.step();
        assert_eq!((rows(&auth, "logins"), rows(&auth, "refresh_line")), (0, 0));
        assert_eq!(rows(&auth, "revocations"), 1);
    }

    #[tokio::test]
    async fn a_wall_clock_that_leaps_ahead_has_nothing_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = TestClock::new();
        let auth = open(&dir, &clock);
        leave_a_finished_login(&auth).await;
        auth.step();
        clock.advance(PRUNE);
        clock.leap_to(clock.now().plus_ms(365 * 24 * 3600 * 1000));
        auth.step();
        assert_eq!((rows(&auth, "logins"), rows(&auth, "revocations")), (1, 1));
    }

    #[tokio::test]
    async fn a_login_costs_one_argon2_run_whether_the_name_is_known_or_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let auth = open(&dir, &TestClock::new());
        let admin = auth.first_start().await.expect("works").expect("the first");
        let tries = [
            ("admin", admin.password.0.as_str(), true),
            ("admin", "a wrong password", false),
            ("nobody", "a wrong password", false),
            ("no name: at all", "a wrong password", false),
            ("admin", "short", false),
        ];
        for (name, password, right) in tries {
            let before = auth.passwords.runs();
            let login = auth.login(name.to_owned(), Secret(password.to_owned()), home()).await;
            assert_eq!(login.is_ok(), right, "{name}");
            assert_eq!(auth.passwords.runs() - before, 1, "{name}");
        }
    }
}
