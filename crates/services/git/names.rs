//! What may be a path, a revision, a branch, a remote or an address: the rules of every input.
//!
//! Guarantees: whatever passes can be an argument of git without becoming an option of it, and a path stays
//! below the project's root by its name alone. Beside each rule stands its pattern, for the schemas: a test holds
//! the two together.
//! It does not know what is there: that is git's to say.

use std::path::{Component, Path};

use validator::ValidationError;

/// The longest path or name, in bytes.
pub(crate) const LONGEST: usize = 4096;
/// The most paths of one command, and the most bytes of them all: they are arguments of a program.
pub(super) const MOST_PATHS: usize = 1000;
const MOST_PATH_BYTES: usize = 64 * 1024;

/// The members of a class of white space and control characters, as Unicode has them: what `\s` is differs.
macro_rules! spaces {
    () => {
        r"\x00-\x20\x7F-\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000"
    };
}

fn refuse(why: &'static str) -> ValidationError {
    ValidationError::new("name").with_message(why.into())
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.starts_with('-') && !text.chars().any(char::is_control)
}

/// What [`a_path`] takes, but for its length.
pub(crate) const PATH: &str = r"^(?!/)(?!([^\x00]*/)?\.\.(/|$))[^\x00]+$";

/// A path below the root, such as `src/main.rs`; `.` is the root. Whatever a file may be called, it can be named.
pub(crate) fn a_path(text: &str) -> Result<(), ValidationError> {
    if text.is_empty() || text.len() > LONGEST || text.contains('\0') {
        return Err(refuse("is a path of 1 to 4096 bytes without a NUL"));
    }
    let outside = |part: Component<'_>| !matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(text).components().any(outside) {
        return Err(refuse("is a path inside the project: relative, and without '..'"));
    }
    Ok(())
}

/// What each of [`paths`] is, but for its length.
pub(super) const PATH_FOR_GIT: &str = r"^(?!/)(?!([^\x00]*/)?\.\.(/|$))(?!([^\x00]*/)?\.[gG][iI][tT](/|$))[^\x00]+$";

/// Paths for git: none of them its own folder.
pub(super) fn paths(paths: &[String]) -> Result<(), ValidationError> {
    if paths.is_empty() || paths.len() > MOST_PATHS || paths.iter().map(String::len).sum::<usize>() > MOST_PATH_BYTES {
        return Err(refuse("are 1 to 1000 paths, together at most 64 KiB: name a folder for more"));
    }
    for path in paths {
        a_path(path)?;
        let is_git = |part: Component<'_>| part.as_os_str().eq_ignore_ascii_case(".git");
        if Path::new(path).components().any(is_git) {
            return Err(refuse("are not in git's own folder"));
        }
    }
    Ok(())
}

/// What [`revision`] takes, but for its length.
pub(super) const REVISION: &str = concat!(r"^(?![-^])(?!.*\.\.)[^:?*\[\\", spaces!(), r"]+$");

/// A revision, such as `HEAD~2`, `v1.0`, `origin/main` or a commit's id. No range, and no path in a commit.
pub(super) fn revision(text: &str) -> Result<(), ValidationError> {
    let odd = |c: char| c.is_whitespace() || ":?*[\\".contains(c);
    if !is_plain(text) || text.len() > 256 || text.starts_with('^') || text.contains("..") || text.contains(odd) {
        return Err(refuse("is one revision, such as HEAD~1, a branch, a tag or a commit's id"));
    }
    Ok(())
}

/// What [`cursor`] takes.
pub(super) const CURSOR: &str = "^[0-9a-fA-F]{40,64}-[0-9]{1,9}$";

/// A cursor of the log: a commit, and how many commits from it on were seen.
pub(super) fn cursor(text: &str) -> Result<(), ValidationError> {
    parse_cursor(text).map(drop).ok_or_else(|| refuse("is the cursor of an earlier page"))
}

/// The commit and the number in a cursor.
pub(super) fn parse_cursor(text: &str) -> Option<(&str, u32)> {
    let (commit, seen) = text.split_once('-')?;
    let is_id = (40..=64).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit());
    let is_number = (1..=9).contains(&seen.len()) && seen.bytes().all(|b| b.is_ascii_digit());
    Some((commit, seen.parse().ok()?)).filter(|_| is_id && is_number)
}

