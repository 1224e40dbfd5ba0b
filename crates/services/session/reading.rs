//! Reading sessions: one, many, and the output as plain text.
//!
//! Guarantees: what is answered is the projection, so that it agrees with the snapshot; a list shows
//! only what the caller may see; every answer is bounded.
//! It is not live: that is the channel.

use std::{collections::VecDeque, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{
    Error, Message, Result, Seq, Timestamp, UserId,
    projection::{Snapshot, View},
};

use super::{
    contract::{STREAM_OUTPUT, SessionId, Status, Stream, StreamOutput},
    input::{ListSessions, ReadOutput},
    sessions::Sessions,
    state::{Failure, SessionState},
    telling::DOMAIN,
};
use crate::{
    listing::{self, Listed, Listing},
    project::ProjectId,
    shell::TerminalId,
};

/// How many states, or messages, are read at once.
const BATCH: usize = 200;
/// The most bytes of output in one answer: the newest.
pub const OUTPUT_BYTES: usize = 8 * 1024 * 1024;

/// A session in a list: what its state says, but for the transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Brief {
    /// The session.
    pub id: SessionId,
    /// The project that it runs in.
    pub project_id: Option<ProjectId>,
    /// How it is.
    pub status: Status,
    /// What people call it.
    pub title: Option<String>,
    /// The agent that runs.
    pub agent: Option<String>,
    /// The working tree that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// The terminal that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal_id: Option<TerminalId>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When its newest message was published.
    pub updated_at: Option<Timestamp>,
    /// The exit code, once the program exited.
    pub exit_code: Option<i32>,
    /// Why it failed, if it did.
    pub error: Option<Failure>,
}

/// A page of sessions, newest first.
pub type Page = listing::Page<Brief, SessionId>;

impl Sessions {
    /// The snapshot of a session.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get(self: Arc<Self>, id: SessionId) -> Result<Snapshot<SessionState>> {
        let view = self.ports.states.get(DOMAIN, id.as_str()).await?;
        view.ok_or_else(Error::not_found)?.snapshot().ok_or_else(Error::internal)
    }

    /// Sessions that `visible` lets through, newest first. It is asked with id, owner and project.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list(
        self: Arc<Self>,
        query: ListSessions,
        visible: impl Fn(&SessionId, Option<&UserId>, Option<&str>) -> bool + Send + Sync + 'static,
    ) -> Result<Page> {
        let ListSessions { project_id, status, limit, cursor } = &query;
        let listing = Listing { project_id: project_id.as_ref(), limit: *limit, cursor: cursor.as_ref() };
        let wanted = |brief: &Brief| status.is_none_or(|status| status == brief.status);
        listing::list(&*self.ports.states, listing, wanted, visible).await
    }

    /// What a program printed, as plain text: the newest 8 MiB of what is kept. Where something is
    /// missing before it, the first line says how much.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn output(self: Arc<Self>, input: ReadOutput) -> Result<String> {
        let view = self.ports.states.get(DOMAIN, input.session_id.as_str()).await?.ok_or_else(Error::not_found)?;
        // It never closes.
        let _turn = self.reading.acquire().await.map_err(|_| Error::internal())?;
        let mut text = Newest::default();
        let mut before = view.seq + 1;
        while before > 1 && text.bytes < OUTPUT_BYTES {
            let after = (before - 1).saturating_sub(BATCH as u64);
            let batch = self.between(&input.session_id, after, before).await?;
            if batch.is_empty() {
                break;
            }
            for event in batch.iter().rev().filter_map(|message| printed(message, input.r#type)) {
                text.prepend(event);
            }
            before = after + 1;
        }
        Ok(text.into_text())
    }

    /// The messages above `after` and below `before` that are kept. A read may end by its bytes, so
    /// there may be several.
    async fn between(&self, id: &SessionId, mut after: Seq, before: Seq) -> Result<Vec<Arc<Message>>> {
        let mut batch: Vec<Arc<Message>> = Vec::new();
        while after + 1 < before {
            let limit = usize::try_from(before - 1 - after).unwrap_or(BATCH);
            let (messages, _) = self.ports.states.messages(DOMAIN, id.as_str(), after, limit).await?;
            let Some(last) = messages.last().and_then(|message| message.seq) else { break };
            batch.extend(messages.into_iter().filter(|message| message.seq.is_some_and(|seq| seq < before)));
            after = last;
        }
        Ok(batch)
    }
}

impl Listed for Brief {
    type Id = SessionId;
    const DOMAIN: &'static str = DOMAIN;
    const BATCH: usize = BATCH;

    fn of(view: &View) -> Option<Self> {
        let state = view.state::<SessionState>()?;
        // A channel that was only published to from outside is no session: nothing was started there.
        state.started_at?;
        Some(Self {
            id: view.id.parse().ok()?,
            project_id: state.project_id.clone(),
            status: state.status,
            title: state.title.clone(),
            agent: state.agent.clone(),
            worktree: state.worktree.clone(),
            terminal_id: state.terminal_id.clone(),
            started_at: state.started_at,
            ended_at: state.ended_at,
            updated_at: state.updated_at,
            exit_code: state.exit_code,
            error: state.error.clone(),
        })
    }

    fn id(&self) -> &SessionId {
        &self.id
    }
}

/// The output in a message, if it is of a stream that was asked for.
fn printed(message: &Message, asked: Option<Stream>) -> Option<Arc<StreamOutput>> {
    if message.event_type.as_str() != STREAM_OUTPUT {
        return None;
    }
    let event = message.payload.typed::<StreamOutput>().ok()?;
    let wanted = asked.map_or(event.r#type != Stream::System, |asked| event.r#type == asked);
    wanted.then_some(event)
}

/// The newest part of a text, collected backwards.
#[derive(Default)]
struct Newest {
    parts: VecDeque<Arc<StreamOutput>>,
    bytes: usize,
}

impl Newest {
    fn prepend(&mut self, part: Arc<StreamOutput>) {
        self.bytes += part.content.len();
        self.parts.push_front(part);
    }

    fn into_text(self) -> String {
        let mut text: String = self.parts.iter().map(|part| part.content.as_str()).collect();
        let mut missing = self.missing();
        if text.len() > OUTPUT_BYTES {
            let cut = text.ceil_char_boundary(text.len() - OUTPUT_BYTES);
            text.drain(..cut);
            missing += cut as u64;
        }
        if missing > 0 {
            text.insert_str(0, &format!("[{missing} bytes of output before this are left out]\n"));
        }
        text
    }

    /// How many bytes of the streams that are here came before: the offset of each one's first part.
    fn missing(&self) -> u64 {
        let streams = [Stream::Stdout, Stream::Stderr, Stream::System];
        let first = |stream| self.parts.iter().find(|part| part.r#type == stream).and_then(|part| part.offset);
        streams.into_iter().filter_map(first).sum()
    }
}
