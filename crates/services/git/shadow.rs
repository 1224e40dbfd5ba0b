//! Shadows: a directory beside a repository that git takes for its common one, so that no configuration of the
//! repository's own is read.
//!
//! git cannot be told to leave out `.git/config`, but it reads the configuration of its common directory
//! (`GIT_COMMON_DIR`) instead. A shadow is that: its `config` is the server's, and everything else that lies there leads
//! to where it is. There are no hooks, and no `remotes` and `branches` of old.
//!
//! Guarantees: whatever becomes of the repository while git runs, its configuration is what was written here; a shadow
//! is gone when it is not used any more, that of a killed server by the next start; nobody but the user that git runs as,
//! and the server, can change one. Of the folder that they lie in, nothing is removed that is not this server's shadow.
//! It is not the choice of what is written: that is `settings`.

use std::{
    fs::{self, DirBuilder, DirEntry, File},
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

/// The folder that shadows lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Folder {
    /// One that the configuration names: it is there for as long as the server runs, since wrappers show it to programs.
    Named(PathBuf),
    /// One of the server's own choice, which goes with the last shadow.
    Own(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Own(path) => path,
        }
    }
}

/// Where shadows lie, and whose they are.
#[derive(Debug)]
pub(super) struct Shadows {
    folder: Folder,
    /// What the names of this server's shadows begin with: others may lie beside them.
    prefix: String,
    /// The user and the group that git runs as, if they are not the server's own.
    owner: Option<(u32, u32)>,
}

/// A shadow. It is removed with this value.
#[derive(Debug)]
pub(super) struct Shadow {
    dir: PathBuf,
    folder: Folder,
}

impl Shadows {
    /// Shadows of the server with this mark, in a folder that is made when it is needed.
    pub(super) fn new(folder: Folder, mark: &str, owner: Option<(u32, u32)>) -> Self {
        Self { folder, prefix: format!("{mark:.12}-"), owner }
    }

    /// Makes one for the common directory of a repository. Blocks.
    ///
    /// # Errors
    /// `unavailable` where the folder is somebody else's or cannot be written.
    pub(super) fn make(&self, common: &Path, config: &[u8]) -> Result<Arc<Shadow>> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let dir = self.folder.path().join(format!("{}{}-{number}", self.prefix, getpid().as_raw_nonzero()));
        {
            let _alone = FOLDERS_CHANGE.lock();
            self.prepare()?;
            DirBuilder::new().mode(0o700).create(&dir).map_err(|error| self.unusable(&error))?;
        }
        self.fill(&dir, common, config).map_err(|error| self.unusable(&error))
    }

    fn fill(&self, dir: &Path, common: &Path, config: &[u8]) -> io::Result<Arc<Shadow>> {
        let shadow = Arc::new(Shadow { dir: dir.to_owned(), folder: self.folder.clone() });
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
        match DirBuilder::new().mode(0o711).create(self.folder.path()) {
            Err(error) if error.kind() != AlreadyExists => return Err(self.unusable(&error)),
            _ => {}
        }
        let meta = self.folder.path().symlink_metadata().map_err(|error| self.unusable(&error))?;
        if !meta.is_dir() || meta.uid() != geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            let why = "it is not a folder of the server's user that nobody else may write to";
            return Err(self.unusable(&io::Error::other(why)));
        }
        Ok(())
    }

    /// Makes the folder that the configuration names, and removes the shadows that a former life of the server left.
    /// Blocks.
    pub(super) fn recover(&self) {
        if matches!(self.folder, Folder::Named(_))
            && let Err(error) = self.prepare()
        {
            tracing::warn!("git cannot be run: {}", error.message());
        }
        let Ok(entries) = self.folder.path().read_dir() else { return };
        let is_own = |entry: &DirEntry| {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            is_dir && entry.file_name().to_str().is_some_and(|name| name.starts_with(&self.prefix))
        };
        for entry in entries.flatten().filter(is_own) {
            remove(&entry.path(), &self.folder);
        }
    }

    fn unusable(&self, error: &io::Error) -> Error {
        Error::unavailable(format!(
            "the folder of git's shadows (git.shadow_dir), {}, cannot be used: {error}",
            self.folder.path().display()
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
        let (dir, folder) = (std::mem::take(&mut self.dir), self.folder.clone());
        // Where the runtime ends before, the next start removes it.
        blocking_unawaited(move || remove(&dir, &folder));
    }
}

/// Removes a shadow. No link in it is followed.
fn remove(dir: &Path, folder: &Folder) {
    let _alone = FOLDERS_CHANGE.lock();
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "a shadow of git's cannot be removed");
        }
        _ => {}
    }
    if let Folder::Own(folder) = folder {
        // It stays as long as another one lies in it.
        drop(fs::remove_dir(folder));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tidings_core::Code;

    use super::*;

    fn shadows(folder: &Path, mark: &str) -> Shadows {
        Shadows::new(Folder::Own(folder.to_owned()), mark, None)
    }

    #[test]
    fn a_shadow_has_its_own_configuration_and_leads_to_the_rest_and_goes_without_what_it_leads_to() {
        let home = tempfile::tempdir().expect("a directory");
        let common = home.path().join("repository");
        fs::create_dir_all(common.join("objects")).expect("a folder");
        fs::write(common.join("config"), "theirs").expect("writes");
        fs::write(common.join("objects/one"), "1").expect("writes");
        let shadow = shadows(&home.path().join("shadows"), "a").make(&common, b"ours").expect("a shadow");
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
        let shadows = shadows(&folder, "a");
        shadows.recover();
        std::mem::forget(shadows.make(home.path(), b"").expect("a shadow"));
        shadows.recover();
        assert!(!folder.exists());
        fs::create_dir(&folder).expect("makes");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("permits");
        assert_eq!(shadows.make(home.path(), b"").expect_err("refused").code(), Code::Unavailable);
        fs::remove_dir(&folder).expect("removes");
        symlink(home.path(), &folder).expect("links");
        assert_eq!(shadows.make(home.path(), b"").expect_err("refused").code(), Code::Unavailable);
    }

    #[test]
    fn a_folder_that_is_named_stays_with_whatever_lies_in_it_that_is_no_shadow_of_this_server() {
        let home = tempfile::tempdir().expect("a directory");
        let folder = home.path().join("named");
        let shadows = Shadows::new(Folder::Named(folder.clone()), "a", None);
        shadows.recover();
        assert!(folder.is_dir(), "it is there before the first shadow");
        drop(shadows.make(home.path(), b"").expect("a shadow"));
        assert!(folder.is_dir(), "and after the last");
        fs::create_dir_all(folder.join("somebodys/work")).expect("makes");
        std::mem::forget(shadows.make(home.path(), b"").expect("a shadow"));
        let other = Shadows::new(Folder::Named(folder.clone()), "b", None);
        let others = other.make(home.path(), b"").expect("a shadow");
        shadows.recover();
        assert!(folder.join("somebodys/work").is_dir() && others.dir().is_dir());
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 2);
    }
}
