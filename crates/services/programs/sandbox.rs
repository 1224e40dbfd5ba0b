//! The sandboxes of sessions, terminals and steps: which wall stands before a program (docs/decisions/0017).
//!
//! Guarantees: in a sandbox no program opens, changes or lists the data directory, the configuration or a secret that
//! this names, whatever leads there: a symbolic link, a program that it starts, root's capabilities. With
//! [`Level::Project`] it reads nothing but the system's and its project's, and changes nothing but its project's.
//! A sandbox that cannot be made ends the start.
//! It is not the wall: that is [`super::wall`], which the kernel holds.
//!
//! Landlock has no "everything but". So around what is kept from a program, what lies beside it is allowed piece by
//! piece, on the whole way from `/`; the folders on that way cannot be listed, and what is made in them after the start
//! is not allowed.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::process::getuid;
use serde::{Deserialize, Serialize};

use super::{
    Programs,
    mark::Mark,
    process::Program,
    wall::{Access, Wall},
};
use crate::blocking::blocking;

/// The most places that a wall names. A folder with more entries on the way to the data directory is none to walk through
/// at every start.
const MOST: usize = 10_000;

/// Where the system keeps its programs and what they read.
const SYSTEM: [&str; 14] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/snap",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
    "/var/lib/ca-certificates",
];
/// What is read of its state: of the kernel, and where names are resolved.
const STATE: [&str; 5] = ["/proc", "/sys", "/etc/resolv.conf", "/run/systemd/resolve", "/run/resolvconf"];
/// The devices of every program.
const DEVICES: [&str; 8] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];
/// Memory that programs share by name.
const SHARED_MEMORY: &str = "/dev/shm";
/// What git reads of somebody's home: a file that is there and cannot be read ends it.
const OF_GIT: [&str; 4] = [".gitconfig", ".config/git/config", ".config/git/ignore", ".config/git/attributes"];
/// Devices that lead to memory and disks past their files, beside those of blocks.
const PAST_FILES: [&str; 9] = ["mem", "kmem", "port", "sg", "bsg", "nvme", "ng", "raw", "mapper"];

/// Where programs keep what is temporary, unless a variable says otherwise.
const TEMPORARY: &str = "/tmp";

/// How much programs are kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// From nothing.
    #[default]
    Off,
    /// From the data directory and the configuration.
    Data,
    /// From everything but their project and the system's programs.
    Project,
}

impl Level {
    /// All of them, by their names in the configuration.
    pub const ALL: [(&'static str, Self); 3] = [("off", Self::Off), ("data", Self::Data), ("project", Self::Project)];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, level)| level)
    }
}

/// A sandbox, as the configuration has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// How much programs are kept from; nothing by default.
    pub level: Level,
    /// What they may read and run besides.
    pub read: Vec<PathBuf>,
    /// What they may read, run and change besides.
    pub write: Vec<PathBuf>,
}

impl Programs {
    /// Puts a program of a project into its sandbox: `own`, or that of all programs.
    ///
    /// # Errors
    /// The system's, where it cannot be made.
    pub(crate) async fn confine(
        &self,
        mut program: Program,
        root: &Path,
        own: Option<&Sandbox>,
    ) -> io::Result<Program> {
        let sandbox = own.unwrap_or(&self.sandbox).clone();
        if sandbox.level == Level::Off {
            return Ok(program);
        }
        let (root, kept) = (root.to_owned(), self.kept.clone());
        let name = format!("tidings-{:.8}-{}", self.mark.value(), Mark::of(&root).value());
        let make = move || {
            let temporary = temporary(&program, &name)?;
            program.environment.set("TMPDIR", &temporary.to_string_lossy());
            let home = program.environment.get("HOME").map(PathBuf::from);
            program.wall = Some(Arc::new(sandbox.wall(&root, &temporary, home.as_deref(), &kept)?));
            Ok(program)
        };
        blocking(make).await.map_err(io::Error::other)?
    }
}

impl Sandbox {
    /// Whether a file, without symbolic links, lies where nothing is run but what is the project's own.
    pub(super) fn keeps_from(&self, file: &Path) -> bool {
        let lists = SYSTEM.iter().map(Path::new).chain(self.read.iter().chain(&self.write).map(PathBuf::as_path));
        let mut places = lists.filter_map(|place| place.canonicalize().ok());
        self.level == Level::Project && !places.any(|place| file.starts_with(place))
    }

