//! The domain `user`: what concerns one person, wherever it happens.
//!
//! Guarantees: owns the namespace `user`; `user:{userId}` belongs to that user, who may read it
//! without a grant.
//! It is not the administration of users, and it has no service: what needs a person's attention is
//! copied here by the handlers of those things, and producers outside may say a `user.notice`. The state says
//! what waits.

use std::sync::Arc;

use serde::Deserialize;
use tidings_core::{
    Channel, Code, Error, Event, Payload, Result, UserId,
    contract::EventRow,
    handler::{Handler, Retention, Route, Standing},
    json,
    projection::{Fold, Projection},
};
use tidings_services::user::{
    contract::{Attention, AttentionKind, EVENTS},
    state::UserReducer,
};

const NAMESPACE: &str = "user";
const THIRTY_DAYS_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// The channel of a user, for those who copy what needs attention into it.
#[must_use]
pub fn channel(user_id: &UserId) -> Channel {
    Channel::of(NAMESPACE, user_id)
}

/// With a word to the person whose attention something in the home channel needs, or no longer does. Only
/// services name one.
#[must_use]
pub fn with_attention(
    route: Route,
    event_type: &'static str,
    whose: Option<&UserId>,
    (kind, id): (AttentionKind, &str),
) -> Route {
    let Some(whose) = whose else { return route };
    let attention = Attention { user_id: whose.clone(), channel: route.home.clone(), kind, id: id.to_owned() };
    route.copy(channel(whose), event_type, Payload::of(attention))
}

/// The handler of users' own channels.
#[derive(Debug, Default)]
pub struct UserHandler;

/// What an event of the domain may carry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Carried {
    user_id: UserId,
}

impl Handler for UserHandler {
    fn domain(&self) -> &'static str {
        "user"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &[NAMESPACE]
    }

    fn channels(&self) -> Vec<String> {
        vec!["user:{userId}".to_owned()]
    }

    fn events(&self) -> Vec<EventRow> {
        EVENTS.to_vec()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        let home = home(event)?;
        if named(&home).is_none() {
            return Err(Error::new(Code::InvalidChannel, "a user's channel is user:{userId}"));
        }
        Ok(Route::to(home))
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        id.parse().ok().map(|id: UserId| Channel::of(NAMESPACE, &id))
    }

    fn standing(&self, channel: &Channel) -> Standing {
        Standing { owner: named(channel), project: None }
    }

    fn projection(&self) -> Option<Arc<dyn Projection>> {
        Some(Fold::<UserReducer>::projection())
    }

    fn retention(&self) -> Retention {
        Retention { messages: 10_000, bytes: 16 << 20, age_ms: THIRTY_DAYS_MS }
    }
}

/// The user whose channel it is, if it is a whole `user:{userId}`.
fn named(channel: &Channel) -> Option<UserId> {
    channel.as_str().strip_prefix(NAMESPACE)?.strip_prefix(':')?.parse().ok()
}

/// The channel of an event: of the user in its data, or the one that it names.
fn home(event: &Event) -> Result<Channel> {
    let in_data = json::from_str::<Carried>(event.payload.json());
    let in_data = in_data.map(|carried| Channel::of(NAMESPACE, &carried.user_id));
    match (in_data, &event.channel) {
        (Ok(home), _) => Route::named_by("data.userId", event, home).map(|route| route.home),
        (Err(_), Some(named)) if named.namespace() == NAMESPACE => Ok(named.clone()),
        (Err(_), _) => Err(Error::invalid_field("data.userId", "names the user")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_to_the_channel_of_the_user_that_it_names() {
        let table = [
            (serde_json::json!({"userId": "u1"}), None, Ok("user:u1")),
            (serde_json::json!({"text": "hello"}), Some("user:u1"), Ok("user:u1")),
            (serde_json::json!({"userId": "u1"}), Some("user:u2"), Err(Code::InvalidData)),
            (serde_json::json!({"userId": "u1:2"}), None, Err(Code::InvalidData)),
            (serde_json::json!({}), Some("session:1"), Err(Code::InvalidData)),
            (serde_json::json!({}), Some("user:a:b"), Err(Code::InvalidChannel)),
        ];
        for (data, channel, expected) in table {
            let mut event = Event::new("user.notice", data.clone());
            event.channel = channel.map(|channel| channel.parse().expect("a channel"));
            let routed = UserHandler.route(&event).map(|route| route.home.to_string()).map_err(|error| error.code());
            assert_eq!(routed, expected.map(str::to_owned), "{data} {channel:?}");
        }
    }

    #[test]
    fn the_channel_of_a_user_belongs_to_that_user_and_a_longer_name_to_nobody() {
        let owner = |name: &str| UserHandler.standing(&name.parse().expect("a channel")).owner;
        assert_eq!(owner("user:u1"), "u1".parse().ok());
        assert_eq!(owner("user:x:u1"), None);
    }
}
