//! The wiring: every part of the server, made and bound in one place.
//!
//! Guarantees: what is wrong with the configuration, the data directory or the handlers ends the
//! start before anything is served; what a former life left open is ended before the server is ready.
//! It is not where anything is decided: each part decides for itself.

use std::{path::Path, sync::Arc, time::Duration};

use axum::Router;
use tidings_auth::{Auth, AuthError};
use tidings_core::{
    Code,
    bus::{EventBus, Listening},
    fault,
    handler::Handler,
    identity::Identity,
    log::{Allowances, EventLog, LogRule, LogRules},
    outlet::Ending,
    runtime::{Clock, Tasks},
};
use tidings_engine::{
    bus::Bus,
    gate::{Gate, GateParts, Rejudge},
    hub::{Hub, HubConfig},
    log::{Durability, LogConfig, OpenError, SqliteLog, has_no_room},
    registry::{Registry, RegistryError},
    seats::SeatsConfig,
    sink::EngineSink,
    states::{StateStore, StatesError},
};
use tidings_handlers::{NAMESPACES, Services};
use tidings_services::programs::Programs;
use tidings_transports::{
    connection::{ConnectionConfig, ConnectionParts, Connections},
    http::{self, HttpState, Readiness, SetupError},
    socketio::SocketIoTransport,
};

