//! Channels: what is live, one channel, its history, and its deletion.
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
use serde::Serialize;
use tidings_core::{Action, Channel, Code, Error, Pattern, Principal, Result};
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

#[derive(Serialize)]
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
    query.finish()?;
    let mut page = Channels { channels: Vec::new(), cursor: None };
    // The hub lists by name, so the name of the last one is where the next page begins.
    let live = state.hub.channels().into_iter();
    for view in live.filter(|view| cursor.as_ref().is_none_or(|cursor| view.channel > *cursor)) {
        if !may_see(&state, &principal, &view.channel).await? {
            continue;
        }
        if page.channels.len() == limit {
            page.cursor = page.channels.last().map(|view| view.channel.clone());
            break;
        }
        page.channels.push(view);
    }
    Ok(Answer(page))
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
    Ok(([(header::CONTENT_TYPE, "application/json")], history_json(&history)).into_response())
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

/// The page as JSON. The messages write themselves: they are the same text as on the live side.
fn history_json(history: &History) -> String {
    let events: Vec<String> = history.events.iter().map(|message| message.to_json(0)).collect();
    let mut rest = serde_json::json!({
        "epoch": history.epoch, "first": history.first, "head": history.head, "more": history.more,
    });
    if let Some(next) = history.next {
        rest["next"] = next.into();
    }
    // The rest is an object, too: without its opening brace it goes on where the events end.
    format!(r#"{{"events":[{}],{}"#, events.join(","), &rest.to_string()[1..])
}
