//! `tidings schema`: the documents and types of everything that goes over the wire.
//!
//! Guarantees: what it writes is made of the handlers that this configuration gives, configured domains
//! included; it works beside a running server and touches none of its data.
//! It is not a client: it asks no server.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tidings_catalogue::Form;

use super::{
    Failure, Surroundings,
    output::{Outcome, say},
    scratch::Scratch,
};
use crate::{app, catalogue};

/// What to write, and where.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print this one
    #[arg(value_enum, required_unless_present = "out", conflicts_with = "out")]
    form: Option<Named>,
    /// Write all of them into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A form, as it is named on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Named {
    /// The routes, OpenAPI 3.1
    Openapi,
    /// The channels, messages and commands, AsyncAPI 3.0
    Asyncapi,
    /// A JSON Schema of messages
    JsonSchema,
    /// Types, and the functions that tell them apart
    Typescript,
    /// A reference of all events
    Markdown,
}

impl From<Named> for Form {
    fn from(named: Named) -> Self {
        match named {
            Named::Openapi => Self::OpenApi,
            Named::Asyncapi => Self::AsyncApi,
            Named::JsonSchema => Self::JsonSchema,
            Named::Typescript => Self::TypeScript,
            Named::Markdown => Self::Markdown,
        }
    }
}

pub(super) fn run(options: &Options, surroundings: &Surroundings) -> Outcome {
    let Surroundings { config, clock, tasks, .. } = surroundings;
    let scratch = Scratch::new()?;
    let registry =
        app::registry(config, scratch.path(), clock, tasks).map_err(|error| Failure::Other(error.to_string()))?;
    let catalogue = catalogue::of(&registry);
    if let Some(form) = options.form {
        return say(catalogue.render(form.into()).trim_end());
    }
    let Some(folder) = &options.out else { return Ok(()) };
    let unwritten = |path: &Path, error: std::io::Error| Failure::Other(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, error))?;
    for form in Form::ALL {
        let path = folder.join(form.file());
        std::fs::write(&path, catalogue.render(form)).map_err(|error| unwritten(&path, error))?;
    }
    Ok(())
}
