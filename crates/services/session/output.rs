//! The way of a program's output, and of what else is told of a session: read, decode, redact, cut, tell.
//!
//! Guarantees: the two streams are read apart and told in the order they were read; text is held
//! back at most [`HOLD`] for the sake of redaction (an unfinished character waits for its rest);
//! reading goes on only while the log takes what was read, so a fast program is held back by its
//! pipe; what was printed before the program ended is read to the end.
//! It is not a buffer: at most [`QUEUE`] pieces wait while one unit of them is being told.

use std::{sync::Arc, time::Duration};

use tidings_core::{Event, Result};
use tokio::{
    io::AsyncRead,
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    agent::{Delta, Deltas},
    contract::{STREAM_OUTPUT, SessionId, Stream, StreamOutput},
    telling::Telling,
};
pub(super) use crate::programs::{meter::Meter, reader::PIECE_BYTES};
use crate::{
    programs::{
        decode::{Decoder, pieces},
        reader::Reader,
    },
    redaction::{Redaction, Redactor},
    telling::tell_by_id,
};

/// How many pieces wait, and how many become one unit on the bus.
pub(super) const QUEUE: usize = 4;
/// The longest that text is held back.
const HOLD: Duration = Duration::from_millis(20);
/// Something that is to be told, in its place among the rest.
pub(super) enum Item {
    /// Output.
    Piece(Piece),
    /// Durable events, as one unit. `told` hears what became of it.
    Said { events: Vec<Event>, told: Option<oneshot::Sender<Result<()>>> },
    /// A piece of a text in progress, ephemeral.
    Delta(Delta),
}

/// A piece of output on its way.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) stream: Stream,
    pub(super) content: String,
}

/// What reads one stream as text.
pub(super) struct Pump {
    pub(super) stream: Stream,
    pub(super) redaction: Arc<Redaction>,
    pub(super) items: mpsc::Sender<Item>,
}

impl Pump {
    /// Reads to the end of the stream, or as far as the rest is worth it.
    pub(super) async fn run(self, mut source: Reader<impl AsyncRead + Unpin + Send>) {
        let mut decoder = Decoder::default();
        let mut redactor = Redactor::new(self.redaction.clone());
        let mut flush_at: Option<Instant> = None;
        loop {
            let ready = tokio::select! {
                biased;
                read = source.read() => match read {
                    Some(bytes) => redactor.push(&decoder.push(bytes)),
                    None => break,
                },
                () = tokio::time::sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => {
                    flush_at = None;
                    redactor.flush()
                }
            };
            if redactor.holds() {
                flush_at.get_or_insert_with(|| Instant::now() + HOLD);
            } else {
                flush_at = None;
            }
            if self.pass_on(&ready).await.is_err() {
                return;
            }
        }
        let rest = redactor.push(&decoder.finish()) + &redactor.flush();
        // Nobody takes it any more: then the session has ended without its output, and says so.
        drop(self.pass_on(&rest).await);
    }

    async fn pass_on(&self, text: &str) -> Result<(), mpsc::error::SendError<Item>> {
        for content in pieces(text, PIECE_BYTES) {
            self.items.send(Item::Piece(Piece { stream: self.stream, content: content.to_owned() })).await?;
        }
        Ok(())
    }
}

/// Makes events of pieces: neighbours of one stream become one, each with its offset.
#[derive(Debug, Default)]
pub(super) struct Record {
    offsets: [u64; 3],
}

impl Record {
    /// How many bytes of output there are so far, all streams together.
    pub(super) fn bytes(&self) -> u64 {
        self.offsets.iter().sum()
    }

    /// The events of these pieces.
    pub(super) fn events(&mut self, id: &SessionId, pieces: impl IntoIterator<Item = Piece>) -> Vec<Event> {
        let mut merged: Vec<Piece> = Vec::with_capacity(QUEUE);
        for piece in pieces {
            match merged.last_mut() {
                Some(last)
                    if last.stream == piece.stream && last.content.len() + piece.content.len() <= PIECE_BYTES =>
                {
                    last.content.push_str(&piece.content);
                }
                _ => merged.push(piece),
            }
        }
        merged.into_iter().map(|piece| self.event(id, piece)).collect()
    }

    fn event(&mut self, id: &SessionId, Piece { stream, content }: Piece) -> Event {
        let offset = &mut self.offsets[stream as usize];
        let data = StreamOutput { session_id: id.clone(), r#type: stream, offset: Some(*offset), content };
        *offset += data.content.len() as u64;
        Event::new(STREAM_OUTPUT, data)
    }
}

/// Tells everything, a unit at a time, each durable before the next: what comes meanwhile forms the
/// next unit by itself.
///
/// # Errors
/// When the bus will take no more.
pub(super) async fn tell_all(telling: &Telling, mut record: Record, mut source: mpsc::Receiver<Item>) -> Result<()> {
    let (mut waiting, mut pieces, mut deltas) = (Vec::with_capacity(QUEUE), Vec::new(), Deltas::default());
    while source.recv_many(&mut waiting, QUEUE).await > 0 {
        for item in waiting.drain(..) {
            if let Item::Piece(piece) = item {
                pieces.push(piece);
                continue;
            }
            tell_pieces(telling, &mut record, &mut pieces).await?;
            match item {
                Item::Delta(delta) => deltas.send(&*telling.bus, delta),
                Item::Said { events, told } => {
                    deltas.flush(&*telling.bus);
                    // Each has an id of its own, so that a repeat after a failure changes nothing.
                    let result = tell_by_id(&*telling.bus, events, None).await;
                    if let Some(told) = told {
                        // Whoever asked may have gone.
                        drop(told.send(result.clone()));
                    }
                    result?;
                }
                Item::Piece(_) => unreachable!("pieces were taken above"),
            }
        }
        tell_pieces(telling, &mut record, &mut pieces).await?;
    }
    Ok(())
}

async fn tell_pieces(telling: &Telling, record: &mut Record, pieces: &mut Vec<Piece>) -> Result<()> {
    if pieces.is_empty() {
        return Ok(());
    }
    let events = record.events(&telling.id, pieces.drain(..));
    let through = record.bytes();
    telling.tell(events, None, |state| state.counts.bytes >= through).await
}
