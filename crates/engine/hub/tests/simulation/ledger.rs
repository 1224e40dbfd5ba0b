//! The account of one simulated client: what it asked, what it was given and told, and what must hold.
//!
//! Guarantees: judged frame by frame against all that the log ever numbered: no hole, no double, no
//! disorder, no wrong content, nothing untold, nothing of a subscription before its answer or after its
//! end; ephemeral messages in their place, each given or counted.
//! It is not the client's will: what is asked when is drawn in `world`.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tidings_core::{Channel, Epoch, Message, Seq};
use tidings_testkit::{Sent, SimulatedLog};

/// How a channel is subscribed to, whatever the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wants {
    /// Only every second message.
    pub(super) filter: bool,
    pub(super) snapshot: bool,
    pub(super) max_lag: Option<u64>,
    pub(super) last: Option<u64>,
}

impl Wants {
    pub(super) fn passes(&self, message: &Message) -> bool {
        !self.filter || message.payload.json().contains(r#""half":1"#)
    }
}

/// One channel of a subscribe request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) channel: usize,
    pub(super) since: Option<(Option<Epoch>, Seq)>,
    pub(super) wants: Wants,
    /// How many ephemeral messages the server had heard of when it attached.
    pub(super) attached: Arc<Mutex<usize>>,
}

/// A request whose answer has not come yet.
#[derive(Debug)]
pub(super) enum Question {
    Subscribe(Vec<Asked>),
    Unsubscribe(Vec<usize>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    Nothing,
    Snapshot,
    Reset,
}

/// What a client knows of a channel.
#[derive(Debug)]
pub(super) struct View {
    pub(super) wants: Wants,
    /// A subscription runs, as far as the client was told.
    pub(super) on: bool,
    pub(super) epoch: Epoch,
    pub(super) at: Seq,
    /// Where it began: an ephemeral message from before may still be on its way.
    begun: Seq,
    /// The newest n were asked for: the first of them says where they begin.
    loose: bool,
    owed: Owed,
    /// The index of the first ephemeral message that counts, and of the next that may come.
    counted_from: usize,
    next_ephemeral: usize,
    heard: u64,
    dropped: u64,
}

impl View {
    /// Something came that belongs after what is owed.
    fn goes_on(&self, with: &impl std::fmt::Debug) {
        assert_eq!(self.owed, Owed::Nothing, "what is owed comes before {with:?}");
    }
}

/// What was told, over all channels.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) messages: u64,
    pub(super) ephemeral: u64,
    pub(super) dropped: u64,
    pub(super) gaps: u64,
    pub(super) snapshots: u64,
    pub(super) resets: u64,
    pub(super) closed: u64,
    pub(super) recovered: u64,
}

impl Told {
    pub(super) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.ephemeral += other.ephemeral;
        self.dropped += other.dropped;
        self.gaps += other.gaps;
        self.snapshots += other.snapshots;
        self.resets += other.resets;
        self.closed += other.closed;
        self.recovered += other.recovered;
    }
}

pub(super) struct Ledger {
    log: Arc<SimulatedLog>,
    channels: Arc<[Channel]>,
    pub(super) views: BTreeMap<usize, View>,
    pub(super) questions: BTreeMap<u64, Question>,
    pub(super) told: Told,
    /// The server said that it ends the connection.
    pub(super) ended: bool,
}

impl Ledger {
    pub(super) fn new(log: Arc<SimulatedLog>, channels: Arc<[Channel]>) -> Self {
        let (views, questions) = (BTreeMap::new(), BTreeMap::new());
        Self { log, channels, views, questions, told: Told::default(), ended: false }
    }

    /// The connection is gone: no answer comes any more, and positions are what the client goes on from.
    pub(super) fn cut(&mut self, log: &Arc<SimulatedLog>) {
        self.log = log.clone();
        self.questions.clear();
        self.ended = false;
        // Who waits for a state or a reset has nothing to go on from.
        self.views.retain(|_, view| view.owed == Owed::Nothing);
        self.views.values_mut().for_each(|view| view.on = false);
    }

