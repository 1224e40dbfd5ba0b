//! What the kernel refuses a sandboxed program beside files and signals (seccomp): the limits of others.
//!
//! Guarantees: it holds the thread that asks for it and whatever that starts, for good.
//! It is not the wall, which says what is held: see `wall`; nor is it what starts no other program: see `alone`.

use std::{collections::BTreeMap, env::consts::ARCH, io};

use libc::{EPERM, SYS_prlimit64};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

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
    let calls = BTreeMap::from([(SYS_prlimit64, vec![SeccompRule::new(vec![other])?])]);
    let refusal = SeccompAction::Errno(EPERM.unsigned_abs());
    SeccompFilter::new(calls, SeccompAction::Allow, refusal, ARCH.try_into()?)?.try_into()
}
