//! Reading a definition from a file of a project.
//!
//! Guarantees: what is read lies in the project's directory, also behind symbolic links, and is bounded.
//! It is not the reading of what the text says.

use std::{
    io::{ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use tidings_core::{Error, Result};

use crate::blocking::blocking;

/// Reads a file by its path from the root.
///
/// # Errors
/// `invalid_data` naming `file`, with the reason.
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
    let lost = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => refuse("is not there"),
        _ => refuse("cannot be read"),
    };
    let root = root.canonicalize().map_err(lost)?;
    let path = root.join(path).canonicalize().map_err(lost)?;
    if !path.starts_with(&root) {
        return Err(refuse("leads out of the project"));
    }
    if !path.is_file() {
        return Err(refuse("is no file"));
    }
    let file = std::fs::File::open(&path).map_err(lost)?;
    let limit = if most == 0 { u64::MAX } else { most as u64 + 1 };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(lost)?;
    String::from_utf8(bytes).map_err(|_| refuse("is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_project_are_read() {
        let outside = tempfile::tempdir().expect("a directory");
        std::fs::write(outside.path().join("secret.yml"), "x").expect("writes");
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("a")).expect("makes");
        std::fs::write(root.path().join("a/w.yml"), "steps: 1").expect("writes");
        std::fs::write(root.path().join("b"), [0xFF]).expect("writes");
        std::os::unix::fs::symlink(outside.path().join("secret.yml"), root.path().join("link")).expect("links");
        let read = |path: &str| read_blocking(root.path(), path, 1_000).map_err(|error| error.fields()["file"].clone());
        assert_eq!(read("a/w.yml").as_deref(), Ok("steps: 1"));
        assert_eq!(read("./a/w.yml").as_deref(), Ok("steps: 1"));
        for (path, why) in [
            ("../x", "without '..'"),
            ("/etc/passwd", "without '..'"),
            ("link", "leads out"),
            ("a", "is no file"),
            ("c", "is not there"),
            ("b", "is no UTF-8"),
        ] {
            assert!(read(path).expect_err(path).contains(why), "{path}");
        }
        assert_eq!(read_blocking(root.path(), "a/w.yml", 3).expect("cut").len(), 4);
    }
}
