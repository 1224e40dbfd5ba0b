//! The registry: which handler owns a domain, a namespace, an event type, a command.
//!
//! Guarantees: each has one owner, checked before the server starts; an event that nobody routes
//! and a namespace that nobody owns are errors, never silence. Before the handlers are bound there is no answer, and
//! no default in its place: what can be refused is, and any other question is a fault of the wiring, which panics.
//! It is not a judge: whether somebody may is the gate's.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use tidings_core::{
    Channel, Code, Error, Event, EventType, Result,
    command::{Command, Method},
    contract::{EventRow, Source},
    handler::{Handler, Retention, Route},
    log::{LogRule, LogRules},
    projection::Projection,
};

#[cfg(test)]
mod tests;

/// Domains whose messages only the server itself makes.
pub const RESERVED_DOMAINS: [&str; 4] = ["server", "connection", "auth", "channel"];

/// The domain whose channels are those of projects.
const PROJECTS: &str = "project";

/// How much is kept of the server's own channels, such as the probe's.
const OWN: Retention = Retention { messages: 64, bytes: 64 * 1024, age_ms: 60 * 60 * 1000 };

/// What is wrong with a set of handlers. Ends the start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryError {
    /// Two handlers, or the server and a handler, claim one domain.
    #[error("the domain '{0}' has two owners")]
    DomainTwice(&'static str),
    /// Two handlers claim one namespace.
    #[error("the channel namespace '{0}' has two owners")]
    NamespaceTwice(&'static str),
    /// A namespace that breaks the grammar of channels.
    #[error("'{0}' is no channel namespace")]
    BadNamespace(&'static str),
    /// An event type that is none, or is of another domain.
    #[error("'{event_type}' is no event type of the domain '{domain}'")]
    ForeignEvent {
        /// The handler's domain.
        domain: &'static str,
        /// The row's type.
        event_type: &'static str,
    },
    /// Two rows for one event type.
    #[error("the event type '{0}' has two rows")]
    EventTwice(&'static str),
    /// A command that is not named after its domain.
    #[error("'{command}' is no command of the domain '{domain}'")]
    ForeignCommand {
        /// The handler's domain.
        domain: &'static str,
        /// The row's name.
        command: &'static str,
    },
    /// The registry has its handlers already.
    #[error("the handlers were bound twice")]
    BoundTwice,
    /// Two rows with one name or one route.
    #[error("the command '{0}' is there twice, by its name or by its route")]
    CommandTwice(&'static str),
}

/// All handlers, by what they own. Bound once: services need the bus, the bus the registry, and the
/// registry the handlers of the services.
#[derive(Default)]
pub struct Registry(OnceLock<Tables>);

/// By a name. The names are the handlers' own, so nobody can choose them to collide.
type ByName<T> = HashMap<&'static str, T, foldhash::fast::RandomState>;

#[derive(Default)]
struct Tables {
    domains: ByName<Arc<dyn Handler>>,
    namespaces: ByName<Arc<dyn Handler>>,
    events: ByName<EventRow>,
    projections: ByName<Arc<dyn Projection>>,
    /// The types of the events that may settle a state.
    ends: HashSet<&'static str, foldhash::fast::RandomState>,
    commands: Vec<Command>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({} domains)", self.0.get().map_or(0, |tables| tables.domains.len()))
    }
}

impl Registry {
    /// The registry of these handlers.
    ///
    /// # Errors
    /// What [`RegistryError`] names.
    pub fn new(handlers: Vec<Arc<dyn Handler>>) -> Result<Self, RegistryError> {
        let registry = Self::default();
        registry.bind(handlers)?;
        Ok(registry)
    }

    /// Gives an empty registry its handlers.
    ///
    /// # Errors
    /// What [`RegistryError`] names, also that it has some already.
    pub fn bind(&self, handlers: Vec<Arc<dyn Handler>>) -> Result<(), RegistryError> {
        let mut tables = Tables::default();
        for handler in handlers {
            tables.add(&handler)?;
        }
        self.0.set(tables).map_err(|_| RegistryError::BoundTwice)
    }

    /// What is bound, for whoever can be refused.
    fn bound(&self) -> Result<&Tables> {
        self.0.get().ok_or_else(|| Error::unavailable("the server is starting"))
    }

    /// What is bound, for whoever cannot be asked before it is: the root binds before anything runs.
    #[track_caller]
    fn tables(&self) -> &Tables {
        self.0.get().expect("the registry was asked before its handlers were bound")
    }
}

impl Tables {
    fn add(&mut self, handler: &Arc<dyn Handler>) -> Result<(), RegistryError> {
        let domain = handler.domain();
        if RESERVED_DOMAINS.contains(&domain) || self.domains.insert(domain, handler.clone()).is_some() {
            return Err(RegistryError::DomainTwice(domain));
        }
        for namespace in handler.namespaces() {
            if format!("{namespace}:x").parse::<Channel>().is_err() {
                return Err(RegistryError::BadNamespace(namespace));
            }
            let reserved = RESERVED_DOMAINS.contains(namespace);
            if reserved || self.namespaces.insert(namespace, handler.clone()).is_some() {
                return Err(RegistryError::NamespaceTwice(namespace));
            }
            if let Some(projection) = handler.projection() {
                self.ends.extend(projection.ends());
                self.projections.insert(namespace, projection);
            }
        }
        for row in handler.events() {
            let event_type = row.event_type;
            if !event_type.parse::<EventType>().is_ok_and(|parsed| parsed.domain() == domain) {
                return Err(RegistryError::ForeignEvent { domain, event_type });
            }
            if self.events.insert(event_type, row).is_some() {
                return Err(RegistryError::EventTwice(event_type));
            }
        }
        for command in handler.commands() {
            if command.name.split('.').next() != Some(domain) {
                return Err(RegistryError::ForeignCommand { domain, command: command.name });
            }
            if self.commands.iter().any(|known| known.name == command.name || same_route(known, &command)) {
                return Err(RegistryError::CommandTwice(command.name));
            }
            self.commands.push(command);
        }
        Ok(())
    }
}

impl Registry {
    /// Where an event goes, by its domain's handler. Data of a known type is read and checked first, and
    /// stays beside its JSON where a draft is folded of it: nobody reads it again.
    ///
    /// # Errors
    /// `invalid_data` with the fields for data that is not of its type; `invalid_event` when nobody
    /// routes it, `invalid_channel` when nobody owns where it goes; what the handler says; `unavailable` before the
    /// handlers are bound.
    pub fn route(&self, event: &mut Event) -> Result<Route> {
        self.routed(event, false)
    }

    /// The same of an event that a producer outside sent: its handler judges whether it may say that.
    ///
    /// # Errors
    /// As [`Registry::route`], and what the handler refuses.
    pub fn route_from_outside(&self, event: &mut Event) -> Result<Route> {
        self.routed(event, true)
    }

    fn routed(&self, event: &mut Event, from_outside: bool) -> Result<Route> {
        let tables = self.bound()?;
        let handler = tables.domains.get(event.event_type.domain()).ok_or_else(|| {
            let known = self.known_domains();
            let why = format!("event type '{}': no domain of that name; there are {known}", event.event_type);
            Error::new(Code::InvalidEvent, why.clone()).with_field("type", why)
        })?;
        let row = tables.events.get(event.event_type.as_str());
        if let Some(row) = row {
            row.data.read(&mut event.payload)?;
        }
        if from_outside {
            handler.admit(event)?;
        }
        let route = handler.route(event)?;
        if let Some(asked) = &event.channel
            && *asked != route.home
        {
            return Err(Error::invalid_field("channel", format!("the data names {}", route.home)));
        }
        self.owner(&route.home)?;
        for copy in &route.copies {
            self.owner(&copy.channel)?;
        }
        if row.is_none_or(|row| row.durable) || self.projection(&route.home).is_none() {
            // States are folded of what the log has, drafts of what is ephemeral: what was read has served.
            event.payload.forget();
        }
        Ok(route)
    }

    fn known_domains(&self) -> String {
        let mut known: Vec<&str> = self.tables().domains.keys().copied().collect();
        known.sort_unstable();
        known.join(", ")
    }

    /// The handler that owns a channel.
    ///
    /// # Errors
    /// `invalid_channel` when nobody does; `unavailable` before the handlers are bound.
    pub fn owner(&self, channel: &Channel) -> Result<&Arc<dyn Handler>> {
        self.bound()?.namespaces.get(channel.namespace()).ok_or_else(|| {
            let known = self.namespaces().join(", ");
            let why = format!("channel '{channel}': no namespace of that name; there are {known}");
            Error::new(Code::InvalidChannel, why.clone()).with_field("channel", why)
        })
    }

    /// The channel of a project: what is in the project belongs to whoever it belongs to.
    ///
    /// # Errors
    /// `forbidden` where there are no projects, or this is no id of one; `unavailable` before the handlers are bound.
    pub fn project(&self, id: &str) -> Result<Channel> {
        self.bound()?.domains.get(PROJECTS).and_then(|handler| handler.channel(id)).ok_or_else(Error::forbidden)
    }

    /// Who says events of this type; none for a type that no row names, which whoever may publish says.
    #[must_use]
    pub fn source(&self, event_type: &EventType) -> Option<Source> {
        self.tables().events.get(event_type.as_str()).map(|row| row.source)
    }

    /// Whether events of this type are numbered and kept. Types that no row names are.
    #[must_use]
    pub fn is_durable(&self, event_type: &EventType) -> bool {
        self.tables().events.get(event_type.as_str()).is_none_or(|row| row.durable)
    }

    /// All handlers, by the names of their domains.
    #[must_use]
    pub fn handlers(&self) -> Vec<&Arc<dyn Handler>> {
        let mut handlers: Vec<_> = self.tables().domains.values().collect();
        handlers.sort_unstable_by_key(|handler| handler.domain());
        handlers
    }

    /// The handler of a domain.
    #[must_use]
    pub fn handler(&self, domain: &str) -> Option<&Arc<dyn Handler>> {
        self.tables().domains.get(domain)
    }

    /// The projection of a channel's namespace, if it has one.
    #[must_use]
    pub fn projection(&self, channel: &Channel) -> Option<&Arc<dyn Projection>> {
        self.tables().projections.get(channel.namespace())
    }

    /// Whether an event of this type may leave nothing open in the state of its channel.
    #[must_use]
    pub fn may_settle(&self, event_type: &EventType) -> bool {
        self.tables().ends.contains(event_type.as_str())
    }

    /// The projections, each with its namespace, by name.
    #[must_use]
    pub fn projections(&self) -> Vec<(&'static str, &Arc<dyn Projection>)> {
        let mut all: Vec<_> = self.tables().projections.iter().map(|(&name, projection)| (name, projection)).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    /// The namespaces that have an owner, by name.
    #[must_use]
    pub fn namespaces(&self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = self.tables().namespaces.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// How the channels of each namespace are kept: as its handler says, and little of the server's own.
    #[must_use]
    pub fn rules(&self) -> LogRules {
        let Tables { namespaces, projections, .. } = self.tables();
        let rule = |(namespace, handler): (&&'static str, &Arc<dyn Handler>)| {
            let projected = projections.contains_key(namespace);
            ((*namespace).to_owned(), LogRule { retention: handler.retention(), projected })
        };
        let own = RESERVED_DOMAINS.map(|own| (own.to_owned(), LogRule { retention: OWN, projected: false }));
        namespaces.iter().map(rule).chain(own).collect()
    }

    /// All commands.
    #[must_use]
    pub fn commands(&self) -> &[Command] {
        &self.tables().commands
    }

    /// A command by its name.
    #[must_use]
    pub fn command(&self, name: &str) -> Option<&Command> {
        self.tables().commands.iter().find(|command| command.name == name)
    }
}

/// Whether two rows would answer the same requests: fields of the path compare by their place.
fn same_route(one: &Command, other: &Command) -> bool {
    let shape = |command: &Command| -> (Method, Vec<String>) {
        let parts = command.path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        (command.method, parts.map(str::to_owned).collect())
    };
    shape(one) == shape(other)
}
