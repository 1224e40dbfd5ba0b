//! Channels: what is live, what exists, one channel, its history, and its deletion.
//!
//! Guarantees: a caller sees the channels that it may subscribe to and no others; a message of the
//! history is the same JSON as the live one.
//! It is not a subscription: the history is read once, page by page.

use axum::{
    Json as Answer,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use tidings_core::{Action, Channel, Code, Epoch, Error, Message, Pattern, Principal, Result, Seq};
use tidings_engine::{
    gate::{History, HistoryQuery},
    hub::ChannelView,
};

use super::{
    HttpState, Shared,
    access::{Admin, Caller},
    params::{Path, Query},
    problem::Problem,
};

/// The most messages of one page of history.
const MAX_HISTORY: u64 = 1000;

/// How many live channels one request looks through at most; then it answers with a cursor.
const SCAN: usize = 2_000;

/// A page of channels. There may be fewer than asked for and a cursor all the same.
#[derive(Serialize, JsonSchema)]
pub(super) struct Channels {
    channels: Vec<ChannelView>,
    /// For the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Channel>,
}

pub(super) async fn list(
    State(state): State<Shared>,
    Caller(principal): Caller,
    mut query: Query,
) -> Result<Answer<Channels>, Problem> {
    let limit = query.limit(100, 1000)?;
    let cursor: Option<Channel> = query.text("cursor").map(|cursor| cursor.parse()).transpose()?;
    let namespace = query.text("namespace").map(namespace).transpose()?;
    query.finish()?;
    Ok(Answer(match namespace {
        Some(namespace) => existing(&state, &principal, &namespace, (cursor, limit)).await?,
        None => live(&state, &principal, cursor.as_ref(), limit).await?,
    }))
}

fn namespace(text: String) -> Result<String> {
    let is_one = format!("{text}:x").parse::<Channel>().is_ok_and(|channel| channel.namespace() == text);
    if is_one { Ok(text) } else { Err(Error::invalid_field("namespace", "is the first segment of channels")) }
}

/// What exists in a namespace.
async fn existing(
    state: &HttpState,
    principal: &Principal,
    namespace: &str,
    (cursor, limit): (Option<Channel>, usize),
) -> Result<Channels> {
    let page = state.gate.existing(principal, namespace, cursor, limit).await?;
    let channels = page.channels.iter().map(|facts| state.hub.view_of(facts)).collect();
    Ok(Channels { channels, cursor: page.cursor })
}

/// What is live.
async fn live(state: &HttpState, principal: &Principal, after: Option<&Channel>, limit: usize) -> Result<Channels> {
    let mut page = Channels { channels: Vec::new(), cursor: None };
    // The hub lists by name, so the name of the last one is where the next page begins.
    let mut last = None;
    for (looked_at, live) in state.hub.live(after).enumerate() {
        if looked_at == SCAN {
            page.cursor = last;
            break;
        }
        last = Some(live.name().clone());
        if !may_see(state, principal, live.name()).await? {
            continue;
        }
        if page.channels.len() == limit {
            page.cursor = page.channels.last().map(|view| view.channel.clone());
            break;
        }
        page.channels.push(live.view());
    }
    Ok(page)
}

async fn may_see(state: &HttpState, principal: &Principal, channel: &Channel) -> Result<bool> {
    match state.gate.authorise(principal, Action::Subscribe, channel).await {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.code(), Code::Forbidden | Code::NotFound | Code::InvalidChannel) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) async fn show(
    State(state): State<Shared>,
    Caller(principal): Caller,
    path: Path,
) -> Result<Answer<ChannelView>, Problem> {
    let channel: Channel = path.only().parse()?;
    state.gate.authorise(&principal, Action::Subscribe, &channel).await?;
    Ok(Answer(state.hub.channel(&channel).await?.ok_or_else(Error::not_found)?))
}

pub(super) async fn delete(
    State(state): State<Shared>,
    Admin(principal): Admin,
    path: Path,
) -> Result<StatusCode, Problem> {
    state.gate.delete_channel(&principal, &path.only().parse()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn history(
    State(state): State<Shared>,
    Caller(principal): Caller,
    path: Path,
    mut query: Query,
) -> Result<Response, Problem> {
    let channel: Channel = path.only().parse()?;
    let asked = HistoryQuery {
        after: query.number("after", 0..=u64::MAX)?,
        before: query.number("before", 0..=u64::MAX)?,
        limit: query.limit(100, MAX_HISTORY)?,
        types: patterns(query.text("types"))?,
    };
    query.finish()?;
    let history = state.gate.history(&principal, &channel, asked).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], history_json(history)).into_response())
}

/// Patterns over event types, separated by commas; none means all.
fn patterns(text: Option<String>) -> Result<Vec<Pattern>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let parse = |part: &str| match part.parse::<Pattern>() {
        Ok(pattern) if !part.contains(':') => Ok(pattern),
        _ => Err(Error::invalid_field("types", "is a list of patterns over event types, as in session.*,shell.output")),
    };
    text.split(',').map(parse).collect()
}

/// What a page of history says beside its events.
#[derive(Serialize, JsonSchema)]
pub(super) struct Page {
    /// The numbering.
    epoch: Epoch,
    /// The oldest kept number.
    first: Seq,
    /// The newest number.
    head: Seq,
    /// Whether more follow in the direction of the query.
    more: bool,
    /// Where to go on: the next query's `after`, or its `before` when paging backwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Seq>,
}

/// The schema of a page of history.
pub(super) fn history_shape(generator: &mut SchemaGenerator) -> Schema {
    let mut shape = Page::json_schema(generator);
    let events = generator.subschema_for::<Vec<Message>>();
    if let Some(properties) = shape.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        properties.insert("events".to_owned(), events.into());
    }
    if let Some(required) = shape.get_mut("required").and_then(serde_json::Value::as_array_mut) {
        required.push("events".into());
    }
    shape
}

/// The page as JSON. The messages write themselves: they are the same text as on the live side.
fn history_json(history: History) -> String {
    let events: Vec<String> = history.events.iter().map(|message| message.to_json(0)).collect();
    let History { epoch, first, head, more, next, .. } = history;
    let rest = serde_json::to_string(&Page { epoch, first, head, more, next }).expect("a page serialises");
    // The rest is an object, too: without its opening brace it goes on where the events end.
    format!(r#"{{"events":[{}],{}"#, events.join(","), &rest[1..])
}
