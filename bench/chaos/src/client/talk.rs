//! One connection of a client, from its first byte to its last.
//!
//! Guarantees: each answer is held against its command; messages go to the views in the order in which
//! they came; a server that falls silent is given up.
//! It does not come back: the client does.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use tidings_load::frame;
use tokio::time::{Instant, sleep_until};

use super::{Client, Manners, Phase, State};
use crate::{
    ledger::Ledger,
    link::{Arrival, Link},
    random::{Random, hash},
    view::View,
    wire::{self, Answer, Message, Notice, Open, Packet},
};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// A command that was sent so long before the end of its connection should have had its answer.
const OWED: Duration = Duration::from_secs(15);
/// What a silent server gets beside its own time limit: this machine is busy.
const SLACK: Duration = Duration::from_secs(10);

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client was told to leave, and did.
    Left,
    /// The client cut it.
    Cut,
    /// The server or the network ended it, or it was given up: why.
    Lost(String),
    /// The server ended it, and asked to come back then.
    Asked(Instant),
    /// The server ended it for good.
    ForGood,
}

/// A command that waits for its answer.
#[derive(Debug)]
enum Asked {
    Subscribe(Vec<usize>),
    Unsubscribe(usize),
    Refresh,
    /// No server knows it.
    Nonsense,
}

/// What a packet asks for.
enum Then {
    Nothing,
    Pong(Vec<u8>),
    LogIn(Open),
    Join,
    Answered(u64, Answer),
    ComeBack(Duration),
    End(End),
}

/// When the client does what its manners say.
struct Timers {
    cut: Option<Instant>,
    act: Option<Instant>,
    pause: Option<Instant>,
    /// It does not read until then.
    resume: Option<Instant>,
}

impl Timers {
    fn new(manners: &Manners, random: &mut Random) -> Self {
        let now = Instant::now();
        let mut at = |range: &Option<_>| range.as_ref().map(|range| now + random.time(range));
        Self { cut: at(&manners.cut), act: at(&manners.act), pause: at(&manners.pause), resume: None }
    }

    fn next(&self) -> Option<Instant> {
        if self.resume.is_some() {
            return self.resume;
        }
        [self.cut, self.act, self.pause].into_iter().flatten().min()
    }
}

/// The connection.
pub(super) struct Talk<'a> {
    client: &'a mut Client,
    link: Link,
    heard: Instant,
    silence: Duration,
    asked: BTreeMap<u64, (Asked, Instant)>,
    next_id: u64,
    timers: Timers,
    back_at: Option<Instant>,
    joined: bool,
    refused: bool,
}

impl<'a> Talk<'a> {
    pub(super) fn new(client: &'a mut Client, link: Link) -> Self {
        let timers = Timers::new(&client.manners, &mut client.random);
        Self {
            client,
            link,
            heard: Instant::now(),
            silence: ANSWER,
            asked: BTreeMap::new(),
            next_id: 0,
            timers,
            back_at: None,
            joined: false,
            refused: false,
        }
    }

    pub(super) async fn run(mut self) -> End {
        let mut phase = self.client.phase.clone();
        // The first packet may have come together with the answer to the upgrade.
        if let Some(end) = self.take().await {
            return self.close(end);
        }
        let end = loop {
            let doing = *phase.borrow_and_update();
            if doing == Phase::Leave {
                break self.leave().await;
            }
            if doing == Phase::CatchUp {
                self.timers = Timers { cut: None, act: None, pause: None, resume: None };
            }
            let reading = self.timers.resume.is_none();
            let end = tokio::select! {
                biased;
                changed = phase.changed() => if changed.is_err() { Some(End::Left) } else { None },
                () = sleep_until(self.due()) => self.on_time().await,
                arrival = self.link.arrival(), if reading => match arrival {
                    Arrival::End => Some(lost(if self.joined { "an end" } else { "an end before it was let in" })),
                    Arrival::Bytes => {
                        self.heard = Instant::now();
                        self.take().await
                    }
                },
            };
            if let Some(end) = end {
                break end;
            }
        };
        self.close(end)
    }

