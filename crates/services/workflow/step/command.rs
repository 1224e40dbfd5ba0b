//! A command step: a program, its output, and what it reports.
//!
//! Guarantees: the two streams are told in the order they were read, each piece durable before the next; a
//! program that prints faster than the log takes it waits; when the outcome is there, the process
//! group is gone and everything that was read is told. Progress is told ten times a second at most, and
//! always the newest.
//! It is not the rendering of its command line.

use std::{os::unix::process::ExitStatusExt, pin::pin, process::ExitStatus, sync::Arc, time::Duration};

use futures_util::future::{join3, join4};
use parking_lot::Mutex;
use tidings_core::{Event, Result};
use tokio::{
    io::{AsyncRead, AsyncWriteExt},
    process::{Child, ChildStdin},
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    super::{
        contract::{Progress, STEP_OUTPUT, STEP_PROGRESS, StepOutput, StepProgress, Stream},
        outputs,
        telling::Outcome,
    },
    Attempt, Reason,
    report::Report,
};
use crate::{
    programs::{
        Begun,
        decode::{Decoder, pieces},
        meter::Meter,
        process::{Group, Running},
        reader::{PIECE_BYTES, Reader, Watched},
    },
    redaction::Redactor,
    telling::tell_by_id,
};

/// How long children that keep a pipe open may go on after the program itself has ended.
const DRAIN: Duration = Duration::from_secs(1);
/// The longest that text is held back for the sake of redaction.
const HOLD: Duration = Duration::from_millis(20);
/// Between two events of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// How many pieces wait, and how many become one unit on the bus.
const QUEUE: usize = 4;

/// A piece of output.
struct Piece {
    stream: Stream,
    content: String,
}

/// What is on its way to be told.
enum Item {
    Output(Piece),
    Progress(Progress),
}

impl Attempt {
    /// Runs a program to its end. It reads `stdin` from its standard input, and nothing where there is none.
    pub(super) async fn command(
        &self,
        argv: Vec<String>,
        env: Vec<(String, String)>,
        stdin: Option<String>,
    ) -> Outcome {
        let programs = &self.runs.programs;
        let root = match self.runs.ports.roots.still(self.root.clone()).await {
            Ok(root) => root,
            Err(error) => return Outcome::failed("root_refused", error.message()),
        };
        let mut program = programs.program(argv, root.clone());
        for (name, value) in env {
            program.give(&name, &value);
        }
        program.set("WORKFLOW_RUN_ID", self.run_id.as_str());
        program.set("WORKFLOW_STEP_ID", &self.step_id);
        program.set("WORKFLOW_ATTEMPT", &self.attempt.to_string());
        let name = format!("{}-{}", self.run_id, self.place);
        let started = async {
            let program = programs.confine(program, &root, None).await?;
            programs.start_reporting(program, "WORKFLOW_REPORT", &name).await
        };
        let Begun { running, reports, youth } = match started.await {
            Ok(started) => started,
            Err(error) => {
                return Outcome::failed("spawn_failed", format!("the program could not be started: {error}"));
            }
        };
        let mut attending = pin!(self.attend(running, reports, stdin));
        let outcome = tokio::select! {
            outcome = &mut attending => outcome,
            () = youth.pass() => attending.await,
        };
        programs.forget_in_turn(&name).await;
        outcome
    }

    async fn attend(&self, running: Running, reports: impl AsyncRead + Unpin + Send, input: Option<String>) -> Outcome {
        let Running { mut child, group, stdin, stdout, stderr } = running;
        let (items, queue) = mpsc::channel(QUEUE);
        let (killed, is_killed) = watch::channel(false);
        let over = Arc::new(Notify::new());
        let meter = Arc::new(Meter::new(self.runs.config.limits.output_bytes, self.runs.ports.clock.clone()));
        let met = over.clone();
        let watched = Watched { meter, killed: killed.subscribe(), over: Arc::new(move || met.notify_one()) };
        let (report, read_all) = (Mutex::new(Report::default()), Notify::new());
        let (report_on, all_read) = (&report, &read_all);
        let reading = async move {
            let out = self.pump(Stream::Stdout, Reader::new(stdout, watched.clone()), &items);
            let err = self.pump(Stream::Stderr, Reader::new(stderr, watched.clone()), &items);
            join3(out, err, listen(report_on, Reader::new(reports, watched), &items)).await;
            // The last sender goes with this: what tells comes to its end.
            drop(items);
            all_read.notify_one();
        };
        let watching = async {
            let ended = self.supervise(&mut child, &group, &over).await;
            drop(timeout(DRAIN, read_all.notified()).await);
            group.finish();
            killed.send_replace(true);
            ended
        };
        let feeding = feed(stdin, input, is_killed);
        let ((), (status, reason), told, ()) = join4(reading, watching, self.tell_all(queue), feeding).await;
        if told.is_err() {
            return Outcome::failed("output_lost", "the log took the output no more");
        }
        self.outcome(status, reason, report.into_inner())
    }

