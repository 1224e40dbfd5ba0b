//! The agent of a session: one task between what its program prints, what people ask of it, and what
//! is told of both.
//!
//! Guarantees: one order: what a line means is told before the next line is looked at; a person's
//! message or answer reaches the program only after it is durable; messages to a busy agent wait,
//! at most [`QUEUE`], and go in their order; a permission request is answered once.
//! It is not the format: that is the adapter's. It is not the process: that is the run's.

mod deltas;
mod people;
mod publish;
mod redact;
mod replies;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tidings_core::{Error, Event, UserId, runtime::Clock};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

pub use self::publish::Publishing;
use self::{deltas::Streams, people::People, redact::redacted};
pub(super) use self::{
    deltas::{Delta, Deltas},
    people::Request,
    publish::Publisher,
};
use super::{
    SessionId,
    adapter::{Adapter, Step},
    contract::{
        agent::{
            AGENT_STARTED, MESSAGE, NO_RESULT, PERMISSION_REQUESTED, PERMISSION_RESOLVED, PROGRESS, RAW,
            SUBAGENT_COMPLETED, SUBAGENT_STARTED, TOOL_COMPLETED, TOOL_STARTED, TURN_COMPLETED, TextDelta,
            TurnCompleted, TurnStatus, USAGE,
        },
        question::{QUESTION_REQUESTED, QUESTION_RESOLVED},
    },
    inbox::{Line, Told},
    output::{Item, Piece},
    registry::{Live, Reason},
};
use crate::{programs::decode::shortened, redaction::Redaction};

/// How many lines wait for the agent's standard input. An agent that reads less is stuck.
const LINES: usize = 256;
/// The most bytes of an agent's own reason in the end of its session.
const REASON_BYTES: usize = 2 * 1024;
/// The longest that a text in progress is held back for the sake of redaction.
const HOLD: Duration = Duration::from_millis(20);

/// How the last turn of an agent ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    turn: Option<TurnCompleted>,
}

impl Verdict {
    /// Why the session failed, by its code and for people, if its last turn did.
    pub(super) fn failure(&self) -> Option<(&'static str, String)> {
        let turn = self.turn.as_ref().filter(|turn| turn.status == TurnStatus::Error)?;
        let (code, words) = match turn.reason.as_deref() {
            Some(NO_RESULT) => (NO_RESULT, "the agent ended in the middle of a turn".to_owned()),
            Some(reason) => ("agent_failed", format!("the agent says that its turn failed: {reason}")),
            None => ("agent_failed", "the agent says that its turn failed".to_owned()),
        };
        Some((code, shortened(turn.result.as_deref().unwrap_or(&words), REASON_BYTES).to_owned()))
    }
}

/// The agent's task.
pub(super) struct Agent {
    id: SessionId,
    adapter: Box<dyn Adapter>,
    live: Arc<Live>,
    redaction: Arc<Redaction>,
    clock: Arc<dyn Clock>,
    items: mpsc::Sender<Item>,
    stdin: Option<mpsc::Sender<Line>>,
    streams: Streams,
    people: People,
    /// When each tool and subagent started.
    begun: HashMap<String, Duration>,
    last_id: u64,
    verdict: Verdict,
    /// What its program may publish, and by whom it is judged.
    publisher: Publisher,
}

/// What an agent's task is made of.
pub(super) struct Parts {
    pub(super) adapter: Box<dyn Adapter>,
    pub(super) live: Arc<Live>,
    pub(super) redaction: Arc<Redaction>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) items: mpsc::Sender<Item>,
    pub(super) publisher: Publisher,
}

/// What opens an agent's conversation.
pub(super) struct Opening {
    /// What goes to its standard input.
    pub(super) prompt: Option<String>,
    /// Whether it was asked something at all: also in its arguments.
    pub(super) prompted: bool,
    /// Whether its standard input stays open after that.
    pub(super) stays_open: bool,
}

impl Agent {
    /// An agent, and what the writer of its standard input takes.
    pub(super) fn new(parts: Parts) -> (Self, mpsc::Receiver<Line>) {
        let (stdin, lines) = mpsc::channel(LINES);
        let Parts { adapter, live, redaction, clock, items, publisher } = parts;
        let (id, streams) = (live.id.clone(), Streams::new(redaction.clone()));
        let agent = Self {
            id,
            adapter,
            live,
            redaction,
            clock,
            items,
            stdin: Some(stdin),
            streams,
            people: People::default(),
            begun: HashMap::new(),
            last_id: 0,
            verdict: Verdict::default(),
            publisher,
        };
        (agent, lines)
    }

    /// Works until the program's output has ended.
    pub(super) async fn run(
        mut self,
        opening: Opening,
        mut lines: mpsc::Receiver<String>,
        mut requests: mpsc::Receiver<Request>,
    ) -> Verdict {
        let steps = self.adapter.started(opening.prompt.as_deref(), opening.prompted);
        drop(self.consume(steps, None, None).await);
        if !opening.stays_open {
            self.stdin = None;
        }
        let mut flush_at: Option<Instant> = None;
        loop {
            self.pass_on_next().await;
            self.live.pulse.set(self.adapter.activity());
            tokio::select! {
                line = lines.recv() => match line {
                    Some(line) => {
                        let steps = self.adapter.line(&line);
                        drop(self.consume(steps, None, None).await);
                    }
                    None => break,
                },
                Some(request) = requests.recv() => self.serve(request).await,
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => {
                    for delta in self.streams.flush(&self.id) {
                        self.tell(Item::Delta(delta)).await;
                    }
                }
            }
            flush_at = if self.streams.hold() { flush_at.or_else(|| Some(Instant::now() + HOLD)) } else { None };
        }
        let steps = self.adapter.ended();
        drop(self.consume(steps, None, None).await);
        self.drop_queue().await;
        self.verdict
    }