    /// When something has to be looked at, if nothing comes.
    fn due(&self) -> Instant {
        let mut due = self.heard + self.silence;
        if let Some((_, (_, at))) = self.asked.first_key_value() {
            due = due.min(*at + ANSWER);
        }
        // While it does not read, it cannot expect anything either.
        match self.timers.next() {
            Some(next) if self.timers.resume.is_some() => next,
            Some(next) => due.min(next),
            None => due,
        }
    }

    async fn on_time(&mut self) -> Option<End> {
        let now = Instant::now();
        if let Some(resume) = self.timers.resume {
            if resume <= now {
                (self.timers.resume, self.heard) = (None, now);
            }
            return None;
        }
        if self.asked.first_key_value().is_some_and(|(_, (_, at))| *at + ANSWER <= now) {
            return Some(lost("no answer"));
        }
        if self.heard + self.silence <= now {
            return Some(lost(if self.joined { "silence" } else { "silence before it was let in" }));
        }
        if self.timers.cut.is_some_and(|at| at <= now) {
            return Some(End::Cut);
        }
        let idle = self.joined && self.asked.is_empty();
        if self.timers.act.is_some_and(|at| at <= now) {
            self.timers.act = again(self.client.manners.act.as_ref(), &mut self.client.random);
            if idle && !self.act().await {
                return Some(lost("a write failed"));
            }
        }
        if self.timers.pause.is_some_and(|at| at <= now) {
            self.timers.pause = again(self.client.manners.pause.as_ref(), &mut self.client.random);
            if idle {
                let lasting = self.client.random.time(&self.client.manners.pausing);
                self.timers.resume = Some(now + lasting);
            }
        }
        None
    }

    /// Sends a command by chance. False once the connection is over.
    async fn act(&mut self) -> bool {
        let view = self.client.random.within(0..self.client.state.lock().views.len());
        let name = self.name(view);
        match self.client.random.below(4) {
            0 => self.ask("unsubscribe", &format!("\"{name}\""), Asked::Unsubscribe(view)).await,
            1 => self.ask("subscribe", &format!("\"{name}\""), Asked::Subscribe(vec![view])).await,
            2 => self.ask("auth.refresh", &format!("{{\"token\":\"{}\"}}", self.client.token), Asked::Refresh).await,
            _ => self.ask("chaos.nonsense", "{}", Asked::Nonsense).await,
        }
    }

    fn name(&self, view: usize) -> String {
        let channel = self.client.state.lock().views[view].channel;
        self.client.ledger.books()[channel].name.clone()
    }

