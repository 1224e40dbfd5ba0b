//! A parcel: messages that outlets are offered in one go, and their form on the wire.
//!
//! Guarantees: the form of each kind of transport is made at most once for a parcel, whoever asks
//! first, and lies in one piece, so that one write can take it; it goes with the parcel.
//! It is not a delivery: who gets it, and when, is the hub's.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::Message;

/// How many kinds of wire form there may be. A kind is registered by [`WireForm::slot`].
pub const WIRE_SLOTS: usize = 2;

/// What a message takes besides its data, about, in bytes.
const AROUND: usize = 256;

/// How one kind of transport writes a message. The same bytes serve every connection of the kind.
pub trait WireForm: Send + Sync + 'static {
    /// Which of a parcel's [`WIRE_SLOTS`] keeps this form; one kind, one slot.
    fn slot(&self) -> usize;

    /// Writes a message to the end of `out`.
    fn write(&self, message: &Message, out: &mut Vec<u8>);
}

/// Things as they leave, one after the other in one piece.
#[derive(Debug, Default)]
pub struct Wire {
    bytes: Bytes,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Wire {
    /// Each of the things, as `write` puts it to the end. `room` is how many bytes they take, about.
    pub fn of<T>(things: impl ExactSizeIterator<Item = T>, room: usize, write: impl Fn(T, &mut Vec<u8>)) -> Self {
        let (mut bytes, mut ends) = (Vec::with_capacity(room), Vec::with_capacity(things.len()));
        for thing in things {
            write(thing, &mut bytes);
            ends.push(bytes.len());
        }
        Self { bytes: bytes.into(), ends }
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many things it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many things are whole within its first `bytes` bytes.
    #[must_use]
    pub fn whole(&self, bytes: usize) -> usize {
        self.ends.partition_point(|end| *end <= bytes)
    }

    /// Where the things before this one end.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }

    /// One of the things.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn part(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.ends[index]]
    }
}

/// Messages for one or many outlets.
pub struct Parcel {
    messages: Vec<Arc<Message>>,
    forms: [OnceLock<Wire>; WIRE_SLOTS],
}

impl Parcel {
    /// A parcel of these messages, in their order.
    #[must_use]
    pub fn new(messages: Vec<Arc<Message>>) -> Self {
        Self { messages, forms: Default::default() }
    }

    /// The messages.
    #[must_use]
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// The messages as one kind of transport writes them, made at the first call.
    pub fn wire(&self, form: &dyn WireForm) -> &Wire {
        self.forms[form.slot()].get_or_init(|| {
            let room = self.messages.iter().map(|message| message.payload.json().len() + AROUND).sum();
            Wire::of(self.messages.iter(), room, |message, out| form.write(message, out))
        })
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parcel").field(&self.messages).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_things_of_a_wire_are_found_by_their_ends() {
        let wire = Wire::of(["ab", "", "cde"].into_iter(), 0, |text, out| out.extend_from_slice(text.as_bytes()));
        assert_eq!(&wire.bytes()[..], b"abcde");
        assert_eq!([0, 1, 2].map(|index| wire.part(index)), [&b"ab"[..], b"", b"cde"]);
        assert_eq!([0, 1, 2, 4, 5].map(|bytes| wire.whole(bytes)), [0, 0, 2, 2, 3]);
        assert_eq!((wire.count(), Wire::default().count()), (3, 0));
    }
}
