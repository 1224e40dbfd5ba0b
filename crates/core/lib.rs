//! The vocabulary of Tidings and its ports.
//!
//! What everybody may name: names, ids, events, messages, positions, errors, principals and
//! grants ([`name`], [`id`], [`event`], [`message`], [`error`], [`principal`]), the reading of JSON ([`json`]),
//! and the traits at the seams of the house ([`bus`], [`log`], [`handler`], [`contract`], [`command`], [`document`], [`projection`], [`identity`],
//! [`outlet`] with its [`parcel`]s, [`runtime`]); what several of them count with ([`rate`]), share among addresses ([`places`]) or tell of their files ([`damage`]); [`panics`], and [`fault`]s for tests.
//!
//! Guarantees: nothing here does I/O, reads a clock or needs a runtime.
//! It is not the place of any domain, any transport or any implementation of a port.

pub mod bus;
pub mod command;
pub mod contract;
pub mod damage;
pub mod document;
pub mod error;
pub mod event;
pub mod fault;
pub mod handler;
pub mod id;
pub mod identity;
pub mod json;
pub mod log;
pub mod message;
pub mod name;
pub mod outlet;
pub mod own_file;
pub mod panics;
pub mod parcel;
pub mod places;
pub mod principal;
pub mod projection;
pub mod rate;
pub mod refusal;
pub mod runtime;

pub use futures_util::future::BoxFuture;
pub use schemars;

pub use error::{Code, Error, Result};
pub use event::{Event, Payload};
pub use id::UserId;
pub use message::{Epoch, Message, Position, Seq, Timestamp};
pub use name::{Channel, EventType, Pattern};
pub use principal::{Action, Grant, Principal};
