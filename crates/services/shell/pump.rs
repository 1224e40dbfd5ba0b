//! The way of a terminal's bytes: what is typed goes in, what is written comes out, is decoded, gathered
//! for a moment, and told.
//!
//! Guarantees: output is told in the order it was written, without loss, and a size in its place among it;
//! reading goes on only while the log takes what was read, so a program that floods is held back by its
//! terminal; what is typed goes in although the log is slow; characters are not cut.
//! It is not an emulator, and it does not redact: a control sequence with a hole draws something else.

use std::{sync::Arc, time::Duration};

use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use tidings_core::{Event, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    contract::{OUTPUT, Output, RESIZED, Resized, TerminalId},
    registry::{Ears, Resize},
    state::ShellState,
};
use crate::{
    programs::{
        decode::{Decoder, pieces},
        meter::Meter,
    },
    telling::{Telling, Told},
};

/// The most bytes of one event.
pub(super) const PIECE_BYTES: usize = 32 * 1024;
/// How many gatherings wait while one is being told.
pub(super) const QUEUE: usize = 1;
/// How long output is gathered from its first byte on: what one stroke of a program writes comes together.
const GATHER: Duration = Duration::from_millis(5);
/// How much of the output of a program that is gone is read: more than any terminal holds.
const LEFTOVER_BYTES: usize = 2 * 1024 * 1024;
/// Once the processes are killed, a terminal that is silent for so long is left to whoever holds it.
const SILENCE: Duration = Duration::from_millis(100);
/// After so much output its state is folded on, so that whoever joins never waits for more than this.
const FOLD_BYTES: u64 = 1024 * 1024;

/// Something that is to be told, in its place.
pub(super) enum Item {
    /// Output.
    Text(String),
    /// Another size. `told` hears what became of it.
    Size { event: Event, size: (u16, u16), told: oneshot::Sender<Result<()>> },
}

/// What moves the bytes of one terminal.
pub(super) struct Pump {
    id: TerminalId,
    size: (u16, u16),
    items: mpsc::Sender<Item>,
    /// Turns true once the processes are gone.
    killed: watch::Receiver<bool>,
    /// Hears whenever something is read.
    meter: Option<Arc<Meter>>,
    decoder: Decoder,
    gathered: Vec<u8>,
    since: Option<Instant>,
}

impl Pump {
    pub(super) fn new(
        id: TerminalId,
        size: (u16, u16),
        items: mpsc::Sender<Item>,
        killed: watch::Receiver<bool>,
        meter: Option<Arc<Meter>>,
    ) -> Self {
        let gathered = Vec::with_capacity(PIECE_BYTES);
        Self { id, size, items, killed, meter, decoder: Decoder::default(), gathered, since: None }
    }

    /// Moves bytes until the program is gone and what it wrote was read.
    pub(super) async fn run(mut self, mut output: OwnedReadPty, mut input: OwnedWritePty, mut ears: Ears) {
        let (mut typed, mut written) = (Vec::new(), 0);
        let (mut killed, items) = (self.killed.clone(), self.items.clone());
        loop {
            let due = self.is_full() || self.since.is_some_and(|since| since.elapsed() >= GATHER);
            let at = self.since.unwrap_or_else(Instant::now) + GATHER;
            tokio::select! {
                biased;
                () = gone(&mut killed) => break,
                Some(resize) = ears.sizes.recv() => self.resize(resize, &input).await,
                // Before what is written: a terminal without a program says so here, and may take nothing there.
                read = output.read_buf(&mut self.gathered), if !self.is_full() => match read {
                    Ok(count) if count > 0 => {
                        self.since.get_or_insert_with(Instant::now);
                        if let Some(meter) = &self.meter {
                            meter.hear();
                        }
                    }
                    // The system says so when the last process has closed its end.
                    _ => break,
                },
                wrote = input.write(&typed[written..]), if written < typed.len() => match wrote {
                    Ok(count) => written += count,
                    // The program is gone; what was typed after that has nobody to read it.
                    Err(_) => (typed, written) = (Vec::new(), 0),
                },
                Some(bytes) = ears.typed.recv(), if written == typed.len() => (typed, written) = (bytes, 0),
                permit = items.reserve(), if due => match permit {
                    Ok(permit) => {
                        permit.send(Item::Text(self.decoder.push(&self.gathered)));
                        self.gathered.clear();
                        self.since = None;
                    }
                    Err(_) => break,
                },
                () = sleep_until(at), if self.since.is_some() && !due => {}
            }
        }
        drop((ears, items));
        self.finish(output).await;
    }

