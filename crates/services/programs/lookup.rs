//! Where a program is that is named without a folder.
//!
//! Guarantees: the file that `execvp` would run, as far as the server may look: the first of that name on the
//! path that may be executed.
//! It is not the last word: what is not found here is left to the system, which says why.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The path of whoever has none, as of the C library.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Finds a program on a path. What is relative there is so to `dir`, in which the program begins.
pub(super) fn find(name: &str, path: Option<&str>, dir: &Path) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    let folders = path.unwrap_or(DEFAULT_PATH).split(':');
    folders
        .map(|folder| dir.join(folder).join(name))
        .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}

/// Finds a program whose place is not the project's to say: by its absolute path, or on the absolute folders of a path.
pub(super) fn find_apart(name: &str, path: Option<&str>) -> Option<PathBuf> {
    if name.contains('/') {
        return name.starts_with('/').then(|| name.into());
    }
    find(name, Some(&apart(path)), Path::new("/"))
}

/// The absolute folders of a path.
pub(super) fn apart(path: Option<&str>) -> String {
    let folders: Vec<&str> = path.unwrap_or(DEFAULT_PATH).split(':').filter(|folder| folder.starts_with('/')).collect();
    if folders.is_empty() { DEFAULT_PATH.to_owned() } else { folders.join(":") }
}

/// Whether a program is there, as [`find_apart`] looks for it.
pub(super) fn is_apart(name: &str, path: Option<&str>) -> bool {
    find_apart(name, path).is_some_and(|file| file.is_file() && access(&file, Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{OpenOptionsExt, symlink},
    };

    use super::*;

    #[test]
    fn the_first_file_that_may_be_run_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = |folder: &str, name: &str, mode: u32| {
            fs::create_dir_all(dir.path().join(folder)).expect("a folder");
            let file = dir.path().join(folder).join(name);
            fs::OpenOptions::new().write(true).create(true).truncate(false).mode(mode).open(&file).expect("a file");
            file
        };
        place("a", "tool", 0o644);
        fs::create_dir_all(dir.path().join("b/tool")).expect("a folder of that name");
        let (right, later) = (place("c", "tool", 0o755), place("d", "tool", 0o755));
        symlink(&later, dir.path().join("c/link")).expect("a link");
        let path = format!("{}:b:missing:c:{}", dir.path().join("a").display(), dir.path().join("d").display());
        assert_eq!(find("tool", Some(&path), dir.path()), Some(right.clone()));
        assert_eq!(find("link", Some(&path), dir.path()), Some(dir.path().join("c/link")));
        assert_eq!(find("tool", Some(""), &dir.path().join("c")), Some(right), "an empty folder is the program's own");
        assert_eq!(find("nothing", Some(&path), dir.path()), None);
        assert_eq!(find("", Some(&path), dir.path()), None);
        assert!(find("sh", None, dir.path()).is_some());
        let own = format!("a:.::{}", dir.path().join("d").display());
        assert_eq!(find_apart("tool", Some(&own)), Some(later));
        assert_eq!(find_apart("tool", Some(".:a")), None);
        assert_eq!(find_apart("./tool", Some(&path)), None);
        assert_eq!(find_apart("c/tool", Some(&path)), None);
        assert_eq!(find_apart("/bin/sh", None), Some("/bin/sh".into()));
        assert_eq!(find_apart("", Some(&path)), None);
    }
}
