//! What people ask of an agent: messages that may have to wait, answers to its requests, interrupts.
//!
//! Guarantees: a repeat under the same key gets the first one's answer; every message that was queued
//! is dequeued by exactly one event; whoever is answered that something happened finds it in the log.
//! It is not the judgement of who may: that is the gate's.

use std::collections::{HashMap, VecDeque};

use tidings_core::{Code, Error, Event, Result, UserId};
use tokio::sync::oneshot;

use super::{
    super::{
        adapter::{Activity, Answered, Replied, Reply as Said},
        contract::{
            Dequeued, MESSAGE_DEQUEUED, MESSAGE_QUEUED, MessageDequeued, MessageQueued,
            agent::{PermissionOption, PermissionRequested},
            question::{Question, QuestionRequested},
        },
        inbox::{Letter, Remembered, Told},
        input::{AnswerQuestion, ResolvePermission},
    },
    Agent,
    replies::reply_to,
};

/// How many messages wait for a busy agent.
const QUEUE: usize = 10;

/// Hears what became of a request.
type Reply<T> = oneshot::Sender<Result<T>>;

/// What somebody asks of an agent.
pub(in super::super) enum Request {
    /// To take a message: whether it has to wait.
    Message { letter: Letter, reply: Reply<bool> },
    /// To give a message back that waits.
    TakeBack { user: UserId, message_id: String, reply: Reply<()> },
    /// To take the answer to its request.
    Resolve { user: UserId, input: ResolvePermission, reply: Reply<()> },
    /// To take the answers to its questions.
    Answer { user: UserId, input: AnswerQuestion, reply: Reply<()> },
    /// To stop its turn and stay.
    Interrupt { user: UserId, reply: Reply<()> },
}

