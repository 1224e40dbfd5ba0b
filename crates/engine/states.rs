//! The states of all things: projections folded on demand, kept in memory, saved in the log.
//!
//! Guarantees: a state is given as of exactly the seq that stands beside it; snapshot, REST and list
//! read the same fold; publishing never waits for a fold.
//! It is not written to: only messages change a state.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, Channel, Error, Message, Result, Seq, fault,
    log::{ChannelFacts, Committed, EventLog, ListChannels, Read, SavedState},
    panics,
    projection::{Folded, ListStates, Projection, States, View},
    runtime::Tasks,
};
use tokio::sync::mpsc;

use self::drafts::Drafts;
use crate::registry::Registry;

mod drafts;
#[cfg(test)]
mod tests;

/// How many states are kept in memory.
const KEPT: usize = 1024;
/// A state is saved when so many messages were folded in since the last time.
const SAVE_EVERY: u64 = 256;
/// How much is read at once while folding.
const PAGE: usize = 512;
const PAGE_BYTES: usize = 1024 * 1024;
/// How many wishes of the log wait; what does not fit is wished again.
const WISHES: usize = 1024;

struct Kept {
    seq: Seq,
    saved: Seq,
    used: u64,
    state: Box<dyn Folded>,
}

#[derive(Default)]
struct Memory {
    states: HashMap<Channel, Kept>,
    tick: u64,
    /// How often a channel was deleted: a fold that began before one may hold what is gone.
    deletions: u64,
}

/// The states of a server.
pub struct StateStore {
    registry: Arc<Registry>,
    log: Arc<dyn EventLog>,
    memory: Mutex<Memory>,
    drafts: Drafts,
    wishes: mpsc::Sender<Channel>,
}

impl std::fmt::Debug for StateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateStore")
    }
}

/// A state as of exactly `seq`.
pub struct StateAt {
    /// The last message in it; the channel's head when it was asked for.
    pub seq: Seq,
    /// The state.
    pub state: Box<dyn Folded>,
}

impl std::fmt::Debug for StateAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateAt({})", self.seq)
    }
}

impl StateStore {
    /// The states over a log. A task saves what the log wants before it trims.
    #[must_use]
    pub fn new(registry: Arc<Registry>, log: Arc<dyn EventLog>, tasks: &dyn Tasks) -> Arc<Self> {
        let (wishes, mut waiting) = mpsc::channel::<Channel>(WISHES);
        let store = Arc::new(Self { registry, log, memory: Mutex::default(), drafts: Drafts::default(), wishes });
        let (saver, mut stopping) = (Arc::downgrade(&store), tasks.stopping());
        tasks.spawn(
            "states.save",
            Box::pin(async move {
                loop {
                    let channel = tokio::select! {
                        channel = waiting.recv() => channel,
                        () = &mut stopping => return,
                    };
                    let (Some(channel), Some(store)) = (channel, saver.upgrade()) else { return };
                    let saved = panics::caught_in("states.save", async {
                        fault::here("states.save");
                        store.save_now(&channel).await
                    });
                    if let Err(error) = saved.await.flatten() {
                        tracing::warn!(%channel, %error, "a state was not saved; the log asks again");
                    }
                }
            }),
        );
        store
    }

    /// The log wants a saved state of a channel. Never waits.
    pub fn wanted(&self, channel: &Channel, _through: Seq) {
        if self.wishes.try_send(channel.clone()).is_err() {
            metrics::counter!("tidings_state_wishes_dropped_total").increment(1);
        }
    }

    /// Whether a channel's messages are folded into a state.
    #[must_use]
    pub fn has_projection(&self, channel: &Channel) -> bool {
        self.registry.projection(channel).is_some()
    }

    /// The log's news, in their order. Never waits.
    pub fn committed(&self, batch: &[Committed]) {
        self.drafts.committed(batch, |channel| self.registry.projection(channel)?.draft());
    }

