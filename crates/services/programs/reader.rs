//! Reading one stream of a program, as far as it is worth it.
//!
//! Guarantees: what was printed before the program ended is read to the end; once the process group is
//! killed, a pipe that somebody else holds open is left to them; what passes the limit is cut off.
//! It is not a decoder.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::watch,
};

use super::meter::Meter;

/// The most bytes that are read at once, and of one piece of output.
pub(crate) const PIECE_BYTES: usize = 16 * 1024;

/// And at first: most programs print little.
const FIRST_BYTES: usize = 1024;

/// Once the process group is killed, a pipe that is silent for so long is left to whoever holds it.
const SILENCE: Duration = Duration::from_millis(100);
/// And so much is read of it at most: more than any pipe holds.
const LEFTOVER_BYTES: u64 = 2 * 1024 * 1024;

/// What is needed to read a stream.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) meter: Arc<Meter>,
    /// Turns true once the process group is killed.
    pub(crate) killed: watch::Receiver<bool>,
    /// Called when the limit is met.
    pub(crate) over: Arc<dyn Fn() + Send + Sync>,
}

/// A reader of one stream.
pub(crate) struct Reader<S> {
    source: S,
    watched: Watched,
    buffer: Vec<u8>,
    /// Whether the last read filled the buffer.
    full: bool,
    leftover: u64,
}

impl<S: AsyncRead + Unpin + Send> Reader<S> {
    /// A reader at the start of a stream.
    pub(crate) fn new(source: S, watched: Watched) -> Self {
        Self { source, watched, buffer: vec![0; FIRST_BYTES], full: false, leftover: 0 }
    }

    /// The next bytes; none at the end. Nothing is lost when it is dropped while it waits.
    pub(crate) async fn read(&mut self) -> Option<&[u8]> {
        if std::mem::take(&mut self.full) {
            self.buffer.resize((self.buffer.len() * 4).min(PIECE_BYTES), 0);
        }
        let count = loop {
            if self.leftover >= LEFTOVER_BYTES {
                return None;
            }
            let killed = *self.watched.killed.borrow();
            tokio::select! {
                biased;
                read = self.source.read(&mut self.buffer) => match read {
                    Ok(count) if count > 0 => {
                        self.leftover += if killed { count as u64 } else { 0 };
                        break count;
                    }
                    _ => return None,
                },
                _ = self.watched.killed.changed(), if !killed => {}
                () = tokio::time::sleep(SILENCE), if killed => return None,
            }
        };
        self.full = count == self.buffer.len();
        let admitted = self.watched.meter.pass(count);
        if admitted < count {
            (self.watched.over)();
        }
        Some(&self.buffer[..admitted])
    }
}
