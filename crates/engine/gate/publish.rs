//! Publishing and reading of channels by clients.
//!
//! Guarantees: an array is all or nothing; the types of the server's services need the grant to
//! ingest, and a channel joins no project in which its producer has not the same right; of what the server runs itself,
//! nobody outside tells its life or a decision; the author is set here and never taken from the producer.
//! It is not the bus: services emit without passing here.

use std::sync::Arc;

use smol_str::SmolStr;
use tidings_core::{
    Action, Channel, Code, Epoch, Error, Event, EventType, Message, Pattern, Payload, Principal, Result, Seq,
    bus::{Placed, Receipt},
    contract::Source,
    handler::{Hosted, Route},
    json,
    log::{EventLog, Read},
};

use super::Gate;
use crate::registry::RESERVED_DOMAINS;

/// The most bytes of an idempotency id.
const MAX_ID_BYTES: usize = 128;
/// The most messages a page of history has.
const MAX_HISTORY: usize = 1000;
/// The most messages a filtered page of history looks through.
const MAX_SCAN: u64 = 10_000;
/// A page of history ends once it has so many bytes of data, and says that more follows.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// An event as a producer sends it.
#[derive(Debug)]
pub struct NewEvent {
    /// Its type.
    pub event_type: EventType,
    /// Where; by default the domain's handler names it from the ids in `data`.
    pub channel: Option<Channel>,
    /// The idempotency id.
    pub id: Option<SmolStr>,
    /// Its data: an object.
    pub data: Payload,
}

/// Which part of a channel's history.
#[derive(Debug, Default)]
pub struct HistoryQuery {
    /// Only messages above this.
    pub after: Option<Seq>,
    /// Only messages below this; without `after`, the newest of them: it pages backwards.
    pub before: Option<Seq>,
    /// At most so many, and at most 1,000.
    pub limit: usize,
    /// Only these types; empty for all.
    pub types: Vec<Pattern>,
}

/// A part of a channel's history, in rising order.
#[derive(Debug)]
pub struct History {
    /// The messages.
    pub events: Vec<Arc<Message>>,
    /// The numbering.
    pub epoch: Epoch,
    /// The oldest kept number.
    pub first: Seq,
    /// The newest number.
    pub head: Seq,
    /// Whether more follow in the direction of the query.
    pub more: bool,
    /// Where to go on: the next query's `after`, or its `before` when paging backwards.
    pub next: Option<Seq>,
}

impl Gate {
    /// Publishes events of a client, as one unit. An error that is about one of several names its place.
    ///
    /// # Errors
    /// `invalid_event`, `invalid_channel`, `invalid_data`, `too_large`, `forbidden` (also to name a project in whose
    /// channel the same is not allowed, and to say what only the server says of what it runs), `conflict` for an id that is known with another body, `overloaded`,
    /// `unavailable`, `draining`.
    pub async fn publish(&self, principal: &Principal, events: Vec<NewEvent>) -> Result<Vec<Placed>> {
        let placed = self.accept_events(principal, events).await?.await;
        placed.map_err(|error| match error.entry() {
            Some(index) => error.of_entry(index),
            None => error,
        })
    }

    /// Accepts events of a client, as one unit: they are in order before what is accepted later. The
    /// receipt resolves when they are durable.
    ///
    /// # Errors
    /// As [`Gate::publish`], but for what only the log finds.
    pub async fn accept_events(&self, principal: &Principal, events: Vec<NewEvent>) -> Result<Receipt> {
        if self.is_draining() {
            return Err(Error::new(Code::Draining, "the server is stopping"));
        }
        let (several, mut routed, mut bytes) = (events.len() > 1, Vec::with_capacity(events.len()), 0);
        for (index, new) in events.into_iter().enumerate() {
            bytes += new.data.json().len() + 256;
            // What may work later is no fault of the event.
            let placed = |error: Error| match error.code().retryable() || !several {
                true => error,
                false => error.of_entry(index),
            };
            routed.push(self.routed(principal, new).await.map_err(placed)?);
        }
        // Who administrates the server is not held to what others may have in it.
        let user = (!principal.is_admin()).then(|| principal.user.clone());
        Ok(self.parts.bus.reserve_bytes(bytes).await?.send_routed(user, routed))
    }

