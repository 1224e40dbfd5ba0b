//! The environment of every program that the server runs.
//!
//! Guarantees: an [`Environment`] never holds a `TIDINGS_*` variable, whoever asks for it.
//! It is not where the server's own variables are read: that is the root's.

use std::collections::BTreeMap;

/// Names and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// What is passed on of the server's environment, unless configured otherwise.
    pub const DEFAULT_ALLOW: &'static [&'static str] =
        &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "TMPDIR"];

    /// Of the server's environment what `allow` names, and `fixed` values, which win.
    /// `TIDINGS_*` is left out of both.
    #[must_use]
    pub fn new(
        allow: &[String],
        server: impl IntoIterator<Item = (String, String)>,
        fixed: &BTreeMap<String, String>,
    ) -> Self {
        let passed = server.into_iter().filter(|(name, _)| allow.contains(name));
        let fixed = fixed.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self(passed.chain(fixed).filter(|(name, _)| !name.to_ascii_uppercase().starts_with("TIDINGS_")).collect())
    }

    /// The same without values that hold this text.
    #[must_use]
    pub fn without(mut self, text: &str) -> Self {
        self.0.retain(|_, value| !value.contains(text));
        self
    }

    /// Sets a value.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Takes a name out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_names_are_passed_on_and_never_one_of_the_server() {
        let server = [("PATH", "/bin"), ("TIDINGS_SECRET", "x"), ("HOME", "/data/dir/x"), ("OTHER", "y")];
        let server = server.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let allow = ["PATH", "HOME", "TIDINGS_SECRET"].map(str::to_owned);
        let fixed = BTreeMap::from([("tidings_b".to_owned(), "z".to_owned()), ("CI".to_owned(), "1".to_owned())]);
        let environment = Environment::new(&allow, server, &fixed).without("/data/dir");
        assert_eq!(environment.iter().collect::<Vec<_>>(), [("CI", "1"), ("PATH", "/bin")]);
    }
}
