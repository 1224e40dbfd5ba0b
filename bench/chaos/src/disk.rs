//! Disks that are small, full or busy.
//!
//! Guarantees: mounts are seen by this process and its servers only, and are gone with it; what keeps the
//! disk busy or full ends when it is dropped.
//! It damages no file: see `faults::damage`.

use std::{
    fs::{self, File},
    io::{Seek, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Starts this program anew with mounts of its own, in place of this process. Returns only if that is not
/// possible: then it goes on without, and what needs mounts is skipped.
#[must_use]
pub fn with_own_mounts() -> Option<ExitCode> {
    let own = std::env::current_exe().ok()?;
    let kinds: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
    let kind = kinds.into_iter().find(|kind| {
        Command::new("unshare").args(*kind).arg("true").output().is_ok_and(|output| output.status.success())
    })?;
    let mut command = Command::new("unshare");
    command.args(kind).arg("--").arg(own).args(std::env::args_os().skip(1)).arg("--own-mounts");
    // It comes back only with an error.
    drop(command.exec());
    None
}

/// Between two looks at whether there is room on a full disk.
const GREED: Duration = Duration::from_millis(5);
/// What is written at once.
const CHUNK: usize = 1 << 20;

/// A small disk.
#[derive(Debug)]
pub struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB.
    ///
    /// # Errors
    /// If this process may not.
    pub fn mount(place: PathBuf, mib: usize) -> Result<Self, String> {
        fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tidings-chaos"]).arg(&place);
        let output = command.output().map_err(|error| format!("mount: {error}"))?;
        let disk = Self { place };
        if output.status.success() {
            return Ok(disk);
        }
        Err(format!("no small disk: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Where it was not mounted there is nothing to unmount; it is gone with this process at the latest.
        Command::new("umount").arg(&self.place).output().ok();
        fs::remove_dir(&self.place).ok();
    }
}

/// Work on a disk, on threads of its own.
#[derive(Debug)]
struct Work {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Work {
    fn start(count: usize, work: impl Fn(usize, &AtomicBool) + Clone + Send + 'static) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let threads = (0..count).map(|index| {
            let (stop, work) = (stop.clone(), work.clone());
            thread::spawn(move || work(index, &stop))
        });
        let threads = threads.collect();
        Self { stop, threads }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended too.
            thread.join().ok();
        }
    }
}

/// Somebody who takes all room that there is on a disk, as soon as there is some.
#[derive(Debug)]
pub struct Greed {
    file: PathBuf,
    work: Option<Work>,
}

impl Greed {
    /// Begins; from then on until it is dropped the disk is full.
    #[must_use]
    pub fn begin(folder: &Path) -> Self {
        let file = folder.join("greed");
        let place = file.clone();
        let work = Work::start(1, move |_, stop| {
            let Ok(mut file) = File::create(&place) else { return };
            let chunk = vec![0x5a; CHUNK];
            while !stop.load(Ordering::Acquire) {
                // What was written before the error stays; the rest is tried again.
                if file.write(&chunk).is_err() {
                    thread::sleep(GREED);
                }
            }
        });
        Self { file, work: Some(work) }
    }
}

impl Drop for Greed {
    fn drop(&mut self) {
        self.work = None;
        fs::remove_file(&self.file).ok();
    }
}

/// Others who write to the same disk and wait for it, so that everybody waits longer.
#[derive(Debug)]
pub struct Crowd {
    folder: PathBuf,
    work: Option<Work>,
}

impl Crowd {
    /// Begins with so many of them.
    #[must_use]
    pub fn begin(folder: &Path, count: usize) -> Self {
        let place = folder.to_owned();
        let work = Work::start(count, move |index, stop| {
            let chunk = vec![0xa5; CHUNK];
            let Ok(mut file) = File::create(place.join(format!("crowd{index}"))) else { return };
            while !stop.load(Ordering::Acquire) {
                let written = (0..4).try_for_each(|_| file.write_all(&chunk)).and_then(|()| file.sync_all());
                // The file stays small, whatever happens.
                if written.and_then(|()| file.rewind()).is_err() {
                    return;
                }
            }
        });
        Self { folder: folder.to_owned(), work: Some(work) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let count = self.work.take().map_or(0, |work| work.threads.len());
        for index in 0..count {
            fs::remove_file(self.folder.join(format!("crowd{index}"))).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_writes_until_it_is_dropped_and_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("chaos-crowd-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let crowd = Crowd::begin(&folder, 2);
        let both = crate::fleet::until(Duration::from_secs(20), || {
            let length = |index| fs::metadata(folder.join(format!("crowd{index}"))).map_or(0, |file| file.len());
            length(0) > 0 && length(1) > 0
        });
        drop(crowd);
        let left = fs::read_dir(&folder).expect("a folder").count();
        fs::remove_dir(&folder).expect("is empty");
        assert!(both && left == 0);
    }
}
