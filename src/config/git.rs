//! The walls before git: the keys that say what they let through, and what an operator should know of them.
//!
//! Guarantees: none of it ends a start; where git will not be run, that is said.
//! It is not the walls: those are the services'.

use tidings_services::programs::{NO_WALLS, walls};

use super::{
    Config,
    key::{Key, key, list},
    kind::Kind,
    passes::{is_absolute, is_program},
};

pub(super) const PROGRAMS: Key = key(
    "git.programs",
    list(0, "a program by its name or its absolute path", is_program),
    "Programs that git may run beside its own, as the operator's own configuration of git names them, such as `git-lfs`. With any of them also `/bin/sh`, which git calls them with.",
);

pub(super) const READABLE: Key = key(
    "git.readable",
    list(0, "an absolute path", is_absolute),
    "Files and folders that git may read beside its own, such as what the operator's configuration of git includes.",
);

pub(super) const UNCONFINED: Key = key(
    "git.unconfined",
    Kind::Flag,
    "Lets git run without the kernel's wall before it, as on a kernel without Landlock and without `run.wrapper`. Only what is used of a repository's configuration is held then.",
);

pub(super) const SHADOW_DIR: Key = key(
    "git.shadow_dir",
    Kind::Checked { what: "an absolute path", passes: is_absolute },
    "Where the server keeps what stands for the configuration of repositories while git runs; nobody but the server's user may write there. `run.wrapper` has to show it, writable, at this path. Absent: a folder of the system's temporary one.",
);

impl Config {
    /// What of the walls before git is not there.
    pub(super) fn warn_of_git(&self, warnings: &mut Vec<String>) {
        if self.git.unconfined {
            let why = "git.unconfined = true: no wall keeps git in its project, only in what it uses of a repository's \
                       configuration";
            warnings.push(why.to_owned());
        } else if walls().is_none() && self.run.wrapper.is_empty() {
            warnings.push(format!("git is not run: {NO_WALLS}. Set run.wrapper, or git.unconfined = true"));
        }
    }
}