impl Request {
    /// Refuses it. Whoever asked may have gone.
    pub(in super::super) fn refuse(self, error: Error) {
        match self {
            Self::Message { reply, .. } => drop(reply.send(Err(error))),
            Self::TakeBack { reply, .. }
            | Self::Resolve { reply, .. }
            | Self::Answer { reply, .. }
            | Self::Interrupt { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// What is remembered of people.
#[derive(Default)]
pub(super) struct People {
    queue: VecDeque<Letter>,
    /// Whether each had to wait.
    seen: Remembered<bool>,
    /// The requests that wait.
    waiting: HashMap<String, Waiting>,
}

/// A request that waits.
enum Waiting {
    /// A permission, with its answers.
    Permission(Vec<PermissionOption>),
    /// Questions.
    Questions(Vec<Question>),
}

impl People {
    pub(super) fn ask(&mut self, request: &PermissionRequested) {
        self.waiting.insert(request.request_id.clone(), Waiting::Permission(request.options.clone()));
    }

    pub(super) fn ask_question(&mut self, request: &QuestionRequested) {
        self.waiting.insert(request.request_id.clone(), Waiting::Questions(request.questions.clone()));
    }

    pub(super) fn resolved(&mut self, request_id: &str) {
        self.waiting.remove(request_id);
    }

    fn waiting(&self, request_id: &str) -> Result<&Waiting> {
        let gone = || Error::new(Code::Conflict, "this request does not wait: it was answered or withdrawn");
        self.waiting.get(request_id).ok_or_else(gone)
    }

    /// The option that an answer chooses.
    fn chosen(&self, input: &ResolvePermission) -> Result<PermissionOption> {
        let options = match self.waiting(&input.request_id)? {
            Waiting::Permission(options) => options,
            Waiting::Questions(_) => {
                let why = "this request is a question: session.answer_question answers or declines it";
                return Err(Error::new(Code::Conflict, why));
            }
        };
        let is_it = |option: &&PermissionOption| match (&input.option_id, input.decision) {
            (Some(id), _) => option.id == *id,
            (None, kind) => kind == Some(option.kind),
        };
        let names = || options.iter().map(|option| option.id.as_str()).collect::<Vec<_>>().join(", ");
        let found = options.iter().find(is_it).cloned();
        found.ok_or_else(|| Error::invalid_field("optionId", format!("is one of: {}", names())))
    }

    /// What is replied to questions.
    fn said(&self, input: &AnswerQuestion) -> Result<Said> {
        match self.waiting(&input.request_id)? {
            Waiting::Questions(questions) => reply_to(questions, input),
            Waiting::Permission(_) => {
                let why = "this request is a permission: session.resolve_permission answers it";
                Err(Error::new(Code::Conflict, why))
            }
        }
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T>) {
    // Whoever asked may have gone.
    drop(reply.send(result));
}

/// Answers once it is durable. The wait is the replier's task's, not the agent's.
async fn answer_when<T>(told: Told, reply: Reply<T>, value: T) {
    answer(reply, told.await.map(|()| value));
}

impl Agent {
    /// Serves one request.
    pub(super) async fn serve(&mut self, request: Request) {
        match request {
            Request::Message { letter, reply } => self.hear(letter, reply).await,
            Request::TakeBack { user, message_id, reply } => self.take_back(&user, &message_id, reply).await,
            Request::Resolve { user, input, reply } => self.resolve(&user, &input, reply).await,
            Request::Answer { user, input, reply } => self.reply(&user, &input, reply).await,
            Request::Interrupt { user, reply } => {
                let steps = self.adapter.interrupt();
                if self.adapter.activity() == Activity::Idle || steps.is_empty() {
                    return answer(reply, Err(Error::new(Code::Conflict, "there is no turn that can be interrupted")));
                }
                let told = self.consume(steps, Some(&user), None).await;
                answer_when(told, reply, ()).await;
            }
        }
    }

    async fn hear(&mut self, letter: Letter, reply: Reply<bool>) {
        match self.people.seen.former(&letter) {
            Ok(Some((told, queued))) => return answer_when(told, reply, queued).await,
            Ok(None) => {}
            Err(error) => return answer(reply, Err(error)),
        }
        if self.stdin.is_none() {
            return answer(reply, Err(Error::new(Code::Conflict, "the agent of this session takes no messages")));
        }
        let queued = self.adapter.activity() != Activity::Idle || !self.people.queue.is_empty();
        if queued && self.people.queue.len() >= QUEUE {
            let why = format!("{QUEUE} messages wait for the agent already");
            return answer(reply, Err(Error::overloaded(why)));
        }
        let (key, content) = (letter.key(), letter.digest());
        let told = if queued { self.enqueue(letter).await } else { self.pass_on(letter, false).await };
        self.people.seen.remember(key, content, told.clone(), queued);
        answer_when(told, reply, queued).await;
    }

    async fn enqueue(&mut self, letter: Letter) -> Told {
        let data = MessageQueued {
            session_id: self.id.clone(),
            message_id: letter.message_id.clone(),
            client_message_id: letter.client_message_id.clone(),
            content: letter.shown.clone(),
        };
        let event = Event::new(MESSAGE_QUEUED, data).by(Some(letter.user.clone()));
        let told = self.say(&mut vec![event]).await;
        self.people.queue.push_back(letter);
        told
    }

    /// Tells a message and gives it to the agent.
    async fn pass_on(&mut self, letter: Letter, waited: bool) -> Told {
        let message_id = letter.message_id.clone();
        let mut events = Vec::new();
        if waited {
            events.push(self.dequeued(&message_id, Dequeued::Sent));
        }
        events.push(letter.event());
        let told = self.say(&mut events).await;
        let steps = self.adapter.message(&message_id, &letter.content);
        drop(self.consume(steps, Some(&letter.user), Some(told.clone())).await);
        told
    }

    /// Gives the next message that waits to an agent that is free.
    pub(super) async fn pass_on_next(&mut self) {
        if self.adapter.activity() == Activity::Idle
            && let Some(letter) = self.people.queue.pop_front()
        {
            drop(self.pass_on(letter, true).await);
        }
    }

    fn dequeued(&self, message_id: &str, reason: Dequeued) -> Event {
        let message_id = message_id.to_owned();
        Event::new(MESSAGE_DEQUEUED, MessageDequeued { session_id: self.id.clone(), message_id, reason })
    }

    async fn take_back(&mut self, user: &UserId, message_id: &str, reply: Reply<()>) {
        let Some(place) = self.people.queue.iter().position(|letter| letter.message_id == message_id) else {
            let why = "this message does not wait: it went to the agent, or was taken back";
            return answer(reply, Err(Error::new(Code::Conflict, why)));
        };
        self.people.queue.remove(place);
        let event = self.dequeued(message_id, Dequeued::Cancelled).by(Some(user.clone()));
        let told = self.say(&mut vec![event]).await;
        answer_when(told, reply, ()).await;
    }

    async fn resolve(&mut self, user: &UserId, input: &ResolvePermission, reply: Reply<()>) {
        let option = match self.people.chosen(input) {
            Ok(option) => option,
            Err(error) => return answer(reply, Err(error)),
        };
        let (request_id, message) = (input.request_id.clone(), input.message.clone());
        let answered = Answered { request_id, option_id: option.id, message };
        let steps = self.adapter.answered(&answered);
        let told = self.consume(steps, Some(user), None).await;
        answer_when(told, reply, ()).await;
    }

    async fn reply(&mut self, user: &UserId, input: &AnswerQuestion, reply: Reply<()>) {
        let said = match self.people.said(input) {
            Ok(said) => said,
            Err(error) => return answer(reply, Err(error)),
        };
        let steps = self.adapter.replied(&Replied { request_id: input.request_id.clone(), reply: said });
        let told = self.consume(steps, Some(user), None).await;
        answer_when(told, reply, ()).await;
    }

    /// The session has ended: what waits is told to wait no more.
    pub(super) async fn drop_queue(&mut self) {
        let ids: Vec<String> = self.people.queue.drain(..).map(|letter| letter.message_id).collect();
        let mut events: Vec<Event> = ids.iter().map(|id| self.dequeued(id, Dequeued::Ended)).collect();
        drop(self.say(&mut events).await);
    }
}
