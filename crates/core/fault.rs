//! Faults on demand: a test of the real server makes a task panic, hang or fail.
//!
//! Guarantees: in a build without the feature `faults` and without debug assertions - such as every release -
//! nothing of it is left; in a build that has it, nothing happens until somebody arms a point.
//! It is not for unit tests: what is armed is the whole process's.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Whether this build has faults. Debug builds have them, so that a test of the workspace needs no second build.
pub const COMPILED: bool = cfg!(any(debug_assertions, feature = "faults"));

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Panic,
    Hang,
    Fail,
}

#[derive(Debug)]
struct Armed {
    act: Act,
    /// It is passed so many times before.
    skip: u64,
    /// So many times it happens.
    count: u64,
}

/// How many points are armed, so that nobody takes the lock while none is.
static COUNT: AtomicUsize = AtomicUsize::new(0);
static ARMED: Mutex<BTreeMap<String, Armed>> = Mutex::new(BTreeMap::new());

/// Arms a point by a line: its name, `panic`, `hang` or `fail`, how many times (one by default), and how many
/// times it is passed before (none by default). A count of 0 disarms it. Says whether it was understood.
pub fn arm(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (Some(point), Some(act)) = (words.next(), words.next()) else { return false };
    let act = match act {
        "panic" => Act::Panic,
        "hang" => Act::Hang,
        "fail" => Act::Fail,
        _ => return false,
    };
    let mut number = |usual: u64| words.next().map_or(Some(usual), |word| word.parse().ok());
    let (Some(count), Some(skip)) = (number(1), number(0)) else { return false };
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    if count == 0 {
        armed.remove(point);
    } else {
        armed.insert(point.to_owned(), Armed { act, skip, count });
    }
    COUNT.store(armed.len(), Ordering::SeqCst);
    true
}

/// Whether an act is due at a point now.
fn is_due(point: &str, act: Act) -> bool {
    if !COMPILED || COUNT.load(Ordering::Relaxed) == 0 {
        return false;
    }
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(found) = armed.get_mut(point).filter(|found| found.act == act) else { return false };
    if found.skip > 0 {
        found.skip -= 1;
        return false;
    }
    found.count -= 1;
    if found.count == 0 {
        armed.remove(point);
        COUNT.store(armed.len(), Ordering::SeqCst);
    }
    tracing::warn!(point, ?act, "a fault happens");
    true
}

/// Panics here, if that was asked for.
///
/// # Panics
/// As it says.
#[inline]
pub fn here(point: &'static str) {
    assert!(!COMPILED || !is_due(point, Act::Panic), "a fault was asked for: {point}");
}

/// Hangs here for ever, if that was asked for.
#[inline]
pub async fn hold(point: &'static str) {
    if COMPILED && is_due(point, Act::Hang) {
        pending().await
    }
}

/// The same on a thread: it stands still.
#[inline]
pub fn stall(point: &'static str) {
    if COMPILED && is_due(point, Act::Hang) {
        loop {
            std::thread::park();
        }
    }
}

/// Whether something fails here, because that was asked for.
#[inline]
#[must_use]
pub fn fails(point: &'static str) -> bool {
    COMPILED && is_due(point, Act::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_does_what_it_is_armed_for_as_often_as_that_and_nothing_else() {
        assert!(!fails("test.point"));
        assert!(arm("test.point fail 2 1"));
        here("test.point");
        assert_eq!([(); 4].map(|()| fails("test.point")), [false, true, true, false]);
        assert!(arm("test.other panic"));
        assert!(std::panic::catch_unwind(|| here("test.other")).is_err());
        here("test.other");
        assert!(arm("test.third fail 9") && arm("test.third fail 0") && !fails("test.third"));
        assert!(["", "x", "x boil", "x fail many", "x fail 1 few"].iter().all(|line| !arm(line)));
    }
}
