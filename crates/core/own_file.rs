//! Files that are the server's own, in its data directory.
//!
//! Guarantees: a symbolic link in the place of one is not followed, whoever put it there: what it leads to is neither
//! read nor changed, and the error says what to do.
//! It is not a judgement of the directory, which may well be behind a link, nor of what is in a file.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::{fs::OFlags, io::Errno};

/// Opens a file, but no link.
///
/// # Errors
/// The system's; one that says so for a link.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let opened = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path);
    opened.map_err(|error| if Errno::from_io_error(&error) == Some(Errno::LOOP) { is_a_link() } else { error })
}

/// What the system says of a file, but of no link: for files that another library opens.
///
/// # Errors
/// As [`open`].
pub fn facts(path: &Path) -> io::Result<Metadata> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() { Err(is_a_link()) } else { Ok(found) }
}

fn is_a_link() -> io::Error {
    io::Error::other(
        "is a symbolic link, which the server does not follow in its data directory: put the file itself there, or \
         let data_dir name the directory that it is in",
    )
}
