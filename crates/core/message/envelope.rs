//! A message as the wire has it, written out: see the protocol, section 2.
//!
//! Guarantees: the data is copied byte for byte and never parsed; the only field whose text is free,
//! the idempotency id, is escaped.
//! It is not a serialiser: the order and the kind of the fields are fixed.

use std::io::{Result, Write};

use super::{Message, time};

/// Writes the envelope of a message to the end of `out`.
pub(super) fn write(message: &Message, dropped: u64, out: &mut Vec<u8>) -> Result<()> {
    // Types, channels and users have no character that JSON escapes: their grammar allows none.
    text(out, r#"{"type":""#, message.event_type.as_str());
    text(out, r#"","channel":""#, message.channel.as_str());
    out.push(b'"');
    if let Some(seq) = message.seq {
        write!(out, r#","seq":{seq}"#)?;
    }
    out.extend_from_slice(br#","time":""#);
    out.extend_from_slice(&time::rfc3339(message.time.0));
    out.push(b'"');
    if let Some(by) = &message.by {
        text(out, r#","by":{"userId":""#, by.as_str());
        out.extend_from_slice(br#""}"#);
    }
    if let Some(id) = &message.id {
        out.extend_from_slice(br#","id":"#);
        serde_json::to_writer(&mut *out, id)?;
    }
    if dropped > 0 {
        write!(out, r#","dropped":{dropped}"#)?;
    }
    text(out, r#","data":"#, message.payload.json());
    out.push(b'}');
    Ok(())
}

fn text(out: &mut Vec<u8>, before: &str, text: &str) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(text.as_bytes());
}
