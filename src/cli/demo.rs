//! `tidings demo-agent`: an agent that thinks nothing up, for first steps, samples and tests.
//!
//! Guarantees: it does what an agent does, by a script: it streams a thought and a text, calls tools, asks a question
//! and a permission, and adds a line to one file of its working directory, only where it was allowed to; it takes
//! messages until its input ends. It reads no configuration and reaches nothing but its directory.
//! It is not an agent: no model answers.

mod turn;

use std::{
    io::{BufRead, Write, stdin, stdout},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread::{Builder, sleep},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};
use tidings_core::json;

use self::turn::Turn;
use super::output::{Failure, Outcome};

/// How many lines wait to be looked at.
const LINES: usize = 64;
/// The longest line that it reads.
const LINE_BYTES: u64 = 1 << 20;

/// How it plays.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The time between two pieces of a text, in milliseconds
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(..=10_000))]
    pause_ms: u64,
}

/// Plays until the input ends.
pub(super) fn run(options: &Options) -> Outcome {
    let (lines, heard) = sync_channel(LINES);
    let read = move || {
        let mut input = stdin().lock();
        loop {
            let mut line = String::new();
            match std::io::Read::take(&mut input, LINE_BYTES).read_line(&mut line) {
                Ok(count) if count > 0 => {}
                _ => return,
            }
            if let Ok(line) = json::from_str::<Value>(&line)
                && lines.send(line).is_err()
            {
                return;
            }
        }
    };
    Builder::new().name("input".to_owned()).spawn(read).map_err(Failure::other)?;
    let mut player = Player { heard, pause: Duration::from_millis(options.pause_ms) };
    player.tell(
        "session.agent_started",
        &json!({
            "agentSessionId": format!("demo-{}", std::process::id()),
            "model": "demo",
            "version": env!("CARGO_PKG_VERSION"),
            "tools": ["List", "Edit"],
        }),
    )?;
    let mut turns = 0;
    while let Some(message) = player.next_message() {
        turns += 1;
        match (Turn { player: &mut player, number: turns, asked: &message }).play() {
            Ok(()) => {}
            Err(Stop::Interrupted) => player.tell("session.turn_completed", &json!({ "status": "cancelled" }))?,
            Err(Stop::Ended) => return Ok(()),
            Err(Stop::Failed(failure)) => return Err(failure),
        }
    }
    Ok(())
}

/// Why a turn stops before its end.
enum Stop {
    /// Somebody interrupted it.
    Interrupted,
    /// The input ended.
    Ended,
    /// Nobody reads it.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What it speaks and hears with.
struct Player {
    heard: Receiver<Value>,
    pause: Duration,
}

impl Player {
    /// Prints an event.
    fn tell(&mut self, kind: &str, data: &Value) -> Result<(), Failure> {
        let mut out = stdout().lock();
        let line = json!({ "type": kind, "data": data });
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|_| Failure::ClosedPipe)
    }

    /// The next message of a person; none at the end of the input.
    fn next_message(&self) -> Option<String> {
        loop {
            let line = self.heard.recv().ok()?;
            if line["type"] == "session.user_message" {
                return line["data"]["content"].as_str().map(str::to_owned);
            }
        }
    }

    /// Waits for a moment, in which it may be interrupted.
    fn rest(&self) -> Result<(), Stop> {
        match self.heard.recv_timeout(self.pause) {
            Ok(line) if line["type"] == "session.interrupt" => Err(Stop::Interrupted),
            Ok(_) | Err(RecvTimeoutError::Timeout) => Ok(()),
            // It says what it has to say all the same: it may have been asked once only.
            Err(RecvTimeoutError::Disconnected) => {
                sleep(self.pause);
                Ok(())
            }
        }
    }

    /// What a person answers to this request.
    fn answer(&self, request_id: &str) -> Result<Value, Stop> {
        loop {
            let line = self.heard.recv().map_err(|_| Stop::Ended)?;
            match line["type"].as_str() {
                Some("session.interrupt") => return Err(Stop::Interrupted),
                Some("session.permission_resolved" | "session.question_resolved")
                    if line["data"]["requestId"] == request_id =>
                {
                    return Ok(line["data"].clone());
                }
                _ => {}
            }
        }
    }
}
