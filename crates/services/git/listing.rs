//! What git lists: commits, branches, working trees, and how many lines of which files changed.
//!
//! Guarantees: texts are separated by what cannot be in them, and what was cut off at the end is left out.
//! It is not the answer to a client: that is `reading`.

use schemars::JsonSchema;
use serde::Serialize;

/// The form of a commit for `git log -z --format`: so many fields, each ended by a NUL, which no commit holds.
pub(super) const COMMIT: &str = "--format=%H%x00%P%x00%an%x00%ae%x00%aI%x00%cI%x00%D%x00%s%x00%b";
const FIELDS: usize = 9;
/// The form of a branch for `git for-each-ref --format`.
pub(super) const BRANCH: &str = "--format=%(refname)%1f%(objectname)%1f%(upstream:short)%1f%(upstream:track,nobracket)%1f%(HEAD)%1f%(committerdate:iso-strict)%1f%(subject)";
/// The most bytes of a commit's text in a list.
const BODY: usize = 4096;

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitCommit")]
pub struct CommitInfo {
    /// Its id.
    pub id: String,
    /// The ids of its parents.
    pub parents: Vec<String>,
    /// Who wrote it.
    pub author: String,
    /// The address of who wrote it.
    pub email: String,
    /// When it was written.
    pub authored_at: String,
    /// When it was committed.
    pub committed_at: String,
    /// Branches and tags that point at it.
    pub refs: Vec<String>,
    /// The first line of its message.
    pub subject: String,
    /// The rest of its message, at most 4 KiB.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitBranch")]
pub struct BranchInfo {
    /// Its name.
    pub name: String,
    /// Whether it is a remote's, as it was when that was last fetched.
    pub remote: bool,
    /// The commit that it points at.
    pub commit: String,
    /// Whether it is checked out.
    pub current: bool,
    /// The branch that it follows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub upstream: String,
    /// How it stands to its upstream, in git's words, such as `ahead 1, behind 2` or `gone`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub track: String,
    /// When it was committed.
    pub committed_at: String,
    /// The first line of its message.
    pub subject: String,
}

/// A working tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitWorktree")]
pub struct WorktreeInfo {
    /// Its directory.
    pub path: String,
    /// The commit that is checked out there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The branch that is checked out there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether its directory is gone.
    pub prunable: bool,
}

/// How much of a file changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitFileChange")]
pub struct FileChange {
    /// The path.
    pub path: String,
    /// What it was called before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Lines that came; none of a binary file.
    pub added: Option<u64>,
    /// Lines that went; none of a binary file.
    pub removed: Option<u64>,
}

/// Reads commits in the form [`COMMIT`].
pub(super) fn commits(printed: &[u8]) -> Vec<CommitInfo> {
    let text = String::from_utf8_lossy(printed);
    let mut fields: Vec<&str> = text.split('\0').collect();
    // What no NUL ends was cut off.
    fields.pop();
    fields.chunks_exact(FIELDS).filter_map(commit).collect()
}

fn commit(fields: &[&str]) -> Option<CommitInfo> {
    let [id, parents, author, email, authored_at, committed_at, refs, subject, body] = *fields else { return None };
    let words = |text: &str, by: &str| text.split(by).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let body = body.trim_end();
    Some(CommitInfo {
        id: id.trim_start().to_owned(),
        parents: words(parents, " "),
        author: author.to_owned(),
        email: email.to_owned(),
        authored_at: authored_at.to_owned(),
        committed_at: committed_at.to_owned(),
        refs: words(refs, ", "),
        subject: subject.to_owned(),
        body: body[..body.floor_char_boundary(BODY)].to_owned(),
    })
}

/// Reads branches in the form [`BRANCH`].
pub(super) fn branches(printed: &[u8]) -> Vec<BranchInfo> {
    String::from_utf8_lossy(printed).lines().filter_map(branch).collect()
}

fn branch(line: &str) -> Option<BranchInfo> {
    let fields: Vec<&str> = line.splitn(7, '\x1f').collect();
    let [full, commit, upstream, track, head, committed_at, subject] = fields[..] else { return None };
    let remote = full.strip_prefix("refs/remotes/");
    let name = remote.or_else(|| full.strip_prefix("refs/heads/"))?;
    Some(BranchInfo {
        name: name.to_owned(),
        remote: remote.is_some(),
        commit: commit.to_owned(),
        current: head == "*",
        upstream: upstream.to_owned(),
        track: track.to_owned(),
        committed_at: committed_at.to_owned(),
        subject: subject.to_owned(),
    })
}

/// Reads `git worktree list --porcelain -z`.
pub(super) fn worktrees(printed: &[u8]) -> Vec<WorktreeInfo> {
    let text = String::from_utf8_lossy(printed);
    let mut trees = Vec::new();
    for record in text.split("\0\0").filter(|record| !record.is_empty()) {
        let mut tree = WorktreeInfo::default();
        for line in record.split('\0') {
            match line.split_once(' ') {
                Some(("worktree", path)) => tree.path = path.to_owned(),
                Some(("HEAD", id)) => tree.head = Some(id.to_owned()),
                Some(("branch", name)) => tree.branch = Some(name.trim_start_matches("refs/heads/").to_owned()),
                Some(("prunable", _)) => tree.prunable = true,
                _ => {}
            }
        }
        trees.push(tree);
    }
    trees
}

/// Reads `--numstat -z`, at most `limit` files. Says how many more there are.
pub(super) fn changes(printed: &[u8], limit: usize) -> (Vec<FileChange>, u64) {
    let text = String::from_utf8_lossy(printed);
    let mut records = text.split('\0');
    let (mut files, mut more) = (Vec::new(), 0);
    while let Some(record) = records.next() {
        // A commit's numbers begin in a line of their own.
        let mut fields = record.trim_start_matches('\n').splitn(3, '\t');
        let (Some(added), Some(removed), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (from, path) = if path.is_empty() {
            let (Some(from), Some(to)) = (records.next(), records.next()) else { break };
            (Some(from.to_owned()), to)
        } else {
            (None, path)
        };
        if files.len() == limit {
            more += 1;
            continue;
        }
        let (added, removed) = (added.parse().ok(), removed.parse().ok());
        files.push(FileChange { path: path.to_owned(), from, added, removed });
    }
    (files, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_and_branches_are_read_by_their_fields() {
        let fields =
            ["a1", "b1 c1", "A\x1fda", "a@x", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "HEAD -> main, tag: v1"];
        let log = format!("{}\0Subject\0Body\nmore\n\0a2\0\0Bob", fields.join("\0"));
        let commits = commits(log.as_bytes());
        assert_eq!(commits[0].author, "A\x1fda", "whatever somebody is called");
        assert_eq!(commits.len(), 1, "what was cut off is left out");
        assert_eq!((commits[0].parents.len(), commits[0].refs.len(), commits[0].body.as_str()), (2, 2, "Body\nmore"));
        let listed = "refs/heads/main\x1fa1\x1forigin/main\x1fahead 1\x1f*\x1f2026\x1fS\nrefs/remotes/origin/x\x1fa2\x1f\x1f\x1f \x1f2026\x1fT\nrefs/tags/v\x1fa\x1f\x1f\x1f\x1f\x1f\n";
        let branches = branches(listed.as_bytes());
        let seen: Vec<_> = branches.iter().map(|it| (it.name.as_str(), it.remote, it.current)).collect();
        assert_eq!(seen, [("main", false, true), ("origin/x", true, false)]);
    }

    #[test]
    fn working_trees_and_numbers_of_lines_are_read() {
        let listed = "worktree /r\0HEAD a1\0branch refs/heads/main\0\0worktree /r/.worktrees/a\0HEAD a2\0detached\0prunable gone\0\0";
        let trees = worktrees(listed.as_bytes());
        assert_eq!((trees[0].branch.as_deref(), trees[1].branch.as_deref()), (Some("main"), None));
        assert_eq!((trees[0].prunable, trees[1].prunable), (false, true));
        let (files, more) = changes(b"1\t2\ta b\0-\t-\tbin\x000\t0\t\0old\0new\0\n3\t4\tlast\0", 3);
        let seen: Vec<_> = files.iter().map(|it| (it.path.as_str(), it.added, it.from.as_deref())).collect();
        assert_eq!(seen, [("a b", Some(1), None), ("bin", None, None), ("new", Some(0), Some("old"))]);
        assert_eq!(more, 1);
    }
}
