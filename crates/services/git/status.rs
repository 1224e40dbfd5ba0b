//! `git status --porcelain=v2 --branch -z`, read.
//!
//! Guarantees: the list is bounded, the counts and the digest are of everything that was printed.
//! What it cannot read it leaves out.

use sha2::{Digest, Sha256};

use super::contract::{Change, Counts, FileStatus, Status};

/// How the repository is, and what is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) status: Status,
    pub(super) files: Vec<FileStatus>,
    /// How many files are not listed.
    pub(super) more: u64,
}

/// Reads what git printed, listing at most `limit` files.
pub(super) fn parse(printed: &[u8], limit: usize) -> Report {
    let mut report = Report::default();
    let text = String::from_utf8_lossy(printed);
    let mut records = text.split('\0');
    while let Some(record) = records.next() {
        let file = match record.split_once(' ') {
            Some(("#", header)) => {
                read_header(&mut report.status, header);
                None
            }
            Some(("1", rest)) => changed(rest, 7),
            Some(("2", rest)) => {
                let from = records.next().map(str::to_owned);
                changed(rest, 8).map(|file| FileStatus { from, ..file })
            }
            Some(("u", rest)) => rest.splitn(10, ' ').nth(9).map(|path| FileStatus { conflict: true, ..at(path) }),
            Some(("?", path)) => Some(FileStatus { unstaged: Some(Change::Untracked), ..at(path) }),
            _ => None,
        };
        if let Some(file) = file {
            count(&mut report.status.counts, &file);
            if report.files.len() < limit {
                report.files.push(file);
            } else {
                report.more += 1;
            }
        }
    }
    let digest = Sha256::digest(printed);
    report.status.digest = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    report
}

fn at(path: &str) -> FileStatus {
    FileStatus { path: path.to_owned(), from: None, staged: None, unstaged: None, conflict: false }
}

/// A changed entry, whose path stands after so many fields.
fn changed(rest: &str, fields: usize) -> Option<FileStatus> {
    let mut parts = rest.splitn(fields + 1, ' ');
    let letters = parts.next()?;
    let path = parts.nth(fields - 1)?;
    let mut letters = letters.chars().map(change);
    Some(FileStatus { staged: letters.next()?, unstaged: letters.next()?, ..at(path) })
}

fn change(letter: char) -> Option<Change> {
    Some(match letter {
        'A' => Change::Added,
        'M' => Change::Modified,
        'D' => Change::Deleted,
        'R' => Change::Renamed,
        'C' => Change::Copied,
        'T' => Change::TypeChanged,
        _ => return None,
    })
}

fn count(counts: &mut Counts, file: &FileStatus) {
    counts.conflicts += u64::from(file.conflict);
    counts.staged += u64::from(file.staged.is_some());
    match file.unstaged {
        Some(Change::Untracked) => counts.untracked += 1,
        Some(_) => counts.unstaged += 1,
        None => {}
    }
}

fn read_header(status: &mut Status, header: &str) {
    match header.split_once(' ') {
        Some(("branch.oid", oid)) => status.head = Some(oid.to_owned()).filter(|oid| oid != "(initial)"),
        Some(("branch.head", name)) => status.branch = Some(name.to_owned()).filter(|name| name != "(detached)"),
        Some(("branch.upstream", name)) => status.upstream = Some(name.to_owned()),
        Some(("branch.ab", pair)) => {
            let mut numbers = pair.split(' ').map(|number| number.trim_start_matches(['+', '-']).parse().ok());
            status.ahead = numbers.next().flatten();
            status.behind = numbers.next().flatten();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "# branch.oid 1234\0# branch.head main\0# branch.upstream origin/main\0# branch.ab +2 -1\0\
        1 .M N... 100644 100644 100644 aaaa bbbb src/a b.rs\0\
        1 A. N... 000000 100644 100644 0000 bbbb new\0\
        2 R. N... 100644 100644 100644 aaaa bbbb R100 to\0from\0\
        u UU N... 100644 100644 100644 100644 a b c both\0? un tracked/\0";

    #[test]
    fn every_kind_of_entry_is_read() {
        let report = parse(PRINTED.as_bytes(), 10);
        let status = &report.status;
        assert_eq!((status.head.as_deref(), status.branch.as_deref()), (Some("1234"), Some("main")));
        assert_eq!((status.upstream.as_deref(), status.ahead, status.behind), (Some("origin/main"), Some(2), Some(1)));
        assert_eq!(status.counts, Counts { staged: 2, unstaged: 1, untracked: 1, conflicts: 1 });
        let seen: Vec<_> = report.files.iter().map(|it| (it.path.as_str(), it.staged, it.unstaged)).collect();
        let expected = [
            ("src/a b.rs", None, Some(Change::Modified)),
            ("new", Some(Change::Added), None),
            ("to", Some(Change::Renamed), None),
            ("both", None, None),
            ("un tracked/", None, Some(Change::Untracked)),
        ];
        assert_eq!(seen, expected);
        assert_eq!((report.files[2].from.as_deref(), report.files[3].conflict), (Some("from"), true));
    }

    #[test]
    fn the_list_is_bounded_and_the_counts_are_not() {
        let printed: String = (0..500).map(|n| format!("? {n}\0")).collect();
        let report = parse(printed.as_bytes(), 20);
        assert_eq!((report.files.len(), report.more, report.status.counts.untracked), (20, 480, 500));
        assert_ne!(report.status.digest, parse(b"? 0\0", 20).status.digest);
    }

    #[test]
    fn what_is_no_status_is_an_empty_one() {
        let report = parse(b"garbage\xff\0\0 1\0 2 x\x001 \0u a\0", 10);
        assert!(report.files.is_empty() && report.status.head.is_none());
        let fresh = parse(b"# branch.oid (initial)\0# branch.head (detached)\0", 10);
        assert!(fresh.status.head.is_none() && fresh.status.branch.is_none());
    }
}
