//! Commands through the gate: parse, judge, run, remember.
//!
//! Guarantees: what is refused has had no effect; a command with a `commandId` that is no read runs once for
//! its user, also over a restart; a repeat gets the first answer, also while the first still runs, and once
//! that is not kept any more it is told how the first ended. What only reads simply runs again.
//! It is not the work: that is behind the row's call.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tidings_core::{
    Code, Error, Principal, Result, UserId,
    command::{Answer, Caller, Calls, Command, Input, Method},
    fault, json,
    log::{Ended, Remembered},
    panics,
};
use tokio::sync::oneshot;

use super::{Gate, Running};
use crate::{budget::Who, seats::Seat};

/// The most bytes of a `commandId`.
const MAX_COMMAND_ID_BYTES: usize = 128;
/// When whoever has too many commands running is asked to come back.
const LATER_MS: u64 = 1000;

impl Gate {
    /// Runs a command whose input is a JSON object.
    ///
    /// # Errors
    /// What parsing, the judgement or the command says.
    pub async fn run_json(
        self: &Arc<Self>,
        principal: &Principal,
        command: &Command,
        json: &str,
        command_id: Option<&str>,
    ) -> Result<Answer> {
        let (json, inside) = take_command_id(json)?;
        let (json, command_id) = (&*json, command_id.or(inside.as_deref()));
        let input = command.parse_json(json)?;
        self.run_known(principal, command, input, (json, command_id)).await
    }

    /// Runs a command whose input came as names and values.
    ///
    /// # Errors
    /// As [`Gate::run_json`].
    pub async fn run_pairs(
        self: &Arc<Self>,
        principal: &Principal,
        command: &Command,
        pairs: &[(String, String)],
        command_id: Option<&str>,
    ) -> Result<Answer> {
        let input = command.parse_pairs(pairs)?;
        // The same input as an object has the same digest.
        let fields: BTreeMap<&str, &str> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        let json = serde_json::to_string(&fields).expect("texts serialise");
        self.run_known(principal, command, input, (&json, command_id)).await
    }

    /// Runs a command: once, if it has an id and does not only read.
    async fn run_known(
        self: &Arc<Self>,
        principal: &Principal,
        command: &Command,
        input: Input,
        (json, command_id): (&str, Option<&str>),
    ) -> Result<Answer> {
        let Some(command_id) = command_id else { return self.run(principal, command, input).await };
        if command_id.is_empty() || command_id.len() > MAX_COMMAND_ID_BYTES {
            return Err(Error::invalid_field("commandId", "1 to 128 bytes"));
        }
        if command.reads {
            return self.run(principal, command, input).await;
        }
        let digest = digest(command, json);
        self.run_once(principal, command, input, command_id, digest).await
    }

    async fn run(self: &Arc<Self>, principal: &Principal, command: &Command, input: Input) -> Result<Answer> {
        self.allow(principal, command, &input).await?;
        let seat = self.seat(principal)?;
        self.start(principal, command, input, seat).await
    }

    /// The place of a command among those of its user, until it has ended.
    fn seat(&self, principal: &Principal) -> Result<Seat> {
        self.seats.enter(Who::User(principal.user.clone())).map_err(|bound| {
            metrics::counter!("tidings_limited_total", "limit" => "commands").increment(1);
            Error::new(bound.code(), "too many commands run: wait for an end").with_retry_after_ms(LATER_MS)
        })
    }

    async fn allow(&self, principal: &Principal, command: &Command, input: &Input) -> Result<()> {
        if self.is_draining() && command.method != Method::Get {
            return Err(Error::new(Code::Draining, "the server is stopping"));
        }
        let need = command.needs(input)?;
        self.judge.satisfies(&*self.parts.log, principal, &need).await
    }

