//! What becomes of changes that come together: what each comes to, and the bounds.
//!
//! Guarantees: each table is of changes as the system says them.
//! They are not the tests against whole trees: those are in `model`.

use super::*;

fn told(change: impl FnOnce(&mut Batch)) -> Vec<String> {
    let mut batch = Batch::default();
    change(&mut batch);
    batch.settle();
    let word = |it: FileChange| format!("{:?} {} {}", it.kind, it.path, it.from.unwrap_or_default());
    batch.take().into_iter().flatten().map(word).map(|word| word.trim().to_owned()).collect()
}

/// A file that is moved.
fn rename(batch: &mut Batch, number: u32, from: &str, to: &str) {
    batch.moved_from(number, from, false);
    batch.moved_to(number, to, false);
}

type Change = fn(&mut Batch);

#[test]
fn several_changes_of_a_path_are_told_as_what_they_come_to() {
    let table: [(Change, &[&str]); 8] = [
        (
            |it| {
                it.created("a".to_owned(), false);
                it.modified("a".to_owned());
            },
            &["Created a"],
        ),
        (
            |it| {
                it.created("a".to_owned(), false);
                it.removed("a", false);
            },
            &[],
        ),
        (
            |it| {
                it.removed("a", false);
                it.created("a".to_owned(), false);
            },
            &["Modified a"],
        ),
        (
            |it| {
                it.removed("a", true);
                it.created("a".to_owned(), false);
            },
            &["Created a"],
        ),
        (
            |it| {
                it.modified("a".to_owned());
                it.removed("a", false);
            },
            &["Removed a"],
        ),
        (|it| rename(it, 1, "a", "b"), &["Renamed b a"]),
        (|it| it.moved_from(1, "a", false), &["Removed a"]),
        (|it| it.moved_to(1, "b", false), &["Created b"]),
    ];
    for (change, expected) in table {
        assert_eq!(told(change), expected);
    }
}

#[test]
fn what_takes_the_place_of_another_is_told_as_what_it_comes_to() {
    let table: [(Change, &[&str]); 6] = [
        (
            // A file that is written aside and put in its place.
            |it| {
                it.created("t".to_owned(), false);
                rename(it, 1, "t", "b");
            },
            &["Created b"],
        ),
        (
            // Whatever was there went with it.
            |it| {
                it.created("t".to_owned(), false);
                rename(it, 1, "t", "b");
                it.removed("b", false);
            },
            &["Removed b"],
        ),
        (
            |it| {
                it.moved_from(1, "a", false);
                it.created("a".to_owned(), false);
            },
            &["Modified a"],
        ),
        (
            |it| {
                rename(it, 1, "a", "b");
                rename(it, 2, "b", "c");
            },
            // Something may have been in the place of b.
            &["Removed b", "Renamed c a"],
        ),
        (
            // As vim saves.
            |it| {
                rename(it, 1, "a", "a~");
                it.created("a".to_owned(), false);
                it.modified("a".to_owned());
                it.removed("a~", false);
            },
            &["Modified a", "Removed a~"],
        ),
        (
            |it| {
                rename(it, 1, "a", "b");
                rename(it, 2, "b", "a");
            },
            &["Modified a", "Removed b"],
        ),
    ];
    for (change, expected) in table {
        assert_eq!(told(change), expected);
    }
}

#[test]
fn what_happens_in_a_folder_that_moves_is_told_by_its_names_of_now() {
    let moved = |it: &mut Batch| {
        it.modified("d/a".to_owned());
        it.removed("d/b", false);
        it.moved_from(1, "d", true);
        it.moved_to(1, "e", true);
        it.removed("e/c", false);
        it.found("e", &[("e/a".to_owned(), false)]);
    };
    assert_eq!(told(moved), ["Renamed e d", "Modified e/a", "Removed e/b", "Removed e/c"]);
    let replaced = |it: &mut Batch| {
        moved(it);
        it.created("d".to_owned(), true);
        it.found("d", &[("d/a".to_owned(), false)]);
    };
    let expected = ["Created d", "Created d/a", "Renamed e d", "Modified e/a", "Removed e/b", "Removed e/c"];
    assert_eq!(told(replaced), expected);
    let gone = |it: &mut Batch| {
        moved(it);
        rename(it, 2, "e/a", "a");
        it.removed("e", true);
    };
    assert_eq!(told(gone), ["Renamed a d/a", "Removed d", "Removed e"]);
}

#[test]
fn more_than_the_bound_is_told_as_look_anew_and_takes_no_room() {
    let mut batch = Batch::default();
    for n in 0..30_000 {
        batch.created(format!("f{n}"), false);
    }
    assert_eq!((batch.rescan, batch.here.len()), (Some(Reason::TooMany), 0));
    let mut batch = Batch::default();
    (0..1200).for_each(|n| batch.modified(format!("f{n}")));
    assert_eq!(batch.take().iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 200]);
    // A folder with much in it that goes back and forth.
    let mut batch = Batch::default();
    (0..5000).for_each(|n| batch.modified(format!("d/f{n}")));
    for number in 0..1000 {
        let (from, to) = if number % 2 == 0 { ("d", "e") } else { ("e", "d") };
        batch.moved_from(number, from, true);
        batch.moved_to(number, to, true);
    }
    assert_eq!(batch.rescan, Some(Reason::TooMany));
    assert!(batch.work < MOST_WORK + 2 * MOST);
}

#[test]
fn many_renames_are_told_in_pieces_that_stand_alone_or_as_look_anew() {
    let mut batch = Batch::default();
    batch.created("new".to_owned(), true);
    (0..600).for_each(|n| rename(&mut batch, n, &format!("f{n}"), &format!("new/f{n}")));
    let pieces = batch.take();
    assert_eq!((pieces.len(), batch.rescan), (2, None));
    let mut batch = Batch::default();
    (0..600).for_each(|n| rename(&mut batch, n, &format!("f{}", n + 1), &format!("f{n}")));
    assert_eq!((batch.take().len(), batch.rescan), (0, Some(Reason::TooMany)));
}
