//! The effective configuration as text, what an operator should know about it, and the table of all keys.
//!
//! Guarantees: the text is TOML that loads as the same configuration, but for secrets and the values in command lines,
//! which are hidden; every line says who said it.
//! It is not a check of the machine: files and ports are tried when the server starts.

use std::fmt::Write;

use tidings_engine::log::DataDir;
use tidings_services::programs::check_user;
use toml::{Table, Value};

use super::{
    Config,
    find::{Found, find},
    problem::Origin,
    schema::{KEYS, Key, Shown},
    secrets::without_values,
    sections::Sections,
};

/// One line: where it stands, and the key's value, if it has one.
struct Line {
    rank: usize,
    path: Vec<String>,
    value: Option<Value>,
}

impl Config {
    /// The effective configuration as TOML, each key with its origin as a comment.
    ///
    /// # Panics
    /// Never: sections are plain values.
    #[must_use]
    pub(crate) fn effective(&self) -> String {
        let Ok(Value::Table(tree)) = Value::try_from(&self.sections) else { unreachable!("sections are plain values") };
        let mut lines = Vec::new();
        collect(&mut Vec::new(), tree, &mut lines);
        for (rank, key) in KEYS.iter().enumerate() {
            let path: Vec<String> = key.path.split('.').map(str::to_owned).collect();
            if !key.path.contains('*') && !lines.iter().any(|line| line.path == path) {
                lines.push(Line { rank, path, value: None });
            }
        }
        for line in lines.iter_mut().filter(|line| KEYS[line.rank].shown == Shown::Line) {
            line.value = line.value.take().map(without_values);
        }
        lines.sort_by(|left, right| order(left).cmp(&order(right)));
        self.render(&lines)
    }

    fn render(&self, lines: &[Line]) -> String {
        let mut text = String::new();
        let mut section: &[String] = &[];
        for line in lines {
            let Some((name, parents)) = line.path.split_last() else { continue };
            if parents != section {
                section = parents;
                push(&mut text, format_args!("\n[{}]\n", section.join(".")));
            }
            let origin = self.origins.get(&line.path).unwrap_or(&Origin::Default);
            match &line.value {
                Some(value) => push(&mut text, format_args!("{name} = {value}  # {origin}\n")),
                None => push(&mut text, format_args!("# {name} is not set\n")),
            }
        }
        text
    }

    /// What an operator should know: what is dangerous, and what was said without effect.
    #[must_use]
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.run.user.is_none() && self.run.wrapper.is_empty() {
            warnings.push(
                "programs run as the server's own user: whoever may execute can read the data directory. \
                 Set run.user or run.wrapper to separate them"
                    .to_owned(),
            );
        }
        if matches!(DataDir::is_open_to_others(&self.data_dir), Ok(true)) {
            warnings.push(format!(
                "everybody may look into the data directory {}: take that away, as in chmod o-rx",
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
        for (name, agent) in &self.agents {
            let lines = [Some(&agent.command), agent.resume.as_ref(), agent.terminal.as_ref()];
            if lines.into_iter().flatten().any(|line| puts_words_into_a_shell(line)) {
                warnings.push(format!(
                    "agents.{name} puts what people write into the text of a shell: whoever may start it runs what \
                     they like. Give it to the shell as an argument"
                ));
            }
        }
        self.warn_of_relative_programs(&mut warnings);
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

/// Whether a command line is a shell's whose text has a place for what somebody else says.
fn puts_words_into_a_shell(line: &[String]) -> bool {
    let shells = ["sh", "bash", "dash", "zsh", "ksh", "fish"];
    let program = line.first().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    let is_text = |pair: &[String]| pair[0].starts_with('-') && pair[0].ends_with('c') && pair[1].contains("{prompt}");
    shells.contains(&program) && line.windows(2).any(is_text)
}

fn collect(path: &mut Vec<String>, table: Table, lines: &mut Vec<Line>) {
    for (name, value) in table {
        path.push(name);
        match (find(path), value) {
            (Found::Key(key), value) => {
                let rank = KEYS.iter().position(|other| other.path == key.path).unwrap_or(usize::MAX);
                lines.push(Line { rank, path: path.clone(), value: Some(value) });
            }
            (_, Value::Table(inner)) => collect(path, inner, lines),
            (Found::Section | Found::Unknown, _) => unreachable!("the sections have the keys of the schema"),
        }
        path.pop();
    }
}

/// Sections in the order of the schema, named ones by name, and in each the keys in the order of the schema.
fn order(line: &Line) -> (usize, &[String], usize, &str) {
    let parents = line.path.split_last().map_or(&[][..], |(_, parents)| parents);
    let parent = KEYS[line.rank].path.rsplit_once('.').map_or("", |(parent, _)| parent);
    let first = KEYS.iter().position(|key| key.path.rsplit_once('.').map_or("", |(other, _)| other) == parent);
    (first.unwrap_or(0), parents, line.rank, line.path.last().map_or("", String::as_str))
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes every text");
}

/// The table of all keys for docs/OPERATIONS.md: a row for each.
///
/// # Panics
/// Never: the defaults are plain values.
#[must_use]
pub(crate) fn markdown() -> Vec<String> {
    let defaults = toml::Value::try_from(Sections::default()).expect("defaults are plain values");
    let default = |path: &str| path.split('.').try_fold(&defaults, |value, part| value.get(part)).cloned();
    let row = |key: &Key| {
        let default = default(key.path).filter(|value| value.as_table().is_none());
        let default = default.map_or_else(|| "–".to_owned(), |value| format!("`{value}`"));
        let path = key.path.replace('*', "NAME");
        format!("| `{path}` | {default} | {} | {} |", key.kind.allowed().replace('|', "\\|"), key.doc)
    };
    KEYS.iter().map(row).collect()
}