    /// Starts the call as a task of its own: an asker that goes away does not cut it in two.
    fn start(
        &self,
        principal: &Principal,
        command: &Command,
        input: Input,
        seat: Seat,
    ) -> BoxFuture<'static, Result<Answer>> {
        let caller = Caller { principal: principal.clone(), visibility: self.judge.clone() };
        let (answer, answered) = oneshot::channel();
        let (call, name) = (command.call(caller, input), command.name);
        let work = panics::caught_in("gate.command", async {
            fault::here("gate.command");
            call.await
        });
        self.parts.tasks.spawn(
            "gate.command",
            Box::pin(async move {
                let _seat = seat;
                let result = work.await.unwrap_or_else(|error| {
                    tracing::error!(command = name, %error, "a command panicked");
                    Err(error)
                });
                if answer.send(result).is_err() {
                    tracing::debug!(command = name, "nobody waits for the answer of a command any more");
                }
            }),
        );
        Box::pin(
            async move { answered.await.unwrap_or_else(|_| Err(Error::new(Code::Draining, "the server is stopping"))) },
        )
    }

    async fn run_once(
        self: &Arc<Self>,
        principal: &Principal,
        command: &Command,
        input: Input,
        command_id: &str,
        digest: String,
    ) -> Result<Answer> {
        self.allow(principal, command, &input).await?;
        let key = (principal.user.clone(), command_id.to_owned());
        let work = {
            let mut running = self.running.lock();
            match running.get(&key) {
                Some((known, work)) if *known == digest => work.clone(),
                Some(_) => return Err(other_command()),
                None => {
                    let asked = (command_id.to_owned(), digest.clone());
                    let work = self.remembered(principal, command, input, asked, self.seat(principal)?);
                    running.insert(key.clone(), (digest, work.clone()));
                    self.finish_alone(key, work.clone());
                    work
                }
            }
        };
        work.await
    }

    /// Drives a command in a task of its own, so that it is remembered and forgotten even if the asker goes away.
    fn finish_alone(self: &Arc<Self>, key: (UserId, String), work: Running) {
        let gate = self.clone();
        self.parts.tasks.spawn(
            "gate.once",
            Box::pin(async move {
                let _under_way = UnderWay { gate, key };
                let done = work.await;
                tracing::trace!(ok = done.is_ok(), "a command with an id is done");
            }),
        );
    }

    /// The first answer if there is one; else the command, whose answer is kept.
    fn remembered(
        self: &Arc<Self>,
        principal: &Principal,
        command: &Command,
        input: Input,
        (command_id, digest): (String, String),
        seat: Seat,
    ) -> Running {
        let (gate, principal, command) = (self.clone(), principal.clone(), command.clone());
        let work = async move {
            let log = gate.parts.log.clone();
            if let Some(known) = log.begin_command(&principal.user, &command_id, &digest).await? {
                return if known.digest == digest { repeat(known) } else { Err(other_command()) };
            }
            let result = gate.start(&principal, &command, input, seat).await;
            if let Err(error) = log.end_command(&principal.user, &command_id, ended(&result)).await {
                tracing::warn!(command = command.name, %error, "an answer was not kept for its repeats");
            }
            result
        };
        let work = async move {
            fault::here("gate.once");
            work.await
        };
        let work: BoxFuture<'static, Result<Answer>> =
            Box::pin(panics::caught_in("gate.once", work).map(Result::flatten));
        work.shared()
    }
}

/// A command with an id that runs: dropped when it is over, however it ended.
struct UnderWay {
    gate: Arc<Gate>,
    key: (UserId, String),
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.gate.running.lock().remove(&self.key);
    }
}

/// Takes the optional `commandId` out of an input: it is the gate's, not the command's.
fn take_command_id(text: &str) -> Result<(Cow<'_, str>, Option<String>)> {
    // The name may be written with escapes.
    if !text.contains("\"commandId\"") && !text.contains("\\u00") {
        return Ok((Cow::Borrowed(text), None));
    }
    let Ok(mut fields) = json::from_str::<BTreeMap<String, Box<RawValue>>>(text) else {
        // Whatever is wrong with it, the command's own parser says it.
        return Ok((Cow::Borrowed(text), None));
    };
    let Some(id) = fields.remove("commandId") else { return Ok((Cow::Borrowed(text), None)) };
    let id: Option<String> = json::from_str(id.get()).map_err(|_| Error::invalid_field("commandId", "a text"))?;
    let rest = serde_json::to_string(&fields).map_err(|_| Error::bad_request("not valid JSON"))?;
    Ok((Cow::Owned(rest), id))
}

