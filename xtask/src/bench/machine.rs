//! The machine that is measured on: which core is whose, how many files may be open.
//!
//! Guarantees: a server and the load generator never share a core where there are two.
//! It does not make the machine quiet: that is for whoever measures.

use std::{
    fs,
    process::{Child, Command},
};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// What 10,000 connections need, with some to spare.
const NEEDED_FILES: u64 = 10_100;
/// So many cores are looked at.
const MOST_CORES: usize = 1024;

/// Who runs where.
#[derive(Debug)]
pub(crate) struct Machine {
    all: CpuSet,
    server: CpuSet,
    load: CpuSet,
    /// Whether there are two cores.
    apart: bool,
    /// Whether a program can be made to end with this one.
    leash: bool,
}

impl Machine {
    /// Looks for two cores and raises the limit of open files, which what is started inherits.
    pub(crate) fn prepare() -> Result<Self, String> {
        let all = sched_getaffinity(None).map_err(|error| format!("the cores cannot be read: {error}"))?;
        let cores: Vec<usize> = (0..MOST_CORES.min(CpuSet::MAX_CPU)).filter(|core| all.is_set(*core)).collect();
        let one = |core: usize| {
            let mut set = CpuSet::new();
            set.set(core);
            set
        };
        let (server, load, apart) = match cores.as_slice() {
            [first, second, ..] => (one(*first), one(*second), true),
            _ => (all, all, false),
        };
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current < maximum || current.is_some() && maximum.is_none() {
            let most = maximum.or(Some(1 << 20));
            setrlimit(Resource::Nofile, Rlimit { current: most, maximum })
                .map_err(|error| format!("the limit of open files cannot be raised: {error}"))?;
        }
        if maximum.is_some_and(|maximum| maximum < NEEDED_FILES) {
            println!("only {maximum:?} files may be open: the works with 10,000 connections will not get them all");
        }
        let leash = crate::step::works("setpriv", &["--pdeathsig", "KILL", "true"]);
        Ok(Self { all, server, load, apart, leash })
    }

    /// Starts a server on its core.
    pub(crate) fn start_server(&self, command: &mut Command) -> Result<Child, String> {
        self.start_on(&self.server, command)
    }

    /// Starts the load generator on the other.
    pub(crate) fn start_load(&self, command: &mut Command) -> Result<Child, String> {
        self.start_on(&self.load, command)
    }

    /// A command for a program that ends when this one does, even if this one is killed.
    pub(crate) fn on_a_leash(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        if !self.leash {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// A program inherits the cores of the thread that starts it.
    fn start_on(&self, cores: &CpuSet, command: &mut Command) -> Result<Child, String> {
        let choose = |cores| sched_setaffinity(None, cores).map_err(|error| format!("cannot choose a core: {error}"));
        choose(cores)?;
        let child = command.spawn();
        choose(&self.all)?;
        child.map_err(|error| format!("{} does not start: {error}", command.get_program().display()))
    }

    /// One line on what it is.
    pub(crate) fn description(&self) -> String {
        let read = |place: &str| fs::read_to_string(place).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or("an unknown processor", |(_, model)| model).to_owned();
        let kernel = read("/proc/sys/kernel/osrelease");
        let kernel = kernel.split('-').next().unwrap_or_default().trim();
        let cores = self.all.count();
        let apart = if self.apart { "" } else { "; server and load on the same core: the figures are worth little" };
        format!("Measured on {model}, {cores} cores, Linux {kernel}{apart}.")
    }
}
