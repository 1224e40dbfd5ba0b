//! What happened since it was told last, each path once.
//!
//! Guarantees: memory is bounded: what is more than the bound is told as "look anew"; what came and went in between
//! is not told at all.
//! It does not know the tree.

use std::collections::{BTreeMap, HashMap};

use super::contract::{CHANGES, ChangeKind, FileChange, Reason};

/// The most paths that are told one by one.
const MOST: usize = 10_000;

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Batch {
    changes: BTreeMap<String, (ChangeKind, Option<String>)>,
    /// What went away under a name, by the number that its coming has, too.
    moving: HashMap<u32, String>,
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
        self.changes.is_empty() && self.moving.is_empty() && self.rescan.is_none() && !self.git
    }

    /// Notes that not everything is told.
    pub(super) fn rescan(&mut self, reason: Reason) {
        self.rescan.get_or_insert(reason);
    }

    pub(super) fn created(&mut self, path: String) {
        // Another took its name before it came anywhere: it is gone.
        if let Some(number) = self.moving.iter().find(|(_, from)| **from == path).map(|(number, _)| *number) {
            self.moving.remove(&number);
            self.removed(path.clone());
        }
        let kind = match self.changes.get(&path) {
            Some((ChangeKind::Removed, _)) => ChangeKind::Modified,
            _ => ChangeKind::Created,
        };
        self.put(path, kind, None);
    }

    pub(super) fn modified(&mut self, path: String) {
        // Whatever else is told of it says that it is another than before.
        if !matches!(self.changes.get(&path), Some((ChangeKind::Created | ChangeKind::Renamed, _))) {
            self.put(path, ChangeKind::Modified, None);
        }
    }

    pub(super) fn removed(&mut self, path: String) {
        match self.changes.remove(&path) {
            Some((ChangeKind::Created, _)) => {}
            Some((ChangeKind::Renamed, Some(from))) => self.put(from, ChangeKind::Removed, None),
            _ => self.put(path, ChangeKind::Removed, None),
        }
    }

    /// Notes that something went away under this number.
    pub(super) fn moved_from(&mut self, number: u32, path: String) {
        if let Some(forgotten) = self.moving.insert(number, path) {
            self.removed(forgotten);
        }
    }

    /// Notes that something came under this number. Whether it came from within the project.
    pub(super) fn moved_to(&mut self, number: u32, path: String) -> bool {
        let Some(from) = self.moving.remove(&number) else {
            self.created(path);
            return false;
        };
        match self.changes.remove(&from) {
            // It came under its first name only since it was told last.
            Some((ChangeKind::Created, _)) => self.created(path),
            Some((ChangeKind::Renamed, Some(first))) if first != path => {
                self.put(path, ChangeKind::Renamed, Some(first))
            }
            Some((ChangeKind::Renamed, _)) => self.put(path, ChangeKind::Modified, None),
            _ => self.put(path, ChangeKind::Renamed, Some(from)),
        }
        true
    }

    /// What went away and has not come is gone.
    pub(super) fn settle(&mut self) {
        for (_, path) in std::mem::take(&mut self.moving) {
            self.removed(path);
        }
    }

    fn put(&mut self, path: String, kind: ChangeKind, from: Option<String>) {
        if self.rescan == Some(Reason::TooMany) {
            return;
        }
        self.changes.insert(path, (kind, from));
        if self.changes.len() > MOST {
            self.changes.clear();
            self.rescan(Reason::TooMany);
        }
    }

    /// Takes the changes, in pieces for one event each.
    pub(super) fn take(&mut self) -> Vec<Vec<FileChange>> {
        let changes = std::mem::take(&mut self.changes).into_iter();
        let changes: Vec<_> = changes.map(|(path, (kind, from))| FileChange { path, kind, from }).collect();
        changes.chunks(CHANGES).map(<[FileChange]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl FnOnce(&mut Batch)) -> Vec<String> {
        let mut batch = Batch::default();
        change(&mut batch);
        batch.settle();
        let word = |it: FileChange| format!("{:?} {} {}", it.kind, it.path, it.from.unwrap_or_default());
        batch.take().into_iter().flatten().map(word).map(|word| word.trim().to_owned()).collect()
    }

    #[test]
    fn several_changes_of_a_path_are_told_as_what_they_come_to() {
        let of = |text: &str| text.to_owned();
        assert_eq!(
            told(|it| {
                it.created(of("a"));
                it.modified(of("a"));
            }),
            ["Created a"]
        );
        assert!(
            told(|it| {
                it.created(of("a"));
                it.removed(of("a"));
            })
            .is_empty()
        );
        assert_eq!(
            told(|it| {
                it.removed(of("a"));
                it.created(of("a"));
            }),
            ["Modified a"]
        );
        assert_eq!(
            told(|it| {
                it.modified(of("a"));
                it.removed(of("a"));
            }),
            ["Removed a"]
        );
        assert_eq!(
            told(|it| {
                it.moved_from(1, of("a"));
                assert!(it.moved_to(1, of("b")));
            }),
            ["Renamed b a"]
        );
        assert_eq!(told(|it| it.moved_from(1, of("a"))), ["Removed a"]);
        assert_eq!(told(|it| assert!(!it.moved_to(1, of("b")))), ["Created b"]);
        assert_eq!(
            told(|it| {
                it.created(of("t"));
                it.moved_from(1, of("t"));
                it.moved_to(1, of("b"));
            }),
            ["Created b"],
            "a file that is written aside and put in its place"
        );
        let replaced = |it: &mut Batch| {
            it.moved_from(1, of("a"));
            it.created(of("a"));
        };
        assert_eq!(told(replaced), ["Modified a"]);
        let twice = |it: &mut Batch| {
            it.moved_from(1, of("a"));
            it.moved_to(1, of("b"));
            it.moved_from(2, of("b"));
            it.moved_to(2, of("c"));
        };
        assert_eq!(told(twice), ["Renamed c a"]);
        assert_eq!(
            told(|it| {
                twice(it);
                it.removed(of("c"));
            }),
            ["Removed a"]
        );
    }

    #[test]
    fn more_than_the_bound_is_told_as_look_anew_and_takes_no_room() {
        let mut batch = Batch::default();
        for n in 0..30_000 {
            batch.created(format!("f{n}"));
        }
        assert_eq!((batch.rescan, batch.changes.len()), (Some(Reason::TooMany), 0));
        let mut batch = Batch::default();
        (0..1200).for_each(|n| batch.modified(format!("f{n}")));
        assert_eq!(batch.take().iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 200]);
    }
}
