//! The plan of a session: everything that is decided before it starts.
//!
//! Guarantees: the same request with the same key gives the same ids; what is shown of a request is
//! redacted and bounded, what runs is exactly what was asked for.
//! It is not the start: nothing here has an effect.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tidings_core::{Error, Result, Timestamp, UserId};

use super::{
    command_line::{self, Filled},
    config::{AdapterKind, SessionConfig, Stdin},
    contract::{Board, SessionId, Started, Status},
    input::StartSession,
};
use crate::{
    git::input::Worktree,
    programs::{Sandbox, decode::shortened, line},
    project::ProjectId,
    shell::contract::{DEFAULT_COLS, DEFAULT_ROWS},
};

/// The most bytes that are shown of a prompt.
pub(super) const SHOWN_PROMPT: usize = 8 * 1024;
/// The most characters of a title that the server makes.
const TITLE_CHARS: usize = 80;

const HOUR_MS: i64 = 3_600_000;
/// How many hours an idempotency key is good for.
const KEY_HOURS: i64 = 24;

/// Hexadecimal digits of a digest over parts, each told apart from the next; at most 64.
pub(super) fn digest(parts: &[&str], digits: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let mut text: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    text
}

/// An idempotency key: whose and where it is, and what was asked for under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Of user, project and key; the last 20 digits of the session's id.
    pub(super) name: String,
    /// Of the request.
    pub(super) request: String,
}

impl Key {
    fn of(user: &UserId, request: &StartSession) -> Option<Self> {
        let key = request.idempotency_key.as_deref()?;
        let asked = serde_json::to_string(request).expect("an input serialises");
        let name = digest(&["session", user.as_str(), request.project_id.as_str(), key], 20);
        let request = digest(&[&name, &asked], 32);
        Some(Self { name, request })
    }

    /// The id of a session that starts now: it sorts among other ids by its hour.
    pub(super) fn id(&self, now: Timestamp) -> SessionId {
        self.id_of_hour(now.0.div_euclid(HOUR_MS))
    }

    /// The ids that a start under this key may have had, newest first. The first is of the hour to
    /// come, in case the clock was set back.
    pub(super) fn earlier(&self, now: Timestamp) -> impl Iterator<Item = SessionId> {
        let hour = now.0.div_euclid(HOUR_MS);
        (hour - KEY_HOURS..=hour + 1).rev().map(|hour| self.id_of_hour(hour))
    }

    fn id_of_hour(&self, hour: i64) -> SessionId {
        let milliseconds = hour.max(0).saturating_mul(HOUR_MS) & 0xFFFF_FFFF_FFFF;
        format!("{milliseconds:012x}{}", self.name).parse().expect("hexadecimal digits are an id")
    }
}

/// What a session will be.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) user: UserId,
    pub(super) project_id: ProjectId,
    pub(super) root: PathBuf,
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// The size of the terminal that it runs in; none for pipes.
    pub(super) pty: Option<(u16, u16)>,
    /// The working tree that it runs in; none for the project's root.
    pub(super) worktree: Option<Worktree>,
    /// What goes to standard input first.
    pub(super) first: Option<String>,
    pub(super) stdin: Stdin,
    /// How the server speaks with it.
    pub(super) adapter: AdapterKind,
    /// Whether it is asked something at all, on its input or in its arguments.
    pub(super) prompted: bool,
    /// The agent's own id of the conversation that goes on.
    pub(super) resume: Option<String>,
    /// The agent's own sandbox.
    pub(super) sandbox: Option<Sandbox>,
    pub(super) key: Option<Key>,
    pub(super) title: String,
    pub(super) agent: Option<String>,
    pub(super) command: Option<Vec<String>>,
    prompt: Option<String>,
}