/// What [`branch`] takes, but for its length.
pub(super) const BRANCH: &str = concat!(
    r"^(?!-)(?!(HEAD|@)$)(?!refs/)(?!.*(\.\.|@\{|\.$|\.lock(/|$)))(?!(.*/)?\.)",
    r"[^~^:?*\[\\/",
    spaces!(),
    r"]+(/[^~^:?*\[\\/",
    spaces!(),
    r"]+)*$"
);

/// A branch's name, by the rules of `git check-ref-format`.
pub(super) fn branch(text: &str) -> Result<(), ValidationError> {
    let odd = |c: char| c.is_whitespace() || "~^:?*[\\".contains(c);
    let part_is_odd = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    let wrong = !is_plain(text)
        || text.len() > 200
        || text == "HEAD"
        || text.starts_with("refs/")
        || text == "@"
        || text.contains("..")
        || text.contains("@{")
        || text.ends_with('.')
        || text.contains(odd)
        || text.split('/').any(part_is_odd);
    if wrong { Err(refuse("is a branch's name, as git check-ref-format has it")) } else { Ok(()) }
}

/// What [`remote`] takes.
pub(super) const REMOTE: &str = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$";

/// The name of a configured remote, such as `origin`; never an address.
pub(super) fn remote(text: &str) -> Result<(), ValidationError> {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !is_plain(text) || text.len() > 100 || text.starts_with('.') || !text.chars().all(known) {
        return Err(refuse("is the name of a remote of the repository, such as origin"));
    }
    Ok(())
}

/// The folder that further working trees lie in.
pub(super) const WORKTREES: &str = ".worktrees";

/// What [`worktree`] takes.
pub(super) const WORKTREE: &str = "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$";

/// The name of a working tree: one segment of a path.
pub(super) fn worktree(text: &str) -> Result<(), ValidationError> {
    if !is_plain(text) || !tidings_core::id::is_segment(text) || text.len() > 64 {
        return Err(refuse("is 1 to 64 letters, digits, '_' or '-', and begins with no '-'"));
    }
    Ok(())
}

/// What [`address`] takes, but for its length.
pub(super) const ADDRESS: &str = concat!(
    r"^(?!-)(?!.*::)(?!((?!://).)*://[^/]*:[^/]*@)(?!((?!://).)*://([^/]*@)?-[^@/]*(/|$))",
    r"[^",
    spaces!(),
    r"]+$"
);

/// An address to clone from, such as `https://host/path` or `user@host:path`, without a password. Whether its
/// protocol is allowed is configured.
pub(super) fn address(text: &str) -> Result<(), ValidationError> {
    if !is_plain(text) || text.len() > 2048 || text.contains("::") || text.contains(char::is_whitespace) {
        return Err(refuse("is an address, such as https://host/path or user@host:path"));
    }
    let authority = text.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    if user.is_some_and(|user| user.contains(':')) {
        return Err(refuse("holds no password: it would stay in the repository; use a credential helper or a key"));
    }
    let host = authority.map(|authority| authority.rsplit('@').next().unwrap_or_default());
    if host.is_some_and(|host| host.starts_with('-')) {
        return Err(refuse("names a host"));
    }
    Ok(())
}

/// The protocol of an address, as git sees it: `ssh` for `user@host:path`, `file` for a path.
pub(super) fn protocol(address: &str) -> &str {
    if let Some((protocol, _)) = address.split_once("://") {
        return protocol;
    }
    let (before, colon) = address.split_once(':').map_or((address, false), |(before, _)| (before, true));
    if colon && !before.contains('/') { "ssh" } else { "file" }
}

/// The longest text for people, in bytes.
pub(super) const MESSAGE_BYTES: usize = 64 * 1024;

/// What [`a_message`] takes, but for its length.
pub(super) const MESSAGE: &str =
    concat!(r"^[^\x00]*[^\x00\x09-\x0D\x20\x85\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]", r"[^\x00]*$");

