//! Why git failed: a code for programs and what to do for people, from what it said.
//!
//! Guarantees: every failure has a code; what is not known is `git_failed` with git's own words.
//! It is no parser of git's messages beyond what it needs: they are in English, because the server asks so.

/// The code where a protocol is not allowed.
pub(super) const PROTOCOL: &str = "protocol_not_allowed";
/// The code where a remote is not there.
pub(super) const NO_REMOTE: &str = "remote_not_found";

/// A code, what git says in that case, and what to do.
const KNOWN: &[(&str, &[&str], &str)] = &[
    (
        "program_refused",
        &["cannot run ", "cannot exec ", "cannot fork", "unable to fork", "Could not run 'git status"],
        "git was to run a program that is not there, or that it may not run: if the operator's own configuration of git names it, see git.programs",
    ),
    (
        "conflict",
        &[
            "CONFLICT (",
            "could not apply",
            "needs merge",
            "Resolve all conflicts",
            "you have unmerged files",
            "have not concluded your merge",
            "unmerged files",
            "Pulling is not possible because",
        ],
        "there are conflicts: edit the files, add them, and continue; or abort",
    ),
    (
        "would_overwrite",
        &[
            "would be overwritten by",
            "Please commit your changes or stash them",
            "cannot rebase: You have unstaged",
            "Your index contains uncommitted changes",
            "cannot pull with rebase",
            "untracked working tree files would be",
            "already exists, no checkout",
        ],
        "changes that are not committed would be lost: commit or stash them first",
    ),
    (
        "auth_required",
        &[
            "could not read Username",
            "could not read Password",
            "Authentication failed",
            "Permission denied (publickey",
            "terminal prompts disabled",
            "Host key verification failed",
            "HTTP Basic: Access denied",
        ],
        "the remote does not let the server in: give its user a key or a credential helper, and the host's key",
    ),
    (
        "rejected",
        &[
            "[rejected]",
            "[remote rejected]",
            "non-fast-forward",
            "Not possible to fast-forward",
            "fetch first",
            "divergent branches",
            "Need to specify how to reconcile",
        ],
        "both sides have commits of their own: pull first, by a merge or a rebase",
    ),
    (
        "nothing_to_commit",
        &["nothing to commit", "nothing added to commit", "no changes added to commit"],
        "nothing is staged: add something first",
    ),
    (
        "nothing_to_stash",
        &["No local changes to save", "No stash entries found", "is not a valid reference", "is not a stash"],
        "there is nothing to put aside, or no such stash",
    ),
    (
        "identity_unknown",
        &[
            "Please tell me who you are",
            "empty ident name",
            "unable to auto-detect email address",
            "no email was given",
        ],
        "git does not know who commits: set user.name and user.email, in the repository or for the user that programs run as",
    ),
    (
        "locked",
        &[".lock': File exists", "Another git process seems to be running", "could not lock config file"],
        "another program changes the repository: try again; if none runs, git.unlock takes its lock away",
    ),
    (
        "no_upstream",
        &["no tracking information", "has no upstream branch", "There is no tracking"],
        "the branch follows none: name a remote and a branch, or push with setUpstream",
    ),
    (
        "unreachable",
        &[
            "Could not resolve host",
            "Could not resolve hostname",
            "Connection refused",
            "Connection timed out",
            "Network is unreachable",
            "Failed to connect",
            "early EOF",
            "unexpected disconnect",
            "the remote end hung up",
        ],
        "the remote cannot be reached, or broke off: try again",
    ),
    (PROTOCOL, &["transport '"], "the configuration does not allow this protocol: see git.protocols"),
    (
        NO_REMOTE,
        &[
            "does not appear to be a git repository",
            "Repository not found",
            "No such remote",
            "No remote repository specified",
            "No configured push destination",
            "Could not read from remote",
            "repository '",
            "not found in upstream",
            "couldn't find remote ref",
        ],
        "there is no such remote, or no such branch there",
    ),
    (
        "not_found",
        &[
            "did not match any file",
            "unknown revision",
            "not something we can merge",
            "invalid upstream",
            "not a valid object name",
            "invalid reference",
            "is not a working tree",
            "bad revision",
            "ambiguous argument",
        ],
        "there is no such branch, revision or path",
    ),
    (
        "exists",
        &["already exists", "already checked out", "is already used by worktree"],
        "that is there already, or checked out in another working tree",
    ),
    (
        "empty_repository",
        &["does not have a commit checked out"],
        "a folder is a repository of its own without a commit, which cannot be staged: commit something in it, remove its .git, or name other paths",
    ),
    ("ignored", &["are ignored by one of your .gitignore"], "the paths are ignored by .gitignore"),
    (
        "nothing_to_resume",
        &["There is no merge", "No rebase in progress", "no rebase in progress", "There is no merge in progress"],
        "there is nothing to continue or to abort",
    ),
    (
        "uncommitted",
        &["contains modified or untracked files"],
        "something in it is not committed: commit it, or use force",
    ),
    ("disk_full", &["No space left on device"], "the disk is full"),
];

/// What to do where this code is told.
pub(super) fn advice(code: &str) -> &'static str {
    KNOWN.iter().find(|(known, ..)| *known == code).map_or("", |(.., advice)| advice)
}

/// The code and what to do, from what git said.
pub(super) fn of(said: &str) -> (&'static str, String) {
    for (code, words, advice) in KNOWN {
        if words.iter().any(|word| said.contains(word)) {
            return (code, (*advice).to_owned());
        }
    }
    let telling = |line: &&str| line.starts_with("fatal: ") || line.starts_with("error: ");
    let line = said.lines().rev().find(telling).or_else(|| said.lines().next_back()).unwrap_or("it said nothing");
    ("git_failed", format!("git: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_there_once_and_says_what_to_do() {
        let codes: std::collections::BTreeSet<_> = KNOWN.iter().map(|(code, ..)| code).collect();
        assert_eq!(codes.len(), KNOWN.len());
        assert!(KNOWN.iter().all(|(_, words, advice)| !words.is_empty() && advice.len() > 10));
    }

    #[test]
    fn what_git_says_leads_to_a_code() {
        let table = [
            ("CONFLICT (content): Merge conflict in a\nAutomatic merge failed; fix conflicts", "conflict"),
            (
                "error: Your local changes to the following files would be overwritten by checkout:\n\ta",
                "would_overwrite",
            ),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", "auth_required"),
            ("! refs/heads/main:refs/heads/main [rejected] (fetch first)", "rejected"),
            ("fatal: Not possible to fast-forward, aborting.", "rejected"),
            ("nothing to commit, working tree clean", "nothing_to_commit"),
            ("fatal: Unable to create '/r/.git/index.lock': File exists.", "locked"),
            ("error: could not lock config file .git/config: File exists", "locked"),
            ("fatal: Unable to create '/r/.git/index.lock': Permission denied", "git_failed"),
            ("error: 'sub/' does not have a commit checked out\nfatal: adding files failed", "empty_repository"),
            ("fatal: transport 'ext' not allowed", "protocol_not_allowed"),
            ("fatal: '/r/none' does not appear to be a git repository", "remote_not_found"),
            ("error: pathspec 'none' did not match any file(s) known to git", "not_found"),
            ("fatal: a branch named 'x' already exists", "exists"),
            ("fatal: There is no merge to abort (MERGE_HEAD missing).", "nothing_to_resume"),
        ];
        for (said, code) in table {
            assert_eq!(of(said).0, code, "{said}");
        }
        assert_eq!(of("hint: x\nfatal: odd thing\nmore"), ("git_failed", "git: fatal: odd thing".to_owned()));
    }
}
