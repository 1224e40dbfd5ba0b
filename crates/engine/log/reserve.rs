//! Room kept on the disk, for the day when it is full.
//!
//! Guarantees: while the reserve is there, so many bytes of the disk are allocated to it; given up,
//! they let the log trim.
//! It is not a limit of the log's size.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// What the disk must have besides, or the reserve would take the write-ahead log's room.
const HEADROOM: u64 = 32 * 1024 * 1024;

/// Its name in the data directory.
const NAME: &str = "reserve";
/// With less than this a disk counts as full: what SQLite keeps beside a database does not fit.
const LEAST: u64 = 256 * 1024;

/// Whether nothing can be made on the disk of a directory. No, where that cannot be told.
pub fn has_no_room(dir: &Path) -> bool {
    statvfs(dir).is_ok_and(|disk| {
        disk.f_bavail.saturating_mul(disk.f_frsize) < LEAST || (disk.f_files > 0 && disk.f_favail == 0)
    })
}

/// Whether a directory has a reserve.
pub(super) fn is_there(dir: &Path) -> bool {
    dir.join(NAME).is_file()
}

/// The reserve.
#[derive(Debug)]
pub(super) struct Reserve {
    dir: PathBuf,
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    pub(super) fn new(dir: &Path, bytes: u64) -> Self {
        Self { dir: dir.to_owned(), path: dir.join(NAME), bytes }
    }

    /// How many bytes it has when it is there.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it, unless it is there. Says whether it is there now.
    pub(super) fn ensure(&self) -> bool {
        let there = fs::symlink_metadata(&self.path).map_or(0, |file| if file.is_file() { file.len() } else { 0 });
        if self.bytes == 0 {
            self.release();
            return true;
        }
        if there == self.bytes {
            return true;
        }
        self.release();
        let why = match self.has_room() {
            Ok(true) => match self.allocate() {
                Ok(()) => return true,
                Err(error) => error.to_string(),
            },
            Ok(false) => "there is too little room on the disk".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(path = %self.path.display(), bytes = self.bytes, why, "the log has no reserve");
        self.release();
        false
    }

    /// Gives it up. Says whether there was something to give up.
    pub(super) fn release(&self) -> bool {
        match fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // A directory in its place is somebody's, and holds no room back.
            Err(_) if self.path.is_dir() => false,
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the reserve cannot be given up");
                false
            }
        }
    }

    fn has_room(&self) -> io::Result<bool> {
        let disk = statvfs(&self.dir)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize) >= self.bytes + HEADROOM)
    }

    fn allocate(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                // A file system that cannot allocate is made to by writing.
                let block = [1_u8; 64 * 1024];
                let mut left = self.bytes;
                while left > 0 {
                    let part = left.min(block.len() as u64) as usize;
                    file.write_all(&block[..part])?;
                    left -= part as u64;
                }
                file.sync_all()
            }
            Err(error) => Err(error.into()),
        }
    }
}
