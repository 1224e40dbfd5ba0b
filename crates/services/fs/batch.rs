//! What happened since it was told last, kept as the difference between the tree as it was told and the tree as it is.
//!
//! Guarantees: what is told, applied to the tree as it was told last, gives the tree as it is, and names every file
//! whose content may be another: [`Batch::take`] says how it is applied. Memory and work are bounded: what is more
//! than the bound is told as "look anew". What came and went in between is not told at all.
//! It does not know the tree: it believes what it is told of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::contract::{CHANGES, ChangeKind, FileChange, Reason};

/// The most paths that are kept, and the most of them that are moved along with their folders.
const MOST: usize = 10_000;
const MOST_WORK: usize = 500_000;

/// Something that is new, changed, or not where it was.
#[derive(Debug, Clone)]
struct Node {
    /// Where it was when it was told last; none of what is new.
    from: Option<String>,
    is_folder: bool,
    is_changed: bool,
}

impl Node {
    fn new(is_folder: bool) -> Self {
        Self { from: None, is_folder, is_changed: false }
    }
}

/// What was in a place that it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    File,
    Folder,
    /// Something came into this place, and took it from whatever was there.
    Perhaps,
}

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What has something to be told of it, by its path now. What is not in here is in its folder, as it was.
    here: BTreeMap<String, Node>,
    /// The places, as they were told last, that something has left: it is in `here`, or no more.
    left: BTreeMap<String, Left>,
    work: usize,
    /// Why not everything is in here, if it is not.
    pub(super) rescan: Option<Reason>,
    /// Whether something in git's own folder changed.
    pub(super) git: bool,
    /// Whether what is left out may be other than it was.
    pub(super) rules: bool,
}

