//! Repositories whose data lie elsewhere: submodules, further working trees, and what else `.git` as a file leads to.
//!
//! Guarantees: what such a directory is, and which one to make the project instead, is said before git is run there.
//! It is not the judgement of every way out of a project: what git finds in truth is looked at by `guard`.

use std::path::{Component, Path, PathBuf};

use tidings_core::{Code, Error, Result};

use super::trees::note;
use crate::beneath::Root;

/// Refuses a directory whose `.git` is a file that leads out of it. What is out there is not looked at: whoever writes
/// the file would learn of it. Blocks on a small read.
///
/// # Errors
/// `conflict`, with what the directory is and what to do.
pub(super) fn check(root: &Path) -> Result<()> {
    // What is not there, or cannot be opened, is refused by who looks for the repository.
    let note = Root::open(root).ok().and_then(|project| note(&project, ".git"));
    let Some(data) = note.as_deref().and_then(|note| note.strip_prefix("gitdir:")) else { return Ok(()) };
    let data = plain(&root.join(data.trim()));
    if data.starts_with(root) {
        return Ok(());
    }
    let place = data.display();
    // What git notes of a working tree lies in `worktrees/NAME` of its repository.
    let is_tree = data.parent().is_some_and(|folder| folder.ends_with("worktrees"));
    let is_in_modules = data.components().any(|part| part == Component::Normal("modules".as_ref()));
    let why = if is_tree {
        format!(
            "this is a working tree of a repository that keeps its data outside the project's directory, in {place}: it is read and changed in the project of that repository"
        )
    } else if is_in_modules {
        format!(
            "this is a submodule, which keeps its data outside the project's directory, in {place}: make the repository that it is a part of the project, or clone the submodule into a project of its own"
        )
    } else {
        format!(
            "the repository keeps its data outside the project's directory, in {place}: make that directory the project"
        )
    };
    Err(Error::new(Code::Conflict, why))
}

/// A path without `.` and `..`, as it is written: no symbolic link is followed.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_whose_data_lie_elsewhere_is_told_what_it_is() {
        let home = tempfile::tempdir().expect("a directory");
        for folder in ["sub", "tree", "own/data", "other", "lost", "plain/.git"] {
            fs::create_dir_all(home.path().join(folder)).expect("makes");
        }
        std::os::unix::fs::symlink(home.path().join("plain"), home.path().join("link")).expect("links");
        let nowhere = "make that directory the project";
        let table = [
            ("sub", "gitdir: ../.git/modules/sub\n", Some("this is a submodule")),
            ("tree", "gitdir: ../.git/worktrees/tree\n", Some("this is a working tree of a repository")),
            ("other", "gitdir: ../.git\n", Some("make that directory the project")),
            ("lost", "gitdir: ../nowhere\n", Some(nowhere)),
            ("lost", "gitdir: ./.././link/x\n", Some("/link/x: make")),
            ("own", "gitdir: data\n", None),
            ("own", "gitdir: ../own/./data\n", None),
        ];
        for (folder, note, expected) in table {
            let root = home.path().join(folder);
            fs::write(root.join(".git"), note).expect("writes");
            let told = check(&root).err();
            assert_eq!(told.is_some(), expected.is_some(), "{folder}: {told:?}");
            if let (Some(told), Some(expected)) = (told, expected) {
                assert!(told.code() == Code::Conflict && told.message().contains(expected), "{told}");
            }
        }
        assert_eq!(check(&home.path().join("plain")), Ok(()));
        assert_eq!(check(&home.path().join("none")), Ok(()));
    }
}