    /// Judges what came.
    pub(super) fn take(&mut self, sent: &Sent) {
        let _shown = Shown(sent);
        assert!(!self.ended, "nothing comes after connection.closed");
        match sent {
            Sent::Message(message) => self.message(message, 0),
            Sent::Said(said) => {
                let json: Value = serde_json::from_slice(&said.json).expect("what is said is JSON");
                match said.answer_to {
                    Some(number) => self.answer(number, &json),
                    None => self.notice(&json),
                }
                if let Some(reached) = &said.reaches {
                    let at = self.views.get(&self.index(reached.channel.as_str())).map(|view| view.at);
                    assert_eq!(at, Some(reached.position.seq), "{json}");
                }
            }
        }
    }

    fn index(&self, channel: &str) -> usize {
        self.channels.iter().position(|known| known.as_str() == channel).expect("a channel of this world")
    }

    fn answer(&mut self, number: u64, json: &Value) {
        match self.questions.remove(&number).expect("one answer for each question") {
            Question::Unsubscribe(channels) => {
                assert_eq!(json["ok"], true);
                for channel in channels {
                    if let Some(view) = self.views.get_mut(&channel) {
                        view.on = false;
                    }
                }
            }
            Question::Subscribe(asked) => {
                let results = json["results"].as_array().expect("a result for each");
                assert_eq!(results.len(), asked.len());
                for (asked, result) in asked.iter().zip(results) {
                    if result["ok"] == true {
                        self.attached(asked, result);
                    }
                }
            }
        }
    }

    /// A subscription began, or a repeat left it as it is.
    fn attached(&mut self, asked: &Asked, answer: &Value) {
        let epoch = Epoch(answer["epoch"].as_str().expect("an epoch").into());
        let head = answer["seq"].as_u64().expect("a seq");
        if let Some(view) = self.views.get(&asked.channel)
            && view.on
            && asked.since.is_none()
            && view.wants == asked.wants
        {
            return;
        }
        let attached = *asked.attached.lock();
        let mut view = View {
            wants: asked.wants,
            on: true,
            epoch,
            at: head,
            begun: head,
            loose: false,
            owed: Owed::Nothing,
            counted_from: attached,
            next_ephemeral: attached,
            heard: 0,
            dropped: 0,
        };
        // What nothing was published to has none.
        let has_state = asked.wants.snapshot && head > 0;
        match (&asked.since, asked.wants.last) {
            (Some((epoch, seq)), _) => {
                let recovered = answer["recovered"].as_bool().expect("whether it was recovered");
                let reason = answer["reason"].as_str();
                let foreign = *seq > 0 && epoch.as_ref() != Some(&view.epoch);
                assert_eq!(reason == Some("epoch"), foreign, "the epoch is judged by what was asked: {answer}");
                self.told.recovered += u64::from(recovered);
                match reason {
                    None => {
                        assert!(recovered && *seq <= head, "recovered: {answer}");
                        view.at = *seq;
                    }
                    Some(_) if has_state => view.owed = Owed::Snapshot,
                    Some("trimmed") => view.at = *seq,
                    Some("epoch") => view.owed = Owed::Reset,
                    Some(other) => panic!("nobody knows the future here: {other}"),
                }
            }
            (None, Some(last)) => {
                view.loose = true;
                view.at = head.saturating_sub(last);
            }
            (None, None) if has_state => view.owed = Owed::Snapshot,
            (None, None) => {}
        }
        let comes = view.owed == Owed::Snapshot || (view.loose && has_state);
        assert_eq!(
            (&answer["exists"], &answer["snapshot"]),
            (&json!(head > 0), &json!(comes)),
            "what is to come is said"
        );
        self.views.insert(asked.channel, view);
    }

