//! What an operator should know about a configuration that is taken: what is dangerous, what has no effect, what is not
//! there.
//!
//! Guarantees: nothing here ends a start; no warning holds a word of a command line but the name of its program.
//! It is not a check: what the start would refuse is an error.

use tidings_engine::log::{DataDir, Others};
use tidings_services::programs::{check_user, is_kept_from, is_missing};

use super::{Agent, Config, Origin, variables};

impl Config {
    /// What an operator should know: what is dangerous, and what was said without effect.
    #[must_use]
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.warn_of_open_doors(&mut warnings);
        let others = match DataDir::others(&self.data_dir) {
            Others::Nothing => None,
            Others::Look => Some("look into"),
            Others::Write => Some("put files of their own into"),
        };
        if let Some(what) = others {
            warnings.push(format!(
                "everybody may {what} the data directory {}: take that away, as in chmod o-rwx",
                self.data_dir.display()
            ));
        }
        if !self.listen.ip().is_loopback() {
            warnings.push(format!(
                "listen = {} is reachable from other machines, without TLS: put a proxy with TLS before it",
                self.listen
            ));
            if self.http.metrics_public {
                warnings.push("http.metrics_public shows /metrics to everybody who reaches this address".to_owned());
            }
        }
        if self.http.cors_origins.iter().any(|origin| origin == "*") {
            warnings.push("http.cors_origins = *: pages of every origin may use the server".to_owned());
        }
        self.warn_of_programs(&mut warnings);
        self.warn_of_relative_programs(&mut warnings);
        self.warn_of_git(&mut warnings);
        for root in self.project.roots.iter().filter(|root| !root.is_dir()) {
            warnings.push(format!("project.roots: {} is no directory: no project lies beneath it", root.display()));
        }
        if let Some(user) = self.run.user.as_deref().filter(|user| check_user(user) == Ok(false)) {
            warnings.push(format!("run.user = {user} needs a server that runs as root"));
        }
        if !self.redaction.enabled {
            warnings.push("redaction.enabled = false: secrets in programs' output are kept and shown".to_owned());
        }
        for (key, lower, higher) in &self.overridden {
            if matches!(lower, Origin::Variable(_)) {
                warnings.push(format!("{lower} has no effect on {key}: {higher} says it, too, and counts more"));
            }
        }
        warnings
    }
}

impl Config {
    /// The command lines of agents, and the wrapper.
    fn warn_of_programs(&self, warnings: &mut Vec<String>) {
        let programs = self.programs(variables());
        if let Some(program) = self.run.wrapper.first().filter(|_| is_missing(&programs, None)) {
            warnings.push(format!("run.wrapper: {program} is not there: no program can be started"));
        }
        for (name, agent) in &self.agents {
            let lines = [Some(&agent.command), agent.resume.as_ref(), agent.terminal.as_ref()];
            if lines.into_iter().flatten().any(|line| puts_words_into_a_shell(line)) {
                warnings.push(format!(
                    "agents.{name} puts what people write into the text of a shell: whoever may start it runs what \
                     they like. Give it to the shell as an argument"
                ));
            }
            let keys = [("command", lines[0]), ("resume", lines[1]), ("terminal", lines[2])];
            for (key, line) in keys.into_iter().filter_map(|(key, line)| Some((key, line?))) {
                if let Some(program) = line.first().filter(|program| is_missing(&programs, Some(program))) {
                    warnings.push(format!(
                        "agents.{name}.{key}: {program} was not found among the programs (PATH): it cannot be started"
                    ));
                }
                let kept = |program: &&String| is_kept_from(&programs, &self.sandbox_of(agent), program);
                if let Some(program) = line.first().filter(kept) {
                    warnings.push(format!(
                        "agents.{name}.{key}: {program} lies where its sandbox lets nothing be run that is not in the \
                         project: list its folder in sandbox_read"
                    ));
                }
                if let Some(option) = missing_option(agent, line).filter(|_| key != "terminal") {
                    warnings.push(format!(
                        "agents.{name}.{key} lacks {option}: without it the adapter {} understands nothing of what it \
                         prints",
                        agent.adapter
                    ));
                }
            }
        }
    }

    /// A program with a folder that is not absolute is looked for in each project: what is in it is its members' to say.
    fn warn_of_relative_programs(&self, warnings: &mut Vec<String>) {
        let is_relative =
            |line: &[String]| line.first().is_some_and(|name| name.contains('/') && !name.starts_with('/'));
        if is_relative(&self.run.wrapper) {
            warnings.push(
                "run.wrapper names its program by a relative path: no program runs. Name it by an absolute path"
                    .to_owned(),
            );
        }
        let theirs = |key: &str| {
            format!(
                "{key} names its program by a relative path: the file of each project's own is run. Name it by an absolute path"
            )
        };
        for (name, agent) in &self.agents {
            let lines = [
                ("command", Some(&agent.command)),
                ("resume", agent.resume.as_ref()),
                ("terminal", agent.terminal.as_ref()),
            ];
            let relative = lines.into_iter().filter(|(_, line)| line.is_some_and(|line| is_relative(line)));
            warnings.extend(relative.map(|(key, _)| theirs(&format!("agents.{name}.{key}"))));
        }
        if is_relative(&self.shell.command) {
            warnings.push(theirs("shell.command"));
        }
    }
}

/// What a line that runs an agent's own program lacks so that it prints what its adapter reads. A script of an
/// operator's may say it itself.
fn missing_option(agent: &Agent, line: &[String]) -> Option<&'static str> {
    let runs = |program: &str| line.iter().any(|word| word.rsplit('/').next() == Some(program));
    let words = line.join(" ").replace('=', " ");
    let says = |option: &str| format!("{words} ").contains(&format!(" {option} "));
    let (program, options): (&str, &[&'static str]) = match agent.adapter.as_str() {
        "claude-code" => ("claude", &["--output-format stream-json"]),
        "codex" => ("codex", &["--json"]),
        "gemini" => ("gemini", &["-o stream-json", "--output-format stream-json"]),
        _ => return None,
    };
    (runs(program) && !options.iter().any(|option| says(option))).then(|| options[0])
}

/// Whether a command line is a shell's whose text has a place for what somebody else says.
fn puts_words_into_a_shell(line: &[String]) -> bool {
    let shells = ["sh", "bash", "dash", "zsh", "ksh", "fish"];
    let program = line.first().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    let is_text = |pair: &[String]| pair[0].starts_with('-') && pair[0].ends_with('c') && pair[1].contains("{prompt}");
    shells.contains(&program) && line.windows(2).any(is_text)
}
