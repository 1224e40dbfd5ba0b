//! The layers of a configuration, laid over each other: environment, then file, then flags.
//!
//! Guarantees: each key's value comes from the highest layer that says it, and where it came from is
//! remembered; unknown keys and values that are not allowed become problems, all of them.
//! It is not the sections: it knows paths and values only.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use toml::{Table, Value};

use super::{
    find::{Found, find, nearest},
    key::Key,
    problem::{Origin, Problem},
    sections::Sections,
};

/// The prefix of every variable that is a setting.
const PREFIX: &str = "TIDINGS_";
/// Variables with that prefix that are no settings: what they are is said where they are used.
const OTHERS: &[&str] = &["TIDINGS_TOKEN"];

/// One key's value.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// What the layers say so far.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) leaves: BTreeMap<Vec<String>, Leaf>,
    pub(super) problems: Vec<Problem>,
    /// What a higher layer said otherwise: the key, the lower layer and the higher one.
    pub(super) overridden: Vec<(String, Origin, Origin)>,
}

impl Layers {
    /// The layer of the environment: `PORT` and `TIDINGS_*`. `TIDINGS_A__B` is the key `a.b`.
    pub(super) fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let mut port = None;
        for (name, text) in variables {
            if name == "PORT" {
                port = Some(text);
            } else if let Some(rest) = name.strip_prefix(PREFIX)
                && !OTHERS.contains(&name.as_str())
            {
                self.variable(&name, rest, &text);
            }
        }
        if let Some(text) = port {
            self.port(&text);
        }
    }

    fn variable(&mut self, name: &str, rest: &str, text: &str) {
        let path = variable_path(rest);
        let origin = Origin::Variable(name.to_owned());
        match find(&path) {
            Found::Key(key) => self.set(path, key, key.kind.of_text(text), origin),
            Found::Section => {
                self.refuse(name.to_owned(), origin, "is a section: name one of its keys after two more '_'")
            }
            Found::Unknown => {
                let hint = nearest(&path).map(|near| {
                    let near: Vec<String> = near.split('.').map(str::to_ascii_uppercase).collect();
                    format!("{PREFIX}{}", near.join("__"))
                });
                self.refuse(name.to_owned(), origin, unknown("variable", hint));
            }
        }
    }

    /// `PORT`: the port of `listen`, whose address stays.
    fn port(&mut self, text: &str) {
        let origin = Origin::Variable("PORT".to_owned());
        let path = vec!["listen".to_owned()];
        let Ok(port) = text.parse::<u16>() else {
            let why = "allowed is a port from 0 to 65535".to_owned();
            self.problems.push(Problem { key: "listen".to_owned(), origin, value: Some(format!("{text:?}")), why });
            return;
        };
        let said = self.leaves.get(&path).and_then(|leaf| leaf.value.as_str()).and_then(|text| text.parse().ok());
        let mut address: SocketAddr = said.unwrap_or(Sections::default().listen);
        address.set_port(port);
        self.leaves.insert(path, Leaf { value: Value::String(address.to_string()), origin });
    }

    /// The layer of the configuration file.
    pub(super) fn file(&mut self, path: &Path, text: &str) {
        let origin = Origin::File(path.to_owned());
        match toml::from_str::<Table>(text) {
            Ok(table) => self.table(&mut Vec::new(), table, &origin),
            Err(error) => {
                // Its own text would quote the line, which may hold a secret.
                let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
                let at = line.map(|line| format!("line {line}: ")).unwrap_or_default();
                self.refuse(String::new(), origin, format!("{at}not valid TOML: {}", error.message()));
            }
        }
    }

    fn table(&mut self, path: &mut Vec<String>, table: Table, origin: &Origin) {
        if table.is_empty() && path.len() == 2 && path[0] == "agents" && path[1] != super::agents::DEMO {
            self.refuse(path.join("."), origin.clone(), "an agent needs its command");
        }
        for (name, value) in table {
            path.push(name);
            match (find(path), value) {
                (Found::Key(key), value) => self.set(path.clone(), key, value, origin.clone()),
                (Found::Section, Value::Table(table)) => self.table(path, table, origin),
                (Found::Section, _) => self.refuse(path.join("."), origin.clone(), "is a section of keys, not a value"),
                (Found::Unknown, _) => {
                    let hint = nearest(path);
                    self.refuse(path.join("."), origin.clone(), unknown("key", hint));
                }
            }
            path.pop();
        }
    }

    /// The layer of the flags: one of them.
    pub(super) fn flag(&mut self, flag: &'static str, name: &str, text: &str) {
        let path: Vec<String> = name.split('.').map(str::to_owned).collect();
        if let Found::Key(key) = find(&path) {
            self.set(path, key, key.kind.of_text(text), Origin::Flag(flag));
        }
    }

    fn set(&mut self, path: Vec<String>, key: &Key, value: Value, origin: Origin) {
        let name = path.join(".");
        if !key.kind.allows(&value) {
            let which = key.kind.wrong_item(&value).map_or_else(String::new, |place| format!("; item {place} is none"));
            let shown = key.shown.of(value).map(|value| value.to_string());
            let why = format!("allowed is {}{which}", key.kind.allowed());
            self.problems.push(Problem { key: name, origin, value: shown, why });
            return;
        }
        if let Some(lower) = self.leaves.insert(path, Leaf { value, origin: origin.clone() }) {
            self.overridden.push((name, lower.origin, origin));
        }
    }

    fn refuse(&mut self, key: String, origin: Origin, why: impl Into<String>) {
        self.problems.push(Problem { key, origin, value: None, why: why.into() });
    }

    /// Takes a key, or all of a section, out of every layer. False where there is none.
    pub(super) fn leave_out(&mut self, path: &str) -> bool {
        let wanted: Vec<&str> = path.split('.').collect();
        let before = self.leaves.len();
        let under = |path: &[String]| path.len() >= wanted.len() && path.iter().zip(&wanted).all(|(a, b)| a == b);
        self.leaves.retain(|path, _| !under(path));
        self.leaves.len() < before
    }

    /// All values as one tree.
    pub(super) fn tree(&self) -> Table {
        let mut tree = Table::new();
        for (path, leaf) in &self.leaves {
            let Some((name, sections)) = path.split_last() else { continue };
            let mut table = &mut tree;
            for section in sections {
                let entry = table.entry(section.as_str()).or_insert_with(|| Value::Table(Table::new()));
                let Value::Table(inner) = entry else { unreachable!("a section of the schema is no key") };
                table = inner;
            }
            table.insert(name.clone(), leaf.value.clone());
        }
        tree
    }

    /// Who said this key, or anything in this section.
    pub(super) fn origin(&self, path: &str) -> Origin {
        let wanted: Vec<&str> = path.split('.').collect();
        let under = |path: &Vec<String>| path.iter().zip(&wanted).all(|(said, wanted)| said == wanted);
        self.leaves.iter().find(|(path, _)| under(path)).map_or(Origin::Default, |(_, leaf)| leaf.origin.clone())
    }
}

/// The path that a variable means. Names of further variables keep their case, all others are lower case.
fn variable_path(rest: &str) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    let mut rest = Some(rest);
    while let Some(text) = rest {
        if path == ["run", "set"] {
            path.push(text.to_owned());
            break;
        }
        let (segment, following) = text.split_once("__").map_or((text, None), |(segment, rest)| (segment, Some(rest)));
        path.push(segment.to_ascii_lowercase());
        rest = following;
    }
    path
}

fn unknown(what: &str, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("there is no such {what}; is {hint} meant?"),
        None => format!("there is no such {what}; docs/OPERATIONS.md lists all"),
    }
}
