//! Follows channels: through lost connections and server restarts, each message once and in order.
//!
//! Guarantees: a durable message is yielded once, in the order of its channel; what cannot be had any
//! more is told as [`Item::Gap`], [`Item::Reset`] or [`Item::Snapshot`], never passed over; a lost
//! connection is opened again, at once and then after 1 to 30 seconds, and every channel goes on after
//! what was yielded last. Nothing is read ahead: a caller that does not ask holds the server back,
//! and one that stays away longer than the server's heartbeat is reconnected when it asks again.
//! It is not a store: positions live as long as the follower; [`Follower::position`] gives them out.

mod backoff;
mod cursor;
mod notice;

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::time::{Instant, sleep_until};

use self::{backoff::Backoff, cursor::Cursor, notice::Notice};
use crate::{Auth, BadUrl, ConnectError, Endpoint, Lost, Packet, Socket};

pub use self::cursor::{Follow, Position, Start};
pub use self::notice::Message;

/// How many subscriptions one request asks for, as the wire allows.
const BATCH: usize = 100;

/// What a follower tells.
#[derive(Debug)]
pub enum Item {
    /// A message, durable or ephemeral.
    Message(Message),
    /// The channel's state as of `position`; it replaces what was known, messages follow from there.
    Snapshot {
        /// The channel.
        channel: String,
        /// As of where.
        position: Position,
        /// Why it came, such as `joined` or `not_recovered`.
        reason: String,
        /// The state.
        snapshot: Box<RawValue>,
    },
    /// The messages from `from` to `to` will not come.
    Gap {
        /// The channel.
        channel: String,
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
        /// Why: `trimmed` or `lag`; `untold` when the server left them out without a word, which is a fault of it.
        reason: String,
    },
    /// The channel's numbering was replaced; messages go on after `position`.
    Reset {
        /// The channel.
        channel: String,
        /// Where it stands now.
        position: Position,
        /// Why.
        reason: String,
    },
    /// Nothing was ever published to the channel: it is followed and may begin later, or its name is not what was
    /// meant. Told once.
    Absent {
        /// The channel.
        channel: String,
    },
    /// The channel is at its head: what comes now is live.
    Live {
        /// The channel.
        channel: String,
        /// Where it stands.
        position: Position,
    },
    /// The server ended this channel's subscription or refused it: it is followed no more.
    Closed {
        /// The channel.
        channel: String,
        /// The error's code.
        code: String,
        /// The error's text.
        message: String,
    },
    /// The connection is up and the channels are asked for.
    Connected,
    /// The connection is down and will be opened again.
    Disconnected {
        /// Why.
        why: String,
        /// After how many milliseconds.
        retry_in_ms: u64,
    },
}

/// Why following is over for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The server refused the login.
    #[error("the server refused the login: {0}")]
    Refused(String),
    /// The server ended the connection and wants no other.
    #[error("the server ended the connection: {message} ({code})")]
    Closed {
        /// The error's code.
        code: String,
        /// The error's text.
        message: String,
    },
}

#[derive(Debug)]
enum Link {
    Down { until: Instant },
    Up { socket: Box<Socket>, unasked: Vec<String>, asked: HashMap<u64, Vec<String>>, refresh_due: bool },
}

/// Follows channels of one server.
pub struct Follower {
    endpoint: Endpoint,
    auth: Auth,
    cursors: BTreeMap<String, Cursor>,
    link: Link,
    backoff: Backoff,
    closing: Option<notice::Closing>,
    ready: VecDeque<Item>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("endpoint", &self.endpoint)
            .field("cursors", &self.cursors)
            .finish_non_exhaustive()
    }
}

impl Follower {
    /// A follower of these channels; it connects when first asked. Naming a channel twice follows it once,
    /// as the last one says.
    ///
    /// # Errors
    /// See [`BadUrl`].
    pub fn new(url: &str, auth: Auth, follows: Vec<Follow>) -> Result<Self, BadUrl> {
        Ok(Self {
            endpoint: Endpoint::parse(url)?,
            auth,
            cursors: follows.into_iter().map(|follow| (follow.channel.clone(), Cursor::new(follow))).collect(),
            link: Link::Down { until: Instant::now() },
            backoff: Backoff::default(),
            closing: None,
            ready: VecDeque::new(),
        })
    }

