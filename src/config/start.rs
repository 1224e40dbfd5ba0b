//! What is wrong with a configuration beyond its values: what the start would refuse of it.
//!
//! Guarantees: each stage is judged whatever the others say; files that the configuration names are read, and nothing is
//! opened, made or started.
//! It is not the values: the schema has judged those before.

use tidings_auth::PublicKeyConfig;
use tidings_core::handler::Handler;
use tidings_services::programs::{check_user, walls};

use super::{Config, ConfigError, Problem};

impl Config {
    /// Declared domains that are wrong, and retention for namespaces that no domain owns, beside these of the server.
    #[must_use]
    pub(crate) fn namespace_problems(&self, owned: &[&str]) -> Vec<Problem> {
        let declared = match self.declared() {
            Ok(declared) => declared,
            // Whose namespaces they would be is not known then.
            Err(ConfigError(problems)) => return problems,
        };
        let owned: Vec<&str> =
            owned.iter().copied().chain(declared.iter().flat_map(|handler| handler.namespaces()).copied()).collect();
        let unknown = self.retention.keys().filter(|name| !owned.contains(&name.as_str()));
        unknown
            .map(|name| Problem {
                key: format!("retention.{name}"),
                origin: self.origin_of(&format!("retention.{name}")),
                value: None,
                why: format!("no domain owns this namespace; there are {}", owned.join(", ")),
            })
            .collect()
    }

    /// What the start would refuse of the rest: keys and the files that hold them, command lines of agents, the user of
    /// programs, proxies.
    #[must_use]
    pub(crate) fn start_problems(&self) -> Vec<Problem> {
        let redaction = self.redaction();
        let judged = [
            self.identity().map(drop),
            redaction.as_ref().map(drop).map_err(Clone::clone),
            redaction.map_or(Ok(()), |redaction| self.sessions(redaction).map(drop)),
            self.check_user(),
            self.check_sandboxes(walls().is_some()),
            self.http().map(drop),
        ];
        judged.into_iter().filter_map(Result::err).flat_map(|ConfigError(problems)| problems).collect()
    }

    /// Refuses keys that are none, and two of one name.
    pub(super) fn check_keys(&self, keys: &[(usize, PublicKeyConfig)], problems: &mut Vec<Problem>) {
        let mut refuse = |key: String, why: String| {
            problems.push(Problem { key, origin: self.origin_of("auth.keys"), value: None, why });
        };
        for (at, (index, key)) in keys.iter().enumerate() {
            let named = &self.auth.keys[*index];
            if let (Err(why), Some(file)) = (key.check(), &named.public_key_file) {
                refuse(format!("auth.keys[{index}].public_key_file"), format!("{}: {why}", file.display()));
            }
            if key.kid.is_some() && keys[..at].iter().any(|(_, other)| other.kid == key.kid) {
                refuse(format!("auth.keys[{index}].kid"), "another key has this kid".to_owned());
            }
        }
    }

    /// Refuses a system user that programs cannot run as.
    fn check_user(&self) -> Result<(), ConfigError> {
        let Some(user) = &self.run.user else { return Ok(()) };
        check_user(user).map(drop).map_err(|error| self.refused("run.user", Some(user.clone()), &error))
    }
}
