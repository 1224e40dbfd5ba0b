//! Lock files of git: which there are, who holds them, and the end of those that nobody holds any more.
//!
//! Guarantees: a lock is taken away only where no process that can be seen has it open or works in the repository as
//! git; without being asked only where git of this server's own was broken off, and what is newer than its beginning;
//! no symbolic link is followed, and what is looked at is bounded. What git was about to do is remembered in the data
//! directory, so that the next life of a killed server knows it.
//! It is no proof that nobody holds a lock: a process that the server may not look at is not seen. git itself closes
//! some locks while it waits, which is why its working there is asked for, too.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustix::fs::{AtFlags, Dir, FileType, Stat, statat, unlinkat};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{Code, Error, Result, Timestamp, UserId, command::Json, json, own_file};

use super::{execute::Git, input::OneProject, repositories::Repositories};
use crate::{
    beneath::{Links, Root},
    blocking::blocking,
};

/// Where a repository keeps its data.
const GIT: &str = ".git";
/// How a lock is named.
const ENDING: &str = ".lock";
/// The most entries that are looked at, and the most locks that are found.
const MOST_ENTRIES: usize = 50_000;
const MOST_LOCKS: usize = 100;
/// How far the times of files may be behind the clock.
const BEHIND: Duration = Duration::from_millis(100);
/// The folder of the data directory in which operations are remembered.
const KEPT: &str = "git";
/// The most bytes of one of them, and how many are read at a start.
const KEPT_BYTES: u64 = 16 * 1024;
const MOST_KEPT: usize = 10_000;

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lock {
    folder: String,
    name: String,
    since: SystemTime,
    /// Which file it is: its device and its number.
    file: (u64, u64),
}

impl Lock {
    fn path(&self) -> String {
        format!("{}/{}", self.folder, self.name)
    }
}

/// A process that holds a lock, or may.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    id: i32,
    name: String,
}

/// Answer of `git.unlock`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "GitUnlocked")]
pub struct Unlocked {
    /// The lock files that were taken away, from the project's root, at most 100.
    pub removed: Vec<String>,
}

/// What is remembered of an operation for as long as its git runs.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The project's directory.
    root: PathBuf,
    /// When it began, in milliseconds since 1970.
    began: u64,
}

impl Git {
    /// Why a repository is locked, and what to do; nothing where it is not any more.
    pub(super) async fn why_locked(&self, root: &Path) -> Option<String> {
        let root = root.to_owned();
        // Where it cannot be looked at, git's own words have to do.
        blocking(move || why(&root)).await.ok().flatten()
    }

    /// Takes away what git of this server's own left when it was broken off, after it began then.
    pub(super) async fn clear(&self, root: &Path, began: SystemTime) {
        let root = root.to_owned();
        // It fails only when the runtime ends; the next start does it.
        drop(blocking(move || clear(&root, began)).await);
    }

    /// Remembers that git runs in a repository from now on, under the id of the operation.
    pub(super) async fn remember(&self, id: &str, root: &Path, began: SystemTime) -> Option<PathBuf> {
        let (folder, id, root) = (self.programs.data_dir().join(KEPT), id.to_owned(), root.to_owned());
        let kept = blocking(move || keep(&folder, &id, root, began)).await.ok()?;
        kept.inspect_err(|error| tracing::warn!(%error, "an operation of git is not remembered for the next start"))
            .ok()
    }

    /// Forgets it.
    pub(super) async fn forget(&self, kept: Option<PathBuf>) {
        if let Some(path) = kept {
            drop(blocking(move || forget(&path)).await);
        }
    }

    /// Takes away what git of a former life left in the repositories in which it ran when the server was killed.
    pub(super) async fn clear_abandoned(&self) {
        let folder = self.programs.data_dir().join(KEPT);
        drop(blocking(move || abandoned(&folder)).await);
    }
}

impl Repositories {
    /// `git.unlock`: takes away the locks of a repository that nobody holds.
    ///
    /// # Errors
    /// `not_found`; `conflict` while an operation runs or waits, or a process holds one or works there as git;
    /// `draining`, `unavailable`.
    pub async fn unlock(self: Arc<Self>, user: UserId, input: OneProject) -> Result<Json<Unlocked>> {
        let root = self.root(&input.project_id).await?;
        // Nothing begins meanwhile.
        let seat = self.registry.enter_alone(&input.project_id, &user)?;
        let removed = blocking(move || unlock(&root)).await??;
        drop(seat);
        if !removed.is_empty() {
            tracing::info!(project = %input.project_id, user = %user, ?removed, "locks of a repository were taken away");
        }
        Ok(Json(Unlocked { removed }))
    }
}

