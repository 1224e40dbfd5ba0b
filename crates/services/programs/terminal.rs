//! A program in a terminal of its own: a pseudo-terminal, which the program takes for a real one.
//!
//! Guarantees: the program leads a session of its own whose controlling terminal is this one, so that
//! what is typed can interrupt it and a new size reaches it as a signal; it ends as [`Group`] says.
//! It is not an emulator: what the bytes draw is the reader's.

use std::io;

use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};
use tokio::process::Child;

use super::{
    process::{Group, Program, STARTING, inheriting},
    wall::behind,
};
use crate::blocking::blocking;

/// A program in its terminal, and the server's end of that.
#[derive(Debug)]
pub(crate) struct InTerminal {
    pub(crate) child: Child,
    pub(crate) group: Group,
    /// What it writes comes out here. The end is an error of the system (`EIO` on Linux).
    pub(crate) output: OwnedReadPty,
    /// What is typed goes in here, and its size is set here.
    pub(crate) input: OwnedWritePty,
}

impl Program {
    /// Starts it in a terminal of so many columns and rows.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn start_in_terminal(self, cols: u16, rows: u16) -> io::Result<InTerminal> {
        blocking(move || self.open_terminal(cols, rows)).await.map_err(io::Error::other)?
    }

    /// The same. Blocks until it has started.
    fn open_terminal(&self, cols: u16, rows: u16) -> io::Result<InTerminal> {
        let mut line = self.line()?;
        let command = self.command(&line)?;
        let (terminal, inner) = {
            let _nothing_starts = STARTING.write();
            pty_process::open().map_err(io::Error::other)?
        };
        terminal.resize(Size::new(rows, cols)).map_err(io::Error::other)?;
        if let Some((uid, gid)) = self.runs_as() {
            // Another user could not open its own terminal otherwise, as `ssh` and others do.
            fchown(&inner, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            fchmod(&inner, Mode::from_raw_mode(0o620))?;
        }
        let child = inheriting(std::mem::take(&mut line.inherits), || {
            behind(self.wall.as_deref(), move || {
                pty_process::Command::from(command).spawn(inner).map_err(|error| match error {
                    pty_process::Error::Io(error) => error,
                    other => io::Error::other(other),
                })
            })
            .map_err(|error| self.not_started(&line, &error))
        })?;
        let group = Group::of_session(&child)?;
        self.step_back(&group);
        let (output, input) = terminal.into_split();
        Ok(InTerminal { child, group, output, input })
    }
}
