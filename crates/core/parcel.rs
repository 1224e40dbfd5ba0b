//! A parcel: messages that outlets are offered in one go, and their form on the wire.
//!
//! Guarantees: the form of each kind of transport is made at most once for a parcel, whoever asks
//! first, and lies in one piece, so that one write can take it; it goes with the parcel.
//! It is not a delivery: who gets it, and when, is the hub's.

use std::{
    any::TypeId,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{Epoch, Message};

/// What a message takes besides its data, about, in bytes.
const AROUND: usize = 256;

/// How one kind of transport writes a message. The same bytes serve every connection of the kind, and the type
/// that implements this names the kind.
pub trait WireForm: 'static {
    /// Writes a message to the end of `out`. Its number is of the numbering `epoch`; an ephemeral message has none.
    fn write(message: &Message, epoch: &Epoch, out: &mut Vec<u8>);
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

/// A form that was made, and behind it the next kind's. Most parcels have one, and nobody has more than there are
/// kinds of transports: looking through them is cheaper than a map.
struct Made {
    kind: TypeId,
    wire: Wire,
    next: OnceLock<Box<Made>>,
}

/// Messages for one or many outlets.
pub struct Parcel {
    messages: Vec<Arc<Message>>,
    epoch: Epoch,
    made: OnceLock<Made>,
}

impl Parcel {
    /// A parcel of these messages, in their order. Their numbers are of the numbering `epoch`.
    #[must_use]
    pub fn new(messages: Vec<Arc<Message>>, epoch: Epoch) -> Self {
        Self { messages, epoch, made: OnceLock::new() }
    }

    /// The messages.
    #[must_use]
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// What their numbers are of.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The messages as one kind of transport writes them, made at the first call.
    pub fn wire<F: WireForm>(&self) -> &Wire {
        let mut made = self.made.get_or_init(|| self.make::<F>());
        while made.kind != TypeId::of::<F>() {
            made = made.next.get_or_init(|| Box::new(self.make::<F>()));
        }
        &made.wire
    }

    fn make<F: WireForm>(&self) -> Made {
        let room = self.messages.iter().map(|message| message.payload.json().len() + AROUND).sum();
        let wire = Wire::of(self.messages.iter(), room, |message, out| F::write(message, &self.epoch, out));
        Made { kind: TypeId::of::<F>(), wire, next: OnceLock::new() }
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

    /// A form of its own for each number.
    struct Numbered<const N: usize>;

    impl<const N: usize> WireForm for Numbered<N> {
        fn write(message: &Message, epoch: &Epoch, out: &mut Vec<u8>) {
            out.extend_from_slice(format!("{N} {epoch} {:?};", message.seq).as_bytes());
        }
    }

    #[test]
    fn each_kind_of_form_is_made_once_and_knows_the_position_of_its_message() {
        let message = |seq| {
            let event = crate::Event::new("test.said", 7);
            Arc::new(Message::new("test:1".parse().expect("a channel"), seq, crate::Timestamp(0), event))
        };
        let parcel = Parcel::new(vec![message(Some(4)), message(None)], Epoch("e".into()));
        let of = |wire: &Wire| String::from_utf8(wire.bytes().to_vec()).expect("text");
        let first = [parcel.wire::<Numbered<1>>(), parcel.wire::<Numbered<2>>(), parcel.wire::<Numbered<3>>()];
        assert_eq!(first.map(of), [1, 2, 3].map(|n| format!("{n} e Some(4);{n} e None;")));
        let again = [parcel.wire::<Numbered<1>>(), parcel.wire::<Numbered<2>>(), parcel.wire::<Numbered<3>>()];
        assert!(first.iter().zip(again).all(|(one, other)| std::ptr::eq(*one, other)));
    }
}