    /// A message came. It says how many ephemeral ones were lost before it.
    fn message(&mut self, message: &Message, dropped: u64) {
        let index = self.index(message.channel.as_str());
        let view = self.views.get_mut(&index).filter(|view| view.on);
        let view = view.unwrap_or_else(|| panic!("{message:?} of a channel that is not subscribed to"));
        view.goes_on(message);
        assert!(view.wants.passes(message), "{message:?} does not pass the filter");
        match message.seq {
            Some(seq) => {
                let known = self.log.past(&message.channel, seq).unwrap_or_else(|| panic!("{message:?} never was"));
                assert_eq!(known.payload.json(), message.payload.json(), "the content of {message:?}");
                assert!(seq > view.at, "{message:?} after {}: a double, or disorder", view.at);
                expect_nothing_between(&self.log, &message.channel, view, seq);
                (view.at, view.loose) = (seq, false);
                self.told.messages += 1;
            }
            None => {
                let json = message.payload.json();
                let later = self.log.ephemeral(&message.channel, view.next_ephemeral);
                let found = later.iter().position(|(known, _)| known.payload.json() == json);
                let found =
                    found.unwrap_or_else(|| panic!("{json} is a double, in disorder, or from before the answer"));
                let follows = later[found].1;
                // Where announcements were lost, what was read in their place may be ahead of what comes.
                let late = self.log.reached().lost_announcements > 0;
                assert!(
                    late || view.at <= follows.max(view.begun),
                    "{json} follows {follows}, and came after {}",
                    view.at
                );
                expect_nothing_between(&self.log, &message.channel, view, follows + 1);
                view.next_ephemeral += found + 1;
                view.heard += 1;
                view.dropped += dropped;
                self.told.ephemeral += 1;
                self.told.dropped += dropped;
            }
        }
    }

    fn notice(&mut self, json: &Value) {
        let (kind, data) = (json["type"].as_str().expect("a type"), &json["data"]);
        if kind == "connection.closed" {
            self.ended = true;
            return;
        }
        let index = self.index(data["channel"].as_str().or(json["channel"].as_str()).expect("a channel"));
        let channel = self.channels[index].clone();
        if kind == "count.beat" {
            let event = tidings_core::Event {
                event_type: kind.parse().expect("a type"),
                payload: tidings_core::Payload::kept(&json["data"].to_string()),
                channel: None,
                by: None,
                id: None,
            };
            let message = Message::new(channel, None, tidings_core::Timestamp(0), event);
            return self.message(&message, json["dropped"].as_u64().expect("why it was said"));
        }
        let view = self.views.get_mut(&index).filter(|view| view.on);
        let view = view.unwrap_or_else(|| panic!("{json} of a channel that is not subscribed to"));
        if kind == "channel.closed" {
            view.on = false;
            self.told.closed += 1;
            return;
        }
        let number = |field: &str| data[field].as_u64().unwrap_or_else(|| panic!("{field} of {json}"));
        assert_eq!(data["epoch"].as_str(), Some(&*view.epoch.0), "{json}");
        match kind {
            "channel.position" => {
                view.goes_on(json);
                let (seq, head) = (number("seq"), number("head"));
                assert!(view.at <= seq && seq <= head.max(seq), "{json} after {}", view.at);
                expect_nothing_between(&self.log, &channel, view, seq + 1);
                (view.at, view.loose) = (seq, false);
            }
            "channel.gap" => {
                let (from, to) = (number("from"), number("to"));
                assert!(view.at < from && from <= to, "{json} after {}", view.at);
                expect_nothing_between(&self.log, &channel, view, from);
                match data["reason"].as_str() {
                    Some("trimmed") => assert!(to < self.log.stands(&channel).0, "{json} was never trimmed"),
                    Some("lag") => assert!(view.wants.max_lag.is_some_and(|most| to - view.at > most), "{json}"),
                    _ => panic!("{json}: an unknown reason"),
                }
                (view.at, view.loose) = (to, false);
                self.told.gaps += 1;
            }
            "channel.reset" => {
                assert_eq!(view.owed, Owed::Reset, "{json}");
                (view.at, view.owed) = (number("seq"), Owed::Nothing);
                self.told.resets += 1;
            }
            "channel.snapshot" => {
                let seq = number("seq");
                let history = view.loose || view.wants.last.is_some();
                if history && data["reason"] == "joined" {
                    expect_nothing_between(&self.log, &channel, view, seq + 1);
                }
                assert!(view.wants.snapshot && seq >= view.at, "{json} after {}", view.at);
                expect_state(&self.log, &channel, seq, &data["snapshot"]);
                (view.at, view.begun, view.owed, view.loose) = (seq, seq, Owed::Nothing, false);
                self.told.snapshots += 1;
            }
            _ => panic!("{json}: an unknown notice"),
        }
    }

