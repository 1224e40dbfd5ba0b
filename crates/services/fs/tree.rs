//! The directories of a project that are watched: which, and what the system says of them.
//!
//! Guarantees: a directory that is left out is not watched, and nothing in it either; none is watched through a
//! symbolic link; what appears while it is being added is found; with the tree goes all that the system keeps of it.
//! It blocks, and tells nobody: it fills a batch.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType,
        inotify::{self, CreateFlags, ReadFlags, WatchFlags},
        statat,
    },
    io::Errno,
};

use super::{
    batch::Batch,
    contract::Reason,
    ignores::{GIT, Ignores, join},
};
use crate::beneath::{Links, Root};

/// What is wanted of the system. Reading is not: it is no change.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);
/// How much is read from the system at once.
const BUFFER: usize = 64 * 1024;
/// Where branches and tags are.
const REFS: &str = ".git/refs";

/// The watched directories of a project.
#[derive(Debug)]
pub(super) struct Tree {
    root: Root,
    inotify: Arc<OwnedFd>,
    by_number: HashMap<i32, String>,
    by_path: BTreeMap<String, i32>,
    ignores: Ignores,
    most: usize,
    /// Whether there are more directories than are watched.
    incomplete: bool,
}

/// Something that the system said.
struct Said {
    directory: Option<String>,
    number: i32,
    events: ReadFlags,
    cookie: u32,
    name: Option<String>,
}