fn unlock(root: &Path) -> Result<Vec<String>> {
    let locks = find(root);
    if locks.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(Holder { id, name }) = holder(root, &locks, Unseen::Passed) {
        let message = format!("the process {id} ({name}) works in this repository: wait for its end, or end it");
        return Err(Error::new(Code::Conflict, message));
    }
    let mut removed = Vec::new();
    for lock in locks {
        match take_away(root, &lock) {
            Ok(true) => removed.push(lock.path()),
            Ok(false) => {}
            Err(error) => {
                return Err(Error::unavailable(format!("{} cannot be taken away: {error}", lock.path())));
            }
        }
    }
    Ok(removed)
}

fn why(root: &Path) -> Option<String> {
    let locks = find(root);
    let first = locks.first()?;
    let path = first.path();
    Some(match holder(root, &locks, Unseen::Passed) {
        Some(Holder { id, name }) => {
            format!("{path} is there, and the process {id} ({name}) works in this repository: try again after its end")
        }
        None => {
            let since = Timestamp(first.since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, milliseconds));
            format!("{path} is there since {since}, and nobody who can be seen holds it: git.unlock takes it away")
        }
    })
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A time of the clock, as files have theirs.
pub(super) fn moment(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(time.0).unwrap_or(0))
}

/// Takes away the locks that are newer than this, unless somebody may hold them.
fn clear(root: &Path, began: SystemTime) {
    let mut locks = find(root);
    locks.retain(|lock| lock.since + BEHIND >= began);
    if locks.is_empty() || holder(root, &locks, Unseen::Held).is_some() {
        return;
    }
    for lock in locks {
        match take_away(root, &lock) {
            Ok(true) => {
                tracing::warn!(lock = %root.join(lock.path()).display(), "a lock that git had left was taken away");
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(lock = %root.join(lock.path()).display(), %error, "a lock that git had left stays");
            }
        }
    }
}

/// The locks of a repository, as far as they are in the project.
fn find(root: &Path) -> Vec<Lock> {
    let (mut locks, mut entries) = (Vec::new(), 0);
    let Ok(root) = Root::open(root) else { return locks };
    let mut waiting = vec![GIT.to_owned()];
    while let Some(folder) = waiting.pop() {
        let Ok(directory) = root.directory(&folder, Links::Never) else { continue };
        let Ok(listed) = Dir::read_from(&directory) else { continue };
        for entry in listed.flatten() {
            entries += 1;
            if entries > MOST_ENTRIES || locks.len() == MOST_LOCKS {
                return locks;
            }
            let Ok(name) = entry.file_name().to_str() else { continue };
            let is_lock = name.ends_with(ENDING);
            if matches!(name, "." | "..") || (entry.file_type() == FileType::RegularFile && !is_lock) {
                continue;
            }
            let Ok(facts) = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(facts.st_mode) {
                FileType::Directory if is_looked_into(&folder, name) => waiting.push(format!("{folder}/{name}")),
                FileType::RegularFile if is_lock => locks.push(Lock {
                    folder: folder.clone(),
                    name: name.to_owned(),
                    since: modified(&facts),
                    file: (facts.st_dev, facts.st_ino),
                }),
                _ => {}
            }
        }
    }
    locks
}

/// Whether locks may lie in a folder: not among what is large, and not in the data of submodules.
fn is_looked_into(folder: &str, name: &str) -> bool {
    match folder {
        GIT => !matches!(name, "hooks" | "lfs" | "modules"),
        ".git/objects" => matches!(name, "info" | "pack"),
        _ => true,
    }
}

fn modified(facts: &Stat) -> SystemTime {
    let (seconds, rest) = (u64::try_from(facts.st_mtime), u32::try_from(facts.st_mtime_nsec));
    SystemTime::UNIX_EPOCH + Duration::new(seconds.unwrap_or(0), rest.unwrap_or(0))
}

