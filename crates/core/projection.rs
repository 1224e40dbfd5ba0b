//! Projections: the fold of a channel's messages into its state.
//!
//! Guarantees: a state is a pure function of the messages up to its seq, so that snapshot, REST and
//! list cannot disagree, and a saved state plus what follows is the same as folding everything.
//! It is not a cache of a service: services read their own states back through [`States`].

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use crate::{Error, Event, Message, Result, Seq, Timestamp, UserId};

/// A typed reducer: what a domain writes. [`Fold`] makes a [`Projection`] of it.
pub trait Reducer: Send + Sync + 'static {
    /// The state. Its `Default` is the state before the first message; its JSON is the snapshot.
    type State: Default + Clone + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// Goes up with every change after which the JSON of a saved state would not be read as what it meant.
    /// States of older ones go through [`Reducer::upgrade`].
    const VERSION: u32;

    /// Folds the next message in. Messages that it does not know change nothing.
    fn apply(state: &mut Self::State, message: &Message);

    /// A saved state that another version made, as one of this version; none if there is no way. `bytes` is
    /// the JSON that the other version saved.
    ///
    /// Messages whose effect is in a saved state may be gone, so a state without a way is not folded anew
    /// unless the channel's whole history is there: the server does not start, and says why.
    fn upgrade(_version: u32, _bytes: &[u8]) -> Option<Self::State> {
        None
    }

    /// The types of the events that may leave nothing open in a state. After one of them the state is saved
    /// soon, so that the next start need not look at it.
    const ENDS: &'static [&'static str] = &[];

    /// Whether a start has to look at this state: it goes on with what is open, or ends it. A channel whose
    /// saved state says no is not read by a start. What has something abandoned is open.
    fn is_open(state: &Self::State) -> bool {
        !Self::abandoned(state).is_empty()
    }

    /// The events that end what this state has open, for a start after the server died.
    /// Empty when nothing is open.
    fn abandoned(_state: &Self::State) -> Vec<Event> {
        Vec::new()
    }

    /// What gathers the ephemeral messages of a channel; none if each stands for itself.
    fn draft() -> Option<Box<dyn Draft>> {
        None
    }

    /// Puts what was gathered into a state that is to be shown. The state is a copy that is not saved.
    fn show(_state: &mut Self::State, _draft: &dyn Draft) {}
}

/// What ephemeral messages have built up and no durable message has replaced yet, such as a text that
/// is being written: whoever missed some of them is given it whole.
///
/// It lives in memory only, as long as its channel's producer does, and is never part of a saved state.
pub trait Draft: Send + Sync {
    /// Folds the next message in, ephemeral or durable. Must be bounded.
    fn apply(&mut self, message: &Message);
    /// Whether there is nothing to show.
    fn is_empty(&self) -> bool;
    /// Ephemeral events that bring somebody who has seen none of it up to date.
    fn events(&self) -> Vec<Event>;
    /// The draft itself, for its domain.
    fn as_any(&self) -> &dyn Any;
}

/// A state whose type only its domain knows.
pub trait Folded: Send + Sync {
    /// Folds the next message in.
    fn apply(&mut self, message: &Message);
    /// Its bytes for [`Projection::restore`].
    fn save(&self) -> Vec<u8>;
    /// The state as clients see it. Made once: until the state changes, whoever asks again gets the same.
    fn snapshot(&self) -> Arc<RawValue>;
    /// See [`Reducer::abandoned`].
    fn abandoned(&self) -> Vec<Event>;
    /// See [`Reducer::is_open`].
    fn is_open(&self) -> bool;
    /// See [`Reducer::show`].
    fn show(&mut self, draft: &dyn Draft);
    /// A copy.
    fn boxed_clone(&self) -> Box<dyn Folded>;
    /// The state itself, for its domain.
    fn as_any(&self) -> &dyn Any;
}

/// A reducer behind an object-safe face.
pub trait Projection: Send + Sync {
    /// See [`Reducer::VERSION`].
    fn version(&self) -> u32;
    /// See [`Reducer::ENDS`].
    fn ends(&self) -> &'static [&'static str];
    /// The schema of the state, as [`Folded::snapshot`] shows it.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema;
    /// The state before the first message.
    fn start(&self) -> Box<dyn Folded>;
    /// A saved state.
    ///
    /// # Errors
    /// `internal` when the bytes are not of this version.
    fn restore(&self, bytes: &[u8]) -> Result<Box<dyn Folded>>;
    /// See [`Reducer::upgrade`].
    fn upgrade(&self, version: u32, bytes: &[u8]) -> Option<Box<dyn Folded>>;
    /// See [`Reducer::draft`].
    fn draft(&self) -> Option<Box<dyn Draft>>;
}

/// The projection of a reducer.
pub struct Fold<R>(PhantomData<R>);