    /// Whether ephemeral messages of a channel have built up something that is not replaced yet.
    #[must_use]
    pub fn has_draft(&self, channel: &Channel) -> bool {
        self.drafts.has(channel)
    }

    /// Ephemeral messages that bring a subscriber who missed some up to date.
    #[must_use]
    pub fn draft(&self, channel: &Channel) -> Vec<Message> {
        self.drafts.messages(channel)
    }

    /// A channel's log is gone, and its state with it.
    pub fn forget(&self, channel: &Channel) {
        self.drafts.forget(channel);
        let mut memory = self.memory.lock();
        memory.deletions += 1;
        memory.states.remove(channel);
    }

    /// The state of a channel at its head; none if it has no projection or was never published to.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    pub async fn at_head(&self, channel: &Channel) -> Result<Option<StateAt>> {
        let Some(projection) = self.registry.projection(channel).cloned() else { return Ok(None) };
        let Some(facts) = self.log.facts(channel).await? else { return Ok(None) };
        let mut at = self.fold(&*projection, &facts).await?;
        self.drafts.show(channel, &mut *at.state);
        Ok(Some(at))
    }

    async fn save_now(&self, channel: &Channel) -> Result<()> {
        let deletions = self.deletions();
        let Some(projection) = self.registry.projection(channel).cloned() else { return Ok(()) };
        let Some(facts) = self.log.facts(channel).await? else { return Ok(()) };
        let at = self.fold(&*projection, &facts).await?;
        if deletions != self.deletions() {
            return Err(Error::unavailable("a channel was deleted meanwhile"));
        }
        self.save(channel, &at).await
    }

    fn deletions(&self) -> u64 {
        self.memory.lock().deletions
    }

    async fn save(&self, channel: &Channel, at: &StateAt) -> Result<()> {
        let Some(projection) = self.registry.projection(channel) else { return Ok(()) };
        let state = SavedState { seq: at.seq, version: projection.version(), bytes: at.state.save() };
        self.log.save_state(channel, state).await?;
        if let Some(kept) = self.memory.lock().states.get_mut(channel) {
            kept.saved = kept.saved.max(at.seq);
        }
        Ok(())
    }

    /// Folds from the newest of what is in memory and what is saved up to the head.
    async fn fold(&self, projection: &dyn Projection, facts: &ChannelFacts) -> Result<StateAt> {
        let (mut head, deletions) = (facts.head, self.deletions());
        let (mut seq, mut saved, mut state) = self.start(projection, facts);
        let from = seq;
        while seq < head {
            let read = Read { after: seq, before: Some(head + 1), limit: PAGE, max_bytes: PAGE_BYTES, newest: false };
            let page = self.log.read(&facts.channel, read).await?;
            if page.first > seq + 1
                && let Some(facts) = self.log.facts(&facts.channel).await?
                && let Some((newer, its_state)) = Self::saved(projection, &facts).filter(|(newer, _)| *newer > seq)
            {
                // It was trimmed meanwhile, and only because another fold saved its effect before.
                (head, seq, saved, state) = (facts.head, newer, newer, its_state);
                continue;
            }
            let Some(last) = page.messages.last().and_then(|message| message.seq) else { break };
            for message in &page.messages {
                state.apply(message);
            }
            seq = last;
        }
        // What is trimmed and in no state is gone; the fold stands at the head all the same.
        seq = seq.max(head);
        let at = StateAt { seq, state };
        if deletions != self.deletions() {
            return Ok(at);
        }
        let settled = at.state.abandoned().is_empty() && seq > from;
        if seq >= saved + SAVE_EVERY || (settled && seq > saved) {
            self.save(&facts.channel, &at).await?;
            saved = seq;
        }
        self.keep(&facts.channel, &at, saved);
        Ok(at)
    }

    fn start(&self, projection: &dyn Projection, facts: &ChannelFacts) -> (Seq, Seq, Box<dyn Folded>) {
        let mut memory = self.memory.lock();
        memory.tick += 1;
        let tick = memory.tick;
        if let Some(kept) = memory.states.get_mut(&facts.channel)
            && kept.seq <= facts.head
        {
            kept.used = tick;
            return (kept.seq, kept.saved, kept.state.boxed_clone());
        }
        drop(memory);
        match Self::saved(projection, facts) {
            Some((seq, state)) => (seq, seq, state),
            None => (0, 0, projection.start()),
        }
    }

    /// The state that the log keeps, if this projection made it and can read it.
    fn saved(projection: &dyn Projection, facts: &ChannelFacts) -> Option<(Seq, Box<dyn Folded>)> {
        let saved = facts.saved.as_ref().filter(|saved| saved.version == projection.version())?;
        Some((saved.seq, projection.restore(&saved.bytes).ok()?))
    }

    fn keep(&self, channel: &Channel, at: &StateAt, saved: Seq) {
        let mut memory = self.memory.lock();
        memory.tick += 1;
        let used = memory.tick;
        let newer = memory.states.get(channel).is_none_or(|kept| kept.seq <= at.seq);
        if newer {
            memory.states.insert(channel.clone(), Kept { seq: at.seq, saved, used, state: at.state.boxed_clone() });
        }
        if memory.states.len() > KEPT {
            let mut ages: Vec<u64> = memory.states.values().map(|kept| kept.used).collect();
            let middle = ages.len() / 2;
            let (_, &mut median, _) = ages.select_nth_unstable(middle);
            memory.states.retain(|_, kept| kept.used > median);
        }
    }

    fn view(&self, facts: &ChannelFacts, mut at: StateAt) -> View {
        self.drafts.show(&facts.channel, &mut *at.state);
        View {
            id: facts.channel.id().into(),
            owner: facts.owner.clone(),
            project: facts.project.clone(),
            seq: at.seq,
            updated_at: facts.updated_at,
            state: at.state,
        }
    }

    fn home(&self, domain: &'static str, id: &str) -> Result<Channel> {
        self.registry.handler(domain).and_then(|handler| handler.channel(id)).ok_or_else(Error::not_found)
    }
}

