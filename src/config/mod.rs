//! The configuration: defaults, then the environment, then `tidings.toml`, then flags; later ones win.
//!
//! - `schema`: every key, its kind and its meaning; `find`: what a path is; `kind`, `quantity`, `passes`: what values
//!   may be.
//! - `sections`: the values as the root reads them; `parts`: as the other crates want them.
//! - `agents`: which agents there are beside those that are configured.
//! - `domains`: what is declared of domains of their own.
//! - `walls`: which sandboxes programs are in, and whether there can be one.
//! - `start`: what only the start can judge of it, beside the machine: users, files with keys, declarations.
//! - `layers`: reading and laying over each other; `problem`: what can be wrong.
//! - `report`: the effective configuration as text, without `secrets`; `warnings`: what to know about it; `environment`:
//!   the one place that reads it.
//!
//! Guarantees: an unknown key or a value that is not allowed is an error that names the key, where it was
//! said, the value (never a secret's) and what is allowed; all problems that can be judged are told at once;
//! loading changes nothing.
//! It is not the wiring: nothing is opened or started here.

mod agents;
mod domains;
mod environment;
mod find;
mod git;
mod key;
mod kind;
mod layers;
mod parts;
mod passes;
mod problem;
mod quantity;
mod report;
mod schema;
mod secrets;
mod sections;
mod start;
#[cfg(test)]
mod tests;
mod walls;
mod warnings;
mod work;

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use tidings_services::redaction::Redaction;
use toml::Value;

pub(crate) use environment::variables;
pub(crate) use problem::{ConfigError, Origin, Problem};
pub(crate) use quantity::Span;
pub(crate) use report::markdown;
pub(crate) use sections::{Durability, Format, Key as AuthKey, LogOutput, Retention, Sections};
pub(crate) use work::Agent;

/// The file that is read where none is named.
pub(crate) const DEFAULT_FILE: &str = "tidings.toml";

/// A configuration file that was read.
#[derive(Debug, Clone)]
pub(crate) struct FileText {
    /// Its path, as it was named.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

impl FileText {
    /// Reads the named file, or `tidings.toml` in the working directory if there is one.
    ///
    /// # Errors
    /// A named file that is not there; any file that cannot be read.
    pub(crate) fn read(named: Option<&Path>) -> Result<Option<Self>, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self { path: path.to_owned(), text })),
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(None),
            Err(error) => {
                let why = format!("the configuration file cannot be read: {error}");
                Err(ConfigError::of("", Origin::File(path.to_owned()), None, why))
            }
        }
    }
}

/// What flags of the command line say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
}

/// The effective configuration. Its sections are reached through it.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    sections: Sections,
    /// The file that was read.
    file: Option<PathBuf>,
    origins: BTreeMap<Vec<String>, Origin>,
    overridden: Vec<(String, Origin, Origin)>,
    /// Made when it is first asked for: its patterns take time and megabytes, and the start judges it before it uses it.
    compiled: OnceLock<Result<Arc<Redaction>, ConfigError>>,
}

impl Deref for Config {
    type Target = Sections;
    fn deref(&self) -> &Sections {
        &self.sections
    }
}

impl Config {
    /// Lays the layers over each other: `environment`, then `file`, then `flags`. `judged` says what is wrong with the
    /// result beyond its values; it is asked also where values are wrong, of what is left of them.
    ///
    /// # Errors
    /// All problems at once; see [`ConfigError`].
    pub(crate) fn load(
        environment: impl IntoIterator<Item = (String, String)>,
        file: Option<&FileText>,
        flags: &Flags,
        judged: impl FnOnce(&Self) -> Vec<Problem>,
    ) -> Result<Self, ConfigError> {
        let mut layers = layers::Layers::default();
        layers.environment(environment);
        if let Some(file) = file {
            layers.file(&file.path, &file.text);
        }
        if let Some(dir) = &flags.data_dir {
            layers.flag("--data-dir", "data_dir", &dir.to_string_lossy());
        }
        if let Some(address) = flags.listen {
            layers.flag("--listen", "listen", &address.to_string());
        }
        let Some(sections) = read_sections(&mut layers) else { return Err(ConfigError(layers.problems)) };
        let config = Self {
            sections,
            file: file.map(|file| file.path.clone()),
            origins: layers.leaves.into_iter().map(|(path, leaf)| (path, leaf.origin)).collect(),
            overridden: layers.overridden,
            compiled: OnceLock::new(),
        };
        let mut problems = layers.problems;
        // Without its file it would be another configuration.
        if !problems.iter().any(|problem| problem.key.is_empty()) {
            for problem in judged(&config) {
                problem.join(&mut problems);
            }
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError(problems)) }
    }

    /// Who said this key, or the first of this section.
    #[must_use]
    pub(crate) fn origin_of(&self, path: &str) -> Origin {
        let wanted: Vec<&str> = path.split('.').collect();
        let under = |path: &[String]| path.len() >= wanted.len() && path.iter().zip(&wanted).all(|(a, b)| a == b);
        self.origins.iter().find(|(path, _)| under(path)).map_or(Origin::Default, |(_, origin)| origin.clone())
    }
}

/// Reads the values into their sections and checks what concerns several keys. What has not the form of its section is
/// a problem, and left out; none where that cannot be done.
fn read_sections(layers: &mut layers::Layers) -> Option<Sections> {
    let sections: Sections = loop {
        let mut tree = layers.tree();
        agents::complete(&mut tree);
        let error = match serde_path_to_error::deserialize(Value::Table(tree)) {
            Ok(sections) => break sections,
            Err(error) => error,
        };
        let key = error.path().to_string();
        // What stands before an index is the key that somebody said.
        let said = key.split('[').next().unwrap_or_default().to_owned();
        let origin = layers.origin(&said);
        let why = error.inner().message().to_owned();
        Problem { key, origin, value: None, why }.join(&mut layers.problems);
        if !layers.leave_out(&said) {
            return None;
        }
    };
    check_auth(&sections.auth, layers);
    Some(sections)
}

fn check_auth(auth: &sections::Auth, layers: &mut layers::Layers) {
    let mut refuse = |key: String, why: &str| {
        let origin = layers.origin(key.split('[').next().unwrap_or_default());
        layers.problems.push(Problem { key, origin, value: None, why: why.to_owned() });
    };
    if auth.secret.is_some() && auth.secret_file.is_some() {
        refuse("auth.secret_file".to_owned(), "auth.secret is given, too: one of them is enough");
    }
    for (index, key) in auth.keys.iter().enumerate() {
        let why = match (key.algorithm.as_str(), &key.public_key_file, &key.secret_file) {
            ("HS256", None, Some(_)) | ("RS256" | "ES256" | "EdDSA", Some(_), None) => continue,
            ("HS256", ..) => "HS256 takes a secret_file and no public_key_file",
            ("RS256" | "ES256" | "EdDSA", ..) => "this algorithm takes a public_key_file and no secret_file",
            _ => "allowed algorithms are HS256, RS256, ES256, EdDSA",
        };
        refuse(format!("auth.keys[{index}]"), why);
    }
}