impl Tree {
    /// Watches a directory and what is in it, `most` directories at most.
    ///
    /// # Errors
    /// The system's; `EMFILE` and `ENOSPC` where it gives no more.
    pub(super) fn open(path: &Path, most: usize) -> io::Result<Self> {
        let root = Root::open(path)?;
        let inotify = Arc::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?);
        let ignores = Ignores::of(&root);
        let (by_number, by_path) = (HashMap::new(), BTreeMap::new());
        let mut tree = Self { root, inotify, by_number, by_path, ignores, most, incomplete: false };
        tree.add("", None)?;
        tree.add_git();
        Ok(tree)
    }

    /// Where the system says that there is something to read.
    pub(super) fn inotify(&self) -> Arc<OwnedFd> {
        self.inotify.clone()
    }

    /// How many directories are watched.
    pub(super) fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Whether there are more directories than are watched.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Notes everything that the system has to say.
    pub(super) fn read(&mut self, batch: &mut Batch) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let inotify = self.inotify.clone();
        let mut reader = inotify::Reader::new(&*inotify, &mut buffer);
        loop {
            let said = match reader.next() {
                Ok(event) => Said {
                    directory: self.by_number.get(&event.wd()).cloned(),
                    number: event.wd(),
                    events: event.events(),
                    cookie: event.cookie(),
                    name: event.file_name().map(|name| name.to_string_lossy().into_owned()),
                },
                Err(Errno::INTR) => continue,
                // Nothing more; of any other failure, only looking anew could help.
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    batch.rescan(Reason::Overflow);
                    break;
                }
            };
            self.note(said, batch);
        }
        if batch.rules || matches!(batch.rescan, Some(Reason::Overflow | Reason::TooMany)) {
            self.rebuild(batch);
        } else {
            self.look(batch);
        }
        batch.settle();
        self.remove_parked();
        if !self.root.is_there() {
            batch.rescan = Some(Reason::Gone);
        }
    }

    fn note(&mut self, said: Said, batch: &mut Batch) {
        if said.events.contains(ReadFlags::QUEUE_OVERFLOW) {
            batch.rescan = Some(Reason::Overflow);
            return;
        }
        let Some(directory) = said.directory else { return };
        if said.events.contains(ReadFlags::IGNORED) {
            self.by_number.remove(&said.number);
            if self.by_path.get(&directory) == Some(&said.number) {
                self.by_path.remove(&directory);
                self.ignores.leave(&directory);
            }
            return;
        }
        if is_parked(&directory) {
            return;
        }
        let Some(name) = said.name else {
            if directory.is_empty() && said.events.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
                batch.rescan = Some(Reason::Gone);
            }
            return;
        };
        let is_folder = said.events.contains(ReadFlags::ISDIR);
        let path = join(&directory, &name);
        if is_gits(&path) {
            batch.git = true;
            let came = said.events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            if came && path == GIT {
                self.add_git();
            } else if came && is_folder && (path == REFS || directory.starts_with(REFS)) {
                self.add_refs(&path);
            }
            return;
        }
        if self.ignores.leaves_out(&path, is_folder) {
            return;
        }
        batch.rules |= name == ".gitignore";
        self.change(&said.events, said.cookie, path, is_folder, batch);
    }

    fn change(&mut self, events: &ReadFlags, cookie: u32, path: String, is_folder: bool, batch: &mut Batch) {
        if events.contains(ReadFlags::CREATE) {
            batch.created(path, is_folder);
        } else if events.contains(ReadFlags::MOVED_TO) {
            batch.moved_to(cookie, &path, is_folder);
            if is_folder {
                self.remove(&path);
                self.rename(&parked(cookie), &path);
            }
        } else if events.contains(ReadFlags::MOVED_FROM) {
            if is_folder {
                // What happens in it from now on happens under the name that it comes with.
                self.rename(&path, &parked(cookie));
            }
            batch.moved_from(cookie, &path, is_folder);
        } else if events.contains(ReadFlags::DELETE) {
            if is_folder {
                self.remove(&path);
            }
            batch.removed(&path, is_folder);
        } else if !is_folder {
            batch.modified(path);
        }
    }

    /// Looks at the directories that came or moved, once all that was said of them is noted: before, another one could
    /// be in their place.
    fn look(&mut self, batch: &mut Batch) {
        let mut seen = HashSet::new();
        for folder in batch.folders() {
            let is_seen = folder.match_indices('/').any(|(at, _)| seen.contains(&folder[..at]));
            if !is_seen {
                self.add_found(&folder, Some(batch));
                seen.insert(folder);
            }
        }
    }

    /// Watches a directory that appeared, and what is in it by now.
    fn add_found(&mut self, path: &str, batch: Option<&mut Batch>) {
        // It may be gone again, or no directory any more: then its end is told, too.
        if let Err(error) = self.add(path, batch) {
            tracing::debug!(%error, "a directory is not watched");
        }
    }

    /// Watches a directory and all in it. What is found there and is new is told where a batch is given.
    fn add(&mut self, path: &str, mut batch: Option<&mut Batch>) -> io::Result<()> {
        let mut waiting = vec![path.to_owned()];
        let mut is_first = true;
        while let Some(folder) = waiting.pop() {
            match self.add_one(&folder) {
                Ok(Some(directory)) => {
                    self.ignores.enter(&self.root, &folder);
                    let mut found: Vec<(String, bool)> = entries(&directory)
                        .into_iter()
                        .map(|(name, is_folder)| (join(&folder, &name), is_folder))
                        .collect();
                    found.retain(|(path, is_folder)| !self.ignores.leaves_out(path, *is_folder));
                    if let Some(batch) = batch.as_deref_mut() {
                        batch.found(&folder, &found);
                    }
                    waiting.extend(found.into_iter().filter(|(_, is_folder)| *is_folder).map(|(path, _)| path));
                }
                Ok(None) => self.leave_out_rest(batch.as_deref_mut()),
                // The system gives no more: what is there is watched, and that it is not all is told.
                Err(error) if !is_first && is_scarce(&error) => self.leave_out_rest(batch.as_deref_mut()),
                Err(error) if is_first => return Err(error),
                Err(error) => tracing::debug!(%error, "a directory is not watched"),
            }
            is_first = false;
        }
        Ok(())
    }

    fn leave_out_rest(&mut self, batch: Option<&mut Batch>) {
        self.incomplete = true;
        if let Some(batch) = batch {
            batch.rescan(Reason::Limit);
        }
    }

    /// Watches one directory; none when there are as many as may be.
    fn add_one(&mut self, path: &str) -> io::Result<Option<OwnedFd>> {
        if self.by_path.len() >= self.most && !self.by_path.contains_key(path) {
            return Ok(None);
        }
        let directory = self.root.directory(path, Links::Never)?;
        // By its descriptor: a path could be another directory by now.
        let number = inotify::add_watch(&*self.inotify, format!("/proc/self/fd/{}", directory.as_raw_fd()), EVENTS)?;
        let known = self.by_number.get(&number).filter(|known| self.by_path.get(*known) == Some(&number));
        if let Some(known) = known.filter(|known| *known != path).cloned() {
            if !is_parked(&known) {
                // It has moved here, and that is about to be said.
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            self.by_path.remove(&known);
        }
        self.by_number.insert(number, path.to_owned());
        if let Some(other) = self.by_path.insert(path.to_owned(), number).filter(|other| *other != number) {
            // It is gone from this place, and that is about to be said.
            self.by_number.remove(&other);
            self.forget(other);
        }
        Ok(Some(directory))
    }

    /// Watches of git's own folder what tells of commits, branches and the index.
    fn add_git(&mut self) {
        if self.add_one(GIT).is_ok_and(|added| added.is_some()) {
            self.add_refs(REFS);
        }
    }

    fn add_refs(&mut self, path: &str) {
        let mut waiting = vec![path.to_owned()];
        while let Some(folder) = waiting.pop() {
            let Ok(Some(directory)) = self.add_one(&folder) else { continue };
            let folders = entries(&directory).into_iter().filter(|(_, is_folder)| *is_folder);
            waiting.extend(folders.map(|(name, _)| join(&folder, &name)));
        }
    }

    /// A watched directory and those in it.
    fn at_and_below(&self, path: &str) -> Vec<(String, i32)> {
        let within = format!("{path}/");
        let below = self.by_path.range(within.clone()..).take_while(|(other, _)| other.starts_with(&within));
        let mut found: Vec<(String, i32)> = below.map(|(path, number)| (path.clone(), *number)).collect();
        found.extend(self.by_path.get(path).map(|number| (path.to_owned(), *number)));
        found
    }

    /// Knows a watched directory, and those in it, by another name.
    fn rename(&mut self, from: &str, to: &str) {
        for (path, number) in self.at_and_below(from) {
            let renamed = format!("{to}{}", &path[from.len()..]);
            self.by_path.remove(&path);
            self.ignores.leave(&path);
            if !is_parked(&renamed) {
                self.ignores.enter(&self.root, &renamed);
            }
            self.by_number.insert(number, renamed.clone());
            self.by_path.insert(renamed, number);
        }
    }

    /// What went away and has not come is watched no more.
    fn remove_parked(&mut self) {
        let parked: Vec<String> =
            self.by_path.keys().take_while(|path| is_parked(path) || path.is_empty()).cloned().collect();
        parked.iter().filter(|path| is_parked(path)).for_each(|path| self.remove(path));
    }

    /// Watches a directory no more, nor what is in it.
    fn remove(&mut self, path: &str) {
        for (path, number) in self.at_and_below(path) {
            self.by_path.remove(&path);
            self.by_number.remove(&number);
            self.ignores.leave(&path);
            self.forget(number);
        }
    }

    fn forget(&self, number: i32) {
        // The system has forgotten a directory that was deleted by itself.
        if let Err(error) = inotify::remove_watch(&*self.inotify, number) {
            tracing::trace!(%error, "a directory was not watched any more");
        }
    }

    /// Looks at everything anew: rules changed, or what happened is not known.
    fn rebuild(&mut self, batch: &mut Batch) {
        let before = self.len();
        self.ignores = Ignores::of(&self.root);
        self.incomplete = false;
        // What is still watched keeps its number, and so what is said of it meanwhile.
        self.by_path.clear();
        self.add_found("", Some(batch));
        self.add_git();
        let others = self.by_number.iter().filter(|(number, path)| self.by_path.get(*path) != Some(*number));
        for number in others.map(|(number, _)| *number).collect::<Vec<i32>>() {
            self.by_number.remove(&number);
            self.forget(number);
        }
        batch.git = true;
        tracing::debug!(before, now = self.len(), "looked anew at the watched directories");
        if self.incomplete {
            batch.rescan(Reason::Limit);
        }
    }
}

/// The name of a directory that went away under a number: no file has one like it.
fn parked(number: u32) -> String {
    format!("\0{number}")
}

fn is_parked(path: &str) -> bool {
    path.starts_with('\0')
}

fn is_gits(path: &str) -> bool {
    path.strip_prefix(GIT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_scarce(error: &io::Error) -> bool {
    let scarce = [Errno::NOSPC, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    error.raw_os_error().is_some_and(|code| scarce.contains(&Errno::from_raw_os_error(code)))
}

/// The names in a directory, and whether each is a directory.
fn entries(directory: &OwnedFd) -> Vec<(String, bool)> {
    let Ok(listed) = Dir::read_from(directory) else { return Vec::new() };
    let entry = |entry: rustix::io::Result<rustix::fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            return None;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let facts = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
                FileType::from_raw_mode(facts.st_mode)
            }
            known => known,
        };
        Some((name.to_str().ok()?.to_owned(), kind == FileType::Directory))
    };
    listed.filter_map(entry).collect()
}

#[cfg(test)]
mod tests;
