//! A program's output as lines, for an adapter.
//!
//! Guarantees: a line comes whole, however it was written; one without an end in sight comes in parts
//! of [`LINE_BYTES`]; nothing is held back but an unfinished line.
//! It is not a parser.

use tokio::{io::AsyncRead, sync::mpsc};

use crate::programs::{decode::Decoder, reader::Reader};

/// The most bytes of a line: a picture in an agent's message is a few megabytes.
pub(super) const LINE_BYTES: usize = 8 * 1024 * 1024;

/// Reads a stream to its end, or as far as somebody takes it.
pub(super) async fn read_lines(mut source: Reader<impl AsyncRead + Unpin + Send>, lines: mpsc::Sender<String>) {
    let (mut decoder, mut unfinished) = (Decoder::default(), String::new());
    while let Some(bytes) = source.read().await {
        let text = decoder.push(bytes);
        let mut parts = text.split('\n');
        unfinished.push_str(parts.next().unwrap_or_default());
        for next in parts {
            let line = std::mem::replace(&mut unfinished, next.to_owned());
            if lines.send(without_return(line)).await.is_err() {
                return;
            }
        }
        if unfinished.len() > LINE_BYTES && lines.send(std::mem::take(&mut unfinished)).await.is_err() {
            return;
        }
    }
    unfinished.push_str(&decoder.finish());
    if !unfinished.is_empty() {
        // Nobody takes it any more: then the session has ended without its output, and says so.
        drop(lines.send(without_return(unfinished)).await);
    }
}

fn without_return(mut line: String) -> String {
    if line.ends_with('\r') {
        line.pop();
    }
    line
}
