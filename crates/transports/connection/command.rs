//! Commands of a connection: from the mailbox to the gate and the hub, and back as answers.
//!
//! Guarantees: accepted in the order sent; every request is answered, unknown and malformed ones with
//! an error; the answer of a subscribe leaves before the first message of its subscription.
//! It is not the gate: what is allowed and what a command does is decided there. Nor does it know how a transport
//! writes requests and answers: a [`Door`] reads those, and the connection's outlet writes these.

use std::{future::Future, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tidings_core::{
    Channel, Code, Error, EventType, Payload, Result, Seq,
    bus::Placed,
    command::{Answer, Repeated},
    fault, json,
    message::Epoch,
    outlet::{Ending, Said},
    panics, refusal,
};
use tidings_engine::{
    budget::Held,
    gate::NewEvent,
    hub::{MAX_BATCH, Outcome, SubscribeRequest},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    ConnectionParts,
    argument::{Nothing, Publish, Refresh, Refreshed, Which},
    client::Client,
    mailbox::{Incoming, Next, Packet},
    publishing::Pending,
};

/// The task that takes the commands of a connection.
pub(super) const TASK: &str = "connection.commands";

/// So long a command holds back the next one of its connection; then it runs beside it.
const PATIENCE: Duration = Duration::from_millis(100);

/// How the clients of a transport ask.
pub(crate) struct Door {
    /// Reads the text of a request.
    pub(crate) read: for<'t> fn(&'t json::Text<'_>) -> Request<'t>,
    /// With which words a request is refused that is binary.
    pub(crate) binary: &'static str,
    /// The most bytes of requests that come in at once, though the client is not read any longer; 0 where no more
    /// comes than a message has.
    pub(crate) portion: usize,
}

/// A request, as far as a transport has read it.
pub(crate) struct Request<'t> {
    /// The number that it is answered under, where its text says it.
    pub(crate) id: Option<u64>,
    /// What it asks for, or why that cannot be read.
    pub(crate) call: Result<Call<'t>>,
}

/// What a request asks for.
pub(crate) struct Call<'t> {
    /// The name of a verb or a command.
    pub(crate) name: String,
    /// With what: each verb and command takes one argument.
    pub(crate) arguments: Vec<&'t RawValue>,
}

/// Takes the commands of a connection until none waits, and outlives a panic of that: a connection whose commands
/// nobody takes would be deaf.
pub(super) async fn serve(client: Arc<Client>) {
    let mut serving = client.mailbox.serving();
    for _ in 1..panics::MOST {
        if panics::caught_in(TASK, take_all(&client)).await.is_ok() {
            return serving.is_over();
        }
    }
    client.connection.end(&Ending::temporary(Code::Internal, "the server failed to take the commands"));
}

async fn take_all(client: &Arc<Client>) {
    let parts = &client.connections.parts;
    loop {
        fault::here(TASK);
        let (incoming, held) = match client.mailbox.next() {
            Next::Take(incoming, held) => (incoming, held),
            Next::Pause(pause) => {
                tokio::time::sleep(pause).await;
                continue;
            }
            Next::Nothing => return,
        };
        client.connection.answers_left().await;
        let Ok(permit) = client.running.clone().acquire_owned().await else { return };
        client.regulate(parts.clock.monotonic());
        let text = json::Text::new(incoming.packet.text());
        let Request { id, call } = read(client, &incoming, &text);
        let (asked, place) = (Asked { client: client.clone(), request: id }, Place { _permit: permit, _held: held });
        if let Err(error) = panics::caught_in("connection.command", asked.clone().take(call, place)).await {
            asked.refuse(&error);
        }
    }
}

/// What a client asks, whose text is this.
fn read<'t>(client: &Client, incoming: &Incoming, text: &'t json::Text<'_>) -> Request<'t> {
    let (door, limit) = (client.door, client.connections.parts.config.max_message_bytes);
    let refused = |error| Request { id: None, call: Err(error) };
    let request = match incoming.packet {
        Packet::Text(_) => (door.read)(text),
        Packet::TooLarge => refused(Error::new(Code::TooLarge, format!("a message has at most {limit} bytes"))),
        Packet::Binary => refused(Error::bad_request(door.binary)),
    };
    Request { id: request.id.or(incoming.ack), ..request }
}

/// What a command takes of its connection and its user until it is answered.
struct Place {
    /// One of the commands that run at once.
    _permit: OwnedSemaphorePermit,
    /// Its bytes.
    _held: Held,
}

/// One request of a client.
#[derive(Clone)]
struct Asked {
    client: Arc<Client>,
    /// The number that it is answered under; none if the client wants no answer.
    request: Option<u64>,
}

/// What is answered when all is well.
#[derive(Serialize, JsonSchema)]
pub(super) struct Ok<T> {
    /// That all is well.
    #[schemars(extend("const" = true))]
    ok: bool,
    #[serde(flatten)]
    rest: T,
}

