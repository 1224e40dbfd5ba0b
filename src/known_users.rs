//! Who a user is, for services that act in its name when nobody is logged in.
//!
//! Guarantees: what is answered are the roles and rights of this moment; a disabled user is nobody.
//! It is not a login: no token comes of it.

use std::sync::{Arc, OnceLock, Weak};

use tidings_auth::Auth;
use tidings_core::{Action, BoxFuture, Code, Error, Payload, Principal, Result, UserId, identity::Identity};
use tidings_engine::gate::{Gate, NewEvent};
use tidings_handlers::project;
use tidings_services::{
    project::ProjectId,
    session::{Publication, Publishing},
    workflow::Users,
};

/// The users of this server. Somebody whom only tokens minted elsewhere name is not among them.
/// Bound once, after the services are made.
#[derive(Default)]
pub(crate) struct KnownUsers(OnceLock<(Arc<Auth>, Weak<Gate>)>);

impl KnownUsers {
    /// Binds them. Later calls change nothing.
    pub(crate) fn bind(&self, auth: &Arc<Auth>, gate: &Arc<Gate>) {
        self.0.get_or_init(|| (auth.clone(), Arc::downgrade(gate)));
    }

    fn parts(&self) -> Result<(&Arc<Auth>, Arc<Gate>)> {
        let bound = self.0.get().and_then(|(auth, gate)| Some((auth, gate.upgrade()?)));
        bound.ok_or_else(|| Error::unavailable("the server is not ready"))
    }
}

impl Users for KnownUsers {
    fn principal(&self, user: &UserId) -> BoxFuture<'_, Result<Principal>> {
        let user = user.clone();
        Box::pin(async move {
            let (auth, _) = self.parts()?;
            let known = auth.user(&user).await?;
            if known.disabled {
                return Err(Error::not_found());
            }
            Ok(Principal::new(known.id, known.roles, Vec::new()))
        })
    }

    fn stands(&self, principal: &Principal) -> bool {
        self.parts().is_ok_and(|(auth, _)| auth.stands(principal))
    }

    fn may(&self, principal: &Principal, action: Action, project: &ProjectId) -> BoxFuture<'_, Result<bool>> {
        let (principal, channel) = (principal.clone(), project::channel(project));
        Box::pin(async move {
            let (_, gate) = self.parts()?;
            match gate.authorise(&principal, action, &channel).await {
                Ok(()) => Ok(true),
                Err(error) if error.code() == Code::Forbidden => Ok(false),
                Err(error) => Err(error),
            }
        })
    }
}

impl Publishing for KnownUsers {
    fn publish(&self, user: &UserId, said: &Publication) -> BoxFuture<'_, Result<()>> {
        let Publication { event_type, channel, id, data } = said;
        let (event_type, channel) = (event_type.clone(), channel.clone());
        let id = id.as_deref().map(Into::into);
        let data = serde_json::value::to_raw_value(data);
        let user = user.clone();
        Box::pin(async move {
            let unknown = |error: Error| match error.code() {
                Code::NotFound => {
                    let why = "whoever started the session is no user of this server, or may not log in";
                    Error::new(Code::Forbidden, why)
                }
                _ => error,
            };
            let principal = self.principal(&user).await.map_err(unknown)?;
            let data = data.map_err(|_| Error::internal())?;
            let event = NewEvent { event_type, channel, id, data: Payload::raw(&data) };
            let (_, gate) = self.parts()?;
            gate.publish(&principal, vec![event]).await.map(drop)
        })
    }
}