impl States for StateStore {
    fn get(&self, domain: &'static str, id: &str) -> BoxFuture<'_, Result<Option<View>>> {
        let home = self.home(domain, id);
        Box::pin(async move {
            let Ok(home) = home else { return Ok(None) };
            let Some(facts) = self.log.facts(&home).await? else { return Ok(None) };
            let Some(projection) = self.registry.projection(&home) else { return Ok(None) };
            let at = self.fold(&**projection, &facts).await?;
            Ok(Some(self.view(&facts, at)))
        })
    }

    fn list(&self, domain: &'static str, query: ListStates) -> BoxFuture<'_, Result<Vec<View>>> {
        Box::pin(async move {
            let some = self.home(domain, query.below.as_deref().unwrap_or("x"))?;
            let Some(projection) = self.registry.projection(&some) else { return Ok(Vec::new()) };
            let listing = ListChannels {
                namespace: Some(some.namespace().to_owned()),
                project: query.project.map(|project| project.to_string()),
                below: query.below.map(|_| some.clone()),
                limit: query.limit,
            };
            let mut views = Vec::new();
            for facts in self.log.list(listing).await? {
                let at = self.fold(&**projection, &facts).await?;
                views.push(self.view(&facts, at));
            }
            Ok(views)
        })
    }

    fn messages(
        &self,
        domain: &'static str,
        id: &str,
        after: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Arc<Message>>, bool)>> {
        let home = self.home(domain, id);
        Box::pin(async move {
            let read = Read { after, before: None, limit, max_bytes: PAGE_BYTES, newest: false };
            let page = self.log.read(&home?, read).await?;
            let more = page.messages.last().and_then(|message| message.seq).is_some_and(|seq| seq < page.head);
            Ok((page.messages, more))
        })
    }
}
