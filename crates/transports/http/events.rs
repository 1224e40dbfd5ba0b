//! `POST /api/events`: publications from outside, one or many, all or nothing.
//!
//! Guarantees: fields are strict, names are parsed, and `data` is passed on byte for byte; nothing
//! is published unless every event of the request is well-formed.
//! It is not the judgement of what is in `data`, how large it is and who may publish it: that is the gate's.

use std::borrow::Cow;

use axum::{Json as Answer, extract::State};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_core::{
    Channel, Code, Epoch, Error, EventType, Payload, Result, Seq, bus::Placed, json, refusal::read_parts,
};
use tidings_engine::gate::NewEvent;

use super::{Shared, access::Caller, body, commands::idempotency_key, problem::Problem};

/// The most events of one request.
pub(super) const MAX_EVENTS: usize = 1000;
/// The most bytes of an `Idempotency-Key`: with a place in an array behind it, it is an id still, which has 128.
const MAX_KEY_BYTES: usize = 124;

/// An event as a producer sends it.
// Names stay texts here: what is wrong with one has a code of its own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewEvent")]
pub(super) struct Incoming<'a> {
    /// Its type.
    #[serde(borrow)]
    #[schemars(with = "EventType")]
    r#type: Text<'a>,
    /// Where; by default what the ids in `data` name.
    #[serde(borrow)]
    #[schemars(with = "Option<Channel>")]
    channel: Option<Text<'a>>,
    /// An idempotency id: a repeat within 24 hours gives the first place.
    #[serde(borrow)]
    #[schemars(with = "Option<String>")]
    id: Option<Text<'a>>,
    /// Its data, which is passed on byte for byte.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    data: &'a RawValue,
}

/// A text as it stands in the body, where it has nothing escaped.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Where events were put, in the order of the request.
#[derive(Serialize, JsonSchema)]
pub(super) struct Results {
    results: Vec<Outcome>,
}

/// Where an event was put.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlacedEvent")]
struct Outcome {
    channel: Channel,
    /// Absent for an ephemeral event, as `seq`.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
}

pub(super) async fn publish(
    State(state): State<Shared>,
    Caller(principal): Caller,
    headers: HeaderMap,
    body::Text(text): body::Text,
) -> Result<Answer<Results>, Problem> {
    let is_array = text.trim_ascii_start().starts_with('[');
    let mut events = parse(&text)?;
    if let Some(key) = idempotency_key(&headers)? {
        name_by_key(&mut events, &key, is_array)?;
    }
    let lone_entry = events.len() == 1 && is_array;
    let placed = state.gate.publish(&principal, events).await.map_err(|error| match error.code().retryable() {
        false if lone_entry => error.of_entry(0),
        _ => error,
    })?;
    Ok(Answer(Results { results: placed.into_iter().map(Outcome::from).collect() }))
}

impl From<Placed> for Outcome {
    fn from(placed: Placed) -> Self {
        let (epoch, seq) = placed.position.map(|position| (position.epoch, position.seq)).unzip();
        Self { channel: placed.channel, epoch, seq }
    }
}

/// Gives each event that has no id of its own the request's key as one, in an array with its place in that: then a
/// repeat of the request is what a repeat of an id is.
fn name_by_key(events: &mut [NewEvent], key: &str, is_array: bool) -> Result<()> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Error::bad_request(format!("the header Idempotency-Key has 1 to {MAX_KEY_BYTES} bytes here")));
    }
    for (index, event) in events.iter_mut().enumerate().filter(|(_, event)| event.id.is_none()) {
        event.id = Some(if is_array { format!("{key}.{index}").into() } else { key.into() });
    }
    Ok(())
}

/// Parses an event or an array of events.
fn parse(text: &str) -> Result<Vec<NewEvent>> {
    match text.trim_ascii_start().bytes().next() {
        Some(b'{') => {
            let text = json::Text::new(text);
            let event: Incoming<'_> = read_parts(&text)?;
            Ok(vec![named(&text, event)?])
        }
        Some(b'[') => parse_many(text),
        _ => Err(Error::bad_request("the body is an event or an array of events")),
    }
}

fn parse_many(text: &str) -> Result<Vec<NewEvent>> {
    let text = json::Text::new(text);
    let events: Vec<Incoming<'_>> = read_parts(&text).map_err(|error| wrong_entry(&text, error))?;
    check_count(events.len())?;
    let named = |(index, event)| named(&text, event).map_err(|error| error.of_entry(index));
    events.into_iter().enumerate().map(named).collect()
}

fn check_count(count: usize) -> Result<()> {
    match count {
        0 => Err(Error::bad_request("the array holds no event")),
        1..=MAX_EVENTS => Ok(()),
        _ => Err(Error::new(Code::TooLarge, format!("at most {MAX_EVENTS} events at once"))),
    }
}

