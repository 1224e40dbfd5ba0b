//! What git is on this machine, and the wall before each of its runs: what it may run, read and change.
//!
//! Guarantees: git runs behind a wall that the kernel holds, behind the operator's wrapper, or not at all, unless the
//! operator says so; it changes nothing but the project and its own shadow, and reads nothing but these, the system's
//! libraries and the operator's configuration of git; nothing is run but git's own programs, those that the operator
//! lists, and of remotes `ssh`. A run that needs no other program starts none.
//! It is not what keeps a repository's words from programs that may run: that is the shadow.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use tidings_core::{Error, Result};
use tokio::sync::OnceCell;

use super::{
    config::GitConfig,
    execute::Git,
    place::{Place, Purpose},
};
use crate::programs::{
    Programs,
    wall::{Access, MISSING, Wall},
};

/// Where libraries are, and what programs read beside them.
const LIBRARIES: [&str; 11] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/lib",
    "/usr/share",
    "/usr/local/share",
    "/nix/store",
];
/// What a program needs of the system: how libraries are found, who is who, what time it is, the configuration of git.
/// Not all of `/etc`: what stands there in files of root is nobody's to see.
const SYSTEM: [&str; 16] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld-musl-x86_64.path",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/localtime",
    "/etc/gitconfig",
    "/etc/gitattributes",
    "/usr/etc",
    "/usr/local/etc/gitconfig",
    "/usr/local/etc/gitattributes",
    "/dev/urandom",
    "/sys/devices/system/cpu/online",
];
/// What it takes to reach somebody: names, addresses, certificates, keys of hosts.
const NETWORK: [&str; 21] = [
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/krb5.conf",
    "/etc/ssh/ssh_config",
    "/etc/ssh/ssh_config.d",
    "/etc/ssh/ssh_known_hosts",
    "/run/systemd/resolve",
    "/run/resolvconf",
];
/// What git reads in somebody's home.
const OF_GIT: [&str; 4] = [".gitconfig", ".config/git/config", ".config/git/ignore", ".config/git/attributes"];
/// What it takes to be let in by a remote.
const KEYS: [&str; 4] = [".ssh", ".netrc", ".git-credentials", ".config/git/credentials"];
/// What the server's own scripts are.
const SCRIPTS: [&str; 2] = ["/bin", "/usr/bin"];
/// What starts a program with words, which git leaves to it.
const SHELL: &str = "/bin/sh";

/// The programs that the kernel starts others with, as they are when they are first needed.
static LOADERS: LazyLock<Vec<PathBuf>> = LazyLock::new(loaders);

/// Where the programs of git are.
#[derive(Debug)]
pub(super) struct Tools {
    /// The program.
    git: PathBuf,
    /// The folder of those that it starts.
    own: PathBuf,
}

/// The programs of git, once they were found.
#[derive(Debug, Default)]
pub(super) struct Toolbox(OnceCell<Arc<Tools>>);

impl Toolbox {
    /// Where they are. `ask` runs git with a word, in a wall that lets only that run, and gives what it printed.
    ///
    /// # Errors
    /// `unavailable`, when git is not there.
    pub(super) async fn open<F: Future<Output = Result<String>>>(
        &self,
        programs: &Programs,
        ask: impl FnOnce(PathBuf, Wall) -> F,
    ) -> Result<Arc<Tools>> {
        let find = async {
            let git = git(programs)?;
            let mut wall = system();
            wall.run(git.clone());
            let own = ask(git.clone(), wall).await?;
            let own = PathBuf::from(own.trim_end_matches('\n'));
            if !own.is_absolute() {
                return Err(missing());
            }
            Ok(Arc::new(Tools { git, own }))
        };
        self.0.get_or_try_init(|| find).await.cloned()
    }
}

/// The program, which never lies in a project.
///
/// # Errors
/// `unavailable`, when it is not there.
pub(super) fn git(programs: &Programs) -> Result<PathBuf> {
    programs.find("git").ok_or_else(missing)
}

/// What is said where git is not there.
pub(super) fn missing() -> Error {
    Error::unavailable("the program git is not there: install it on the server")
}

/// Refuses a run that nothing would hold.
///
/// # Errors
/// `unavailable` where nothing would hold git.
pub(super) fn check(programs: &Programs, config: &GitConfig) -> Result<()> {
    if Wall::is_supported() || programs.is_wrapped() || config.unconfined {
        return Ok(());
    }
    let why = format!("git is not run without a wall before it: {MISSING}. Set run.wrapper, or git.unconfined = true");
    Err(Error::unavailable(why))
}

/// Whether runs have a wall of the kernel's.
pub(super) fn has_wall(programs: &Programs, config: &GitConfig) -> bool {
    !programs.is_wrapped() && !config.unconfined
}

