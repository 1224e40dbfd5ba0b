//! Refresh tokens: the line of each login.
//!
//! A refresh token is the handle of its login, a secret and a mark. Each is made from the one before: its secret is a
//! keyed hash of it, so that the answer to a lost response can be made again, also after a restart, while the disk has
//! only SHA-256 of those that still count: the newest, and what was used within the grace. The mark is a keyed hash of
//! handle and secret, and says that the server made them: whoever brings another one with a mark that is right has one
//! that was used before. The key of the marks is the login's own id, so that no rotation of keys makes them unknown.
//! What has no mark is of a server before there were marks: it works as long as there is a row of it, and after that it
//! is no token, since nothing tells it from garbage.
//!
//! Guarantees: a refresh token is used once; whoever brings it again within the grace gets the same successor; later
//! use ends the login, whoever brought it and however old it is; what the server never gave out changes nothing; a
//! login has a bounded number of rows.
//! It is not where access tokens are made: see [`crate::login`].

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tidings_core::{Error, UserId};

use crate::{
    error::Fault,
    keys::{self, Ring},
    logins::{self, expired, not_valid, revoked},
    random::{self, fingerprint},
};

/// How many characters of its keyed hash a mark has: 132 bits, in base64url.
const MARK_LENGTH: usize = 22;
/// How many used ones of a login are kept within the grace.
const MOST_USED: i64 = 16;

/// The times of an answer, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// What the wall clock says.
    pub(crate) now: i64,
    /// When the access token is issued.
    pub(crate) issued: i64,
    /// When it ends.
    pub(crate) access_until: i64,
    /// When the new refresh token ends.
    pub(crate) refresh_until: i64,
    /// How long a used refresh token gets the same answer.
    pub(crate) grace: i64,
}

/// A refresh that may be answered.
#[derive(Debug)]
pub(crate) struct Refreshed {
    pub(crate) family: String,
    /// The refresh token of the answer.
    pub(crate) next: String,
    /// The first such answer, if it was given before.
    pub(crate) first: Option<First>,
}

/// When an answer was first given, and what its access token says of when it was issued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First {
    pub(crate) now: i64,
    pub(crate) issued: i64,
}

/// Where a refresh token stands in the line of its login.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// It is the newest, and ends then.
    Newest { expires: i64 },
    /// It was used, and answered like this.
    Used(First),
    /// It was used so long ago that nothing is kept of it.
    Behind,
}

/// A refresh token that is, or was, one of a login.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) user: UserId,
    login: i64,
    family: String,
    handle: Option<String>,
    ended: i64,
    place: Place,
}

/// A new handle of a login.
pub(crate) fn handle() -> String {
    random::id::<12>()
}

/// The first refresh token of a login.
pub(crate) fn first_of(handle: &str, family: &str) -> String {
    whole(handle, &random::text::<32>(), family)
}

fn whole(handle: &str, secret: &str, family: &str) -> String {
    let unmarked = format!("{handle}.{secret}");
    format!("{unmarked}.{}", mark(&unmarked, family))
}

fn mark(unmarked: &str, family: &str) -> String {
    let mut mark = keys::hash_for(family, &format!("tidings: the mark of the refresh token {unmarked}"));
    mark.truncate(MARK_LENGTH);
    mark
}

/// Whether the server made this token for this login, however long ago.
fn was_given(token: &str, family: &str) -> bool {
    // By their hashes, so that the time of the comparison tells nothing of the mark.
    token.rsplit_once('.').is_some_and(|(unmarked, said)| fingerprint(said) == fingerprint(&mark(unmarked, family)))
}

/// What a refresh token is one of; none for one that the server never gave out, as far as it can tell.
pub(crate) fn find(connection: &Connection, token: &str) -> rusqlite::Result<Option<Found>> {
    let Some((handle, _)) = token.split_once('.') else { return find_by_hash(connection, token) };
    let found = find_by_handle(connection, handle, token)?;
    Ok(found.filter(|found| !matches!(found.place, Place::Behind) || was_given(token, &found.family)))
}

