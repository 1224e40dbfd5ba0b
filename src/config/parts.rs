//! The configuration as the other crates want it.
//!
//! Guarantees: what an operator said is passed on whole; secret files are read here, and a file that cannot
//! be read is an error in the same form as any other.
//! It is not the wiring: nothing is opened or started here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidings_auth::{AuthConfig, BelievedClaims, KeyAlgorithm, LoginLimits, PublicKeyConfig};
use tidings_core::{handler, identity::Secret, rate::Rate};
use tidings_engine::{budget::BudgetConfig, seats::SeatsConfig};
use tidings_services::{
    fs::FsConfig,
    git::GitConfig,
    programs::{Environment, ProgramsConfig, Sandbox},
    project::RootsConfig,
    redaction::{Redaction, RedactionConfig},
    session::{AdapterKind, AgentConfig, Limits, SessionConfig, Stdin},
    shell::ShellConfig,
    workflow::{self, WorkflowConfig},
};
use tidings_transports::{
    http::HttpConfig,
    patience::{Patience, Patiences},
};

use super::{Agent, AuthKey, Config, ConfigError, DEFAULT_FILE, Problem, Retention};

impl Config {
    /// The same configuration for parts that are made and never run, in another directory.
    #[must_use]
    pub(crate) fn elsewhere(mut self, data_dir: &Path) -> Self {
        self.sections.data_dir = data_dir.to_owned();
        self.sections.run.user = None;
        self
    }

