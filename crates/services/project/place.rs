//! A directory of a project in which something is to run.
//!
//! Guarantees: it is inside the project's root, with every symbolic link followed, at the moment it was looked
//! for.
//! It does not hold it there: what becomes of it until something starts is not watched.

use std::path::{Path, PathBuf};

use tidings_core::{Code, Error, Result};

use crate::blocking::blocking;

/// A directory of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The project's directory.
    pub(crate) root: PathBuf,
    /// The directory, absolute, without symbolic links.
    pub(crate) dir: PathBuf,
    /// Relative to the root; none for the root itself.
    pub(crate) cwd: Option<String>,
}

impl Place {
    /// The same as [`Place::find`], beside the tasks.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn look(root: PathBuf, cwd: Option<String>) -> Result<Self> {
        let find = move || Self::find(&root, cwd.as_deref());
        blocking(find).await?
    }

    /// The directory `cwd` of a project. Blocks on small reads.
    ///
    /// # Errors
    /// `conflict` when the project's directory is not there any more, `invalid_data` for a directory that is
    /// not there or not inside it.
    pub(crate) fn find(root: &Path, cwd: Option<&str>) -> Result<Self> {
        let gone = || Error::new(Code::Conflict, "the project's directory is not there");
        let refuse = |why: &str| Error::invalid_field("cwd", why);
        // The root was recorded without symbolic links: one that is there now leads somewhere else.
        let known = root.canonicalize().ok().filter(|now| now == root && now.is_dir()).ok_or_else(gone)?;
        let Some(cwd) = cwd else { return Ok(Self { root: known.clone(), dir: known, cwd: None }) };
        // Outside and missing are the same answer: nobody learns what is there.
        let inside = known.join(cwd).canonicalize().ok().filter(|dir| dir.starts_with(&known) && dir.is_dir());
        let dir = inside.ok_or_else(|| refuse("is not a directory inside the project"))?;
        let below = dir.strip_prefix(&known).map(|below| below.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { root: known, dir, cwd: Some(below).filter(|below| !below.is_empty()) })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_found_inside_the_root_only_wherever_links_lead() {
        let temporary = tempfile::tempdir().expect("a directory");
        let base = temporary.path().canonicalize().expect("a path");
        let root = base.join("root");
        for dir in ["root/a/b", "root/odd\n\u{1b}[31mname", "rootless", "other"] {
            std::fs::create_dir_all(base.join(dir)).expect("a directory");
        }
        std::fs::write(root.join("file"), "").expect("a file");
        symlink("a/b", root.join("in")).expect("a link");
        symlink("../other", root.join("out")).expect("a link");
        let find = |cwd: Option<&str>| Place::find(&root, cwd).map(|place| (place.dir, place.cwd));
        let inside = |below: &str| Ok((root.join(below), Some(below.to_owned())));
        assert_eq!(find(None), Ok((root.clone(), None)));
        assert_eq!(find(Some(".")), Ok((root.clone(), None)));
        assert_eq!(find(Some("a/../a/b")), inside("a/b"));
        assert_eq!(find(Some("in")), inside("a/b"));
        assert_eq!(find(Some(root.join("a").to_str().expect("text"))), inside("a"));
        assert_eq!(find(Some("odd\n\u{1b}[31mname")), inside("odd\n\u{1b}[31mname"));
        for cwd in ["out", "..", "../rootless", "/", "/etc", "file", "missing", "a/b/../../.."] {
            assert_eq!(find(Some(cwd)).expect_err(cwd).code(), Code::InvalidData, "{cwd}");
        }
    }

    #[test]
    fn a_root_that_is_gone_or_has_become_a_link_is_refused() {
        let temporary = tempfile::tempdir().expect("a directory");
        let base = temporary.path().canonicalize().expect("a path");
        let root = base.join("root");
        assert_eq!(Place::find(&root, None).expect_err("gone").code(), Code::Conflict);
        std::fs::create_dir(base.join("other")).expect("a directory");
        symlink("other", &root).expect("a link");
        assert_eq!(Place::find(&root, None).expect_err("a link").code(), Code::Conflict);
    }
}