fn find_by_handle(connection: &Connection, handle: &str, token: &str) -> rusqlite::Result<Option<Found>> {
    connection
        .prepare_cached(
            "SELECT l.id, l.family, l.user, l.ended, l.handle, t.expires, t.used, t.issued
             FROM logins l LEFT JOIN refresh_line t ON t.login = l.id AND t.hash = ?2 WHERE l.handle = ?1",
        )?
        .query_row(params![handle, fingerprint(token)], found)
        .optional()
}

/// One that version 1 of the file gave: it names no login.
fn find_by_hash(connection: &Connection, token: &str) -> rusqlite::Result<Option<Found>> {
    connection
        .prepare_cached(
            "SELECT l.id, l.family, l.user, l.ended, l.handle, t.expires, t.used, t.issued
             FROM refresh_tokens t JOIN logins l ON l.id = t.login WHERE t.hash = ?1",
        )?
        .query_row([fingerprint(token)], found)
        .optional()
}

fn found(row: &rusqlite::Row<'_>) -> rusqlite::Result<Found> {
    let user: String = row.get(2)?;
    let (used, issued): (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    let place = match (row.get(5)?, used.zip(issued)) {
        (None, _) => Place::Behind,
        (Some(_), Some((now, issued))) => Place::Used(First { now, issued }),
        (Some(expires), None) => Place::Newest { expires },
    };
    Ok(Found {
        login: row.get(0)?,
        family: row.get(1)?,
        user: user.parse().map_err(|_| rusqlite::Error::InvalidQuery)?,
        ended: row.get(3)?,
        handle: row.get(4)?,
        place,
    })
}

/// Adds the newest refresh token of a login.
pub(crate) fn add(transaction: &Transaction<'_>, login: i64, token: &str, expires: i64) -> rusqlite::Result<()> {
    let add = "INSERT INTO refresh_line VALUES (?1, ?2, ?3, NULL, NULL)";
    transaction.prepare_cached(add)?.execute(params![fingerprint(token), login, expires])?;
    Ok(())
}

/// Uses a refresh token. The outer error undoes the transaction; the inner one keeps what it did.
pub(crate) fn refresh(
    transaction: &Transaction<'_>,
    ring: &Ring,
    token: &str,
    found: Found,
    times: Times,
) -> Result<Result<Refreshed, Error>, Fault> {
    if found.ended != logins::GOES_ON {
        return Ok(Err(logins::why_ended(found.ended)));
    }
    match found.place {
        Place::Newest { expires } if times.now >= expires => Ok(Err(expired())),
        Place::Newest { .. } => use_up(transaction, ring, token, found, times).map(Ok),
        // The wall clock may have been set back since: as far off counts as late.
        Place::Used(first) if times.grace > 0 && times.now.abs_diff(first.now) <= times.grace.unsigned_abs() => {
            again(transaction, ring, token, &found, first)
        }
        Place::Used(_) | Place::Behind => {
            tracing::warn!(user = %found.user, "a refresh token was used again: its login ends");
            metrics::counter!("tidings_logins_ended_total", "why" => "reused").increment(1);
            logins::end(transaction, &found.family)?;
            Ok(Err(revoked()))
        }
    }
}

fn use_up(
    transaction: &Transaction<'_>,
    ring: &Ring,
    token: &str,
    found: Found,
    times: Times,
) -> Result<Refreshed, Fault> {
    let handle = found.handle.unwrap_or_else(handle);
    let next = whole(&handle, &ring.successor(token), &found.family);
    let table = if token.contains('.') { "refresh_line" } else { "refresh_tokens" };
    transaction
        .prepare_cached(&format!("UPDATE {table} SET used = ?2, issued = ?3 WHERE hash = ?1"))?
        .execute(params![fingerprint(token), times.now, times.issued])?;
    add(transaction, found.login, &next, times.refresh_until)?;
    transaction
        .prepare_cached(
            "UPDATE logins SET handle = ?2, expires = ?3, access_until = max(access_until, ?4), refreshed = ?5
             WHERE id = ?1",
        )?
        .execute(params![found.login, handle, times.refresh_until, times.access_until, times.now])?;
    let keep = "DELETE FROM refresh_line WHERE hash IN (SELECT hash FROM refresh_line
                WHERE login = ?1 AND used IS NOT NULL ORDER BY used DESC LIMIT -1 OFFSET ?2)";
    transaction.prepare_cached(keep)?.execute(params![found.login, MOST_USED])?;
    Ok(Refreshed { family: found.family, next, first: None })
}

