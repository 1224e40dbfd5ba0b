//! The thread that starts programs of which many start at once, one after the other.
//!
//! Guarantees: what was asked first is done first; no task of the server waits for the system to start a program,
//! and a crowd of starts takes no more of the processors than the programs may: the thread has their priority.
//! What waits is bounded. The thread ends with whoever holds this, and outlives a start that panics.
//! It is not for everything: a session or a terminal is started by whoever opens it, at once.

use std::{io, thread};

use rustix::{process::setpriority_process, thread::gettid};
use tidings_core::{fault, panics};
use tokio::sync::mpsc;

/// How much waits; whoever asks beyond that waits before.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// The thread's queue.
#[derive(Debug)]
pub(super) struct Starter(mpsc::Sender<Job>);

impl Starter {
    /// A thread with a priority; none is the server's own.
    ///
    /// # Errors
    /// The system's, when it has no thread left.
    pub(super) fn new(nice: Option<i32>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        thread::Builder::new().name("tidings-start".to_owned()).spawn(move || work(nice, queue))?;
        Ok(Self(jobs))
    }

    /// Puts a job at the end. Resolves when it has its place, not when it is done.
    pub(super) async fn put(&self, job: impl FnOnce() + Send + 'static) {
        if self.0.send(Box::new(job)).await.is_err() {
            tracing::error!("the thread that starts programs is gone");
        }
    }
}

fn work(nice: Option<i32>, mut queue: mpsc::Receiver<Job>) {
    if let Some(nice) = nice
        && let Err(error) = setpriority_process(Some(gettid()), nice)
    {
        tracing::debug!(%error, "programs are started with the server's priority");
    }
    while let Some(job) = queue.blocking_recv() {
        // Whoever asked hears of it: the way of the answer is dropped with the job.
        drop(panics::caught("programs.start", || {
            fault::here("programs.start");
            job();
        }));
    }
}