    /// The wall. Blocks on reads of folders.
    fn wall(&self, root: &Path, temporary: &Path, home: Option<&Path>, kept: &[PathBuf]) -> io::Result<Wall> {
        let kept: Vec<PathBuf> = kept.iter().flat_map(|path| [itself(path), target(path)]).collect();
        let mut around = Around { wall: Wall::new(), kept: &kept };
        match self.level {
            Level::Off => return Ok(around.wall),
            Level::Data => around.everything()?,
            Level::Project => {
                around.system(home)?;
                around.wall.apart();
            }
        }
        // It was recorded without symbolic links: one that stands there now leads somewhere else.
        around.beside(root.to_owned(), Access::All)?;
        around.allow(temporary, Access::All)?;
        for path in &self.read {
            around.allow(path, Access::Run)?;
        }
        for path in &self.write {
            around.allow(path, if path.starts_with("/dev") { Access::Devices } else { Access::All })?;
        }
        Ok(around.wall)
    }
}

/// A wall that is put up around what is kept from programs.
struct Around<'a> {
    wall: Wall,
    kept: &'a [PathBuf],
}

impl Around<'_> {
    /// The system's programs, and what every program needs.
    fn system(&mut self, home: Option<&Path>) -> io::Result<()> {
        SYSTEM.iter().try_for_each(|path| self.allow(path.as_ref(), Access::Run))?;
        STATE.iter().try_for_each(|path| self.allow(path.as_ref(), Access::Read))?;
        DEVICES.iter().try_for_each(|path| self.allow(path.as_ref(), Access::Device))?;
        self.allow(SHARED_MEMORY.as_ref(), Access::Write)?;
        let of_git = home.into_iter().flat_map(|home| OF_GIT.map(|path| home.join(path)));
        of_git.into_iter().try_for_each(|path| self.allow(&path, Access::Read))
    }

    /// All that there is. With what the kernel shows of itself root would get around every wall, and past files lies what
    /// is kept, too.
    fn everything(&mut self) -> io::Result<()> {
        for path in inside(Path::new("/"))? {
            match path.to_str() {
                Some("/proc") => self.beside(path, Access::Run)?,
                Some("/sys") => self.beside(path, Access::Read)?,
                Some("/dev") => {
                    let harmless = inside(&path)?.into_iter().filter(|device| !leads_past_files(device));
                    harmless.into_iter().try_for_each(|device| self.beside(device, Access::Devices))?;
                }
                _ => self.beside(path, Access::All)?,
            }
        }
        Ok(())
    }

    /// Allows a place, if it is there.
    fn allow(&mut self, path: &Path, access: Access) -> io::Result<()> {
        path.canonicalize().map_or(Ok(()), |path| self.beside(path, access))
    }

    /// Allows a place that no symbolic link leads to; of one that what is kept lies in, what lies beside that.
    fn beside(&mut self, path: PathBuf, access: Access) -> io::Result<()> {
        if self.kept.iter().any(|kept| path.starts_with(kept)) {
            return Ok(());
        }
        if self.kept.iter().any(|kept| kept.starts_with(&path)) {
            return inside(&path)?.into_iter().try_for_each(|path| self.beside(path, access));
        }
        if self.wall.len() == MOST {
            return Err(too_many(&path));
        }
        self.wall.allow_itself(path, access);
        Ok(())
    }
}

/// Where a path is, itself: what stands there may not be replaced either.
fn itself(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.zip(path.file_name()).map_or_else(|| path.to_owned(), |(folder, name)| folder.join(name))
}

/// What a path leads to.
fn target(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| itself(path))
}

/// What is in a folder, without symbolic links: what they lead to has a place of its own.
fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Who may not list it gets nothing of it allowed.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(Vec::new()),
        Err(error) => {
            return Err(io::Error::new(error.kind(), format!("{} cannot be listed: {error}", folder.display())));
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            found.push(entry.path());
        }
        if found.len() > MOST {
            return Err(too_many(folder));
        }
    }
    Ok(found)
}

fn too_many(path: &Path) -> io::Error {
    let folder = path.parent().unwrap_or(path).display();
    io::Error::other(format!(
        "a sandbox around the data directory and the configuration would have to name more than {MOST} places, such as \
         those in {folder}: keep them in folders with less beside them"
    ))
}

/// Whether a device leads to memory or to disks whatever files say.
fn leads_past_files(device: &Path) -> bool {
    let is_block = fs::symlink_metadata(device).is_ok_and(|found| found.file_type().is_block_device());
    let name = device.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = name.trim_end_matches(|character: char| character.is_ascii_digit() || character == 'n');
    is_block || PAST_FILES.contains(&name) || PAST_FILES.contains(&kind)
}

