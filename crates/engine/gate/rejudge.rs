//! Judging live subscriptions anew when rights change: a listener on the events that change them, and a new
//! token of a connection.
//!
//! Guarantees: whoever lost the right to read a channel is told with `channel.closed` and hears no more.
//! From the change until the judgement nothing is delivered; where rights cannot be read the subscription
//! waits until they can, however long that takes, and then goes on without a hole or ends. Nobody loses
//! a connection for it.
//! It is not where rights are kept: it asks the gate.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::Deserialize;
use tidings_core::{Action, BoxFuture, Channel, Message, Result, UserId, bus::Listener, json};

use super::Gate;
use crate::hub::{Connection, Hub};

/// How long rights that cannot be read are waited for: at first, and at most.
const WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Listens to events that change rights. An event whose data has a `userId` concerns that user only.
#[derive(Debug)]
pub struct Rejudge {
    /// Says who may.
    pub gate: Arc<Gate>,
    /// Knows who listens.
    pub hub: Arc<Hub>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Concerns {
    user_id: Option<UserId>,
}

impl Listener for Rejudge {
    fn name(&self) -> &str {
        "gate.rejudge"
    }

    fn hear(&self, message: Arc<Message>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let concerns = json::from_str::<Concerns>(message.payload.json()).ok().and_then(|data| data.user_id);
            // First, so that what is attached from now on is looked at by whoever attaches it.
            self.gate.rights_changed();
            let mut held = self.hub.connections();
            held.retain(|connection| concerns.as_ref().is_none_or(|user| *user == connection.principal().user));
            // All of them before the first read: it may take long.
            held.retain(|connection| self.gate.hold(connection, connection.channels()));
            for connection in held {
                self.gate.judge_held(&connection).await;
            }
            Ok(())
        })
    }
}

impl Gate {
    /// Ends those of the subscriptions that the connection's principal may not have. One that cannot be
    /// judged now is given nothing until it can.
    pub async fn rejudge(self: &Arc<Self>, connection: &Arc<Connection>, channels: Vec<Channel>) {
        if self.hold(connection, channels) {
            self.judge_held(connection).await;
        }
    }

    /// Holds the subscriptions of these channels, but those that are known to be allowed. Whether there are some.
    fn hold(&self, connection: &Arc<Connection>, mut channels: Vec<Channel>) -> bool {
        let reason = self.reasons.fetch_add(1, Ordering::SeqCst) + 1;
        let principal = connection.principal();
        channels.retain(|channel| {
            let known = self.judge.at_once(&principal, Action::Subscribe, channel);
            known.is_none_or(|judgement| judgement.is_err())
        });
        !channels.is_empty() && connection.hold(&channels, reason)
    }

    /// Judges what a connection has of held subscriptions: now, and what cannot be judged now, later.
    async fn judge_held(self: &Arc<Self>, connection: &Arc<Connection>) {
        self.judge_once(connection).await;
        // Whatever is left could not be read.
        if !connection.begin_judging() {
            return;
        }
        let (user, subscriptions) = (connection.principal().user.clone(), connection.held().len());
        tracing::warn!(%user, subscriptions, "rights cannot be read; nothing is delivered until they can");
        let (gate, connection, mut stopping) = (self.clone(), connection.clone(), self.parts.tasks.stopping());
        self.parts.tasks.spawn(
            "gate.rejudge",
            Box::pin(async move {
                let mut wait = WAIT.0;
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = &mut stopping => return,
                    }
                    gate.judge_once(&connection).await;
                    if connection.end_judging() {
                        return;
                    }
                    wait = (wait * 2).min(WAIT.1);
                }
            }),
        );
    }

    async fn judge_once(&self, connection: &Arc<Connection>) {
        for channel in connection.held() {
            // Before the principal and the rights are looked at: what changes after it is another reason.
            let as_of = self.reasons.load(Ordering::SeqCst);
            let principal = connection.principal();
            match self.authorise(&principal, Action::Subscribe, &channel).await {
                Ok(()) => connection.judged(&channel, as_of, Ok(())),
                Err(error) if error.retryable() => {
                    metrics::counter!("tidings_rights_unread_total").increment(1);
                    tracing::debug!(%channel, user = %principal.user, %error, "a right cannot be read");
                }
                Err(error) => {
                    let why = "the right to read this channel is gone";
                    connection.judged(&channel, as_of, Err((error.code(), why)));
                }
            }
        }
    }
}
