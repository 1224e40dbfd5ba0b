//! A session step: an agent is asked in a session, as the run's user, and answers.
//!
//! Guarantees: an attempt starts one session, also when its start has to be asked for again; when the
//! outcome is there, the session has ended. What it used is read from its state; its answer, which the state holds
//! the beginning of, is read whole from its channel, and an answer that cannot be had whole is none.
//! It is not the session: what the agent says is in the session's own channel.

use std::{sync::Arc, time::Duration};

use serde_json::{json, value::to_raw_value};
use tidings_core::{Code, Error, Event, Principal, Result, command::Answer};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    super::{
        contract::{Progress, STEP_SESSION, StepSession, Usage},
        outputs::{self, Outputs},
        telling::{Done, Outcome},
    },
    Attempt, Reason,
};
use crate::{
    session::{
        SessionId, SessionState, Status,
        contract::agent::{TurnCompleted, TurnStatus},
        conversation::{Activity, Conversation, Turn},
    },
    telling::tell_by_id,
};

/// The domain of sessions, as states are read back by it.
const SESSION: &str = "session";
/// The output that an agent's answer is.
const RESULT: &str = "result";
/// How long an agent that has answered may take to end by itself.
const SETTLE: Duration = Duration::from_secs(2);
/// How often the state is looked at when nothing is heard: what tells may be behind.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two tries to read a state that cannot be read.
const READ_AGAIN: Duration = Duration::from_millis(500);

impl Attempt {
    /// Asks an agent, and waits for its answer.
    pub(super) async fn session(&self, agent: String, prompt: String) -> Done {
        let Some(principal) = &self.principal else {
            return Outcome::failed("forbidden", "the user of this run is not known any more").into();
        };
        let now = match self.as_of_now(principal).await {
            Ok(now) => now,
            Err(refused) => return refused.into(),
        };
        let id = match self.begin(&now, &agent, &prompt).await {
            Ok(id) => id,
            Err(error) if error.code() == Code::Draining => return Outcome::server_stopped().into(),
            Err(error) => {
                let why = error.fields().iter().map(|(field, why)| format!("; {field}: {why}"));
                let message = format!("the session was refused: {}{}", error.message(), why.collect::<String>());
                return Outcome::failed(error.code().as_str(), message).into();
            }
        };
        let (run_id, step_id) = (self.run_id.clone(), self.step_id.clone());
        let event =
            Event::new(STEP_SESSION, StepSession { run_id, step_id, attempt: self.attempt, session_id: id.clone() });
        if let Err(error) = tell_by_id(&*self.runs.ports.bus, vec![event], None).await {
            tracing::error!(run = %self.run_id, session = %id, %error, "the session of a step could not be told");
        }
        self.follow(principal, &id).await
    }

    async fn begin(&self, principal: &Principal, agent: &str, prompt: &str) -> Result<SessionId> {
        let title: String = format!("{} ({})", self.step_id, self.run_id).chars().take(200).collect();
        let input = json!({
            "projectId": self.project_id, "agent": agent, "prompt": prompt, "title": title,
            "idempotencyKey": format!("{}:{}:{}", self.run_id, self.place, self.attempt),
        });
        let answer = self.call(principal, "session.start", &input).await?;
        let Answer::Json(json) = answer else { return Err(Error::internal()) };
        let answer: serde_json::Value = serde_json::from_str(json.get()).map_err(|_| Error::internal())?;
        answer["sessionId"].as_str().and_then(|id| id.parse().ok()).ok_or_else(Error::internal)
    }

    async fn call(&self, principal: &Principal, name: &str, input: &serde_json::Value) -> Result<Answer> {
        let input = to_raw_value(input).map_err(|_| Error::internal())?;
        self.runs.ports.calls.call(principal.clone(), name, input).await
    }

    /// Follows a session to its end.
    async fn follow(&self, principal: &Principal, id: &SessionId) -> Done {
        let mut heard = self.runs.listening.to(id);
        let mut called_off = std::pin::pin!(self.called_off());
        let (mut reason, mut settled_at, mut progress, mut asked): (Option<Reason>, _, _, bool) =
            (None, None, Progress::default(), false);
        loop {
            let Some(state) = self.state_of(id).await else {
                return Outcome::failed("session_lost", "the session is not there").into();
            };
            let known = plan_of(&state.conversation).unwrap_or(progress);
            if known != progress {
                progress = known;
                // What is not told now comes with the end of the step.
                drop(tell_by_id(&*self.runs.ports.bus, vec![self.progress(progress)], Some(1)).await);
            }
            if !state.status.is_open() {
                let usage = Some(usage_of(&state)).filter(|usage| *usage != Usage::default());
                let outcome = match (outcome(&state, reason, progress), &state.conversation.turn) {
                    (Outcome::Completed { progress, .. }, Some(turn)) => self.answered(id, turn, progress).await,
                    (outcome, _) => outcome,
                };
                return Done { outcome, usage };
            }
            if settled_at.is_none() && has_answered(&state.conversation) {
                settled_at = Some(Instant::now() + SETTLE);
            } else if !has_answered(&state.conversation) {
                settled_at = None;
            }
            let settle = settled_at.unwrap_or_else(Instant::now);
            let cancel = tokio::select! {
                _ = heard.changed() => false,
                () = sleep(LOOK_EVERY) => asked,
                () = sleep_until(settle), if settled_at.is_some() && !asked => true,
                why = &mut called_off, if reason.is_none() => {
                    reason = Some(why);
                    // Sessions hear by themselves that the server stops.
                    why != Reason::ServerStopped
                }
            };
            if cancel {
                asked = true;
                let input = json!({"sessionId": id});
                if let Err(error) = self.call(principal, "session.cancel", &input).await {
                    tracing::debug!(session = %id, %error, "the session of a step was not cancelled");
                }
            }
        }
    }

