//! The service of deployments: what it takes, what it is, what it does.
//!
//! Guarantees: whoever is answered that a deployment started finds it in the log.
//! It knows no channel and no socket, reads no clock but the port's and starts no task but through the port.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{
    Error, Event, Message, Result, UserId,
    bus::EventBus,
    command::Json,
    projection::{Reducer, Snapshot, States},
};
use validator::Validate;

use super::handler::{DeployId, STARTED, Started};

/// Input of `deploy.start`.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Start {
    /// Where to.
    #[validate(length(min = 1, max = 100, message = "is 1 to 100 characters"))]
    pub target: String,
}

/// Input of `deploy.get`.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// The deployment.
    pub deploy_id: DeployId,
}

/// The state of a deployment: the fold of its channel. Its JSON is the snapshot.
#[derive(Debug, Default, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeployState {
    /// Where to.
    pub target: String,
    /// Whether it was started.
    pub running: bool,
}

/// The reducer of a deployment's channel.
pub struct DeployReducer;

impl Reducer for DeployReducer {
    type State = DeployState;
    const VERSION: u32 = 1;

    fn apply(state: &mut DeployState, message: &Message) {
        if message.event_type.as_str() == STARTED
            && let Ok(event) = message.payload.typed::<Started>()
        {
            state.target.clone_from(&event.target);
            state.running = true;
        }
    }
}

/// The service.
pub struct Deploys {
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// Where states are read back.
    pub states: Arc<dyn States>,
}

impl Deploys {
    /// `deploy.start`.
    pub async fn start(self: Arc<Self>, by: UserId, input: Start) -> Result<Json<Started>> {
        let data = Started { deploy_id: DeployId::random(), target: input.target };
        // The receipt resolves once the event is durable: then the answer may say that it happened.
        self.bus.emit(Event::new(STARTED, data.clone()).by(Some(by))).await?.await?;
        Ok(Json(data))
    }

    /// `deploy.get`.
    pub async fn get(self: Arc<Self>, input: Named) -> Result<Snapshot<DeployState>> {
        let view = self.states.get("deploy", input.deploy_id.as_str()).await?.ok_or_else(Error::not_found)?;
        view.snapshot().ok_or_else(Error::internal)
    }
}