use crate::{
    catalogue,
    config::{self, Config, ConfigError},
    entrance::Entrance,
    serve::Reached,
    services::{self, Ports},
    telemetry::Render,
};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory or the log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// Saved states that this program cannot read.
    #[error(transparent)]
    States(#[from] StatesError),
    /// Users and keys.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The handlers contradict each other.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The routes contradict each other.
    #[error(transparent)]
    Routes(#[from] SetupError),
    /// A service could not read what it left.
    #[error("a service could not start: {0}")]
    Service(#[from] tidings_core::Error),
    /// The address where it should listen.
    #[error("cannot listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// The handlers' namespaces are not those that the configuration was held against.
    #[error("the namespaces are {0:?}, but handlers::NAMESPACES says otherwise")]
    Namespaces(Vec<&'static str>),
}

impl StartError {
    /// Whether trying again may help.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(self, Self::Service(error) | Self::States(StatesError::Log(error)) if error.retryable())
    }

    /// Whether the disk of the data directory is full, so that trying again helps once there is room.
    pub(crate) fn is_full_disk(&self, data_dir: &Path) -> bool {
        match self {
            Self::Log(error) => error.is_full_disk(),
            Self::Auth(error) => error.is_full_disk(has_no_room(data_dir)),
            _ => self.is_retryable() && has_no_room(data_dir),
        }
    }
}

/// The parts of a running server that its start and its stop speak with.
pub(crate) struct App {
    /// All routes.
    pub(crate) router: Router,
    /// The gate.
    pub(crate) gate: Arc<Gate>,
    /// The hub.
    pub(crate) hub: Arc<Hub>,
    /// Live connections, over all transports.
    pub(crate) connections: Arc<Connections>,
    /// What `/health/ready` says.
    pub(crate) readiness: Arc<Readiness>,
    /// The services.
    pub(crate) services: Services,
    /// What runs their programs.
    pub(crate) programs: Arc<Programs>,
    /// The log.
    pub(crate) log: Arc<SqliteLog>,
    /// Users and tokens.
    pub(crate) auth: Arc<Auth>,
    /// Live subscriptions are judged anew while this is kept.
    _listening: Vec<Listening>,
}

/// The events that change who may read what.
const RIGHTS: [&str; 3] = ["project.member_set", "project.member_removed", "project.removed"];

impl App {
    /// Makes all parts and binds them. What needs room on the disk waits at the entrance until there is some.
    ///
    /// # Errors
    /// What [`StartError`] names.
    pub(crate) async fn build(
        config: &Config,
        clock: Arc<dyn Clock>,
        tasks: Arc<dyn Tasks>,
        render: Render,
        (entrance, reached): (&Entrance<'_>, &Reached),
    ) -> Result<Self, StartError> {
        reached.now("opening the log");
        let registry = Arc::new(Registry::default());
        let log = entrance.with_room(None, async || open_log(config, clock.clone())).await?;
        reached.now("opening users.db");
        let open_auth = async || Ok(Auth::open(config.identity()?, clock.clone(), tasks.clone())?);
        let auth = entrance.with_room(Some(&log), open_auth).await?;
        reached.now("opening the folder of programs");
        let open_programs = async || Ok(Programs::new(config.programs(config::variables()))?);
        let programs = entrance.with_room(Some(&log), open_programs).await?;
        let states = StateStore::new(registry.clone(), log.clone(), &*tasks);
        let bus = Arc::new(Bus::new(registry.clone(), log.clone(), tasks.clone(), config.bus.debug));
        let hub = Hub::new(hub_config(config), log.clone(), states.clone(), clock.clone(), tasks.clone());
        log.attach(Arc::new(EngineSink { hub: hub.clone(), bus: bus.clone(), states: states.clone() }));

        reached.now("making the services");
        let ports = Ports::new(&registry, &hub, (&bus, &states), &clock, &tasks);
        let services = services::make(config, &programs, &ports)?;
        registry.bind(handlers(config, &services)?)?;
        reached.now("bringing saved states along");
        // Before anything may be trimmed: a state that no function upgrades is folded anew of a whole history.
        fault::hold("start.adopt").await;
        entrance.with_room(Some(&log), async || Ok(states.adopt().await?)).await?;
        reached.now("binding the services to the gate");
        log.keep(rules(config, &registry));
        let documents = catalogue::documents(&registry);
        let gate = Gate::new(GateParts {
            registry,
            bus: bus.clone(),
            log: log.clone(),
            memberships: services.projects.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            max_message_bytes: config.socket.max_message_bytes.as_usize(),
            commands: SeatsConfig { user: config.commands.max_per_user, total: config.commands.max_total },
        });
        ports.calls.bind(&gate);
        ports.users.bind(&auth, &gate);
        reached.now("ending what a former life of the server left open");
        fault::hold("start.recover").await;
        programs.recover().await?;
        services::recover(&services, entrance, &log).await?;
        end_revoked(&auth, &hub);
        let rejudge = Arc::new(Rejudge { gate: gate.clone(), hub: hub.clone() });
        let rights = RIGHTS.iter().filter_map(|pattern| pattern.parse().ok());
        let listening = rights.map(|pattern| bus.on(pattern, rejudge.clone())).collect();

        let http = config.http()?;
        let connections = Connections::new(ConnectionParts {
            gate: gate.clone(),
            hub: hub.clone(),
            identity: auth.clone(),
            clock: clock.clone(),
            tasks,
            config: connection_config(config, http.trusted_proxies.clone()),
        });
        let socketio = SocketIoTransport::new(connections.clone());
        let readiness = Arc::new(Readiness::new());
        let state = HttpState {
            gate: gate.clone(),
            hub: hub.clone(),
            identity: auth.clone(),
            clock,
            metrics_render: with_gauges(render, log.clone(), hub.clone(), gate.clone()),
            readiness: readiness.clone(),
            documents,
            config: http,
        };
        let router = routes(state, &socketio)?;
        Ok(Self { router, gate, hub, connections, readiness, services, programs, log, auth, _listening: listening })
    }
}

/// All routes: those of HTTP, and those of Socket.IO beside them.
fn routes(state: HttpState, socketio: &Arc<SocketIoTransport>) -> Result<Router, SetupError> {
    let live = socketio.router(http::Origins::new(&state.config)?);
    Ok(http::router(state)?.merge(live))
}

fn hub_config(config: &Config) -> HubConfig {
    HubConfig {
        subscriptions: config.socket.max_subscriptions,
        answer_bytes: config.socket.answer_bytes.as_usize(),
        budget: config.budget(),
        ..HubConfig::default()
    }
}

/// The handlers that a server of this configuration has, bound. `scratch` is an empty directory, in place of the
/// server's own: services are made, and never run.
///
/// # Errors
/// What [`StartError`] names.
pub(crate) fn registry(
    config: &Config,
    scratch: &Path,
    clock: &Arc<dyn Clock>,
    tasks: &Arc<dyn Tasks>,
) -> Result<Arc<Registry>, StartError> {
    let config = config.clone().elsewhere(scratch);
    let registry = Arc::new(Registry::default());
    let log = open_log(&config, clock.clone())?;
    let states = StateStore::new(registry.clone(), log.clone(), &**tasks);
    let bus = Arc::new(Bus::new(registry.clone(), log.clone(), tasks.clone(), false));
    let hub = Hub::new(HubConfig::default(), log, states.clone(), clock.clone(), tasks.clone());
    let programs = Programs::new(config.programs(Vec::new()))?;
    let ports = Ports::new(&registry, &hub, (&bus, &states), clock, tasks);
    let services = services::make(&config, &programs, &ports)?;
    registry.bind(handlers(&config, &services)?)?;
    Ok(registry)
}

fn open_log(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<SqliteLog>, StartError> {
    fault::stall("start.open");
    let durability = match config.log.durability {
        config::Durability::Power => Durability::Power,
        config::Durability::Process => Durability::Process,
    };
    let log = LogConfig {
        durability,
        total_bytes: config.log.total_bytes.0,
        reserve_bytes: config.log.reserve_bytes.0,
        allowed: Allowances {
            answers_per_user: config.log.answers_per_user_bytes.0,
            answers: config.log.answers_bytes.0,
            commands_per_user: config.log.commands_per_user,
            ids_per_user: config.log.ids_per_user,
            channels_per_user: config.log.channels_per_user,
        },
        ..LogConfig::new(&config.data_dir)
    };
    Ok(SqliteLog::open(log, clock)?)
}

/// How the channels of each namespace are kept: as its handler says, unless the configuration does.
fn rules(config: &Config, registry: &Registry) -> LogRules {
    let configured = |(namespace, rule): (String, LogRule)| {
        let retention = config.retention_of(&namespace, rule.retention);
        (namespace, LogRule { retention, ..rule })
    };
    registry.rules().into_iter().map(configured).collect()
}

/// The handlers of the server, and those that the configuration declares.
fn handlers(config: &Config, services: &Services) -> Result<Vec<Arc<dyn Handler>>, StartError> {
    let mut handlers = tidings_handlers::all(services);
    let mut namespaces: Vec<&str> = handlers.iter().flat_map(|handler| handler.namespaces()).copied().collect();
    namespaces.sort_unstable();
    if namespaces != NAMESPACES {
        return Err(StartError::Namespaces(namespaces));
    }
    for declared in config.declared()? {
        handlers.push(Arc::new(declared));
    }
    Ok(handlers)
}

/// Whoever is revoked loses the live connections at once.
fn end_revoked(auth: &Arc<Auth>, hub: &Arc<Hub>) {
    let hub = hub.clone();
    auth.watch_revocations(Arc::new(move |revocation| {
        hub.revoke(revocation, &Ending::permanent(Code::TokenRevoked, "the login was ended"));
    }));
}

fn connection_config(config: &Config, trusted_proxies: Vec<http::Network>) -> ConnectionConfig {
    let socket = &config.socket;
    ConnectionConfig {
        ping_interval: Duration::from_millis(socket.ping_interval_ms),
        ping_timeout: Duration::from_millis(socket.ping_timeout_ms),
        connect_timeout: Duration::from_millis(socket.connect_timeout_ms),
        max_message_bytes: socket.max_message_bytes.as_usize(),
        message: config.patiences().body,
        rate_burst: socket.rate_burst,
        rate_per_second: socket.rate_per_second,
        mailbox: socket.mailbox,
        mailbox_bytes: socket.mailbox_bytes.as_usize(),
        max_connections: socket.max_connections,
        max_connections_per_user: socket.max_connections_per_user,
        max_handshakes: socket.max_handshakes,
        trusted_proxies,
        max_subscriptions: socket.max_subscriptions,
        ..ConnectionConfig::default()
    }
}

/// The metrics, with the figures of this moment that nobody counts along.
fn with_gauges(render: Render, log: Arc<SqliteLog>, hub: Arc<Hub>, gate: Arc<Gate>) -> Render {
    Arc::new(move || {
        let status = log.status();
        metrics::gauge!("tidings_bus_depth").set(status.waiting as f64);
        metrics::gauge!("tidings_slow_clients").set(hub.slow_connection_count() as f64);
        metrics::gauge!("tidings_running", "of" => "command").set(gate.running() as f64);
        metrics::gauge!("tidings_held_bytes").set(hub.budget().held() as f64);
        metrics::gauge!("tidings_log_file_bytes").set(status.file_bytes as f64);
        metrics::gauge!("tidings_log_healthy").set(f64::from(u8::from(status.healthy)));
        render()
    })
}