impl Plan {
    /// Decides what a request means. `resume` is the agent's own id of the conversation that the
    /// request wants to go on with.
    ///
    /// # Errors
    /// `invalid_data` for no or both of `agent` and `command`, an unknown agent, a missing prompt, or an
    /// agent that cannot be resumed or has no terminal.
    pub(super) fn new(
        config: &SessionConfig,
        user: UserId,
        root: PathBuf,
        request: StartSession,
        resume: Option<String>,
    ) -> Result<Self> {
        let key = Key::of(&user, &request);
        let pty = size_of(&request)?;
        let prompt = request.prompt;
        let Asked { argv, stdin, adapter, placed } = match (&request.agent, &request.command) {
            (Some(agent), None) => agent_command(config, agent, pty.is_some(), prompt.as_deref(), resume.as_deref())?,
            (None, Some(_)) if request.resume.is_some() => {
                return Err(Error::invalid_field("resume", "is for agents"));
            }
            (None, Some(command)) => {
                Asked { argv: command.clone(), stdin: Stdin::Open, adapter: AdapterKind::Lines, placed: false }
            }
            _ => return Err(Error::invalid_field("agent", "is given, or else command, not both")),
        };
        let sandbox = request.agent.as_ref().and_then(|name| config.agents.get(name)?.sandbox.clone());
        let redact = |text: &str| config.redaction.redact(text).into_owned();
        let shown_prompt = prompt.as_deref().map(|text| shortened(&redact(text), SHOWN_PROMPT).to_owned());
        let shown_command = request.command.as_deref().map(|command| line::shown(command, redact));
        let name = request.agent.as_deref().or(argv.first().map(String::as_str)).unwrap_or_default();
        let title = request.title.as_deref().map_or_else(|| made_title(shown_prompt.as_deref(), name), redact);
        Ok(Self {
            user,
            project_id: request.project_id,
            argv,
            root,
            pty,
            worktree: request.worktree,
            prompted: prompt.is_some(),
            first: prompt.filter(|_| !placed),
            stdin,
            adapter,
            resume,
            sandbox,
            key,
            title,
            agent: request.agent,
            command: shown_command,
            prompt: shown_prompt,
        })
    }

    /// The program's directory. Whether it is there is not looked at.
    pub(super) fn dir(&self) -> PathBuf {
        self.worktree.as_ref().map_or_else(|| self.root.clone(), |tree| self.root.join(tree.directory()))
    }

    /// The event of its start.
    pub(super) fn started(&self, id: &SessionId, now: Timestamp) -> Started {
        Started {
            session_id: id.clone(),
            project_id: Some(self.project_id.clone()),
            title: Some(self.title.clone()),
            agent: self.agent.clone(),
            command: self.command.clone(),
            prompt: self.prompt.clone(),
            worktree: self.worktree.as_ref().map(|tree| tree.name.clone()),
            hosted: true,
            request: self.key.as_ref().map(|key| key.request.clone()),
            board: Some(self.board(Status::Running, now)),
        }
    }

    /// What its project's board is to show.
    pub(super) fn board(&self, status: Status, at: Timestamp) -> Board {
        Board { project_id: self.project_id.clone(), status: status.as_str(), title: self.title.clone(), at }
    }

    /// What runs, for people.
    pub(super) fn name(&self) -> &str {
        let program = || self.command.as_ref()?.first().map(String::as_str);
        self.agent.as_deref().or_else(program).unwrap_or("the program")
    }
}

/// What runs, as it was asked for.
struct Asked {
    argv: Vec<String>,
    stdin: Stdin,
    adapter: AdapterKind,
    /// Whether the prompt is in the command line.
    placed: bool,
}

/// The size of the terminal that a request wants, if it wants one.
fn size_of(request: &StartSession) -> Result<Option<(u16, u16)>> {
    if !request.pty {
        let sized = [("cols", request.cols), ("rows", request.rows)].into_iter().find(|(_, size)| size.is_some());
        return sized.map_or(Ok(None), |(field, _)| Err(Error::invalid_field(field, "is for a terminal: with pty")));
    }
    if request.resume.is_some() {
        return Err(Error::invalid_field("resume", "is not for a terminal"));
    }
    Ok(Some((request.cols.unwrap_or(DEFAULT_COLS), request.rows.unwrap_or(DEFAULT_ROWS))))
}

/// The command line of an agent, with the prompt and the conversation that goes on in their places.
fn agent_command(
    config: &SessionConfig,
    name: &str,
    in_terminal: bool,
    prompt: Option<&str>,
    resume: Option<&str>,
) -> Result<Asked> {
    let agent = config.agents.get(name).ok_or_else(|| Error::invalid_field("agent", "is not a configured agent"))?;
    let command = match resume {
        None if in_terminal => {
            let standard = Some(&agent.command).filter(|_| agent.adapter == AdapterKind::Lines);
            let no_terminal = || Error::invalid_field("pty", "this agent has no terminal configured");
            agent.terminal.as_ref().or(standard).ok_or_else(no_terminal)?
        }
        None => &agent.command,
        // It is resumed over its input.
        Some(_) if agent.adapter == AdapterKind::Acp => &agent.command,
        Some(_) => {
            agent.resume.as_ref().ok_or_else(|| Error::invalid_field("resume", "this agent cannot be resumed"))?
        }
    };
    let Filled { argv, placed } = command_line::fill(command, prompt, resume)?;
    let adapter = if in_terminal { AdapterKind::Lines } else { agent.adapter };
    Ok(Asked { argv, stdin: agent.stdin, adapter, placed })
}

