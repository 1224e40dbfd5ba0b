//! What is asked of a session that runs: messages, answers, to pause, to end.
//!
//! Guarantees: whoever is answered that something happened finds it in the log; what an ended session
//! is asked is refused, never lost.
//! It is not the judgement of who may: that is the gate's.

use std::sync::Arc;

use tidings_core::{Code, Error, Result, UserId};
use tokio::sync::{mpsc, oneshot};

use super::{
    SessionId,
    agent::Request,
    answer::Sent,
    inbox::Letter,
    input::{AnswerQuestion, CancelMessage, ResolvePermission, SendMessage},
    registry::{Control, Ear, Live, Reason},
    sessions::{Sessions, ended},
};

impl Sessions {
    /// Passes a message to a program: a line on its standard input, or what its agent's format has for
    /// it. To a busy agent it goes when that is free. Resolves when its event is durable.
    ///
    /// # Errors
    /// `not_found`; `conflict` when the session has ended, takes no messages, or knows the key with
    /// another content; `overloaded` when too many wait; `unavailable`.
    pub async fn send_message(self: Arc<Self>, user: UserId, input: SendMessage) -> Result<Sent> {
        let live = self.live(&input.session_id).await?;
        let shown = self.config.redaction.redact(&input.content).into_owned();
        let letter = Letter::new(user, input, shown);
        let (session_id, message_id) = (letter.session_id.clone(), letter.message_id.clone());
        let queued = match &live.ear {
            Ear::Lines(inbox) => {
                let slot = self.ports.bus.reserve().await?;
                inbox.accept(letter, slot)?.await?;
                false
            }
            Ear::Agent(requests) => ask(requests, |reply| Request::Message { letter, reply }).await?,
        };
        Ok(Sent { session_id, message_id, queued })
    }

    /// Takes a message back that waits for a busy agent.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it does not wait, or the session has ended.
    pub async fn cancel_message(self: Arc<Self>, user: UserId, input: CancelMessage) -> Result<()> {
        let live = self.live(&input.session_id).await?;
        let message_id = input.message_id;
        ask(agent(&live)?, |reply| Request::TakeBack { user, message_id, reply }).await
    }

    /// Answers a permission request. The first answer counts.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it does not wait, or is a question; `invalid_data` for an option that it does not
    /// have.
    pub async fn resolve_permission(self: Arc<Self>, user: UserId, input: ResolvePermission) -> Result<()> {
        let live = self.live(&input.session_id).await?;
        ask(agent(&live)?, |reply| Request::Resolve { user, input, reply }).await
    }

    /// Answers questions of an agent, or declines to. The first answer counts.
    ///
    /// # Errors
    /// `not_found`; `conflict` when they do not wait; `invalid_data` for a question that is not answered, or otherwise
    /// than it can be.
    pub async fn answer_question(self: Arc<Self>, user: UserId, input: AnswerQuestion) -> Result<()> {
        let live = self.live(&input.session_id).await?;
        ask(agent(&live)?, |reply| Request::Answer { user, input, reply }).await
    }

    /// Stops the turn of an agent, which stays.
    ///
    /// # Errors
    /// `not_found`; `conflict` when there is no turn, or the agent's format cannot stop one.
    pub async fn interrupt(self: Arc<Self>, user: UserId, id: SessionId) -> Result<()> {
        let live = self.live(&id).await?;
        ask(agent(&live)?, |reply| Request::Interrupt { user, reply }).await
    }

    /// Makes all processes of a program stand still, or go on. What is so already stays so.
    ///
    /// # Errors
    /// `not_found`; `conflict` when the session has ended.
    pub async fn pause(self: Arc<Self>, user: UserId, id: SessionId, pause: bool) -> Result<()> {
        let live = self.live(&id).await?;
        ask(&live.controls, |reply| Control { user, pause, reply }).await
    }

    /// Cancels a session: TERM to its process group, KILL after the grace. Cancelling what is being
    /// ended already changes nothing.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it has ended or its program is not run by this server.
    pub async fn cancel(self: Arc<Self>, user: UserId, id: SessionId) -> Result<()> {
        let live = self.live(&id).await?;
        if live.course.ask_to_end(Reason::Cancelled(user)) { Ok(()) } else { Err(ended()) }
    }
}

/// The agent of a session.
fn agent(live: &Live) -> Result<&mpsc::Sender<Request>> {
    match &live.ear {
        Ear::Agent(requests) => Ok(requests),
        Ear::Lines(_) => Err(Error::new(Code::Conflict, "the program of this session is no agent that could be asked")),
    }
}

/// Asks, and waits for the answer. One that ends meanwhile answers by its end.
async fn ask<R, T>(to: &mpsc::Sender<R>, request: impl FnOnce(oneshot::Sender<Result<T>>) -> R) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    to.send(request(reply)).await.map_err(|_| ended())?;
    answer.await.map_err(|_| ended())?
}
