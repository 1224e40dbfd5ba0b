//! What is left to do after git has changed something behind a shadow.
//!
//! Guarantees: which remote's branch one of the repository follows stands in the repository's own configuration; a working
//! tree knows its repository by that, and not by a shadow that is gone.
//! It decides nothing: it writes down what git did.

use std::path::{Path, PathBuf};

use tidings_core::{Code, Error, Result};

use super::{
    contract::Kind,
    execute::{Bounds, Finished, Git, Printed, Stop},
    failure,
    guard::note_of,
    job::Job,
    names::WORKTREES,
    place::{Here, Place, Purpose, Repository},
    settings::Settings,
    tools,
    trees::note,
};
use crate::{beneath::Root, blocking::blocking};

/// The most bytes of what is listed to find repositories within.
const LIST_BYTES: usize = 16 * 1024 * 1024;
/// The most repositories within that are left out by name: they are arguments of a program.
const MOST_WITHIN: usize = 1000;

/// The most bytes of what a rebase still has to do.
const REBASE_BYTES: u64 = 4 * 1024 * 1024;

/// Lets a tree name its repository. What is there is written over: it is git's, or a link of somebody's that leads
/// nowhere else behind the wall.
const MEND_SCRIPT: &str = "test ! -L .worktrees && test ! -L \"$1\" && test -f \"$1/.git\" && test ! -L \"$1/.git\" && \
                           printf 'gitdir: %s\\n' \"$2\" > \"$1/.git\"";

impl Git {
    /// Puts in order what a run left.
    ///
    /// # Errors
    /// `conflict` with why not.
    pub(super) async fn settle(&self, place: &Place, job: &Job) -> Result<()> {
        let Some(here) = place.here().filter(|here| here.shadow.is_some()) else { return Ok(()) };
        if let Some(name) = job.tree() {
            self.mend(&place.root, here, name).await?;
        }
        if let Some(now) = self.settings_of_shadow(place).await? {
            self.write_back(place, here, &now).await?;
        }
        Ok(())
    }

    /// Writes what branches follow into the repository's own configuration, where that changed.
    async fn write_back(&self, place: &Place, here: &Here, now: &Settings) -> Result<()> {
        let before: Vec<_> = here.settings.branches().collect();
        let news: Vec<_> = now.branches().filter(|setting| !before.contains(setting)).collect();
        let config = here.common.join("config");
        for (key, value) in news {
            let (key, value) = (text(&key)?, text(value)?);
            let path = config.to_string_lossy();
            let args = ["config", "--file", &path, "--replace-all", key, value];
            good(&self.run(&Place::without(place.root.clone()), Purpose::Alone, &args, 0).await?)?;
        }
        Ok(())
    }

    /// Lets a working tree that was made behind a shadow name its repository.
    pub(super) async fn mend(&self, root: &Path, here: &Here, name: &str) -> Result<()> {
        let (tree, given, common) = (format!("{WORKTREES}/{name}"), root.to_owned(), here.common.clone());
        let found = blocking({
            let tree = tree.clone();
            move || data_of(&given, &tree, &common)
        });
        match found.await? {
            Some((data, said)) if data != said => {
                self.script_done(root, MEND_SCRIPT, &[&tree, &data.to_string_lossy()]).await
            }
            _ => Ok(()),
        }
    }

    /// The repository of a project, in one of its working trees, to be read. Nothing, where that is none of it.
    ///
    /// # Errors
    /// As [`Git::repository`].
    pub(super) async fn in_tree(&self, place: &Place, name: &str) -> Result<Option<Place>> {
        let mut place = self.to_read(place).await?;
        let tree = format!("{WORKTREES}/{name}");
        let Repository::Here(here) = &mut place.repository else { return Ok(None) };
        let (root, common) = (place.root.clone(), here.common.clone());
        here.tree = root.join(&tree);
        let found = blocking(move || data_of(&root, &tree, &common)).await?;
        let Some((data, _)) = found else { return Ok(None) };
        here.git_dir = data;
        Ok(Some(place))
    }

