//! An operation as a command line of git.
//!
//! Guarantees: every text of an input stands where git takes no option, or is one that cannot be an option;
//! nothing is edited in an editor, and no submodule is touched.
//! It does not run anything, and knows no repository.

use tidings_core::{Error, Result};

use super::{
    contract::Kind,
    input::{
        Checkout, CloneFrom, Commit, Fetch, Merge, Paths, Pull, PullMode, Push, Rebase, Resume, Stash, StashAction,
        WorktreeAdd, WorktreeRemove,
    },
    names::{self, WORKTREES},
    place::Purpose,
};
use crate::project::ProjectId;

/// An operation: whose, what, and how git is called.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    pub(super) project_id: ProjectId,
    pub(super) kind: Kind,
    pub(super) args: Vec<String>,
    /// Whether it reaches for a remote.
    pub(super) remote: bool,
    /// The protocol that it needs besides what the repository has, of a clone.
    pub(super) protocol: Option<String>,
}

impl Job {
    fn of(project_id: ProjectId, kind: Kind, words: &[&str]) -> Self {
        let args = words.iter().map(|&word| word.to_owned()).collect();
        let remote = matches!(kind, Kind::Clone | Kind::Fetch | Kind::Pull | Kind::Push);
        Self { project_id, kind, args, remote, protocol: None }
    }

    /// What it takes of git.
    pub(super) fn purpose(&self) -> Purpose {
        let resumes = self.args.iter().any(|word| word == "--continue" || word == "--abort");
        match self.kind {
            Kind::Clone | Kind::Fetch | Kind::Pull | Kind::Push => Purpose::Reach,
            Kind::Merge | Kind::Rebase if resumes => Purpose::Resume,
            // What would be started looks into the tree, see `work`.
            Kind::WorktreeRemove => Purpose::Resume,
            Kind::Add | Kind::Unstage | Kind::Commit | Kind::Checkout | Kind::Rebase => Purpose::Alone,
            // Its commands call each other; so does a merge, to keep what is not committed.
            Kind::Merge | Kind::Stash | Kind::WorktreeAdd => Purpose::Change,
        }
    }

    /// The name of the working tree that it is about.
    pub(super) fn tree(&self) -> Option<&str> {
        let is_of_trees = matches!(self.kind, Kind::WorktreeAdd | Kind::WorktreeRemove);
        let mut words = self.args.iter().filter(|_| is_of_trees);
        words.find_map(|word| word.strip_prefix(WORKTREES)?.strip_prefix('/'))
    }

    /// Whether git, started by git for this, looks into repositories within of which no configuration says otherwise.
    pub(super) fn looks_into_others(&self) -> bool {
        match self.kind {
            Kind::Stash | Kind::Pull => true,
            Kind::Merge => self.purpose() == Purpose::Change,
            _ => false,
        }
    }

    /// Whether it removes a tree whatever would be lost with it.
    pub(super) fn is_forced(&self) -> bool {
        self.args.iter().any(|word| word == "--force")
    }

    /// The same, of a tree in which nothing would be lost.
    pub(super) fn forced(&self) -> Vec<String> {
        let mut args = self.args.clone();
        args.insert(2, "--force".to_owned());
        args
    }

    /// Whether it goes on with what an unfinished rebase still has to do.
    pub(super) fn goes_on_with_a_rebase(&self) -> bool {
        self.kind == Kind::Rebase && self.args.iter().any(|word| word == "--continue")
    }

    /// The paths that it is about, where it is about paths.
    pub(super) fn paths(&self) -> &[String] {
        let after = self.args.iter().position(|word| word == "--").map_or(self.args.len(), |at| at + 1);
        &self.args[after..]
    }

    fn word(mut self, word: impl Into<String>) -> Self {
        self.args.push(word.into());
        self
    }

    fn word_if(self, so: bool, word: &str) -> Self {
        if so { self.word(word) } else { self }
    }

    fn words(mut self, words: impl IntoIterator<Item = String>) -> Self {
        self.args.extend(words);
        self
    }
}

impl From<CloneFrom> for Job {
    fn from(input: CloneFrom) -> Self {
        let protocol = names::protocol(&input.url).to_owned();
        let job = Self::of(
            input.project_id,
            Kind::Clone,
            &["clone", "--progress", "--no-checkout", "--no-recurse-submodules"],
        )
        .words(input.depth.map(|depth| format!("--depth={depth}")))
        .words(input.branch.map(|branch| format!("--branch={branch}")));
        Self { protocol: Some(protocol), ..job.words(["--".to_owned(), input.url, ".".to_owned()]) }
    }
}

