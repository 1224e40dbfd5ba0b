//! Judging live subscriptions anew when rights change: a listener on the events that change them.
//!
//! Guarantees: whoever lost the right to read a channel is told with `channel.closed` and hears no more.
//! It is not where rights are kept: it asks the gate.

use std::sync::Arc;

use serde::Deserialize;
use tidings_core::{BoxFuture, Error, Message, Result, UserId, bus::Listener, json};

use super::Gate;
use crate::hub::Hub;

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
            for connection in self.hub.connections() {
                if concerns.as_ref().is_none_or(|user| *user == connection.principal().user) {
                    // What cannot be told now is no reason: the log is unavailable to everybody then.
                    let known = |error: &Error| !error.code().retryable();
                    self.gate.rejudge(&connection, connection.channels(), known).await;
                }
            }
            Ok(())
        })
    }
}
