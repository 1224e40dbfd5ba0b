//! Passwords: argon2id, off the async threads.
//!
//! Guarantees: two are worked on at a time, a bounded number waits and the rest is refused, so that
//! a flood of logins takes neither all cores nor all memory; of strangers one at a time, so that their flood holds up
//! nobody who is known; a check costs the same whether there is a hash to check or not.
//! It is not the rule of what a good password is: see [`crate::users`].

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tidings_core::{Error, Result, identity::Secret};
use tokio::sync::Semaphore;

/// How many are worked on at a time; each takes 19 MiB and a core.
const AT_A_TIME: usize = 2;
/// How many may wait or be worked on, of strangers and of others.
const MOST: usize = 64;

/// The hash that is checked when there is none: random bytes in the form and with the cost of a
/// real one, of which nobody knows a password.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$6rmahIZx1lGEMPHD34NiQQ$yNu1r5sqoYkaRJzSQYz3v/cpfcKBQfCch4EGsnS3pko";

/// For whom it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Somebody from an address that never logged in under the name.
    Stranger,
    /// Somebody who is logged in, or was from there.
    Known,
}

/// Hashes and checks passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    places: Arc<Semaphore>,
    places_of_strangers: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    turn_of_strangers: Arc<Semaphore>,
    #[cfg(test)]
    runs: Arc<std::sync::atomic::AtomicUsize>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MOST)),
            places_of_strangers: Arc::new(Semaphore::new(MOST)),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            turn_of_strangers: Arc::new(Semaphore::new(1)),
            #[cfg(test)]
            runs: Arc::default(),
        }
    }

    /// The hash of a password, with its salt and cost.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String> {
        self.off_thread(For::Known, move || {
            Argon2::default().hash_password(password.0.as_bytes()).map(|hash| hash.to_string()).map_err(|error| {
                let answer = Error::internal();
                tracing::error!(%error, id = answer.message(), "a password could not be hashed");
                answer
            })
        })
        .await?
    }

    /// Whether a password has this hash. Without a hash: no, after the same work.
    pub(crate) async fn check(&self, who: For, password: Secret, hash: Option<String>) -> Result<bool> {
        self.off_thread(who, move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODYS.to_owned());
            let same = PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.0.as_bytes(), &hash).is_ok());
            known && same
        })
        .await
    }

    async fn off_thread<T: Send + 'static>(&self, who: For, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let busy = || Error::overloaded("too many logins wait").with_retry_after_ms(1000);
        let places = if who == For::Stranger { &self.places_of_strangers } else { &self.places };
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| busy())?;
        let own = match who {
            For::Stranger => Some(Arc::clone(&self.turn_of_strangers).acquire_owned().await.map_err(|_| busy())?),
            For::Known => None,
        };
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| busy())?;
        #[cfg(test)]
        self.runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        // The permits go with the work: a caller that went away frees no core.
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, own, turn);
            work()
        });
        done.await.map_err(|error| {
            let answer = Error::internal();
            tracing::error!(%error, id = answer.message(), "work on a password did not finish");
            answer
        })
    }

    /// How many times argon2 ran.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> usize {
        self.runs.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Code;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_only() {
        let passwords = Passwords::new();
        let hash = passwords.hash(secret("correct horse battery")).await.expect("a hash");
        assert!(!hash.contains("horse"));
        assert!(
            passwords.check(For::Known, secret("correct horse battery"), Some(hash.clone())).await.expect("checked")
        );
        assert!(!passwords.check(For::Stranger, secret("correct horse batterx"), Some(hash)).await.expect("checked"));
    }

    #[tokio::test]
    async fn the_hash_of_nobody_is_real_work_of_the_same_cost_and_never_matches() {
        let nobodys = PasswordHash::new(NOBODYS).expect("a hash in the standard form");
        let real = Argon2::default().hash_password(b"whatever it is").expect("a hash");
        assert_eq!(nobodys.algorithm, real.algorithm);
        assert_eq!(nobodys.version, real.version);
        assert_eq!(nobodys.params.to_string(), real.params.to_string());
        let passwords = Passwords::new();
        assert!(!passwords.check(For::Stranger, secret("anything at all"), None).await.expect("checked"));
        assert_eq!(passwords.runs(), 1);
    }

    #[tokio::test]
    async fn a_flood_of_checks_is_refused_beyond_the_queue() {
        let passwords = Passwords::new();
        let turns = Arc::clone(&passwords.turns).acquire_many_owned(2).await.expect("both turns");
        let mut waiting: Vec<_> =
            (0..MOST).map(|_| Box::pin(passwords.check(For::Stranger, secret("anything at all"), None))).collect();
        for check in &mut waiting {
            assert!(futures_util::poll!(check.as_mut()).is_pending());
        }
        let refused = passwords.check(For::Stranger, secret("anything at all"), None).await.expect_err("no place");
        assert_eq!(refused.code(), Code::Overloaded);
        let mut known = Box::pin(passwords.check(For::Known, secret("anything at all"), None));
        assert!(futures_util::poll!(known.as_mut()).is_pending(), "it has a place");
        drop(turns);
        // Of the strangers nobody is asked to go on, and the first one holds a turn.
        assert!(!known.await.expect("checked"));
        waiting.truncate(1);
        assert!(!waiting.remove(0).await.expect("checked"));
    }
}
