//! What a program may touch of the files, held by the kernel (Landlock) for it and for all that it starts.
//!
//! Guarantees: what no rule names can be neither opened, run, made, renamed nor removed; a program that was to run behind
//! a wall does not run without one. A right that the running kernel does not know yet is not held by it: see
//! [`lacking`]. Behind a wall there are no new privileges (no `sudo`), no mounts, no tracing of programs outside, and
//! none of the capabilities with which root gets around the kernel's own walls.
//!
//! A thread of its own is put behind the wall and starts the program there, which inherits it. So nothing is done between
//! copy and start, and the server itself stays outside.
//!
//! What it cannot do: what may be *run* is judged for the file that is started. The dynamic loader (`ld-linux`) has to be
//! among that, or nothing starts, and `ld-linux FILE` then runs any program that may be read; so does every interpreter.
//! A list of what may be run holds whoever chooses no arguments, and nobody else.
//! Connections, also to sockets that are files, and what is done to files that were opened before are not held either, nor
//! is what is known of a file and written down beside it: whether it is there, its mode, its owner, its times. Whose user
//! owns a file can change these, though not what is in it.

use std::{any::Any, io, os::fd::OwnedFd, path::PathBuf, sync::OnceLock, thread};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, RestrictSelf, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2},
    io::Errno,
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};
use tidings_core::panics;
use tokio::runtime::Handle;

use super::{alone, calls};

/// The rights that are held, where the kernel knows them. Later ones come with a kernel to test them on.
const KNOWN: ABI = ABI::V6;

/// What may be done with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Files are read, folders listed.
    Read,
    /// The same, and programs are run.
    Run,
    /// What is there is read and changed: written, made, renamed, removed. No device is made: it would lead to any disk.
    Write,
    /// Everything of these.
    All,
    /// Devices are read, written and directed.
    Device,
    /// Everything of these.
    Devices,
}

impl Access {
    fn flags(self) -> BitFlags<AccessFs> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let made = AccessFs::MakeDir | AccessFs::MakeReg | AccessFs::MakeSock | AccessFs::MakeFifo | AccessFs::MakeSym;
        let removed = AccessFs::RemoveDir | AccessFs::RemoveFile;
        let change = made | removed | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::Refer;
        match self {
            Self::Read => read,
            Self::Run => read | AccessFs::Execute,
            Self::Write => read | change,
            Self::All => read | change | AccessFs::Execute,
            Self::Device => read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev,
            Self::Devices => read | change | AccessFs::IoctlDev,
        }
    }
}

/// What root keeps behind a wall. With the others it loads modules into the kernel, reads disks and memory past their
/// files, or looks into programs outside.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE);

/// What a program may touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wall {
    rules: Vec<Rule>,
    apart: bool,
    alone: bool,
}

/// What may be done with a file, or with a folder and everything beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    path: PathBuf,
    access: Access,
    /// Whether symbolic links, anywhere on the way, stand for what they lead to. If not, they stand for nothing.
    follows: bool,
}

impl Wall {
    /// A wall without a door: nothing may be touched.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets it read a file, or a folder with everything beneath it. What is not there is passed over, here and below.
    pub(crate) fn read(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.allow(path, Access::Read)
    }

    /// Lets it run what is there, and read it.
    pub(crate) fn run(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.allow(path, Access::Run)
    }

    /// Lets it read and change what is there: write, make, rename, remove.
    pub(crate) fn write(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.allow(path, Access::Write)
    }

    /// Lets it use devices: read, write and direct them.
    pub(crate) fn device(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.allow(path, Access::Device)
    }

    /// Keeps it from signalling programs on the other side, from limiting them, and from sockets of theirs that have no
    /// file.
    pub(crate) fn apart(&mut self) -> &mut Self {
        self.apart = true;
        self
    }

    /// Keeps it from starting any other program, where [the machine](alone::is_supported) can hold that.
    pub(crate) fn alone(&mut self) -> &mut Self {
        self.alone = alone::is_supported();
        self
    }

    /// Whether it starts no other program: then nothing is copied for its start either, also where it is another user's.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Lets it do something with a place.
    pub(crate) fn allow(&mut self, path: impl Into<PathBuf>, access: Access) -> &mut Self {
        self.rules.push(Rule { path: path.into(), access, follows: true });
        self
    }

    /// The same, of a place that no symbolic link leads to: where one stands on its way by the time of the start, it is
    /// passed over.
    pub(crate) fn allow_itself(&mut self, path: PathBuf, access: Access) -> &mut Self {
        self.rules.push(Rule { path, access, follows: false });
        self
    }

    /// How many places it names.
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> impl Iterator<Item = &std::path::Path> {
        self.rules.iter().map(|rule| rule.path.as_path())
    }

    /// Whether the running kernel has such walls. It is asked once.
    pub(crate) fn is_supported() -> bool {
        abi().is_some()
    }

