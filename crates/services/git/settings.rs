//! What of a repository's own configuration is used: names of a list, with values of a kind that starts no program.
//!
//! Guarantees: whatever is not on the list is not there; no value leads git to a program, to a file or to an address
//! that is none; what comes out is a file of configuration, whatever stood in the repository's.
//! It is not the configuration of the system user or of the system: those are the operator's, and hold beside it.

use std::collections::BTreeSet;

use tidings_core::{Code, Error, Result};

use super::names::LONGEST;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Flag,
    Number,
    /// One of these words.
    Word(&'static [&'static str]),
    /// True, false, or one of these words.
    FlagOr(&'static [&'static str]),
    /// A text of one line.
    Line,
    /// A name, such as a remote's, or `.`.
    Name,
    /// Where a remote is.
    Address,
}

/// Whose a setting is: what stands between its section and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    All,
    Each,
}

use Kind::{Address, Flag, FlagOr, Line, Name, Number, Word};
use Of::{All, Each};

/// A section, whose its settings are, and what each of them is, in lower case.
type Section = (&'static str, Of, &'static [(&'static str, Kind)]);

/// Every setting that is taken over, by the lower case of its section and its name.
const LIST: &[Section] = &[
    (
        "core",
        All,
        &[
            ("repositoryformatversion", Word(&["0", "1"])),
            ("filemode", Flag),
            ("ignorecase", Flag),
            ("symlinks", Flag),
            ("precomposeunicode", Flag),
            ("protecthfs", Flag),
            ("protectntfs", Flag),
            ("trustctime", Flag),
            ("checkstat", Word(&["default", "minimal"])),
            ("autocrlf", FlagOr(&["input"])),
            ("eol", Word(&["lf", "crlf", "native"])),
            ("safecrlf", FlagOr(&["warn"])),
            ("logallrefupdates", FlagOr(&["always"])),
            ("sharedrepository", FlagOr(&["umask", "group", "all", "world", "everybody", "0640", "0660", "0664"])),
            ("sparsecheckout", Flag),
            ("sparsecheckoutcone", Flag),
            ("untrackedcache", FlagOr(&["keep"])),
            ("splitindex", Flag),
            ("preloadindex", Flag),
            ("multipackindex", Flag),
            ("commitgraph", Flag),
            ("compression", Number),
            ("loosecompression", Number),
            ("bigfilethreshold", Number),
            ("abbrev", Number),
        ],
    ),
    ("extensions", All, EXTENSIONS),
    (
        "remote",
        Each,
        &[
            ("url", Address),
            ("pushurl", Address),
            ("fetch", Line),
            ("push", Line),
            ("mirror", FlagOr(&["fetch", "push"])),
            ("prune", Flag),
            ("prunetags", Flag),
            ("tagopt", Word(&["--tags", "--no-tags"])),
            ("skipdefaultupdate", Flag),
            ("skipfetchall", Flag),
            ("promisor", Flag),
            ("partialclonefilter", Line),
        ],
    ),
    ("remote", All, &[("pushdefault", Name)]),
    ("branch", Each, BRANCH),
    ("branch", All, &[("autosetupmerge", FlagOr(&["always", "inherit", "simple"])), ("autosetuprebase", REBASING)]),
    ("user", All, &[("name", Line), ("email", Line), ("useconfigonly", Flag)]),
    ("author", All, &[("name", Line), ("email", Line)]),
    ("committer", All, &[("name", Line), ("email", Line)]),
    ("pull", All, &[("rebase", FlagOr(&["merges"])), ("ff", FlagOr(&["only"]))]),
    (
        "push",
        All,
        &[
            ("default", Word(&["nothing", "current", "upstream", "tracking", "simple", "matching"])),
            ("autosetupremote", Flag),
            ("followtags", Flag),
            ("useforceifincludes", Flag),
        ],
    ),
    (
        "merge",
        All,
        &[
            ("ff", FlagOr(&["only"])),
            ("conflictstyle", Word(&["merge", "diff3", "zdiff3"])),
            ("renames", FlagOr(&["copies"])),
            ("directoryrenames", FlagOr(&["conflict"])),
            ("renamelimit", Number),
            ("defaulttoupstream", Flag),
        ],
    ),
    (
        "diff",
        All,
        &[
            ("renames", FlagOr(&["copies", "copy"])),
            ("renamelimit", Number),
            ("algorithm", Word(&["default", "myers", "minimal", "patience", "histogram"])),
            ("context", Number),
            ("interhunkcontext", Number),
            ("indentheuristic", Flag),
        ],
    ),
    ("status", All, &[("renames", FlagOr(&["copies", "copy"])), ("renamelimit", Number)]),
    ("fetch", All, &[("prune", Flag), ("prunetags", Flag), ("unpacklimit", Number)]),
    ("checkout", All, &[("defaultremote", Name), ("guess", Flag)]),
    ("rebase", All, &[("updaterefs", Flag), ("rebasemerges", Flag), ("autosquash", Flag)]),
    ("rerere", All, &[("enabled", Flag), ("autoupdate", Flag)]),
    ("index", All, &[("version", Word(&["2", "3", "4"]))]),
    ("i18n", All, &[("commitencoding", Name), ("logoutputencoding", Name)]),
];

/// What stands for an address that is not used: of a protocol that nobody allows, as git says then.
const REFUSED: &[u8] = b"refused::";

const REBASING: Kind = Word(&["never", "local", "remote", "always"]);

/// What is kept of a branch, and written by git where one follows another.
const BRANCH: &[(&str, Kind)] =
    &[("remote", Name), ("pushremote", Name), ("merge", Line), ("rebase", FlagOr(&["merges"]))];

/// The forms of a repository that are known. One that says it has another is not read: what it is would be guessed.
const EXTENSIONS: &[(&str, Kind)] = &[
    ("noop", Flag),
    ("preciousobjects", Flag),
    ("partialclone", Name),
    ("objectformat", Word(&["sha1", "sha256"])),
    ("refstorage", Word(&["files", "reftable"])),
    ("relativeworktrees", Flag),
];

/// A setting: its section and name in lower case, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    section: String,
    of: Option<Vec<u8>>,
    name: String,
    value: Vec<u8>,
}

/// What is used of a repository's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings(Vec<Setting>);

/// The parts of `git config --list -z`: names, and values where there is one.
fn listed(printed: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    printed.split(|&byte| byte == 0).filter(|part| !part.is_empty()).map(|part| {
        match part.iter().position(|&byte| byte == b'\n') {
            Some(at) => (&part[..at], Some(&part[at + 1..])),
            None => (part, None),
        }
    })
}

/// The section, whose, and the name of a setting.
fn parts(key: &[u8]) -> Option<(String, Option<Vec<u8>>, String)> {
    let first = key.iter().position(|&byte| byte == b'.')?;
    let last = key.iter().rposition(|&byte| byte == b'.')?;
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_ascii_lowercase);
    let of = (last > first).then(|| key[first + 1..last].to_vec());
    Some((text(&key[..first])?, of, text(&key[last + 1..])?))
}

impl Settings {
    /// Of what `git config --list -z` printed of the repository's own file. `protocols` are those that remotes may be
    /// reached by.
    ///
    /// # Errors
    /// `conflict` for a repository of a form that is not known.
    pub(super) fn of(printed: &[u8], protocols: &[String]) -> Result<Self> {
        let mut settings = Vec::new();
        for (key, value) in listed(printed) {
            let Some((section, of, name)) = parts(key) else { continue };
            let known = LIST.iter().filter(|(its, whose, _)| *its == section && (*whose == Each) == of.is_some());
            let kind = known.flat_map(|(.., names)| names.iter()).find(|(its, _)| *its == name).map(|&(_, kind)| kind);
            let value = value.unwrap_or(b"true");
            let of_name = of.as_deref().is_none_or(|of| is_line(of) && !of.is_empty());
            match kind {
                Some(kind) if of_name && kind.takes(value, protocols) => {
                    settings.push(Setting { section, of, name, value: value.to_vec() });
                }
                // A remote without an address would be none, and nobody would hear why.
                Some(Address) if of_name => {
                    settings.push(Setting { section, of, name, value: REFUSED.to_vec() });
                }
                _ if section == "extensions" && name != "worktreeconfig" => return Err(unknown_form(&name)),
                // Another version is another form.
                _ if section == "core" && name == "repositoryformatversion" => return Err(unknown_form(&name)),
                _ => {}
            }
        }
        Ok(Self(settings))
    }

    /// Adds those of a working tree, which hold before.
    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0.into_iter().filter(|it| it.section != "extensions"));
    }

    /// Whether objects that are missing are fetched when they are needed.
    pub(super) fn is_partial(&self) -> bool {
        self.0
            .iter()
            .any(|it| matches!((&*it.section, &*it.name), ("remote", "promisor") | ("extensions", "partialclone")))
    }

    /// A file of configuration that says this, and of each of these submodules that nothing is looked for in it.
    pub(super) fn file(&self, submodules: &BTreeSet<Vec<u8>>) -> Vec<u8> {
        let mut file = Vec::new();
        for Setting { section, of, name, value } in &self.0 {
            write(&mut file, section, of.as_deref(), name, value);
        }
        // After all others: the last one holds.
        write(&mut file, "core", None, "bare", b"false");
        for name in submodules {
            write(&mut file, "submodule", Some(name), "ignore", b"dirty");
        }
        file
    }

    /// What branches follow: a key for git and its value.
    pub(super) fn branches(&self) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
        self.0.iter().filter(|it| it.section == "branch").filter_map(|it| {
            let key = [b"branch.", it.of.as_deref()?, b".", it.name.as_bytes()].concat();
            Some((key, it.value.as_slice()))
        })
    }
}

