//! `tidings user`: the users of a data directory, also beside a running server.
//!
//! Guarantees: a password comes from standard input or from a prompt that does not show it; a running
//! server follows a change within about a second.
//! It is not the only way: `/api/users` does the same over HTTP.

use std::{
    io::{BufRead, IsTerminal, Read},
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde_json::json;
use tidings_auth::Auth;
use tidings_core::{
    identity::{Identity, NewUser, Secret, User, UserChange},
    principal::Role,
};

use super::{
    Surroundings,
    output::{Failure, Outcome, note, say},
    reach::open_auth,
    token::parse_role,
};

/// How many users are read at once.
const PAGE: usize = 100;
/// The most that is read as a password: longer ones are refused anyway.
const MAX_LINE_BYTES: u64 = 4096;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a user; the password comes from standard input or a prompt
    #[command(after_help = "Example:\n  tidings user add ada --role operator")]
    Add {
        /// The name to log in with
        name: String,
        /// A role: admin, operator or viewer; may be repeated
        #[arg(long = "role", value_name = "ROLE", value_parser = parse_role)]
        roles: Vec<Role>,
    },
    /// List the users
    #[command(after_help = "Example:\n  tidings user list --json")]
    List {
        /// Print each as one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a user's password and end its logins
    #[command(after_help = "Example:\n  tidings user passwd ada < password.txt")]
    Passwd(Name),
    /// Shut a user out and end its connections
    #[command(after_help = "Example:\n  tidings user disable ada")]
    Disable {
        #[command(flatten)]
        user: Name,
        /// The same as `tidings user enable`
        #[arg(long, hide = true)]
        enable: bool,
    },
    /// Let a user in again
    #[command(after_help = "Example:\n  tidings user enable ada")]
    Enable(Name),
}

/// Which user.
#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The user's name
    name: String,
}

pub(super) async fn run(command: Command, surroundings: &Surroundings) -> Outcome {
    match command {
        Command::Add { name, roles } => {
            let auth = open_auth(surroundings, false).await?;
            let password = read_password()?;
            let user = auth.create_user(NewUser { username: name, password, roles }).await?;
            say(line(&user))
        }
        Command::List { json } => {
            let auth = open_auth(surroundings, true).await?;
            list(&auth, json).await
        }
        Command::Passwd(Name { name }) => {
            let auth = open_auth(surroundings, true).await?;
            let user = auth.user_by_name(&name).await?;
            let change = UserChange { password: Some(read_password()?), ..UserChange::default() };
            auth.change_user(&user.id, change).await?;
            note(format_args!("the password of {} was set; its logins ended", user.username));
            Ok(())
        }
        Command::Disable { user, enable } => set_disabled(&user, !enable, surroundings).await,
        Command::Enable(user) => set_disabled(&user, false, surroundings).await,
    }
}

async fn set_disabled(Name { name }: &Name, disabled: bool, surroundings: &Surroundings) -> Outcome {
    let auth = open_auth(surroundings, true).await?;
    let user = auth.user_by_name(name).await?;
    let change = UserChange { disabled: Some(disabled), ..UserChange::default() };
    say(line(&auth.change_user(&user.id, change).await?))
}

async fn list(auth: &Arc<Auth>, as_json: bool) -> Outcome {
    let mut after = None;
    loop {
        let users = auth.users(after, PAGE).await?;
        for user in &users {
            if as_json {
                say(json!(user))?;
            } else {
                say(line(user))?;
            }
        }
        match users.last() {
            Some(last) if users.len() == PAGE => after = Some(last.username.clone()),
            _ => return Ok(()),
        }
    }
}

fn line(user: &User) -> String {
    let roles: Vec<&str> = user.roles.iter().map(|role| role.as_str()).collect();
    let roles = if roles.is_empty() { "-".to_owned() } else { roles.join(",") };
    let state = if user.disabled { "disabled" } else { "active" };
    format!("{} {} {roles} {state} {}", user.id, user.username, user.created_at)
}

/// A password: asked for twice on a terminal, else the first line of standard input.
fn read_password() -> Result<Secret, Failure> {
    let failed = |error: std::io::Error| Failure::other(format_args!("no password could be read: {error}"));
    if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("Password: ").map_err(failed)?;
        let second = rpassword::prompt_password("Again: ").map_err(failed)?;
        return if first == second { Ok(Secret(first)) } else { Err(Failure::other("the two are not the same")) };
    }
    let mut line = String::new();
    std::io::stdin().lock().take(MAX_LINE_BYTES).read_line(&mut line).map_err(failed)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        Err(Failure::other("standard input holds no password"))
    } else {
        Ok(Secret(password.to_owned()))
    }
}