impl<R: Reducer> Fold<R> {
    /// The projection, shared.
    #[must_use]
    pub fn projection() -> Arc<dyn Projection> {
        Arc::new(Self(PhantomData))
    }
}

impl<R> fmt::Debug for Fold<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fold")
    }
}

/// A state, with its JSON once it was asked for.
struct State<R: Reducer>(R::State, OnceLock<Arc<RawValue>>);

impl<R: Reducer> State<R> {
    fn of(state: R::State) -> Self {
        Self(state, OnceLock::new())
    }
}

impl<R: Reducer> Projection for Fold<R> {
    fn version(&self) -> u32 {
        R::VERSION
    }
    fn ends(&self) -> &'static [&'static str] {
        R::ENDS
    }
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<R::State>()
    }
    fn start(&self) -> Box<dyn Folded> {
        Box::new(State::<R>::of(R::State::default()))
    }
    fn restore(&self, bytes: &[u8]) -> Result<Box<dyn Folded>> {
        let state = serde_json::from_slice(bytes).map_err(|_| Error::internal())?;
        Ok(Box::new(State::<R>::of(state)))
    }
    fn upgrade(&self, version: u32, bytes: &[u8]) -> Option<Box<dyn Folded>> {
        Some(Box::new(State::<R>::of(R::upgrade(version, bytes)?)))
    }
    fn draft(&self) -> Option<Box<dyn Draft>> {
        R::draft()
    }
}

impl<R: Reducer> Folded for State<R> {
    fn apply(&mut self, message: &Message) {
        self.1.take();
        R::apply(&mut self.0, message);
    }
    fn save(&self) -> Vec<u8> {
        self.snapshot().get().as_bytes().to_vec()
    }
    fn snapshot(&self) -> Arc<RawValue> {
        let make = || serde_json::value::to_raw_value(&self.0).expect("a state serialises").into();
        self.1.get_or_init(make).clone()
    }
    fn abandoned(&self) -> Vec<Event> {
        R::abandoned(&self.0)
    }
    fn is_open(&self) -> bool {
        R::is_open(&self.0)
    }
    fn show(&mut self, draft: &dyn Draft) {
        self.1.take();
        R::show(&mut self.0, draft);
    }
    fn boxed_clone(&self) -> Box<dyn Folded> {
        Box::new(State::<R>(self.0.clone(), self.1.clone()))
    }
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
}

/// A state of a domain's thing, as of exactly `seq`.
pub struct View {
    /// The thing's id.
    pub id: SmolStr,
    /// Who owns it.
    pub owner: Option<UserId>,
    /// The project that it belongs to.
    pub project: Option<SmolStr>,
    /// The last message in the state.
    pub seq: Seq,
    /// When its newest message was published.
    pub updated_at: Timestamp,
    /// The state.
    pub state: Arc<dyn Folded>,
}

impl View {
    /// The state as its domain's type.
    #[must_use]
    pub fn state<T: 'static>(&self) -> Option<&T> {
        self.state.as_any().downcast_ref()
    }

    /// The state as an answer, if it is of its domain's type.
    #[must_use]
    pub fn snapshot<T: 'static>(&self) -> Option<Snapshot<T>> {
        self.state::<T>()?;
        Some(Snapshot { json: self.state.snapshot(), of: PhantomData })
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} at {})", self.id, self.seq)
    }
}

/// The JSON of a state of this type.
pub struct Snapshot<T> {
    json: Arc<RawValue>,
    of: PhantomData<fn() -> T>,
}

impl<T> Snapshot<T> {
    /// The JSON.
    #[must_use]
    pub fn into_json(self) -> Box<RawValue> {
        (*self.json).to_owned()
    }
}

impl<T> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

/// Which states to list: newest id first.
#[derive(Debug, Clone, Default)]
pub struct ListStates {
    /// Only those of this project.
    pub project: Option<SmolStr>,
    /// Only ids below this one.
    pub below: Option<SmolStr>,
    /// Only those in which something may be open, for a start. It may find more than are, never fewer.
    pub open: bool,
    /// At most so many.
    pub limit: usize,
}

/// The states of a domain, by id: what its service reads back. Never by channel.
pub trait States: Send + Sync {
    /// The state of one thing, as of the channel's head; none if it was never published to.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn get(&self, domain: &'static str, id: &str) -> BoxFuture<'_, Result<Option<View>>>;

    /// States of a domain, newest id first.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn list(&self, domain: &'static str, query: ListStates) -> BoxFuture<'_, Result<Vec<View>>>;

    /// The durable messages of one thing above `after`, at most `limit`, with whether more follow.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn messages(
        &self,
        domain: &'static str,
        id: &str,
        after: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Arc<Message>>, bool)>>;
}
