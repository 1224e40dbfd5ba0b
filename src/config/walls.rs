//! What of programs is held by the kernel: which sandbox, and whether there can be one.
//!
//! Guarantees: a sandbox that would not hold is an error of the start, never a warning.
//! It is not the sandbox: that is the services'.

use std::path::{Path, PathBuf};

use tidings_services::programs::{Level, NO_WALLS, Sandbox, walls};

use super::{
    Config, ConfigError, Problem,
    key::{Key, key, list},
    kind::Kind,
    passes::is_absolute,
};

pub(super) const SANDBOX: Key = key(
    "run.sandbox",
    Kind::Word(&["off", "data", "project"]),
    "What sessions, terminals and steps of workflows are kept from by the kernel (Landlock): `data` from the data directory and the configuration, `project` from everything but their project, a temporary directory, and the system's programs. Not with `run.wrapper`. See [below](#what-programs-may-touch).",
);

pub(super) const SANDBOX_READ: Key = key(
    "run.sandbox_read",
    list(0, "an absolute path", is_absolute),
    "Files and folders that programs in a sandbox may read and run besides. One that is not there is passed over.",
);

pub(super) const SANDBOX_WRITE: Key = key(
    "run.sandbox_write",
    list(0, "an absolute path", is_absolute),
    "Files and folders that they may read, run and change besides.",
);

/// Why there is either a wrapper or a sandbox.
const CONTRADICTION: &str = "run.wrapper is configured, too, which separates programs in its own way and could not inside of this: leave one out";

impl Config {
    /// The sandboxes, by the keys that say which: that of all programs, and those of agents that have their own.
    fn sandboxes(&self) -> Vec<(String, Sandbox)> {
        let own = self.agents.iter().filter(|(_, agent)| {
            agent.sandbox.is_some() || agent.sandbox_read.is_some() || agent.sandbox_write.is_some()
        });
        let of_agents = own.map(|(name, agent)| (format!("agents.{name}.sandbox"), self.sandbox_of(agent)));
        std::iter::once(("run.sandbox".to_owned(), self.sandbox())).chain(of_agents).collect()
    }

    /// Refuses sandboxes that the kernel, or a wrapper, does not let be.
    pub(super) fn check_sandboxes(&self, kernel_has_walls: bool) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let mut refuse = |key: String, value: &str, why: String| {
            let origin = self.origin_of(&key);
            problems.push(Problem { key, origin, value: Some(value.to_owned()), why });
        };
        for (key, path) in self.listed().filter(|(_, path)| self.is_own(path)) {
            let why = "lies in the data directory, which no program in a sandbox may touch".to_owned();
            refuse(key, &path.to_string_lossy(), why);
        }
        for (key, sandbox) in self.sandboxes() {
            let Some(word) = word(sandbox.level) else { continue };
            if !self.run.wrapper.is_empty() {
                refuse(key, word, CONTRADICTION.to_owned());
            } else if !kernel_has_walls {
                refuse(key, word, NO_WALLS.to_owned());
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
    }

    /// Each place that is listed for sandboxes, with its key.
    fn listed(&self) -> impl Iterator<Item = (String, &PathBuf)> {
        let lists = |before: String, read, write| {
            [(format!("{before}.sandbox_read"), read), (format!("{before}.sandbox_write"), write)]
        };
        let of_all = lists("run".to_owned(), Some(&self.run.sandbox_read), Some(&self.run.sandbox_write));
        let of_agents = self.agents.iter().flat_map(move |(name, agent)| {
            lists(format!("agents.{name}"), agent.sandbox_read.as_ref(), agent.sandbox_write.as_ref())
        });
        let all = of_all.into_iter().chain(of_agents);
        all.flat_map(|(key, list)| list.into_iter().flatten().map(move |path| (key.clone(), path)))
    }

    fn is_own(&self, path: &Path) -> bool {
        // What is not there yet is judged by its name.
        let real = |path: &Path| {
            let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
            there.map_or_else(|| path.to_owned(), |(above, real)| real.join(path.strip_prefix(above).unwrap_or(path)))
        };
        let real = |path: &Path| std::path::absolute(path).map(|path| real(&path));
        real(path).is_ok_and(|path| real(&self.data_dir).is_ok_and(|own| path.starts_with(own)))
    }

    /// What an operator should know where programs are in no sandbox, and nothing else keeps them from the server's data.
    pub(super) fn warn_of_open_doors(&self, warnings: &mut Vec<String>) {
        if self.run.user.is_some() || !self.run.wrapper.is_empty() {
            return;
        }
        if self.run.sandbox == Level::Off {
            warnings.push(
                "programs run as the server's own user: whoever may execute can read the data directory. \
                 Set run.sandbox, run.user or run.wrapper to separate them"
                    .to_owned(),
            );
            return;
        }
        for (name, _) in self.agents.iter().filter(|(_, agent)| agent.sandbox == Some(Level::Off)) {
            warnings.push(format!(
                "agents.{name}.sandbox = off: its program runs as the server's own user and can read the data directory"
            ));
        }
    }

    /// What holds, for `tidings check` and the start: a line for each.
    #[must_use]
    pub(crate) fn walls(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, sandbox) in self.sandboxes() {
            let holds = match sandbox.level {
                Level::Off => "off: the kernel keeps programs from nothing that their user may",
                Level::Data => "data: programs are kept from the data directory and the configuration",
                Level::Project => "project: programs are kept from all but their project and the system's programs",
            };
            lines.push(format!("{key} = {holds}"));
        }
        lines.push(match walls() {
            None => NO_WALLS.to_owned(),
            Some((abi, lacking)) if lacking.is_empty() => {
                format!("this kernel has Landlock {abi}, which holds all of it")
            }
            Some((abi, lacking)) => format!("this kernel has Landlock {abi}; behind its walls {}", lacking.join(", ")),
        });
        lines
    }
}

/// The word of a sandbox; none for the lack of one.
fn word(level: Level) -> Option<&'static str> {
    Level::ALL.into_iter().find(|(_, known)| *known == level && level != Level::Off).map(|(word, _)| word)
}
