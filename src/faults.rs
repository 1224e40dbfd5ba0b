//! Faults on demand, from a file: how a test or the chaos run makes a part of a running server panic.
//!
//! Guarantees: a build that has no faults reads no such file, whatever its environment says.
//! It is not what happens at a point: see `tidings_core::fault`, which also says how a line reads.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tidings_core::fault;

/// The variable that names the file. What is appended to it while the server runs is armed at once.
const VARIABLE: &str = "SERVER_FAULTS";
/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Arms what the file says now, and from then on whatever is appended to it.
pub(crate) fn follow(variables: &[(String, String)]) {
    let named = variables.iter().find(|(name, _)| name == VARIABLE).filter(|_| fault::COMPILED);
    let Some((_, path)) = named else { return };
    let path = PathBuf::from(path);
    tracing::warn!(file = %path.display(), "faults are armed by a file: this server is for tests");
    let Some(mut lines) = open(&path) else { return };
    arm_all(&mut lines);
    let followed = thread::Builder::new().name("tidings-faults".to_owned()).spawn(move || {
        loop {
            thread::sleep(LOOK);
            arm_all(&mut lines);
        }
    });
    if let Err(error) = followed {
        tracing::error!(%error, "the file of faults is not followed");
    }
}

fn open(path: &Path) -> Option<BufReader<File>> {
    let opened = File::open(path).inspect_err(|error| tracing::error!(%error, "the file of faults cannot be opened"));
    opened.ok().map(BufReader::new)
}

fn arm_all(lines: &mut BufReader<File>) {
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
        match fault::arm(line.trim()) {
            true => tracing::warn!(fault = line.trim(), "a fault is armed"),
            false => tracing::error!(fault = line.trim(), "a fault that is not understood"),
        }
        line.clear();
    }
}
