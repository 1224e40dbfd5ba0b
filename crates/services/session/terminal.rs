//! A session whose program runs in a terminal: who types for it, and how it ends.
//!
//! Guarantees: the terminal is told of in the session's channel as soon as people can watch it; it ends with
//! the session, and the session with it; messages are typed in their order, each after its event is durable.
//! It is not the terminal: what that shows and takes is in its own channel.

use std::sync::Arc;

use tidings_core::{Code, Error, Event, Result};
use tokio::sync::mpsc;

use super::{
    attend::{Asked, Ears, Work, for_ever},
    contract::{TERMINAL_OPENED, TerminalOpened},
    end::End,
    inbox::Line,
    output::Meter,
    registry::{Control, Reason},
    surroundings::{Keys, Terminal, Wanted},
};
use crate::shell::TerminalId;

impl Work<'_> {
    /// Everything that goes on while the program runs in a terminal, in this one task.
    pub(super) async fn in_terminal(&self, ears: Ears) -> End {
        let Ears { asked, controls } = ears;
        let Asked::Lines(lines) = asked else {
            return End::failed("internal", "an agent that speaks a format of its own has no terminal");
        };
        let meter = Arc::new(Meter::new(0, self.sessions.ports.clock.clone()));
        let Terminal { id, keys, ended } = match self.open(meter.clone()).await {
            Ok(terminal) => terminal,
            Err(error) => return self.not_opened(&error),
        };
        let speaking = async {
            self.tell_opened(id).await;
            self.type_in(&*keys, lines).await;
        };
        tokio::select! {
            () = keys.exited() => {}
            () = for_ever(self.hang_up(&*keys)) => unreachable!("it never ends"),
            () = for_ever(speaking) => unreachable!("it never ends"),
            () = for_ever(refuse(controls)) => unreachable!("it never ends"),
            () = self.beat(&meter) => unreachable!("it never ends"),
        }
        // Who cancels it after this is too late, also where the log is slow to take the terminal's end.
        let reason = self.live.course.exited();
        End::of_terminal(ended.await, reason)
    }

    fn not_opened(&self, error: &Error) -> End {
        match self.live.course.why() {
            Some(reason) => End::before_it_began(reason),
            None if error.code() == Code::Draining => End::ServerStopped,
            None => End::failed("terminal_failed", error.to_string()),
        }
    }

    async fn tell_opened(&self, terminal_id: TerminalId) {
        let data = TerminalOpened { session_id: self.live.id.clone(), terminal_id };
        let told = vec![Event::new(TERMINAL_OPENED, data)];
        if let Err(error) = self.telling.tell(told, None, |state| state.terminal_id.is_some()).await {
            tracing::error!(session = %self.live.id, %error, "the terminal of a session could not be told");
            self.live.course.ask_to_end(Reason::OutputLost);
        }
    }

    async fn open(&self, meter: Arc<Meter>) -> Result<Terminal> {
        let plan = self.plan;
        let (cols, rows) = plan.pty.unwrap_or_default();
        let wanted = Wanted {
            session_id: self.live.id.clone(),
            user: plan.user.clone(),
            project_id: plan.project_id.clone(),
            root: plan.root.clone(),
            cwd: plan.worktree.as_ref().map(|tree| tree.directory()),
            argv: plan.argv.clone(),
            command: plan.command.clone(),
            title: plan.title.clone(),
            cols,
            rows,
            meter,
            sandbox: plan.sandbox.clone(),
        };
        self.surroundings()?.terminal(wanted).await
    }

    /// Closes the terminal once the session is told to end.
    async fn hang_up(&self, keys: &dyn Keys) {
        tokio::select! {
            () = self.live.course.turned() => {}
            () = self.wall() => { self.live.course.ask_to_end(Reason::Timeout); }
            () = self.sessions.ports.tasks.stopping() => { self.live.course.ask_to_end(Reason::ServerStopped); }
        }
        keys.hang_up();
    }

    /// Types the prompt, unless it is in the command line, and then the messages.
    async fn type_in(&self, keys: &dyn Keys, mut lines: mpsc::Receiver<Line>) {
        if let Some(first) = self.plan.first.clone()
            && keys.paste(first).await.is_err()
        {
            return;
        }
        while let Some(Line { content, told }) = lines.recv().await {
            if told.await.is_ok() && keys.paste(content).await.is_err() {
                return;
            }
        }
    }
}

/// Refuses what cannot be done to a program in a terminal.
async fn refuse(mut controls: mpsc::Receiver<Control>) {
    while let Some(Control { reply, .. }) = controls.recv().await {
        let why = "a session in a terminal cannot be paused";
        // Whoever asked may have gone.
        drop(reply.send(Err(Error::new(Code::Conflict, why))));
    }
}
