//! What is in a file, and what is in a folder.
//!
//! Guarantees: an answer is bounded, whatever the size of what is read; a text is cut between characters, and what is
//! no text is marked and comes as base64.
//! It blocks: it is run where that is allowed.

use std::{
    collections::BTreeSet,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{Result, Timestamp};

use crate::beneath::{Links, refusal, root};

/// The longest character, in bytes.
const CHARACTER: usize = 4;

/// A part of a file.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilePart {
    /// The path, as it was asked for.
    pub path: String,
    /// Of the whole file, in bytes.
    pub size: u64,
    /// When it was modified last.
    pub modified_at: Timestamp,
    /// Where the part begins.
    pub offset: u64,
    /// The offset of the next part; none at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Whether it is no text.
    pub binary: bool,
    /// `utf8` or `base64`.
    pub encoding: &'static str,
    /// The part, as `encoding` says.
    pub content: String,
}

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link, wherever it leads.
    Symlink,
    /// A pipe, a socket or a device.
    Other,
}

/// An entry of a folder.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FolderEntry")]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// In bytes.
    pub size: u64,
    /// When it was modified last.
    pub modified_at: Timestamp,
}

/// A part of a folder.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Folder {
    /// The path, as it was asked for.
    pub path: String,
    /// By name.
    pub entries: Vec<Entry>,
    /// The `after` of the next part; none at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Reads at most `length` bytes of a file.
///
/// # Errors
/// `not_found`; `invalid_data` for what is no file of the project; `unavailable`.
pub(super) fn file(project: &Path, path: String, offset: u64, length: usize) -> Result<FilePart> {
    let mut file = root(project)?.file(&path, Links::Inside).map_err(|error| refusal(&error))?;
    let mut read = || -> io::Result<_> {
        let facts = file.metadata()?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))?;
        (&mut file).take(length as u64).read_to_end(&mut bytes)?;
        Ok((facts, bytes))
    };
    let (facts, mut bytes) = read().map_err(|error| refusal(&error))?;
    let size = facts.len();
    let is_last = offset + bytes.len() as u64 >= size;
    let text = text_length(&bytes, is_last);
    if let Some(length) = text {
        bytes.truncate(length);
    }
    let next = offset + bytes.len() as u64;
    let next = Some(next).filter(|next| *next < size && *next > offset);
    let (encoding, content) = match (text, String::from_utf8(bytes)) {
        (Some(_), Ok(text)) => ("utf8", text),
        (_, Ok(text)) => ("base64", STANDARD.encode(text)),
        (_, Err(error)) => ("base64", STANDARD.encode(error.into_bytes())),
    };
    let modified_at = moment(MetadataExt::mtime(&facts));
    Ok(FilePart { path, size, modified_at, offset, next, binary: encoding == "base64", encoding, content })
}

/// How much of a part is text; none if it is no text. At its end a character may be cut.
fn text_length(bytes: &[u8], is_last: bool) -> Option<usize> {
    if bytes.contains(&0) {
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.len()),
        Err(error) => {
            let whole = error.valid_up_to();
            let is_cut = error.error_len().is_none() && bytes.len() - whole < CHARACTER && whole > 0;
            (is_cut && !is_last).then_some(whole)
        }
    }
}

/// Lists at most `most` entries of a folder, by name, from the first after `after`.
///
/// # Errors
/// As [`file`].
pub(super) fn folder(project: &Path, path: String, after: Option<&str>, most: usize) -> Result<Folder> {
    let folder = root(project)?.directory(&path, Links::Inside).map_err(|error| refusal(&error))?;
    let list = || -> io::Result<_> {
        let mut names = BTreeSet::new();
        for entry in Dir::read_from(&folder)? {
            let name = entry?.file_name().to_owned();
            let is_wanted = after.is_none_or(|after| name.to_bytes() > after.as_bytes());
            if !is_wanted || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            names.insert(name);
            if names.len() > most + 1 {
                names.pop_last();
            }
        }
        Ok(names)
    };
    let names: BTreeSet<std::ffi::CString> = list().map_err(|error| refusal(&error))?;
    let more = names.len() > most;
    let entry = |name: std::ffi::CString| {
        // What is gone meanwhile is no entry any more.
        let facts = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(entry(name.to_string_lossy().into_owned(), &facts))
    };
    let names: Vec<_> = names.into_iter().take(most).collect();
    let cursor = names.last().filter(|_| more).map(|name| name.to_string_lossy().into_owned());
    Ok(Folder { path, entries: names.into_iter().filter_map(entry).collect(), cursor })
}

fn entry(name: String, facts: &Stat) -> Entry {
    let kind = match FileType::from_raw_mode(facts.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    let size = u64::try_from(facts.st_size).unwrap_or(0);
    Entry { name, kind, size, modified_at: moment(facts.st_mtime) }
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp(seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a directory");
        files.iter().for_each(|(name, bytes)| std::fs::write(home.path().join(name), bytes).expect("writes"));
        home
    }

    #[test]
    fn a_text_is_read_in_parts_that_end_between_characters() {
        let whole = "a€b🦀c";
        let home = home(&[("t", whole.as_bytes())]);
        let (mut offset, mut read) = (Some(0), String::new());
        while let Some(at) = offset {
            let part = file(home.path(), "t".to_owned(), at, 5).expect("reads");
            assert_eq!((part.binary, part.size), (false, whole.len() as u64));
            read.push_str(&part.content);
            offset = part.next;
        }
        assert_eq!(read, whole);
        let beyond = file(home.path(), "t".to_owned(), 1000, 5).expect("reads");
        assert_eq!((beyond.content.as_str(), beyond.next), ("", None));
    }

    #[test]
    fn what_is_no_text_is_marked_and_comes_whole() {
        for bytes in [&b"a\0b"[..], &[0xff, 0xfe, 0x41], &[0x41, 0xe2, 0x82]] {
            let home = home(&[("b", bytes)]);
            let part = file(home.path(), "b".to_owned(), 0, 100).expect("reads");
            assert!(part.binary && part.encoding == "base64", "{bytes:?}");
            assert_eq!(STANDARD.decode(part.content).expect("base64"), bytes);
        }
    }

    #[test]
    fn a_folder_is_listed_by_name_in_parts() {
        let home = home(&[("c", b"123"), ("a", b""), ("b", b""), ("d", b"")]);
        std::fs::create_dir(home.path().join("f")).expect("makes");
        std::os::unix::fs::symlink("/etc", home.path().join("e")).expect("links");
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let part = folder(home.path(), ".".to_owned(), after.as_deref(), 4).expect("lists");
            seen.extend(part.entries.into_iter().map(|entry| (entry.name, entry.kind, entry.size)));
            after = part.cursor;
            if after.is_none() {
                break;
            }
        }
        let names: Vec<_> = seen.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
        assert_eq!((seen[2].2, seen[4].1, seen[5].1), (3, EntryKind::Symlink, EntryKind::Directory));
    }
}
