//! What is remembered of process groups, so that the next start can end those that outlived the server.
//!
//! Guarantees: a group is asked to end, and killed a moment later, only if it is surely the one that was remembered, by
//! the server of this very directory: the machine was not started anew; its leader is the same process or is gone while
//! its members are not; and a process of it carries this server's mark. Where none carries any, or may be looked at, the leader
//! must be the same and remembered under this mark. So a copy of a directory ends nothing of the original's.
//! Only small regular files are read. Where `/proc` is missing nothing is killed.
//! It is not the end of what ran in them: that is an event of its domain.

use std::{
    fmt::Display,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings_core::own_file;

use super::{
    mark::{Mark, Says},
    table::{Family, Process, Table},
};

/// How long killed groups may take to be gone, in steps of [`STEP`].
const STEPS: u32 = 100;
const STEP: Duration = Duration::from_millis(20);

/// What is larger than this, in bytes, was not written here: a group takes about a hundred.
const LARGEST: u64 = 4096;

/// A folder with a small file for each running process group.
#[derive(Debug, Clone)]
pub(crate) struct Survivors {
    dir: PathBuf,
    mark: Mark,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remembered {
    group: i32,
    /// When its leader started, in the kernel's ticks since the boot.
    started: u64,
    /// Which boot of the machine.
    boot: String,
    /// The mark of the server that remembered it. Former versions wrote none.
    #[serde(default)]
    mark: Option<String>,
}

impl Survivors {
    /// The folder `run` of the data directory, made if needed and the owner's alone, and the mark of its server.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(data_dir: &Path, mark: Mark) -> io::Result<Self> {
        let dir = data_dir.join("run");
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        own_file::facts(&dir)?;
        // What is said here is killed by the next start; former versions left the mode to the umask.
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        Ok(Self { dir, mark })
    }

    /// Remembers a group under a name. Blocks on a small write.
    ///
    /// # Errors
    /// The system's, also where the process has no entry in `/proc`.
    pub(crate) fn remember(&self, name: &str, group: i32) -> io::Result<()> {
        let process = Process::read(group).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mark = Some(self.mark.value().to_owned());
        let remembered = Remembered { group, started: process.started, boot: boot()?, mark };
        let text = serde_json::to_vec(&remembered)?;
        let draft = self.dir.join(format!("{name}.tmp"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        own_file::open(&draft, &mut options)?.write_all(&text)?;
        fs::rename(draft, self.dir.join(name))
    }

    /// Forgets it. Blocks on a small write.
    pub(crate) fn forget(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.dir.join(name)).or_else(missing_is_fine) {
            tracing::warn!(%error, "a remembered process group could not be forgotten");
        }
    }

    /// Ends every remembered group that is still there: asks it to, and kills what is left of it after `moment`, so
    /// that a program can put away what it would leave behind. Waits until all are gone. Returns how many groups there
    /// were. What is in the folder beside them, or cannot be read, is told and passed over; only small regular files
    /// are removed. Blocks for up to `moment` and two seconds.
    ///
    /// # Errors
    /// `run` cannot be read.
    pub(crate) fn end_all(&self, moment: Duration) -> io::Result<usize> {
        let (mut files, mut found) = (Vec::new(), Vec::new());
        let boot = boot().ok();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if let Err(why) = is_small_file(&path) {
                tell(&path, &why);
                continue;
            }
            let remembered = read(&path).inspect_err(|error| tell(&path, error)).ok();
            let same_boot = remembered.filter(|it| Some(&it.boot) == boot.as_ref());
            let mine = same_boot.filter(|it| self.is_mine(it)).map(|mine| mine.family());
            found.extend(mine.filter(|family| family.ask_to_end()));
            files.push(path);
        }
        until_gone(&found, moment);
        for family in &found {
            family.kill();
        }
        until_gone(&found, STEP * STEPS);
        for path in files {
            if let Err(error) = fs::remove_file(&path).or_else(missing_is_fine) {
                tracing::warn!(path = %path.display(), %error, "what is remembered of a former life cannot be removed");
            }
        }
        Ok(found.len())
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// Whether a group is there, is the remembered one, and is of this directory's server.
    fn is_mine(&self, remembered: &Remembered) -> bool {
        let leader = Process::read(remembered.group);
        let same = leader.is_some_and(|it| it.started == remembered.started && it.group == remembered.group);
        if leader.is_some() && !same {
            return false;
        }
        let says: Vec<Says> = Table::read().members(remembered.family()).map(|id| self.mark.in_process(id)).collect();
        // A program may have emptied its environment, or run as somebody whose environment is not shown.
        let by_its_entry = || same && remembered.mark.as_deref() == Some(self.mark.value());
        says.contains(&Says::This) || (!says.contains(&Says::Another) && by_its_entry())
    }
}

impl Remembered {
    fn family(&self) -> Family {
        Family(self.group)
    }
}

/// Waits until nothing of these is left, for so long at most.
fn until_gone(families: &[Family], most: Duration) {
    let mut waited = Duration::ZERO;
    while waited < most {
        let table = Table::read();
        if !families.iter().any(|family| table.has(*family)) {
            return;
        }
        thread::sleep(STEP);
        waited += STEP;
    }
}

/// What a file remembers, of which no more is read than may be there.
fn read(path: &Path) -> io::Result<Remembered> {
    let mut text = Vec::new();
    own_file::open(path, OpenOptions::new().read(true))?.take(LARGEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Whether it may be opened: a pipe would wait for a writer, and a device or a link be anything.
fn is_small_file(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > LARGEST {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(())
}

/// Something in the folder is not the server's, or not whole: a program of it is known by its mark all the same.
fn tell(path: &Path, why: &dyn Display) {
    tracing::warn!(path = %path.display(), %why, "this is nothing that a former life of the server remembered");
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

    use super::{super::mark::MARK, *};

    /// Longer than what is asked to end needs.
    const MOMENT: Duration = Duration::from_secs(60);

    /// The folder of a data directory.
    fn survivors(data_dir: &Path) -> Survivors {
        Survivors::open(data_dir, Mark::of(data_dir)).expect("opens")
    }

    /// A leader with a child, both of which would run for a long time, with a mark or without.
    fn family(mark: Option<&Mark>) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo up; wait"]).process_group(0).stdout(Stdio::piped());
        command.env_remove(MARK).envs(mark.map(|mark| (MARK, mark.value())));
        let mut child = command.spawn().expect("starts");
        let mut up = [0; 3];
        io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut up).expect("prints");
        child
    }

    /// Ends what a test has shown to run.
    fn runs_until_now(mut child: Child) {
        assert!(child.try_wait().expect("asks").is_none(), "it was left alone");
        assert!(Family(id(&child)).kill());
        child.wait().expect("ends");
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
        let survivors = survivors(dir.path());
        let mut child = family(Some(&survivors.mark));
        survivors.remember("s1", id(&child)).expect("remembers");
        assert_eq!(survivors.end_all(MOMENT).expect("kills"), 1);
        assert_eq!(child.wait().expect("ends").signal(), Some(15));
        assert!(!there(&child));
        assert_eq!(survivors.end_all(MOMENT).expect("nothing left"), 0);
    }

    #[test]
    fn what_does_not_end_when_it_is_asked_to_is_killed_a_moment_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let survivors = survivors(dir.path());
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo up; while :; do sleep 600; done"]).process_group(0);
        let mut child = command.env(MARK, survivors.mark.value()).stdout(Stdio::piped()).spawn().expect("starts");
        io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut [0; 3]).expect("prints");
        survivors.remember("s1", id(&child)).expect("remembers");
        assert_eq!(survivors.end_all(Duration::from_millis(50)).expect("ends"), 1);
        assert_eq!(child.wait().expect("ends").signal(), Some(9));
    }

    #[test]
    fn members_that_outlived_their_leader_are_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let survivors = survivors(dir.path());
        let mut child = family(Some(&survivors.mark));
        survivors.remember("s1", id(&child)).expect("remembers");
        child.kill().expect("kills the leader only");
        child.wait().expect("ends");
        assert!(there(&child));
        assert_eq!(survivors.end_all(MOMENT).expect("kills"), 1);
        assert!(!there(&child));
    }

    #[test]
    fn what_is_not_the_servers_is_passed_over_and_what_is_found_beside_it_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let survivors = survivors(dir.path());
        let run = dir.path().join("run");
        fs::create_dir_all(run.join("a-stray/one")).expect("a folder");
        std::os::unix::fs::symlink("nowhere", run.join("b-link")).expect("a link");
        fs::write(run.join("c-empty"), "").expect("writes");
        fs::write(run.join("d-unreadable"), "{}").expect("writes");
        fs::set_permissions(run.join("d-unreadable"), PermissionsExt::from_mode(0o000)).expect("closed");
        let mut child = family(Some(&survivors.mark));
        survivors.remember("e-real", id(&child)).expect("remembers");
        assert_eq!(survivors.end_all(MOMENT).expect("kills"), 1);
        assert_eq!(child.wait().expect("ends").signal(), Some(15));
        let mut left: Vec<_> = fs::read_dir(&run).expect("a folder").map(|it| it.expect("one").file_name()).collect();
        left.sort();
        assert_eq!(left, ["a-stray", "b-link"], "what is somebody's stays");
        assert!(run.join("a-stray/one").is_dir());
    }

    #[test]
    fn a_process_that_is_not_the_remembered_one_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let survivors = survivors(dir.path());
        let child = family(Some(&survivors.mark));
        let leader = Process::read(id(&child)).expect("runs");
        let mark = || Some(survivors.mark.value().to_owned());
        let other = [
            Remembered { group: id(&child), started: leader.started + 1, boot: boot().expect("known"), mark: mark() },
            Remembered { group: id(&child), started: leader.started, boot: "another".to_owned(), mark: mark() },
            Remembered { group: 1, started: 0, boot: boot().expect("known"), mark: mark() },
        ];
        for (index, remembered) in other.iter().enumerate() {
            let text = serde_json::to_vec(remembered).expect("serialises");
            fs::write(dir.path().join("run").join(format!("s{index}")), text).expect("writes");
        }
        fs::write(dir.path().join("run/odd"), "not JSON").expect("writes");
        assert_eq!(survivors.end_all(MOMENT).expect("kills nothing"), 0);
        runs_until_now(child);
    }

    /// What a former version wrote: without a mark.
    fn as_formerly(run: &Path, name: &str) {
        let text = fs::read(run.join(name)).expect("reads");
        let mut remembered: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        remembered.as_object_mut().and_then(|it| it.remove("mark")).expect("a mark");
        fs::write(run.join(name), remembered.to_string()).expect("writes");
    }

    #[test]
    fn a_copy_of_the_folder_ends_nothing_of_the_original_whatever_its_programs_carry() {
        let (dir, copy) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (original, copied) = (survivors(dir.path()), survivors(copy.path()));
        let names = ["marked", "unmarked", "formerly-marked", "formerly-unmarked"];
        let children = names.map(|name| {
            let child = family((!name.contains("unmarked")).then_some(&original.mark));
            original.remember(name, id(&child)).expect("remembers");
            if name.starts_with("formerly") {
                as_formerly(&original.dir, name);
            }
            fs::copy(original.dir.join(name), copied.dir.join(name)).expect("copies");
            child
        });
        assert_eq!(copied.end_all(MOMENT).expect("kills nothing"), 0);
        assert_eq!(fs::read_dir(&copied.dir).expect("a folder").count(), 0, "none of it is the copy's");
        assert!(children.iter().all(there));
        // The original's next start ends all but the one that nothing ties to it.
        assert_eq!(original.end_all(MOMENT).expect("kills"), 3);
        for (name, mut child) in names.into_iter().zip(children) {
            if name == "formerly-unmarked" {
                runs_until_now(child);
            } else {
                assert_eq!(child.wait().expect("ends").signal(), Some(15), "{name}");
            }
        }
    }

    #[test]
    fn another_servers_program_is_left_alone_also_where_an_entry_names_its_group() {
        let (dir, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let survivors = survivors(dir.path());
        let child = family(Some(&Mark::of(other.path())));
        survivors.remember("s1", id(&child)).expect("remembers");
        assert_eq!(survivors.end_all(MOMENT).expect("kills nothing"), 0);
        runs_until_now(child);
    }

    #[test]
    fn pipes_devices_links_sockets_and_large_files_are_not_opened_and_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let survivors = survivors(dir.path());
        let run = &survivors.dir;
        let made = Command::new("mkfifo").arg(run.join("a-pipe")).status().expect("runs");
        assert!(made.success());
        std::os::unix::fs::symlink("/dev/zero", run.join("b-device")).expect("a link");
        std::os::unix::fs::symlink("a-pipe", run.join("c-link")).expect("a link");
        fs::File::create(run.join("d-large")).and_then(|file| file.set_len(1 << 40)).expect("a file with a hole");
        let socket = std::os::unix::net::UnixListener::bind(run.join("e-socket")).expect("a socket");
        let mut child = family(Some(&survivors.mark));
        survivors.remember("f-real", id(&child)).expect("remembers");
        assert_eq!(survivors.end_all(MOMENT).expect("kills"), 1);
        assert_eq!(child.wait().expect("ends").signal(), Some(15));
        drop(socket);
        let mut left: Vec<_> = fs::read_dir(run).expect("a folder").map(|it| it.expect("one").file_name()).collect();
        left.sort();
        assert_eq!(left, ["a-pipe", "b-device", "c-link", "d-large", "e-socket"]);
    }
}