    /// After everything has calmed down: every subscription stands at the head, and nothing is owed.
    pub(super) fn expect_at_head(&self) {
        assert!(self.questions.is_empty(), "every question is answered: {:?}", self.questions);
        for (index, view) in self.views.iter().filter(|(_, view)| view.on) {
            let channel = &self.channels[*index];
            let head = self.log.stands(channel).1;
            assert_eq!(view.owed, Owed::Nothing, "{channel}: {view:?}");
            assert!(view.at <= head, "{channel}: {view:?} is beyond {head}");
            if !view.loose {
                expect_nothing_between(&self.log, channel, view, head + 1);
            }
        }
    }

    /// After an ephemeral message reached everybody: each was given or counted.
    pub(super) fn expect_all_counted(&self) {
        for (index, view) in self.views.iter().filter(|(_, view)| view.on) {
            let channel = &self.channels[*index];
            let all = self.log.ephemeral(channel, view.counted_from);
            let passing = all.iter().filter(|(message, _)| view.wants.passes(message)).count() as u64;
            let told = view.heard + view.dropped;
            // What left the server's memory unseen, no filter can judge.
            let fine = told == passing || (view.wants.filter && told > passing && told <= all.len() as u64);
            assert!(fine, "{channel}: {told} given and counted of {passing}; {view:?}");
        }
    }
}

/// Shows what was being judged when the judgement failed.
struct Shown<'a>(&'a Sent);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("while it took {:?}", self.0);
        }
    }
}

/// Whether everything after what the view has and before `end` was rightly left out.
fn expect_nothing_between(log: &SimulatedLog, channel: &Channel, view: &View, end: Seq) {
    for seq in view.at + 1..end {
        let known = log.past(channel, seq).unwrap_or_else(|| panic!("{channel} has no {seq}"));
        // Of the newest n, those that were trimmed meanwhile were never promised.
        let gone = view.loose && seq < log.stands(channel).0;
        assert!(
            gone || !view.wants.passes(&known),
            "{channel}: {seq} is missing before {end}, and nobody told; {view:?}"
        );
    }
}

/// Whether a state is the fold of what it says. Of a channel that was deleted nothing is said: what a fold
/// that began before a deletion holds is the states' to settle, not the hub's.
fn expect_state(log: &SimulatedLog, channel: &Channel, seq: Seq, state: &Value) {
    if log.was_deleted(channel) {
        return;
    }
    let got = (state[0].as_u64().unwrap_or_default(), state[1].as_u64().unwrap_or_default());
    let messages = (1..=seq).filter_map(|seq| log.past(channel, seq));
    let fold = messages.fold((0, 0), |(count, sum), message| (count + 1, sum + number_of(&message)));
    assert_eq!(fold, got, "the state of {channel} at {seq}");
}

/// The `n` of a message.
fn number_of(message: &Message) -> u64 {
    let after = message.payload.json().rsplit(':').next().unwrap_or_default();
    after.trim_end_matches('}').parse().expect("a number stands last")
}
