//! `tidings-load`: does one work against a running server and tells what it found.
//!
//! Guarantees: the figures go to standard output, as one line or as one JSON object; the exit code is
//! 0 when the work was done, whatever it found, 1 when it could not be, 2 for a wrong use.
//! It starts no server and pins nothing: `cargo xtask bench` does.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool tells what it found")]

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;
use tidings_load::{
    process::Process,
    work::{Setup, Size, Work},
};

/// Measures the fan-out of a Socket.IO server from outside.
#[derive(Debug, Parser)]
#[command(name = "tidings-load")]
struct Arguments {
    /// What to do.
    #[arg(long, value_enum)]
    work: Work,
    /// The server's address and port.
    #[arg(long)]
    host: SocketAddr,
    /// The server's process: its processor time and memory are read.
    #[arg(long)]
    pid: u32,
    /// A token that the server accepts.
    #[arg(long, default_value = "")]
    token: String,
    /// The server is Tidings: check its numbers, and read its commits.
    #[arg(long)]
    tidings: bool,
    /// Subscribers; each work has its own default, here and below.
    #[arg(long)]
    subscribers: Option<usize>,
    /// Events to publish.
    #[arg(long)]
    events: Option<u64>,
    /// Events a second; 0 for as fast as they are taken.
    #[arg(long)]
    rate: Option<f64>,
    /// Events in a POST.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    batch: Option<u64>,
    /// Bytes of filler in an event.
    #[arg(long)]
    content: Option<usize>,
    /// Subscribers that stop reading, or lose their connections.
    #[arg(long)]
    stalled: Option<usize>,
    /// Runs of a workflow at once.
    #[arg(long)]
    runs: Option<usize>,
    /// Steps of a run.
    #[arg(long)]
    steps: Option<usize>,
    /// Seconds between connecting and measuring.
    #[arg(long)]
    settle: Option<f64>,
    /// Seconds after which no further event is posted.
    #[arg(long)]
    limit: Option<f64>,
    /// One JSON object instead of a line.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn size(&self) -> Result<Size, String> {
        let usual = self.work.size();
        let seconds = |asked: Option<f64>, usual| match asked {
            None => Ok(usual),
            Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        };
        let rate = match self.rate {
            None => usual.rate,
            Some(rate) if rate > 0.0 => rate,
            Some(_) => f64::INFINITY,
        };
        let size = Size {
            subscribers: self.subscribers.unwrap_or(usual.subscribers),
            events: self.events.unwrap_or(usual.events),
            rate,
            batch: self.batch.unwrap_or(usual.batch),
            content: self.content.unwrap_or(usual.content),
            stalled: self.stalled.unwrap_or(usual.stalled),
            runs: self.runs.unwrap_or(usual.runs),
            steps: self.steps.unwrap_or(usual.steps),
            settle: seconds(self.settle, usual.settle)?,
            limit: seconds(self.limit, usual.limit)?,
        };
        if size.stalled > size.subscribers {
            return Err("no more may stop reading or lose their connections than there are".to_owned());
        }
        if matches!(self.work, Work::Replay | Work::Runs | Work::Storm) && size.rate.is_infinite() {
            return Err("the live events of this work need a rate".to_owned());
        }
        Ok(size)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let size = match arguments.size() {
        Ok(size) => size,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    let setup = Setup {
        host: arguments.host,
        server: Process::new(arguments.pid),
        token: arguments.token,
        tidings: arguments.tidings,
        size,
    };
    match arguments.work.run(&setup) {
        Ok(report) if arguments.json => println!("{}", report.to_json()),
        Ok(report) => println!("{report}"),
        Err(failure) => {
            eprintln!("{}: {failure}", arguments.work.name());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
