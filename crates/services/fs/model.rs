//! Changes of files against a model: whatever happens, what is told makes of the tree before the tree after.
//!
//! Guarantees: the model applies changes as the page for clients says; it is held against trees in memory, where what
//! the system says is made by the test, and against real directories, where the system says it.
//! They are not the tests of what a single change is called: those are in `batch`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use proptest::{prelude::*, sample::Index};

use super::{
    batch::Batch,
    contract::{ChangeKind, FileChange},
    tree::Tree,
};

/// What is at each path: a folder, or a file with this content.
type World = BTreeMap<String, Option<u64>>;

/// What is at a path and in it, by the rest of its path.
type Part = Vec<(String, Option<u64>)>;

fn take_out(world: &mut World, path: &str) -> Part {
    let within = format!("{path}/");
    let paths: Vec<String> =
        world.keys().filter(|other| *other == path || other.starts_with(&within)).cloned().collect();
    paths.into_iter().map(|other| (other[path.len()..].to_owned(), world.remove(&other).flatten())).collect()
}

fn put_in(world: &mut World, path: &str, part: Part) {
    world.extend(part.into_iter().map(|(rest, content)| (format!("{path}{rest}"), content)));
}

/// The tree that changes make of another. What a client reads anew is in `now`.
fn applied(mut world: World, changes: &[FileChange], now: &World) -> World {
    let mut froms: Vec<&str> = changes.iter().filter_map(|change| change.from.as_deref()).collect();
    froms.sort_by_key(|from| std::cmp::Reverse(from.matches('/').count()));
    let mut moving: BTreeMap<&str, Part> = froms.into_iter().map(|from| (from, take_out(&mut world, from))).collect();
    for FileChange { path, kind, from } in changes {
        let read = |world: &mut World| {
            if let Some(content @ Some(_)) = now.get(path) {
                world.insert(path.clone(), *content);
            }
        };
        match kind {
            ChangeKind::Removed => drop(take_out(&mut world, path)),
            ChangeKind::Created => {
                drop(take_out(&mut world, path));
                world.insert(path.clone(), now.get(path).copied().flatten());
            }
            ChangeKind::Renamed => {
                drop(take_out(&mut world, path));
                let part = moving.remove(from.as_deref().expect("a rename has it")).expect("is moved once");
                put_in(&mut world, path, part);
                read(&mut world);
            }
            ChangeKind::Modified => {
                assert!(world.contains_key(path), "{path} is modified and was there");
                read(&mut world);
            }
        }
    }
    world
}

/// What somebody does: which of the possible things, and to what.
#[derive(Debug, Clone)]
struct Deed(u8, Index, Index);

fn deeds() -> impl Strategy<Value = Vec<Vec<Deed>>> {
    let deed = (0..10u8, any::<Index>(), any::<Index>()).prop_map(|(what, one, other)| Deed(what, one, other));
    proptest::collection::vec(proptest::collection::vec(deed, 0..14), 1..5)
}

/// A thing that can be done now.
#[derive(Debug)]
enum Doing {
    Make(String),
    MakeFolder(String),
    Write(String),
    Remove(String),
    Rename(String, String),
    MoveOut(String),
    MoveIn(String, bool),
}

const NAMES: [&str; 4] = ["a", "b", "c", "a~"];

/// A place in the tree: a name in a folder that is there.
fn place(world: &World, one: &Index, other: &Index) -> String {
    let folders = world.iter().filter(|(path, content)| content.is_none() && path.matches('/').count() < 3);
    let folders: Vec<&str> = std::iter::once("").chain(folders.map(|(path, _)| path.as_str())).collect();
    let (folder, name) = (one.get(&folders), other.get(&NAMES));
    if folder.is_empty() { (*name).to_owned() } else { format!("{folder}/{name}") }
}

fn is_empty(world: &World, path: &str) -> bool {
    let within = format!("{path}/");
    !world.keys().any(|other| other.starts_with(&within))
}

/// What a deed is in this tree, if it is possible.
fn doing(world: &World, Deed(what, one, other): &Deed) -> Option<Doing> {
    let new = place(world, one, other);
    let all: Vec<&String> = world.keys().collect();
    let there = |index: &Index| (!all.is_empty()).then(|| (*index.get(&all)).clone());
    Some(match what {
        0 | 1 => Doing::Make(Some(new).filter(|path| !world.contains_key(path))?),
        2 => Doing::MakeFolder(Some(new).filter(|path| !world.contains_key(path))?),
        3 => Doing::Write(there(one).filter(|path| world[path].is_some())?),
        4 => Doing::Remove(there(one).filter(|path| is_empty(world, path))?),
        5..=7 => {
            let from = there(other)?;
            let fits = match (world.get(&new), world[&from]) {
                (None, _) | (Some(Some(_)), Some(_)) => true,
                (Some(None), None) => is_empty(world, &new),
                _ => false,
            };
            let inside = new == from || new.starts_with(&format!("{from}/"));
            if !fits || inside {
                return None;
            }
            Doing::Rename(from, new)
        }
        8 => Doing::MoveOut(there(one)?),
        _ => {
            let is_folder = one.index(2) == 0;
            let fits = world.get(&new).is_none_or(|there| !is_folder && there.is_some());
            fits.then_some(Doing::MoveIn(new, is_folder))?
        }
    })
}

