//! Shadows: a directory beside a repository that git takes for its common one, so that no configuration of the
//! repository's own is read.
//!
//! git cannot be told to leave out `.git/config`, but it reads the configuration of its common directory
//! (`GIT_COMMON_DIR`) instead. A shadow is that: its `config` is the server's, and everything else that lies there leads
//! to where it is. There are no hooks, and no `remotes` and `branches` of old.
//!
//! Guarantees: whatever becomes of the repository while git runs, its configuration is what was written here; a shadow
//! is gone when it is not used any more, that of a killed server by the next start; nobody but the user that git runs as,
//! and the server, can change one.
//! It is not the choice of what is written: that is `settings`.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind::AlreadyExists, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rustix::{
    fs::{Gid, Uid, chown},
    process::{geteuid, getpid},
};
use tidings_core::{Error, Result};

use crate::blocking::blocking_unawaited;

/// What git looks for in its common directory, beside `config`, each of which leads to the repository's own. `HEAD` only
/// says which branch is checked out beside other working trees; the rest of what git writes is in the repository itself.
/// git follows a link to a file before it locks and replaces it.
const LINKS: [&str; 9] = ["HEAD", "objects", "refs", "packed-refs", "logs", "info", "shallow", "worktrees", "rr-cache"];

/// The folders among them that git makes where they are missing, and cannot where a link leads to nothing. (`rr-cache` it
/// can, and that it is there means something.)
pub(super) const FOLDERS: [&str; 3] = ["logs", "info", "worktrees"];

/// The file of a shadow's configuration.
pub(super) const CONFIG: &str = "config";

/// Held while a shadow's folder is made or removed, with the folder that it lies in.
static FOLDERS_CHANGE: Mutex<()> = Mutex::new(());

/// How many shadows this process has made.
static MADE: AtomicU64 = AtomicU64::new(0);

/// Where shadows lie, and whose they are.
#[derive(Debug)]
pub(super) struct Shadows {
    folder: PathBuf,
    /// The user and the group that git runs as, if they are not the server's own.
    owner: Option<(u32, u32)>,
}

/// A shadow. It is removed with this value.
#[derive(Debug)]
pub(super) struct Shadow {
    dir: PathBuf,
}

impl Shadows {
    /// Shadows of one server, in a folder that is made when it is needed.
    pub(super) fn new(folder: PathBuf, owner: Option<(u32, u32)>) -> Self {
        Self { folder, owner }
    }

    /// Makes one for the common directory of a repository. Blocks.
    ///
    /// # Errors
    /// `unavailable` where the folder is somebody else's or cannot be written.
    pub(super) fn make(&self, common: &Path, config: &[u8]) -> Result<Arc<Shadow>> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let dir = self.folder.join(format!("{}-{number}", getpid().as_raw_nonzero()));
        {
            let _alone = FOLDERS_CHANGE.lock();
            self.prepare()?;
            DirBuilder::new().mode(0o700).create(&dir).map_err(|error| self.unusable(&error))?;
        }
        self.fill(&dir, common, config).map_err(|error| self.unusable(&error))
    }

    fn fill(&self, dir: &Path, common: &Path, config: &[u8]) -> io::Result<Arc<Shadow>> {
        let shadow = Arc::new(Shadow { dir: dir.to_owned() });
        for name in LINKS {
            symlink(common.join(name), dir.join(name))?;
        }
        let file = dir.join(CONFIG);
        File::options().write(true).create_new(true).mode(0o600).open(&file)?.write_all(config)?;
        if let Some((uid, gid)) = self.owner {
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            chown(&file, owner.0, owner.1)?;
            // Last: then it is the other user's to change.
            chown(dir, owner.0, owner.1)?;
        }
        Ok(shadow)
    }

    /// The folder, which is this server's alone. Others may enter it, and see nothing.
    fn prepare(&self) -> Result<()> {
        match DirBuilder::new().mode(0o711).create(&self.folder) {
            Err(error) if error.kind() != AlreadyExists => return Err(self.unusable(&error)),
            _ => {}
        }
        let meta = self.folder.symlink_metadata().map_err(|error| self.unusable(&error))?;
        if !meta.is_dir() || meta.uid() != geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            let why = "it is not a folder of the server's user that nobody else may write to";
            return Err(self.unusable(&io::Error::other(why)));
        }
        Ok(())
    }

    /// Removes what a former life of the server left. Blocks.
    pub(super) fn clear(&self) {
        let Ok(entries) = self.folder.read_dir() else { return };
        for entry in entries.flatten() {
            remove(&entry.path());
        }
    }

    fn unusable(&self, error: &io::Error) -> Error {
        Error::unavailable(format!(
            "the folder of git's shadows (git.shadow_dir), {}, cannot be used: {error}",
            self.folder.display()
        ))
    }
}

impl Shadow {
    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        let dir = std::mem::take(&mut self.dir);
        // Where the runtime ends before, the next start removes it.
        blocking_unawaited(move || remove(&dir));
    }
}

/// Removes a shadow. No link in it is followed.
fn remove(dir: &Path) {
    let _alone = FOLDERS_CHANGE.lock();
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "a shadow of git's cannot be removed");
        }
        _ => {}
    }
    // It stays as long as another one lies in it.
    drop(dir.parent().map(fs::remove_dir));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tidings_core::Code;

    use super::*;

    #[test]
    fn a_shadow_has_its_own_configuration_and_leads_to_the_rest_and_goes_without_what_it_leads_to() {
        let home = tempfile::tempdir().expect("a directory");
        let common = home.path().join("repository");
        fs::create_dir_all(common.join("objects")).expect("a folder");
        fs::write(common.join("config"), "theirs").expect("writes");
        fs::write(common.join("objects/one"), "1").expect("writes");
        let shadows = Shadows::new(home.path().join("shadows"), None);
        let shadow = shadows.make(&common, b"ours").expect("a shadow");
        assert_eq!(fs::read(shadow.config()).expect("reads"), b"ours");
        assert_eq!(fs::read(shadow.dir().join("objects/one")).expect("reads"), b"1");
        assert!(!shadow.dir().join("hooks").exists());
        assert_eq!(shadow.dir().metadata().expect("there").permissions().mode() & 0o777, 0o700);
        let dir = shadow.dir().to_owned();
        drop(shadow);
        assert!(!dir.exists() && common.join("objects/one").exists());
    }

    #[test]
    fn what_a_killed_server_left_is_cleared_and_a_folder_of_somebody_else_is_not_used() {
        let home = tempfile::tempdir().expect("a directory");
        let folder = home.path().join("shadows");
        let shadows = Shadows::new(folder.clone(), None);
        shadows.clear();
        std::mem::forget(shadows.make(home.path(), b"").expect("a shadow"));
        shadows.clear();
        assert!(!folder.exists());
        fs::create_dir(&folder).expect("makes");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("permits");
        assert_eq!(shadows.make(home.path(), b"").expect_err("refused").code(), Code::Unavailable);
        fs::remove_dir(&folder).expect("removes");
        symlink(home.path(), &folder).expect("links");
        assert_eq!(shadows.make(home.path(), b"").expect_err("refused").code(), Code::Unavailable);
    }
}
