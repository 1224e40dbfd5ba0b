//! The epoch: what the numbering belongs to.
//!
//! Guarantees: it stays as long as numbers cannot repeat, and is new when they might: the file is
//! another one than the last time (restored, copied), or its tail may have gone with the power.
//! It is not per channel: one epoch holds for all channels of a log. Nor does it notice a volume that was set back
//! as a whole: the file is the same one then.

use std::{fs, io, path::Path};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
use tidings_core::Epoch;

use super::{Durability, OpenError, schema};

/// What is known of this machine and this start of it.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// Changes with each start of the machine; none where that cannot be told.
    pub(super) boot: Option<String>,
    /// What a file is known by.
    pub(super) identify: fn(&Path) -> io::Result<Identity>,
}

impl Machine {
    pub(super) fn here() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self { boot: boot.map(|boot| boot.trim().to_owned()), identify: Identity::of }
    }
}

/// What a file is known by over restarts.
///
/// Its inode and its time of birth, which go with its volume wherever that is attached. Where the file system keeps
/// no time of birth, device and inode, as former versions wrote it: a volume that was attached elsewhere then looks
/// like a copy, which is a new epoch without need, but never a number given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Seconds since 1970, and nanoseconds.
    pub(super) born: Option<(i64, u32)>,
}

impl Identity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
        let knows_birth = found.stx_mask & StatxFlags::BTIME.bits() != 0;
        Ok(Self {
            device: makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            born: knows_birth.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
        })
    }

    fn by_device(&self) -> String {
        format!("{}:{}", self.device, self.inode)
    }

    /// What is written down for the next start.
    fn text(&self) -> String {
        match self.born {
            Some((seconds, nanoseconds)) => format!("inode {} born {seconds}.{nanoseconds:09}", self.inode),
            None => self.by_device(),
        }
    }

    /// Whether a start before this one wrote down this file. What a former version wrote is held against device and
    /// inode, once: this start writes it anew.
    fn was(&self, known: &str) -> bool {
        known == self.text() || known == self.by_device()
    }
}

/// Gives the epoch to go on with, and writes down what the next start compares. The commit waits
/// for the disk, so that nothing numbered after it can outlive it.
pub(super) fn settle(
    connection: &mut Connection,
    dir: &Path,
    durability: Durability,
    machine: &Machine,
) -> Result<Epoch, OpenError> {
    let path = schema::file(dir);
    let identity = (machine.identify)(&path).map_err(|source| OpenError::File { path, source })?;
    let failed = schema::of_file(dir);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    let known = get(&transaction, "epoch").map_err(&failed)?;
    let renewal = renewal(&transaction, &identity, machine).map_err(&failed)?;
    if let (Some(why), Some(_)) = (renewal, &known) {
        tracing::warn!(why, "the log's numbering has a new epoch: every client is told to start anew");
    }
    let epoch = known.filter(|_| renewal.is_none()).unwrap_or_else(|| tidings_core::id::random().to_string());
    let settled = [
        ("epoch", epoch.as_str()),
        ("file", &identity.text()),
        ("boot", machine.boot.as_deref().unwrap_or_default()),
        ("durability", durability.as_str()),
        ("clean", "no"),
    ];
    for (key, value) in settled {
        set(&transaction, key, value).map_err(&failed)?;
    }
    transaction.commit().map_err(&failed)?;
    Ok(Epoch(epoch.into()))
}

/// Why the numbering cannot be trusted to continue.
fn renewal(connection: &Connection, identity: &Identity, machine: &Machine) -> rusqlite::Result<Option<&'static str>> {
    if !get(connection, "file")?.is_some_and(|known| identity.was(&known)) {
        return Ok(Some("the file was copied or restored"));
    }
    let clean = get(connection, "clean")?.as_deref() == Some("yes");
    let survives_power = get(connection, "durability")?.as_deref() == Some(Durability::Power.as_str());
    let same_boot = machine.boot.is_some() && get(connection, "boot")? == machine.boot;
    if clean || survives_power || same_boot {
        return Ok(None);
    }
    Ok(Some("the machine stopped while commits did not wait for the disk"))
}

/// Writes down that the log was closed in order.
pub(super) fn mark_clean(connection: &Connection) -> rusqlite::Result<()> {
    set(connection, "clean", "yes")
}

/// The epoch in the file.
pub(super) fn current(connection: &Connection) -> rusqlite::Result<Option<String>> {
    get(connection, "epoch")
}

/// Makes the next start begin a new epoch.
pub(super) fn forget(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM meta WHERE key = 'epoch'", []).map(drop)
}

fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

fn set(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![key, value]).map(drop)
}
