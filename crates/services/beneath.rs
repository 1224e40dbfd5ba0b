//! Opening what lies beneath a project's root, and nothing else. Every domain that reads files of projects reads them so.
//!
//! Guarantees: the kernel resolves every path in one step (`openat2`), so that no symbolic link, however quickly it
//! is put there, leads out of the root; opening waits for nobody, also not for the other end of a pipe.
//! It does not read.

use std::{fs::File, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2},
    io::Errno,
};
use tidings_core::{Code, Error, Result};

/// How often a path is tried whose folders are moved at the same time.
const TRIES: u32 = 8;

/// A project's directory.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

/// What becomes of symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are followed as long as they stay in the root.
    Inside,
    /// They are refused.
    Never,
}

impl Root {
    /// Opens it. It was recorded without symbolic links: where one stands on its way by now, it leads somewhere else.
    ///
    /// # Errors
    /// The system's: `LOOP` where a symbolic link stands on its way.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?))
    }

    /// Whether it still has a name.
    pub(crate) fn is_there(&self) -> bool {
        fstat(&self.0).is_ok_and(|stat| stat.st_nlink > 0)
    }

    /// Whether something has this path. A symbolic link in its last part is something, wherever it leads.
    ///
    /// # Errors
    /// The system's: `XDEV` where the path leads out.
    pub(crate) fn holds(&self, path: &str) -> io::Result<bool> {
        match self.beneath(path, OFlags::PATH | OFlags::NOFOLLOW, Links::Inside) {
            Ok(_) => Ok(true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens a directory to be listed; the empty path is the root.
    ///
    /// # Errors
    /// The system's: `XDEV` where the path leads out.
    pub(crate) fn directory(&self, path: &str, links: Links) -> io::Result<OwnedFd> {
        self.beneath(path, OFlags::RDONLY | OFlags::DIRECTORY, links)
    }

    /// Opens a regular file to be read.
    ///
    /// # Errors
    /// As [`Root::directory`]; `invalid input` for what is no regular file.
    pub(crate) fn file(&self, path: &str, links: Links) -> io::Result<File> {
        let file = self.beneath(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, links)?;
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(File::from(file)),
            FileType::Directory => Err(Errno::ISDIR.into()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn beneath(&self, path: &str, flags: OFlags, links: Links) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let resolve = match links {
            Links::Inside => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            Links::Never => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        };
        for _ in 0..TRIES {
            match openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // Something was moved meanwhile, and the kernel cannot say whether the path stayed inside.
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return Ok(opened?),
            }
        }
        Err(Errno::AGAIN.into())
    }
}

/// Whether the system says that nothing has this path.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOENT | Errno::NOTDIR))
}

/// What a client is told where a path cannot be opened.
pub(crate) fn refusal(error: &io::Error) -> Error {
    let refuse = |why: &str| Error::invalid_field("path", why);
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR) => Error::new(Code::NotFound, "there is no such file or folder"),
        Some(Errno::XDEV) => refuse("leads out of the project"),
        Some(Errno::LOOP) => refuse("goes round in a circle of symbolic links"),
        Some(Errno::ISDIR) => refuse("is a folder"),
        Some(Errno::NAMETOOLONG) => refuse("is longer than the system allows"),
        Some(Errno::ACCESS | Errno::PERM) => refuse("may not be read by the server"),
        Some(Errno::NXIO) => refuse("is no regular file"),
        _ if error.kind() == io::ErrorKind::InvalidInput => refuse("is no regular file"),
        _ => Error::unavailable(format!("it cannot be read: {error}")),
    }
}

/// The root of a project, for a command.
///
/// # Errors
/// `not_found` when the directory is gone.
pub(crate) fn root(path: &Path) -> Result<Root> {
    Root::open(path).map_err(|_| Error::new(Code::NotFound, "the project's directory is not there any more"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn why(error: &io::Error) -> (Code, String) {
        let error = refusal(error);
        (error.code(), error.fields().get("path").cloned().unwrap_or_default())
    }

    #[test]
    fn no_path_leads_out_of_the_root_and_links_inside_it_work() {
        let outside = tempfile::tempdir().expect("a directory");
        std::fs::write(outside.path().join("secret"), "s").expect("writes");
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir(at("in")).expect("makes");
        std::fs::write(at("in/file"), "f").expect("writes");
        symlink(outside.path().join("secret"), at("out")).expect("links");
        symlink(outside.path(), at("folder")).expect("links");
        symlink("../../..", at("in/up")).expect("links");
        symlink("in/file", at("inside")).expect("links");
        symlink("circle", at("circle")).expect("links");
        let root = Root::open(home.path()).expect("opens");
        for path in ["out", "folder/secret", "in/up/etc/passwd", "../x", "/etc/passwd", "in/../../x"] {
            let refused = root.file(path, Links::Inside).expect_err(path);
            assert_eq!(why(&refused), (Code::InvalidData, "leads out of the project".to_owned()), "{path}");
        }
        assert!(root.file("in/file", Links::Inside).is_ok() && root.file("inside", Links::Inside).is_ok());
        assert!(root.file("inside", Links::Never).is_err());
        for (path, expected) in
            [("in/file", true), ("out", true), ("circle", true), ("none", false), ("in/file/x", false)]
        {
            assert_eq!(root.holds(path).expect(path), expected, "{path}");
        }
        assert!(root.holds("folder/secret").is_err() && root.holds("../x").is_err());
        assert_eq!(why(&root.file("circle", Links::Inside).expect_err("a circle")).0, Code::InvalidData);
        assert_eq!(why(&root.file("none", Links::Inside).expect_err("none")).0, Code::NotFound);
        assert_eq!(why(&root.file("in", Links::Inside).expect_err("a folder")).1, "is a folder");
        assert!(Root::open(&at("folder")).is_err(), "a root that is a link is no root");
        symlink(home.path(), outside.path().join("home")).expect("links");
        assert!(Root::open(&outside.path().join("home/in")).is_err(), "nor is one that a link leads to");
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_refused_and_holds_nobody_up() {
        let home = tempfile::tempdir().expect("a directory");
        rustix::fs::mknodat(CWD, home.path().join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("makes");
        let root = Root::open(home.path()).expect("opens");
        assert_eq!(why(&root.file("pipe", Links::Inside).expect_err("refused")).1, "is no regular file");
        assert!(root.is_there());
        drop(home);
        assert!(!root.is_there());
    }
}