/// How a command went that was not refused.
#[derive(Serialize)]
#[serde(untagged)]
enum Done {
    /// What it answers, as it said it: it is not read again on its way out.
    Now { ok: bool, data: Box<RawValue> },
    /// It ran before, and what it answered is not kept.
    Repeated(Ok<Repeated>),
}

/// What several subscriptions are answered, in their order.
#[derive(Serialize)]
struct Several {
    ok: bool,
    results: Vec<Box<RawValue>>,
}

/// What is answered when it is not.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Refused")]
pub(super) struct Failed<'a> {
    /// That it is not.
    #[schemars(extend("const" = false))]
    ok: bool,
    /// Why.
    error: &'a Error,
}

/// The answer to a request, if it wants one.
fn answer(request: Option<u64>, body: &impl Serialize) -> Option<Said> {
    let request = request?;
    Some(Said::answer(request, serde_json::to_vec(body).expect("an answer serialises")))
}

fn count(error: &Error) {
    metrics::counter!("tidings_refusals_total", "code" => error.code().as_str()).increment(1);
    tracing::debug!(code = %error.code(), "a request was refused");
}

fn refusal(request: Option<u64>, error: &Error) -> Option<Said> {
    count(error);
    answer(request, &Failed { ok: false, error })
}

impl Asked {
    /// Does what is asked. Returns once the next may be taken.
    async fn take(self, call: Result<Call<'_>>, place: Place) {
        metrics::counter!("tidings_commands_total").increment(1);
        fault::here("connection.command");
        let Call { name, arguments } = match call {
            Result::Ok(call) => call,
            Err(error) => return self.refuse(&error),
        };
        if name != "publish" {
            self.client.publishing.settled().await;
        }
        let done = match (name.as_str(), arguments.as_slice()) {
            ("subscribe", [argument]) => self.subscribe(argument).await,
            ("unsubscribe", [argument]) => self.unsubscribe(argument),
            ("auth.refresh", [argument]) => self.refresh(argument).await,
            ("publish", [argument]) => return self.publish(argument, place).await,
            ("subscribe" | "unsubscribe" | "auth.refresh" | "publish", _) => {
                Err(Error::bad_request(format!("{name} takes one argument")))
            }
            (_, arguments) => return self.command(&name, arguments, place).await,
        };
        if let Err(error) = done {
            self.refuse(&error);
        }
    }

    fn parts(&self) -> &ConnectionParts {
        &self.client.connections.parts
    }

    fn refuse(&self, error: &Error) {
        self.say(refusal(self.request, error));
    }

    fn answer(&self, body: &impl Serialize) {
        self.say(answer(self.request, body));
    }

    fn say(&self, said: Option<Said>) {
        if let Some(said) = said {
            self.client.connection.say(said);
        }
    }

    async fn subscribe(&self, argument: &RawValue) -> Result<()> {
        let value: Value = json::from_str(argument.get()).map_err(|_| Error::bad_request("not valid JSON"))?;
        let (several, asked) = match &value {
            Value::Array(several) if several.len() > MAX_BATCH => {
                return Err(Error::bad_request(format!("subscribe takes at most {MAX_BATCH} at once")));
            }
            Value::Array(several) => (true, several.as_slice()),
            one => (false, std::slice::from_ref(one)),
        };
        let requests = asked.iter().map(SubscribeRequest::parse).collect();
        let request = self.request;
        let answer = move |outcomes: Vec<Result<Outcome>>| subscribed(request, several, &outcomes);
        self.parts().gate.subscribe(&self.client.connection, requests, answer).await;
        Result::Ok(())
    }

    fn unsubscribe(&self, argument: &RawValue) -> Result<()> {
        let names = Which::names(argument.get())?;
        let channels: Option<Vec<Channel>> =
            names.map(|names| names.iter().map(|name| name.parse()).collect::<Result<_>>()).transpose()?;
        let answer = answer(self.request, &Ok { ok: true, rest: Nothing {} });
        self.client.connection.unsubscribe(channels.as_deref(), answer);
        Result::Ok(())
    }

    async fn refresh(&self, argument: &RawValue) -> Result<()> {
        let refresh: Refresh = refusal::read(object(argument, "auth.refresh takes {token}")?)?;
        let connection = &self.client.connection;
        let principal = self.parts().identity.verify(&refresh.token.0)?;
        if principal.user != connection.principal().user {
            return Err(Error::new(Code::Forbidden, "the token is of another user"));
        }
        let expires_at = principal.expires_at;
        connection.set_principal(principal);
        self.client.renewed();
        self.parts().gate.rejudge(connection, connection.channels()).await;
        self.answer(&Ok { ok: true, rest: Refreshed { expires_at } });
        Result::Ok(())
    }

