//! The configuration's sections as the rest of the root reads them.
//!
//! Guarantees: every field has a default; what is loaded has passed the ranges of the schema.
//! It is not where meanings are documented for operators: the schema has a sentence for each key.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize, Serializer};
use tidings_auth::KeyUsers;
use tidings_core::identity::Secret;

use super::{
    domains::DeclaredDomain,
    quantity::{Size, Span},
    work::{Agent, Fs, Git, Project, Run, Shell, Workflow},
};

/// Writes that a secret is set, and nothing of it.
#[expect(clippy::ref_option, reason = "the form that serde calls")]
fn hidden<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => serializer.serialize_some("(hidden)"),
        None => serializer.serialize_none(),
    }
}

/// The sections. See the schema for what each key means.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sections {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// How long a stop may take, in milliseconds.
    pub drain_ms: u64,
    /// The event log.
    pub log: Log,
    /// How much is kept of the channels of each namespace.
    pub retention: BTreeMap<String, Retention>,
    /// Users and tokens.
    pub auth: Auth,
    /// Socket.IO.
    pub socket: Socket,
    /// HTTP.
    pub http: Http,
    /// Commands, over either.
    pub commands: Commands,
    /// Domains that are declared here.
    pub domains: Vec<DeclaredDomain>,
    /// The agents, by name.
    pub agents: BTreeMap<String, Agent>,
    /// Projects.
    pub project: Project,
    /// How programs are run.
    pub run: Run,
    /// Files.
    pub fs: Fs,
    /// Git.
    pub git: Git,
    /// Terminals.
    pub shell: Shell,
    /// Workflows.
    pub workflow: Workflow,
    /// What is taken out of programs' output.
    pub redaction: Redaction,
    /// The EventBus.
    pub bus: Bus,
    /// What the server says of itself.
    pub log_output: LogOutput,
}

impl Default for Sections {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4100)),
            data_dir: PathBuf::from("tidings-data"),
            drain_ms: 10_000,
            log: Log::default(),
            retention: BTreeMap::new(),
            auth: Auth::default(),
            socket: Socket::default(),
            http: Http::default(),
            commands: Commands::default(),
            domains: Vec::new(),
            agents: BTreeMap::new(),
            project: Project::default(),
            run: Run::default(),
            fs: Fs::default(),
            git: Git::default(),
            shell: Shell::default(),
            workflow: Workflow::default(),
            redaction: Redaction::default(),
            bus: Bus::default(),
            log_output: LogOutput::default(),
        }
    }
}

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Durability {
    /// The disk.
    Power,
    /// The operating system.
    Process,
}

/// `[log]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// What a commit waits for.
    pub durability: Durability,
    /// The most that all messages together take.
    pub total_bytes: Size,
    /// Kept free for trimming on a full disk.
    pub reserve_bytes: Size,
    /// The most that the answers of all commands take.
    pub answers_bytes: Size,
    /// The most that the answers of a user's commands take.
    pub answers_per_user_bytes: Size,
    /// Commands with an id of a user in 24 hours.
    pub commands_per_user: u64,
    /// Publications with an id of a user in 24 hours.
    pub ids_per_user: u64,
    /// New channels of a user in a day.
    pub channels_per_user: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            durability: Durability::Power,
            total_bytes: Size(20_000_000_000),
            reserve_bytes: Size(64 << 20),
            answers_bytes: Size(256 << 20),
            answers_per_user_bytes: Size(4 << 20),
            commands_per_user: 100_000,
            ids_per_user: 10_000_000,
            channels_per_user: 100_000,
        }
    }
}

/// `[retention.NAMESPACE]`. What is absent stays as the domain has it; zero means without limit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retention {
    /// At most so many messages of a channel.
    pub messages: Option<u64>,
    /// At most so much data of a channel.
    pub bytes: Option<Size>,
    /// No longer than this.
    pub age: Option<Span>,
}

/// `[auth]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    /// The `iss` of the server's tokens.
    pub issuer: String,
    /// The `aud` that tokens must have.
    pub audience: String,
    /// The secret that tokens are signed with.
    #[serde(serialize_with = "hidden", skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// A file that holds it.
    pub secret_file: Option<PathBuf>,
    /// How long an access token lives.
    pub access_ttl: Span,
    /// How long a refresh token waits.
    pub refresh_ttl: Span,
    /// How long a used refresh token gets the same answer.
    pub refresh_grace: Span,
    /// How far the clocks of other applications may be off.
    pub leeway: Span,
    /// Failed logins of one address in a window.
    pub login_per_address: u32,
    /// Logins of one name in a window.
    pub login_per_name: u32,
    /// The window.
    pub login_window: Span,
    /// How long it counts that an address logged in under a name.
    pub login_remembered: Span,
    /// Logins of one user that go on.
    pub max_logins_per_user: u32,
    /// Keys of other applications.
    pub keys: Vec<Key>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            issuer: "tidings".to_owned(),
            audience: "tidings".to_owned(),
            secret: None,
            secret_file: None,
            access_ttl: Span::seconds(15 * 60),
            refresh_ttl: Span::seconds(30 * 86_400),
            refresh_grace: Span::seconds(60),
            leeway: Span::seconds(30),
            login_per_address: 30,
            login_per_name: 10,
            login_window: Span::seconds(60),
            login_remembered: Span::seconds(90 * 86_400),
            max_logins_per_user: 100,
            keys: Vec::new(),
        }
    }
}

