//! Events of other domains that an agent's program publishes.
//!
//! Guarantees: an event is published only if its type is one that the agent is configured for, and whoever started the
//! session may publish it at this moment; what is not published is told in the session, with the reason.
//! It is not the judgement of who may: that is the gate's.

use std::sync::Arc;

use serde_json::json;
use tidings_core::{BoxFuture, Error, Event, Pattern, Result, UserId};

use super::{
    super::{
        adapter::{Publication, refusal},
        contract::agent::{RAW, Raw},
    },
    Agent, Item, Piece, Step, redacted,
};
use crate::session::AdapterKind;

/// Publishes events in the name of a user, as that user could.
pub trait Publishing: Send + Sync {
    /// Resolves when it is durable.
    ///
    /// # Errors
    /// `forbidden`, and whatever else a producer is refused with; `not_found` for somebody who is no user of this
    /// server, or may not log in.
    fn publish(&self, user: &UserId, said: &Publication) -> BoxFuture<'_, Result<()>>;
}

/// What one agent's program may publish.
#[derive(Clone, Default)]
pub(in super::super) struct Publisher {
    pub(in super::super) port: Option<Arc<dyn Publishing>>,
    pub(in super::super) types: Vec<Pattern>,
}

impl Publisher {
    async fn publish(&self, user: &UserId, said: &Publication) -> Result<()> {
        if !self.types.iter().any(|pattern| pattern.matches_event(&said.event_type)) {
            let why = "this agent is not configured to publish events of this type: agents.NAME.publish lists them";
            return Err(Error::new(tidings_core::Code::Forbidden, why));
        }
        let port = self.port.as_ref().ok_or_else(|| Error::unavailable("nothing can be published here"))?;
        port.publish(user, said).await
    }
}

impl Agent {
    /// Publishes an event, or tells why not.
    pub(super) async fn publish(&mut self, said: Publication) {
        let Err(error) = self.publisher.publish(&self.live.user, &said).await else { return };
        let Publication { event_type, channel, id, data } = said;
        let kind = event_type.to_string();
        let line = json!({ "type": kind, "channel": channel, "id": id, "data": data });
        let source = AdapterKind::Events.as_str().to_owned();
        let raw = Step::Raw(Raw { session_id: self.id.clone(), source, data: line });
        if let Step::Raw(raw) = redacted(raw, &self.redaction) {
            drop(self.say(&mut vec![Event::new(RAW, raw)]).await);
        }
        let fields = error.fields().iter().map(|(field, why)| format!("; {field}: {why}")).collect::<String>();
        let why = format!("{} ({}){fields}", error.message(), error.code().as_str());
        if let Step::Output(output) = redacted(refusal(&self.id, &kind, &why), &self.redaction) {
            self.tell(Item::Piece(Piece { stream: output.r#type, content: output.content })).await;
        }
    }
}