/// Takes a lock away, if it is still this one.
fn take_away(root: &Path, lock: &Lock) -> io::Result<bool> {
    let directory = Root::open(root)?.directory(&lock.folder, Links::Never)?;
    match statat(&directory, lock.name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(facts) if (facts.st_dev, facts.st_ino) == lock.file => {}
        _ => return Ok(false),
    }
    unlinkat(&directory, lock.name.as_str(), AtFlags::empty())?;
    Ok(true)
}

/// What becomes of git's processes whose directory the server may not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unseen {
    /// They are taken for such as work here.
    Held,
    /// They are passed over.
    Passed,
}

/// A process that has one of these locks open, or works in the repository as git.
fn holder(root: &Path, locks: &[Lock], unseen: Unseen) -> Option<Holder> {
    let root = root.canonicalize().ok()?;
    let entries = fs::read_dir("/proc").ok()?.filter_map(io::Result::ok);
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut others = ids.filter(|id| u32::try_from(*id) != Ok(process::id()));
    others.find_map(|id| {
        let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?.trim_end().to_owned();
        let works = name.starts_with("git") && works_in(id, &root, unseen);
        (works || has_open(id, locks)).then_some(Holder { id, name })
    })
}

fn has_open(id: i32, locks: &[Lock]) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{id}/fd")) else { return false };
    let files = open.filter_map(|entry| fs::metadata(entry.ok()?.path()).ok());
    files.into_iter().any(|facts| locks.iter().any(|lock| lock.file == (facts.dev(), facts.ino())))
}

/// Whether git works in a directory, other than by reading for this server, which takes no lock.
fn works_in(id: i32, root: &Path, unseen: Unseen) -> bool {
    match fs::read_link(format!("/proc/{id}/cwd")) {
        Ok(directory) => directory.starts_with(root) && !only_reads(id),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied && unseen == Unseen::Held,
    }
}

/// Whether it is git as this server reads with it: see `execute`.
fn only_reads(id: i32) -> bool {
    let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    let has = |wanted: &[u8]| environment.split(|byte| *byte == 0).any(|variable| variable == wanted);
    has(b"GIT_OPTIONAL_LOCKS=0") && has(b"GIT_ALLOW_PROTOCOL=none")
}

fn keep(folder: &Path, id: &str, root: PathBuf, began: SystemTime) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    own_file::facts(folder)?;
    let began = began.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_millis());
    let kept = Kept { root, began: u64::try_from(began).unwrap_or(u64::MAX) };
    let path = folder.join(id);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(&serde_json::to_vec(&kept)?)?;
    Ok(path)
}

fn forget(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "what is remembered of an operation cannot be removed");
    }
}

/// Ends what is remembered of a former life.
fn abandoned(folder: &Path) {
    if let Err(error) = own_file::facts(folder) {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(folder = %folder.display(), %error, "what is remembered of git cannot be read");
        }
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(io::Result::ok).take(MOST_KEPT) {
        let path = entry.path();
        let is_one = is_id(path.file_name()) && entry.metadata().is_ok_and(|facts| facts.is_file());
        if !is_one {
            tracing::warn!(path = %path.display(), "this is nothing that a former life of the server remembered");
            continue;
        }
        match read(&path) {
            Ok(kept) => clear(&kept.root, SystemTime::UNIX_EPOCH + Duration::from_millis(kept.began)),
            Err(error) => tracing::warn!(path = %path.display(), %error, "what is remembered of git cannot be read"),
        }
        forget(&path);
    }
}

fn is_id(name: Option<&OsStr>) -> bool {
    name.is_some_and(|name| name.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)))
}

