//! `tidings check`: the effective configuration, each key with its origin, and warnings.
//!
//! Guarantees: prints TOML; secrets are hidden; what the start would refuse of the configuration is refused here.
//! It changes nothing, and opens no port and no database.

use clap::Args;

use super::{
    Surroundings,
    output::{Outcome, say},
};
use crate::config::markdown;

/// What to print.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print every key there is, its default, what it may be and what it means, as a Markdown table
    #[arg(long)]
    keys: bool,
}

pub(super) fn run(options: &Options, surroundings: &Surroundings) -> Outcome {
    if options.keys {
        say("| key | default | allowed | meaning |\n|---|---|---|---|")?;
        return markdown().into_iter().try_for_each(say);
    }
    let config = &surroundings.config;
    for warning in config.warnings() {
        say(format_args!("# warning: {warning}"))?;
    }
    for line in config.walls() {
        say(format_args!("# walls: {line}"))?;
    }
    say(config.effective().trim_end())
}
