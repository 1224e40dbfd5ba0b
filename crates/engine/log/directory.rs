//! The data directory and its lock: one process at a time.
//!
//! Guarantees: while a [`DataDir`] lives, no other process gets one of the same directory, and a
//! killed process leaves no lock behind. Whoever asks in vain learns who holds it.
//! It is not what is in the directory: the log, the users and the keys have files of their own.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tidings_core::own_file;

use super::OpenError;

const LOCK: &str = "lock";
/// Whoever only looks who the holder is takes the lock for an instant.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The process that has a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Where it listens; none while it is starting.
    pub address: Option<String>,
}

/// Whether a process has a data directory, as the system says: a file that a killed process left says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// There is no such directory, or it cannot be looked into.
    Unknown,
    /// Nobody has it.
    Free,
    /// A process that lives has it; who, as far as it could write that down.
    Held(Option<Holder>),
}

impl Holding {
    /// Where the holder listens.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Held(Some(holder)) => holder.address.as_deref(),
            Self::Unknown | Self::Free | Self::Held(None) => None,
        }
    }
}

/// A data directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

/// What others than the owner and the group of a data directory may do in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Nothing, as where the server made it.
    Nothing,
    /// Look into it.
    Look,
    /// Put files of their own in the place of the server's.
    Write,
}

impl DataDir {
    /// Takes the directory, and makes it, readable by its owner only, if it is not there.
    ///
    /// # Errors
    /// [`OpenError::Held`] when another process has it; [`OpenError::File`].
    pub fn lock(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        let failed = |source| OpenError::File { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock = own_file::open(&path.join(LOCK), &mut options)
            .map_err(|source| OpenError::File { path: path.join(LOCK), source })?;
        for _ in 0..TRIES {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let directory = Self { path, lock };
                    directory.write(None)?;
                    return Ok(directory);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(BETWEEN_TRIES),
                Err(error) => return Err(OpenError::File { path: path.join(LOCK), source: error.into() }),
            }
        }
        let holder = parse(&lock);
        let (pid, address) = holder.map_or((None, None), |holder| (Some(holder.pid), holder.address));
        Err(OpenError::Held { path, pid, address })
    }

    /// What others than the owner and the group may do in a directory; in one that cannot be looked at, nothing.
    #[must_use]
    pub fn others(path: &Path) -> Others {
        let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
        match mode & 0o007 {
            0 => Others::Nothing,
            open if open & 0o002 != 0 => Others::Write,
            _ => Others::Look,
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down where this process listens, for [`DataDir::holding`]. Whoever reads it hands out tokens there: it
    /// stands there only while the address is this process's own.
    ///
    /// # Errors
    /// [`OpenError::File`].
    pub fn set_address(&self, address: &str) -> Result<(), OpenError> {
        self.write(Some(address))
    }

    /// Takes the address back, before somebody else can have it.
    ///
    /// # Errors
    /// [`OpenError::File`].
    pub fn clear_address(&self) -> Result<(), OpenError> {
        self.write(None)
    }

    /// Who has the directory now.
    #[must_use]
    pub fn holding(path: &Path) -> Holding {
        let lock = own_file::open(&path.join(LOCK), OpenOptions::new().read(true));
        let Ok(lock) = lock else { return Holding::Unknown };
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Holding::Free,
            Err(rustix::io::Errno::WOULDBLOCK) => Holding::Held(parse(&lock)),
            Err(_) => Holding::Unknown,
        }
    }

    fn write(&self, address: Option<&str>) -> Result<(), OpenError> {
        let text = format!("{}\n{}\n", process::id(), address.unwrap_or_default());
        let written: io::Result<()> = (|| {
            self.lock.write_all_at(text.as_bytes(), 0)?;
            self.lock.set_len(text.len() as u64)
        })();
        match written {
            // The lock holds all the same. Who asks in vain learns less: no address is better than a former one.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!(path = %self.path.display(), "the disk is full: the lock does not say who holds it");
                self.lock.set_len(0).or(Ok(()))
            }
            written => written,
        }
        .map_err(|source| OpenError::File { path: self.path.join(LOCK), source })
    }
}

fn parse(mut lock: &File) -> Option<Holder> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.parse().ok()?;
    Some(Holder { pid, address: lines.next().filter(|line| !line.is_empty()).map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_and_told_who_has_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/data");
        let first = DataDir::lock(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let holder = |address: Option<&str>| {
            Holding::Held(Some(Holder { pid: process::id(), address: address.map(str::to_owned) }))
        };
        assert_eq!(DataDir::holding(&path), holder(None));
        first.set_address("127.0.0.1:4100").unwrap();
        let refused = DataDir::lock(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", process::id())), "{refused}");
        assert!(refused.contains("127.0.0.1:4100"), "{refused}");
        first.set_address("[::1]:1").unwrap();
        assert_eq!(DataDir::holding(&path), holder(Some("[::1]:1")));
        first.clear_address().unwrap();
        assert_eq!(DataDir::holding(&path), holder(None));
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_refused_and_what_it_leads_to_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let (victim, data) = (root.path().join("victim"), root.path().join("data"));
        fs::create_dir(&data).unwrap();
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, data.join(LOCK)).unwrap();
        let refused = DataDir::lock(&data).unwrap_err().to_string();
        assert!(refused.contains("data/lock") && refused.contains("symbolic link"), "{refused}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(DataDir::holding(&data), Holding::Unknown);
        // The directory itself may be behind one.
        let behind = root.path().join("behind");
        fs::remove_file(data.join(LOCK)).unwrap();
        std::os::unix::fs::symlink(&data, &behind).unwrap();
        drop(DataDir::lock(&behind).unwrap());
    }

    #[test]
    fn a_directory_is_free_again_when_its_owner_is_gone() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(DataDir::holding(root.path()), Holding::Unknown);
        let owner = DataDir::lock(root.path()).unwrap();
        owner.set_address("127.0.0.1:4100").unwrap();
        drop(owner);
        assert_eq!(DataDir::holding(root.path()), Holding::Free, "what is left in the file says nothing");
        DataDir::lock(root.path()).unwrap();
    }
}