    /// An event that may be published, and where it goes.
    async fn routed(&self, principal: &Principal, new: NewEvent) -> Result<(Event, Route)> {
        let mut event = self.accept(principal, new)?;
        let action = match self.parts.registry.source(&event.event_type) {
            Some(Source::Server) => return Err(only_the_server(&event.event_type)),
            Some(Source::Service) => Action::Ingest,
            Some(Source::Anyone) | None => Action::Publish,
        };
        let route = self.parts.registry.route_from_outside(&mut event)?;
        self.authorise(principal, action, &route.home).await?;
        if let Some(project) = route.opens.as_ref().and_then(|opens| opens.project.as_deref()) {
            self.authorise_to_join(principal, action, project).await?;
        }
        if action == Action::Ingest {
            self.leave_to_the_server(&event, &route.home).await?;
        }
        if route.opens.is_some() {
            self.authorise_to_open(principal, &route.home).await?;
        }
        Ok((event, route))
    }

    /// Whether somebody may open a channel that belongs to a project: whoever is a member of that sees it then, as if
    /// it were the project's own.
    async fn authorise_to_join(&self, principal: &Principal, action: Action, project: &str) -> Result<()> {
        let may = match self.parts.registry.project(project) {
            Ok(channel) => self.authorise(principal, action, &channel).await,
            Err(error) => Err(error),
        };
        may.map_err(|error| match error.code() {
            Code::Forbidden => {
                let why = format!("not allowed to {} in the channel of that project, or not there", action.as_str());
                Error::new(Code::Forbidden, why.clone()).with_field("data.projectId", why)
            }
            _ => error,
        })
    }

    /// Refuses what only the server says of a thing that it runs itself, however much its producer may.
    async fn leave_to_the_server(&self, event: &Event, home: &Channel) -> Result<()> {
        let Some(handler) = self.parts.registry.handler(event.event_type.domain()) else { return Ok(()) };
        let is_hosted = match handler.hosted(event, home) {
            Hosted::No => false,
            Hosted::Yes => true,
            Hosted::Ask(asked) => asked.await?,
        };
        if !is_hosted {
            return Ok(());
        }
        metrics::counter!("tidings_denied_total", "action" => Action::Ingest.as_str()).increment(1);
        let why = format!("event type '{}': only the server says that of what it runs itself", event.event_type);
        Err(Error::new(Code::Forbidden, why.clone()).with_field("type", why))
    }