    /// The end of a step whose agent did what it was asked: with its answer, whole.
    async fn answered(&self, id: &SessionId, turn: &Turn, progress: Progress) -> Outcome {
        let refused = |why: &str| Outcome::failed(outputs::INVALID, why);
        let whole = match &turn.result {
            None => return Outcome::Completed { outputs: Outputs::new(), progress },
            Some(result) if !turn.truncated => result.clone(),
            Some(_) => match self.turn_of(id, turn).await.as_deref() {
                Some(TurnCompleted { result: Some(result), truncated: false, .. }) => result.clone(),
                Some(_) => {
                    return refused("the agent's answer is longer than the 256 KiB that outputs of a step may be");
                }
                None => return refused("the agent's answer is not in the log any more"),
            },
        };
        let outputs = Outputs::from([(RESULT.to_owned(), whole)]);
        match outputs::of_step(&outputs) {
            Ok(()) => Outcome::Completed { outputs, progress },
            Err(why) => refused(&why),
        }
    }

    /// The end of a turn as it was told, as soon as it can be read; none if it is not kept any more.
    async fn turn_of(&self, id: &SessionId, turn: &Turn) -> Option<Arc<TurnCompleted>> {
        let seq = turn.seq?;
        loop {
            match self.runs.ports.states.messages(SESSION, id.as_str(), seq.saturating_sub(1), 1).await {
                Ok((messages, _)) => {
                    let told = messages.first().filter(|message| message.seq == Some(seq))?;
                    return told.payload.typed::<TurnCompleted>().ok();
                }
                Err(error) => tracing::warn!(session = %id, %error, "the answer of a session cannot be read"),
            }
            sleep(READ_AGAIN).await;
        }
    }

    /// The state of a session, as soon as it can be read.
    async fn state_of(&self, id: &SessionId) -> Option<SessionState> {
        loop {
            match self.runs.ports.states.get(SESSION, id.as_str()).await {
                Ok(view) => return view.and_then(|view| view.state::<SessionState>().cloned()),
                Err(error) => tracing::warn!(session = %id, %error, "the state of a session cannot be read"),
            }
            sleep(READ_AGAIN).await;
        }
    }
}

fn has_answered(conversation: &Conversation) -> bool {
    conversation.turn.is_some() && conversation.activity == Some(Activity::Idle) && conversation.queue.is_empty()
}

fn plan_of(conversation: &Conversation) -> Option<Progress> {
    conversation.plan.as_ref().map(|plan| Progress::of(plan.current, plan.total, false))
}

fn usage_of(state: &SessionState) -> Usage {
    let used = &state.conversation.usage;
    let input_tokens = used.input_tokens.saturating_add(used.cache_read_tokens).saturating_add(used.cache_write_tokens);
    Usage { input_tokens, output_tokens: used.output_tokens, cost_usd: used.cost_usd }
}

/// What came of a session that has ended, but for its answer.
fn outcome(state: &SessionState, reason: Option<Reason>, progress: Progress) -> Outcome {
    if let Some(reason) = reason {
        return reason.outcome();
    }
    let completed = || Outcome::Completed { outputs: Outputs::new(), progress };
    let turn = state.conversation.turn.as_ref().map(|turn| turn.status);
    match (state.status, turn) {
        // An agent that has answered is done, whoever ended its program.
        (Status::Cancelled, Some(TurnStatus::Success)) if has_answered(&state.conversation) => completed(),
        (Status::Cancelled, Some(TurnStatus::Error)) if has_answered(&state.conversation) => {
            Outcome::failed("agent_failed", "the agent did not do what it was asked")
        }
        (Status::Cancelled, _) => Outcome::failed("session_cancelled", "the session was cancelled"),
        (Status::Completed, _) if state.exit_code.unwrap_or(0) == 0 => completed(),
        (Status::Completed, _) => {
            let code = state.exit_code.unwrap_or_default();
            let message = format!("the agent exited with {code}");
            Outcome::Failed { code: "exit_code".to_owned(), message, exit_code: state.exit_code, signal: None }
        }
        _ => {
            let failure = state.error.as_ref();
            let code = failure.map_or("internal", |failure| failure.code.as_str());
            Outcome::failed(code, failure.map_or("the session failed", |failure| failure.message.as_str()))
        }
    }
}
