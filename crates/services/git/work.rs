//! What an operation has git do in its turn: what comes before, the runs, and what their end means.
//!
//! Guarantees: what git leaves behind when it is broken off is cleared away, also by the next life of the server; what it
//! did behind a shadow is written down in the repository, however it ended.
//! It tells nothing but progress: the start and the end are told by `operation`.

use std::{path::Path, time::SystemTime};

use tidings_core::{Error, Result};

use super::{
    contract::{CONFLICT_PATHS, Kind, Progress, stopped},
    execute::{Bounds, Finished, Printed, Stop},
    failure, locks,
    names::WORKTREES,
    operation::{End, Operation, Pace},
    place::{Paths, Place, Purpose},
    registry::Reason,
    settle::{Asked, asked_by_a_rebase, leaving_out, waits_for_a_commit},
};

/// The most bytes of what git said in an event.
const OUTPUT: usize = 4096;
/// The most bytes of a list of paths in conflict, or of remotes.
const CONFLICT_BYTES: usize = 64 * 1024;
/// The most bytes of paths that are named beside those that were asked for: they are arguments of a program.
const MOST_HALVES_BYTES: usize = 512 * 1024;

/// What is not committed in a tree. What lies in repositories within is not looked at.
const CHANGES_OF_A_TREE: [&str; 4] = ["status", "--porcelain", "-z", "--ignore-submodules=all"];

/// Makes the folder of working trees, unless something leads elsewhere.
const WORKTREES_SCRIPT: &str = "test ! -L .worktrees && test ! -L .worktrees/.gitignore && mkdir -p .worktrees && \
                                printf '*\\n' > .worktrees/.gitignore";

impl Operation {
    /// Runs git, and says how that ended.
    pub(super) async fn work(&self, place: &Place) -> End {
        let (git, live) = (&self.repositories.git, &self.seat.live);
        if self.job.kind == Kind::WorktreeAdd
            && let Some(end) = self.prepare_worktrees(place).await
        {
            return end;
        }
        // Before git starts: what it leaves behind is known to be its own, also to the next life of the server.
        let began = locks::moment(self.repositories.ports.clock.now());
        let kept = git.remember(live.id.as_str(), &place.root, began).await;
        let end = self.prepared(place, began).await;
        let settled = git.settle(place, &self.job).await;
        git.forget(kept).await;
        match settled {
            Err(error) if matches!(end, End::Completed) => End::failed("git_failed", error.message()),
            _ => end,
        }
    }

    /// What comes before git does what it is for, and that.
    async fn prepared(&self, place: &Place, began: SystemTime) -> End {
        let (git, job) = (&self.repositories.git, &self.job);
        if let Some(end) = self.refused_of_a_rebase(place).await {
            return end;
        }
        // A server that was killed while it made the tree has left it without a repository.
        if let (Some(here), Some(name), Kind::WorktreeRemove) = (place.here(), job.tree(), job.kind)
            && let Err(error) = git.mend(&place.root, here, name).await
        {
            return End::failed("git_failed", error.message());
        }
        if let Some(end) = self.refused_of_others_within(place).await {
            return end;
        }
        let within = match self.left_out(place).await {
            Ok(within) => within,
            Err(error) => return End::failed("git_failed", error.message()),
        };
        let args = match self.arguments(place).await {
            Ok(args) => args,
            Err(end) => return end,
        };
        let run = |purpose, args, paths| self.run(place, purpose, args, paths, began);
        match (job.kind, leaving_out(job, &within)) {
            (Kind::Clone, _) => match run(job.purpose(), args, Paths::Literal).await {
                End::Completed => self.check_out(&place.root, began).await,
                end => end,
            },
            (Kind::Rebase, None) if job.goes_on_with_a_rebase() => self.go_on(place, args, began).await,
            (Kind::Commit, Some(add)) => match run(Purpose::Alone, add, Paths::Patterns).await {
                End::Completed => {
                    let args = args.into_iter().filter(|word| word != "--all").collect();
                    run(job.purpose(), args, Paths::Literal).await
                }
                end => end,
            },
            (_, Some(args)) => run(job.purpose(), args, Paths::Patterns).await,
            (_, None) => run(job.purpose(), args, Paths::Literal).await,
        }
    }

    /// The end of a rebase that asks for what the server does not do.
    async fn refused_of_a_rebase(&self, place: &Place) -> Option<End> {
        let (git, job) = (&self.repositories.git, &self.job);
        if job.kind != Kind::Rebase || job.purpose() != Purpose::Resume || git.config.repository_programs {
            return None;
        }
        let why = match asked_by_a_rebase(place).await {
            Asked::Programs if job.goes_on_with_a_rebase() => {
                "the rebase is to run programs (exec): take them out of its list, or abort it"
            }
            Asked::Other => {
                "the rebase joins commits (squash, fixup) or has set changes aside (autostash): finish it with git"
            }
            Asked::Nothing | Asked::Programs => return None,
        };
        Some(End::failed("program_refused", why))
    }