/// One of `[[auth.keys]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    /// The `kid` that its tokens name; none for tokens that name none.
    pub kid: Option<String>,
    /// `HS256`, `RS256`, `ES256` or `EdDSA`.
    pub algorithm: String,
    /// The public key as PEM; not for HS256.
    pub public_key_file: Option<PathBuf>,
    /// The shared secret; for HS256 only.
    pub secret_file: Option<PathBuf>,
    /// The `iss` of its tokens; the server's own if absent.
    pub issuer: Option<String>,
    /// The `aud` of its tokens; the server's own if absent.
    pub audience: Option<String>,
    /// Whose users its tokens name: `foreign` or `local`.
    #[serde(default)]
    pub users: KeyUsers,
    /// The claim that names the user.
    #[serde(default = "Key::user_claim")]
    pub user_claim: String,
    /// The claim whose roles are believed; none by default.
    pub roles_claim: Option<String>,
    /// The claim whose grants are believed; empty for none.
    #[serde(default = "Key::grants_claim")]
    pub grants_claim: String,
}

impl Key {
    fn user_claim() -> String {
        "sub".to_owned()
    }

    fn grants_claim() -> String {
        "grants".to_owned()
    }
}

/// `[socket]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Socket {
    /// Between pings.
    pub ping_interval_ms: u64,
    /// For the answer to one.
    pub ping_timeout_ms: u64,
    /// For a client to present its token, anew after it left the namespace, and to finish an upgrade.
    pub connect_timeout_ms: u64,
    /// The largest message, to and from clients.
    pub max_message_bytes: Size,
    /// Subscriptions of one connection.
    pub max_subscriptions: usize,
    /// Events that a connection may send at once.
    pub rate_burst: u32,
    /// Events a second after that.
    pub rate_per_second: u32,
    /// Events of one connection that wait for their turn.
    pub mailbox: usize,
    /// Bytes of them.
    pub mailbox_bytes: Size,
    /// Bytes of answers that one connection has not read.
    pub answer_bytes: Size,
    /// Bytes that are held for one user.
    pub held_bytes_per_user: Size,
    /// Bytes that are held for all.
    pub held_bytes_total: Size,
    /// Connections.
    pub max_connections: usize,
    /// Connections of one user.
    pub max_connections_per_user: usize,
    /// WebSockets and polling sessions that are not connected yet.
    pub max_handshakes: usize,
}

impl Default for Socket {
    fn default() -> Self {
        Self {
            ping_interval_ms: 15_000,
            ping_timeout_ms: 10_000,
            connect_timeout_ms: 10_000,
            max_message_bytes: Size(256 << 10),
            max_subscriptions: 1000,
            rate_burst: 2000,
            rate_per_second: 100,
            mailbox: 1024,
            mailbox_bytes: Size(4 << 20),
            answer_bytes: Size(4 << 20),
            held_bytes_per_user: Size(64 << 20),
            held_bytes_total: Size(512 << 20),
            max_connections: 20_000,
            max_connections_per_user: 1000,
            max_handshakes: 2000,
        }
    }
}

/// `[http]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// Origins whose pages may use the server.
    pub cors_origins: Vec<String>,
    /// TCP connections taken in a second while live deliveries suffer for them; 0 for no such bound.
    pub accept_per_second: u32,
    /// The largest body.
    pub body_limit_bytes: Size,
    /// How long a body is waited for without a byte.
    pub body_timeout: Span,
    /// Bytes of a body that give back a second of it.
    pub body_bytes_per_second: Size,
    /// How long it is waited for a client that reads nothing of an answer.
    pub answer_timeout: Span,
    /// Bytes of an answer that give back a second of it.
    pub answer_bytes_per_second: Size,
    /// Requests that one user may send at once.
    pub rate_burst: u32,
    /// Requests a second after that.
    pub rate_per_second: u32,
    /// Requests of one user that are under way at once.
    pub max_requests_per_user: usize,
    /// Requests that are under way at once.
    pub max_requests: usize,
    /// Whether `/metrics` needs no token.
    pub metrics_public: bool,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            cors_origins: Vec::new(),
            accept_per_second: 2500,
            body_limit_bytes: Size(1 << 20),
            body_timeout: Span::seconds(15),
            body_bytes_per_second: Size(4 << 10),
            answer_timeout: Span::seconds(30),
            answer_bytes_per_second: Size(4 << 10),
            rate_burst: 5000,
            rate_per_second: 500,
            max_requests_per_user: 512,
            max_requests: 4096,
            metrics_public: true,
            trusted_proxies: Vec::new(),
        }
    }
}

/// `[commands]`. Zero means without limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Commands {
    /// Commands of one user that run at once.
    pub max_per_user: usize,
    /// Commands that run at once.
    pub max_total: usize,
}

impl Default for Commands {
    fn default() -> Self {
        Self { max_per_user: 256, max_total: 4096 }
    }
}

/// `[redaction]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Redaction {
    /// Whether anything is redacted.
    pub enabled: bool,
    /// Patterns beside the built-in ones.
    pub patterns: Vec<String>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self { enabled: true, patterns: Vec::new() }
    }
}

/// `[bus]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Bus {
    /// Whether every event is logged.
    pub debug: bool,
}

/// How the server writes its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log_output]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogOutput {
    /// What is logged, in the syntax of tracing's filters.
    pub filter: String,
    /// How.
    pub format: Format,
}

impl Default for LogOutput {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: Format::Text }
    }
}
