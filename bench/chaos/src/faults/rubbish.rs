//! Whoever speaks wrongly, too much, too large or not at all, beside people who do nothing wrong.
//!
//! Guarantees: every wrong thing has to get the refusal that the protocol names, or an end; memory has to
//! stay within a bound; and the others have to have everything, as if nothing were.
//! What is said wrongly is in `vandal`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::vandal::{Kind, Vandal};
use crate::{
    client::Manners,
    fault::{Run, Scene},
    fleet::{Following, until},
    ledger::Leave,
    outcome::Outcome,
    tally::Tally,
};

/// What the server may take beside what it took with all the others, in bytes.
const MOST_MEMORY: f64 = 256e6;

/// What all vandals found.
#[derive(Debug, Default)]
pub struct Found {
    /// How often each thing was done.
    pub done: BTreeMap<Kind, u64>,
    /// What was not as it has to be.
    pub tally: Tally,
}

/// Does it.
///
/// # Errors
/// If it could not be done.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let mut scene = Scene::new(run, "rubbish", "")?;
    let following = Following { channels: 3, manners: Manners::default() };
    scene.fleet.add(run.clients, &scene.server, &following, &scene.chances("fleet"));
    scene.fleet.wait_until_live(run.patience())?;
    scene.publish(&run.job());
    let process = scene.server.process()?;
    process.forget_peak()?;
    let usual = process.resident()?;
    let found = Arc::<Mutex<Found>>::default();
    let mut vandals = JoinSet::new();
    let chances = scene.chances("vandals");
    let lasting = run.lasting / 2;
    for index in 0..(run.clients / 20).clamp(4, 200) {
        let vandal = Vandal {
            host: scene.server.host(),
            token: scene.server.token().into(),
            random: chances.stream("vandal", index as u64),
            until: Instant::now() + lasting,
            found: found.clone(),
        };
        vandals.spawn_on(vandal.run(), &run.runtime);
    }
    thread::sleep(lasting);
    let over = until(run.patience(), || {
        while vandals.try_join_next().is_some() {}
        vandals.is_empty()
    });
    let more = process.peak()? - usual;
    drop(vandals);
    let mut outcome = scene.end(run, Leave::default()).without_told();
    let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    outcome.tally += &found.tally;
    let done = found.done.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect::<Vec<_>>().join(", ");
    outcome.fact(format!("done: {done}; the most memory beside the usual was {:.0} MB", more / 1e6));
    if !over {
        outcome.tally.is_broken(|| "some of what was done wrongly got neither an answer nor an end".to_owned());
    }
    if more > MOST_MEMORY {
        outcome.tally.is_broken(|| format!("it took {:.0} MB more", more / 1e6));
    }
    if Kind::ALL.iter().any(|kind| !found.done.contains_key(kind)) && lasting > Duration::from_secs(10) {
        outcome.tally.is_broken(|| format!("not everything was done: {done}"));
    }
    Ok(outcome)
}