/// What every program needs: its libraries, and the loader that starts it.
fn system() -> Wall {
    let mut wall = Wall::new();
    for path in LIBRARIES.iter().chain(&SYSTEM) {
        wall.read(*path);
    }
    for loader in LOADERS.iter() {
        wall.run(loader);
    }
    wall.device("/dev/null").apart();
    wall
}

/// Their names are of old, their folders by the machine's kind.
fn loaders() -> Vec<PathBuf> {
    let is_loader = |name: &str| ["ld-linux", "ld-musl-", "ld64.so", "ld.so"].iter().any(|it| name.starts_with(it));
    let entries = ["/lib", "/lib64", "/lib32"].map(|folder| Path::new(folder).read_dir());
    let entries = entries.into_iter().flatten().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_loader)).map(|entry| entry.path()).collect()
}

/// The wall before a run of git. Blocks on small reads.
pub(super) fn wall(tools: &Tools, programs: &Programs, config: &GitConfig, place: &Place, purpose: Purpose) -> Wall {
    let mut wall = system();
    wall.run(tools.git.clone()).run(tools.own.clone());
    let home = programs.variable("HOME").map(PathBuf::from);
    let of_home = |names: &[&str]| -> Vec<PathBuf> {
        home.iter().flat_map(|home| names.iter().map(move |name| home.join(name))).collect()
    };
    let named = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"].map(|name| programs.variable(name).map(PathBuf::from));
    let configured = programs.variable("XDG_CONFIG_HOME").map(|folder| Path::new(folder).join("git"));
    let readable = of_home(&OF_GIT).into_iter().chain(named.into_iter().flatten()).chain(configured);
    for path in readable.chain(config.readable.iter().cloned()) {
        wall.read(path);
    }
    let starts_others = !config.programs.is_empty();
    // A filter that is listed keeps what it makes in the repository, also where git only compares.
    let access = if purpose == Purpose::Read && !starts_others { Access::Read } else { Access::Write };
    // It was recorded without symbolic links: one that stands there by now leads somewhere else.
    wall.allow_itself(place.root.clone(), access);
    if let Some(shadow) = place.shadow() {
        wall.allow(shadow.dir(), access);
    }
    // A filter that is listed may fetch what its files stand for.
    if purpose == Purpose::Reach || (purpose != Purpose::Read && (starts_others || place.is_partial())) {
        reach(&mut wall, programs, config, &of_home(&KEYS));
    }
    for program in listed(programs, config) {
        wall.run(program);
    }
    if starts_others {
        wall.run(SHELL);
    }
    if starts_none(config, place, purpose) {
        wall.alone();
    }
    wall
}

/// Whether a run behind the wall starts no other program.
pub(super) fn starts_none(config: &GitConfig, place: &Place, purpose: Purpose) -> bool {
    let needs_none = match purpose {
        Purpose::Read | Purpose::Resume => true,
        Purpose::Alone => !place.is_partial(),
        Purpose::Change | Purpose::Reach => false,
    };
    needs_none && config.programs.is_empty()
}

/// Whether the kernel keeps git from running what a repository within names, also where git looks into that. Where the
/// operator lets repositories run programs there is nothing to hold.
pub(super) fn holds_what_is_within(git: &Git, place: &Place) -> bool {
    let is_held = has_wall(&git.programs, &git.config) && starts_none(&git.config, place, Purpose::Alone);
    is_held || git.config.repository_programs
}

/// What a remote takes beside that.
fn reach(wall: &mut Wall, programs: &Programs, config: &GitConfig, keys: &[PathBuf]) {
    for path in NETWORK {
        wall.read(path);
    }
    for path in keys {
        wall.read(path);
    }
    if let Some(ssh) = programs.find("ssh") {
        wall.run(ssh);
    }
    // A repository in a folder is served by another git, which git starts through a shell.
    if config.protocols.iter().any(|protocol| protocol == "file") {
        wall.run(SHELL).write("/");
    }
}

/// How git calls `ssh`: with options only where it may start a shell for them. Without it there is no terminal that `ssh`
/// could ask at.
pub(super) fn ssh(programs: &Programs, config: &GitConfig) -> String {
    let has_shell = !config.programs.is_empty() || config.protocols.iter().any(|protocol| protocol == "file");
    if has_shell || config.repository_programs || !has_wall(programs, config) {
        return "ssh -oBatchMode=yes -oConnectTimeout=20".to_owned();
    }
    programs.find("ssh").map_or_else(|| "ssh".to_owned(), |ssh| ssh.to_string_lossy().into_owned())
}

/// The programs that the operator lets git run.
fn listed(programs: &Programs, config: &GitConfig) -> impl Iterator<Item = PathBuf> {
    config.programs.iter().filter_map(|name| programs.find(name))
}

/// The wall before a script of the server's own in a project.
pub(super) fn scripts(root: &Path) -> Wall {
    let mut wall = system();
    for path in SCRIPTS {
        wall.run(path);
    }
    wall.allow_itself(root.to_owned(), Access::Write);
    wall
}
