//! An empty directory for the time of a command, where parts of the server are made that want one.
//!
//! Guarantees: nobody else may look into it, and it goes with its value.
//! It is not the server's data directory, which is not a command's to touch.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::Failure;

/// The directory.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one among the system's temporary files.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn new() -> Result<Self, Failure> {
        let place = std::env::temp_dir().join(format!("tidings-{}", tidings_core::id::random()));
        let made = DirBuilder::new().mode(0o700).create(&place);
        made.map_err(|error| Failure::Other(format!("{}: {error}", place.display())))?;
        Ok(Self(place))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(place = %self.0.display(), %error, "a directory in the temporary files stays");
        }
    }
}