    /// The rules as the kernel takes them.
    fn ruleset(&self) -> io::Result<RulesetCreated> {
        if !Self::is_supported() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, MISSING));
        }
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))
            .map_err(|error| refused(&error))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))
            .map_err(|error| refused(&error))?;
        let scoped = if self.apart { ruleset.scope(Scope::from_all(KNOWN)) } else { Ok(ruleset) };
        let mut created = scoped.and_then(Ruleset::create).map_err(|error| refused(&error))?;
        for rule in &self.rules {
            let Some((file, access)) = rule.open()? else { continue };
            created = created.add_rule(PathBeneath::new(file, access)).map_err(|error| refused(&error))?;
        }
        Ok(created)
    }
}

impl Rule {
    /// What it is about, and the rights that its kind can have. Nothing, if there is no such thing.
    fn open(&self) -> io::Result<Option<(OwnedFd, BitFlags<AccessFs>)>> {
        let resolve = if self.follows { ResolveFlags::empty() } else { ResolveFlags::NO_SYMLINKS };
        let file = match openat2(CWD, &self.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG) => return Ok(None),
            Err(error) => {
                let why = format!("{} cannot be let through the wall: {error}", self.path.display());
                return Err(io::Error::new(io::Error::from(error).kind(), why));
            }
        };
        let access = match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::Directory => self.access.flags(),
            _ => self.access.flags() & AccessFs::from_file(KNOWN),
        };
        Ok((!access.is_empty()).then_some((file, access)))
    }
}

/// What is said where the kernel has no walls.
pub(crate) const MISSING: &str =
    "this kernel has no Landlock: that is Linux 5.13 or later, with 'landlock' among its security modules (lsm=)";

/// The version of the kernel's walls; none if it has none. It is asked once.
pub(crate) fn abi() -> Option<i32> {
    static ABI: OnceLock<Option<i32>> = OnceLock::new();
    *ABI.get_or_init(|| {
        // Nothing is restricted, and no privilege given up: it is how the crate says what there is.
        match RestrictSelf::default().no_new_privs(false).apply().ok()?.landlock {
            LandlockStatus::Available { effective_abi, kernel_abi } => Some(kernel_abi.unwrap_or(effective_abi as i32)),
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
        }
    })
}

/// What the walls of an older kernel do not hold, in words; nothing of one that holds all of it.
pub(crate) fn lacking(abi: i32) -> Vec<&'static str> {
    let since = [
        (2, "files are moved between folders nowhere (Linux 5.19)"),
        (3, "what may not be written can still be cut off (Linux 6.2)"),
        (5, "devices that may be opened can be directed (Linux 6.10)"),
        (6, "programs outside can be signalled (Linux 6.12)"),
    ];
    since.into_iter().filter(|(version, _)| abi < *version).map(|(_, what)| what).collect()
}

/// Does something behind a wall, in a thread of its own, or without one right here. To be called inside the runtime, whose
/// the child is. Blocks until it is done.
///
/// # Errors
/// Those of what is done; the system's, when the wall cannot be put up: then nothing is done.
pub(super) fn behind<T: Send>(wall: Option<&Wall>, start: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let Some(wall) = wall else { return start() };
    let ruleset = wall.ruleset()?;
    let runtime = Handle::try_current().map_err(io::Error::other)?;
    thread::scope(|scope| {
        let inside = move || {
            let _inside = runtime.enter();
            enclose(ruleset)?;
            if wall.apart {
                calls::leave_limits()?;
            }
            if wall.alone {
                alone::hold()?;
            }
            start()
        };
        let thread = thread::Builder::new().name("tidings-wall".to_owned()).spawn_scoped(scope, inside)?;
        thread.join().unwrap_or_else(|panic| Err(after(&*panic)))
    })
}

/// Puts this thread behind the wall, for good.
fn enclose(ruleset: RulesetCreated) -> io::Result<()> {
    let status = ruleset.restrict_self().map_err(|error| refused(&error))?;
    if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
        return Err(io::Error::new(io::ErrorKind::Unsupported, MISSING));
    }
    let CapabilitySets { effective, permitted, inheritable } = capabilities(None)?;
    let kept =
        CapabilitySets { effective: effective & KEPT, permitted: permitted & KEPT, inheritable: inheritable & KEPT };
    Ok(set_capabilities(None, kept)?)
}

fn refused(error: &RulesetError) -> io::Error {
    io::Error::other(format!("the wall before the program cannot be put up: {error}"))
}

