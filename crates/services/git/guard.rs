//! A repository as it is looked at before anything of it is used: where it keeps its data, and what of its configuration
//! is used.
//!
//! Guarantees: a repository whose data lies outside the project is refused, whatever leads there: a file or a link in the
//! place of `.git`, a link in the place of what lies in it, alternates. Its own configuration is not read by git when git
//! works: a shadow stands for it, unless configured otherwise.
//! It is not what holds git in the project when a repository changes after the look: that is the wall.

use std::{
    collections::BTreeSet,
    fs::FileType,
    io::Read,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags, open};
use tidings_core::{Code, Error, Result};

use super::{
    elsewhere,
    execute::{Finished, Git, gone},
    failure,
    place::{Here, Place, Purpose, Repository},
    settings::{self, Settings},
    shadow::FOLDERS,
};
use crate::blocking::blocking;

/// The most bytes of a repository's settings.
const SETTINGS_BYTES: usize = 256 * 1024;
/// The most bytes of a file in which git notes where something is.
const NOTE_BYTES: u64 = 64 * 1024;
/// What leads into the folders of a repository's data, beside what lies at its top.
const PARTS: [&str; 6] =
    ["objects/pack", "objects/info", "refs/heads", "refs/remotes", "info/exclude", "info/attributes"];
/// What git reads at the top of a working tree, whatever it does.
const READ_OF_A_TREE: [&str; 3] = [".gitignore", ".gitattributes", ".gitmodules"];
/// The most entries at its top that are looked at. The wall holds the rest.
const MOST_ENTRIES: usize = 1000;
/// The most folders of objects that a repository and its alternates may name.
const MOST_ALTERNATES: usize = 100;
/// Makes the folders that git cannot make through a shadow's links.
const FOLDERS_SCRIPT: &str = "cd -- \"$1\" && shift && mkdir -p -- \"$@\"";

/// Where a repository is.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    git_dir: PathBuf,
    common: PathBuf,
    /// Whether the folders are there that git cannot make.
    is_whole: bool,
}

impl Git {
    /// Looks at the repository of a project.
    ///
    /// # Errors
    /// `not_found` when the directory is gone; `conflict` when it holds no repository, or one that is refused;
    /// `unavailable` when git cannot be run.
    pub(super) async fn repository(&self, root: &Path, purpose: Purpose) -> Result<Place> {
        let given = root.to_owned();
        let found = blocking(move || elsewhere::check(&given).and_then(|()| layout(&given)));
        let Layout { git_dir, common, is_whole } = found.await??;
        let without = Place::without(root.to_owned());
        let mut settings = self.settings(&without, &common.join("config")).await?;
        // Of a repository with several working trees each may have some of its own.
        settings.extend(self.settings(&without, &git_dir.join("config.worktree")).await?);
        let settings = Arc::new(settings);
        let shadow = if purpose != Purpose::Read && self.config.repository_programs {
            None
        } else {
            if purpose != Purpose::Read && !is_whole {
                self.complete(root, &common).await?;
            }
            let config = settings.file(&self.submodules(&without).await);
            let (shadows, common) = (self.shadows.clone(), common.clone());
            Some(blocking(move || shadows.make(&common, &config)).await??)
        };
        let here = Here { tree: root.to_owned(), git_dir, common, shadow, settings };
        Ok(Place { root: root.to_owned(), repository: Repository::Here(here) })
    }

    /// The repository of a place, to be read: what reads never uses the repository's own configuration.
    ///
    /// # Errors
    /// As [`Git::repository`].
    pub(super) async fn to_read(&self, place: &Place) -> Result<Place> {
        match place.shadow() {
            Some(_) => Ok(place.clone()),
            None => self.repository(&place.root, Purpose::Read).await,
        }
    }

    /// What is used of a file of configuration.
    async fn settings(&self, place: &Place, file: &Path) -> Result<Settings> {
        let Some(printed) = self.listed(place, file).await? else { return Ok(Settings::default()) };
        Settings::of(&whole(printed)?.printed, &self.config.protocols)
    }

    /// A file of configuration as git lists it. Nothing, if there is no such file.
    async fn listed(&self, place: &Place, file: &Path) -> Result<Option<Finished>> {
        let given = file.to_owned();
        if !blocking(move || given.symlink_metadata().is_ok()).await? {
            return Ok(None);
        }
        let path = file.to_string_lossy();
        let args = ["config", "--file", &path, "--no-includes", "--list", "-z"];
        self.read(place, &args, SETTINGS_BYTES).await.map(Some)
    }

