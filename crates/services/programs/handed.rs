//! Variables that somebody chose, on their way past a wrapper to the program inside (docs/decisions/0016).
//!
//! Guarantees: the wrapper, which is the server's and may be all that separates programs from it, sees neither their
//! names nor their values, and no list of processes does: they stand in a file of the memory, which the program's side
//! inherits. A program that cannot get them does not run.
//! It is not a judge of names: those are letters, digits and `_` wherever they come in.

use std::{
    fs::File,
    io::{self, Seek, Write},
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::fs::{MemfdFlags, memfd_create};

use super::environment::Environment;

/// The shell inside the wrapper.
const SHELL: &str = "/bin/sh";

/// It takes the variables, and puts the program in its place. A file that it cannot read ends it.
const SCRIPT: &str = r#". "$1"; shift; exec "$@""#;

/// Makes the file: what it is named to the program's side, and what that has to inherit.
///
/// # Errors
/// The system's; a value with a NUL, which no environment can hold.
pub(super) fn hand_over(chosen: &Environment) -> io::Result<(Vec<String>, OwnedFd)> {
    let mut text = String::new();
    for (name, value) in chosen.iter() {
        if value.contains('\0') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a variable holds a NUL"));
        }
        // Between single quotes a shell reads everything as it is.
        text.extend(["export ", name, "='", &value.replace('\'', r"'\''"), "'\n"]);
    }
    let mut file = File::from(memfd_create("variables", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    let name = format!("/dev/fd/{}", file.as_raw_fd());
    Ok(([SHELL, "-c", SCRIPT, "sh", &name].map(str::to_owned).to_vec(), file.into()))
}
