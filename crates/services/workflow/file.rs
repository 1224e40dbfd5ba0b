//! Reading a definition from a file of a project.
//!
//! Guarantees: what is read lies in the project's directory, also behind symbolic links, whatever is moved meanwhile,
//! and is bounded.
//! It is not the reading of what the text says.

use std::{
    io::Read,
    path::{Component, Path, PathBuf},
};

use tidings_core::{Code, Error, Result};

use crate::{
    beneath::{Links, Root, refusal},
    blocking::blocking,
};

/// Reads a file by its path from the root.
///
/// # Errors
/// `invalid_data` naming `file`, with the reason; `unavailable`.
pub(super) async fn read(root: PathBuf, path: String, most: usize) -> Result<String> {
    let reading = move || read_blocking(&root, &path, most);
    blocking(reading).await?
}

fn read_blocking(root: &Path, path: &str, most: usize) -> Result<String> {
    let refuse = |why: &str| Error::invalid_field("file", why);
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.contains('\0') || !Path::new(path).components().all(inside) {
        return Err(refuse("is a path from the project's root, without '..'"));
    }
    let lost = |error: std::io::Error| {
        let refused = refusal(&error);
        match (refused.code(), refused.fields().get("path")) {
            (Code::NotFound, _) => refuse("is not there"),
            (_, Some(why)) => refuse(why),
            _ => refused,
        }
    };
    let file = Root::open(root).and_then(|root| root.file(path, Links::Inside)).map_err(lost)?;
    let limit = if most == 0 { u64::MAX } else { most as u64 + 1 };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(lost)?;
    String::from_utf8(bytes).map_err(|_| refuse("is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
    };

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    use super::*;

    #[test]
    fn only_files_of_the_project_are_read() {
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("secret.yml"), "x").expect("writes");
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("a")).expect("makes");
        fs::write(root.path().join("a/w.yml"), "steps: 1").expect("writes");
        fs::write(root.path().join("b"), [0xFF]).expect("writes");
        symlink(outside.path().join("secret.yml"), root.path().join("link")).expect("links");
        symlink("a/w.yml", root.path().join("inside")).expect("links");
        symlink(outside.path(), root.path().join("folder")).expect("links");
        let read = |path: &str| read_blocking(root.path(), path, 1_000).map_err(|error| error.fields()["file"].clone());
        for path in ["a/w.yml", "./a/w.yml", "inside"] {
            assert_eq!(read(path).as_deref(), Ok("steps: 1"), "{path}");
        }
        for (path, why) in [
            ("../x", "without '..'"),
            ("/etc/passwd", "without '..'"),
            ("link", "leads out"),
            ("folder/secret.yml", "leads out"),
            ("a", "is a folder"),
            ("c", "is not there"),
            ("b", "is no UTF-8"),
        ] {
            assert!(read(path).expect_err(path).contains(why), "{path}");
        }
        assert_eq!(read_blocking(root.path(), "a/w.yml", 3).expect("cut").len(), 4);
    }

    #[test]
    fn a_file_that_is_swapped_with_a_link_while_it_is_read_gives_nothing_of_what_lies_outside() {
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("w.yml"), "secret").expect("writes");
        let root = tempfile::tempdir().expect("a directory");
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("in")).expect("makes");
        fs::write(at("in/w.yml"), "ours").expect("writes");
        symlink(outside.path().join("w.yml"), at("in/other")).expect("links");
        symlink(outside.path(), at("out")).expect("links");
        let over = AtomicBool::new(false);
        let swap = |one: &str, other: &str| {
            renameat_with(CWD, at(one), CWD, at(other), RenameFlags::EXCHANGE).expect("swaps");
        };
        let read: Vec<String> = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    swap("in/w.yml", "in/other");
                    swap("in", "out");
                    swap("in", "out");
                }
            });
            let read = (0..20_000).filter_map(|_| read_blocking(root.path(), "in/w.yml", 1_000).ok()).collect();
            over.store(true, Ordering::Relaxed);
            read
        });
        assert!(!read.is_empty(), "it is read in between");
        assert!(read.iter().all(|text| text == "ours"), "{read:?}");
    }
}