/// Does it in memory, and says what the system would.
fn do_it(world: &mut World, batch: &mut Batch, number: u32, doing: Doing) {
    let content = Some(u64::from(number));
    match doing {
        Doing::Make(path) => {
            batch.created(path.clone(), false);
            world.insert(path, content);
        }
        Doing::MakeFolder(path) => {
            batch.created(path.clone(), true);
            world.insert(path, None);
        }
        Doing::Write(path) => {
            batch.modified(path.clone());
            world.insert(path, content);
        }
        Doing::Remove(path) => batch.removed(&path, world.remove(&path).flatten().is_none()),
        Doing::Rename(from, to) => {
            let is_folder = world[&from].is_none();
            batch.moved_from(number, &from, is_folder);
            batch.moved_to(number, &to, is_folder);
            world.remove(&to);
            let part = take_out(world, &from);
            put_in(world, &to, part);
        }
        Doing::MoveOut(path) => {
            batch.moved_from(number, &path, world[&path].is_none());
            drop(take_out(world, &path));
        }
        Doing::MoveIn(path, is_folder) => {
            batch.moved_to(number, &path, is_folder);
            world.insert(path.clone(), if is_folder { None } else { content });
            if is_folder {
                let inside = format!("{path}/c");
                batch.found(&path, &[(inside.clone(), false)]);
                world.insert(inside, content);
            }
        }
    }
}

/// Each path once, and none of what was put aside.
fn is_well_formed(changes: &[FileChange]) -> bool {
    let paths: BTreeSet<&String> = changes.iter().map(|change| &change.path).collect();
    paths.len() == changes.len() && !paths.iter().any(|path| path.contains('\0'))
}

/// The same in a real directory.
fn do_really(root: &Path, outside: &Path, number: u32, doing: &Doing) -> io::Result<()> {
    let at = |path: &String| root.join(path);
    let content = number.to_string();
    match doing {
        Doing::Make(path) | Doing::Write(path) => fs::write(at(path), content),
        Doing::MakeFolder(path) => fs::create_dir(at(path)),
        Doing::Remove(path) if at(path).is_dir() => fs::remove_dir(at(path)),
        Doing::Remove(path) => fs::remove_file(at(path)),
        Doing::Rename(from, to) => fs::rename(at(from), at(to)),
        Doing::MoveOut(path) => fs::rename(at(path), outside.join(content)),
        Doing::MoveIn(path, is_folder) => {
            let from = outside.join(format!("in-{content}"));
            if *is_folder {
                fs::create_dir(&from)?;
                fs::write(from.join("c"), &content)?;
            } else {
                fs::write(&from, &content)?;
            }
            fs::rename(from, at(path))
        }
    }
}

/// What is in a real directory.
fn seen(root: &Path, folder: &str, world: &mut World) {
    for entry in fs::read_dir(root.join(folder)).expect("lists") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name of the test");
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if root.join(&path).is_dir() {
            world.insert(path.clone(), None);
            seen(root, &path, world);
        } else {
            let content = fs::read_to_string(root.join(&path)).expect("reads");
            world.insert(path, Some(content.parse().expect("a content of the test")));
        }
    }
}

/// Long runs of many deeds are what finds something.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn what_is_told_makes_of_the_tree_before_the_tree_after(batches in deeds()) {
        let (mut world, mut number) = (World::new(), 0);
        for deeds in batches {
            let (before, mut batch, mut done) = (world.clone(), Batch::default(), Vec::new());
            for deed in deeds {
                number += 1;
                if let Some(doing) = doing(&world, &deed) {
                    done.push(format!("{doing:?}"));
                    do_it(&mut world, &mut batch, number, doing);
                }
            }
            batch.settle();
            let changes: Vec<FileChange> = batch.take().concat();
            prop_assert!(is_well_formed(&changes), "{changes:?}");
            let after = applied(before.clone(), &changes, &world);
            prop_assert_eq!(&after, &world, "before {:?}, done {:?}, told {:?}", before, done, changes);
        }
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn what_the_system_says_of_real_files_makes_of_the_tree_before_the_tree_after(batches in deeds()) {
        let (home, outside) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let mut tree = Tree::open(home.path(), 1000).expect("opens");
        let (mut before, mut number) = (World::new(), 0);
        for deeds in batches {
            let mut done = Vec::new();
            let mut world = before.clone();
            for deed in deeds {
                number += 1;
                if let Some(doing) = doing(&world, &deed) {
                    do_really(home.path(), outside.path(), number, &doing).expect("does it");
                    done.push(format!("{doing:?}"));
                    world.clear();
                    seen(home.path(), "", &mut world);
                }
            }
            let mut batch = Batch::default();
            tree.read(&mut batch);
            let changes: Vec<FileChange> = batch.take().concat();
            prop_assert!(is_well_formed(&changes) && batch.rescan.is_none(), "{changes:?}");
            let after = applied(before.clone(), &changes, &world);
            prop_assert_eq!(&after, &world, "before {:?}, done {:?}, told {:?}", before, done, changes);
            before = world;
        }
    }
}
