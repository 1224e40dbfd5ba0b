//! Saved states: how they are read, and how those of other versions are brought to this one at the start.
//!
//! Guarantees: a saved state is read, upgraded by its reducer, or an error that the server's log names; it is
//! never left aside for a fold of what is left of the history. Before anything of another version is
//! written over, every state of it was seen to have a way; where one has none, the start ends and nothing
//! is changed. What was looked at once costs a start nothing.
//! It is not the fold: that is `states`.

use tidings_core::{
    Channel, Error, Result, Seq,
    log::{ChannelFacts, OtherVersions, Read, SavedState},
    projection::{Folded, Projection},
};

use super::{PAGE, PAGE_BYTES, StateStore};

/// How many states of other versions are looked at at once.
const LOOK: usize = 64;

/// Why the states of a log cannot be gone on from. Ends the start.
#[derive(Debug, thiserror::Error)]
pub enum StatesError {
    /// The log does not work.
    #[error(transparent)]
    Log(#[from] Error),
    /// Saved states that this program cannot read, of channels whose messages are not all there any more.
    #[error(
        "the saved state of {channel} is of version {found}, and this program reads version {known} and cannot \
         bring it there ({count} such states in all; the messages that they hold the effect of are gone). No \
         state was changed: restore the back-up from before the upgrade, and start the version of Tidings that \
         wrote them"
    )]
    Unreadable {
        /// The first of them, by name.
        channel: Channel,
        /// The version that wrote it.
        found: u32,
        /// The version of this program.
        known: u32,
        /// How many there are, of all namespaces.
        count: usize,
    },
}

/// A saved state that another version made, and whose it is.
type Other = (ChannelFacts, SavedState);

/// A saved state as this version's.
pub(super) fn restore(projection: &dyn Projection, channel: &Channel, saved: &SavedState) -> Result<Box<dyn Folded>> {
    let read = if saved.version == projection.version() {
        projection.restore(&saved.bytes).ok()
    } else {
        projection.upgrade(saved.version, &saved.bytes)
    };
    read.ok_or_else(|| {
        let (error, known) = (Error::internal(), projection.version());
        let (version, seq) = (saved.version, saved.seq);
        tracing::error!(%channel, version, known, seq, %error, "a saved state cannot be read: restore it from a back-up");
        error
    })
}

impl StateStore {
    /// Brings all saved states to the versions of this program's reducers: upgraded by the reducer, or
    /// folded anew where that is not possible and the whole history is there. To be called once, before
    /// the first state is asked for.
    ///
    /// # Errors
    /// [`StatesError::Unreadable`] for a state that neither is possible for; nothing is changed then.
    /// The log's.
    pub async fn adopt(&self) -> Result<(), StatesError> {
        let projections: Vec<_> =
            self.registry.projections().into_iter().map(|(name, projection)| (name, projection.clone())).collect();
        let mut unreadable = None;
        for (namespace, projection) in &projections {
            let mut above = None;
            while let Some(others) = self.others(namespace, &**projection, &mut above).await? {
                for (facts, saved) in others {
                    if has_way(&**projection, &facts, &saved) {
                        continue;
                    }
                    let (found, known) = (saved.version, projection.version());
                    let first = (facts.channel, found, known, 0);
                    unreadable.get_or_insert(first).3 += 1;
                }
            }
        }
        if let Some((channel, found, known, count)) = unreadable {
            return Err(StatesError::Unreadable { channel, found, known, count });
        }
        for (namespace, projection) in &projections {
            self.bring(namespace, &**projection).await?;
        }
        Ok(())
    }

    /// Brings the states of a namespace to its version. Each has a way.
    async fn bring(&self, namespace: &str, projection: &dyn Projection) -> Result<()> {
        let (mut above, mut upgraded, mut folded) = (None, 0_u64, 0_u64);
        while let Some(others) = self.others(namespace, projection, &mut above).await? {
            for (facts, saved) in others {
                let (seq, state) = match projection.upgrade(saved.version, &saved.bytes) {
                    Some(state) => {
                        upgraded += 1;
                        (saved.seq, state)
                    }
                    None => {
                        folded += 1;
                        self.fold_anew(projection, &facts).await?
                    }
                };
                let settled = !state.is_open();
                let state = SavedState { seq, version: projection.version(), bytes: state.save() };
                self.log.save_state(&facts.channel, state, settled).await?;
            }
        }
        if upgraded + folded > 0 {
            let version = projection.version();
            tracing::warn!(namespace, version, upgraded, folded, "saved states were brought to this version");
        }
        self.log.states_are_of(namespace, projection.version()).await
    }

    /// The next states of a namespace that another version made; none at the end.
    async fn others(
        &self,
        namespace: &str,
        projection: &dyn Projection,
        above: &mut Option<Channel>,
    ) -> Result<Option<Vec<Other>>> {
        let (namespace, version) = (namespace.to_owned(), projection.version());
        let query = OtherVersions { namespace, version, above: above.clone(), limit: LOOK };
        let found = self.log.states_of_others(query).await?;
        let Some(last) = found.last() else { return Ok(None) };
        *above = Some(last.channel.clone());
        let channels = found.iter().map(|facts| facts.channel.clone()).collect();
        let states = self.log.states(channels).await?;
        Ok(Some(found.into_iter().zip(states).filter_map(|(facts, state)| Some((facts, state?))).collect()))
    }

    /// The state of a channel whose whole history is there, at its head.
    async fn fold_anew(&self, projection: &dyn Projection, facts: &ChannelFacts) -> Result<(Seq, Box<dyn Folded>)> {
        let (mut seq, mut state) = (0, projection.start());
        loop {
            let read = Read { after: seq, before: None, limit: PAGE, max_bytes: PAGE_BYTES, newest: false };
            let page = self.log.read(&facts.channel, read).await?;
            if page.first > 1 {
                let channel = &facts.channel;
                return Err(Error::unavailable(format!("messages of {channel} went while its state was folded anew")));
            }
            let Some(last) = page.messages.last().and_then(|message| message.seq) else { return Ok((seq, state)) };
            page.messages.iter().for_each(|message| state.apply(message));
            seq = last;
        }
    }
}

/// Whether a state of another version can become one of this.
fn has_way(projection: &dyn Projection, facts: &ChannelFacts, saved: &SavedState) -> bool {
    facts.first == 1 || projection.upgrade(saved.version, &saved.bytes).is_some()
}
