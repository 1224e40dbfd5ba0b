//! The command line: what can be said, and where each command goes.
//!
//! Guarantees: exit code 0 for success, 1 for a failure, 2 for a wrong use; results on standard output,
//! everything else on standard error; a closed pipe ends a command quietly; passwords and tokens are
//! never arguments.
//! It is not the server: `serve` hands over to it.

mod check;
mod completions;
mod demo;
mod emit;
mod output;
mod reach;
mod schema;
mod scratch;
mod tail;
#[cfg(test)]
mod tests;
mod token;
mod user;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, Parser, Subcommand};
use close_fds::set_fds_cloexec_threadsafe;
use tidings_core::runtime::{Clock, Tasks};

pub(crate) use self::output::{Failure, complain};
use crate::{
    config::{Config, ConfigError, FileText, Flags, LogOutput, variables},
    runtime::{ServerTasks, SystemClock},
    serve, telemetry,
};

/// How long what a command started may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// The server between programs that work and people who watch.
#[derive(Debug, Parser)]
#[command(
    name = "tidings",
    version,
    after_help = "Example:\n  tidings --listen 127.0.0.1:4100 --data-dir ./tidings-data\n\nWithout a command it serves."
)]
pub(crate) struct Cli {
    /// What all commands share.
    #[command(flatten)]
    pub shared: Shared,
    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Shared {
    /// The configuration file [default: tidings.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The directory that holds everything [default: tidings-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the server listens [default: 127.0.0.1:4100]
    #[arg(long, global = true, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    #[command(after_help = "Example:\n  tidings serve --listen 127.0.0.1:4100")]
    Serve,
    /// Print the effective configuration and what to know about it
    #[command(after_help = "Example:\n  tidings check --config /etc/tidings.toml")]
    Check(check::Options),
    /// Manage users; works beside a running server
    #[command(subcommand)]
    User(user::Command),
    /// Print a token signed with the server's key, or list and revoke those that were made
    #[command(
        after_help = "Example:\n  tidings token --user ada --role viewer --ttl 30d\n  tidings token --subject ci --grant 'session:*=subscribe,publish' --ttl 1h"
    )]
    Token(token::Options),
    /// Publish an event on the running server
    #[command(
        after_help = "Example:\n  tidings emit user.notice --channel user:42 --data '{\"userId\":\"42\",\"text\":\"hello\"}'"
    )]
    Emit(emit::Options),
    /// Print the documents and types of everything that goes over the wire
    #[command(after_help = "Example:\n  tidings schema typescript > tidings.ts\n  tidings schema --out schemas")]
    Schema(schema::Options),
    /// Follow channels of the running server; reconnects and resumes by itself
    #[command(after_help = "Example:\n  tidings tail session:123 --last 20")]
    Tail(tail::Options),
    /// Print what a shell needs to complete these commands
    #[command(hide = true, after_help = "Example:\n  tidings completions bash > /etc/bash_completion.d/tidings")]
    Completions(completions::Options),
    /// Be the agent that the server shows itself with: events on standard output, answers on standard input
    #[command(name = "demo-agent", hide = true, after_help = "Example:\n  tidings demo-agent")]
    DemoAgent(demo::Options),
}

/// What a command works with.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The effective configuration.
    pub config: Config,
    /// What all commands share.
    pub shared: Shared,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Tasks, which end with the command.
    pub tasks: Arc<dyn Tasks>,
}

/// Parses the arguments; ends the process with a text where they are wrong or ask for help.
#[must_use]
pub(crate) fn parse() -> Cli {
    Cli::parse()
}

/// The configuration for these options, from the environment, the file and the flags. For a `start` also what it names
/// is looked at: keys and secrets in files, which only the server's user may be allowed to read.
///
/// # Errors
/// See [`ConfigError`].
pub(crate) fn load(shared: &Shared, start: bool) -> Result<Config, ConfigError> {
    let file = FileText::read(shared.config.as_deref())?;
    let flags = Flags { data_dir: shared.data_dir.clone(), listen: shared.listen };
    Config::load(variables(), file.as_ref(), &flags, |config| {
        let mut problems = config.namespace_problems(&tidings_handlers::NAMESPACES);
        if start {
            problems.extend(config.start_problems());
        }
        problems
    })
}

/// Parses the arguments, loads the configuration and runs the command to its end.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let Cli { shared, command } = parse();
    if let Some(Command::Completions(options)) = &command {
        return ended(completions::run(options));
    }
    // It is started in a project, whose configuration is not its own.
    if let Some(Command::DemoAgent(options)) = &command {
        return ended(demo::run(options));
    }
    let command = command.unwrap_or(Command::Serve);
    let config = match load(&shared, matches!(command, Command::Serve | Command::Check(_))) {
        Ok(config) => config,
        Err(error) => return complain(&error),
    };
    let serving = matches!(command, Command::Serve);
    if serving {
        // What the server inherited is none of the programs' that it starts.
        set_fds_cloexec_threadsafe(3, &[]);
    }
    let quiet = LogOutput { filter: "warn".to_owned(), ..config.log_output.clone() };
    telemetry::log(if serving { &config.log_output } else { &quiet });
    let mut runtime = if serving {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error),
    };
    let code = runtime.block_on(async {
        match command {
            Command::Serve => serve::run(config).await,
            other => run(other, config, shared).await,
        }
    });
    // What is left was named as a straggler; a thread that blocks must not keep the process.
    runtime.shutdown_timeout(ENDING);
    code
}

/// Runs a command that is not the server.
async fn run(command: Command, config: Config, shared: Shared) -> ExitCode {
    let clock = SystemClock::new();
    let tasks = ServerTasks::new(clock.clone());
    let surroundings = Surroundings { config, shared, clock, tasks: tasks.clone() };
    let result = match command {
        Command::Check(options) => check::run(&options, &surroundings),
        Command::Schema(options) => schema::run(&options, &surroundings),
        Command::User(command) => user::run(command, &surroundings).await,
        Command::Token(options) => token::run(options, &surroundings).await,
        Command::Emit(options) => emit::run(options, &surroundings).await,
        Command::Tail(options) => tail::run(options, &surroundings).await,
        Command::Serve | Command::Completions(_) | Command::DemoAgent(_) => unreachable!("it went its own way before"),
    };
    drop(surroundings);
    if tokio::time::timeout(ENDING, tasks.stop()).await.is_err() {
        tracing::debug!(stragglers = ?tasks.left(), "some tasks did not end in time");
    }
    ended(result)
}

fn ended(result: output::Outcome) -> ExitCode {
    match result {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => complain(&failure),
    }
}