    /// Tells and writes what steps say, in their order. `by` is who caused them; what is written waits
    /// for what is told here, or for `after`.
    async fn consume(&mut self, steps: Vec<Step>, by: Option<&UserId>, after: Option<Told>) -> Told {
        let mut events: Vec<Event> = Vec::new();
        let mut writes = Vec::new();
        for step in steps {
            match redacted(step, &self.redaction) {
                Step::Write(line) => writes.push(line),
                Step::Output(output) => {
                    drop(self.say(&mut events).await);
                    self.tell(Item::Piece(Piece { stream: output.r#type, content: output.content })).await;
                }
                Step::Publish(publication) => {
                    drop(self.say(&mut events).await);
                    self.publish(publication).await;
                }
                Step::TextDelta(delta) => self.delta(&mut events, delta, false).await,
                Step::ThinkingDelta(delta) => self.delta(&mut events, delta, true).await,
                // By nobody: that tells it from what a producer outside says of this session.
                step @ Step::AgentStarted(_) => events.extend(self.event(step)),
                step => events.extend(self.event(step).map(|event| event.by(by.cloned()))),
            }
        }
        let told = match after.filter(|_| events.is_empty()) {
            Some(after) => after,
            None => self.say(&mut events).await,
        };
        for content in writes {
            self.write(Line { content, told: told.clone() });
        }
        told
    }

    async fn delta(&mut self, events: &mut Vec<Event>, delta: TextDelta, thinking: bool) {
        drop(self.say(events).await);
        if let Some(delta) = self.streams.push(delta, thinking) {
            self.tell(Item::Delta(delta)).await;
        }
    }

    /// The durable event of a step.
    fn event(&mut self, step: Step) -> Option<Event> {
        let event = match step {
            Step::AgentStarted(data) => Event::new(AGENT_STARTED, data),
            Step::Message(data) => {
                self.streams.end(&data.message_id, data.block, data.blocks.len());
                Event::new(MESSAGE, data)
            }
            Step::ToolStarted(data) => {
                self.begun.insert(data.execution_id.clone(), self.clock.monotonic());
                Event::new(TOOL_STARTED, data)
            }
            Step::ToolCompleted(mut data) => {
                data.duration_ms = data.duration_ms.or_else(|| self.took(&data.execution_id));
                Event::new(TOOL_COMPLETED, data)
            }
            Step::SubagentStarted(data) => Event::new(SUBAGENT_STARTED, data),
            Step::SubagentCompleted(mut data) => {
                // The tool call that it runs in is completed after it, and forgotten then.
                data.duration_ms = data.duration_ms.or_else(|| self.since(&data.execution_id));
                Event::new(SUBAGENT_COMPLETED, data)
            }
            Step::PermissionRequested(mut data) => {
                data.attention = Some(self.live.user.clone());
                self.people.ask(&data);
                Event::new(PERMISSION_REQUESTED, data)
            }
            Step::PermissionResolved(mut data) => {
                data.attention = Some(self.live.user.clone());
                self.people.resolved(&data.request_id);
                Event::new(PERMISSION_RESOLVED, data)
            }
            Step::QuestionRequested(mut data) => {
                data.attention = Some(self.live.user.clone());
                self.people.ask_question(&data);
                Event::new(QUESTION_REQUESTED, data)
            }
            Step::QuestionResolved(mut data) => {
                data.attention = Some(self.live.user.clone());
                self.people.resolved(&data.request_id);
                Event::new(QUESTION_RESOLVED, data)
            }
            Step::Progress(data) => Event::new(PROGRESS, data),
            Step::Usage(data) => Event::new(USAGE, data),
            Step::TurnCompleted(data) => {
                self.streams.clear();
                self.verdict.turn = Some(data.clone());
                self.live.pulse.answered();
                Event::new(TURN_COMPLETED, data)
            }
            Step::Raw(data) => Event::new(RAW, data),
            Step::Output(_) | Step::TextDelta(_) | Step::ThinkingDelta(_) | Step::Publish(_) | Step::Write(_) => {
                return None;
            }
        };
        Some(event)
    }

    fn since(&self, execution_id: &str) -> Option<u64> {
        let took = self.clock.monotonic().saturating_sub(*self.begun.get(execution_id)?);
        u64::try_from(took.as_millis()).ok()
    }

    fn took(&mut self, execution_id: &str) -> Option<u64> {
        let took = self.since(execution_id);
        self.begun.remove(execution_id);
        took
    }

    /// Hands durable events over, as one unit; what comes of it resolves later.
    async fn say(&mut self, events: &mut Vec<Event>) -> Told {
        if events.is_empty() {
            return std::future::ready(Ok(())).boxed().shared();
        }
        let (told, hears) = oneshot::channel();
        let events = std::mem::take(events).into_iter().map(|event| self.numbered(event)).collect();
        self.tell(Item::Said { events, told: Some(told) }).await;
        hears.map(|told| told.unwrap_or_else(|_| Err(Error::internal()))).boxed().shared()
    }

    /// With an id, unless it has a person's, so that a repeat after a failure changes nothing.
    fn numbered(&mut self, mut event: Event) -> Event {
        self.last_id += 1;
        event.id.get_or_insert_with(|| format!("agent-{}", self.last_id).into());
        event
    }

    async fn tell(&self, item: Item) {
        // Nobody takes it any more: then the session is about to end, and says why.
        drop(self.items.send(item).await);
    }

    fn write(&self, line: Line) {
        let Some(stdin) = &self.stdin else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = stdin.try_send(line) {
            self.live.course.ask_to_end(Reason::InputStuck);
        }
    }
}
