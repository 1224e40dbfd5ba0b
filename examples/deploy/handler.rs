//! The domain `deploy`: what is deployed where.
//!
//! Guarantees: owns the namespace `deploy`; a deployment's channel is `deploy:{deployId}`.
//! It deploys nothing: that is the service's.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{
    Action, Channel, Error, Event, Result,
    command::{Command, Method, Need},
    contract::EventRow,
    handler::{Handler, Retention, Route},
    id_type,
    projection::{Fold, Projection},
};
use validator::Validate;

use super::service::{DeployReducer, Deploys, Named, Start};

id_type! {
    /// A deployment.
    DeployId
}

tidings_core::events! {
    /// The events of deployments.
    pub const EVENTS;

    /// Something is being deployed.
    STARTED = "deploy.started": durable Started, r#"{"deployId":"d1","target":"production"}"#;
    /// How far it is.
    PROGRESSED = "deploy.progressed": ephemeral Progressed, from anyone, r#"{"deployId":"d1","done":0.4}"#;
}

/// `deploy.started`: the first event of a deployment.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The deployment.
    pub deploy_id: DeployId,
    /// Where to.
    #[validate(length(min = 1, max = 100, message = "is 1 to 100 characters"))]
    pub target: String,
}

/// `deploy.progressed`: worth nothing once the next one is there.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progressed {
    /// The deployment.
    pub deploy_id: DeployId,
    /// How much of it is done.
    #[validate(range(min = 0.0, max = 1.0, message = "is 0 to 1"))]
    pub done: f64,
}

/// What every event of the domain carries.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Carried {
    deploy_id: DeployId,
}

/// The handler of deployments.
pub struct DeployHandler(pub Arc<Deploys>);

impl Handler for DeployHandler {
    fn domain(&self) -> &'static str {
        "deploy"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &["deploy"]
    }

    fn channels(&self) -> Vec<String> {
        vec!["deploy:{deployId}".to_owned()]
    }

    fn events(&self) -> Vec<EventRow> {
        EVENTS.to_vec()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        let carried: Arc<Carried> = event.payload.typed()?;
        Ok(Route::to(channel(&carried.deploy_id)))
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        id.parse().ok().map(|id: DeployId| channel(&id))
    }

    fn retention(&self) -> Retention {
        Retention { messages: 10_000, bytes: 16 << 20, age_ms: 30 * 24 * 60 * 60 * 1000 }
    }

    // What follows is there because there is a service.

    fn commands(&self) -> Vec<Command> {
        let (start, get) = (self.0.clone(), self.0.clone());
        vec![
            Command::new(
                "deploy.start",
                (Method::Post, "/api/deploys"),
                "Deploys to a target.",
                |_: &Start| Need::Admin,
                move |caller, input| start.clone().start(caller.principal.user, input),
            )
            .with_status(201),
            Command::new(
                "deploy.get",
                (Method::Get, "/api/deploys/{deployId}"),
                "Shows a deployment.",
                |input: &Named| Need::On(Action::Subscribe, channel(&input.deploy_id)),
                move |_, input| get.clone().get(input),
            ),
        ]
    }

    fn projection(&self) -> Option<Arc<dyn Projection>> {
        Some(Fold::<DeployReducer>::projection())
    }
}

fn channel(id: &DeployId) -> Channel {
    Channel::of("deploy", id)
}

/// Its test is a table: what goes in, where it goes.
pub fn routes_by_the_id_in_the_data(handler: &DeployHandler) {
    let table = [
        (serde_json::json!({"deployId": "d1"}), Ok("deploy:d1".to_owned())),
        (serde_json::json!({"deployId": "d1:2"}), Err("data.deployId")),
        (serde_json::json!({}), Err("data.deployId")),
    ];
    for (data, expected) in table {
        let routed = handler.route(&Event::new("deploy.noted", data.clone()));
        let routed = routed.map(|route| route.home.to_string()).map_err(|error: Error| error.fields().clone());
        match expected {
            Ok(home) => assert_eq!(routed, Ok(home), "{data}"),
            Err(field) => assert!(routed.expect_err("refused").contains_key(field), "{data}"),
        }
    }
}