fn again(
    transaction: &Transaction<'_>,
    ring: &Ring,
    token: &str,
    found: &Found,
    first: First,
) -> Result<Result<Refreshed, Error>, Fault> {
    // A server before there were marks, or version 1 of the file, may have made the answer.
    let is_old = !token.contains('.');
    let texts = |secret: String| {
        let ours =
            found.handle.as_deref().map(|handle| [whole(handle, &secret, &found.family), format!("{handle}.{secret}")]);
        ours.into_iter().flatten().chain(is_old.then_some(secret))
    };
    for next in ring.possible_successors(token).flat_map(texts) {
        let after = find(transaction, &next)?.filter(|after| after.login == found.login);
        if after.is_some_and(|after| !matches!(after.place, Place::Behind)) {
            return Ok(Ok(Refreshed { family: found.family.clone(), next, first: Some(first) }));
        }
    }
    // The key that made the answer is gone: no theft, but no answer either.
    Ok(Err(not_valid()))
}

/// Forgets those that were used before the grace began: whoever brings one again has the handle still.
pub(crate) fn forget_used(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM refresh_line WHERE used < ?1")?.execute([before])?;
    Ok(())
}

/// Forgets those that ended before a time.
pub(crate) fn prune(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<()> {
    for table in ["refresh_line", "refresh_tokens"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE expires < ?1"), [before])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_core::{
        Code,
        identity::{Identity, NewUser, Origin, Secret},
        runtime::Clock,
    };
    use tidings_testkit::{TestClock, TestTasks};

    use super::*;
    use crate::{Auth, AuthConfig, schema};

    /// A directory as a server of version 1 left it: a user with a login, one refresh token used and one not.
    fn old_directory(now: i64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        let sql = Connection::open(dir.path().join("users.db")).expect("opens");
        schema::make_version_1(&sql);
        let later = now + 1_000_000_000;
        sql.execute("INSERT INTO users VALUES ('u', 'ann', 'ann', 'x', 'viewer', 0, ?1, 1)", [now]).expect("a user");
        sql.execute("UPDATE meta SET value = 1 WHERE name = 'revision'", ()).expect("a revision");
        sql.execute("INSERT INTO logins VALUES (1, 'family', 'u', ?1, ?1, 0)", [later]).expect("a login");
        let add = "INSERT INTO refresh_tokens VALUES (?1, 1, ?2, ?3, ?3)";
        sql.execute(add, params![fingerprint("used"), later, now - 100_000]).expect("a token");
        sql.execute(add, params![fingerprint("newest"), later, None::<i64>]).expect("a token");
        dir
    }

    fn opened(dir: &tempfile::TempDir, clock: &Arc<TestClock>) -> Arc<Auth> {
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
        Auth::open(AuthConfig::new(dir.path()), clock, TestTasks::new()).expect("opens")
    }

    #[tokio::test]
    async fn a_login_of_version_1_goes_on_and_what_it_used_before_still_ends_it() {
        let clock = TestClock::new();
        let dir = old_directory(clock.now().0);
        let auth = opened(&dir, &clock);
        let refresh = async |token: &str| auth.refresh(Secret(token.to_owned())).await;
        let first = refresh("newest").await.expect("goes on");
        auth.verify(&first.token).expect("verifies");
        let again = refresh("newest").await.expect("the same again");
        assert_eq!((&again.token, &again.refresh_token), (&first.token, &first.refresh_token));
        let second = refresh(&first.refresh_token).await.expect("goes on");
        assert_eq!(refresh("nonsense").await.expect_err("unknown").code(), Code::Unauthenticated);
        auth.verify(&second.token).expect("verifies");
        assert_eq!(refresh("used").await.expect_err("used again").code(), Code::TokenRevoked);
        assert_eq!(auth.verify(&second.token).expect_err("ended").code(), Code::TokenRevoked);
        assert_eq!(refresh(&second.refresh_token).await.expect_err("ended").code(), Code::TokenRevoked);
    }

    /// A login with a token as servers gave it out before there were marks.
    async fn unmarked_login(auth: &Auth) -> String {
        let password = Secret("a long enough password".to_owned());
        let user = NewUser { username: "ann".to_owned(), password: password.clone(), roles: vec![] };
        auth.create_user(user).await.expect("made");
        let from = Origin { address: "192.0.2.1".parse().expect("an address"), agent: String::new() };
        let login = auth.login("ann".to_owned(), password, from).await.expect("logs in");
        let (unmarked, _) = login.refresh_token.rsplit_once('.').expect("has a mark");
        let written = auth.store.run_here(|_, transaction| {
            Ok(transaction.execute("UPDATE refresh_line SET hash = ?1", [fingerprint(unmarked)])?)
        });
        assert_eq!(written.expect("written"), 1);
        unmarked.to_owned()
    }

    #[tokio::test]
    async fn a_token_without_a_mark_works_as_long_as_it_is_kept_and_then_ends_nothing() {
        let clock = TestClock::new();
        let dir = tempfile::tempdir().expect("a directory");
        let auth = opened(&dir, &clock);
        let refresh = async |token: &str| auth.refresh(Secret(token.to_owned())).await;
        let old = unmarked_login(&auth).await;
        let first = refresh(&old).await.expect("goes on");
        assert_eq!(first.refresh_token.matches('.').count(), 2);
        assert_eq!(refresh(&old).await.expect("the same again").refresh_token, first.refresh_token);
        auth.store.run_here(|_, transaction| Ok(forget_used(transaction, i64::MAX)?)).expect("forgotten");
        assert_eq!(refresh(&old).await.expect_err("nothing tells it from garbage").code(), Code::Unauthenticated);
        auth.verify(&first.token).expect("verifies");
        refresh(&first.refresh_token).await.expect("goes on");
    }

    #[tokio::test]
    async fn an_answer_without_a_mark_that_was_lost_is_given_again() {
        let clock = TestClock::new();
        let dir = tempfile::tempdir().expect("a directory");
        let auth = opened(&dir, &clock);
        let old = unmarked_login(&auth).await;
        let first = auth.refresh(Secret(old.clone())).await.expect("goes on");
        let (next, _) = first.refresh_token.rsplit_once('.').expect("has a mark");
        let as_before = "UPDATE refresh_line SET hash = ?1 WHERE used IS NULL";
        let written = auth.store.run_here(|_, transaction| Ok(transaction.execute(as_before, [fingerprint(next)])?));
        assert_eq!(written.expect("written"), 1);
        let again = auth.refresh(Secret(old)).await.expect("the same again");
        assert_eq!(again.refresh_token, next);
        auth.refresh(Secret(next.to_owned())).await.expect("goes on");
    }

    #[tokio::test]
    async fn an_answer_of_version_1_that_was_lost_is_given_again() {
        let clock = TestClock::new();
        let (now, dir) = (clock.now().0, old_directory(clock.now().0));
        let auth = opened(&dir, &clock);
        let next = auth.store.ring().successor("newest");
        auth.store
            .run_here(|_, transaction| {
                let used = "UPDATE refresh_tokens SET used = ?2, issued = ?2 WHERE hash = ?1";
                transaction.execute(used, params![fingerprint("newest"), now])?;
                let add = "INSERT INTO refresh_tokens VALUES (?1, 1, ?2, NULL, NULL)";
                transaction.execute(add, params![fingerprint(&next), now + 1_000_000])?;
                Ok(())
            })
            .expect("written");
        let again = auth.refresh(Secret("newest".to_owned())).await.expect("the same again");
        assert_eq!(again.refresh_token, next);
        assert!(auth.refresh(Secret(next)).await.expect("goes on").refresh_token.contains('.'));
    }
}
