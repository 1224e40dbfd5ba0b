//! Domains that are declared in the configuration: `[[domains]]`.
//!
//! Guarantees: a declaration that is wrong, or takes a name that is taken, is an error that names its key;
//! schema files are read here.
//! It is not the handling of their events: see `tidings_handlers::declared`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidings_core::{handler::Handler, json};
use tidings_engine::registry::RESERVED_DOMAINS;
use tidings_handlers::{
    NAMESPACES,
    declared::{BadDeclaration, Declaration, DeclaredEvent, DeclaredHandler},
};

use super::{Config, ConfigError, Problem};

/// One of `[[domains]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeclaredDomain {
    /// The first segment of its event types.
    pub name: String,
    /// The form of its channels, such as `build:{buildId}`.
    pub channel: String,
    /// Whether only declared events may be published.
    #[serde(default)]
    pub strict: bool,
    /// Its events.
    #[serde(default)]
    pub events: Vec<EventOfDomain>,
}

/// One of `[[domains.events]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventOfDomain {
    /// Its type.
    pub r#type: String,
    /// Whether it is numbered and kept.
    #[serde(default = "yes")]
    pub durable: bool,
    /// What it tells.
    #[serde(default)]
    pub doc: String,
    /// The JSON Schema of its data.
    pub schema: Option<toml::Table>,
    /// A file that holds the JSON Schema instead.
    pub schema_file: Option<PathBuf>,
}

fn yes() -> bool {
    true
}

impl Config {
    /// The handlers of the declared domains.
    ///
    /// # Errors
    /// Each declaration that is wrong, by its first key that is.
    pub(crate) fn declared(&self) -> Result<Vec<DeclaredHandler>, ConfigError> {
        let mut handlers: Vec<DeclaredHandler> = Vec::new();
        let mut problems = Vec::new();
        for (index, domain) in self.domains.iter().enumerate() {
            match handler(domain, &handlers) {
                Ok(handler) => handlers.push(handler),
                Err(BadDeclaration { key, why }) => problems.push(Problem {
                    key: format!("domains[{index}].{key}"),
                    origin: self.origin_of("domains"),
                    value: None,
                    why,
                }),
            }
        }
        if problems.is_empty() { Ok(handlers) } else { Err(ConfigError(problems)) }
    }
}

/// The handler of a domain, beside those of others.
fn handler(domain: &DeclaredDomain, others: &[DeclaredHandler]) -> Result<DeclaredHandler, BadDeclaration> {
    let refuse = |key: &str, why: String| BadDeclaration { key: key.to_owned(), why };
    let handler = DeclaredHandler::new(declaration(domain)?)?;
    let taken = |name: &str| NAMESPACES.contains(&name) || RESERVED_DOMAINS.contains(&name);
    let named = [("name", handler.domain())];
    let spaces = handler.namespaces().iter().map(|namespace| ("channel", *namespace));
    if let Some((key, name)) = named.into_iter().chain(spaces).find(|(_, name)| taken(name)) {
        return Err(refuse(key, format!("'{name}' is a domain of the server")));
    }
    let same =
        |other: &DeclaredHandler| other.domain() == handler.domain() || other.namespaces() == handler.namespaces();
    if others.iter().any(same) {
        return Err(refuse("name", "another of [[domains]] has this name, or its channels".to_owned()));
    }
    Ok(handler)
}

fn declaration(domain: &DeclaredDomain) -> Result<Declaration, BadDeclaration> {
    let event = |(index, event): (usize, &EventOfDomain)| {
        let bad = |key: &str, why: String| BadDeclaration { key: format!("events[{index}].{key}"), why };
        let schema = match (&event.schema, &event.schema_file) {
            (Some(_), Some(_)) => {
                return Err(bad("schema_file", "schema is given, too: one of them is enough".to_owned()));
            }
            (Some(table), None) => Some(serde_json::to_value(table).map_err(|error| bad("schema", error.to_string()))?),
            (None, Some(file)) => {
                let refused = |why: String| bad("schema_file", format!("{} {why}", file.display()));
                let text =
                    std::fs::read_to_string(file).map_err(|error| refused(format!("cannot be read: {error}")))?;
                Some(json::from_str(&text).map_err(|error| refused(format!("is no JSON: {error}")))?)
            }
            (None, None) => None,
        };
        let (event_type, doc) = (event.r#type.clone(), event.doc.clone());
        Ok(DeclaredEvent { event_type, durable: event.durable, doc, schema })
    };
    Ok(Declaration {
        name: domain.name.clone(),
        channel: domain.channel.clone(),
        strict: domain.strict,
        events: domain.events.iter().enumerate().map(event).collect::<Result<_, _>>()?,
    })
}
