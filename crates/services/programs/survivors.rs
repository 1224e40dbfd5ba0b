//! What is remembered of process groups, so that the next start can kill those that outlived the server.
//!
//! Guarantees: a group is killed only if it is surely the one that was remembered: the machine was
//! not started anew, and its leader is the same process or is gone while its members are not (the
//! system gives no process the id of a group that has members). Where `/proc` is missing nothing is killed.
//! It is not the end of what ran in them: that is an event of its domain.

use std::{
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::table::{Family, Process, Table};

/// How long killed groups may take to be gone, in steps of [`STEP`].
const STEPS: u32 = 100;
const STEP: Duration = Duration::from_millis(20);

/// A folder with a small file for each running process group.
#[derive(Debug, Clone)]
pub(crate) struct Survivors {
    dir: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remembered {
    group: i32,
    /// When its leader started, in the kernel's ticks since the boot.
    started: u64,
    /// Which boot of the machine.
    boot: String,
}

impl Survivors {
    /// The folder `run` of the data directory, made if needed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let dir = data_dir.join("run");
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Remembers a group under a name. Blocks on a small write.
    ///
    /// # Errors
    /// The system's, also where the process has no entry in `/proc`.
    pub(crate) fn remember(&self, name: &str, group: i32) -> io::Result<()> {
        let process = Process::read(group).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let remembered = Remembered { group, started: process.started, boot: boot()? };
        let text = serde_json::to_vec(&remembered)?;
        let draft = self.dir.join(format!("{name}.tmp"));
        fs::write(&draft, text)?;
        fs::rename(draft, self.dir.join(name))
    }

    /// Forgets it. Blocks on a small write.
    pub(crate) fn forget(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.dir.join(name)).or_else(missing_is_fine) {
            tracing::warn!(%error, "a remembered process group could not be forgotten");
        }
    }

    /// Kills every remembered group that is still there and waits until it is gone. Returns how many
    /// groups were killed. What is in the folder beside them, or cannot be read, is told and passed over.
    /// Blocks for up to two seconds.
    ///
    /// # Errors
    /// `run` cannot be read.
    pub(crate) fn kill_all(&self) -> io::Result<usize> {
        let mut killed = Vec::new();
        let boot = boot().ok();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let remembered = match fs::read(&path).map(|text| serde_json::from_slice::<Remembered>(&text)) {
                Ok(Ok(remembered)) => Some(remembered),
                Ok(Err(error)) => passed_over(&path, &error),
                Err(error) => passed_over(&path, &error),
            };
            let same_boot = remembered.filter(|it| Some(&it.boot) == boot.as_ref());
            if let Some(found) = same_boot.filter(Remembered::is_there).filter(|found| found.family().kill()) {
                killed.push(found.family());
            }
            if !path.is_dir()
                && let Err(error) = fs::remove_file(&path).or_else(missing_is_fine)
            {
                tracing::warn!(path = %path.display(), %error, "what is remembered of a former life cannot be removed");
            }
        }
        for _ in 0..STEPS {
            let table = Table::read();
            if !killed.iter().any(|family| table.has(*family)) {
                break;
            }
            std::thread::sleep(STEP);
        }
        Ok(killed.len())
    }
}

impl Remembered {
    fn family(&self) -> Family {
        Family(self.group)
    }

    fn is_there(&self) -> bool {
        match Process::read(self.group) {
            Some(leader) => leader.started == self.started && leader.group == self.group,
            None => Table::read().has(self.family()),
        }
    }
}

/// Something in the folder is not the server's, or not whole: a program of it is known by its mark all the same.
fn passed_over<T>(path: &Path, why: &dyn Display) -> Option<T> {
    tracing::warn!(path = %path.display(), %why, "this is nothing that a former life of the server remembered");
    None
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::{
            fs::PermissionsExt,
            process::{CommandExt, ExitStatusExt},
        },
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A leader with a child, both of which would run for a long time.
    fn family() -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo up; wait"]).process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut up = [0; 3];
        io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut up).expect("prints");
        child
    }

    fn id(child: &Child) -> i32 {
        i32::try_from(child.id()).expect("an id")
    }

    fn there(child: &Child) -> bool {
        Table::read().has(Family(id(child)))
    }

    #[test]
    fn a_remembered_group_is_killed_with_all_its_members_and_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let survivors = Survivors::open(dir.path()).expect("opens");
        let mut child = family();
        survivors.remember("s1", id(&child)).expect("remembers");
        assert_eq!(survivors.kill_all().expect("kills"), 1);
        assert_eq!(child.wait().expect("ends").signal(), Some(9));
        assert!(!there(&child));
        assert_eq!(survivors.kill_all().expect("nothing left"), 0);
    }

    #[test]
    fn members_that_outlived_their_leader_are_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let survivors = Survivors::open(dir.path()).expect("opens");
        let mut child = family();
        survivors.remember("s1", id(&child)).expect("remembers");
        child.kill().expect("kills the leader only");
        child.wait().expect("ends");
        assert!(there(&child));
        assert_eq!(survivors.kill_all().expect("kills"), 1);
        assert!(!there(&child));
    }

    #[test]
    fn what_is_not_the_servers_is_passed_over_and_what_is_found_beside_it_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let survivors = Survivors::open(dir.path()).expect("opens");
        let run = dir.path().join("run");
        fs::create_dir_all(run.join("a-stray/one")).expect("a folder");
        std::os::unix::fs::symlink("nowhere", run.join("b-link")).expect("a link");
        fs::write(run.join("c-empty"), "").expect("writes");
        fs::write(run.join("d-unreadable"), "{}").expect("writes");
        fs::set_permissions(run.join("d-unreadable"), PermissionsExt::from_mode(0o000)).expect("closed");
        let mut child = family();
        survivors.remember("e-real", id(&child)).expect("remembers");
        assert_eq!(survivors.kill_all().expect("kills"), 1);
        assert_eq!(child.wait().expect("ends").signal(), Some(9));
        let left: Vec<_> = fs::read_dir(&run).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(left, ["a-stray"], "somebody's folder stays");
        assert!(run.join("a-stray/one").is_dir());
    }

    #[test]
    fn a_process_that_is_not_the_remembered_one_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let survivors = Survivors::open(dir.path()).expect("opens");
        let mut child = family();
        let leader = Process::read(id(&child)).expect("runs");
        let other = [
            Remembered { group: id(&child), started: leader.started + 1, boot: boot().expect("known") },
            Remembered { group: id(&child), started: leader.started, boot: "another".to_owned() },
            Remembered { group: 1, started: 0, boot: boot().expect("known") },
        ];
        for (index, remembered) in other.iter().enumerate() {
            let text = serde_json::to_vec(remembered).expect("serialises");
            fs::write(dir.path().join("run").join(format!("s{index}")), text).expect("writes");
        }
        fs::write(dir.path().join("run/odd"), "not JSON").expect("writes");
        assert_eq!(survivors.kill_all().expect("kills nothing"), 0);
        assert!(child.try_wait().expect("asks").is_none());
        assert!(Family(id(&child)).kill());
        child.wait().expect("ends");
    }
}
