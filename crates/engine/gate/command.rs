//! Commands through the gate: parse, judge, run, remember.
//!
//! Guarantees: what is refused has had no effect; with a `commandId` the same user gets the first
//! answer again, also after a restart and while the first still runs.
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
    command::{Answer, Caller, Calls, Command, Input},
};
use tokio::sync::oneshot;

use super::{Gate, Running};
use crate::{
    budget::{Bound, Who},
    seats::Seat,
};

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
        let Some(command_id) = command_id else { return self.run(principal, command, input).await };
        if command_id.is_empty() || command_id.len() > MAX_COMMAND_ID_BYTES {
            return Err(Error::invalid_field("commandId", "1 to 128 bytes"));
        }
        let digest = digest(command.name, json);
        self.run_once(principal, command, input, command_id, digest).await
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
    ) -> Result<Answer> {
        let input = command.parse_pairs(pairs)?;
        self.run(principal, command, input).await
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
            let code = if bound == Bound::Total { Code::Overloaded } else { Code::RateLimited };
            Error::new(code, "too many commands run: wait for an end").with_retry_after_ms(LATER_MS)
        })
    }

    async fn allow(&self, principal: &Principal, command: &Command, input: &Input) -> Result<()> {
        if self.is_draining() && command.method != tidings_core::command::Method::Get {
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
        let (work, name) = (command.call(caller, input), command.name);
        let work = std::panic::AssertUnwindSafe(work).catch_unwind();
        self.parts.tasks.spawn(
            "gate.command",
            Box::pin(async move {
                let _seat = seat;
                let result = work.await.unwrap_or_else(|_| {
                    let error = Error::internal();
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
                let done = work.await;
                tracing::trace!(ok = done.is_ok(), "a command with an id is done");
                gate.running.lock().remove(&key);
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
                if known.digest != digest {
                    return Err(other_command());
                }
                let answer = known.answer.ok_or_else(|| {
                    Error::unavailable("the server stopped while this command ran; its outcome is not known")
                })?;
                return read_answer(&answer);
            }
            let result = gate.start(&principal, &command, input, seat).await;
            let keep = match &result {
                Ok(answer) => Some(write_answer(&Ok(answer.clone()))),
                Err(error) if error.code().retryable() => None,
                Err(error) => Some(write_answer(&Err(error.clone()))),
            };
            if let Err(error) = log.end_command(&principal.user, &command_id, keep.as_deref()).await {
                tracing::warn!(command = command.name, %error, "an answer was not kept for its repeats");
            }
            result
        };
        let work: BoxFuture<'static, Result<Answer>> = Box::pin(work);
        work.shared()
    }
}

/// Takes the optional `commandId` out of an input: it is the gate's, not the command's.
fn take_command_id(json: &str) -> Result<(Cow<'_, str>, Option<String>)> {
    if !json.contains("\"commandId\"") {
        return Ok((Cow::Borrowed(json), None));
    }
    let Ok(mut fields) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(json) else {
        // Whatever is wrong with it, the command's own parser says it.
        return Ok((Cow::Borrowed(json), None));
    };
    let Some(id) = fields.remove("commandId") else { return Ok((Cow::Borrowed(json), None)) };
    let id: Option<String> = serde_json::from_str(id.get()).map_err(|_| Error::invalid_field("commandId", "a text"))?;
    let rest = serde_json::to_string(&fields).map_err(|_| Error::bad_request("not valid JSON"))?;
    Ok((Cow::Owned(rest), id))
}

fn other_command() -> Error {
    Error::new(Code::Conflict, "this commandId was used for another command")
}

/// The digest of a command: the same for the same fields, in whatever order they came.
fn digest(name: &str, json: &str) -> String {
    let sorted: Option<BTreeMap<String, serde_json::Value>> = serde_json::from_str(json).ok();
    let json = sorted.and_then(|fields| serde_json::to_string(&fields).ok()).unwrap_or_else(|| json.to_owned());
    let sum = Sha256::new().chain_update(name.as_bytes()).chain_update([0]).chain_update(json.as_bytes()).finalize();
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Json(Box<RawValue>),
    Text(String),
    Error { code: Code, message: String },
}

fn write_answer(answer: &Result<Answer>) -> String {
    let kept = match answer {
        Ok(Answer::Json(json)) => Kept::Json(json.clone()),
        Ok(Answer::Text(text)) => Kept::Text(text.clone()),
        Err(error) => Kept::Error { code: error.code(), message: error.message().to_owned() },
    };
    serde_json::to_string(&kept).expect("an answer serialises")
}

fn read_answer(text: &str) -> Result<Answer> {
    match serde_json::from_str(text) {
        Ok(Kept::Json(json)) => Ok(Answer::Json(json)),
        Ok(Kept::Text(text)) => Ok(Answer::Text(text)),
        Ok(Kept::Error { code, message }) => Err(Error::new(code, message)),
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
