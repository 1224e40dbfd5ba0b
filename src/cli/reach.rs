//! How commands reach the running server, and the data directory's users and keys.
//!
//! Guarantees: a token comes from a file, from `TIDINGS_TOKEN` or from the server's own key, never from an
//! argument; one that is made here is short-lived, may do no more than its command needs, and is made only while a
//! server has the data directory, for the address where that one listens (or that the command line names).
//! It starts no server.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde_json::json;
use tidings_auth::Auth;
use tidings_core::{Grant, UserId};
use tidings_engine::log::{DataDir, Holding};

use super::{Surroundings, output::Failure};
use crate::config::variables;

/// How long a token that a command makes for itself is valid; a command that lasts makes new ones.
const OWN_TOKEN: Duration = Duration::from_secs(60);
/// Whose such a token is.
const OWN_USER: &str = "tidings-cli";

/// What is told where no server has the data directory.
const NO_SERVER: &str = "cannot reach the server: none has the data directory";

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
    Own(Own),
}

/// The server's own key, and what a token of it is for.
#[derive(Clone)]
struct Own {
    auth: Arc<Auth>,
    grants: Vec<Grant>,
    data_dir: PathBuf,
    /// Where the server has to listen; none where the command line names the address.
    address: Option<String>,
}

impl Reach {
    /// Finds the server and a token, where it is made here with what `grants` says.
    pub(super) async fn find(
        surroundings: &Surroundings,
        from: &TokenSource,
        grants: impl FnOnce() -> Result<Vec<Grant>, Failure>,
    ) -> Result<Self, Failure> {
        let Surroundings { config, shared, .. } = surroundings;
        let given = variables().into_iter().find(|(name, _)| name == "TIDINGS_TOKEN").map(|(_, token)| token);
        let source = match (&from.token_file, given) {
            (Some(file), _) => Source::File(file.clone()),
            (None, Some(token)) => Source::Given(token.trim().to_owned()),
            (None, None) => {
                let auth = open_auth(surroundings, true).await?;
                let address = match shared.listen {
                    Some(_) => None,
                    None => Some(held_address(&DataDir::holding(&config.data_dir), &config.data_dir)?),
                };
                Source::Own(Own { auth, grants: grants()?, data_dir: config.data_dir.clone(), address })
            }
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
            Ok(token) => Ok(json!({ "token": token })),
            Err(failure) => Err(failure.to_string()),
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
            Self::Own(own) => own.token(),
        }
    }
}

impl Own {
    /// A new token, if the server is there to take it: whoever listens where one listened may be somebody else.
    fn token(&self) -> Result<String, Failure> {
        let holding = DataDir::holding(&self.data_dir);
        match &self.address {
            Some(address) if held_address(&holding, &self.data_dir)? != *address => {
                return Err(Failure::other(format_args!("the server does not listen at {address} any more")));
            }
            None if !matches!(holding, Holding::Held(_)) => return Err(no_server(&self.data_dir)),
            _ => {}
        }
        let user: UserId = OWN_USER.parse().expect("a constant that is an id");
        Ok(self.auth.mint(user, &[], &self.grants, OWN_TOKEN)?.0)
    }
}

/// Where the process listens that has the data directory.
fn held_address(holding: &Holding, data_dir: &Path) -> Result<String, Failure> {
    match (holding, holding.address()) {
        (_, Some(address)) => Ok(address.to_owned()),
        (Holding::Held(_), None) => Err(Failure::other(format_args!(
            "the server that has {} does not say where it listens: it starts or stops, or its disk is full. Try again, \
             or name its address with --listen",
            data_dir.display()
        ))),
        (Holding::Unknown | Holding::Free, None) => Err(no_server(data_dir)),
    }
}

fn no_server(data_dir: &Path) -> Failure {
    Failure::other(format_args!("{NO_SERVER} {}", data_dir.display()))
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
/// listens, else, where there is no data directory to look into, where the configuration says.
fn url(surroundings: &Surroundings) -> Result<String, Failure> {
    let config = &surroundings.config;
    let holding = DataDir::holding(&config.data_dir);
    let address = match (surroundings.shared.listen, &holding) {
        (Some(address), _) => address,
        (None, Holding::Unknown) => config.listen,
        (None, held) => held_address(held, &config.data_dir)?
            .parse()
            .map_err(|_| Failure::other("the lock of the data directory does not name an address"))?,
    };
    if address.port() == 0 {
        return Err(Failure::other("there is no data directory here; name the server's address with --listen"));
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
