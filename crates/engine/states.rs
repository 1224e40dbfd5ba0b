//! The states of all things: projections folded on demand, kept in memory, saved in the log.
//!
//! Guarantees: a state is given as of exactly the seq that stands beside it; snapshot, REST and list
//! read the same fold, and its JSON is made once; publishing never waits for a fold. A crowd that asks at
//! once causes one fold.
//! It is not written to: only messages change a state.

use std::sync::{Arc, Weak};

use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, Channel, Code, Error, Message, Result, Seq, fault,
    log::{ChannelFacts, Committed, EventLog, ListChannels, Read, SavedState},
    panics,
    projection::{Folded, ListStates, Projection, States, View},
    runtime::Tasks,
};
use tokio::sync::mpsc;

use self::{
    drafts::Drafts,
    memory::{Kept, Memory},
};
use crate::registry::Registry;

mod drafts;
mod memory;
mod saved;
#[cfg(test)]
mod tests;

pub use self::saved::StatesError;

/// A state is saved when so many messages were folded in since the last time.
const SAVE_EVERY: u64 = 256;
/// How much is read at once while folding.
const PAGE: usize = 512;
const PAGE_BYTES: usize = 1024 * 1024;
/// How many states of a list are folded at once.
const AT_ONCE: usize = 16;
/// How many wishes of the log wait; what does not fit is wished again.
const WISHES: usize = 1024;
/// How many things that ended wait for their states to be saved; those that do not fit are looked at by the
/// next start.
const ENDED: usize = 16 * 1024;

/// The states of a server.
pub struct StateStore {
    this: Weak<Self>,
    registry: Arc<Registry>,
    log: Arc<dyn EventLog>,
    memory: Mutex<Memory>,
    drafts: Drafts,
    wishes: mpsc::Sender<Channel>,
    ended: mpsc::Sender<Channel>,
}

impl std::fmt::Debug for StateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateStore")
    }
}

/// A state as of exactly `seq`. A copy is another look at the same one.
#[derive(Clone)]
pub struct StateAt {
    /// The last message in it; the channel's head when it was asked for.
    pub seq: Seq,
    /// The state.
    pub state: Arc<dyn Folded>,
}

impl std::fmt::Debug for StateAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateAt({})", self.seq)
    }
}

/// A state that a fold goes on from.
struct Begun {
    seq: Seq,
    saved: Seq,
    /// How long its JSON is, about: what was measured last, and the data of the messages since.
    bytes: usize,
    state: Box<dyn Folded>,
}

