//! `users.db.had-users`: that this data directory has had users.
//!
//! Guarantees: it is there from the first user on, before whoever made that user is answered, where the disk has
//! room for a name; so a database without users beside it is damage and never a first start.
//! It holds nothing, and nothing else reads it.

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use tidings_core::damage::beside;

use crate::error::AuthError;

/// The mark beside a database.
#[derive(Debug)]
pub(crate) struct Mark {
    path: PathBuf,
    made: AtomicBool,
    failing: AtomicBool,
}

impl Mark {
    /// Of this database.
    pub(crate) fn of(file: &Path) -> Self {
        Self { path: beside(file, ".had-users"), made: AtomicBool::new(false), failing: AtomicBool::new(false) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_there(&self) -> Result<bool, AuthError> {
        match fs::symlink_metadata(&self.path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(AuthError::io(&self.path, error)),
        }
    }

    /// Makes it if it is not there. What cannot be made is tried again the next time, and told once.
    pub(crate) fn make(&self) {
        if self.made.load(Ordering::Relaxed) {
            return;
        }
        match self.is_there().and_then(|there| if there { Ok(()) } else { self.write() }) {
            Ok(()) => self.made.store(true, Ordering::Relaxed),
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "it cannot be marked that there are users");
                }
            }
        }
    }

    fn write(&self) -> Result<(), AuthError> {
        let failed = |error| AuthError::io(&self.path, error);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
            Ok(_) => {}
        }
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    /// Removes it: the last user was deleted as one is.
    pub(crate) fn remove(&self) {
        self.made.store(false, Ordering::Relaxed);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, "the mark that there are users stays, though there are none");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_made_once_and_can_be_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let mark = Mark::of(&dir.path().join("users.db"));
        assert!(!mark.is_there().expect("looked"));
        for _ in 0..2 {
            mark.make();
            assert!(mark.is_there().expect("looked"));
        }
        mark.remove();
        assert!(!mark.is_there().expect("looked"));
        mark.make();
        assert!(Mark::of(&dir.path().join("users.db")).is_there().expect("looked"));
    }

    #[test]
    fn what_cannot_be_made_is_tried_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("not there yet");
        let mark = Mark::of(&inner.join("users.db"));
        mark.make();
        fs::create_dir(&inner).expect("made");
        mark.make();
        assert!(mark.is_there().expect("looked"));
    }
}