    async fn ask(&mut self, event: &str, argument: &str, asked: Asked) -> bool {
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, (asked, Instant::now()));
        self.link.say(format!("42{id}[\"{event}\",{argument}]").as_bytes()).await
    }

    /// Asks for channels, from where each is. False once the connection is over.
    async fn subscribe(&mut self, views: Vec<usize>) -> bool {
        let mut argument = String::from(if views.len() > 1 { "[" } else { "" });
        for (index, view) in views.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let wish = wish(&self.client.state.lock().views[*view], &self.client.ledger);
            // Writing into a String cannot fail.
            let _infallible = write!(argument, "{comma}{wish}");
        }
        argument.push_str(if views.len() > 1 { "]" } else { "" });
        self.ask("subscribe", &argument, Asked::Subscribe(views)).await
    }

    /// Takes every whole packet.
    async fn take(&mut self) -> Option<End> {
        loop {
            let then = match self.link.packet() {
                Ok(None) => return None,
                Ok(Some((opcode, payload))) => understand(self.client, opcode, payload),
                Err(wrong) => {
                    self.client.state.lock().tally.is_broken(|| wrong);
                    Then::End(lost("a broken frame"))
                }
            };
            let goes_on = match then {
                Then::Nothing => true,
                Then::Pong(payload) if payload.is_empty() => self.link.say(b"3").await,
                Then::Pong(payload) => self.link.write(frame::PONG, &payload).await,
                Then::LogIn(open) => {
                    self.silence = Duration::from_millis(open.ping_interval + open.ping_timeout) + SLACK;
                    let token = self.client.token.clone();
                    self.link.say(format!("40{{\"token\":\"{token}\"}}").as_bytes()).await
                }
                Then::Join => self.join().await,
                Then::Answered(id, answer) => {
                    self.refused = !answer.ok || answer.results.iter().any(|answer| !answer.ok);
                    self.answered(id, &answer).await
                }
                Then::ComeBack(after) => {
                    self.back_at = Some(Instant::now() + after);
                    true
                }
                Then::End(end) => return Some(end),
            };
            if !goes_on {
                return Some(lost(if self.refused { "a refusal that may pass" } else { "a write failed" }));
            }
        }
    }

    /// Subscribes in the moment in which it is let in: all at once, or one by one.
    async fn join(&mut self) -> bool {
        self.joined = true;
        let all: Vec<usize> = (0..self.client.state.lock().views.len()).collect();
        if self.client.random.chance(0.5) {
            return self.subscribe(all).await;
        }
        for view in all {
            if !self.subscribe(vec![view]).await {
                return false;
            }
        }
        true
    }

    async fn answered(&mut self, id: u64, answer: &Answer) -> bool {
        let Some((asked, _)) = self.asked.remove(&id) else {
            let mut state = self.client.state.lock();
            state.tally.unanswered += 1;
            state.tally.note(|| format!("an answer to nothing: {id}"));
            return true;
        };
        let again = {
            let mut state = self.client.state.lock();
            state.tally.answered += 1;
            match asked {
                Asked::Subscribe(views) => return attach(&mut state, &self.client.ledger, &views, answer),
                Asked::Unsubscribe(view) if answer.ok => {
                    state.views[view].attached = false;
                    view
                }
                Asked::Refresh if answer.ok => return true,
                Asked::Nonsense => {
                    let known = answer.error.as_ref().is_some_and(|error| error.code == "unknown_command");
                    return known || is_temporary(&mut state, "a command that nobody knows", answer);
                }
                Asked::Unsubscribe(_) | Asked::Refresh => {
                    return is_temporary(&mut state, "a command", answer);
                }
            }
        };
        self.subscribe(vec![again]).await
    }

    async fn leave(&mut self) -> End {
        if self.link.say(b"41").await {
            self.link.write(frame::CLOSE, &[]).await;
        }
        End::Left
    }

    fn close(self, end: End) -> End {
        let mut state = self.client.state.lock();
        // Whoever leaves, or cuts, does not wait for answers any more.
        let excused = matches!(end, End::Left);
        for (asked, at) in self.asked.values().filter(|_| !excused) {
            if at.elapsed() >= OWED {
                state.tally.unanswered += 1;
                state.tally.note(|| format!("no answer to {asked:?} within {:?}", at.elapsed()));
            }
        }
        match (end, self.back_at) {
            (End::Cut, _) => {
                self.link.cut();
                End::Cut
            }
            (End::Lost(_), Some(at)) => End::Asked(at),
            (end, _) => end,
        }
    }
}

fn again(range: Option<&std::ops::Range<Duration>>, random: &mut Random) -> Option<Instant> {
    range.map(|range| Instant::now() + random.time(range))
}

/// What a view asks for: where it is, else where it wants to begin.
fn wish(view: &View, ledger: &Ledger) -> String {
    let name = &ledger.books()[view.channel].name;
    match view.place() {
        Some((epoch, seq)) => format!("{{\"channel\":\"{name}\",\"since\":{{\"epoch\":\"{epoch}\",\"seq\":{seq}}}}}"),
        None if view.from_oldest => format!("{{\"channel\":\"{name}\",\"since\":{{\"seq\":0}}}}"),
        None => format!("\"{name}\""),
    }
}

/// Enters the answer to a subscription. False if the connection is of no use.
fn attach(state: &mut State, ledger: &Ledger, views: &[usize], answer: &Answer) -> bool {
    if !answer.ok {
        return is_temporary(state, "a subscription", answer);
    }
    let answers = if views.len() > 1 { answer.results.iter().collect() } else { vec![answer] };
    if answers.len() != views.len() {
        state.tally.is_broken(|| format!("{} answers to {} subscriptions", answers.len(), views.len()));
        return false;
    }
    for (view, answer) in views.iter().zip(answers) {
        if !answer.ok {
            return is_temporary(state, "a subscription", answer);
        }
        let State { views, tally, .. } = state;
        let name = &ledger.books()[views[*view].channel].name;
        if answer.channel != *name {
            tally.is_broken(|| format!("the answer for {name} is one for {}", answer.channel));
        }
        views[*view].answered(&answer.epoch, answer.seq, answer.recovered, tally);
    }
    state.live = state.views.iter().all(|view| view.attached);
    true
}

