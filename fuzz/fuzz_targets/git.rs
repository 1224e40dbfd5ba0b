//! What git prints, read: names of any characters come through whole, lists are bounded, and what is no output of git
//! is read as less, never as something else.
#![no_main]
#![allow(dead_code, reason = "each module is used in part")]

use libfuzzer_sys::fuzz_target;
// The modules name it as their neighbour.
use tidings_services::git::contract;

#[path = "../../crates/services/git/failure.rs"]
mod failure;
#[path = "../../crates/services/git/listing.rs"]
mod listing;
#[path = "../../crates/services/git/progress.rs"]
mod progress;
#[path = "../../crates/services/git/status.rs"]
mod status;

const FEW: usize = 3;

/// Whatever it is: the same with a bound and without, as far as the bound goes.
fn anything(data: &[u8]) {
    let (all, few) = (status::parse(data, usize::MAX), status::parse(data, FEW));
    assert_eq!((all.status, all.more), (few.status, 0));
    assert!(few.files.len() <= FEW && all.files.starts_with(&few.files));
    assert_eq!(all.files.len() as u64, few.files.len() as u64 + few.more);
    let ((all, none), (few, more)) = (listing::changes(data, usize::MAX), listing::changes(data, FEW));
    assert!(none == 0 && few.len() <= FEW && all.starts_with(&few));
    assert_eq!(all.len() as u64, few.len() as u64 + more);
    assert!(listing::commits(data).iter().all(|commit| commit.body.len() <= 4096));
    drop((listing::branches(data), listing::worktrees(data)));
    let (code, message) = failure::of(&String::from_utf8_lossy(data));
    assert!(!code.is_empty() && !message.is_empty());
}

/// What is heard does not depend on where it was cut.
fn heard(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else { return };
    let (mut whole, mut pieces) = (progress::Listener::default(), progress::Listener::default());
    let last = whole.hear(bytes).pop();
    let heard = bytes.chunks(usize::from(size).max(1)).map(|chunk| pieces.hear(chunk).pop());
    assert_eq!(heard.flatten().last(), last);
    assert_eq!(whole.said(), pieces.said());
}

/// Names as git prints them with `-z`, which ends each with a NUL.
fn named(data: &[u8]) {
    let names = data.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    let (mut printed, mut numbers) = (String::new(), String::new());
    for (at, name) in names.iter().enumerate() {
        match at % 4 {
            0 => printed.push_str(&format!("1 .M N... 100644 100644 100644 aaaa bbbb {name}\0")),
            1 => printed.push_str(&format!("2 R. N... 100644 100644 100644 aaaa bbbb R100 to\0{name}\0")),
            2 => printed.push_str(&format!("u UU N... 100644 100644 100644 100644 a b c {name}\0")),
            _ => printed.push_str(&format!("? {name}\0")),
        }
        match at % 2 {
            0 => numbers.push_str(&format!("1\t2\t{name}\0")),
            _ => numbers.push_str(&format!("-\t-\t\0from\0{name}\0")),
        }
    }
    let report = status::parse(printed.as_bytes(), usize::MAX);
    let read: Vec<&str> = report.files.iter().map(|file| file.from.as_deref().unwrap_or(&file.path)).collect();
    assert_eq!(read, names);
    let (changes, _) = listing::changes(numbers.as_bytes(), usize::MAX);
    let read: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(read, names);
}

fuzz_target!(|data: &[u8]| {
    anything(data);
    heard(data);
    named(data);
});
