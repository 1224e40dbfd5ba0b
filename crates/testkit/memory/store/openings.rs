//! What a log in memory refuses to open.

use std::collections::HashMap;

use tidings_core::{
    Result, Timestamp,
    log::{Opens, Publication},
};

use super::{Store, key};

impl Store {
    /// Refuses a send that opens what others have opened, before it or in it.
    pub(super) fn refuse_openings(&self, groups: &[Vec<Publication>], now: Timestamp) -> Result<()> {
        let (mut here, mut at) = (HashMap::new(), 0);
        for group in groups {
            let is_known = key(&group[0]).is_some_and(|key| self.known(&key, now).is_some());
            for one in group {
                let place = at;
                at += 1;
                let Some(opens) = one.opens.as_ref().filter(|_| one.durable && !is_known) else { continue };
                let known = self.channels.get(&one.channel).map(|kept| (kept.owner.clone(), kept.project.clone()));
                let facts = here.entry(&one.channel).or_insert_with(|| known.unwrap_or_default());
                if opens.differ(facts.0.as_ref(), facts.1.as_deref()) {
                    return Err(Opens::refused(place));
                }
                facts.0 = facts.0.take().or_else(|| opens.owner.clone());
                facts.1 = facts.1.take().or_else(|| opens.project.clone());
            }
        }
        Ok(())
    }
}