/// The names of submodules, from what `git config --list -z` printed of `.gitmodules`.
pub(super) fn submodules(printed: &[u8]) -> BTreeSet<Vec<u8>> {
    let named = listed(printed).filter_map(|(key, _)| parts(key));
    named.filter(|(section, ..)| section == "submodule").filter_map(|(_, of, _)| of).filter(|of| is_line(of)).collect()
}

/// Where those are whose names [`submodules`] gives.
pub(super) fn places_of_submodules(printed: &[u8]) -> BTreeSet<String> {
    let of_one = |(key, value): (&[u8], Option<&[u8]>)| {
        let (section, of, name) = parts(key)?;
        let is_known = section == "submodule" && name == "path" && of.is_some_and(|of| is_line(&of));
        is_known.then(|| String::from_utf8_lossy(value.unwrap_or_default()).into_owned())
    };
    listed(printed).filter_map(of_one).collect()
}

fn unknown_form(name: &str) -> Error {
    let why = format!("the repository has a form that the server does not know ({name}): it is not read");
    Error::new(Code::Conflict, why)
}

/// Whether it is a text that stays in its line.
fn is_line(value: &[u8]) -> bool {
    value.len() <= LONGEST && !value.iter().any(u8::is_ascii_control)
}

fn is_flag(value: &str) -> bool {
    ["true", "yes", "on", "1", "false", "no", "off", "0", ""].iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn is_number(value: &str) -> bool {
    let digits = value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(value);
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    (1..=18).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(value: &str) -> bool {
    value == "." || (!value.starts_with(['-', '.']) && !value.is_empty() && !value.contains([':', '/', '\\']))
}

/// Whether it is an address that git does not take for a program's: of `name::rest` git runs `git-remote-name`. Where
/// the name is a protocol that remotes may not be reached by anyway, git says so.
fn is_address(value: &[u8], protocols: &[String]) -> bool {
    let name = value.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    let is_helper = value[name..].starts_with(b"::");
    let is_allowed = protocols.iter().any(|protocol| protocol.as_bytes() == &value[..name]);
    let is_refused = value.is_empty() || value.starts_with(b"-") || (is_helper && is_allowed);
    !is_refused
}

impl Kind {
    fn takes(self, value: &[u8], protocols: &[String]) -> bool {
        if !is_line(value) {
            return false;
        }
        let text = std::str::from_utf8(value);
        match (self, text) {
            (Address, _) => is_address(value, protocols),
            (Line, _) => !value.starts_with(b"-"),
            (_, Err(_)) => false,
            (Flag, Ok(text)) => is_flag(text),
            (Number, Ok(text)) => is_number(text),
            (Word(words), Ok(text)) => words.contains(&text),
            (FlagOr(words), Ok(text)) => is_flag(text) || words.contains(&text),
            (Name, Ok(text)) => is_name(text),
        }
    }
}

/// One setting in a section of its own.
fn write(file: &mut Vec<u8>, section: &str, of: Option<&[u8]>, name: &str, value: &[u8]) {
    let quoted = |file: &mut Vec<u8>, text: &[u8]| {
        file.push(b'"');
        for &byte in text {
            if matches!(byte, b'"' | b'\\') {
                file.push(b'\\');
            }
            file.push(byte);
        }
        file.push(b'"');
    };
    file.extend_from_slice(format!("[{section}").as_bytes());
    if let Some(of) = of {
        file.push(b' ');
        quoted(file, of);
    }
    file.extend_from_slice(format!("]\n\t{name} = ").as_bytes());
    quoted(file, value);
    file.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Settings> {
        let printed: String = pairs.iter().map(|(key, value)| format!("{key}\n{value}\0")).collect();
        Settings::of(printed.as_bytes(), &["https".to_owned(), "ssh".to_owned()])
    }

    fn file(pairs: &[(&str, &str)]) -> String {
        String::from_utf8(of(pairs).expect("settings").file(&BTreeSet::new())).expect("a text")
    }

    const BARE: &str = "[core]\n\tbare = \"false\"\n";

    #[test]
    fn what_names_a_program_a_file_or_a_helper_is_not_there() {
        let none = [
            ("core.fsmonitor", "x"),
            ("core.hookspath", "x"),
            ("core.sshcommand", "x"),
            ("core.pager", "x"),
            ("core.editor", "x"),
            ("core.askpass", "x"),
            ("core.gitproxy", "x"),
            ("core.attributesfile", "/etc/passwd"),
            ("core.excludesfile", "/etc/passwd"),
            ("core.worktree", "/etc"),
            ("core.bare", "true"),
            ("core.alternaterefscommand", "x"),
            ("sequence.editor", "x"),
            ("diff.external", "x"),
            ("diff.submodule", "diff"),
            ("diff.evil.textconv", "x"),
            ("diff.evil.command", "x"),
            ("filter.a=b.clean", "x"),
            ("merge.evil.driver", "x"),
            ("merge.tool", "x"),
            ("merge.verifysignatures", "true"),
            ("gpg.program", "x"),
            ("gpg.ssh.defaultkeycommand", "x"),
            ("commit.gpgsign", "true"),
            ("commit.template", "/etc/passwd"),
            ("commit.verbose", "true"),
            ("user.signingkey", "x"),
            ("credential.helper", "!x"),
            ("http.proxy", "http://x"),
            ("url.ext::x.insteadof", "https://"),
            ("include.path", "/x"),
            ("includeif.gitdir:/.path", "/x"),
            ("alias.remote-ssh", "!x"),
            ("pager.log", "x"),
            ("log.showsignature", "true"),
            ("protocol.ext.allow", "always"),
            ("submodule.sub.ignore", "none"),
            ("submodule.sub.update", "!x"),
            ("remote.origin.vcs", "x"),
            ("remote.origin.uploadpack", "x"),
            ("remote.origin.receivepack", "x"),
            ("remote.origin.proxy", "x"),
            ("branch.main.remote", "ext::sh -c x"),
            ("branch.main.remote", "/somewhere"),
            ("branch.main.rebase", "interactive"),
            ("branch.main.mergeoptions", "-s x"),
            ("pull.twohead", "x"),
            ("uploadpack.packobjectshook", "x"),
            ("trailer.x.command", "x"),
            ("interactive.difffilter", "x"),
            ("no-section", "x"),
        ];
        for pair in none {
            assert_eq!(file(&[pair]), BARE, "{pair:?}");
        }
    }

    #[test]
    fn an_address_that_would_be_a_program_is_one_that_git_refuses() {
        for url in ["ssh::x", "https::x", "--upload-pack=x", "a\nb", ""] {
            let expected = format!("[remote \"o\"]\n\turl = \"refused::\"\n{BARE}");
            assert_eq!(file(&[("remote.o.url", url)]), expected, "{url}");
        }
    }

    #[test]
    fn what_a_repository_needs_is_taken_over_as_it_is() {
        let printed = b"core.repositoryformatversion\n1\0core.filemode\0extensions.objectFormat\nsha256\0\
                        remote.o\xffr.url\nssh://[::1]/a\0remote.o\xffr.fetch\n+refs/heads/*:refs/remotes/o/*\0\
                        branch.a.\"b\\.merge\nrefs/heads/a\0user.name\nA \"B\" \\ C;#\0remote.e.url\next::sh -c x\0";
        let settings = Settings::of(printed, &["https".to_owned()]).expect("settings");
        let expected: &[u8] = b"[core]\n\trepositoryformatversion = \"1\"\n[core]\n\tfilemode = \"true\"\n\
            [extensions]\n\tobjectformat = \"sha256\"\n[remote \"o\xffr\"]\n\turl = \"ssh://[::1]/a\"\n\
            [remote \"o\xffr\"]\n\tfetch = \"+refs/heads/*:refs/remotes/o/*\"\n\
            [branch \"a.\\\"b\\\\\"]\n\tmerge = \"refs/heads/a\"\n[user]\n\tname = \"A \\\"B\\\" \\\\ C;#\"\n\
            [remote \"e\"]\n\turl = \"ext::sh -c x\"\n[core]\n\tbare = \"false\"\n\
            [submodule \"s\"]\n\tignore = \"dirty\"\n";
        let named = submodules(b"submodule.s.path\nsub\0submodule.s.ignore\nnone\0other.x.y\n1\0");
        assert_eq!(settings.file(&named), expected, "{}", String::from_utf8_lossy(&settings.file(&named)));
        let branches: Vec<_> = settings.branches().collect();
        assert_eq!(branches, [(b"branch.a.\"b\\.merge".to_vec(), &b"refs/heads/a"[..])]);
    }

    #[test]
    fn a_repository_of_an_unknown_form_is_refused() {
        for pair in
            [("extensions.newthing", "true"), ("core.repositoryformatversion", "2"), ("extensions.refstorage", "x")]
        {
            assert_eq!(of(&[pair]).expect_err("refused").code(), Code::Conflict, "{pair:?}");
        }
        assert!(of(&[("extensions.worktreeconfig", "true")]).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_value_ends_its_line_or_begins_a_section(of in "[ -~]{1,12}", value in "(?s).{0,20}") {
            let printed = format!("remote.{of}.fetch\n{value}\0");
            let settings = Settings::of(printed.as_bytes(), &[]).expect("settings");
            let file = settings.file(&BTreeSet::new());
            let lines = file.split(|&byte| byte == b'\n').count();
            prop_assert_eq!(lines, if settings == Settings::default() { 3 } else { 5 });
        }
    }
}
