//! A message as the wire has it, written out: see the protocol, section 2.
//!
//! Guarantees: the data is copied byte for byte and never parsed; the only field whose text is free,
//! the idempotency id, is escaped.
//! It is not a serialiser: the order and the kind of the fields are fixed.

use std::fmt::{Error, Write};

use super::Message;

/// What the names of all fields take, with the time, a number of twenty digits and quotes.
const FRAME_BYTES: usize = 160;

/// The envelope of a message.
pub(super) fn of(message: &Message, dropped: u64) -> String {
    let parts = [message.event_type.as_str(), message.channel.as_str(), message.payload.json()];
    let by = message.by.as_ref().map_or(0, |by| by.as_str().len());
    let id = message.id.as_ref().map_or(0, |id| id.len());
    let mut out = String::with_capacity(FRAME_BYTES + by + id + parts.iter().map(|part| part.len()).sum::<usize>());
    write(message, dropped, &mut out).expect("a string takes whatever is written, and any text has a JSON form");
    out
}

fn write(message: &Message, dropped: u64, out: &mut String) -> Result<(), Error> {
    // Types, channels and users have no character that JSON escapes: their grammar allows none.
    text(out, r#"{"type":""#, message.event_type.as_str());
    text(out, r#"","channel":""#, message.channel.as_str());
    out.push('"');
    if let Some(seq) = message.seq {
        write!(out, r#","seq":{seq}"#)?;
    }
    write!(out, r#","time":"{}""#, message.time)?;
    if let Some(by) = &message.by {
        text(out, r#","by":{"userId":""#, by.as_str());
        out.push_str(r#""}"#);
    }
    if let Some(id) = &message.id {
        text(out, r#","id":"#, &serde_json::to_string(id).map_err(|_| Error)?);
    }
    if dropped > 0 {
        write!(out, r#","dropped":{dropped}"#)?;
    }
    text(out, r#","data":"#, message.payload.json());
    out.push('}');
    Ok(())
}

fn text(out: &mut String, before: &str, text: &str) {
    out.push_str(before);
    out.push_str(text);
}
