//! The system's list of processes: what belongs together, and the end of all of it.
//!
//! Guarantees: only living processes count; a name of any characters is read right. Where `/proc` is
//! missing, nothing is found.
//! It is not a judge of whether a process is the one that was meant: that is the callers'.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often the processes of a family are looked for until none is left. Each look finds what was
/// forked since the one before.
const LOOKS: u32 = 10;

/// The processes of a group and, where its leader leads a session as in a terminal, of that session:
/// the jobs of a shell are groups of their own in it. By the leader's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Family(pub(crate) i32);

impl Family {
    /// Asks all of it that is there now to end, also what stands still. Says whether anything was.
    pub(crate) fn ask_to_end(self) -> bool {
        let Some(leader) = Some(self.0).filter(|id| *id > 1).and_then(Pid::from_raw) else { return false };
        let jobs = Table::read().session(self.0);
        let mut found = !jobs.is_empty();
        for signal in [Signal::TERM, Signal::CONT] {
            found |= kill_process_group(leader, signal).is_ok();
            for job in jobs.iter().copied().filter_map(Pid::from_raw) {
                if let Err(error) = kill_process(job, signal) {
                    tracing::trace!(?job, %error, "a process is gone already, which is what is wanted");
                }
            }
        }
        found
    }

    /// Kills all of it that is there now. Says whether anything was.
    pub(crate) fn kill(self) -> bool {
        let Some(leader) = Some(self.0).filter(|id| *id > 1).and_then(Pid::from_raw) else { return false };
        let mut found = kill_process_group(leader, Signal::KILL).is_ok();
        for _ in 0..LOOKS {
            let jobs = Table::read().session(self.0);
            if jobs.is_empty() {
                break;
            }
            found = true;
            for job in jobs.into_iter().filter_map(Pid::from_raw) {
                if let Err(error) = kill_process(job, Signal::KILL) {
                    tracing::trace!(?job, %error, "a process is gone already, which is what is wanted");
                }
            }
        }
        found
    }
}

/// What `/proc` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    id: i32,
    state: char,
    /// Its group.
    pub(crate) group: i32,
    session: i32,
    /// When it started, in the kernel's ticks since the boot.
    pub(crate) started: u64,
}

impl Process {
    /// The process of an id; none if it is gone.
    pub(crate) fn read(id: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// The line's second field is the program's name in parentheses and may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (front, back) = stat.rsplit_once(')')?;
        let id = front.split_once(' ')?.0.parse().ok()?;
        let mut fields = back.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let started = fields.nth(15)?.parse().ok()?;
        Some(Self { id, state, group, session, started })
    }
}

/// The living processes of one moment.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Process>);

impl Table {
    /// Reads it. Blocks on small reads, one for each process of the system.
    pub(crate) fn read() -> Self {
        let Ok(entries) = fs::read_dir("/proc") else { return Self::default() };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        Self(ids.filter_map(Process::read).filter(|process| !matches!(process.state, 'Z' | 'X')).collect())
    }

    /// Whether anything of a family lives.
    pub(crate) fn has(&self, family: Family) -> bool {
        self.members(family).next().is_some()
    }

    /// The ids of what lives of a family.
    pub(crate) fn members(&self, Family(leader): Family) -> impl Iterator<Item = i32> {
        let members = self.0.iter().filter(move |process| process.group == leader || process.session == leader);
        members.map(|process| process.id)
    }

    fn session(&self, leader: i32) -> Vec<i32> {
        self.0.iter().filter(|process| process.session == leader).map(|process| process.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_whose_name_looks_like_fields_is_read_right() {
        let stat = "42 (a) b (c)) S 1 40 39 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 777 9";
        let process = Process { id: 42, state: 'S', group: 40, session: 39, started: 777 };
        assert_eq!(Process::parse(stat), Some(process));
        assert_eq!(Process::parse("42 (a) S"), None);
    }
}
