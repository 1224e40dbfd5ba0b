//! `tidings emit`: publishes one event on the running server.
//!
//! Guarantees: the data goes as it was given; what is printed is durable, or was accepted as ephemeral.
//! It is not a producer's interface: that is `POST /api/events`.

use std::io::Read;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_client::http;
use tidings_core::{Action, Channel, Event, EventType, Grant, Pattern, Payload, contract::Source, json};

use super::{
    Surroundings,
    output::{Failure, Outcome, harmless, one_line, say},
    reach::{Reach, TokenSource},
    scratch::Scratch,
};
use crate::app;

/// The most that is read from standard input.
const MAX_INPUT_BYTES: u64 = 16 << 20;

/// The event.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The event's type, such as user.notice
    #[arg(value_name = "TYPE", value_parser = parse_type)]
    event_type: EventType,
    /// The channel; without it, the domain names it from the data
    #[arg(long, value_parser = parse_channel)]
    channel: Option<Channel>,
    /// The event's data, a JSON object; - reads it from standard input
    #[arg(long, value_name = "JSON")]
    data: String,
    /// An id that makes a repeat harmless for 24 hours
    #[arg(long)]
    id: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    token: TokenSource,
}

fn parse_type(text: &str) -> Result<EventType, String> {
    text.parse().map_err(|error: tidings_core::Error| error.message().to_owned())
}

pub(super) fn parse_channel(text: &str) -> Result<Channel, String> {
    text.parse().map_err(|error: tidings_core::Error| error.message().to_owned())
}

#[derive(Serialize)]
struct NewEvent<'a> {
    r#type: &'a EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a Channel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Placed>,
}

#[derive(Deserialize)]
struct Placed {
    channel: String,
    epoch: Option<String>,
    seq: Option<u64>,
}

pub(super) async fn run(mut options: Options, surroundings: &Surroundings) -> Outcome {
    let data = read_data(std::mem::take(&mut options.data))?;
    let event = NewEvent {
        r#type: &options.event_type,
        channel: options.channel.as_ref(),
        id: options.id.as_deref(),
        data: &data,
    };
    let body = serde_json::to_vec(&event).map_err(Failure::other)?;
    let needed = || grants(&options, &data, surroundings);
    let reach = Reach::find(surroundings, &options.token, needed).await?;
    let token = reach.token()?;
    let content = Some(("application/json", body.into()));
    let response = http::request(http::Method::POST, &reach.url, "/api/events", Some(&token), content)
        .await
        .map_err(Failure::other)?;
    if response.status != 200 {
        return Err(refusal(&response));
    }
    if options.json {
        return say(one_line(&response.text()));
    }
    let answer: Answer =
        json::from_str(&response.text()).map_err(|_| Failure::other("the server's answer was not understood"))?;
    answer.results.iter().try_for_each(|placed| match (placed.seq, &placed.epoch) {
        (Some(seq), Some(epoch)) => say(format_args!("{} #{seq} @{epoch}", placed.channel)),
        _ => say(format_args!("{} ephemeral", placed.channel)),
    })
}

/// What publishing this event takes: the one right in the channel that it goes to, and in that of a project that it
/// names. None where the server will refuse the event whoever says it: its answer says why.
fn grants(options: &Options, data: &RawValue, surroundings: &Surroundings) -> Result<Vec<Grant>, Failure> {
    let Surroundings { config, clock, tasks, .. } = surroundings;
    let scratch = Scratch::new()?;
    let registry = app::registry(config, scratch.path(), clock, tasks).map_err(Failure::other)?;
    let mut event = Event {
        event_type: options.event_type.clone(),
        payload: Payload::raw(data),
        channel: options.channel.clone(),
        by: None,
        id: None,
    };
    let action = match registry.source(&event.event_type) {
        Some(Source::Server) => return Ok(Vec::new()),
        Some(Source::Service) => Action::Ingest,
        Some(Source::Anyone) | None => Action::Publish,
    };
    let Ok(route) = registry.route_from_outside(&mut event) else { return Ok(Vec::new()) };
    let project = route.opens.and_then(|opens| opens.project).and_then(|id| registry.project(&id).ok());
    let channels = std::iter::once(route.home).chain(project);
    Ok(channels.map(|channel| Grant { pattern: Pattern::from(&channel), actions: vec![action] }).collect())
}

fn read_data(given: String) -> Result<Box<RawValue>, Failure> {
    let text = if given == "-" {
        let mut text = String::new();
        let read = std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_string(&mut text);
        read.map_err(|error| Failure::other(format_args!("standard input: {error}")))?;
        text
    } else {
        given
    };
    let data: Box<RawValue> =
        json::from_str(text.trim()).map_err(|error| Failure::other(format_args!("--data is no JSON: {error}")))?;
    if data.get().starts_with('{') { Ok(data) } else { Err(Failure::other("--data takes a JSON object")) }
}

/// What the server said instead of doing it.
pub(super) fn refusal(response: &http::Response) -> Failure {
    let problem = response.json();
    let text = |name: &str| problem.get(name).and_then(|value| value.as_str()).map(|text| harmless(text).into_owned());
    let message = text("message").or_else(|| text("detail")).unwrap_or_else(|| "no reason given".to_owned());
    let code = text("code").unwrap_or_else(|| format!("HTTP status {}", response.status));
    let fields = problem.get("fields").and_then(|fields| fields.as_object()).into_iter().flatten();
    // The message of a single field says the same as the field.
    let fields = fields.filter_map(|(name, why)| Some((harmless(name), harmless(why.as_str()?))));
    let fields: String =
        fields.filter(|(_, why)| !message.contains(&**why)).map(|(name, why)| format!("; {name}: {why}")).collect();
    Failure::Other(format!("the server refused: {message} ({code}){fields}"))
}