fn other_command() -> Error {
    Error::new(Code::Conflict, "this commandId was used for another command")
}

/// The digest of a command: the same for the same fields, in whatever order they came, whether one that may be
/// left out is null or not there, and however long an end is waited for.
fn digest(command: &Command, text: &str) -> String {
    let fields: Option<serde_json::Value> = json::from_str(text).ok();
    // Few have nulls or waits, and only those need a look at what may be left out.
    let may_differ = command.waits || text.contains("null");
    let fields = fields.map(|fields| if may_differ { command.comparable(fields) } else { fields });
    let sorted = fields.and_then(|fields| serde_json::from_value::<BTreeMap<String, serde_json::Value>>(fields).ok());
    let json = sorted.and_then(|fields| serde_json::to_string(&fields).ok()).unwrap_or_else(|| text.to_owned());
    let sum =
        Sha256::new().chain_update(command.name.as_bytes()).chain_update([0]).chain_update(json.as_bytes()).finalize();
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Json(Box<RawValue>),
    Text(String),
    Error {
        code: Code,
        message: String,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        fields: BTreeMap<String, String>,
    },
}

/// What of a command is kept for its repeats; none if it may be tried again.
fn ended(result: &Result<Answer>) -> Option<Ended> {
    let (code, kept) = match result {
        Ok(Answer::Json(json)) => (None, Some(Kept::Json(json.clone()))),
        Ok(Answer::Text(text)) => (None, Some(Kept::Text(text.clone()))),
        Ok(Answer::Repeated) => (None, None),
        Err(error) if error.retryable() => return None,
        Err(error) => {
            let (message, fields) = (error.message().to_owned(), error.fields().clone());
            (Some(error.code()), Some(Kept::Error { code: error.code(), message, fields }))
        }
    };
    Some(Ended { code, answer: kept.map(|kept| serde_json::to_string(&kept).expect("an answer serialises")) })
}

/// What a repeat is told.
fn repeat(known: Remembered) -> Result<Answer> {
    let unknown = || Error::unavailable("the server stopped while this command ran; its outcome is not known");
    match known.ended.ok_or_else(unknown)? {
        Ended { answer: Some(answer), .. } => read_answer(&answer),
        Ended { code: None, .. } => Ok(Answer::Repeated),
        Ended { code: Some(code), .. } => {
            Err(Error::new(code, "this command was refused before; why in particular is not kept any more"))
        }
    }
}

fn read_answer(text: &str) -> Result<Answer> {
    match json::from_str(text) {
        Ok(Kept::Json(json)) => Ok(Answer::Json(json)),
        Ok(Kept::Text(text)) => Ok(Answer::Text(text)),
        Ok(Kept::Error { code, message, fields }) => {
            Err(fields.into_iter().fold(Error::new(code, message), |error, (field, why)| error.with_field(field, why)))
        }
        Err(_) => Err(Error::internal()),
    }
}

/// The gate as services see it: bound once, after both exist.
#[derive(Debug, Default)]
pub struct GateCalls(OnceLock<Weak<Gate>>);

impl GateCalls {
    /// Binds the gate. Later calls change nothing.
    pub fn bind(&self, gate: &Arc<Gate>) {
        self.0.get_or_init(|| Arc::downgrade(gate));
    }
}

impl Calls for GateCalls {
    fn call(&self, principal: Principal, name: &str, input: Box<RawValue>) -> BoxFuture<'_, Result<Answer>> {
        let gate = self.0.get().and_then(Weak::upgrade);
        let name = name.to_owned();
        Box::pin(async move {
            let gate = gate.ok_or_else(|| Error::unavailable("the server is not ready"))?;
            let command =
                gate.command(&name).ok_or_else(|| Error::new(Code::UnknownCommand, "no such command"))?.clone();
            gate.run_json(&principal, &command, input.get(), None).await
        })
    }
}