    /// The configuration of identity, with the secrets that files hold.
    ///
    /// # Errors
    /// All files that cannot be read, unknown algorithms, secrets that are too short, and keys that are none.
    pub(crate) fn identity(&self) -> Result<AuthConfig, ConfigError> {
        let auth = &self.auth;
        let mut problems = Vec::new();
        let secret = match &auth.secret_file {
            Some(file) => taken(self.secret_in("auth.secret_file", file), &mut problems),
            None => auth.secret.clone(),
        };
        let keys = auth.keys.iter().enumerate();
        let keys: Vec<_> =
            keys.filter_map(|(index, key)| Some((index, taken(self.key(index, key), &mut problems)?))).collect();
        self.check_keys(&keys, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        let keys = keys.into_iter().map(|(_, key)| key).collect();
        Ok(AuthConfig {
            dir: self.data_dir.clone(),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            access_ttl: auth.access_ttl.0,
            refresh_ttl: auth.refresh_ttl.0,
            refresh_grace: auth.refresh_grace.0,
            secret,
            keys,
            leeway: auth.leeway.0,
            login_limits: LoginLimits {
                per_address: auth.login_per_address,
                per_name: auth.login_per_name,
                window: auth.login_window.0,
                remembered: auth.login_remembered.0,
            },
            max_logins: auth.max_logins_per_user,
        })
    }

    fn key(&self, index: usize, key: &AuthKey) -> Result<PublicKeyConfig, ConfigError> {
        let path = |name: &str| format!("auth.keys[{index}].{name}");
        let algorithm = match key.algorithm.as_str() {
            "HS256" => KeyAlgorithm::HS256,
            "RS256" => KeyAlgorithm::RS256,
            "ES256" => KeyAlgorithm::ES256,
            "EdDSA" => KeyAlgorithm::EdDSA,
            other => {
                let why = "allowed algorithms are HS256, RS256, ES256, EdDSA";
                return Err(ConfigError::of(
                    path("algorithm"),
                    self.origin_of("auth.keys"),
                    Some(other.to_owned()),
                    why,
                ));
            }
        };
        let secret = key.secret_file.as_ref().map(|file| self.secret_in(&path("secret_file"), file)).transpose()?;
        let pem = key.public_key_file.as_ref().map(|file| self.text_in(&path("public_key_file"), file)).transpose()?;
        let claims = BelievedClaims {
            user: key.user_claim.clone(),
            roles: key.roles_claim.clone(),
            grants: Some(key.grants_claim.clone()).filter(|claim| !claim.is_empty()),
        };
        let (kid, issuer, audience) = (key.kid.clone(), key.issuer.clone(), key.audience.clone());
        Ok(PublicKeyConfig { kid, algorithm, pem, secret, issuer, audience, claims, users: key.users })
    }

    fn secret_in(&self, key: &str, file: &Path) -> Result<Secret, ConfigError> {
        let text = self.text_in(key, file)?;
        let text = text.trim();
        if text.len() < 32 {
            let why = format!("{} holds fewer than 32 bytes", file.display());
            return Err(ConfigError::of(key, self.origin_of(key.split('[').next().unwrap_or(key)), None, why));
        }
        Ok(Secret(text.to_owned()))
    }

    fn text_in(&self, key: &str, file: &Path) -> Result<String, ConfigError> {
        std::fs::read_to_string(file).map_err(|error| {
            let why = format!("{} cannot be read: {error}", file.display());
            ConfigError::of(key, self.origin_of(key.split('[').next().unwrap_or(key)), None, why)
        })
    }

    /// How programs are run. `environment` is the server's own.
    #[must_use]
    pub(crate) fn programs(&self, environment: Vec<(String, String)>) -> ProgramsConfig {
        let run = &self.run;
        let set: BTreeMap<String, String> =
            run.set.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
        let data_dir = absolute(&self.data_dir);
        ProgramsConfig {
            env: Environment::new(&run.env, environment, &set).without(&data_dir.to_string_lossy()),
            user: run.user.clone(),
            wrapper: run.wrapper.clone(),
            sandbox: self.sandbox(),
            files: self.files_of_its_own(),
            nice: i32::from(run.nice),
            grace_ms: run.grace_ms,
            data_dir: self.data_dir.clone(),
        }
    }

    /// The sandbox of programs that have none of their own.
    pub(super) fn sandbox(&self) -> Sandbox {
        let run = &self.run;
        Sandbox { level: run.sandbox, read: run.sandbox_read.clone(), write: run.sandbox_write.clone() }
    }

    /// The sandbox of an agent.
    pub(super) fn sandbox_of(&self, agent: &Agent) -> Sandbox {
        let with = |all: &[PathBuf], own: &Option<Vec<PathBuf>>| [all, own.as_deref().unwrap_or_default()].concat();
        let run = &self.run;
        let mut read = with(&run.sandbox_read, &agent.sandbox_read);
        read.extend(Self::program_of_the_demo(agent));
        Sandbox {
            level: agent.sandbox.unwrap_or(run.sandbox),
            read,
            write: with(&run.sandbox_write, &agent.sandbox_write),
        }
    }

    /// The files of the configuration: itself, where it would be looked for if there is none, and secrets that it names.
    fn files_of_its_own(&self) -> Vec<PathBuf> {
        let itself = self.file.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        self.named_secrets().cloned().chain([itself]).map(|path| absolute(&path)).collect()
    }

    /// The files of secrets.
    fn named_secrets(&self) -> impl Iterator<Item = &PathBuf> {
        let auth = &self.auth;
        auth.secret_file.iter().chain(auth.keys.iter().filter_map(|key| key.secret_file.as_ref()))
    }

    /// What is taken out of what programs print.
    ///
    /// # Errors
    /// A pattern that does not compile.
    pub(crate) fn redaction(&self) -> Result<Arc<Redaction>, ConfigError> {
        let compile = || {
            let redaction = &self.redaction;
            let redaction = RedactionConfig { enabled: redaction.enabled, patterns: redaction.patterns.clone() };
            Redaction::new(&redaction).map(Arc::new).map_err(|error| {
                let origin = self.origin_of("redaction.patterns");
                ConfigError::of("redaction.patterns", origin, None, error.message().to_owned())
            })
        };
        self.compiled.get_or_init(compile).clone()
    }

    /// Where projects may be.
    #[must_use]
    pub(crate) fn roots(&self) -> RootsConfig {
        RootsConfig {
            beneath: self.project.roots.clone(),
            data_dir: Some(self.data_dir.clone()),
            files: self.file.iter().chain(self.named_secrets()).map(|path| absolute(path)).collect(),
        }
    }

    /// An error of a service that a key is named by.
    pub(super) fn refused(&self, key: &str, value: Option<String>, error: &tidings_core::Error) -> ConfigError {
        let problem = |(key, why): (&String, &String)| Problem {
            key: key.clone(),
            origin: self.origin_of(key),
            value: value.clone(),
            why: why.clone(),
        };
        match error.fields() {
            fields if fields.is_empty() => ConfigError::of(key, self.origin_of(key), value, error.message().to_owned()),
            fields => ConfigError(fields.iter().map(problem).collect()),
        }
    }

    /// The configuration of sessions.
    ///
    /// # Errors
    /// Command lines of agents that leave their program or an option to others.
    pub(crate) fn sessions(&self, redaction: Arc<Redaction>) -> Result<SessionConfig, ConfigError> {
        let run = &self.run;
        let sessions = SessionConfig {
            agents: self.all_agents().into_iter().map(|(name, agent)| (name, self.agent(&agent))).collect(),
            limits: Limits {
                per_user: run.max_per_user,
                per_project: run.max_per_project,
                total: run.max_total,
                wall_ms: run.max_time.as_ms(),
                output_bytes: run.max_output_bytes.0,
                silence_ms: run.max_silence.as_ms(),
            },
            heartbeat_ms: run.heartbeat_ms,
            linger_ms: run.linger_ms,
            redaction,
        };
        // What is in a command line may be a secret: its value is not shown.
        sessions.check().map_err(|error| self.refused("agents", None, &error))?;
        Ok(sessions)
    }

    fn agent(&self, agent: &Agent) -> AgentConfig {
        AgentConfig {
            // The schema has refused every other word.
            adapter: AdapterKind::named(&agent.adapter).unwrap_or_default(),
            command: agent.command.clone(),
            stdin: if agent.stdin == "close" { Stdin::Close } else { Stdin::Open },
            resume: agent.resume.clone(),
            terminal: agent.terminal.clone(),
            projects: agent.projects.clone(),
            roles: agent.roles.clone(),
            sandbox: Some(self.sandbox_of(agent)),
            publish: agent.publish.clone().unwrap_or_default(),
        }
    }

    /// The configuration of files.
    #[must_use]
    pub(crate) fn files(&self) -> FsConfig {
        let fs = &self.fs;
        FsConfig {
            max_read_bytes: fs.max_read_bytes.as_usize(),
            max_entries: fs.max_entries,
            max_watched: fs.max_watched,
            max_directories: fs.max_directories,
            linger: fs.linger.0,
        }
    }

    /// The configuration of git.
    #[must_use]
    pub(crate) fn git(&self, redaction: Arc<Redaction>) -> GitConfig {
        let git = &self.git;
        GitConfig {
            operation_timeout: git.operation_timeout.0,
            read_timeout: git.read_timeout.0,
            max_operations: git.max_operations,
            max_waiting_operations: git.max_waiting_operations,
            max_waiting_operations_per_project: git.max_waiting_operations_per_project,
            max_waiting_operations_per_user: git.max_waiting_operations_per_user,
            max_reads: git.max_reads,
            max_reads_per_project: git.max_reads_per_project,
            max_waiting_reads: git.max_waiting_reads,
            max_waiting_reads_per_project: git.max_waiting_reads_per_project,
            max_waiting_reads_per_user: git.max_waiting_reads_per_user,
            max_patch_bytes: git.max_patch_bytes.as_usize(),
            protocols: git.protocols.clone(),
            repository_programs: git.repository_programs,
            programs: git.programs.clone(),
            readable: git.readable.clone(),
            unconfined: git.unconfined,
            shadow_dir: git.shadow_dir.clone(),
            redaction,
        }
    }

    /// The configuration of terminals.
    #[must_use]
    pub(crate) fn shells(&self, redaction: Arc<Redaction>) -> ShellConfig {
        let shell = &self.shell;
        ShellConfig {
            command: shell.command.clone(),
            per_user: shell.max_per_user,
            per_project: shell.max_per_project,
            total: shell.max_total,
            idle_ms: shell.idle.as_ms(),
            redaction,
        }
    }

    /// The configuration of workflows.
    #[must_use]
    pub(crate) fn workflows(&self, redaction: Arc<Redaction>) -> WorkflowConfig {
        let workflow = &self.workflow;
        let limits = workflow::Limits {
            per_user: workflow.max_per_user,
            per_project: workflow.max_per_project,
            total: workflow.max_total,
            concurrency: workflow.max_concurrency,
            total_steps: workflow.max_working_steps,
            steps: workflow.max_steps,
            definition_bytes: workflow.max_definition_bytes.as_usize(),
            output_bytes: workflow.max_output_bytes.0,
            step_ms: workflow.max_step_time.as_ms(),
        };
        WorkflowConfig { limits, agents: self.all_agents().into_keys().collect(), redaction }
    }

    /// The configuration of HTTP.
    ///
    /// # Errors
    /// A proxy that is no address or network; the schema has refused it before.
    pub(crate) fn http(&self) -> Result<HttpConfig, ConfigError> {
        let http = &self.sections.http;
        let networks = http.trusted_proxies.iter().map(|text| text.parse());
        let trusted_proxies =
            networks.collect::<Result<_, tidings_transports::http::InvalidNetwork>>().map_err(|error| {
                let origin = self.origin_of("http.trusted_proxies");
                ConfigError::of("http.trusted_proxies", origin, None, error.to_string())
            })?;
        Ok(HttpConfig {
            cors_origins: http.cors_origins.clone(),
            loopback_origins: self.listen.ip().is_loopback(),
            body_limit: http.body_limit_bytes.as_usize(),
            trusted_proxies,
            metrics_public: http.metrics_public,
            rate: Rate::per_second(http.rate_per_second, http.rate_burst),
            requests: SeatsConfig { user: http.max_requests_per_user, total: http.max_requests },
        })
    }

    /// What a client has of time to send a body and to read an answer.
    #[must_use]
    pub(crate) fn patiences(&self) -> Patiences {
        let http = &self.sections.http;
        Patiences {
            body: Patience { time: http.body_timeout.0, bytes_per_second: http.body_bytes_per_second.0 },
            answer: Patience { time: http.answer_timeout.0, bytes_per_second: http.answer_bytes_per_second.0 },
        }
    }

    /// What is held for clients. One of them may always send what is said to be the largest, whatever the bounds are.
    #[must_use]
    pub(crate) fn budget(&self) -> BudgetConfig {
        let socket = &self.socket;
        let mailbox = socket.mailbox_bytes.as_usize().max(socket.max_message_bytes.as_usize().saturating_mul(4));
        let largest = mailbox.max(self.sections.http.body_limit_bytes.as_usize());
        let raised = |most: usize| if most == 0 { 0 } else { most.max(largest.saturating_mul(2)) };
        let user = raised(socket.held_bytes_per_user.as_usize());
        BudgetConfig { user, total: raised(socket.held_bytes_total.as_usize()) }
    }

    /// How much of a namespace's channels is kept: what the domain says, where nothing is configured.
    #[must_use]
    pub(crate) fn retention_of(&self, namespace: &str, domain: handler::Retention) -> handler::Retention {
        let Some(Retention { messages, bytes, age }) = self.retention.get(namespace) else { return domain };
        handler::Retention {
            messages: messages.unwrap_or(domain.messages),
            bytes: bytes.map_or(domain.bytes, |bytes| bytes.0),
            age_ms: age.map_or(domain.age_ms, super::Span::as_ms),
        }
    }
}

/// What there is, or its problems among the others.
fn taken<T>(result: Result<T, ConfigError>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|ConfigError(more)| problems.extend(more)).ok()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
