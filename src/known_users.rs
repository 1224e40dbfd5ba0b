//! Who a user is, for services that act in its name when nobody is logged in.
//!
//! Guarantees: what is answered are the roles of this moment; a disabled user is nobody.
//! It is not a login: no token comes of it.

use std::sync::{Arc, OnceLock};

use tidings_auth::Auth;
use tidings_core::{BoxFuture, Error, Principal, Result, UserId, identity::Identity};
use tidings_services::workflow::Users;

/// The users of this server. Somebody whom only tokens minted elsewhere name is not among them.
/// Bound once, after the services are made.
#[derive(Default)]
pub(crate) struct KnownUsers(OnceLock<Arc<Auth>>);

impl KnownUsers {
    /// Binds them. Later calls change nothing.
    pub(crate) fn bind(&self, auth: &Arc<Auth>) {
        self.0.get_or_init(|| auth.clone());
    }
}

impl Users for KnownUsers {
    fn principal(&self, user: &UserId) -> BoxFuture<'_, Result<Principal>> {
        let user = user.clone();
        Box::pin(async move {
            let auth = self.0.get().ok_or_else(|| Error::unavailable("the server is not ready"))?;
            let known = auth.user(&user).await?;
            if known.disabled {
                return Err(Error::not_found());
            }
            Ok(Principal::new(known.id, known.roles, Vec::new()))
        })
    }
}
