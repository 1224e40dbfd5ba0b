//! `tidings token`: a token signed with the server's key, and the list of those that were made so.
//!
//! Guarantees: prints the token and nothing else; a token of a user of the server ends with the user, and names are
//! looked up, so that none is made for somebody who only looks like one. The list holds no token.
//! It is not a login: a token is valid to its end unless it, or whose it is, is revoked.

use std::sync::Arc;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use tidings_auth::{Auth, NewToken, Whose};
use tidings_core::{
    Grant, UserId,
    identity::{Identity, IssuedToken, Revoked},
    principal::Role,
};

use super::{
    Surroundings,
    output::{Outcome, harmless, note, one_line, say},
    reach::open_auth,
};
use crate::config::Span;

/// How many tokens are read at once.
const PAGE: usize = 100;

/// What to do with tokens; without a word one is made.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    new: New,
}

/// What to do with the tokens that were made.
#[derive(Debug, Subcommand)]
enum Command {
    /// List the tokens that are valid still, the newest first
    #[command(after_help = "Example:\n  tidings token list --json")]
    List {
        /// Print each as one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// End a token and its connections
    #[command(after_help = "Example:\n  tidings token revoke Qk3mXw8sTz0V1uYb5cR7dA")]
    Revoke {
        /// Its id, as the list has it; or the `jti` of one that another application made
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
}

/// What the token says.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true).args(["user", "subject"]))]
struct New {
    /// Whose token it is: a user of the server, by name or id; it ends with the user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Whose token it is: an id of somebody who is no user of the server, such as a program
    #[arg(long, value_name = "ID", value_parser = parse_subject)]
    subject: Option<UserId>,
    /// What it is for, as the list shows it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
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

fn parse_subject(text: &str) -> Result<UserId, String> {
    text.parse().map_err(|error: tidings_core::id::InvalidId| error.to_string())
}

pub(super) fn parse_role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error: tidings_core::Error| error.message().to_owned())
}

/// A grant over channels that there can be: a typing error is told here, and not by a token that may nothing.
fn parse_grant(text: &str) -> Result<Grant, String> {
    let grant: Grant = text.parse().map_err(|error: tidings_core::Error| error.message().to_owned())?;
    grant.pattern.matches_no_channel().map_or(Ok(grant), Err)
}

pub(super) async fn run(options: Options, surroundings: &Surroundings) -> Outcome {
    let auth = open_auth(surroundings, true).await?;
    match options.command {
        None => make(&auth, options.new).await,
        Some(Command::List { json }) => list(&auth, json).await,
        Some(Command::Revoke { id }) => revoke(&auth, &id).await,
    }
}

/// Revokes a token, and says what that was. An id that is not on the list is no mistake: it may be the `jti` of a
/// token that another application made.
async fn revoke(auth: &Arc<Auth>, id: &str) -> Outcome {
    let what = match auth.revoke_token(id, None).await? {
        Revoked::Listed => "was revoked; its connections end",
        Revoked::Before => "was revoked already",
        Revoked::Unlisted => "is not listed here; its id is refused from now on",
    };
    note(format_args!("the token {} {what}", harmless(id)));
    Ok(())
}

async fn make(auth: &Arc<Auth>, new: New) -> Outcome {
    let whose = match (new.user, new.subject) {
        (Some(user), _) => Whose::User(user),
        (None, Some(subject)) => {
            if let Ok(user) = auth.user_by_name(subject.as_str()).await {
                note(format_args!("this token is not one of the user {}: that would be --user", user.username));
            }
            Whose::Subject(subject)
        }
        (None, None) => unreachable!("clap asks for one of both"),
    };
    let token = NewToken { whose, name: new.name, roles: new.roles, grants: new.grants, ttl: new.ttl.0 };
    say(auth.issue(&token)?.0)
}

async fn list(auth: &Arc<Auth>, as_json: bool) -> Outcome {
    let mut after = None;
    loop {
        let page = auth.tokens(None, after, PAGE).await?;
        for token in &page.tokens {
            if as_json {
                say(one_line(&json!(token).to_string()))?;
            } else {
                say(harmless(&line(token)))?;
            }
        }
        after = page.cursor;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn line(token: &IssuedToken) -> String {
    let roles = token.roles.iter().map(|role| role.as_str().to_owned());
    let rights: Vec<String> = roles.chain(token.grants.iter().map(ToString::to_string)).collect();
    let rights = if rights.is_empty() { "-".to_owned() } else { rights.join(" ") };
    let whose = token.username.as_deref().unwrap_or(token.user_id.as_str());
    let name = token.name.as_deref().unwrap_or("-");
    format!("{} {whose} until {} {rights} {name}", token.id, token.expires_at)
}