fn made_title(prompt: Option<&str>, name: &str) -> String {
    let first = prompt.and_then(|prompt| prompt.lines().map(str::trim).find(|line| !line.is_empty()));
    let title: String = first.unwrap_or(name).chars().take(TITLE_CHARS).collect();
    title
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        redaction::{Redaction, RedactionConfig},
        session::{AdapterKind, AgentConfig},
    };

    fn config() -> SessionConfig {
        let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
        let mut config = SessionConfig::new(redaction);
        let agent = |command: &[&str]| AgentConfig {
            adapter: AdapterKind::Lines,
            command: command.iter().map(|&part| part.to_owned()).collect(),
            stdin: Stdin::Open,
            resume: None,
            terminal: None,
            projects: None,
            roles: None,
            sandbox: None,
            publish: Vec::new(),
        };
        config.agents.insert("asks".into(), agent(&["prog", "--", "do: {prompt}"]));
        config.agents.insert("reads".into(), agent(&["prog"]));
        config
    }

    fn planned(json: serde_json::Value) -> Result<Plan> {
        let request = serde_json::from_value(json).expect("parses");
        Plan::new(&config(), "u1".parse().expect("an id"), "/root".into(), request, None)
    }

    #[test]
    fn a_prompt_goes_to_its_place_in_the_command_or_to_standard_input() {
        let placed = planned(serde_json::json!({"projectId": "p", "agent": "asks", "prompt": "x; rm {prompt}"}));
        let placed = placed.expect("a plan");
        assert_eq!(placed.argv, ["prog", "--", "do: x; rm {prompt}"]);
        assert_eq!(placed.first, None);
        let read = planned(serde_json::json!({"projectId": "p", "agent": "reads", "prompt": "x"})).expect("a plan");
        assert_eq!((read.argv, read.first.as_deref()), (vec!["prog".to_owned()], Some("x")));
        let free = serde_json::json!({"projectId": "p", "command": ["a", "{prompt}"], "prompt": "x"});
        let free = planned(free).expect("a plan");
        assert_eq!((free.argv[1].as_str(), free.first.as_deref()), ("{prompt}", Some("x")));
    }

    #[test]
    fn a_request_that_names_no_one_program_is_refused_with_the_field() {
        let table = [
            (serde_json::json!({"projectId": "p"}), "agent"),
            (serde_json::json!({"projectId": "p", "agent": "asks", "command": ["a"]}), "agent"),
            (serde_json::json!({"projectId": "p", "agent": "nobody"}), "agent"),
            (serde_json::json!({"projectId": "p", "agent": "asks"}), "prompt"),
        ];
        for (request, field) in table {
            assert!(planned(request).expect_err("refused").fields().contains_key(field));
        }
    }

    #[test]
    fn what_is_shown_is_redacted_and_bounded_and_what_runs_is_not() {
        let secret = format!("token={}", "x".repeat(20));
        let long = format!("{secret} {}", "y".repeat(SHOWN_PROMPT));
        let plan = planned(serde_json::json!({"projectId": "p", "command": ["a", secret], "prompt": long}));
        let plan = plan.expect("a plan");
        assert_eq!(plan.argv[1], secret);
        let id = SessionId::random();
        let shown = plan.started(&id, Timestamp(1));
        let json = serde_json::to_string(&shown).expect("serialises");
        assert!(!json.contains("xxxxx"), "{json:.300}");
        assert!(shown.prompt.expect("shown").len() <= SHOWN_PROMPT);
        assert_eq!(shown.title.expect("made").chars().count(), TITLE_CHARS);
    }

    #[test]
    fn a_key_finds_its_session_for_a_day_and_its_ids_sort_by_time() {
        let request = serde_json::json!({"projectId": "p", "agent": "reads", "idempotencyKey": "k"});
        let key = planned(request.clone()).expect("a plan").key.expect("a key");
        assert_eq!(Some(&key), planned(request).expect("a plan").key.as_ref());
        let at = Timestamp(1_795_206_689_123);
        let id = key.id(at);
        assert!(key.earlier(at.plus_ms(23 * HOUR_MS)).any(|earlier| earlier == id));
        assert!(key.earlier(at.plus_ms(-HOUR_MS)).any(|earlier| earlier == id));
        assert!(key.earlier(at.plus_ms(26 * HOUR_MS)).all(|earlier| earlier != id));
        assert!(id < key.id(at.plus_ms(HOUR_MS)));
        let other = serde_json::json!({"projectId": "p", "agent": "reads", "idempotencyKey": "k", "prompt": "x"});
        let other = planned(other).expect("a plan").key.expect("a key");
        assert_eq!(other.name, key.name);
        assert_ne!(other.request, key.request);
    }
}
