//! Which server a program belongs to: a mark in its environment, of each data directory another one.
//!
//! Guarantees: the mark tells nobody where the directory is; a program keeps it whatever group or session it makes
//! for itself, unless it empties its environment. The server itself is never taken for one of its programs.
//! Where `/proc` is missing, nothing is found.
//! It is not what remembers groups: that is `survivors`.

use std::{collections::BTreeSet, fs, path::Path, process, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};

/// The variable.
pub(super) const MARK: &str = "SERVER_MARK";

/// How often processes are looked for until none is left. Each look finds what was forked since the one before.
const LOOKS: u32 = 10;
/// How long those that were killed have until the next look.
const PAUSE: Duration = Duration::from_millis(20);

/// The mark of a data directory's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark(String);

/// What the environment of a process says of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// It carries this mark.
    This,
    /// It carries another one.
    Another,
    /// It carries none, or may not be read.
    Nothing,
}

impl Mark {
    /// The mark of a directory, by its whole path.
    pub(crate) fn of(data_dir: &Path) -> Self {
        let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
        Self(digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The variable's value.
    pub(crate) fn value(&self) -> &str {
        &self.0
    }

    /// What a process says. Blocks on a small read.
    pub(crate) fn in_process(&self, id: i32) -> Says {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let variables = environment.split(|byte| *byte == 0);
        let mut marks = variables.filter_map(|it| it.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")).peekable();
        if marks.peek().is_none() {
            return Says::Nothing;
        }
        if marks.any(|mark| mark == self.0.as_bytes()) { Says::This } else { Says::Another }
    }

    /// Ends every process that carries it: asks it to, and kills what is left after `moment`. How many were found.
    /// Blocks for up to `moment` and some tenths of a second.
    pub(crate) fn end_all(&self, moment: Duration) -> usize {
        let found = self.carriers();
        for process in found.iter().copied().filter_map(Pid::from_raw) {
            for signal in [Signal::TERM, Signal::CONT] {
                if let Err(error) = kill_process(process, signal) {
                    tracing::trace!(?process, %error, "a process is gone already, which is what is wanted");
                }
            }
        }
        let mut waited = Duration::ZERO;
        while waited < moment && !self.carriers().is_empty() {
            thread::sleep(PAUSE);
            waited += PAUSE;
        }
        found.len().max(self.kill_all())
    }

    /// Kills every process that carries it, and what it forks meanwhile. How many were found.
    /// Blocks for up to some tenths of a second.
    pub(crate) fn kill_all(&self) -> usize {
        let mut killed = BTreeSet::new();
        for _ in 0..LOOKS {
            let found = self.carriers();
            if found.is_empty() {
                break;
            }
            for process in found.iter().copied().filter_map(Pid::from_raw) {
                if let Err(error) = kill_process(process, Signal::KILL) {
                    tracing::trace!(?process, %error, "a process is gone already, which is what is wanted");
                }
            }
            killed.extend(found);
            thread::sleep(PAUSE);
        }
        killed.len()
    }

    /// The processes that carry it, as far as the server may look.
    fn carriers(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        // A server that a program of its own former life has started carries the mark, too.
        let others = ids.filter(|id| *id > 1 && u32::try_from(*id) != Ok(process::id()));
        others.filter(|id| self.in_process(*id) == Says::This).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        os::unix::process::ExitStatusExt,
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// Runs with this environment when it returns.
    fn runs(variables: &[(&str, &str)]) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo up; read line"]).env_clear().envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        child.stdout.as_mut().expect("piped").read_exact(&mut [0; 3]).expect("prints");
        child
    }

    fn id(child: &Child) -> i32 {
        i32::try_from(child.id()).expect("an id")
    }

    #[test]
    fn a_process_is_known_by_this_mark_another_or_none_and_only_this_one_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mark, other) = (Mark::of(dir.path()), Mark::of(&dir.path().join("copy")));
        let mut own = runs(&[("A", "b"), (MARK, mark.value())]);
        let mut others = [
            (runs(&[(MARK, other.value())]), Says::Another),
            (runs(&[(MARK, &format!("{}0", mark.value()))]), Says::Another),
            (runs(&[("SERVER_MARKS", mark.value())]), Says::Nothing),
            (runs(&[]), Says::Nothing),
        ];
        assert_eq!(mark.in_process(id(&own)), Says::This);
        for (child, says) in &others {
            assert_eq!(mark.in_process(id(child)), *says);
        }
        assert_eq!(mark.kill_all(), 1);
        assert_eq!(own.wait().expect("ends").signal(), Some(9));
        for (child, _) in &mut others {
            assert!(child.try_wait().expect("asks").is_none());
            child.kill().expect("is killed");
            child.wait().expect("ends");
        }
        assert_eq!(mark.kill_all(), 0);
        let mut asked = runs(&[(MARK, mark.value())]);
        assert_eq!(mark.end_all(Duration::from_secs(60)), 1);
        assert_eq!(asked.wait().expect("ends").signal(), Some(15));
        assert_eq!(mark.end_all(Duration::from_secs(60)), 0);
    }
}
