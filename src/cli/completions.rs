//! `tidings completions`: what a shell needs to complete the command line.
//!
//! Guarantees: it is made of the command line itself, so that it cannot lag behind; it reads no configuration.
//! It is hidden: whoever packs the program calls it (`cargo xtask dist`).

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{
    Cli,
    output::{Outcome, say},
};

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The shell
    shell: Shell,
}

pub(super) fn run(options: &Options) -> Outcome {
    let mut script = Vec::new();
    generate(options.shell, &mut Cli::command(), "tidings", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())
}