/// What is wrong with an array: its entries are taken apart, so that it can be said with a number.
fn wrong_entry(text: &json::Text<'_>, error: Error) -> Error {
    let entries: Vec<&RawValue> = match read_parts(text) {
        Ok(entries) => entries,
        // What is no JSON at all is that first, however early something else is wrong.
        Err(broken) => return broken,
    };
    if let Err(refused) = check_count(entries.len()) {
        return refused;
    }
    let wrong = entries.iter().enumerate().find_map(|(index, entry)| {
        let error = read_parts::<Incoming<'_>>(&json::Text::new(entry.get())).err()?;
        Some(error.of_entry(index))
    });
    wrong.unwrap_or(error)
}

fn named(text: &json::Text<'_>, event: Incoming<'_>) -> Result<NewEvent> {
    let event_type = event.r#type.0.parse()?;
    let channel = event.channel.map(|channel| channel.0.parse()).transpose()?;
    Ok(NewEvent { event_type, channel, id: event.id.map(|id| id.0.into()), data: Payload::raw(text.came(event.data)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keeps_its_bytes() {
        let events = parse(r#" {"type":"build.done","data":{ "b":1, "a": 1.0 },"id":"x"} "#).expect("an event");
        assert_eq!(events[0].data.json(), r#"{ "b":1, "a": 1.0 }"#);
        assert_eq!(events[0].id.as_deref(), Some("x"));
        assert!(events[0].channel.is_none());
    }

    #[test]
    fn a_key_names_the_events_that_have_no_id_by_their_place() {
        let ids = |text: &str, key: &str| {
            let mut events = parse(text).expect("events");
            name_by_key(&mut events, key, text.starts_with('['))
                .map(|()| events.into_iter().map(|event| event.id.expect("an id").to_string()).collect::<Vec<_>>())
        };
        let (bare, named) = (r#"{"type":"a.b","data":{}}"#, r#"{"type":"a.b","data":{},"id":"x"}"#);
        assert_eq!(ids(bare, "k"), Ok(vec!["k".to_owned()]));
        assert_eq!(ids(named, "k"), Ok(vec!["x".to_owned()]));
        assert_eq!(ids(&format!("[{named},{bare}]"), "k"), Ok(vec!["x".to_owned(), "k.1".to_owned()]));
        let long = "k".repeat(MAX_KEY_BYTES);
        assert!(ids(&format!("[{bare}]"), &long).is_ok_and(|ids| ids[0].len() < 128));
        for bad in [String::new(), long + "k"] {
            assert_eq!(ids(bare, &bad).map_err(|error| error.code()), Err(Code::BadRequest), "{bad:?}");
        }
    }

    #[test]
    fn half_a_pair_is_read_in_a_text_and_passed_on_in_data() {
        let data = r#"{"a\ud83d": "\uDE00", "b":1e2 }"#;
        let event = format!(r#"{{"type":"build.done","id":"\ud83d","data":{data}}}"#);
        for text in [event.clone(), format!(r#"[{{"type":"build.done","data":{{}}}}, {event}]"#)] {
            let last = parse(&text).expect("events").pop().expect("an event");
            assert_eq!((last.data.json(), last.id.as_deref()), (data, Some("\u{FFFD}")));
        }
        let error = parse(r#"[{"type":"build.done","data":{}},{"type":"\ud83d","data":{}}]"#).expect_err("no type");
        assert_eq!(error.code(), Code::InvalidEvent);
    }

    #[test]
    fn an_entry_of_an_array_is_refused_with_its_number() {
        let error = parse(r#"[{"type":"a.b","data":{}},{"type":"a.b","data":{},"chanel":"a:b"}]"#).err();
        let error = error.expect("an unknown field");
        assert_eq!(error.code(), Code::InvalidData);
        assert_eq!(error.fields().keys().collect::<Vec<_>>(), ["[1].chanel"]);
    }

    #[test]
    fn each_kind_of_bad_event_has_its_code() {
        let many = format!("[{}]", vec![r#"{"type":"a.b","data":{}}"#; MAX_EVENTS + 1].join(","));
        let table = [
            ("", Code::BadRequest),
            ("7", Code::BadRequest),
            ("[]", Code::BadRequest),
            ("[7]", Code::InvalidData),
            ("[[[[[[[[", Code::BadRequest),
            (r#"[7,{"type":"#, Code::BadRequest),
            (r#"{"type":"a.b","data":{}"#, Code::BadRequest),
            (r#"{"type":"a.b"}"#, Code::InvalidData),
            (r#"{"data":{}}"#, Code::InvalidData),
            (r#"{"type":"a.b","data":{},"id":7}"#, Code::InvalidData),
            (r#"{"type":"a.b","data":{},"data":{}}"#, Code::InvalidData),
            (r#"{"type":"a.b","data":{},"by":{"userId":"x"}}"#, Code::InvalidData),
            (r#"{"type":"a:b","data":{}}"#, Code::InvalidEvent),
            (r#"{"type":"a.b","channel":"a.b","data":{}}"#, Code::InvalidChannel),
            (&many, Code::TooLarge),
        ];
        for (text, code) in table {
            let refused = parse(text).err().map(|error| error.code());
            assert_eq!(refused, Some(code), "{}", &text[..text.len().min(60)]);
        }
    }
}
