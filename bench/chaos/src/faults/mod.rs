//! What is broken, one file for each part.
//!
//! Guarantees: each fault has a server of its own, and says what came of it.
//! They do not judge: views, ledger and aftermath do.

use crate::{fault::Run, outcome::Outcome, server::timed};

pub mod damage;
pub mod disk;
pub mod full;
pub mod handshakes;
pub mod jitter;
pub mod long;
pub mod panics;
pub mod program;
pub mod redeploy;
pub mod rubbish;
pub mod stalls;
pub mod unread;
pub mod vandal;
pub mod viewer;

/// Something that breaks.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The part that it belongs to.
    pub part: &'static str,
    /// Its name.
    pub name: &'static str,
    run: fn(&Run) -> Result<Outcome, String>,
}

/// All of them, in the order in which they run.
pub const FAULTS: [Fault; 17] = [
    Fault { part: "jitter", name: "jitter", run: jitter::run },
    Fault { part: "redeploy", name: "stop", run: redeploy::stop },
    Fault { part: "redeploy", name: "kill", run: redeploy::kill },
    Fault { part: "redeploy", name: "long-histories", run: long::run },
    Fault { part: "stalls", name: "stalled", run: stalls::reading },
    Fault { part: "stalls", name: "half-open", run: stalls::half_open },
    Fault { part: "disk", name: "full-disk", run: disk::full },
    Fault { part: "disk", name: "full-start", run: full::run },
    Fault { part: "disk", name: "slow-disk", run: disk::slow },
    Fault { part: "disk", name: "cut-log", run: damage::cut },
    Fault { part: "disk", name: "damaged-log", run: damage::damage },
    Fault { part: "rubbish", name: "rubbish", run: rubbish::run },
    Fault { part: "rubbish", name: "viewer", run: viewer::run },
    Fault { part: "unread", name: "unfinished-bodies", run: unread::bodies },
    Fault { part: "unread", name: "unread-answers", run: unread::answers },
    Fault { part: "rubbish", name: "handshakes", run: handshakes::run },
    Fault { part: "panics", name: "panics", run: panics::run },
];

/// The faults of these names, each a part's or a fault's own; all where there are none.
///
/// # Errors
/// If nothing has such a name.
pub fn named(names: &[String]) -> Result<Vec<Fault>, String> {
    let is = |fault: &Fault, name: &String| name == fault.part || name == fault.name;
    if let Some(name) = names.iter().find(|name| !FAULTS.iter().any(|fault| is(fault, name))) {
        let known = FAULTS.map(|fault| format!("{} ({})", fault.name, fault.part)).join(", ");
        return Err(format!("nothing is called {name}; there are: {known}"));
    }
    let wanted = |fault: &Fault| names.is_empty() || names.iter().any(|name| is(fault, name));
    Ok(FAULTS.into_iter().filter(wanted).collect())
}

impl Fault {
    /// Breaks it.
    #[must_use]
    pub fn run(self, run: &Run) -> Outcome {
        let (outcome, time) = timed(|| (self.run)(run));
        Outcome { time, ..outcome.unwrap_or_else(|why| Outcome::failed(self.name, &why)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_faults_have_names_and_nothing_else_has() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
            named(&only).map(|faults| faults.iter().map(|fault| fault.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["redeploy", "cut-log"]), Ok(vec!["stop", "kill", "long-histories", "cut-log"]));
        assert_eq!(names(&[]).map(|all| all.len()), Ok(FAULTS.len()));
        assert!(names(&["jitter", "floods"]).is_err_and(|wrong| wrong.contains("floods")));
    }
}