impl From<Checkout> for Job {
    fn from(input: Checkout) -> Self {
        Self::of(input.project_id, Kind::Checkout, &["checkout", "--quiet", "--progress", "--no-recurse-submodules"])
            .word_if(input.create, "-b")
            .word(input.branch)
            .words(input.from.filter(|_| input.create))
            // Without it a branch that is not there would be taken for a file.
            .word("--")
    }
}

impl Job {
    /// `git.add`.
    #[must_use]
    pub fn add(input: Paths) -> Self {
        Self::of(input.project_id, Kind::Add, &["add", "--all", "--"]).words(input.paths)
    }

    /// `git.unstage`.
    #[must_use]
    pub fn unstage(input: Paths) -> Self {
        Self::of(input.project_id, Kind::Unstage, &["reset", "--quiet", "--"]).words(input.paths)
    }
}

impl From<Commit> for Job {
    fn from(input: Commit) -> Self {
        Self::of(input.project_id, Kind::Commit, &["commit", "--quiet", "--no-edit", "--cleanup=strip"])
            .word_if(input.all, "--all")
            .word_if(input.amend, "--amend")
            .word(format!("--message={}", input.message))
    }
}

impl From<Stash> for Job {
    fn from(input: Stash) -> Self {
        let which = format!("stash@{{{}}}", input.index);
        let job = |action| Self::of(input.project_id, Kind::Stash, &["stash", action]);
        match input.action {
            StashAction::Push => job("push")
                .word_if(input.untracked, "--include-untracked")
                .words(input.message.map(|message| format!("--message={message}"))),
            StashAction::Pop => job("pop").word(which),
            StashAction::Apply => job("apply").word(which),
            StashAction::Drop => job("drop").word(which),
        }
    }
}

impl From<Fetch> for Job {
    fn from(input: Fetch) -> Self {
        let words = ["fetch", "--progress", "--no-recurse-submodules"];
        Self::of(input.project_id, Kind::Fetch, &words).word_if(input.prune, "--prune").word("--").words(input.remote)
    }
}

impl Job {
    /// `git.pull`.
    ///
    /// # Errors
    /// `invalid_data` for a branch without a remote.
    pub fn pull(input: Pull) -> Result<Self> {
        if input.branch.is_some() && input.remote.is_none() {
            return Err(Error::invalid_field("remote", "is needed where a branch is named"));
        }
        let mode = match input.mode {
            PullMode::FastForward => "--ff-only",
            PullMode::Merge => "--no-rebase",
            PullMode::Rebase => "--rebase",
        };
        let words = ["pull", "--progress", "--no-edit", "--no-recurse-submodules", mode];
        Ok(Self::of(input.project_id, Kind::Pull, &words)
            .word_if(input.mode == PullMode::Merge, "--ff")
            .word("--")
            .words(input.remote)
            .words(input.branch))
    }
}

impl From<Push> for Job {
    fn from(input: Push) -> Self {
        let words = ["push", "--progress", "--porcelain", "--no-recurse-submodules"];
        let branch = input.branch.map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
        Self::of(input.project_id, Kind::Push, &words)
            .word_if(input.set_upstream, "--set-upstream")
            .word_if(input.force_with_lease, "--force-with-lease")
            .word("--")
            .word(input.remote.unwrap_or_else(|| "origin".to_owned()))
            .word(branch)
    }
}

impl Job {
    /// `git.merge`.
    ///
    /// # Errors
    /// `invalid_data` unless there is a `rev` or a `resume`, and not both.
    pub fn merge(input: Merge) -> Result<Self> {
        let Merge { project_id, rev, resume, no_fast_forward, wait_ms: _ } = input;
        let job = |words: &[&str]| Self::of(project_id, Kind::Merge, words);
        match (rev, resume) {
            (Some(rev), None) => Ok(job(&["merge", "--progress", "--no-edit"])
                .word_if(no_fast_forward, "--no-ff")
                .word("--end-of-options")
                .word(rev)),
            (None, Some(Resume::Abort)) => Ok(job(&["merge", "--abort"])),
            (None, Some(Resume::Continue)) => Ok(job(&["merge", "--continue"])),
            _ => Err(Error::invalid_field("rev", "is given, or resume is, and not both")),
        }
    }

