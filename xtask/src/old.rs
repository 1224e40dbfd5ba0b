//! `cargo xtask old-directory`: a data directory of this version, kept for the tests of the next ones.
//!
//! Guarantees: it is made by the server of this workspace, and checked before it counts; one that is there
//! already is not touched.
//! It makes none itself: a test in `tests/it/directory` does.

use crate::step::{self, Outcome};

/// The test that makes it, and holds a start of the same server against it.
const TEST: &str = "directory::a_directory_that_a_killed_server_of_this_version_leaves_is_brought_along_whole";

/// Which version it is of.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The name of its folder in `tests/data`, as in v0.2.0.
    name: String,
}

/// Makes it.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let folder = step::workspace().join("tests/data").join(&arguments.name);
    if folder.join("directory.tar.gz").exists() {
        return Err(format!("{} is there: what a released version left is never changed", folder.display()));
    }
    let mut test = step::cargo(&["test", "--package", "tidings", "--test", "it", "--", "--exact", TEST]);
    step::run(test.env("MADE_DIRECTORY", &folder))?;
    println!("{}: say in a README.md what is in it, and add a test that starts on it", folder.display());
    Ok(())
}