    fn is_full(&self) -> bool {
        self.gathered.len() >= PIECE_BYTES
    }

    /// The program hears of a size after what it wrote for the one before was read.
    async fn resize(&mut self, Resize { user, cols, rows, reply }: Resize, input: &OwnedWritePty) {
        if self.size == (cols, rows) {
            // Whoever asked may have gone, here and below.
            return drop(reply.send(Ok(())));
        }
        if let Err(error) = input.resize(Size::new(rows, cols)) {
            tracing::debug!(terminal = %self.id, %error, "a terminal did not take a size");
            return drop(reply.send(Err(super::registry::ended())));
        }
        self.size = (cols, rows);
        self.flush().await;
        let event = Event::new(RESIZED, Resized { terminal_id: self.id.clone(), cols, rows }).by(Some(user));
        // Nobody takes it any more: the reply is dropped, and that is its answer.
        drop(self.items.send(Item::Size { event, size: self.size, told: reply }).await);
    }

    async fn flush(&mut self) {
        let text = self.decoder.push(&self.gathered);
        self.gathered.clear();
        self.since = None;
        self.pass_on(text).await;
    }

    async fn pass_on(&self, text: String) {
        if !text.is_empty() {
            // Nobody takes it any more: then the terminal ends without its output, and says so.
            drop(self.items.send(Item::Text(text)).await);
        }
    }

    /// Reads what the program left.
    async fn finish(mut self, mut output: OwnedReadPty) {
        let mut left = LEFTOVER_BYTES;
        let mut killed = self.killed.clone();
        // A program may close its terminal and go on; it is waited for all the same.
        gone(&mut killed).await;
        while left > 0 {
            self.flush().await;
            match timeout(SILENCE, output.read_buf(&mut self.gathered)).await {
                Ok(Ok(count)) if count > 0 => left = left.saturating_sub(count),
                _ => break,
            }
        }
        self.flush().await;
        let rest = self.decoder.finish();
        self.pass_on(rest).await;
    }
}

/// Resolves once the processes are gone.
async fn gone(killed: &mut watch::Receiver<bool>) {
    // An error means that whoever would kill them is gone, which is the same.
    drop(killed.wait_for(|killed| *killed).await);
}

/// Tells everything, each part durable before the next: what comes meanwhile is gathered by itself.
///
/// # Errors
/// When the bus will take no more.
pub(super) async fn tell_all(telling: &Telling<ShellState>, mut source: mpsc::Receiver<Item>) -> Result<()> {
    let (mut offset, mut unfolded) = (0, 0);
    while let Some(item) = source.recv().await {
        match item {
            Item::Text(text) => {
                let event = |data: &str| {
                    let data = Output { terminal_id: telling.id.clone(), data: data.to_owned(), offset: Some(offset) };
                    offset += data.data.len() as u64;
                    Event::new(OUTPUT, data)
                };
                let events: Vec<Event> = pieces(&text, PIECE_BYTES).into_iter().map(event).collect();
                if events.is_empty() {
                    continue;
                }
                let through = offset;
                telling.tell(events, None, |state| state.bytes >= through).await?;
                unfolded += text.len() as u64;
            }
            Item::Size { event, size, told } => {
                // Before it, the state has another size: the pump passes on no size twice in a row.
                let result = telling.tell(vec![event], None, |state| state.display.size() == size).await;
                // Whoever asked may have gone.
                drop(told.send(result.clone()));
                result?;
            }
        }
        if unfolded >= FOLD_BYTES {
            unfolded = 0;
            // Only a convenience: whoever joins folds it otherwise.
            drop(telling.states.get(ShellState::DOMAIN, telling.id.as_str()).await);
        }
    }
    Ok(())
}