    fn accept(&self, principal: &Principal, new: NewEvent) -> Result<Event> {
        let limit = self.parts.max_message_bytes;
        if new.data.json().len() > limit {
            let why = format!("data: at most {limit} bytes");
            return Err(Error::new(Code::TooLarge, why.clone()).with_field("data", why));
        }
        if !new.data.json().starts_with('{') {
            return Err(Error::invalid_field("data", "an object"));
        }
        json::fits(new.data.json()).map_err(|why| Error::invalid_field("data", why.to_string()))?;
        if new.id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
            return Err(Error::invalid_field("id", "1 to 128 bytes"));
        }
        if RESERVED_DOMAINS.contains(&new.event_type.domain()) {
            return Err(only_the_server(&new.event_type));
        }
        Ok(Event {
            event_type: new.event_type,
            payload: new.data,
            channel: new.channel,
            by: Some(principal.user.clone()),
            id: new.id,
        })
    }

    /// A part of a channel's history.
    ///
    /// # Errors
    /// `forbidden`, `invalid_channel`, `bad_request` for a limit out of range, `unavailable`.
    pub async fn history(&self, principal: &Principal, channel: &Channel, query: HistoryQuery) -> Result<History> {
        self.authorise(principal, Action::Subscribe, channel).await?;
        if query.limit == 0 || query.limit > MAX_HISTORY {
            return Err(Error::bad_request("limit: 1 to 1000"));
        }
        let log = &*self.parts.log;
        let newest = query.before.is_some() && query.after.is_none();
        let mut history =
            History { events: Vec::new(), epoch: log.epoch(), first: 0, head: 0, more: false, next: None };
        let (mut after, mut before) = (query.after.unwrap_or(0), query.before);
        let (mut scanned, mut bytes) = (0, 0);
        loop {
            let limit = query.limit - history.events.len();
            let read = Read { after, before, limit: limit.max(64), max_bytes: PAGE_BYTES - bytes, newest };
            let page = log.read(channel, read).await?;
            (history.first, history.head) = (page.first, page.head);
            let ends = (page.messages.first().and_then(|m| m.seq), page.messages.last().and_then(|m| m.seq));
            let (Some(lowest), Some(highest)) = ends else {
                history.more = false;
                break;
            };
            scanned += page.messages.len() as u64;
            history.take(page.messages, &query, newest, limit);
            (after, before) = if newest { (after, Some(lowest)) } else { (highest, before) };
            history.more = if newest { lowest > page.first } else { highest + 1 < before.unwrap_or(page.head + 1) };
            bytes = history.events.iter().map(|message| message.payload.json().len()).sum();
            if history.events.len() >= query.limit || !history.more || scanned >= MAX_SCAN || bytes >= PAGE_BYTES {
                break;
            }
        }
        history.settle_more(&query, newest);
        if history.more {
            let cut = history.events.len() >= query.limit;
            let edge = if newest { history.events.first() } else { history.events.last() };
            let scanned = if newest { before } else { Some(after) };
            history.next = edge.filter(|_| cut).and_then(|message| message.seq).or(scanned);
        }
        Ok(history)
    }

    /// Deletes the messages and the state of a channel.
    ///
    /// # Errors
    /// `forbidden` but for admins, `not_found`, `unavailable`.
    pub async fn delete_channel(&self, principal: &Principal, channel: &Channel) -> Result<()> {
        self.parts.registry.owner(channel)?;
        if !principal.is_admin() {
            return Err(Error::forbidden());
        }
        self.parts.log.delete(channel).await
    }

    /// The log, for transports that read facts.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.parts.log
    }
}

fn only_the_server(event_type: &EventType) -> Error {
    let why = format!("event type '{event_type}': only the server says that");
    Error::new(Code::InvalidEvent, why.clone()).with_field("type", why)
}

impl History {
    fn take(&mut self, messages: Vec<Arc<Message>>, query: &HistoryQuery, newest: bool, limit: usize) {
        let passes = |message: &Arc<Message>| {
            query.types.is_empty() || query.types.iter().any(|pattern| pattern.matches_event(&message.event_type))
        };
        let mut chosen: Vec<Arc<Message>> = messages.into_iter().filter(passes).collect();
        if newest {
            let cut = chosen.len().saturating_sub(limit);
            chosen.drain(..cut);
            chosen.append(&mut self.events);
            self.events = chosen;
        } else {
            chosen.truncate(limit);
            self.events.append(&mut chosen);
        }
    }

    /// Whether something is left beyond what was taken.
    fn settle_more(&mut self, query: &HistoryQuery, newest: bool) {
        if self.events.len() < query.limit {
            return;
        }
        self.more = if newest {
            self.events.first().and_then(|message| message.seq).is_some_and(|seq| seq > self.first)
        } else {
            let end = query.before.unwrap_or(self.head + 1);
            self.events.last().and_then(|message| message.seq).is_some_and(|seq| seq + 1 < end)
        };
    }
}
