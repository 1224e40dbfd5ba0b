//! A program that starts no other, as git starts them: whatever words it reads.
//!
//! Guarantees: what a thread starts after [`hold`] makes threads and no copy of itself (`fork`), and neither does whatever
//! it puts in its own place. That is the kernel's to hold (seccomp), of no configuration to undo. git copies itself for
//! every program that it starts.
//! It is no sandbox: a start in the memory of a parent that waits (`posix_spawn`; `vfork`, but on x86-64) is how the
//! server starts such a program, and stays possible in it. Where it is not [supported](is_supported), nothing is held.

use std::{collections::BTreeMap, env::consts::ARCH, io, sync::LazyLock};

use libc::{CLONE_THREAD, CLONE_VFORK, CLONE_VM, ENOSYS, EPERM, SYS_clone, SYS_clone3};
use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// A call of the system, and when it is refused; always, without a rule.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// The two filters; none for a machine that they are not made for.
static FILTERS: LazyLock<Option<[BpfProgram; 2]>> = LazyLock::new(|| filters().ok());

/// Whether it can be held on this machine.
pub(super) fn is_supported() -> bool {
    FILTERS.is_some()
}

/// Holds this thread, for good: it still starts programs, as the standard library does (in the memory of the thread, which
/// waits), and these make no copies of themselves.
///
/// # Errors
/// The system's.
pub(super) fn hold() -> io::Result<()> {
    let filters = FILTERS.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    filters.iter().try_for_each(|filter| apply_filter(filter).map_err(io::Error::other))
}

/// Makes this thread another user's, for good. The standard library would copy the server in order to start something as
/// another user, and that is a process.
///
/// # Errors
/// The system's.
pub(super) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    set_thread_groups(&[])?;
    set_thread_gid(Gid::from_raw(gid))?;
    Ok(set_thread_uid(Uid::from_raw(uid))?)
}

fn filters() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let unset = |flags: i32| {
        let mask = u64::from(flags.unsigned_abs());
        SeccompRule::new(vec![SeccompCondition::new(0, Dword, MaskedEq(mask), 0)?])
    };
    // A copy of the process is one that shares no memory, or shares it neither as a thread nor while its parent waits.
    let copies = vec![unset(CLONE_VM)?, unset(CLONE_THREAD | CLONE_VFORK)?];
    let mut refused = Calls::from([(SYS_clone, copies)]);
    #[cfg(target_arch = "x86_64")]
    refused.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
    // Its flags lie in memory, where no filter looks. Whoever is told that there is no such call takes the one before.
    let unknown = Calls::from([(SYS_clone3, Vec::new())]);
    let filter = |calls, error: i32| {
        let refusal = SeccompAction::Errno(error.unsigned_abs());
        SeccompFilter::new(calls, SeccompAction::Allow, refusal, ARCH.try_into()?)?.try_into()
    };
    Ok([filter(refused, EPERM)?, filter(unknown, ENOSYS)?])
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

    use rustix::process::getuid;
    use tokio::io::AsyncReadExt;

    use crate::programs::{Environment, Programs, ProgramsConfig, wall::Wall};

    /// What a line of the shell prints that may start no other program.
    async fn printed(user: Option<&str>, line: &str) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = ProgramsConfig::new(dir.path().to_owned());
        let path = ("PATH".to_owned(), "/usr/bin:/bin".to_owned());
        config.env = Environment::new(&[], [], &BTreeMap::from([path]));
        config.user = user.map(str::to_owned);
        let programs = Programs::new(config).expect("ready");
        let argv = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
        let mut program = programs.program(argv, PathBuf::from("/"));
        let mut wall = Wall::new();
        wall.run("/usr").run("/bin").run("/lib").run("/lib64").read("/etc").device("/dev/null").alone();
        program.wall = Some(Arc::new(wall));
        let mut running = program.start().await.expect("starts");
        let mut text = String::new();
        running.stdout.read_to_string(&mut text).await.expect("reads");
        running.child.wait().await.expect("ends");
        text
    }

    #[tokio::test]
    async fn a_program_that_is_to_start_no_other_cannot_and_puts_another_in_its_own_place() {
        // A shell starts a program of its own in either way, and a part of itself as a copy.
        if cfg!(target_arch = "x86_64") {
            assert_eq!(printed(None, "echo one; ls / > /dev/null && echo two").await, "one\n");
        }
        assert_eq!(printed(None, "(echo inside); echo after").await, "");
        assert_eq!(printed(None, "exec echo replaced").await, "replaced\n");
    }

    #[tokio::test]
    async fn it_is_started_as_another_user_without_a_copy() {
        if !getuid().is_root() {
            println!("SKIPPED: only root runs programs as another user");
            return;
        }
        assert_eq!(printed(Some("nobody"), "exec id -u").await, "65534\n");
        assert_eq!(printed(Some("nobody"), "exec id -G").await, "65534\n");
    }
}