/// A refusal that may pass ends the connection, and the client comes back; another one must not be.
fn is_temporary(state: &mut State, what: &str, answer: &Answer) -> bool {
    let code = answer.error.as_ref().map_or("nothing", |error| error.code.as_str());
    state.tally.ended(&format!("refused with {code}"));
    if !answer.error.as_ref().is_some_and(|error| error.retryable) {
        state.tally.is_broken(|| format!("{what} was refused: {answer:?}"));
    }
    false
}

/// Enters a packet, and says what it asks for.
fn understand(client: &Client, opcode: u8, payload: &[u8]) -> Then {
    match opcode {
        frame::TEXT => {}
        frame::PING => return Then::Pong(payload.to_vec()),
        frame::CLOSE => return Then::End(End::Lost(closed(payload))),
        _ => return Then::Nothing,
    }
    let packet = std::str::from_utf8(payload).map_err(|error| error.to_string()).and_then(wire::parse);
    let mut state = client.state.lock();
    match packet {
        Ok(Packet::Ping) => Then::Pong(Vec::new()),
        Ok(Packet::Open(open)) => Then::LogIn(open),
        Ok(Packet::Connected) => Then::Join,
        Ok(Packet::Message(message)) => hear(&mut state, client, &message),
        Ok(Packet::Answer(id, answer)) => Then::Answered(id, answer),
        Ok(Packet::Other) => Then::Nothing,
        Ok(Packet::Refused(why)) => {
            state.tally.is_broken(|| format!("not let in: {why}"));
            Then::End(lost("not let in"))
        }
        Ok(Packet::Disconnected) => {
            state.tally.is_broken(|| "ended for good".to_owned());
            Then::End(End::ForGood)
        }
        Err(wrong) => {
            state.tally.is_broken(|| wrong);
            Then::End(lost("a broken packet"))
        }
    }
}

/// The code and the reason of a close frame.
fn closed(payload: &[u8]) -> String {
    match payload.split_at_checked(2) {
        Some((code, reason)) => {
            let code = u16::from_be_bytes([code[0], code[1]]);
            format!("the server closed it with {code} {}", String::from_utf8_lossy(reason))
        }
        None => "the server closed it".to_owned(),
    }
}

fn lost(why: &str) -> End {
    End::Lost(why.to_owned())
}

fn find<'a>(views: &'a mut [View], ledger: &Ledger, name: &str) -> Option<&'a mut View> {
    views.iter_mut().find(|view| ledger.books()[view.channel].name == name)
}

fn hear(state: &mut State, client: &Client, message: &Message<'_>) -> Then {
    let ledger = &*client.ledger;
    let State { views, tally, .. } = state;
    if let (Some(seq), Some(channel)) = (message.seq, message.channel) {
        match find(views, ledger, channel) {
            Some(view) => {
                view.message(seq, hash(message.data.get().as_bytes()), &ledger.books()[view.channel], tally);
            }
            None => tally.is_broken(|| format!("a message of {channel}, which nobody asked for")),
        }
        return Then::Nothing;
    }
    let notice: Notice = match serde_json::from_str(message.data.get()) {
        Ok(notice) => notice,
        Err(error) => {
            tally.is_broken(|| format!("{}: {error}", message.kind));
            return Then::Nothing;
        }
    };
    match (message.kind, find(views, ledger, &notice.channel)) {
        ("channel.gap", Some(view)) => view.gap(notice.from, notice.to, tally),
        ("channel.reset", Some(view)) => view.reset(&notice.epoch, notice.seq, tally),
        ("channel.closed", _) => tally.is_broken(|| format!("{} was closed: {}", notice.channel, notice.code)),
        ("server.draining", _) => {
            return Then::ComeBack(Duration::from_millis(notice.reconnect_after_ms.unwrap_or_default()));
        }
        ("connection.closed", _) if client.manners.faults && notice.code == "internal" => {}
        ("connection.closed", _) if !["draining", "overloaded", "unavailable"].contains(&notice.code.as_str()) => {
            tally.is_broken(|| format!("the connection was ended: {}", notice.code));
        }
        _ => {}
    }
    Then::Nothing
}
