//! Addresses from which a user logged in before.
//!
//! Guarantees: each has an age, a user a bounded number of them, and they outlive a restart; of IPv6 a /64 counts
//! as one. They go with their user.
//! It is not a right: an address serves the limit of tries and nothing else.

use std::net::IpAddr;

use rusqlite::{Connection, Transaction, params};
use tidings_core::{UserId, rate::network};

/// The most addresses of one user that are remembered: those that were used last.
const MOST: u32 = 32;

fn text(address: IpAddr) -> String {
    network(address).to_string()
}

/// Whether a user logged in from an address since a time. Without a user: no, after the same work.
pub(crate) fn is_known(
    connection: &Connection,
    user: Option<&UserId>,
    address: IpAddr,
    since: i64,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM known_addresses WHERE user = ?1 AND address = ?2 AND last >= ?3)",
        )?
        .query_row(params![user.map_or("", |user| user.as_str()), text(address), since], |row| row.get(0))
}

/// A user logged in from an address.
pub(crate) fn remember(
    transaction: &Transaction<'_>,
    user: &UserId,
    address: IpAddr,
    now: i64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO known_addresses VALUES (?1, ?2, ?3) ON CONFLICT (user, address) DO UPDATE SET last = ?3",
        )?
        .execute(params![user.as_str(), text(address), now])?;
    transaction
        .prepare_cached(
            "DELETE FROM known_addresses WHERE user = ?1 AND address IN (SELECT address FROM known_addresses
             WHERE user = ?1 ORDER BY last DESC, address LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![user.as_str(), MOST])?;
    Ok(())
}

/// Forgets all addresses of a user.
pub(crate) fn forget(transaction: &Transaction<'_>, user: &UserId) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM known_addresses WHERE user = ?1", [user.as_str()])?;
    Ok(())
}

/// Forgets those that were used before a time.
pub(crate) fn prune(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM known_addresses WHERE last < ?1", [before])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_known_for_its_user_for_so_long_and_of_many_the_last_ones_are() {
        let mut connection = Connection::open_in_memory().expect("a database");
        schema::make(&mut connection).expect("made");
        let (ann, bob): (UserId, UserId) = ("ann".parse().expect("an id"), "bob".parse().expect("an id"));
        let transaction = connection.transaction().expect("begins");
        let known = |user: &UserId, address: &str, since: i64| {
            is_known(&transaction, Some(user), ip(address), since).expect("looked")
        };
        remember(&transaction, &ann, ip("192.0.2.1"), 1000).expect("remembered");
        assert!(known(&ann, "192.0.2.1", 1000) && known(&ann, "::ffff:192.0.2.1", 0));
        assert!(!known(&ann, "192.0.2.1", 1001) && !known(&ann, "192.0.2.2", 0) && !known(&bob, "192.0.2.1", 0));
        assert!(!is_known(&transaction, None, ip("192.0.2.1"), 0).expect("looked"));
        remember(&transaction, &ann, ip("2001:db8::1"), 1001).expect("remembered");
        assert!(known(&ann, "2001:db8::ffff", 0));
        for last in 0..100_u8 {
            remember(&transaction, &bob, ip(&format!("10.0.0.{last}")), i64::from(last)).expect("remembered");
        }
        let kept = (0..100).filter(|last| known(&bob, &format!("10.0.0.{last}"), 0)).collect::<Vec<_>>();
        assert_eq!(kept, (68..100).collect::<Vec<_>>());
        assert!(known(&ann, "192.0.2.1", 0), "others are not forgotten for it");
        prune(&transaction, 1001).expect("pruned");
        assert!(!known(&ann, "192.0.2.1", 0) && known(&ann, "2001:db8::1", 0) && !known(&bob, "10.0.0.99", 0));
        forget(&transaction, &ann).expect("forgotten");
        assert!(!known(&ann, "2001:db8::1", 0));
    }
}
