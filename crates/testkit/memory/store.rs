//! What a log in memory keeps, and how it changes.
//!
//! Guarantees: a send changes everything or nothing; numbers are given here only.
//! It announces nothing: it hands back what is to be announced.

mod openings;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use smol_str::SmolStr;
use tidings_core::{
    Channel, Code, Epoch, Error, Message, Position, Result, Seq, Timestamp, UserId,
    bus::Placed,
    log::{
        Allowances, ChannelFacts, Committed, Ended, ListChannels, OtherVersions, Page, Publication, Read, Remembered,
        SavedState,
    },
};

use super::MemoryConfig;

/// How long an idempotency id or a command's answer is kept.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Something that a sink is to hear.
pub(crate) enum News {
    Committed(Vec<Committed>),
    Trimmed(Channel, Seq),
    StateWanted(Channel, Seq),
    Deleted(Channel),
    Uncertain,
}

struct Kept {
    head: Seq,
    messages: BTreeMap<Seq, Committed>,
    owner: Option<UserId>,
    project: Option<SmolStr>,
    created_at: Timestamp,
    updated_at: Timestamp,
    open: bool,
    saved: Option<SavedState>,
    wanted: Seq,
}

impl Kept {
    fn first(&self) -> Seq {
        self.messages.keys().next().copied().unwrap_or(self.head + 1)
    }

    fn bytes(&self) -> u64 {
        self.messages.values().map(|kept| kept.message.payload.json().len() as u64).sum()
    }

    /// Forgets the messages below `first`, if there are some.
    fn cut(&mut self, channel: &Channel, first: Seq) -> Option<News> {
        if first <= self.first() {
            return None;
        }
        self.messages = self.messages.split_off(&first);
        Some(News::Trimmed(channel.clone(), first))
    }

    fn facts(&self, channel: &Channel) -> ChannelFacts {
        ChannelFacts {
            channel: channel.clone(),
            head: self.head,
            first: self.first(),
            owner: self.owner.clone(),
            project: self.project.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            bytes: self.bytes(),
            open: self.open,
            saved: self.saved.as_ref().map(SavedState::at),
        }
    }
}

struct Sent {
    body: String,
    places: Vec<Placed>,
    at: Timestamp,
    /// For whom it counts.
    payer: Option<UserId>,
}

type SentKey = (Channel, Option<UserId>, SmolStr);