    /// `git.rebase`.
    ///
    /// # Errors
    /// `invalid_data` unless there is an `onto` or a `resume`, and not both.
    pub fn rebase(input: Rebase) -> Result<Self> {
        let Rebase { project_id, onto, resume, wait_ms: _ } = input;
        let job = |words: &[&str]| Self::of(project_id, Kind::Rebase, words);
        match (onto, resume) {
            (Some(onto), None) => Ok(job(&["rebase", "--no-autostash", "--end-of-options"]).word(onto)),
            (None, Some(Resume::Abort)) => Ok(job(&["rebase", "--abort"])),
            (None, Some(Resume::Continue)) => Ok(job(&["rebase", "--continue"])),
            _ => Err(Error::invalid_field("onto", "is given, or resume is, and not both")),
        }
    }
}

impl Job {
    /// Removes what is left of a working tree that git was killed over while it made it: twice forced, since git
    /// keeps it locked until then.
    pub(super) fn clear_half(project_id: ProjectId, name: &str) -> Self {
        let force = ["worktree", "remove", "--force", "--force", "--"];
        Self::of(project_id, Kind::WorktreeRemove, &force).words([format!("{WORKTREES}/{name}")])
    }
}

impl From<WorktreeAdd> for Job {
    fn from(input: WorktreeAdd) -> Self {
        let place = format!("{WORKTREES}/{}", input.name);
        let job = Self::of(input.project_id, Kind::WorktreeAdd, &["worktree", "add"]);
        match input.branch {
            Some(branch) if !input.create => job.words(["--".to_owned(), place, branch]),
            branch => {
                job.words(["-b".to_owned(), branch.unwrap_or(input.name), "--".to_owned(), place]).words(input.from)
            }
        }
    }
}

impl From<WorktreeRemove> for Job {
    fn from(input: WorktreeRemove) -> Self {
        Self::of(input.project_id, Kind::WorktreeRemove, &["worktree", "remove"])
            .word_if(input.force, "--force")
            .words(["--".to_owned(), format!("{WORKTREES}/{}", input.name)])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed<T: serde::de::DeserializeOwned>(mut input: serde_json::Value) -> T {
        input["projectId"] = json!("p1");
        serde_json::from_value(input).expect("an input")
    }

    #[test]
    fn what_clients_say_stands_after_the_options() {
        let line = |job: Job| job.args.join(" ");
        let clone = parsed::<CloneFrom>(json!({"url": "https://h/a", "depth": 3, "branch": "main"}));
        assert_eq!(
            line(clone.into()),
            "clone --progress --no-checkout --no-recurse-submodules --depth=3 --branch=main -- https://h/a ."
        );
        let add = Job::add(parsed(json!({"paths": ["-x", "b"]})));
        assert_eq!(add.paths(), ["-x", "b"]);
        assert_eq!(line(add), "add --all -- -x b");
        let unstage = Job::unstage(parsed(json!({"paths": ["--", "b"]})));
        assert_eq!(unstage.paths(), ["--", "b"]);
        let commit = parsed::<Commit>(json!({"message": "--amend", "all": true}));
        assert_eq!(line(commit.into()), "commit --quiet --no-edit --cleanup=strip --all --message=--amend");
        let push = parsed::<Push>(json!({"branch": "main"}));
        assert_eq!(line(push.into()), "push --progress --porcelain --no-recurse-submodules -- origin refs/heads/main");
        let merge = Job::merge(parsed(json!({"rev": "topic"}))).expect("a merge");
        assert_eq!(line(merge), "merge --progress --no-edit --end-of-options topic");
        let tree = parsed::<WorktreeAdd>(json!({"name": "a"}));
        assert_eq!(line(tree.into()), "worktree add -b a -- .worktrees/a");
    }

    #[test]
    fn a_merge_is_of_a_revision_or_goes_on_and_a_pull_of_a_branch_names_its_remote() {
        assert!(Job::merge(parsed(json!({}))).is_err());
        assert!(Job::merge(parsed(json!({"rev": "a", "resume": "abort"}))).is_err());
        assert!(Job::rebase(parsed(json!({"resume": "continue"}))).is_ok());
        assert!(Job::pull(parsed(json!({"branch": "main"}))).is_err());
    }
}
