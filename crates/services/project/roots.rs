//! Where projects may be: beneath the directories that an operator named, and never where the server or the system
//! keeps its own.
//!
//! Guarantees: a directory is judged by where it is once every symbolic link is followed, when it becomes a project
//! and each time it is used; one that cannot be judged is refused, and so is one that a link leads to by now.
//! It does not hold a directory in its place: what becomes of it after it was judged is not watched.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tidings_core::{Code, Error, Result, projection::States};

use super::contract::{ProjectId, ProjectState};
use crate::blocking::blocking;

/// The domain's name among [`States`].
const DOMAIN: &str = "project";
/// Where the system keeps its own. A project lies there only where the configuration names a directory in it.
const SYSTEM: [&str; 4] = ["/proc", "/sys", "/dev", "/etc"];

/// Where projects may be, as the configuration has it.
#[derive(Debug, Clone, Default)]
pub struct RootsConfig {
    /// The directories that roots lie beneath; none for anywhere.
    pub beneath: Vec<PathBuf>,
    /// The server's own directory: no project is it, lies in it or holds it. None for no such.
    pub data_dir: Option<PathBuf>,
    /// The files of the configuration, with the secrets that it names: no project holds one.
    pub files: Vec<PathBuf>,
}

/// Judges where a project is. By default it may be anywhere but where the system keeps its own.
#[derive(Debug, Default)]
pub struct Roots(RootsConfig);

impl Roots {
    /// By this configuration.
    #[must_use]
    pub fn new(config: RootsConfig) -> Arc<Self> {
        Arc::new(Self(config))
    }

    /// The directory of an open project.
    ///
    /// # Errors
    /// `not_found` for a project that is not there; `conflict` for one whose directory is where none may be any
    /// more; `unavailable`.
    pub(crate) async fn of(self: &Arc<Self>, states: &dyn States, project: &ProjectId) -> Result<PathBuf> {
        let view = states.get(DOMAIN, project.as_str()).await?;
        let state = view.as_ref().and_then(|view| view.state::<ProjectState>());
        let open = state.filter(|state| state.is_open()).ok_or_else(Error::not_found)?;
        self.still(open.root.clone().into()).await
    }

    /// A directory that became a project before, if one may be there now. Of one that is gone, whoever uses it tells.
    ///
    /// # Errors
    /// `conflict` where none may be; `unavailable`.
    pub(crate) async fn still(self: &Arc<Self>, root: PathBuf) -> Result<PathBuf> {
        let roots = self.clone();
        blocking(move || match root.canonicalize() {
            Ok(now) => {
                // It was recorded without symbolic links: whoever put one there has put another directory there.
                let moved = || (now != root).then(|| "is reached by a symbolic link now: register it anew".to_owned());
                match roots.flaw(&now)?.or_else(moved) {
                    None => Ok(root),
                    Some(why) => Err(Error::new(Code::Conflict, format!("the project's directory {why}"))),
                }
            }
            Err(_) => Ok(root),
        })
        .await?
    }

    /// Makes a root of a directory. Blocks on small reads.
    ///
    /// # Errors
    /// `invalid_data` naming `root`; `unavailable` when the data directory cannot be found.
    pub(super) fn admit(&self, given: &Path) -> Result<String> {
        let refuse = |why: &str| Error::invalid_field("root", why);
        if !given.is_absolute() {
            return Err(refuse("is an absolute path"));
        }
        let root = given.canonicalize().map_err(|_| refuse("does not exist, or cannot be read"))?;
        if !root.is_dir() {
            return Err(refuse("is no directory"));
        }
        if let Some(why) = self.flaw(&root)? {
            return Err(refuse(&why));
        }
        root.into_os_string().into_string().map_err(|_| refuse("is no UTF-8"))
    }

