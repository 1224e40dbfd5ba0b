//! What is wrong with a database file that had something and has it no more, as an operator is told.
//!
//! Guarantees: each text names the file, what it had, and the two ways on: a back-up, or to begin anew.
//! It is not the finding of it: whoever opens a file looks.

use std::path::{Path, PathBuf};

/// A database file that is not what it was. `had` says what was in it, in the plural, such as `messages`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file is there, and nothing is in it.
    #[error(
        "{} is empty: it had {had} and is damaged. Restore it from a back-up; to begin anew without its {had}, \
         remove it together with what is named like it",
        file.display()
    )]
    Empty {
        /// The file.
        file: PathBuf,
        /// What it had.
        had: &'static str,
    },
    /// The file is gone, and something beside it tells of what it had.
    #[error(
        "{} is not there, but {} is, which tells of its {had}: restore it from a back-up; to begin anew without its \
         {had}, remove what is named like it",
        file.display(),
        beside.display()
    )]
    Missing {
        /// The file.
        file: PathBuf,
        /// What is beside it.
        beside: PathBuf,
        /// What it had.
        had: &'static str,
    },
    /// The file is whole, but none of what it had is in it, of which something beside it tells.
    #[error(
        "{} has no {had}, but {} is there, which tells of some: what was written last is lost, as when the file \
         that ends in -wal is removed after a kill. Restore it from a back-up; to begin anew without its {had}, \
         remove it together with what is named like it",
        file.display(),
        beside.display()
    )]
    Lost {
        /// The file.
        file: PathBuf,
        /// What is beside it.
        beside: PathBuf,
        /// What it had.
        had: &'static str,
    },
}

/// What is named like a file, with this at its end.
#[must_use]
pub fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_names_the_files_and_both_ways_on() {
        let (file, had) = (PathBuf::from("/data/users.db"), "users");
        let mark = beside(&file, "-wal");
        let all = [
            Damage::Empty { file: file.clone(), had },
            Damage::Missing { file: file.clone(), beside: mark.clone(), had },
            Damage::Lost { file, beside: mark, had },
        ];
        for damage in &all {
            let text = damage.to_string();
            for part in ["/data/users.db", "users", "back-up", "to begin anew", "remove"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert_eq!(text.contains("/data/users.db-wal"), !matches!(damage, Damage::Empty { .. }), "{text}");
        }
    }
}