impl Batch {
    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.here.is_empty() && self.left.is_empty() && self.rescan.is_none() && !self.git
    }

    /// Notes that not everything is told.
    pub(super) fn rescan(&mut self, reason: Reason) {
        self.rescan.get_or_insert(reason);
    }

    pub(super) fn created(&mut self, path: String, is_folder: bool) {
        if self.is_full() {
            return;
        }
        match self.here.get(&path) {
            // It was found before its coming was told.
            Some(node) if node.from.is_none() && node.is_folder == is_folder => return,
            Some(_) => drop(self.take_out(&path, is_folder)),
            None => {}
        }
        self.here.insert(path, Node::new(is_folder));
        self.bound();
    }

    /// Notes what is in a folder now, by paths. It is told where the folder is new, and what was taken for a part of it
    /// and is none is not. Of other folders it was told before.
    pub(super) fn found(&mut self, folder: &str, entries: &[(String, bool)]) {
        let known = std::iter::once(folder).chain(above(folder)).find_map(|path| self.here.get(path));
        if known.is_none_or(|node| node.from.is_some()) {
            return;
        }
        for (path, is_folder) in entries {
            self.created(path.clone(), *is_folder);
        }
        let within = format!("{folder}/");
        let known = self.here.range(within.clone()..).take_while(|(path, _)| path.starts_with(&within));
        // What moved here goes by its own event.
        let direct = known.filter(|(path, node)| node.from.is_none() && !path[within.len()..].contains('/'));
        let there: HashSet<&str> = entries.iter().map(|(path, _)| path.as_str()).collect();
        let gone: Vec<(String, bool)> = direct
            .filter(|(path, _)| !there.contains(path.as_str()))
            .map(|(path, node)| (path.clone(), node.is_folder))
            .collect();
        for (path, is_folder) in gone {
            drop(self.take_out(&path, is_folder));
        }
    }

    /// The folders that came or moved, by their paths now.
    pub(super) fn folders(&self) -> Vec<String> {
        let folders = self.here.iter().filter(|(path, node)| node.is_folder && !path.starts_with('\0'));
        folders.map(|(path, _)| path.clone()).collect()
    }

    pub(super) fn modified(&mut self, path: String) {
        if self.is_full() {
            return;
        }
        if let Some(node) = self.here.get_mut(&path) {
            node.is_changed = true;
            return;
        }
        let from = self.implied(&path);
        self.here.insert(path, Node { from, is_folder: false, is_changed: true });
        self.bound();
    }

    pub(super) fn removed(&mut self, path: &str, is_folder: bool) {
        if !self.is_full() {
            drop(self.take_out(path, is_folder));
            self.bound();
        }
    }

    /// Notes that something went away under this number, by which its coming is known.
    pub(super) fn moved_from(&mut self, number: u32, path: &str, is_folder: bool) {
        if self.is_full() {
            return;
        }
        let parked = parked(number);
        if self.here.contains_key(&parked) {
            // What went away under this number before has not come.
            drop(self.take_out(&parked, is_folder));
        }
        let (node, below) = self.take_out(path, is_folder);
        self.put_in(&parked, node, below);
    }

    /// Notes that something came under this number.
    pub(super) fn moved_to(&mut self, number: u32, path: &str, is_folder: bool) {
        if self.is_full() {
            return;
        }
        let parked = parked(number);
        let (mut node, below) = if self.here.contains_key(&parked) {
            self.take_out(&parked, is_folder)
        } else {
            // From outside.
            (Node::new(is_folder), Vec::new())
        };
        let was_found = |there: &Node| there.from.is_none() && there.is_folder && node.is_folder;
        if self.here.get(path).is_some_and(was_found) {
            // What is in it was found before its coming was told.
            self.here.remove(path);
        } else if self.here.contains_key(path) {
            drop(self.take_out(path, is_folder));
        } else if let Some(place) = self.implied(path) {
            drop(self.below(path));
            self.left.entry(place).or_insert(Left::Perhaps);
        }
        if let Some(from) = node.from.as_ref().filter(|from| self.home(path).as_ref() == Some(*from)) {
            self.left.remove(from);
            // Another file may have come over it: of two that come to one place the system may say one.
            node.is_changed = true;
        }
        self.put_in(path, node, below);
    }

    /// What went away and has not come is gone.
    pub(super) fn settle(&mut self) {
        self.here.retain(|path, _| !path.starts_with('\0'));
    }

    fn is_full(&self) -> bool {
        self.rescan == Some(Reason::TooMany)
    }

    fn bound(&mut self) {
        if self.here.len() + self.left.len() > MOST || self.work > MOST_WORK {
            self.too_many();
        }
    }

    fn too_many(&mut self) {
        self.here.clear();
        self.left.clear();
        self.rescan = Some(Reason::TooMany);
    }

    /// Where what is at a path was when it was told last, if it came there with its folder and has not left it.
    fn implied(&self, path: &str) -> Option<String> {
        let known = above(path).find_map(|folder| Some((folder, self.here.get(folder)?)));
        let (was, rest) = match known {
            Some((folder, node)) => (node.from.as_deref()?, &path[folder.len()..]),
            None => ("", path),
        };
        let place = format!("{was}{rest}");
        let is_left = |way: &str| way.len() > was.len() && self.left.contains_key(way);
        let has_left = is_left(&place) || above(&place).any(is_left);
        (!has_left).then_some(place)
    }

    /// Where something would have been that has not left its folder and is at this path.
    fn home(&self, path: &str) -> Option<String> {
        let Some((folder, name)) = path.rsplit_once('/') else { return Some(path.to_owned()) };
        let folder = match self.here.get(folder) {
            Some(node) => node.from.clone(),
            None => self.implied(folder),
        };
        folder.map(|folder| format!("{folder}/{name}"))
    }

    /// Takes what is at a path out of the tree, with what is known of what is in it.
    fn take_out(&mut self, path: &str, is_folder: bool) -> (Node, Vec<(String, Node)>) {
        let node = match self.here.get(path) {
            Some(node) => node.clone(),
            None => Node { from: self.implied(path), is_folder, is_changed: false },
        };
        self.here.remove(path);
        if let Some(from) = &node.from {
            self.left.entry(from.clone()).or_insert(if is_folder { Left::Folder } else { Left::File });
        }
        let below = self.below(path);
        (node, below)
    }

    /// Takes out what is known of what is in a folder, by its path from there.
    fn below(&mut self, path: &str) -> Vec<(String, Node)> {
        let within = format!("{path}/");
        let known = self.here.range(within.clone()..).take_while(|(other, _)| other.starts_with(&within));
        let paths: Vec<String> = known.map(|(path, _)| path.clone()).collect();
        self.work += paths.len();
        paths.into_iter().filter_map(|of| Some((of[path.len()..].to_owned(), self.here.remove(&of)?))).collect()
    }

    fn put_in(&mut self, path: &str, node: Node, below: Vec<(String, Node)>) {
        self.here.insert(path.to_owned(), node);
        self.here.extend(below.into_iter().map(|(rest, node)| (format!("{path}{rest}"), node)));
        self.bound();
    }

    /// Takes what is to be told, each path once and by path, in pieces for one event each.
    ///
    /// It is applied so: first everything that is a `from` is taken out of the tree, what lies deeper first. Then, by
    /// path: what was removed goes, with everything in it; what was created is there anew, in place of whatever was
    /// there with everything in it; what was renamed is what was taken out, in place of whatever was there; of what was
    /// modified, and of files that were created or renamed, the content may be another. A piece can be applied before
    /// the next is known: where that is not so, it is told as "look anew".
    pub(super) fn take(&mut self) -> Vec<Vec<FileChange>> {
        let moved: HashMap<&str, &str> =
            self.here.iter().filter_map(|(path, node)| Some((node.from.as_deref()?, path.as_str()))).collect();
        let mut changes: BTreeMap<String, (ChangeKind, Option<String>)> = BTreeMap::new();
        for (path, node) in &self.here {
            let home = self.home(path);
            let told = match &node.from {
                None => {
                    let was_file = home.is_some_and(|home| {
                        self.left.get(&home) == Some(&Left::File) && !moved.contains_key(home.as_str())
                    });
                    (if was_file && !node.is_folder { ChangeKind::Modified } else { ChangeKind::Created }, None)
                }
                Some(from) if home.as_ref() == Some(from) && !self.left.contains_key(from) => {
                    if !node.is_changed || node.is_folder {
                        continue;
                    }
                    (ChangeKind::Modified, None)
                }
                Some(from) => (ChangeKind::Renamed, Some(from.clone())),
            };
            changes.insert(path.clone(), told);
        }
        for place in self.left.keys().filter(|place| !moved.contains_key(place.as_str())) {
            if let Some(path) = self.now(place, &moved).filter(|path| !self.here.contains_key(path)) {
                changes.insert(path, (ChangeKind::Removed, None));
            }
        }
        if changes.len() > CHANGES && is_entangled(&changes) {
            self.too_many();
            return Vec::new();
        }
        self.here.clear();
        self.left.clear();
        let changes: Vec<_> = changes.into_iter().map(|(path, (kind, from))| FileChange { path, kind, from }).collect();
        changes.chunks(CHANGES).map(<[FileChange]>::to_vec).collect()
    }

    /// The path that a place has now; none where the folder that it was in is no more.
    fn now(&self, place: &str, moved: &HashMap<&str, &str>) -> Option<String> {
        for folder in above(place) {
            if let Some(path) = moved.get(folder) {
                return Some(format!("{path}{}", &place[folder.len()..]));
            }
            if self.left.contains_key(folder) {
                return None;
            }
        }
        Some(place.to_owned())
    }
}

/// The folders that a path is in, the nearest first, without the root.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

/// The place of what went away under a number and has not come: no file has a name like it.
fn parked(number: u32) -> String {
    format!("\0{number}")
}

/// Whether something is told of a place that something else moves from, or of what is in it or around it: then pieces
/// cannot be applied one after the other.
fn is_entangled(changes: &BTreeMap<String, (ChangeKind, Option<String>)>) -> bool {
    changes.values().filter_map(|(_, from)| from.as_deref()).any(|from| {
        let within = format!("{from}/");
        let in_it = changes.range(within.clone()..).next().is_some_and(|(path, _)| path.starts_with(&within));
        in_it || changes.contains_key(from) || above(from).any(|folder| changes.contains_key(folder))
    })
}

#[cfg(test)]
mod tests;
