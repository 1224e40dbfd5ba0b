//! What is watched of real directories, and what the system says of them.
//!
//! Guarantees: nothing is waited for: what was done before is what the system has to say.
//! They are not the tests of what changes come to: those are in `batch` and `model`.

use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;

/// A folder with these folders in it.
fn home(folders: &[&str]) -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    folders.iter().for_each(|folder| fs::create_dir_all(home.path().join(folder)).expect("makes"));
    home
}

fn told(tree: &mut Tree) -> (Vec<String>, Option<Reason>) {
    let mut batch = Batch::default();
    tree.read(&mut batch);
    (batch.take().into_iter().flatten().map(|change| change.path).collect(), batch.rescan)
}

#[test]
fn only_what_is_not_left_out_is_watched_and_no_link_is_followed() {
    let outside = home(&["deep/er"]);
    let home = home(&["src/a/b", "node_modules/x/y", ".git/refs/heads/feature", ".git/objects/aa"]);
    fs::write(home.path().join(".gitignore"), "node_modules\n").expect("writes");
    symlink(outside.path(), home.path().join("src/out")).expect("links");
    let mut tree = Tree::open(home.path(), 100).expect("opens");
    let watched: Vec<&str> = tree.by_path.keys().map(String::as_str).collect();
    let expected = ["", ".git", ".git/refs", ".git/refs/heads", ".git/refs/heads/feature", "src", "src/a", "src/a/b"];
    assert_eq!(watched, expected);
    fs::write(outside.path().join("deep/x"), "x").expect("writes");
    fs::write(home.path().join("node_modules/x/z"), "z").expect("writes");
    fs::write(home.path().join("src/a/b/c"), "c").expect("writes");
    assert_eq!(told(&mut tree), (vec!["src/a/b/c".to_owned()], None));
    fs::remove_dir_all(home.path().join("src")).expect("removes");
    let (paths, rescan) = told(&mut tree);
    assert!(rescan.is_none() && paths.contains(&"src".to_owned()), "{paths:?}");
    assert_eq!(tree.len(), 5);
}

#[test]
fn more_directories_than_may_be_watched_are_told_and_the_others_are_watched() {
    let home = home(&["a", "b", "c", "d"]);
    let mut tree = Tree::open(home.path(), 3).expect("opens");
    assert_eq!((tree.len(), tree.is_incomplete()), (3, true));
    fs::create_dir(home.path().join("e")).expect("makes");
    assert_eq!(told(&mut tree), (vec!["e".to_owned()], Some(Reason::Limit)));
}

#[test]
fn more_than_the_system_notes_is_told_as_look_anew_and_the_watch_goes_on() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
    let limit: usize = limit.trim().parse().expect("a number");
    let home = home(&[]);
    let mut tree = Tree::open(home.path(), 100).expect("opens");
    let (one, other) = (home.path().join("one"), home.path().join("other"));
    fs::write(&one, "").expect("writes");
    for _ in 0..limit / 4 + 100 {
        fs::rename(&one, &other).expect("renames");
        fs::rename(&other, &one).expect("renames");
    }
    // It is made when the system notes nothing any more.
    fs::create_dir(home.path().join("late")).expect("makes");
    assert_eq!(told(&mut tree).1, Some(Reason::Overflow));
    fs::write(home.path().join("late/file"), "").expect("writes");
    assert_eq!(told(&mut tree), (vec!["late/file".to_owned()], None));
}

#[test]
fn what_is_made_faster_than_it_is_watched_is_found() {
    let home = home(&[]);
    let mut tree = Tree::open(home.path(), 100).expect("opens");
    fs::create_dir_all(home.path().join("a/b/c")).expect("makes");
    fs::write(home.path().join("a/b/c/file"), "").expect("writes");
    assert_eq!(told(&mut tree), (["a", "a/b", "a/b/c", "a/b/c/file"].map(str::to_owned).to_vec(), None));
    fs::rename(home.path().join("a/b"), home.path().join("moved")).expect("renames");
    fs::write(home.path().join("moved/c/file"), "more").expect("writes");
    assert_eq!(told(&mut tree), (["moved", "moved/c/file"].map(str::to_owned).to_vec(), None));
    fs::write(home.path().join("moved/c/other"), "").expect("writes");
    assert_eq!(told(&mut tree), (vec!["moved/c/other".to_owned()], None));
    let elsewhere = self::home(&[]);
    fs::rename(home.path().join("moved"), elsewhere.path().join("moved")).expect("renames");
    fs::create_dir(home.path().join("moved")).expect("makes");
    fs::write(elsewhere.path().join("moved/c/none"), "").expect("writes");
    let (paths, rescan) = told(&mut tree);
    assert_eq!((paths, rescan, tree.len()), (vec!["moved".to_owned()], None, 3));
    drop(home);
    assert_eq!(told(&mut tree).1, Some(Reason::Gone));
}

#[test]
fn what_takes_the_place_of_a_file_that_has_just_come_back_is_told_though_the_system_says_both_as_one() {
    let (home, outside) = (home(&["d"]), self::home(&[]));
    let at = |name: &str| home.path().join(name);
    fs::write(at("d/a"), "old").expect("writes");
    fs::write(outside.path().join("new"), "new").expect("writes");
    let mut tree = Tree::open(home.path(), 100).expect("opens");
    fs::rename(at("d/a"), at("b")).expect("renames");
    fs::rename(at("b"), at("d/a")).expect("renames");
    fs::rename(outside.path().join("new"), at("d/a")).expect("renames");
    assert_eq!(told(&mut tree), (["b", "d/a"].map(str::to_owned).to_vec(), None));
}
