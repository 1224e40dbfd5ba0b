//! How commands reach the running server, and the data directory's users and keys.
//!
//! Guarantees: a token comes from a file, from `TIDINGS_TOKEN` or from the server's own key, never from an
//! argument; one that is made here is short-lived and may do no more than its command needs.
//! It starts no server.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde_json::json;
use tidings_auth::Auth;
use tidings_core::{Grant, UserId};
use tidings_engine::log::DataDir;

use super::{
    Surroundings,
    output::{Failure, note},
};
use crate::config::variables;

/// How long a token that a command makes for itself is valid; a command that lasts makes new ones.
const OWN_TOKEN: Duration = Duration::from_secs(300);
/// Whose such a token is.
const OWN_USER: &str = "tidings-cli";

/// Options of commands that speak with the server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TokenSource {
    /// A file that holds the token [default: TIDINGS_TOKEN, else one made with the server's key]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// The running server, and how to log in there.
pub(super) struct Reach {
    /// Its base URL.
    pub(super) url: String,
    source: Source,
}

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Given(String),
    Own { auth: Arc<Auth>, grants: Vec<Grant> },
}

impl Reach {
    /// Finds the server and a token with at least these grants, where it is made here.
    pub(super) async fn find(
        surroundings: &Surroundings,
        from: &TokenSource,
        grants: Vec<Grant>,
    ) -> Result<Self, Failure> {
        let given = variables().into_iter().find(|(name, _)| name == "TIDINGS_TOKEN").map(|(_, token)| token);
        let source = match (&from.token_file, given) {
            (Some(file), _) => Source::File(file.clone()),
            (None, Some(token)) => Source::Given(token.trim().to_owned()),
            (None, None) => Source::Own { auth: open_auth(surroundings, true).await?, grants },
        };
        let reach = Self { url: url(surroundings)?, source };
        reach.token()?;
        Ok(reach)
    }

    /// A token, made or read anew.
    pub(super) fn token(&self) -> Result<String, Failure> {
        self.source.token()
    }

    /// What the client logs in with; asked anew for each connection.
    pub(super) fn auth(&self) -> tidings_client::Auth {
        let source = self.source.clone();
        Arc::new(move || match source.token() {
            Ok(token) => json!({ "token": token }),
            Err(failure) => {
                note(failure);
                json!({})
            }
        })
    }
}

impl Source {
    fn token(&self) -> Result<String, Failure> {
        match self {
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim().to_owned()),
                Err(error) => Err(Failure::other(format_args!("{} cannot be read: {error}", path.display()))),
            },
            Self::Given(token) => Ok(token.clone()),
            Self::Own { auth, grants } => {
                let user: UserId = OWN_USER.parse().expect("a constant that is an id");
                Ok(auth.mint(user, &[], grants, OWN_TOKEN)?.0)
            }
        }
    }
}

/// Opens the users and keys of the data directory; a running server notices what is changed there.
/// With `existing`, a directory that is not there is an error instead of being made.
pub(super) async fn open_auth(surroundings: &Surroundings, existing: bool) -> Result<Arc<Auth>, Failure> {
    let config = &surroundings.config;
    let dir = &config.data_dir;
    if existing && !dir.join("users.db").is_file() {
        return Err(Failure::other(format_args!(
            "{} is no data directory: start the server once, or name its directory with --data-dir",
            dir.display()
        )));
    }
    Ok(Auth::open(config.identity()?, surroundings.clock.clone(), surroundings.tasks.clone())?)
}

/// The base URL of the server: where `--listen` says, else where the holder of the data directory
/// listens, else where the configuration says.
fn url(surroundings: &Surroundings) -> Result<String, Failure> {
    let config = &surroundings.config;
    let held = DataDir::holder(&config.data_dir).and_then(|holder| holder.address);
    let address = match (surroundings.shared.listen, held) {
        (Some(address), _) => address,
        (None, Some(held)) => held.parse().unwrap_or(config.listen),
        (None, None) => config.listen,
    };
    if address.port() == 0 {
        return Err(Failure::other("no server holds the data directory; name its address with --listen"));
    }
    Ok(format!("http://{}", local(address)))
}

/// An address that can be connected to: a server on all addresses is reached on this machine's own.
fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_this_machines_own() {
        for (listens, reached) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.1.1.1:1", "10.1.1.1:1")] {
            assert_eq!(local(listens.parse().expect("an address")).to_string(), reached);
        }
    }
}