/// A text for people, such as a commit's message: no NUL, and something in it.
pub(super) fn a_message(text: &str) -> Result<(), ValidationError> {
    if text.trim().is_empty() || text.len() > MESSAGE_BYTES || text.contains('\0') {
        return Err(refuse("is 1 byte to 64 KiB of text"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts in which the parts that rules speak of come together often.
    fn texts() -> impl Strategy<Value = String> {
        const PARTS: [&str; 43] = [
            "a",
            "B",
            "7",
            "/",
            "//",
            ".",
            "..",
            "...",
            "-",
            "@",
            "@{",
            "^",
            "~",
            ":",
            "::",
            "://",
            "?",
            "*",
            "[",
            "\\",
            " ",
            "\t",
            "\n",
            "\u{0}",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{2028}",
            "\u{3000}",
            "\u{feff}",
            "é",
            "\u{1F980}",
            ".git",
            ".GIT",
            ".lock",
            "HEAD",
            "refs/",
            "user:",
            "host",
            "{",
            "}",
            "_",
            "é.",
        ];
        proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn each_rule_takes_what_its_pattern_takes(text in texts()) {
            type Rule = fn(&str) -> Result<(), ValidationError>;
            let for_git: Rule = |text| paths(&[text.to_owned()]);
            let rules: [(&str, Rule); 9] = [
                (PATH, a_path), (PATH_FOR_GIT, for_git), (REVISION, revision), (CURSOR, cursor), (BRANCH, branch),
                (REMOTE, remote), (WORKTREE, worktree), (ADDRESS, address), (MESSAGE, a_message),
            ];
            for (pattern, rule) in rules {
                let schema = serde_json::json!({ "pattern": pattern });
                let fits = jsonschema::is_valid(&schema, &text.clone().into());
                prop_assert_eq!(rule(&text).is_ok(), fits, "{}", pattern);
            }
        }
    }

    #[test]
    fn a_cursor_is_a_commit_and_a_number() {
        let commit = "a1".repeat(20);
        for (text, good) in
            [(format!("{commit}-7"), true), (format!("{commit}-+7"), false), (format!("{commit}-"), false)]
        {
            assert_eq!(cursor(&text).is_ok(), good, "{text}");
            assert_eq!(jsonschema::is_valid(&serde_json::json!({ "pattern": CURSOR }), &text.into()), good);
        }
    }

    #[test]
    fn nothing_that_passes_is_an_option_or_leaves_the_root() {
        let options = ["-x", "--upload-pack=sh", "--", ""];
        type Rule = fn(&str) -> Result<(), ValidationError>;
        let rules: [Rule; 5] = [revision, branch, remote, worktree, address];
        for (rule, text) in rules.iter().flat_map(|rule| options.iter().map(move |text| (rule, text))) {
            assert!(rule(text).is_err(), "{text}");
        }
        for path in ["", "/etc/passwd", "..", "a/../../b", "a\0b", "..\0"] {
            assert!(a_path(path).is_err(), "{path:?}");
        }
        assert!([".git/config", "a/.GIT/x"].iter().all(|path| paths(&[(*path).to_owned()]).is_err()));
        let odd = [".", "a", "a/b c", "./a", "-x", ":(top)a", "a\nb", "a\tb", "\u{1b}[0m", "..\n"];
        assert!(odd.iter().all(|path| paths(&[(*path).to_owned()]).is_ok()));
        assert!(paths(&[]).is_err() && paths(&vec!["a".to_owned(); 1001]).is_err());
    }

    #[test]
    fn revisions_and_branches_follow_the_rules_of_git() {
        for good in ["HEAD", "HEAD~2", "v1.0", "origin/main", "main@{u}", "stash@{0}", "a1b2c3", "v1^{commit}"] {
            assert!(revision(good).is_ok(), "{good}");
        }
        for bad in ["a..b", "a...b", "HEAD:secret", "^main", ":/text", "a b", "a\nb", "main:", "a*"] {
            assert!(revision(bad).is_err(), "{bad}");
        }
        for good in ["main", "feature/x-1", "ü", "a.b"] {
            assert!(branch(good).is_ok(), "{good}");
        }
        for bad in ["HEAD", "@", "a..b", "a/", "/a", "a//b", ".a", "a/.b", "a.lock", "a.", "a@{1}", "a~1", "refs/x"] {
            assert!(branch(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_a_protocol_and_no_password() {
        let table = [
            ("https://host/a.git", Some("https")),
            ("ssh://git@host:22/a.git", Some("ssh")),
            ("git@host:a/b.git", Some("ssh")),
            ("/srv/a.git", Some("file")),
            ("./a:b", Some("file")),
            ("file:///srv/a.git", Some("file")),
            ("https://user:secret@host/a.git", None),
            ("ext::sh -c id", None),
            ("ssh://-oProxyCommand=id/a", None),
            ("https://host/a b", None),
        ];
        for (text, expected) in table {
            assert_eq!(address(text).ok().map(|()| protocol(text)), expected, "{text}");
        }
    }
}