    async fn publish(self, argument: &RawValue, place: Place) {
        let accepted = match published(argument) {
            Result::Ok(event) => {
                let principal = self.client.connection.principal();
                self.parts().gate.accept_events(&principal, vec![event]).await
            }
            Err(error) => Err(error),
        };
        match accepted {
            // Accepted in order; the disk is waited for beside the next command.
            Result::Ok(receipt) => {
                let epoch = self.parts().gate.log().epoch();
                let pending = Pending::of(&self.client.publishing);
                self.beside(place, async move {
                    let _pending = pending;
                    let placed = receipt.await?.into_iter().next().ok_or_else(Error::internal)?;
                    Result::Ok(placed_answer(placed, epoch))
                });
            }
            Err(error) => self.refuse(&error),
        }
    }

    async fn command(self, name: &str, arguments: &[&RawValue], place: Place) {
        let gate = self.parts().gate.clone();
        let Some(command) = gate.command(name).cloned() else {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return self.refuse(&Error::new(Code::UnknownCommand, format!("'{shown}' is no command of this server")));
        };
        let json = match arguments {
            // As over HTTP, no input is an empty one.
            [] => "{}".to_owned(),
            [argument] => argument.get().to_owned(),
            _ => return self.refuse(&Error::bad_request(format!("{} takes one object", command.name))),
        };
        let principal = self.client.connection.principal();
        let mut work = Box::pin(async move {
            let data = match gate.run_json(&principal, &command, &json, None).await? {
                Answer::Json(data) => data,
                Answer::Text(text) => serde_json::value::to_raw_value(&text).map_err(|_| Error::internal())?,
                Answer::Repeated => return Result::Ok(Done::Repeated(Ok { ok: true, rest: Repeated::TOLD })),
            };
            Result::Ok(Done::Now { ok: true, data })
        });
        match tokio::time::timeout(PATIENCE, &mut work).await {
            Result::Ok(Result::Ok(answer)) => self.answer(&answer),
            Result::Ok(Err(error)) => self.refuse(&error),
            Err(_) => self.beside(place, work),
        }
    }

    /// Answers when the work is done, beside the next commands; the place bounds how many do so.
    fn beside<A>(self, place: Place, work: impl Future<Output = Result<A>> + Send + 'static)
    where
        A: Serialize,
    {
        let tasks = self.parts().tasks.clone();
        tasks.spawn(
            "connection.answer",
            Box::pin(async move {
                let work = panics::caught_in("connection.answer", async {
                    fault::here("connection.answer");
                    work.await
                });
                match work.await.flatten() {
                    Result::Ok(answer) => self.answer(&answer),
                    Err(error) => self.refuse(&error),
                }
                drop(place);
            }),
        );
    }
}

/// The event that a client publishes.
fn published(argument: &RawValue) -> Result<NewEvent> {
    let argument = json::Text::new(object(argument, "publish takes {channel, type, data, id?}")?);
    let publish: Publish<'_> = refusal::read_parts(&argument)?;
    let channel: Channel = text(&publish.channel, "channel")?.parse()?;
    let event_type: EventType = text(&publish.r#type, "type")?.parse()?;
    let data = Payload::raw(argument.came(publish.data));
    Result::Ok(NewEvent { event_type, channel: Some(channel), id: publish.id, data })
}

/// The text of an argument that is an object.
fn object<'a>(argument: &'a RawValue, takes: &'static str) -> Result<&'a str> {
    let text = argument.get();
    if text.starts_with('{') { Result::Ok(text) } else { Err(Error::bad_request(takes)) }
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value.as_str().ok_or_else(|| Error::invalid_field(field, "expected a string"))
}

/// Where an event was put.
#[derive(Serialize, JsonSchema)]
pub(super) struct PlacedAnswer {
    /// Where.
    channel: Channel,
    /// The numbering.
    epoch: Epoch,
    /// Its number; absent for an ephemeral event.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
}

fn placed_answer(placed: Placed, epoch: Epoch) -> Ok<PlacedAnswer> {
    let (epoch, seq) = placed.position.map_or((epoch, None), |position| (position.epoch, Some(position.seq)));
    Ok { ok: true, rest: PlacedAnswer { channel: placed.channel, epoch, seq } }
}

fn subscribed(request: Option<u64>, several: bool, outcomes: &[Result<Outcome>]) -> Option<Said> {
    let one = |outcome: &Result<Outcome>| match outcome {
        Result::Ok(outcome) => serde_json::value::to_raw_value(outcome),
        Err(error) => serde_json::value::to_raw_value(&Failed { ok: false, error }),
    };
    outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).for_each(count);
    let results: Vec<Box<RawValue>> =
        outcomes.iter().map(|outcome| one(outcome).expect("an outcome serialises")).collect();
    match (several, results.first()) {
        (false, Some(only)) => answer(request, only),
        _ => answer(request, &Several { ok: true, results }),
    }
}