    fn outcome(&self, status: std::io::Result<ExitStatus>, reason: Option<Reason>, report: Report) -> Outcome {
        let status = match (reason, status) {
            (Some(reason), _) => return reason.outcome(),
            (None, Err(error)) => {
                return Outcome::failed("internal", format!("the program was lost sight of: {error}"));
            }
            (None, Ok(status)) => status,
        };
        let failed = |code: &str, message: String| Outcome::Failed {
            code: code.to_owned(),
            message,
            exit_code: status.code(),
            signal: status.signal(),
        };
        let progress = report.progress;
        match status.code() {
            None => failed("killed", "a signal that the server did not send ended the program".to_owned()),
            Some(0) => match report.into_outputs(&self.runs.config.redaction) {
                Ok(outputs) => Outcome::Completed { outputs, progress },
                Err(why) => failed(outputs::INVALID, why),
            },
            Some(code) => failed("exit_code", format!("the program exited with {code}")),
        }
    }

    /// Waits for the program to end, and makes it end when it is to.
    async fn supervise(
        &self,
        child: &mut Child,
        group: &Group,
        over: &Notify,
    ) -> (std::io::Result<ExitStatus>, Option<Reason>) {
        let reason = tokio::select! {
            status = child.wait() => return (status, None),
            reason = self.called_off() => reason,
            () = over.notified() => Reason::OutputLimit,
        };
        group.terminate();
        if let Ok(status) = timeout(self.runs.programs.grace(), child.wait()).await {
            return (status, Some(reason));
        }
        group.kill().await;
        (child.wait().await, Some(reason))
    }

    /// Reads one stream to its end as text.
    async fn pump(
        &self,
        stream: Stream,
        mut source: Reader<impl AsyncRead + Unpin + Send>,
        items: &mpsc::Sender<Item>,
    ) {
        let (mut decoder, mut redactor) = (Decoder::default(), Redactor::new(self.runs.config.redaction.clone()));
        let mut flush_at: Option<Instant> = None;
        loop {
            let ready = tokio::select! {
                biased;
                read = source.read() => match read {
                    Some(bytes) => redactor.push(&decoder.push(bytes)),
                    None => break,
                },
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => {
                    flush_at = None;
                    redactor.flush()
                }
            };
            flush_at = redactor.holds().then(|| flush_at.unwrap_or_else(|| Instant::now() + HOLD));
            if !pass_on(stream, &ready, items).await {
                return;
            }
        }
        let rest = redactor.push(&decoder.finish()) + &redactor.flush();
        pass_on(stream, &rest, items).await;
    }

    /// Tells everything, a unit at a time, each durable before the next.
    async fn tell_all(&self, mut source: mpsc::Receiver<Item>) -> Result<()> {
        let mut offsets = [0; 2];
        let (mut waiting, mut newest, mut due) = (Vec::with_capacity(QUEUE), None, Instant::now());
        loop {
            let count = tokio::select! {
                count = source.recv_many(&mut waiting, QUEUE) => Some(count),
                () = sleep_until(due), if newest.is_some() => None,
            };
            let mut events = Vec::new();
            for item in waiting.drain(..) {
                match item {
                    Item::Output(piece) => events.push(self.output(piece, &mut offsets)),
                    Item::Progress(progress) => newest = Some(progress),
                }
            }
            let ended = count == Some(0);
            if (ended || Instant::now() >= due)
                && let Some(progress) = newest.take()
            {
                due = Instant::now() + PROGRESS_EVERY;
                events.push(self.progress(progress));
            }
            if !events.is_empty() {
                tell_by_id(&*self.runs.ports.bus, events, None).await?;
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn output(&self, Piece { stream, content }: Piece, offsets: &mut [u64; 2]) -> Event {
        let offset = &mut offsets[stream as usize];
        let data = StepOutput {
            run_id: self.run_id.clone(),
            step_id: self.step_id.clone(),
            attempt: self.attempt,
            r#type: stream,
            offset: *offset,
            content,
        };
        *offset += data.content.len() as u64;
        Event::new(STEP_OUTPUT, data)
    }

    /// How much is done, as an event.
    pub(super) fn progress(&self, progress: Progress) -> Event {
        let (run_id, step_id) = (self.run_id.clone(), self.step_id.clone());
        Event::new(STEP_PROGRESS, StepProgress { run_id, step_id, attempt: self.attempt, progress })
    }
}

/// Writes what a program is given to read, as far as it reads it, and ends its input.
async fn feed(mut stdin: ChildStdin, input: Option<String>, mut killed: watch::Receiver<bool>) {
    let Some(input) = input else { return };
    tokio::select! {
        // It may have closed its end: then it wants no more.
        written = stdin.write_all(input.as_bytes()) => drop(written),
        // The sender goes only after it.
        _ = killed.wait_for(|killed| *killed) => {}
    }
}

async fn pass_on(stream: Stream, text: &str, items: &mpsc::Sender<Item>) -> bool {
    for content in pieces(text, PIECE_BYTES) {
        let item = Item::Output(Piece { stream, content: content.to_owned() });
        if items.send(item).await.is_err() {
            return false;
        }
    }
    true
}

/// Reads what the program reports.
async fn listen(report: &Mutex<Report>, mut source: Reader<impl AsyncRead + Unpin + Send>, items: &mpsc::Sender<Item>) {
    while let Some(bytes) = source.read().await {
        let progress = {
            let mut report = report.lock();
            report.push(bytes).then_some(report.progress)
        };
        if let Some(progress) = progress
            && items.send(Item::Progress(progress)).await.is_err()
        {
            return;
        }
    }
    report.lock().finish();
}
