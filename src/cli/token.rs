//! `tidings token`: a token signed with the server's key.
//!
//! Guarantees: prints the token and nothing else.
//! It is not a login: the token belongs to no user of the server, and is valid to its end unless the user
//! or its id is revoked.

use clap::Args;
use tidings_core::{Grant, UserId, principal::Role};

use super::{
    Surroundings,
    output::{Outcome, say},
    reach::open_auth,
};
use crate::config::Span;

/// What the token says.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Whose token it is: an id, which need not be one of a user here
    #[arg(long, value_name = "ID", value_parser = parse_user)]
    user: UserId,
    /// A role: admin, operator or viewer; may be repeated
    #[arg(long = "role", value_name = "ROLE", value_parser = parse_role)]
    roles: Vec<Role>,
    /// A grant, such as 'session:*=subscribe,publish'; may be repeated
    #[arg(long = "grant", value_name = "GRANT", value_parser = parse_grant)]
    grants: Vec<Grant>,
    /// How long it is valid
    #[arg(long, value_name = "TIME", default_value = "1h")]
    ttl: Span,
}

fn parse_user(text: &str) -> Result<UserId, String> {
    text.parse().map_err(|error: tidings_core::id::InvalidId| error.to_string())
}

pub(super) fn parse_role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error: tidings_core::Error| error.message().to_owned())
}

fn parse_grant(text: &str) -> Result<Grant, String> {
    text.parse().map_err(|error: tidings_core::Error| error.message().to_owned())
}

pub(super) async fn run(options: Options, surroundings: &Surroundings) -> Outcome {
    let auth = open_auth(surroundings, true).await?;
    let (token, _) = auth.mint(options.user, options.roles, options.grants, options.ttl.0)?;
    say(token)
}