    /// The names that the working tree gives its submodules. Where they cannot be read, none: the walls hold what looks
    /// into one.
    async fn submodules(&self, place: &Place) -> BTreeSet<Vec<u8>> {
        match self.listed(place, &place.root.join(".gitmodules")).await {
            Ok(Some(listed)) if listed.status.success() => settings::submodules(&listed.printed),
            _ => BTreeSet::new(),
        }
    }

    /// The repositories within that the index knows and the working tree gives no name. git looks into them, whatever is
    /// said of it: there is no name for a setting.
    pub(super) async fn unnamed_within(&self, place: &Place) -> Result<Vec<String>> {
        let mut within = self.within(place).await?;
        if !within.is_empty()
            && let Some(listed) =
                self.listed(&Place::without(place.root.clone()), &place.root.join(".gitmodules")).await?
        {
            let named = settings::places_of_submodules(&whole(listed)?.printed);
            within.retain(|path| !named.contains(path));
        }
        Ok(within)
    }

    /// What is used of the configuration in a shadow, as it is by now.
    pub(super) async fn settings_of_shadow(&self, place: &Place) -> Result<Option<Settings>> {
        match place.shadow() {
            Some(shadow) => self.settings(place, &shadow.config()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes what is missing of a repository, as the user that git runs as.
    async fn complete(&self, root: &Path, common: &Path) -> Result<()> {
        let common = common.to_string_lossy();
        let words: Vec<&str> = std::iter::once(&*common).chain(FOLDERS).collect();
        self.script_done(root, FOLDERS_SCRIPT, &words).await
    }
}

/// The result of a run that must have ended well and printed less than its limit.
fn whole(finished: Finished) -> Result<Finished> {
    if finished.stopped.is_some() {
        return Err(Error::new(Code::Conflict, "the configuration of the repository is too large to be looked at"));
    }
    if !finished.status.success() {
        return Err(Error::new(Code::Conflict, failure::of(&finished.said).1));
    }
    Ok(finished)
}

fn no_repository() -> Error {
    Error::new(Code::Conflict, "the project's directory holds no repository of git: clone into it, or make one there")
}

fn outside() -> Error {
    Error::new(
        Code::Conflict,
        "the repository keeps its data outside the project's directory: make that directory the project",
    )
}

/// Finds the repository in a project. Blocks on small reads.
fn layout(root: &Path) -> Result<Layout> {
    if !root.is_dir() {
        return Err(gone());
    }
    let real = root.canonicalize().map_err(|_| gone())?;
    let inside = |path: &Path| path.canonicalize().ok().filter(|path| path.starts_with(&real)).ok_or_else(outside);
    let given = root.join(".git");
    let kind = given.symlink_metadata().map_err(|_| no_repository())?.file_type();
    let git_dir = if kind.is_dir() {
        given
    } else if kind.is_symlink() {
        inside(&given)?
    } else {
        let note = note(&given).ok_or_else(no_repository)?;
        let path = note.strip_prefix("gitdir: ").ok_or_else(no_repository)?;
        inside(&root.join(path.trim_end_matches(['\n', '\r'])))?
    };
    if !git_dir.is_dir() {
        return Err(no_repository());
    }
    let common = match noted(&git_dir, "commondir")? {
        Some(path) => inside(&git_dir.join(path.trim_end_matches(['\n', '\r'])))?,
        None => git_dir.clone(),
    };
    READ_OF_A_TREE.iter().try_for_each(|name| look_at_kind(&root.join(name)))?;
    for dir in [&git_dir, &common] {
        let entries = dir.read_dir().into_iter().flatten().flatten().take(MOST_ENTRIES).map(|entry| entry.path());
        for part in entries.chain(PARTS.map(|part| dir.join(part))) {
            if part.is_symlink() {
                inside(&part)?;
            }
            look_at_kind(&part)?;
        }
    }
    let is_there = |name: &str| common.join(name).is_dir();
    if !is_there("objects") || !is_there("refs") || !note(&git_dir.join("HEAD")).is_some_and(|head| is_head(&head)) {
        return Err(no_repository());
    }
    look_at_alternates(common.join("objects"), inside)?;
    let is_whole = FOLDERS.into_iter().all(is_there);
    Ok(Layout { git_dir, common, is_whole })
}

/// Looks at what a path leads to: git would wait at a pipe for whoever writes into it, and a device has no end.
fn look_at_kind(path: &Path) -> Result<()> {
    let is_endless = |kind: FileType| kind.is_fifo() || kind.is_char_device() || kind.is_block_device();
    if path.metadata().is_ok_and(|meta| is_endless(meta.file_type())) {
        let name = path.file_name().unwrap_or_default().display();
        let why = format!("{name} of the repository is a pipe or a device: git would wait at it");
        return Err(Error::new(Code::Conflict, why));
    }
    Ok(())
}

/// Looks at the alternates of a folder of objects, and at theirs.
fn look_at_alternates(objects: PathBuf, inside: impl Fn(&Path) -> Result<PathBuf>) -> Result<()> {
    let (mut known, mut waiting, mut named) = (BTreeSet::new(), vec![objects], 0);
    while let Some(objects) = waiting.pop() {
        let alternates = noted(&objects, "info/alternates")?.unwrap_or_default();
        for other in alternates.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            named += 1;
            if named > MOST_ALTERNATES {
                return Err(Error::new(Code::Conflict, "the repository has more alternates than are looked at"));
            }
            let other = inside(&objects.join(other.trim_matches('"')))?;
            if known.insert(other.clone()) {
                waiting.push(other);
            }
        }
    }
    Ok(())
}

/// Whether it is what stands in the file of a head: a branch or a commit.
fn is_head(text: &str) -> bool {
    let text = text.trim_end();
    let is_id = (40..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id || text.strip_prefix("ref:").is_some_and(|name| name.trim_start().starts_with("refs/"))
}

/// The text of a file in which a repository may say where more of it is; nothing, if it has none.
///
/// # Errors
/// `conflict` for one that cannot be looked at: git may read it all the same.
fn noted(folder: &Path, name: &str) -> Result<Option<String>> {
    let path = folder.join(name);
    match note(&path) {
        None if path.symlink_metadata().is_ok() => {
            let why = format!("{name} of the repository, which says where more of it is, is no small text in UTF-8");
            Err(Error::new(Code::Conflict, why))
        }
        text => Ok(text),
    }
}

/// A small file of the repository as text.
fn note(path: &Path) -> Option<String> {
    note_of(path, NOTE_BYTES)
}

/// A file of at most so many bytes as text. Waits for nobody, also not for the other end of a pipe.
pub(super) fn note_of(path: &Path, most: u64) -> Option<String> {
    let file = open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let file = std::fs::File::from(file);
    let meta = file.metadata().ok().filter(|meta| meta.is_file() && meta.len() <= most)?;
    let mut text = String::new();
    file.take(meta.len()).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::{CWD, mkfifoat};

    use super::*;

    struct Repo(tempfile::TempDir);

    impl Repo {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            for folder in ["project/.git/objects/info", "project/.git/refs", "other/objects", "other/refs"] {
                fs::create_dir_all(dir.path().join(folder)).expect("makes");
            }
            for head in ["project/.git/HEAD", "other/HEAD"] {
                fs::write(dir.path().join(head), "ref: refs/heads/main\n").expect("writes");
            }
            Self(dir)
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn layout(&self) -> Result<Layout> {
            layout(&self.at("project"))
        }
    }

    #[test]
    fn a_repository_is_found_where_its_data_is_in_the_project() {
        let repo = Repo::new();
        let git_dir = repo.at("project/.git");
        assert_eq!(repo.layout(), Ok(Layout { git_dir: git_dir.clone(), common: git_dir.clone(), is_whole: false }));
        fs::rename(&git_dir, repo.at("project/data")).expect("moves");
        fs::write(&git_dir, "gitdir: data\n").expect("writes");
        let real = repo.at("project/data").canonicalize().expect("there");
        assert_eq!(repo.layout().expect("a repository").git_dir, real);
        fs::write(repo.at("project/data/objects/info/alternates"), "# none\n\n../objects\n").expect("writes");
        assert!(repo.layout().is_ok());
    }

    #[test]
    fn whatever_leads_to_another_repository_is_refused() {
        type Lead = fn(&Repo);
        let leads: [Lead; 9] = [
            |repo| {
                fs::remove_dir_all(repo.at("project/.git")).expect("removes");
                symlink(repo.at("other"), repo.at("project/.git")).expect("links");
            },
            |repo| {
                fs::remove_dir_all(repo.at("project/.git")).expect("removes");
                fs::write(repo.at("project/.git"), "gitdir: ../other\n").expect("writes");
            },
            |repo| fs::write(repo.at("project/.git/commondir"), "../../other\n").expect("writes"),
            |repo| {
                fs::write(repo.at("project/.git/objects/info/alternates"), "../../../other/objects\n").expect("writes")
            },
            |repo| fs::write(repo.at("project/.git/objects/info/alternates"), "\"/nowhere\"\n").expect("writes"),
            |repo| lead(repo, "objects"),
            |repo| lead(repo, "refs"),
            |repo| lead(repo, "HEAD"),
            |repo| symlink(repo.at("other/packed-refs"), repo.at("project/.git/packed-refs")).expect("links"),
        ];
        for (number, prepare) in leads.into_iter().enumerate() {
            let repo = Repo::new();
            prepare(&repo);
            assert_eq!(repo.layout(), Err(outside()), "{number}");
        }
    }

    #[test]
    fn what_alternates_name_is_looked_at_too_and_so_often_at_most() {
        let repo = Repo::new();
        let name = |store: &str, other: &Path| {
            fs::create_dir_all(repo.at(store).join("info")).expect("makes");
            fs::write(repo.at(store).join("info/alternates"), format!("{}\n", other.display())).expect("writes");
        };
        let (own, more) = ("project/.git/objects", "project/more");
        name(more, &repo.at(own));
        name(own, &repo.at(more));
        assert!(repo.layout().is_ok(), "two that name each other are two");
        name(more, &repo.at("other/objects"));
        assert_eq!(repo.layout(), Err(outside()));
        for number in 0..MOST_ALTERNATES {
            name(&format!("project/{number}"), &repo.at(&format!("project/{}", number + 1)));
        }
        fs::create_dir(repo.at(&format!("project/{MOST_ALTERNATES}"))).expect("makes");
        name(more, &repo.at("project/0"));
        assert!(repo.layout().expect_err("too many").message().contains("more alternates"));
    }

    #[test]
    fn what_says_where_more_is_and_cannot_be_looked_at_is_refused() {
        for path in ["commondir", "objects/info/alternates"] {
            for bytes in [b"/somewhere/\xff\n".to_vec(), [b"#".repeat(70_000), b"\n/somewhere\n".to_vec()].concat()] {
                let repo = Repo::new();
                fs::write(repo.at("project/.git").join(path), bytes).expect("writes");
                let refused = repo.layout().expect_err("refused");
                assert!(refused.message().contains("is no small text"), "{path}: {refused}");
            }
        }
    }

    #[test]
    fn a_pipe_where_git_reads_a_file_is_refused_before_git_waits_at_it() {
        for path in ["config", "index", "packed-refs", "info/exclude", "../.gitignore", "../.gitattributes"] {
            let repo = Repo::new();
            let at = repo.at("project/.git").join(path);
            fs::create_dir_all(at.parent().expect("a folder")).expect("makes");
            mkfifoat(CWD, &at, Mode::RUSR | Mode::WUSR).expect("a pipe");
            let refused = repo.layout().expect_err("refused");
            assert!(refused.message().contains("is a pipe or a device"), "{path}: {refused}");
        }
    }

    fn lead(repo: &Repo, part: &str) {
        let place = repo.at("project/.git").join(part);
        fs::rename(&place, repo.at("kept")).expect("moves");
        symlink(repo.at("other").join(part), place).expect("links");
    }

    #[test]
    fn what_is_no_repository_is_said_to_be_none() {
        for (path, text) in [("HEAD", "garbage"), ("HEAD", ""), ("HEAD", "ref: /etc/passwd\n")] {
            let repo = Repo::new();
            fs::write(repo.at("project/.git").join(path), text).expect("writes");
            assert_eq!(repo.layout(), Err(no_repository()), "{text}");
        }
        let repo = Repo::new();
        fs::remove_dir_all(repo.at("project/.git/refs")).expect("removes");
        assert_eq!(repo.layout(), Err(no_repository()));
    }
}
