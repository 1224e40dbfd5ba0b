//! The standard input of a session: messages are accepted, told, and written in one order.
//!
//! Guarantees: the order of the messages in the channel is their order on the pipe; one is written
//! only after its event is durable; a repeat under the same key changes nothing (the newest
//! [`REMEMBERED`] keys of a session are known); at most [`QUEUE`] wait for the program to read.
//! It is not a promise that the program reads them.

use std::collections::{HashMap, VecDeque};

use futures_util::{FutureExt, future::Shared};
use parking_lot::Mutex;
use tidings_core::{BoxFuture, Code, Error, Event, Result, UserId, bus::Slot};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use super::{
    config::Stdin,
    contract::{SessionId, USER_MESSAGE, UserMessage},
    input::SendMessage,
    plan::digest,
};

/// How many messages wait for the program to read.
pub(super) const QUEUE: usize = 32;
/// How many keys of messages are remembered.
const REMEMBERED: usize = 1024;

/// Resolves once the event of a message is durable.
pub(super) type Told = Shared<BoxFuture<'static, Result<()>>>;

/// A message on its way to the pipe.
pub(super) struct Line {
    pub(super) content: String,
    pub(super) told: Told,
}

/// What a session accepts messages with.
pub(super) struct Inbox(Mutex<Inner>);

struct Inner {
    lines: Option<mpsc::Sender<Line>>,
    seen: Remembered<()>,
}

/// What is remembered of messages that came under a key, the newest [`REMEMBERED`] of them.
#[derive(Default)]
pub(super) struct Remembered<T> {
    seen: HashMap<(UserId, String), Seen<T>>,
    order: VecDeque<(UserId, String)>,
}

/// A message that came under a key.
#[derive(Clone)]
struct Seen<T> {
    content: String,
    told: Told,
    answer: T,
}

impl<T: Clone> Remembered<T> {
    /// What became of a former message under the key of this one, unless it is known to have failed.
    ///
    /// # Errors
    /// `conflict` if that had another content.
    pub(super) fn former(&self, letter: &Letter) -> Result<Option<(Told, T)>> {
        let Some(key) = letter.key() else { return Ok(None) };
        let former = self.seen.get(&key).filter(|seen| !matches!(seen.told.peek(), Some(Err(_))));
        match former {
            Some(seen) if seen.content != letter.digest() => {
                Err(Error::new(Code::Conflict, "another message was sent under this clientMessageId"))
            }
            former => Ok(former.map(|seen| (seen.told.clone(), seen.answer.clone()))),
        }
    }

    /// Remembers a message, if it came under a key: its digest, and what becomes of it.
    pub(super) fn remember(&mut self, key: Option<(UserId, String)>, content: String, told: Told, answer: T) {
        let Some(key) = key else { return };
        if self.seen.insert(key.clone(), Seen { content, told, answer }).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}

/// A message that somebody sends.
pub(super) struct Letter {
    pub(super) session_id: SessionId,
    /// Under a key always the same.
    pub(super) message_id: String,
    pub(super) user: UserId,
    pub(super) client_message_id: Option<String>,
    pub(super) content: String,
    /// The content as others see it.
    pub(super) shown: String,
}

impl Letter {
    /// A message of a user, who may give it a key.
    pub(super) fn new(user: UserId, input: SendMessage, shown: String) -> Self {
        let SendMessage { session_id, content, client_message_id } = input;
        let message_id = match &client_message_id {
            Some(key) => digest(&["message", session_id.as_str(), user.as_str(), key], 32),
            None => tidings_core::id::random().to_string(),
        };
        Self { session_id, message_id, user, client_message_id, content, shown }
    }

    /// Whose it is, and the sender's key for it.
    pub(super) fn key(&self) -> Option<(UserId, String)> {
        Some((self.user.clone(), self.client_message_id.clone()?))
    }

    /// What its content is told apart by.
    pub(super) fn digest(&self) -> String {
        digest(&[&self.content], 64)
    }

    /// The event of its way to the program.
    pub(super) fn event(&self) -> Event {
        let data = UserMessage {
            session_id: self.session_id.clone(),
            message_id: Some(self.message_id.clone()),
            client_message_id: self.client_message_id.clone(),
            content: self.shown.clone(),
        };
        let mut event = Event::new(USER_MESSAGE, data).by(Some(self.user.clone()));
        event.id = self.client_message_id.as_deref().map(Into::into);
        event
    }
}

impl Inbox {
    /// An inbox and what the pipe's writer takes from it.
    pub(super) fn new() -> (Self, mpsc::Receiver<Line>) {
        let (lines, writer) = mpsc::channel(QUEUE);
        let inner = Inner { lines: Some(lines), seen: Remembered::default() };
        (Self(Mutex::new(inner)), writer)
    }

    /// Accepts a message: sends its event and queues it for the pipe, in one order. Never waits.
    ///
    /// # Errors
    /// `conflict` when the program takes no messages, or for a known key with another content;
    /// `overloaded` when too many wait.
    pub(super) fn accept(&self, letter: Letter, slot: Slot) -> Result<Told> {
        let mut inner = self.0.lock();
        if let Some((told, ())) = inner.seen.former(&letter)? {
            return Ok(told);
        }
        let closed = || Error::new(Code::Conflict, "the program of this session takes no messages any more");
        let lines = inner.lines.as_ref().ok_or_else(closed)?;
        let place = lines.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => Error::overloaded("too many messages wait for the program to read"),
            mpsc::error::TrySendError::Closed(()) => closed(),
        })?;
        let receipt = slot.send_for(letter.user.clone(), letter.event());
        let told = async move { receipt.await.map(drop) }.boxed().shared();
        let (key, content) = (letter.key(), letter.digest());
        place.send(Line { content: letter.content, told: told.clone() });
        inner.seen.remember(key, content, told.clone(), ());
        Ok(told)
    }

    /// Accepts no more.
    pub(super) fn close(&self) {
        self.0.lock().lines = None;
    }
}

/// Writes the prompt and then the messages to a program. Ends when it will take no more.
pub(super) async fn feed(
    mut pipe: impl AsyncWrite + Unpin + Send,
    first: Option<String>,
    stdin: Stdin,
    mut lines: mpsc::Receiver<Line>,
) {
    if let Some(first) = first
        && write_line(&mut pipe, &first).await.is_err()
    {
        return;
    }
    if stdin == Stdin::Close {
        return;
    }
    while let Some(Line { content, told }) = lines.recv().await {
        if told.await.is_ok() && write_line(&mut pipe, &content).await.is_err() {
            return;
        }
    }
}

async fn write_line(pipe: &mut (impl AsyncWrite + Unpin + Send), text: &str) -> std::io::Result<()> {
    pipe.write_all(text.as_bytes()).await?;
    if !text.ends_with('\n') {
        pipe.write_all(b"\n").await?;
    }
    pipe.flush().await
}