    /// Runs a script of the server's own to its end.
    pub(super) async fn script_done(&self, root: &Path, script: &str, words: &[&str]) -> Result<()> {
        let failed = |why: String| Error::new(Code::Conflict, format!("the repository cannot be prepared: {why}"));
        let bounds = Bounds { grace: self.programs.grace(), timeout: self.config.read_timeout };
        let running = self.script(root, script, words).start().await.map_err(|error| failed(error.to_string()))?;
        let finished = bounds.attend(running, Printed::Say, std::future::pending(), &mut |_| ()).await;
        match finished {
            Ok(finished) if finished.status.success() => Ok(()),
            Ok(finished) => Err(failed(finished.said)),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// The repositories within that the index knows: git would look into each with that one's own configuration.
    pub(super) async fn within(&self, place: &Place) -> Result<Vec<String>> {
        let listed = self.read(place, &["ls-files", "--stage", "-z"], LIST_BYTES).await?;
        let is_cut = listed.stopped == Some(Stop::Enough);
        if !is_cut && !listed.status.success() {
            return Err(Error::new(Code::Conflict, failure::of(&listed.said).1));
        }
        if is_cut && !tools::holds_what_is_within(self, place) {
            let why = "the repository holds more files than can be looked at for other repositories";
            return Err(Error::new(Code::Conflict, why));
        }
        let within = linked(&listed.printed);
        if within.len() > MOST_WITHIN {
            return Err(Error::new(Code::Conflict, "the repository holds too many others"));
        }
        Ok(within)
    }
}

/// The paths of other repositories among what `git ls-files --stage -z` printed. What no NUL ends was cut off.
fn linked(printed: &[u8]) -> Vec<String> {
    let lines = printed.split_inclusive(|&byte| byte == 0).filter_map(|line| line.strip_suffix(b"\0"));
    let paths = lines.filter(|line| line.starts_with(b"160000 "));
    let paths = paths.filter_map(|line| line.splitn(2, |&byte| byte == b'\t').nth(1));
    paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

/// The words of a job, without the repositories within that the index knows; and whether they hold patterns now.
pub(super) fn leaving_out(job: &Job, within: &[String]) -> Option<Vec<String>> {
    if within.is_empty() {
        return None;
    }
    let out = within.iter().map(|path| format!(":(exclude,literal){path}"));
    let given = job.args.iter().skip_while(|word| *word != "--").skip(1).map(|path| format!(":(literal){path}"));
    match job.kind {
        Kind::Add => Some(["add", "--all", "--"].map(str::to_owned).into_iter().chain(given).chain(out).collect()),
        Kind::Commit if job.args.iter().any(|word| word == "--all") => {
            Some(["add", "--update", "--", ":(literal)."].map(str::to_owned).into_iter().chain(out).collect())
        }
        _ => None,
    }
}

/// Where the repository keeps what it notes of a tree, and where the tree says that it does; nothing, where it is none.
fn data_of(root: &Path, tree: &str, common: &Path) -> Option<(PathBuf, PathBuf)> {
    let note = note(&Root::open(root).ok()?, &format!("{tree}/.git"))?;
    let said = Path::new(note.strip_prefix("gitdir:")?.trim());
    let data = common.canonicalize().ok()?.join("worktrees").join(said.file_name()?);
    data.is_dir().then(|| (data, said.to_owned()))
}

/// What an unfinished rebase asks for that the server does not do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing.
    Nothing,
    /// It runs programs.
    Programs,
    /// It goes on with two commits as one, or puts back what was not committed: git starts itself for that.
    Other,
}

/// Looks at what an unfinished rebase still has to do. The answer is for people: what git runs by these files, which may
/// be others by then, the kernel holds.
pub(super) async fn asked_by_a_rebase(place: &Place) -> Asked {
    let Some(here) = place.here() else { return Asked::Nothing };
    let folder = here.git_dir.join("rebase-merge");
    let look = move || {
        if ["autostash", "message-squash", "message-fixup"].iter().any(|name| is_there(&folder.join(name))) {
            return Asked::Other;
        }
        let list = folder.join("git-rebase-todo");
        let is_program = |line: &str| matches!(line.split_whitespace().next(), Some("exec" | "x"));
        let names = || note_of(&list, REBASE_BYTES).is_none_or(|list| list.lines().any(is_program));
        if is_there(&list) && names() { Asked::Programs } else { Asked::Nothing }
    };
    // What cannot be looked at is not done.
    blocking(look).await.unwrap_or(Asked::Programs)
}

/// Whether a rebase waits for a commit of what was staged, as after a conflict.
pub(super) async fn waits_for_a_commit(place: &Place) -> bool {
    let Some(here) = place.here() else { return false };
    let git_dir = here.git_dir.clone();
    let is = move |name: &str| is_there(&git_dir.join(name));
    // With a file `amend` it stopped to let a commit be changed.
    let look = move || is("rebase-merge") && is("REBASE_HEAD") && !is("rebase-merge/amend");
    blocking(look).await.unwrap_or(false)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::new(Code::Conflict, "a name of a branch is no text in UTF-8"))
}

fn good(finished: &Finished) -> Result<()> {
    if finished.status.success() {
        return Ok(());
    }
    let why = format!("what the branch follows cannot be written into the configuration: {}", finished.said.trim());
    Err(Error::new(Code::Conflict, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_within_are_known_by_their_mode_and_a_name_that_was_cut_off_is_none() {
        let printed = b"100644 a1 0\tfile\x00160000 b2 0\twith\tin\x00160000 c3 0\tin/\xff\x00160000 d4 0\tcut of";
        assert_eq!(linked(printed), ["with\tin", "in/\u{fffd}"]);
        assert_eq!(linked(b""), Vec::<String>::new());
    }
}