/// The folder for what is temporary of a project's programs, which is made unless it is there.
fn temporary(program: &Program, name: &str) -> io::Result<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let base = program.environment.get("TMPDIR").filter(|path| path.starts_with('/')).unwrap_or(TEMPORARY);
    let (path, runs_as) = (Path::new(base).join(name), program.runs_as());
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{} cannot be made: {error}", path.display()));
    let _one_at_a_time = MAKING.lock();
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => runs_as.map_or(Ok(()), |(uid, gid)| chown(&path, Some(uid), Some(gid))).map_err(told)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(told(error)),
    }
    // Everybody may put something of that name into a folder such as /tmp.
    let found = fs::symlink_metadata(&path).map_err(told)?;
    let owner = runs_as.map_or(getuid().as_raw(), |(uid, _)| uid);
    if !found.is_dir() || found.uid() != owner || found.mode() & 0o077 != 0 {
        let why = format!("{} is not the folder of this server's programs: remove it", path.display());
        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The places that a wall names, relative to a directory.
    fn named(wall: &Wall, dir: &Path) -> Vec<String> {
        let within = wall.places().filter_map(|path| path.strip_prefix(dir).ok());
        let mut named: Vec<String> = within.map(|path| path.to_string_lossy().into_owned()).collect();
        named.sort();
        named
    }

    /// Directories, files and a link, around what is kept.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let base = dir.path().canonicalize().expect("is there");
        for folder in ["a/data/run", "a/beside/deep", "b", "c/d"] {
            fs::create_dir_all(base.join(folder)).expect("a directory");
        }
        for file in ["a/data/log.db", "a/file", "b/tidings.toml", "b/other"] {
            fs::write(base.join(file), "x").expect("writes");
        }
        symlink(base.join("a/data"), base.join("c/link")).expect("a link");
        symlink(base.join("a/data"), base.join("a/link")).expect("a link");
        (dir, base)
    }

    #[test]
    fn around_what_is_kept_what_lies_beside_is_allowed_and_no_link_that_leads_there() {
        let (_dir, base) = place();
        let kept = [base.join("a/data"), base.join("b/tidings.toml"), base.join("b/not-there")];
        let mut around = Around { wall: Wall::new(), kept: &kept };
        around.allow(&base, Access::All).expect("is allowed");
        assert_eq!(named(&around.wall, &base), ["a/beside", "a/file", "b/other", "c"]);
        for (path, expected) in [
            ("c", vec!["c"]),
            ("c/link", vec![]),
            ("a/data/run", vec![]),
            ("nowhere", vec![]),
            ("a", vec!["a/beside", "a/file"]),
        ] {
            let mut around = Around { wall: Wall::new(), kept: &kept };
            around.allow(&base.join(path), Access::All).expect("is allowed");
            assert_eq!(named(&around.wall, &base), expected, "{path}");
        }
    }

    #[test]
    fn what_stands_in_the_way_of_a_configuration_is_kept_itself_and_where_it_leads_also_before_it_is_there() {
        let (_dir, base) = place();
        symlink(base.join("b/tidings.toml"), base.join("c/conf")).expect("a link");
        assert_eq!(
            (itself(&base.join("c/conf")), target(&base.join("c/conf"))),
            (base.join("c/conf"), base.join("b/tidings.toml"))
        );
        let missing = base.join("c/link/not-there");
        assert_eq!(
            (itself(&missing), target(&missing)),
            (base.join("a/data/not-there"), base.join("a/data/not-there"))
        );
    }

    #[test]
    fn a_wall_names_a_bounded_number_of_places_and_what_is_beyond_is_an_error() {
        let (_dir, base) = place();
        let kept = [base.join("a/data")];
        let mut wall = Wall::new();
        for _ in 0..MOST - 1 {
            wall.allow("/nowhere", Access::Read);
        }
        let mut around = Around { wall, kept: &kept };
        let error = around.allow(&base.join("a"), Access::All).expect_err("two more are too many");
        assert!(error.to_string().contains(&base.join("a").display().to_string()), "{error}");
    }

    #[test]
    fn devices_that_lead_to_disks_and_memory_are_known_by_their_names() {
        for name in ["mem", "kmem", "port", "sg0", "sg12", "bsg", "nvme0", "nvme12", "ng0n1", "raw", "mapper"] {
            assert!(leads_past_files(&Path::new("/dev/nowhere").join(name)), "{name}");
        }
        for name in ["null", "random", "tty", "pts", "kvm", "dri", "hidraw0", "ttyUSB0", "fuse", "shm", "net"] {
            assert!(!leads_past_files(&Path::new("/dev/nowhere").join(name)), "{name}");
        }
    }
}
