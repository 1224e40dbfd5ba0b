//! An event: a fact of a domain, on its way from a service or a producer to a channel.
//!
//! Guarantees: the payload's bytes are passed on as they came; its typed value, where one was made,
//! travels beside them to its route, and on where a draft is folded of it, so that nothing is parsed twice.
//! It is not a message yet: it has no channel, no number and no time.

use std::{any::Any, fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use crate::{Channel, EventType, Result, UserId, json, refusal::unread};

/// The data of an event: its JSON, made or checked once, and its typed value where there is one.
#[derive(Clone)]
pub struct Payload {
    json: Arc<str>,
    typed: Option<Arc<dyn Any + Send + Sync>>,
}

impl Payload {
    /// The payload of a typed value. The value travels along.
    ///
    /// # Panics
    /// If the value's `Serialize` fails, which payload types of the house never do.
    #[must_use]
    pub fn of<T: Serialize + Send + Sync + 'static>(value: T) -> Self {
        let json = serde_json::value::to_raw_value(&value).expect("payload types serialise");
        Self { json: json.get().into(), typed: Some(Arc::new(value)) }
    }

    /// A payload that came as JSON.
    #[must_use]
    pub fn raw(json: &RawValue) -> Self {
        Self { json: json.get().into(), typed: None }
    }

    /// A payload as a log kept it: the text of one that was made or checked before it was written. It
    /// is not looked at again.
    #[must_use]
    pub fn kept(json: &str) -> Self {
        Self { json: json.into(), typed: None }
    }

    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The typed value: the one that travelled along, else parsed from the JSON.
    ///
    /// # Errors
    /// `invalid_data` with the field, if the JSON is not of this type.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>> {
        if let Some(typed) = self.typed.clone().and_then(|typed| typed.downcast::<T>().ok()) {
            return Ok(typed);
        }
        let value = json::from_str(&self.json).map_err(|error| unread::<T>("data", &self.json, &error))?;
        Ok(Arc::new(value))
    }

    /// As [`Payload::typed`], and the value travels along from now on.
    ///
    /// # Errors
    /// As [`Payload::typed`].
    pub fn read<T: DeserializeOwned + Send + Sync + 'static>(&mut self) -> Result<Arc<T>> {
        let value = self.typed::<T>()?;
        self.typed = Some(value.clone());
        Ok(value)
    }

    /// Lets the typed value go, where nobody will ask for it any more: it is memory beside the JSON's.
    pub fn forget(&mut self) {
        self.typed = None;
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.json.len())
    }
}

/// An event as it is emitted.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub event_type: EventType,
    /// Its data.
    pub payload: Payload,
    /// The channel that the producer named, if any; the handler must agree with it.
    pub channel: Option<Channel>,
    /// The person whose command or publication caused it. Set by the server, never by a producer.
    pub by: Option<UserId>,
    /// The producer's idempotency id: a repeat within 24 h gives the first position.
    pub id: Option<SmolStr>,
}

impl Event {
    /// An event of a service, from its typed payload.
    ///
    /// # Panics
    /// If `event_type` is no event type: it is a constant of the caller.
    #[must_use]
    pub fn new<T: Serialize + Send + Sync + 'static>(event_type: &'static str, data: T) -> Self {
        let event_type = event_type.parse().unwrap_or_else(|error| panic!("a constant that is no event type: {error}"));
        Self { event_type, payload: Payload::of(data), channel: None, by: None, id: None }
    }

    /// The same event, caused by this person.
    #[must_use]
    pub fn by(mut self, user: Option<UserId>) -> Self {
        self.by = user;
        self
    }
}
