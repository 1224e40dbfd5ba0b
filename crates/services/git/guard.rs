//! A repository as it is looked at before anything of it is used: where it keeps its data, and which
//! programs it names.
//!
//! Guarantees: a repository whose data lies outside the project is refused; what its own configuration would
//! run - filters, merge drivers, credential helpers, and the ends of a remote - is replaced by something
//! harmless, and its hooks are left out.
//! It is no sandbox: what the configuration of the system user names is run, and a repository that changes
//! while git runs is not looked at again.

use std::path::Path;

use tidings_core::{Code, Error, Result};

use super::{
    elsewhere,
    execute::{Finished, Git, Place, Purpose, gone, is_within},
    failure,
};
use crate::blocking::blocking;

/// The most bytes of the names of a repository's settings.
const NAMES_BYTES: usize = 256 * 1024;
/// The most settings that are replaced.
const MOST_SETTINGS: usize = 500;

impl Git {
    /// Looks at the repository of a project.
    ///
    /// # Errors
    /// `not_found` when the directory is gone; `conflict` when it holds no repository, or one that is refused;
    /// `unavailable` when git cannot be run.
    pub(super) async fn repository(&self, root: &Path, purpose: Purpose) -> Result<Place> {
        let given = root.to_owned();
        blocking(move || {
            if !given.is_dir() {
                return Err(gone());
            }
            given.join(".git").symlink_metadata().map_err(|_| no_repository())?;
            elsewhere::check(&given)
        })
        .await??;
        let mut place = Place { root: root.to_owned(), repository: true, settings: Vec::new() };
        let dirs = ["rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir"];
        let dirs = whole(self.read(&place, &dirs, NAMES_BYTES).await?)?;
        let (printed, given) = (String::from_utf8_lossy(&dirs.printed).into_owned(), root.to_owned());
        let is_inside =
            move || printed.lines().count() == 2 && printed.lines().all(|dir| is_within(Path::new(dir), &given));
        if !blocking(is_inside).await? {
            return Err(Error::new(
                Code::Conflict,
                "the repository keeps its data outside the project's directory: make that directory the project",
            ));
        }
        if purpose == Purpose::Read || !self.config.repository_programs {
            let names = ["config", "--list", "--name-only", "-z", "--show-scope"];
            let names = whole(self.read(&place, &names, NAMES_BYTES).await?)?;
            place.settings = harmless(&names.printed)?;
        }
        Ok(place)
    }
}

/// The result of a run that must have ended well and printed less than its limit.
fn whole(finished: Finished) -> Result<Finished> {
    if finished.stopped.is_some() {
        return Err(Error::new(Code::Conflict, "the configuration of the repository is too large to be looked at"));
    }
    if !finished.status.success() {
        if finished.said.contains("not a git repository") {
            return Err(no_repository());
        }
        return Err(Error::new(Code::Conflict, failure::of(&finished.said).1));
    }
    Ok(finished)
}

fn no_repository() -> Error {
    Error::new(Code::Conflict, "the project's directory holds no repository of git: clone into it, or make one there")
}

/// The settings that take the place of a repository's own, from `git config --list --name-only -z --show-scope`.
fn harmless(printed: &[u8]) -> Result<Vec<(String, String)>> {
    let text = String::from_utf8_lossy(printed);
    let mut parts = text.split('\0');
    let mut settings = Vec::new();
    while let (Some(scope), Some(name)) = (parts.next(), parts.next()) {
        if let Some(value) = replacement(name).filter(|_| matches!(scope, "local" | "worktree")) {
            settings.push((name.to_owned(), value.to_owned()));
        }
    }
    settings.dedup();
    if settings.len() > MOST_SETTINGS {
        return Err(Error::new(Code::Conflict, "the repository names too many programs in its configuration"));
    }
    Ok(settings)
}

/// What takes the place of a setting that names a program. git has made the section and the last part of a
/// name lower case.
fn replacement(name: &str) -> Option<&'static str> {
    let (section, rest) = name.split_once('.')?;
    let last = rest.rsplit('.').next()?;
    Some(match (section, last) {
        // Without a filter files are taken as they are.
        ("filter", "clean" | "smudge" | "process") | ("credential", "helper") => "",
        ("filter", "required") => "false",
        // A driver that fails leaves a conflict for people.
        ("merge", "driver") | ("gpg", "program") | ("core", "alternaterefscommand") => "false",
        ("core", "gitproxy") => "none",
        ("remote", "uploadpack") => "git-upload-pack",
        ("remote", "receivepack") => "git-receive-pack",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_repository_would_run_is_replaced_and_the_users_own_is_not() {
        let printed = "global\0filter.lfs.process\0local\0core.bare\0local\0filter.a=b.c.clean\0worktree\0merge.x.driver\0\
                       local\0remote.origin.uploadpack\0local\0credential.helper\0command\0filter.z.clean\0";
        let settings = harmless(printed.as_bytes()).expect("settings");
        let expected = [
            ("filter.a=b.c.clean", ""),
            ("merge.x.driver", "false"),
            ("remote.origin.uploadpack", "git-upload-pack"),
            ("credential.helper", ""),
        ];
        assert_eq!(settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn more_programs_than_anybody_needs_are_refused() {
        let printed: String = (0..600).map(|n| format!("local\0filter.f{n}.clean\0")).collect();
        assert!(harmless(printed.as_bytes()).is_err());
        assert_eq!(harmless(b"local"), Ok(Vec::new()));
    }
}