fn read(path: &Path) -> io::Result<Kept> {
    let mut text = String::new();
    own_file::open(path, OpenOptions::new().read(true))?.take(KEPT_BYTES).read_to_string(&mut text)?;
    json::from_str(&text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, process::Command};

    use super::*;

    /// A repository as far as its locks go.
    fn repository(locks: &[&str]) -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a directory");
        for folder in ["refs/heads", "objects/aa", "objects/info", "modules/sub", "worktrees/w"] {
            fs::create_dir_all(home.path().join(GIT).join(folder)).expect("makes");
        }
        locks.iter().for_each(|lock| fs::write(home.path().join(GIT).join(lock), "").expect("writes"));
        home
    }

    fn modified_at(path: &Path) -> SystemTime {
        fs::metadata(path).and_then(|facts| facts.modified()).expect("is there")
    }

    fn paths(locks: &[Lock]) -> Vec<String> {
        let mut paths: Vec<String> = locks.iter().map(Lock::path).collect();
        paths.sort();
        paths
    }

    #[test]
    fn the_locks_of_a_repository_are_found_and_no_link_is_followed() {
        let outside = repository(&["index.lock"]);
        let home = repository(&[
            "index.lock",
            "refs/heads/a.lock",
            "worktrees/w/index.lock",
            "objects/info/x.lock",
            "objects/aa/b.lock",
            "modules/sub/index.lock",
            "config",
        ]);
        std::os::unix::fs::symlink(outside.path().join(GIT), home.path().join(".git/refs/out")).expect("links");
        std::os::unix::fs::symlink("index.lock", home.path().join(".git/link.lock")).expect("links");
        let expected = ["index.lock", "objects/info/x.lock", "refs/heads/a.lock", "worktrees/w/index.lock"];
        assert_eq!(paths(&find(home.path())), expected.map(|path| format!("{GIT}/{path}")));
    }

    #[test]
    fn a_lock_that_somebody_has_open_stays_and_is_told_and_else_it_goes() {
        let home = repository(&["index.lock", "HEAD.lock"]);
        let lock = File::open(home.path().join(".git/index.lock")).expect("opens");
        let mut holding = Command::new("sleep").arg("600").stdin(lock).spawn().expect("starts");
        // It is there before it has its name.
        while fs::read_to_string(format!("/proc/{}/comm", holding.id())).expect("is there") != "sleep\n" {
            std::thread::yield_now();
        }
        let refused = unlock(home.path()).expect_err("somebody holds it");
        assert_eq!(refused.code(), Code::Conflict);
        assert!(refused.message().contains(&format!("{} (sleep)", holding.id())), "{refused}");
        assert!(why(home.path()).expect("locked").contains("(sleep)"));
        clear(home.path(), SystemTime::UNIX_EPOCH);
        assert_eq!(find(home.path()).len(), 2, "what is held stays");
        holding.kill().expect("is killed");
        holding.wait().expect("ends");
        assert!(why(home.path()).expect("locked").contains("git.unlock"));
        let mut removed = unlock(home.path()).expect("nobody holds it");
        removed.sort();
        assert_eq!(removed, [".git/HEAD.lock", ".git/index.lock"]);
        assert_eq!((why(home.path()), unlock(home.path()).expect("none")), (None, Vec::new()));
    }

    #[test]
    fn what_an_operation_left_is_known_by_its_time_also_to_the_next_life() {
        let (data, home) = (tempfile::tempdir().expect("a directory"), repository(&["index.lock"]));
        let folder = data.path().join(KEPT);
        let made = modified_at(&home.path().join(".git/index.lock"));
        let later = made + Duration::from_secs(60);
        keep(&folder, "o1", home.path().to_owned(), later).expect("keeps");
        fs::write(folder.join("o2"), "not what is written here").expect("writes");
        abandoned(&folder);
        assert_eq!(find(home.path()).len(), 1, "it was there before");
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
        let before = made - Duration::from_secs(60);
        let kept = keep(&folder, "o3", home.path().to_owned(), before).expect("keeps");
        forget(&kept);
        abandoned(&folder);
        assert_eq!(find(home.path()).len(), 1, "it ended by itself");
        keep(&folder, "o3", home.path().to_owned(), before).expect("keeps");
        abandoned(&folder);
        assert!(find(home.path()).is_empty());
    }

    #[test]
    fn a_link_in_the_place_of_the_folder_is_not_followed_and_what_it_leads_to_stays() {
        let (data, elsewhere) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let folder = data.path().join(KEPT);
        fs::write(elsewhere.path().join("precious"), "x").expect("writes");
        std::os::unix::fs::symlink(elsewhere.path(), &folder).expect("links");
        abandoned(&folder);
        assert!(keep(&folder, "o1", data.path().to_owned(), SystemTime::UNIX_EPOCH).is_err());
        let left: Vec<_> = fs::read_dir(elsewhere.path()).expect("a folder").flatten().collect();
        assert!(left.len() == 1 && left[0].file_name() == "precious", "{left:?}");
    }
}
