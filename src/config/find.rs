//! Looking paths up in the list of keys: what a path is, and what was probably meant by an unknown one.
//!
//! Guarantees: a `*` of a key stands for one name.
//! It is not the list: that is the schema.

use super::{key::Key, schema::KEYS};

/// What a path of a configuration is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found {
    /// A key.
    Key(&'static Key),
    /// A section of keys.
    Section,
    /// Nothing.
    Unknown,
}

/// Looks a path up. A name in it may have letters, digits, `_` and `-`.
#[must_use]
pub(super) fn find(path: &[String]) -> Found {
    let mut section = false;
    for key in KEYS {
        let mut parts = key.path.split('.');
        let matches = path.iter().all(|segment| parts.next().is_some_and(|part| fits(part, segment)));
        match (matches, parts.next()) {
            (true, None) => return Found::Key(key),
            (true, Some(_)) => section = true,
            (false, _) => {}
        }
    }
    if section { Found::Section } else { Found::Unknown }
}

fn fits(part: &str, segment: &str) -> bool {
    if part == "*" { tidings_core::id::is_segment(segment) } else { part == segment }
}

/// The known path that is most like this unknown one, if any is like it at all.
#[must_use]
pub(super) fn nearest(path: &[String]) -> Option<String> {
    let text = path.join(".");
    let known = KEYS.iter().flat_map(|key| prefixes(key.path, path));
    known
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&text, &candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// A key and its sections, with the names of `path` in the place of `*`.
fn prefixes(key: &str, path: &[String]) -> Vec<String> {
    let parts: Vec<&str> = key
        .split('.')
        .enumerate()
        .map(|(at, part)| if part == "*" { path.get(at).map_or("NAME", String::as_str) } else { part })
        .collect();
    (1..=parts.len()).map(|length| parts[..length].join(".")).collect()
}
