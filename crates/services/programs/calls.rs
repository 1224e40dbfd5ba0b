//! What the kernel refuses a program beside files and signals (seccomp): to leave its directory, and the limits of others.
//!
//! Guarantees: it holds the thread that asks for it and whatever that starts, for good.
//! It is not the wall, which says what is held: see `wall`; nor is it what starts no other program: see `alone`.

use std::{
    collections::BTreeMap,
    env::{self, consts::ARCH},
    io,
    path::Path,
    sync::LazyLock,
    thread,
};

use libc::{EPERM, SYS_chdir, SYS_fchdir, SYS_prlimit64};
use rustix::thread::UnshareFlags;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Whether a program can be kept in its directory on this machine: some containers forbid what it takes.
static STAYS: LazyLock<bool> = LazyLock::new(|| {
    let probe = || own_directory().is_ok();
    in_one_place().is_ok() && thread::spawn(probe).join().unwrap_or_default()
});

/// Whether [`stay`] can be held on this machine.
pub(super) fn can_stay() -> bool {
    *STAYS
}

/// Puts this thread, for good, into a directory, which neither it nor what it starts ever leaves. git starts itself in a
/// repository within by going there, and that one's configuration is nobody's but its owner's.
///
/// # Errors
/// The system's.
pub(super) fn stay(directory: &Path) -> io::Result<()> {
    own_directory()?;
    // This thread's alone by now.
    env::set_current_dir(directory)?;
    apply_filter(&in_one_place().map_err(io::Error::other)?).map_err(io::Error::other)
}

/// Parts the current directory of this thread from that of the others.
#[expect(deprecated, reason = "it is unsafe where it parts the table of files: this parts a path")]
fn own_directory() -> io::Result<()> {
    Ok(rustix::thread::unshare(UnshareFlags::FS)?)
}

fn in_one_place() -> Result<BpfProgram, BackendError> {
    refusing([(SYS_chdir, Vec::new()), (SYS_fchdir, Vec::new())].into())
}

/// Keeps this thread, and what it starts, for good, from the limits of other processes: whoever lowers one of the
/// server's ends it, and Landlock does not look at that. Where the machine has no filters, nothing is held.
///
/// # Errors
/// The system's.
pub(super) fn leave_limits() -> io::Result<()> {
    let Ok(filter) = limits_of_others() else { return Ok(()) };
    apply_filter(&filter).map_err(io::Error::other)
}

fn limits_of_others() -> Result<BpfProgram, BackendError> {
    // Of a process itself it is zero.
    let other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
    refusing([(SYS_prlimit64, vec![SeccompRule::new(vec![other])?])].into())
}

fn refusing(calls: BTreeMap<i64, Vec<SeccompRule>>) -> Result<BpfProgram, BackendError> {
    let refusal = SeccompAction::Errno(EPERM.unsigned_abs());
    SeccompFilter::new(calls, SeccompAction::Allow, refusal, ARCH.try_into()?)?.try_into()
}