fn after(panic: &(dyn Any + Send)) -> io::Error {
    io::Error::other(panics::noted("programs.wall", panic).message().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    /// What runs a shell: everything of the system is read and run.
    fn system() -> Wall {
        let mut wall = Wall::new();
        for path in ["/usr", "/bin", "/lib", "/lib64", "/etc"] {
            wall.run(path);
        }
        wall.device("/dev/null");
        wall
    }

    /// Whether a line of the shell succeeds behind these walls, each within the one before.
    fn succeeds(walls: &[&Wall], line: &str) -> bool {
        let Some((wall, more)) = walls.split_first() else {
            let ran = Command::new("/bin/sh").args(["-c", line]).output().expect("starts");
            return ran.status.success();
        };
        behind(Some(wall), || Ok(succeeds(more, line))).expect("the wall is put up")
    }

    #[tokio::test]
    async fn what_no_rule_names_is_not_touched_and_what_one_names_as_far_as_it_says() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["read", "write", "none"] {
            fs::create_dir(at(name)).expect("a directory");
            fs::write(at(name).join("file"), "echo ran\n").expect("writes");
        }
        symlink(at("none"), at("write/link")).expect("a link");
        let mut wall = system();
        wall.read(at("read")).write(at("write")).read(at("missing")).read("/proc");
        let table = [
            ("cat read/file", true),
            ("ls read", true),
            ("echo x > read/file", false),
            ("touch read/new", false),
            ("echo 'echo ran' > write/file && mv write/file write/moved && rm write/moved", true),
            ("cat none/file", false),
            ("ls none", false),
            ("cat write/link/file", false),
            ("ls .", false),
            ("touch new", false),
            ("ln none/file write/linked", false),
            ("mv none/file write/moved", false),
            ("echo x > /dev/null", true),
            ("mknod write/disk b 7 0", false),
            // Who may look into a program outside reaches what that has.
            ("cat /proc/$PPID/environ", false),
            ("ls /proc/$PPID/cwd/", false),
            ("cat /proc/self/environ", true),
        ];
        for (line, works) in table {
            let line = format!("cd {} && {line}", dir.path().display());
            assert_eq!(succeeds(&[&wall], &line), works, "{line}");
        }
        assert!(fs::exists(at("none/file")).expect("is looked at"), "the test itself is outside");
    }

    #[tokio::test]
    async fn a_file_is_run_where_a_rule_lets_it_be_and_its_loader_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["run", "read"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
            fs::copy("/bin/true", dir.path().join(name).join("tool")).expect("copies");
        }
        let mut wall = system();
        wall.run(dir.path().join("run/tool")).read(dir.path().join("read"));
        assert!(succeeds(&[&wall], &dir.path().join("run/tool").to_string_lossy()));
        assert!(!succeeds(&[&wall], &dir.path().join("read/tool").to_string_lossy()));
    }

    #[tokio::test]
    async fn a_place_itself_is_none_where_a_link_stands_anywhere_on_its_way() {
        let dir = tempfile::tempdir().expect("a directory");
        let base = dir.path().canonicalize().expect("is there");
        fs::create_dir_all(base.join("real/deep")).expect("a directory");
        fs::write(base.join("real/deep/file"), "x").expect("writes");
        symlink(base.join("real"), base.join("link")).expect("a link");
        for (path, itself) in [("real/deep", true), ("link/deep", false), ("link", false)] {
            let line = format!("cat {}/real/deep/file", base.display());
            let (mut followed, mut strict) = (system(), system());
            followed.allow(base.join(path), Access::Read);
            strict.allow_itself(base.join(path), Access::Read);
            assert_eq!((succeeds(&[&followed], &line), succeeds(&[&strict], &line)), (true, itself), "{path}");
        }
    }

    #[tokio::test]
    async fn a_wall_within_a_wall_takes_away_and_never_gives() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["a", "b"] {
            fs::write(dir.path().join(name), "x").expect("writes");
        }
        let (mut first, mut second) = (system(), system());
        first.read(dir.path().join("a"));
        second.read(dir.path());
        let cat = |name: &str| format!("cat {}", dir.path().join(name).display());
        assert!(succeeds(&[&first, &second], &cat("a")) && succeeds(&[&second], &cat("b")));
        assert!(!succeeds(&[&first, &second], &cat("b")));
    }

    /// How many files the tests may have open, as `prlimit` takes it.
    fn limit() -> String {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let side = |side: Option<u64>| side.map_or_else(|| "unlimited".to_owned(), |side| side.to_string());
        format!("{}:{}", side(limit.current), side(limit.maximum))
    }

    #[tokio::test]
    async fn behind_a_wall_apart_no_program_outside_is_signalled() {
        let mut apart = system();
        apart.apart();
        let line = format!("kill -0 {}", std::process::id());
        assert!(succeeds(&[&system()], &line));
        assert_eq!(succeeds(&[&apart], &line), abi().is_some_and(|abi| abi < 6));
        // The same limit again: it changes nothing where it is not refused.
        let line = format!("prlimit --pid {} --nofile={}", std::process::id(), limit());
        assert!(succeeds(&[&system()], &line) && !succeeds(&[&apart], &line));
        assert!(succeeds(&[&apart], "ulimit -n 64"), "its own");
    }

    #[tokio::test]
    async fn a_thread_that_dies_behind_its_wall_is_an_error_of_the_start() {
        let died = behind(Some(&system()), || -> io::Result<()> { panic!("on purpose") });
        assert!(died.is_err());
        assert_eq!(behind(None, || Ok(1)).expect("nothing stands before it"), 1);
        assert_eq!(behind(Some(&system()), || Ok(2)).expect("goes on"), 2);
    }

    #[test]
    fn an_older_kernel_is_told_for_what_it_does_not_hold() {
        assert_eq!((lacking(1).len(), lacking(3).len(), lacking(6).len(), lacking(9).len()), (4, 2, 0, 0));
        assert!(Wall::is_supported(), "these tests need Landlock");
    }
}
