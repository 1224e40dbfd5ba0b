//! Subscribing: the judgement, and that it still holds once the subscription stands.
//!
//! Guarantees: whoever loses a right while the subscription is under way does not keep what it was
//! for: a change of rights that found the connection without it is made good here.
//! It is not the subscription: that is the hub's.

use std::sync::Arc;

use tidings_core::{Action, Channel, Result, outlet::Said};

use super::Gate;
use crate::hub::{Connection, Outcome, SubscribeRequest};

impl Gate {
    /// Subscribes a connection to what its principal may read, and answers for each request in order.
    /// What a request was refused for already is passed on.
    pub async fn subscribe(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        requests: Vec<Result<SubscribeRequest>>,
        answer: impl FnOnce(Vec<Result<Outcome>>) -> Option<Said>,
    ) {
        let (rights, principal) = (self.rights(), connection.principal());
        let mut allowed = Vec::with_capacity(requests.len());
        for request in requests {
            allowed.push(match request {
                Ok(request) => {
                    let may = self.authorise(&principal, Action::Subscribe, &request.channel).await;
                    may.map(|()| request)
                }
                Err(error) => Err(error),
            });
        }
        let channels: Vec<Channel> = allowed.iter().flatten().map(|request| request.channel.clone()).collect();
        connection.subscribe(allowed, answer).await;
        if rights != self.rights() || !Arc::ptr_eq(&principal, &connection.principal()) {
            self.rejudge(connection, channels).await;
        }
    }
}