    /// Goes on with a rebase. What was staged is committed first: in the middle of a rebase git would start itself for
    /// that.
    async fn go_on(&self, place: &Place, args: Vec<String>, began: SystemTime) -> End {
        if waits_for_a_commit(place).await {
            let commit = ["commit", "--no-verify", "-C", "REBASE_HEAD"].map(str::to_owned).into();
            match self.run(place, Purpose::Resume, commit, Paths::Literal, began).await {
                End::Failed { code, .. } if code == "nothing_to_commit" || code == "conflict" => {}
                End::Completed => {}
                end => return end,
            }
        }
        self.run(place, Purpose::Resume, args, Paths::Literal, began).await
    }

    /// The end of what would have git look into repositories within that it cannot be kept out of.
    async fn refused_of_others_within(&self, place: &Place) -> Option<End> {
        let git = &self.repositories.git;
        if !self.job.looks_into_others() || git.config.repository_programs {
            return None;
        }
        match git.unnamed_within(place).await {
            Ok(within) if within.is_empty() => None,
            Ok(within) => {
                let why =
                    format!("git would look into repositories within, and run what they name: {}", within.join(", "));
                Some(End::failed("program_refused", why))
            }
            Err(error) => Some(End::failed("git_failed", error.message())),
        }
    }

    /// The repositories within that are left out of what is done.
    async fn left_out(&self, place: &Place) -> Result<Vec<String>> {
        match self.job.kind {
            Kind::Add | Kind::Commit => self.repositories.git.within(place).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Fills the directory of a clone, which git leaves empty: by then nobody but the server says how.
    async fn check_out(&self, root: &Path, began: SystemTime) -> End {
        let git = &self.repositories.git;
        let ready = async {
            let place = git.repository(root, Purpose::Change).await?;
            let has_commits = git.read(&place, &["rev-parse", "--verify", "--quiet", "HEAD"], OUTPUT).await?;
            Ok::<_, Error>((place, has_commits.status.success()))
        };
        match ready.await {
            Ok((place, true)) => {
                let args = ["checkout", "--progress", "--force", "--no-recurse-submodules", "HEAD", "--"];
                self.run(&place, Purpose::Alone, args.map(str::to_owned).into(), Paths::Literal, began).await
            }
            Ok((_, false)) => End::Completed,
            Err(error) => End::failed("git_failed", error.message()),
        }
    }

    /// Runs git once, and clears away what it left if it was broken off.
    async fn run(&self, place: &Place, purpose: Purpose, args: Vec<String>, paths: Paths, began: SystemTime) -> End {
        let (git, live) = (&self.repositories.git, &self.seat.live);
        let running = match git.start(place, purpose, &args, paths).await {
            Ok(running) => running,
            Err(error) => return End::failed("spawn_failed", error.message()),
        };
        git.programs.remember(live.id.as_str(), running.group.id()).await;
        let bounds = Bounds { grace: git.programs.grace(), timeout: git.config.operation_timeout };
        let mut pace = Pace::default();
        let mut hear = |progress: Progress| self.say(&mut pace, progress);
        match bounds.attend(running, Printed::Say, live.course.turned(), &mut hear).await {
            Ok(finished) => {
                if was_broken_off(&finished) {
                    git.clear(&place.root, began).await;
                }
                self.judge(place, finished).await
            }
            Err(error) => End::failed("git_failed", format!("git cannot be attended: {error}")),
        }
    }

    /// What git is called with: the job's own, and what only the repository can tell.
    async fn arguments(&self, place: &Place) -> Result<Vec<String>, End> {
        let mut args = self.job.args.clone();
        if self.job.kind == Kind::Unstage {
            let other_halves = self.repositories.git.other_halves(place, self.job.paths()).await;
            let other_halves = other_halves.map_err(|error| End::failed("git_failed", error.message()))?;
            if other_halves.iter().map(String::len).sum::<usize>() > MOST_HALVES_BYTES {
                return Err(End::failed("git_failed", "more renames than can be named at once: unstage \".\""));
            }
            args.extend(other_halves);
        }
        if let Some(name) = self.job.tree()
            && self.job.kind == Kind::WorktreeRemove
            && !self.job.is_forced()
            && self.holds_nothing(place, name).await?
        {
            args = self.job.forced();
        }
        Ok(args)
    }

    /// Whether nothing in a working tree would be lost with it. git would start itself in it to see. Where it cannot be
    /// seen, git may say so itself.
    async fn holds_nothing(&self, place: &Place, name: &str) -> Result<bool, End> {
        let git = &self.repositories.git;
        let looked = async {
            let Some(place) = git.in_tree(place, name).await? else { return Ok((false, true)) };
            let changes = git.read(&place, &CHANGES_OF_A_TREE, OUTPUT).await?;
            let is_seen = changes.status.success() || changes.stopped.is_some();
            Ok::<_, Error>((is_seen && git.within(&place).await?.is_empty(), changes.printed.is_empty()))
        };
        match looked.await {
            Ok((true, false)) => Err(End::failed("uncommitted", failure::advice("uncommitted"))),
            Ok((is_seen, _)) => Ok(is_seen),
            Err(_) => Ok(false),
        }
    }

    /// Makes the folder of working trees, with a list of its own that leaves all of it out. As a program, so that it
    /// is of the user that git runs as. The end of the operation, if that fails.
    async fn prepare_worktrees(&self, place: &Place) -> Option<End> {
        let git = &self.repositories.git;
        let bounds = Bounds { grace: git.programs.grace(), timeout: git.config.read_timeout };
        let done = match git.script(&place.root, WORKTREES_SCRIPT, &[]).start().await {
            Ok(running) => bounds.attend(running, Printed::Say, self.seat.live.course.turned(), &mut |_| ()).await,
            Err(error) => Err(error),
        };
        let failed =
            |why: String| Some(End::failed("git_failed", format!("the folder {WORKTREES} cannot be made: {why}")));
        match done {
            Ok(finished) if finished.status.success() => None,
            Ok(finished) => {
                failed(if finished.said.is_empty() { "it is a symbolic link".to_owned() } else { finished.said })
            }
            Err(error) => failed(error.to_string()),
        }
    }

    async fn judge(&self, place: &Place, finished: Finished) -> End {
        // What was done is done, also where somebody asked for the end meanwhile.
        if finished.status.success() {
            return End::Completed;
        }
        match (finished.stopped, self.seat.live.course.why()) {
            (Some(Stop::Timeout), _) => {
                return End::failed("timeout", "the operation took longer than git.operation_timeout allows");
            }
            (Some(_), Some(Reason::Cancelled(user))) => return End::Cancelled(user),
            (Some(_), Some(Reason::ServerStopped)) => return End::failed("server_stopped", stopped(false)),
            _ => {}
        }
        let git = &self.repositories.git;
        let said = git.config.redaction.redact(&finished.said).into_owned();
        let (mut code, mut message) = failure::of(&said);
        // Git takes the name of a remote that is not there for a folder, which the configuration may not allow.
        if code == failure::PROTOCOL && self.names_no_remote(place).await {
            (code, message) = (failure::NO_REMOTE, failure::advice(failure::NO_REMOTE).to_owned());
        }
        // A stash under a lock says nothing at all, or nothing that means something.
        if code == "locked" || (code == "git_failed" && self.job.kind == Kind::Stash) {
            let why = git.why_locked(&place.root).await;
            if code == "locked" || why.is_some() {
                code = "locked";
                message = why.unwrap_or_else(|| "another program held a lock of the repository: try again".to_owned());
            }
        }
        let conflicts = if code == "conflict" { self.conflicts(place).await } else { Vec::new() };
        let output = said[said.ceil_char_boundary(said.len().saturating_sub(OUTPUT))..].to_owned();
        End::Failed { code: code.to_owned(), message, output, conflicts }
    }

    /// Whether the remote that is named is none of the repository's.
    async fn names_no_remote(&self, place: &Place) -> bool {
        let named = self.job.args.iter().skip_while(|word| *word != "--").nth(1);
        let Some(named) = named.filter(|_| self.job.remote && self.job.kind != Kind::Clone) else { return false };
        let Ok(finished) = self.read_after(place, &["remote"]).await else { return false };
        finished.status.success() && !String::from_utf8_lossy(&finished.printed).lines().any(|remote| remote == named)
    }

    /// The paths that are in conflict.
    async fn conflicts(&self, place: &Place) -> Vec<String> {
        let args = ["diff", "--name-only", "--no-ext-diff", "--no-textconv", "--diff-filter=U", "-z"];
        let Ok(finished) = self.read_after(place, &args).await else { return Vec::new() };
        let printed = String::from_utf8_lossy(&finished.printed);
        printed.split_terminator('\0').take(CONFLICT_PATHS).map(str::to_owned).collect()
    }

    /// Reads the repository after git changed it.
    async fn read_after(&self, place: &Place, args: &[&str]) -> Result<Finished> {
        let git = &self.repositories.git;
        git.read(&git.to_read(place).await?, args, CONFLICT_BYTES).await
    }
}

/// Whether git did not end by itself: it may have left its locks behind. A wrapper tells a signal as a code.
fn was_broken_off(finished: &Finished) -> bool {
    !finished.status.success() && (finished.stopped.is_some() || finished.status.code().is_none_or(|code| code > 128))
}
