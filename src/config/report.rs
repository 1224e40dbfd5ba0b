//! The effective configuration as text, and the table of all keys.
//!
//! Guarantees: the text is TOML that loads as the same configuration, but for secrets, the values in command lines and
//! patterns of secrets, which are hidden; every line says who said it.
//! It is not a check of the machine: files and ports are tried when the server starts.

use std::fmt::Write;

use toml::{Table, Value};

use super::{
    Config,
    find::{Found, find},
    key::{Key, Shown},
    problem::Origin,
    schema::KEYS,
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
        for line in &mut lines {
            // A secret hides itself: that there is one is shown.
            let shown = KEYS[line.rank].shown;
            if shown != Shown::Nothing {
                line.value = line.value.take().and_then(|value| shown.of(value));
            }
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
