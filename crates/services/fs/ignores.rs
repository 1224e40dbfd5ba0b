//! What is left out: the rules of every `.gitignore`, and of the repository's own list.
//!
//! Guarantees: a rule nearer to a file counts more, and git's own folder is always left out; reading rules is
//! bounded.
//! It does not know the rules of the system user: those leave out less than they should.

use std::{collections::HashMap, io::Read};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use crate::beneath::{Links, Root};

/// The most bytes of one file of rules.
const RULES_BYTES: u64 = 256 * 1024;
/// Git's own folder.
pub(super) const GIT: &str = ".git";

/// Rules, by the folder that they stand in; the empty path is the root.
#[derive(Debug, Default)]
pub(super) struct Ignores {
    folders: HashMap<String, Gitignore>,
    own: Option<Gitignore>,
}

impl Ignores {
    /// With the repository's own list, if there is one.
    pub(super) fn of(root: &Root) -> Self {
        Self { folders: HashMap::new(), own: rules(root, ".git/info/exclude", "") }
    }

    /// Reads the rules of a folder.
    pub(super) fn enter(&mut self, root: &Root, folder: &str) {
        if let Some(rules) = rules(root, &join(folder, ".gitignore"), folder) {
            self.folders.insert(folder.to_owned(), rules);
        }
    }

    /// Forgets the rules of a folder.
    pub(super) fn leave(&mut self, folder: &str) {
        self.folders.remove(folder);
    }

    /// Whether a path in a folder that is not left out is left out itself.
    pub(super) fn leaves_out(&self, path: &str, is_folder: bool) -> bool {
        let (mut folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name == GIT {
            return true;
        }
        if self.folders.is_empty() && self.own.is_none() {
            return false;
        }
        let absolute = format!("/{path}");
        loop {
            match self.folders.get(folder).map_or(Match::None, |rules| rules.matched(&absolute, is_folder)) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None if folder.is_empty() => break,
                Match::None => folder = folder.rsplit_once('/').map_or("", |(above, _)| above),
            }
        }
        self.own.as_ref().is_some_and(|rules| rules.matched(&absolute, is_folder).is_ignore())
    }
}

/// The rules in a file, for what is in a folder.
fn rules(root: &Root, file: &str, folder: &str) -> Option<Gitignore> {
    let mut text = String::new();
    root.file(file, Links::Never).ok()?.take(RULES_BYTES).read_to_string(&mut text).ok()?;
    let mut builder = GitignoreBuilder::new(format!("/{folder}"));
    for line in text.lines() {
        // A rule that cannot be read leaves nothing out.
        if let Err(error) = builder.add_line(None, line) {
            tracing::debug!(%error, "a rule of what to ignore is not understood");
        }
    }
    builder.build().ok().filter(|rules| !rules.is_empty())
}

/// A name in a folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_rules_count_more_and_gits_folder_never_shows() {
        let home = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("makes");
            std::fs::write(path, text).expect("writes");
        };
        write(".gitignore", "*.log\nnode_modules/\n/build\n!keep.log\n");
        write("sub/.gitignore", "!*.log\nlocal\n");
        write(".git/info/exclude", ".worktrees/\n");
        let root = Root::open(home.path()).expect("opens");
        let mut ignores = Ignores::of(&root);
        ignores.enter(&root, "");
        ignores.enter(&root, "sub");
        let table = [
            ("a.log", false, true),
            ("keep.log", false, false),
            ("sub/a.log", false, false),
            ("sub/local", false, true),
            ("local", false, false),
            ("node_modules", true, true),
            ("sub/node_modules", true, true),
            ("node_modules", false, false),
            ("build", true, true),
            ("sub/build", true, false),
            (".git", true, true),
            ("sub/.git", true, true),
            (".worktrees", true, true),
            ("src", true, false),
        ];
        for (path, is_folder, expected) in table {
            assert_eq!(ignores.leaves_out(path, is_folder), expected, "{path}");
        }
        ignores.leave("sub");
        assert!(ignores.leaves_out("sub/a.log", false));
    }
}
