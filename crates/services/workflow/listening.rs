//! What tells steps that something happened to their sessions.
//!
//! Guarantees: whoever listens to a session hears of each of its turning points after it is durable; nothing
//! waits for whoever is slow.
//! It is not what happened: that is in the session's state.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, Message, Result,
    bus::{EventBus, Listener, Listening},
};
use tokio::sync::watch;

use crate::session::{
    SessionId,
    contract::{
        CANCELLED, COMPLETED, ERROR,
        agent::{PROGRESS, TURN_COMPLETED},
    },
};

/// The turning points of a session.
const TURNS: [&str; 5] = [COMPLETED, ERROR, CANCELLED, TURN_COMPLETED, PROGRESS];

/// Who listens to which session.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    waiting: Arc<Mutex<HashMap<String, watch::Sender<()>>>>,
}

/// A session that is listened to; dropping it ends that.
pub(super) struct Heard {
    id: String,
    waiting: Arc<Mutex<HashMap<String, watch::Sender<()>>>>,
    turns: watch::Receiver<()>,
}

impl Heard {
    /// Resolves when something happened since the last time.
    pub(super) async fn changed(&mut self) {
        // The sender stays until this is dropped.
        drop(self.turns.changed().await);
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.id);
    }
}

impl Sessions {
    /// Listens to the bus until the handles are dropped.
    pub(super) fn listen(self: &Arc<Self>, bus: &dyn EventBus) -> Vec<Listening> {
        let patterns = TURNS.iter().filter_map(|turn| turn.parse().ok());
        patterns.map(|pattern| bus.on(pattern, self.clone())).collect()
    }

    /// Listens to a session. One step listens to one.
    pub(super) fn to(&self, id: &SessionId) -> Heard {
        let (sender, turns) = watch::channel(());
        self.waiting.lock().insert(id.as_str().to_owned(), sender);
        Heard { id: id.as_str().to_owned(), waiting: self.waiting.clone(), turns }
    }
}

impl Listener for Sessions {
    fn name(&self) -> &'static str {
        "workflow.sessions"
    }

    fn hear(&self, message: Arc<Message>) -> BoxFuture<'_, Result<()>> {
        if let Some(waiting) = self.waiting.lock().get(message.channel.id()) {
            waiting.send_replace(());
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