/// The contents of a log.
pub(crate) struct Store {
    pub(crate) epoch: Epoch,
    global: u64,
    time: Timestamp,
    channels: BTreeMap<Channel, Kept>,
    sent: HashMap<SentKey, Sent>,
    commands: HashMap<(UserId, String), (Remembered, Timestamp)>,
    /// The day of a user's newest channels, and how many they are.
    made: HashMap<UserId, (i64, u64)>,
    /// Of which version all saved states of a namespace are.
    versions: HashMap<String, u32>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Epoch(tidings_core::id::random()),
            global: 0,
            time: Timestamp(0),
            channels: BTreeMap::new(),
            sent: HashMap::new(),
            commands: HashMap::new(),
            made: HashMap::new(),
            versions: HashMap::new(),
        }
    }

    /// One send: where its publications stand, and what is to be announced.
    pub(crate) fn append(
        &mut self,
        (payer, publications): (Option<UserId>, Vec<Publication>),
        now: Timestamp,
        allowed: &Allowances,
    ) -> Result<(Vec<Placed>, Vec<Committed>)> {
        self.time = self.time.max(now);
        let (mut placed, mut news) = (Vec::new(), Vec::new());
        let groups = groups(publications);
        self.refuse_conflicts(&groups, now)?;
        self.refuse_openings(&groups, now)?;
        self.pay(payer.as_ref(), &groups, now, allowed)?;
        for group in groups {
            let key = key(&group[0]);
            if let Some(sent) = key.as_ref().and_then(|key| self.known(key, now)) {
                placed.extend(sent.places.iter().cloned());
                continue;
            }
            let body = body(&group);
            let places: Vec<Placed> = group.into_iter().map(|one| self.place(one, &mut news)).collect();
            placed.extend(places.iter().cloned());
            if let Some(key) = key {
                self.sent.insert(key, Sent { body, places, at: now, payer: payer.clone() });
            }
        }
        Ok((placed, news))
    }

    fn known(&self, key: &SentKey, now: Timestamp) -> Option<&Sent> {
        self.sent.get(key).filter(|sent| sent.at.plus_ms(DAY_MS) > now)
    }

    /// Refuses a send that uses an id for another body than before, or for two bodies.
    fn refuse_conflicts(&self, groups: &[Vec<Publication>], now: Timestamp) -> Result<()> {
        let mut here: HashMap<SentKey, String> = HashMap::new();
        let mut at = 0;
        for group in groups {
            let first = at;
            at += group.len();
            let Some(key) = key(&group[0]) else { continue };
            let body = body(group);
            let other = |known: &str| known != body;
            if self.known(&key, now).is_some_and(|sent| other(&sent.body)) || here.get(&key).is_some_and(|b| other(b)) {
                let why = "this id was used for something else before";
                return Err(Error::new(Code::Conflict, why).with_field("id", why).at_entry(Some(first)));
            }
            here.insert(key, body);
        }
        Ok(())
    }

    fn place(&mut self, publication: Publication, news: &mut Vec<Committed>) -> Placed {
        let Publication { channel, event, durable, opens } = publication;
        if !durable {
            let message = Arc::new(Message::new(channel.clone(), None, self.time, event));
            news.push(Committed { global: self.global, message });
            return Placed { channel, position: None };
        }
        self.global += 1;
        let kept = self.channels.entry(channel.clone()).or_insert_with(|| Kept {
            head: 0,
            messages: BTreeMap::new(),
            owner: None,
            project: None,
            created_at: self.time,
            updated_at: self.time,
            open: true,
            saved: None,
            wanted: 0,
        });
        kept.head += 1;
        kept.open = true;
        kept.updated_at = self.time;
        if let Some(opens) = opens {
            kept.owner = kept.owner.take().or(opens.owner);
            kept.project = kept.project.take().or(opens.project);
        }
        let seq = kept.head;
        let message = Arc::new(Message::new(channel.clone(), Some(seq), self.time, event));
        let committed = Committed { global: self.global, message };
        kept.messages.insert(seq, committed.clone());
        news.push(committed);
        Placed { channel, position: Some(Position { epoch: self.epoch.clone(), seq }) }
    }

    /// Trims what the configuration no longer keeps, as far as saved states allow.
    pub(crate) fn trim(&mut self, config: &MemoryConfig, now: Timestamp) -> Vec<News> {
        let mut news = Vec::new();
        for (channel, kept) in &mut self.channels {
            let keep = (config.retention)(channel.namespace());
            let mut first = kept.first();
            let (mut count, mut bytes) = (kept.messages.len() as u64, kept.bytes());
            for (seq, committed) in &kept.messages {
                let age = u64::try_from(now.0 - committed.message.time.0).unwrap_or(0);
                let over = (keep.messages > 0 && count > keep.messages)
                    || (keep.bytes > 0 && bytes > keep.bytes)
                    || (keep.age_ms > 0 && age > keep.age_ms);
                if !over {
                    break;
                }
                count -= 1;
                bytes -= committed.message.payload.json().len() as u64;
                first = seq + 1;
            }
            if config.projected.contains(channel.namespace()) {
                let saved = kept.saved.as_ref().map_or(0, |saved| saved.seq);
                if first > saved + 1 && kept.wanted < first - 1 {
                    kept.wanted = first - 1;
                    news.push(News::StateWanted(channel.clone(), first - 1));
                }
                first = first.min(saved + 1);
            }
            news.extend(kept.cut(channel, first));
        }
        news
    }

    /// Trims a channel below `first`, as far as saved states allow.
    pub(crate) fn trim_below(&mut self, channel: &Channel, first: Seq, config: &MemoryConfig) -> Vec<News> {
        let Some(kept) = self.channels.get_mut(channel) else { return Vec::new() };
        let mut first = first.min(kept.head + 1);
        let mut news = Vec::new();
        if config.projected.contains(channel.namespace()) {
            let saved = kept.saved.as_ref().map_or(0, |saved| saved.seq);
            if first > saved + 1 {
                news.push(News::StateWanted(channel.clone(), first - 1));
            }
            first = first.min(saved + 1);
        }
        news.extend(kept.cut(channel, first));
        news
    }

    /// Forgets the newest so many messages of the whole log, but none that is in a saved state.
    pub(crate) fn lose_tail(&mut self, lost: u64) {
        let keep = self.global.saturating_sub(lost);
        self.global = keep;
        for kept in self.channels.values_mut() {
            let saved = kept.saved.as_ref().map_or(0, |saved| saved.seq);
            while kept.messages.last_key_value().is_some_and(|(seq, last)| last.global > keep && *seq > saved) {
                kept.messages.pop_last();
                kept.head -= 1;
            }
        }
    }

    pub(crate) fn read(&self, channel: &Channel, read: &Read) -> Page {
        let Some(kept) = self.channels.get(channel) else { return Page { messages: Vec::new(), head: 0, first: 1 } };
        let end = read.before.unwrap_or(Seq::MAX);
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut take = |committed: &Committed| {
            let size = committed.message.payload.json().len();
            if messages.len() >= read.limit || (!messages.is_empty() && bytes + size > read.max_bytes) {
                return false;
            }
            bytes += size;
            messages.push(committed.message.clone());
            true
        };
        let start = read.after.saturating_add(1);
        if start < end {
            let range = kept.messages.range(start..end);
            if read.newest {
                for (_, committed) in range.rev() {
                    if !take(committed) {
                        break;
                    }
                }
                messages.reverse();
            } else {
                for (_, committed) in range {
                    if !take(committed) {
                        break;
                    }
                }
            }
        }
        Page { messages, head: kept.head, first: kept.first() }
    }

    pub(crate) fn feed(&self, after: u64, limit: usize) -> Vec<Committed> {
        let all = self.channels.values().flat_map(|kept| kept.messages.values());
        let mut found: Vec<Committed> = all.filter(|committed| committed.global > after).cloned().collect();
        found.sort_by_key(|committed| committed.global);
        found.truncate(limit);
        found
    }

    pub(crate) fn facts(&self, channel: &Channel) -> Option<ChannelFacts> {
        self.channels.get(channel).map(|kept| kept.facts(channel))
    }

    pub(crate) fn states(&self, channels: &[Channel]) -> Vec<Option<SavedState>> {
        channels.iter().map(|channel| self.channels.get(channel)?.saved.clone()).collect()
    }

    pub(crate) fn states_of_others(&self, query: &OtherVersions) -> Vec<ChannelFacts> {
        if self.versions.get(&query.namespace) == Some(&query.version) {
            return Vec::new();
        }
        let wanted = |(channel, kept): &(&Channel, &Kept)| {
            channel.namespace() == query.namespace
                && query.above.as_ref().is_none_or(|above| *channel > above)
                && kept.saved.as_ref().is_some_and(|saved| saved.version != query.version)
        };
        let found = self.channels.iter().filter(wanted).take(query.limit);
        found.map(|(channel, kept)| kept.facts(channel)).collect()
    }

    pub(crate) fn states_are_of(&mut self, namespace: String, version: u32) {
        self.versions.insert(namespace, version);
    }

    pub(crate) fn list(&self, query: &ListChannels) -> Vec<ChannelFacts> {
        let wanted = |channel: &Channel, kept: &Kept| {
            query.namespace.as_deref().is_none_or(|namespace| channel.namespace() == namespace)
                && query.project.as_deref().is_none_or(|project| kept.project.as_deref() == Some(project))
                && query.below.as_ref().is_none_or(|below| channel < below)
                && (!query.open || kept.open)
        };
        let all = self.channels.iter().rev().filter(|(channel, kept)| wanted(channel, kept));
        all.take(query.limit).map(|(channel, kept)| kept.facts(channel)).collect()
    }

    pub(crate) fn save_state(&mut self, channel: &Channel, state: SavedState, settled: bool) {
        if let Some(kept) = self.channels.get_mut(channel)
            && kept.saved.as_ref().is_none_or(|saved| saved.seq <= state.seq)
        {
            kept.open = !settled || state.seq < kept.head;
            kept.saved = Some(state);
        }
    }

    pub(crate) fn delete(&mut self, channel: &Channel) -> Result<News> {
        let kept = self.channels.get_mut(channel).ok_or_else(Error::not_found)?;
        kept.messages.clear();
        kept.open = false;
        kept.saved = None;
        Ok(News::Deleted(channel.clone()))
    }

    /// Refuses a send whose new ids or channels are beyond what its users may have; else the channels count.
    fn pay(
        &mut self,
        payer: Option<&UserId>,
        groups: &[Vec<Publication>],
        now: Timestamp,
        allowed: &Allowances,
    ) -> Result<()> {
        if let Some(user) = payer {
            let kept = self.sent.values().filter(|sent| sent.at.plus_ms(DAY_MS) > now);
            let held = kept.filter(|sent| sent.payer.as_ref() == Some(user)).count();
            let keys: HashSet<SentKey> = groups.iter().filter_map(|group| key(&group[0])).collect();
            let fresh = keys.iter().filter(|key| self.known(key, now).is_none()).count();
            if fresh > 0 && beyond(held + fresh, allowed.ids_per_user) {
                return Err(Error::overloaded("too many ids"));
            }
        }
        let day = now.0.div_euclid(DAY_MS);
        let (mut made, mut seen) = (self.made.clone(), HashSet::new());
        for group in groups {
            if key(&group[0]).is_some_and(|key| self.known(&key, now).is_some()) {
                continue;
            }
            for one in group.iter().filter(|one| one.durable && !self.channels.contains_key(&one.channel)) {
                let owner = one.opens.as_ref().and_then(|opens| opens.owner.as_ref());
                let Some(user) = payer.or(owner).filter(|_| seen.insert(&one.channel)) else { continue };
                let count = made.entry(user.clone()).or_insert((day, 0));
                *count = if count.0 == day { (day, count.1 + 1) } else { (day, 1) };
                if beyond(count.1 as usize, allowed.channels_per_user) {
                    return Err(Error::overloaded("too many channels"));
                }
            }
        }
        self.made = made;
        Ok(())
    }

    pub(crate) fn begin_command(
        &mut self,
        (user, id): (&UserId, &str),
        digest: &str,
        now: Timestamp,
        allowed: &Allowances,
    ) -> Result<Option<Remembered>> {
        self.commands.retain(|_, (_, at)| at.plus_ms(DAY_MS) > now);
        let key = (user.clone(), id.to_owned());
        if let Some((remembered, _)) = self.commands.get(&key) {
            return Ok(Some(remembered.clone()));
        }
        let held = self.commands.keys().filter(|(whose, _)| whose == user).count();
        if beyond(held + 1, allowed.commands_per_user) {
            return Err(Error::overloaded("too many commands"));
        }
        self.commands.insert(key, (Remembered { digest: digest.to_owned(), ended: None }, now));
        Ok(None)
    }

    pub(crate) fn end_command(&mut self, user: &UserId, id: &str, ended: Option<Ended>, allowed: &Allowances) {
        let key = (user.clone(), id.to_owned());
        let Some(mut ended) = ended else { return drop(self.commands.remove(&key)) };
        match self.commands.get_mut(&key) {
            Some((remembered, _)) => remembered.ended = None,
            None => return,
        }
        let size = ended.answer.as_ref().map_or(0, String::len);
        let fits = size <= Allowances::LONGEST_ANSWER
            && self.let_go(Some(user), size, allowed.answers_per_user)
            && self.let_go(None, size, allowed.answers);
        ended.answer = ended.answer.filter(|_| fits);
        if let Some((remembered, _)) = self.commands.get_mut(&key) {
            remembered.ended = Some(ended);
        }
    }

    /// Lets the oldest answers go, of a user or of all, until so many bytes more are within the bound.
    fn let_go(&mut self, user: Option<&UserId>, size: usize, most: u64) -> bool {
        if beyond(size, most) {
            return false;
        }
        let of = |key: &(UserId, String)| user.is_none_or(|user| key.0 == *user);
        let length = |remembered: &Remembered| Some(remembered.ended.as_ref()?.answer.as_ref()?.len());
        let mut held: Vec<(Timestamp, (UserId, String), usize)> = self
            .commands
            .iter()
            .filter(|(key, _)| of(key))
            .filter_map(|(key, (remembered, at))| Some((*at, key.clone(), length(remembered)?)))
            .collect();
        held.sort();
        let mut total = size + held.iter().map(|(_, _, length)| length).sum::<usize>();
        for (_, key, length) in held {
            if !beyond(total, most) {
                break;
            }
            total -= length;
            if let Some(ended) = self.commands.get_mut(&key).and_then(|(remembered, _)| remembered.ended.as_mut()) {
                ended.answer = None;
            }
        }
        true
    }
}

/// Whether it is more than this, where 0 is no limit.
fn beyond(count: usize, most: u64) -> bool {
    most > 0 && count as u64 > most
}

/// A publication with an id and those without one that follow it: they are repeated together.
fn groups(publications: Vec<Publication>) -> Vec<Vec<Publication>> {
    let mut groups: Vec<Vec<Publication>> = Vec::new();
    for publication in publications {
        match groups.last_mut() {
            Some(group) if key(&publication).is_none() => group.push(publication),
            _ => groups.push(vec![publication]),
        }
    }
    groups
}

fn key(publication: &Publication) -> Option<SentKey> {
    let id = publication.event.id.clone().filter(|_| publication.durable)?;
    Some((publication.channel.clone(), publication.event.by.clone(), id))
}

fn body(group: &[Publication]) -> String {
    let one = |one: &Publication| {
        format!("{} {} {} {}\n", one.channel, one.event.event_type, one.durable, one.event.payload.json())
    };
    group.iter().map(one).collect()
}