    /// Why a directory, without symbolic links, can be no project. Blocks on small reads.
    fn flaw(&self, root: &Path) -> Result<Option<String>> {
        if let Some(data_dir) = &self.0.data_dir {
            let own = data_dir.canonicalize().map_err(|error| {
                tracing::error!(%error, "the data directory cannot be found");
                Error::unavailable("the data directory cannot be found")
            })?;
            if root.starts_with(&own) || own.starts_with(root) {
                return Ok(Some("is the server's data directory, lies in it or holds it".to_owned()));
            }
        }
        let is_held = |file: &PathBuf| file.canonicalize().is_ok_and(|file| file.starts_with(root));
        if self.0.files.iter().any(is_held) {
            return Ok(Some("holds the configuration of the server, or a secret that it names".to_owned()));
        }
        let named: Vec<PathBuf> = self.0.beneath.iter().filter_map(|dir| dir.canonicalize().ok()).collect();
        let around: Vec<&PathBuf> = named.iter().filter(|dir| root.starts_with(dir)).collect();
        if around.is_empty() && !self.0.beneath.is_empty() {
            return Ok(Some("lies beneath none of project.roots".to_owned()));
        }
        let systems = SYSTEM.into_iter().find(|system| root.starts_with(system));
        let is_meant = |system: &str| around.iter().any(|dir| dir.starts_with(system));
        Ok(systems.filter(|system| !is_meant(system)).map(|system| {
            format!("lies in {system}, where no project may be unless project.roots names a directory in it")
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new(dirs: &[&str]) -> Self {
            let place = Self(tempfile::tempdir().expect("a directory"));
            dirs.iter().for_each(|dir| fs::create_dir_all(place.at(dir)).expect("a directory"));
            place
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }
    }

    fn refused(roots: &Roots, root: &Path) -> Option<String> {
        roots.admit(root).err().map(|error| error.fields()["root"].clone())
    }

    #[test]
    fn without_directories_that_are_named_a_root_is_anywhere_but_where_the_system_and_the_server_keep_their_own() {
        let place = Place::new(&["data/inside", "conf/below", "project", "keys"]);
        for file in ["conf/tidings.toml", "keys/secret"] {
            fs::write(place.at(file), "").expect("writes");
        }
        let (data_dir, file) = (Some(place.at("data")), place.at("conf/tidings.toml"));
        let files = vec![file, place.at("keys/secret"), place.at("keys/missing")];
        let roots = Roots(RootsConfig { beneath: Vec::new(), data_dir, files });
        for fine in ["project", "conf/below"] {
            assert_eq!(refused(&roots, &place.at(fine)), None, "{fine}");
        }
        for (bad, why) in [
            (place.at("data"), "data directory"),
            (place.at("data/inside"), "data directory"),
            (place.at(""), "data directory"),
            ("/".into(), "data directory"),
            (place.at("conf"), "configuration"),
            (place.at("keys"), "a secret"),
            ("/etc".into(), "lies in /etc"),
            ("/proc/self".into(), "lies in /proc"),
            ("/sys".into(), "lies in /sys"),
            ("/dev".into(), "lies in /dev"),
        ] {
            let said = refused(&roots, &bad).unwrap_or_else(|| panic!("{}", bad.display()));
            assert!(said.contains(why), "{}: {said}", bad.display());
        }
        let lost = Roots(RootsConfig { data_dir: Some(place.at("missing")), ..RootsConfig::default() });
        assert_eq!(lost.admit(&place.at("project")).expect_err("cannot be judged").code(), Code::Unavailable);
    }

    #[test]
    fn a_root_lies_beneath_a_directory_that_is_named_wherever_links_lead() {
        let place = Place::new(&["named/a", "named/data", "namedless", "other"]);
        symlink(place.at("named/a"), place.at("in")).expect("a link");
        symlink(place.at("other"), place.at("named/out")).expect("a link");
        symlink(place.at("named"), place.at("alias")).expect("a link");
        let data_dir = Some(place.at("named/data"));
        let with = |beneath: &[PathBuf]| {
            Roots(RootsConfig { beneath: beneath.to_vec(), data_dir: data_dir.clone(), files: Vec::new() })
        };
        for name in ["named", "alias"] {
            let roots = with(&[place.at("missing"), place.at(name)]);
            for (root, why) in [
                ("named/a", None),
                ("in", None),
                ("named/../named/a", None),
                ("named/out", Some("beneath none of project.roots")),
                ("namedless", Some("beneath none of project.roots")),
                ("other", Some("beneath none of project.roots")),
                ("named", Some("data directory")),
                ("named/data", Some("data directory")),
            ] {
                let said = refused(&roots, &place.at(root));
                assert_eq!(said.is_some(), why.is_some(), "{root}: {said:?}");
                assert!(said.unwrap_or_default().contains(why.unwrap_or_default()), "{root}");
            }
        }
        assert!(refused(&with(&["/".into()]), Path::new("/etc")).is_some(), "that is not what was meant");
        assert_eq!(refused(&with(&["/etc".into()]), Path::new("/etc")), None, "it was named");
    }

    #[tokio::test]
    async fn a_root_that_is_outside_by_now_is_refused_where_it_is_used() {
        let place = Place::new(&["a", "b"]);
        let base = place.0.path().canonicalize().expect("a path");
        let roots = Roots::new(RootsConfig { beneath: vec![base.join("a")], ..RootsConfig::default() });
        assert_eq!(roots.still(base.join("a")).await, Ok(base.join("a")));
        assert_eq!(roots.still(base.join("gone")).await, Ok(base.join("gone")), "whoever uses it tells");
        let refused = roots.still(base.join("b")).await.expect_err("outside");
        assert_eq!(refused.code(), Code::Conflict);
        assert!(refused.message().starts_with("the project's directory lies beneath none of"), "{refused}");
        fs::remove_dir(base.join("a")).expect("removes");
        let roots = Roots::new(RootsConfig::default());
        symlink("/etc", base.join("a")).expect("a link");
        assert_eq!(roots.still(base.join("a")).await.expect_err("a link to it").code(), Code::Conflict);
        fs::create_dir(base.join("b/inner")).expect("a directory");
        symlink("b", base.join("c")).expect("a link");
        for elsewhere in ["c", "c/inner"] {
            let refused = roots.still(base.join(elsewhere)).await.expect_err("another directory");
            assert!(refused.message().contains("symbolic link"), "{elsewhere}: {refused}");
        }
    }
}