    /// Where a channel stands: after the last message that was yielded. None before that is known.
    #[must_use]
    pub fn position(&self, channel: &str) -> Option<Position> {
        self.cursors.get(channel)?.position().cloned()
    }

    /// How many messages came a second time and were passed over. A right server sends none.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.cursors.values().map(Cursor::repeats).sum()
    }

    /// What comes next; none once no channel is followed any more. It may be cancelled without losing anything.
    ///
    /// # Errors
    /// See [`Ended`].
    pub async fn next(&mut self) -> Result<Option<Item>, Ended> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if self.cursors.is_empty() {
                return Ok(None);
            }
            match &self.link {
                Link::Down { until } => {
                    sleep_until(*until).await;
                    self.connect().await?;
                }
                Link::Up { .. } => self.step().await?,
            }
        }
    }

    /// Cuts the connection; it is opened again at once when the follower is next asked. For tests of recovery.
    pub fn cut(&mut self) {
        self.link = Link::Down { until: Instant::now() };
    }

    /// Leaves in order.
    pub async fn close(self) {
        if let Link::Up { socket, .. } = self.link {
            socket.close().await;
        }
    }

    async fn connect(&mut self) -> Result<(), Ended> {
        let connected = match (self.auth)() {
            Ok(auth) => Socket::connect(&self.endpoint, &auth).await,
            Err(why) => Err(ConnectError::Unreachable(why)),
        };
        match connected {
            Ok(socket) => {
                self.backoff.connected(Instant::now());
                let unasked = self.cursors.keys().cloned().collect();
                let asked = HashMap::new();
                self.link = Link::Up { socket: Box::new(socket), unasked, asked, refresh_due: false };
                self.ready.push_back(Item::Connected);
            }
            // A server without room for one more has room later.
            Err(error @ ConnectError::Refused { .. }) if !is_full(&error) => {
                return Err(Ended::Refused(error.to_string()));
            }
            Err(error) => self.down(error.to_string()),
        }
        Ok(())
    }

    fn down(&mut self, why: String) {
        let delay = self.backoff.next(Instant::now());
        self.link = Link::Down { until: Instant::now() + delay };
        let retry_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.ready.push_back(Item::Disconnected { why, retry_in_ms });
    }

    /// One step of a connection that is up: asks for what is not asked for yet, else takes what comes.
    async fn step(&mut self) -> Result<(), Ended> {
        let Link::Up { socket, unasked, asked, refresh_due } = &mut self.link else { return Ok(()) };
        let done: Result<Option<Packet>, Lost> = async {
            while !unasked.is_empty() {
                let batch: Vec<String> = unasked.iter().take(BATCH).cloned().collect();
                let requests = batch.iter().filter_map(|channel| Some(self.cursors.get(channel)?.request())).collect();
                let id = socket.request("subscribe", &[Value::Array(requests)]).await?;
                unasked.drain(..batch.len());
                asked.insert(id, batch);
            }
            if *refresh_due {
                // Without a login now the connection ends with its token, and the next one asks again.
                if let Ok(auth) = (self.auth)() {
                    let token = auth.get("token").cloned().unwrap_or_default();
                    // Its answer tells nothing that the connection's going on or ending does not.
                    socket.request("auth.refresh", &[json!({ "token": token })]).await?;
                }
                *refresh_due = false;
            }
            socket.next().await.map(Some)
        }
        .await;
        match done {
            Ok(Some(Packet::Event { name, args, .. })) if name == "message" => {
                args.into_iter().next().map_or(Ok(()), |json| self.message(json))
            }
            Ok(Some(Packet::Ack { id, args })) => {
                self.answered(id, args.first().map_or("null", |arg| arg.get()));
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(lost) => self.lost(&lost),
        }
    }

    fn lost(&mut self, lost: &Lost) -> Result<(), Ended> {
        let closing = self.closing.take();
        if *lost == Lost::Disconnected || closing.as_ref().is_some_and(|closing| !closing.retry) {
            let (code, message) = closing.map_or_else(
                || ("disconnected".to_owned(), "without a reason".to_owned()),
                |closing| (closing.code, closing.message),
            );
            return Err(Ended::Closed { code, message });
        }
        self.down(
            closing.map_or_else(|| lost.to_string(), |closing| format!("{} ({})", closing.message, closing.code)),
        );
        Ok(())
    }

    /// Takes the answer to a request for subscriptions: one result for each, or one refusal for all.
    fn answered(&mut self, id: u64, json: &str) {
        let Link::Up { asked, .. } = &mut self.link else { return };
        let Some(channels) = asked.remove(&id) else { return };
        let answer: SubscribeAnswer = serde_json::from_str(json).unwrap_or_default();
        let mut retry = None;
        for (index, channel) in channels.into_iter().enumerate() {
            let result = answer.results.get(index).cloned().unwrap_or_else(|| answer.whole());
            let Some(cursor) = self.cursors.get_mut(&channel) else { continue };
            match result {
                OneAnswer { ok: true, epoch: Some(epoch), seq: Some(seq), exists, .. } => {
                    // Once: a client that comes back was told.
                    if exists == Some(false) && cursor.is_new() {
                        self.ready.push_back(Item::Absent { channel });
                    }
                    cursor.answered(&epoch, seq);
                }
                OneAnswer { error: Some(error), .. } if !error.retryable => {
                    self.cursors.remove(&channel);
                    self.ready.push_back(Item::Closed { channel, code: error.code, message: error.message });
                }
                OneAnswer { error, .. } => retry = Some(error.unwrap_or_default()),
            }
        }
        if let Some(error) = retry {
            self.down(format!("subscribing failed: {} ({})", error.message, error.code));
        }
    }

    fn message(&mut self, json: Box<RawValue>) -> Result<(), Ended> {
        let notice = match notice::read(json) {
            Ok(notice) => notice,
            Err(error) => {
                tracing::warn!(%error, "a message was not understood");
                return Ok(());
            }
        };
        match notice {
            Notice::Message(message) => self.publication(message),
            Notice::Channel(channel, change) => {
                let closed = matches!(change, notice::Change::Closed { .. });
                if let Some(cursor) = self.cursors.get_mut(&channel) {
                    self.ready.extend(cursor.changed(&channel, change));
                }
                if closed {
                    self.cursors.remove(&channel);
                }
            }
            Notice::Expiring => {
                if let Link::Up { refresh_due, .. } = &mut self.link {
                    *refresh_due = true;
                }
            }
            Notice::Draining { reconnect_after_ms } => self.backoff.wait_once(reconnect_after_ms),
            Notice::Closing(closing) => self.closing = Some(closing),
            Notice::Other => {}
        }
        Ok(())
    }

    fn publication(&mut self, mut message: Message) {
        // Of a channel that is not followed any more: sent before the server heard of it.
        let Some(cursor) = self.cursors.get_mut(&message.channel) else { return };
        if let Some(seq) = message.seq {
            let verdict = cursor.took(seq);
            if verdict.repeat {
                tracing::warn!(channel = %message.channel, seq, "a message came twice");
                return;
            }
            if let Some((from, to)) = verdict.untold {
                let reason = "untold".to_owned();
                self.ready.push_back(Item::Gap { channel: message.channel.clone(), from, to, reason });
            }
            message.epoch = cursor.position().map(|position| position.epoch.clone());
        }
        self.ready.push_back(Item::Message(message));
    }
}

/// Whether there was no room for this connection.
fn is_full(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused { why: Some(why), .. } if why.code == "overloaded")
}

#[derive(Deserialize, Default)]
struct SubscribeAnswer {
    #[serde(default)]
    error: Option<Refusal>,
    #[serde(default)]
    results: Vec<OneAnswer>,
}

impl SubscribeAnswer {
    /// The answer for a channel that has no result of its own.
    fn whole(&self) -> OneAnswer {
        OneAnswer {
            ok: false,
            epoch: None,
            seq: None,
            exists: None,
            error: Some(self.error.clone().unwrap_or_default()),
        }
    }
}

#[derive(Deserialize, Clone)]
struct OneAnswer {
    ok: bool,
    epoch: Option<String>,
    seq: Option<u64>,
    exists: Option<bool>,
    error: Option<Refusal>,
}

#[derive(Deserialize, Clone)]
struct Refusal {
    code: String,
    message: String,
    #[serde(default)]
    retryable: bool,
}

impl Default for Refusal {
    fn default() -> Self {
        Self {
            code: "bad_answer".to_owned(),
            message: "the server's answer was not understood".to_owned(),
            retryable: true,
        }
    }
}