impl StateStore {
    /// The states over a log. A task saves what the log wants before it trims, and what has ended.
    #[must_use]
    pub fn new(registry: Arc<Registry>, log: Arc<dyn EventLog>, tasks: &dyn Tasks) -> Arc<Self> {
        let ((wishes, mut waiting), (ended, mut over)) = (mpsc::channel(WISHES), mpsc::channel(ENDED));
        let (memory, drafts) = (Mutex::default(), Drafts::default());
        let store = Arc::new_cyclic(|this| Self { this: this.clone(), registry, log, memory, drafts, wishes, ended });
        let (saver, mut stopping) = (Arc::downgrade(&store), tasks.stopping());
        tasks.spawn(
            "states.save",
            Box::pin(async move {
                loop {
                    let (channel, wished): (Option<Channel>, _) = tokio::select! {
                        biased;
                        () = &mut stopping => return,
                        channel = waiting.recv() => (channel, true),
                        channel = over.recv() => (channel, false),
                    };
                    let (Some(channel), Some(store)) = (channel, saver.upgrade()) else { return };
                    let saved = panics::caught_in("states.save", async {
                        fault::here("states.save");
                        if wished { store.save_now(&channel).await } else { store.settle(&channel).await }
                    });
                    let Err(error) = saved.await.flatten() else { continue };
                    if wished {
                        tracing::warn!(%channel, %error, "a state was not saved; the log asks again");
                    } else if error.code() == Code::Unavailable {
                        // As at a stop: what ends last finds the log closed.
                        tracing::debug!(%channel, %error, "the state of what ended was not saved; the next start looks at it");
                    } else {
                        tracing::warn!(%channel, %error, "the state of what ended was not saved; the next start looks at it");
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
        for Committed { message, .. } in batch {
            if message.seq.is_some()
                && self.registry.may_settle(&message.event_type)
                && self.has_projection(&message.channel)
                && self.ended.try_send(message.channel.clone()).is_err()
            {
                metrics::counter!("tidings_states_unsettled_total").increment(1);
            }
        }
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
        let gone = self.memory.lock().forget(channel);
        drop(gone);
    }

    /// The state of a channel at its head; none if it has no projection or was never published to.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    pub async fn at_head(&self, channel: &Channel) -> Result<Option<StateAt>> {
        let Some(projection) = self.registry.projection(channel).cloned() else { return Ok(None) };
        let Some(facts) = self.log.facts(channel).await? else { return Ok(None) };
        let at = self.fold(&projection, &facts).await?;
        Ok(Some(self.shown(channel, at)))
    }

    /// A state with the channel's draft in it, if there is one: made once for all who are shown the same.
    fn shown(&self, channel: &Channel, at: StateAt) -> StateAt {
        let Some(draft) = self.drafts.number(channel) else { return at };
        let make = || {
            let mut state = at.state.boxed_clone();
            self.drafts.show(channel, &mut *state);
            Arc::from(state)
        };
        let shown = self.memory.lock().shown(channel, at.seq, draft);
        let state = shown.map_or_else(make, |shown| shown.state(make));
        StateAt { seq: at.seq, state }
    }

    async fn save_now(&self, channel: &Channel) -> Result<()> {
        let deletions = self.deletions();
        let Some(projection) = self.registry.projection(channel).cloned() else { return Ok(()) };
        let Some(facts) = self.log.facts(channel).await? else { return Ok(()) };
        let at = self.fold(&projection, &facts).await?;
        if deletions != self.deletions() {
            return Err(Error::unavailable("a channel was deleted meanwhile"));
        }
        self.save(channel, &at).await.map(drop)
    }

    /// Something of a channel has ended: where nothing is open any more, that is saved.
    async fn settle(&self, channel: &Channel) -> Result<()> {
        let Some(projection) = self.registry.projection(channel).cloned() else { return Ok(()) };
        let Some(facts) = self.log.facts(channel).await?.filter(|facts| facts.open) else { return Ok(()) };
        self.fold(&projection, &facts).await.map(drop)
    }

    fn deletions(&self) -> u64 {
        self.memory.lock().deletions
    }

    /// Saves a state. How many bytes it has.
    async fn save(&self, channel: &Channel, at: &StateAt) -> Result<usize> {
        let Some(projection) = self.registry.projection(channel) else { return Ok(0) };
        let state = SavedState { seq: at.seq, version: projection.version(), bytes: at.state.save() };
        let bytes = state.bytes.len();
        self.log.save_state(channel, state, !at.state.is_open()).await?;
        self.memory.lock().saved(channel, at.seq);
        Ok(bytes)
    }

    /// The state at the head that the facts name, or a newer one: from memory, or of the one fold that is
    /// under way for all who ask.
    async fn fold(&self, projection: &Arc<dyn Projection>, facts: &ChannelFacts) -> Result<StateAt> {
        loop {
            let flight = {
                let mut memory = self.memory.lock();
                if let Some(kept) = memory.get(&facts.channel)
                    && kept.at.seq >= facts.head
                {
                    return Ok(kept.at);
                }
                memory.flight(&facts.channel, |number| self.begin(projection.clone(), facts.clone(), number))
            };
            // One that began earlier may stand before this head.
            let at = flight.await?;
            if at.seq >= facts.head {
                return Ok(at);
            }
        }
    }

    fn begin(
        &self,
        projection: Arc<dyn Projection>,
        facts: ChannelFacts,
        number: u64,
    ) -> BoxFuture<'static, Result<StateAt>> {
        let this = self.this.clone();
        Box::pin(async move {
            let store = this.upgrade().ok_or_else(|| Error::unavailable("the server is stopping"))?;
            // Caught here: whoever waits for this fold, too, gets an error.
            let done = panics::caught_in("states.fold", store.fold_alone(&*projection, &facts)).await.flatten();
            // When it is saved, too, so that whoever waits for it by this figure finds that.
            metrics::counter!("tidings_state_folds_total").increment(1);
            store.memory.lock().landed(&facts.channel, number);
            done
        })
    }

    /// Folds from the newest of what is in memory and what is saved up to the head.
    async fn fold_alone(&self, projection: &dyn Projection, facts: &ChannelFacts) -> Result<StateAt> {
        let (mut head, deletions) = (facts.head, self.deletions());
        let Begun { mut seq, mut saved, mut bytes, mut state } = self.start(projection, facts).await?;
        while seq < head {
            let read = Read { after: seq, before: Some(head + 1), limit: PAGE, max_bytes: PAGE_BYTES, newest: false };
            let page = self.log.read(&facts.channel, read).await?;
            if page.first > seq + 1
                && let Some(newer) = self.saved(projection, &facts.channel).await?
                && newer.seq > seq
            {
                // It was trimmed meanwhile, and only because another fold saved its effect before.
                Begun { seq, saved, bytes, state } = newer;
                head = head.max(seq);
                continue;
            }
            let Some(last) = page.messages.last().and_then(|message| message.seq) else { break };
            for message in &page.messages {
                state.apply(message);
                bytes += message.payload.json().len();
            }
            seq = last;
        }
        // What is trimmed and in no state is gone; the fold stands at the head all the same.
        seq = seq.max(head);
        let at = StateAt { seq, state: Arc::from(state) };
        if deletions != self.deletions() {
            return Ok(at);
        }
        // A settled one also where its bytes are saved already and the log does not know what they say.
        let settled = !at.state.is_open() && (seq > saved || facts.open);
        if seq >= saved + SAVE_EVERY || settled {
            bytes = self.save(&facts.channel, &at).await?;
            saved = seq;
        }
        let gone = self.memory.lock().keep(&facts.channel, Kept { at: at.clone(), saved, bytes });
        drop(gone);
        Ok(at)
    }

    /// Where a fold begins: in memory, or with what is saved.
    async fn start(&self, projection: &dyn Projection, facts: &ChannelFacts) -> Result<Begun> {
        let kept = self.memory.lock().get(&facts.channel);
        if let Some(Kept { at, saved, bytes }) = kept {
            return Ok(Begun { seq: at.seq, saved, bytes, state: at.state.boxed_clone() });
        }
        let saved = match facts.saved {
            Some(_) => self.saved(projection, &facts.channel).await?,
            None => None,
        };
        Ok(saved.unwrap_or_else(|| Begun { seq: 0, saved: 0, bytes: 0, state: projection.start() }))
    }

    /// The state that the log keeps.
    async fn saved(&self, projection: &dyn Projection, channel: &Channel) -> Result<Option<Begun>> {
        let Some(saved) = self.log.states(vec![channel.clone()]).await?.pop().flatten() else { return Ok(None) };
        let state = saved::restore(projection, channel, &saved)?;
        Ok(Some(Begun { seq: saved.seq, saved: saved.seq, bytes: saved.bytes.len(), state }))
    }

    fn view(&self, facts: &ChannelFacts, at: StateAt) -> View {
        let at = self.shown(&facts.channel, at);
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
            let at = self.fold(projection, &facts).await?;
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
                open: query.open,
                limit: query.limit,
            };
            let folds = self.log.list(listing).await?.into_iter().map(|facts| async move {
                let at = self.fold(projection, &facts).await?;
                Ok(self.view(&facts, at))
            });
            stream::iter(folds).buffered(AT_ONCE).try_collect().await
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
