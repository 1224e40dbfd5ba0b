//! One run from its start, or from where a former life of the server left it, to its end: the task that
//! tells what the scheduler decides and starts what it says.
//!
//! Guarantees: what is told is folded here in the same order; the end of every attempt is told before anything
//! follows from it; nothing is done, and nobody is answered, before what led to it is durable; a run ends once.
//! When the server stops, its attempts end and the run stays open for the next start.
//! What follows at once from one thing is told as one unit: an end, what is decided then, and the starts.
//! It is not the decision what to do: that is the scheduler's; nor the doing: that is the step's.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tidings_core::{Code, Error, Event, Principal, Result, Timestamp, UserId, fault, panics};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::yield_now,
    time::sleep,
};

use super::{
    contract::{Decision as Answer, RunStatus},
    definition::StepKind,
    outputs,
    plan::{Plan, Prepared},
    registry::{Asked, Request, Seat},
    runs::Runs,
    scheduler::{Decision, interrupted, next},
    state::{RunState, StepStatus},
    step::{Attempt, Course},
    telling::{Done, Outcome, Teller},
};
use crate::telling::tell_by_id;

/// How many ends of steps wait to be told.
const ENDS: usize = 16;
/// The longest sleep: a wall clock may leap.
const LONGEST_SLEEP_MS: i64 = 60_000;

/// A run on its way.
pub(super) struct Run {
    pub(super) runs: Arc<Runs>,
    pub(super) seat: Seat,
    pub(super) plan: Plan,
    /// With what is still to be told.
    pub(super) state: RunState,
    /// What is folded and not told yet.
    pub(super) untold: Vec<Event>,
    pub(super) root: PathBuf,
    /// In whose name agents are asked; none once nobody knows.
    pub(super) principal: Option<Principal>,
    /// Whether its definition is being computed.
    pub(super) computing: bool,
}

type Ends = mpsc::Receiver<(usize, Done)>;

/// An attempt that is to start once its start is durable.
struct Start {
    place: usize,
    prepared: Prepared,
    permit: OwnedSemaphorePermit,
}

/// What a run's task holds besides its state.
struct Work {
    ended: mpsc::Sender<(usize, Done)>,
    course: watch::Sender<Course>,
    /// The room that the attempts under way take, by place.
    permits: BTreeMap<usize, OwnedSemaphorePermit>,
    /// Room that was waited for.
    spare: Option<OwnedSemaphorePermit>,
    /// What the board and the progress said last.
    told: (RunStatus, u64),
}

impl Run {
    /// Runs it to its end, or to the server's.
    pub(super) async fn go(mut self) {
        let id = self.seat.id.clone();
        let done = panics::caught_in("workflow.run", self.work()).await;
        let failed = match done {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::error!(run = %id, %error, "a run stands still; the next start goes on with it");
                return;
            }
            Err(panicked) => panicked,
        };
        tracing::error!(run = %id, error = %failed, "a run's task panicked");
        let (code, why) = if self.computing {
            ("expression_failed", format!("an expression of the definition cannot be computed: {failed}"))
        } else {
            ("internal", failed.message().to_owned())
        };
        if let Err(error) = self.break_off(code, &why).await {
            tracing::error!(run = %id, %error, "the end of a run could not be told");
        }
    }

    /// Ends a run that cannot go on, with all its steps. Its definition is not asked: it may be the reason.
    ///
    /// # Errors
    /// The bus's.
    pub(super) async fn break_off(&mut self, code: &str, message: &str) -> Result<()> {
        let mut events = Vec::new();
        for (place, step) in self.state.steps.iter().enumerate() {
            let outcome = match step.status {
                status if status.has_ended() => continue,
                StepStatus::Running => Outcome::failed(code, message),
                _ => Outcome::Cancelled,
            };
            events.push(self.teller().broken_off(place, outcome));
        }
        self.say(events);
        let over = self.teller().broken(code, message);
        self.say([over]);
        self.tell().await
    }

    fn now(&self) -> Timestamp {
        self.runs.ports.clock.now()
    }

    fn teller(&self) -> Teller<'_> {
        Teller { id: &self.seat.id, plan: &self.plan, state: &self.state, now: self.now() }
    }

    /// Folds events, to be told with what follows from them.
    fn say(&mut self, events: impl IntoIterator<Item = Event>) {
        let now = self.now();
        for event in events {
            self.state.apply(event.event_type.as_str(), &event.payload, now, event.by.as_ref());
            self.untold.push(event);
        }
    }

    /// Tells what was said as one unit. Then it is durable.
    async fn tell(&mut self) -> Result<()> {
        match std::mem::take(&mut self.untold) {
            none if none.is_empty() => Ok(()),
            events => tell_by_id(&*self.runs.ports.bus, events, None).await,
        }
    }

    async fn work(&mut self) -> Result<()> {
        let (ended, mut ends) = mpsc::channel(ENDS);
        let course = watch::Sender::new(match self.state.status {
            RunStatus::Cancelling => Course::Cancelling,
            _ => Course::Running,
        });
        let told = (self.state.status, self.state.progress.current);
        let mut work = Work { ended, course, permits: BTreeMap::new(), spare: None, told };
        self.take_up();
        loop {
            if self.runs.registry.is_closed() {
                return self.stop(&work, &mut ends).await;
            }
            let (over, held_back, wake_at) = self.settle(&mut work).await?;
            if over {
                return Ok(());
            }
            self.wait(&mut work, &mut ends, held_back, wake_at).await?;
        }
    }

    /// Tells the end of what a former life of the server left under way.
    fn take_up(&mut self) {
        let left = interrupted(&self.plan, &self.state);
        let teller = self.teller();
        let events = left.into_iter().map(|place| teller.ended(place, Outcome::server_stopped().into(), None));
        let events: Vec<Event> = events.collect();
        self.say(events);
    }

    /// Tells what has happened with what follows from it, and starts what can start. Says whether the run is
    /// over, whether steps wait for room, and when to look again.
    async fn settle(&mut self, work: &mut Work) -> Result<(bool, bool, Option<Timestamp>)> {
        let mut starts = Vec::new();
        let (held_back, round) = loop {
            yield_now().await;
            self.computing = true;
            fault::here("workflow.compute");
            let mut round = next(&self.plan, &self.state, self.now());
            self.computing = false;
            let (teller, decisions) = (self.teller(), std::mem::take(&mut round.decisions));
            let decided: Vec<Event> = decisions.into_iter().map(|decision| teller.decided(decision)).collect();
            self.say(decided);
            if !round.status.is_open() {
                let over = self.teller().over(round.status);
                self.say([over]);
                self.tell().await?;
                return Ok((true, false, None));
            }
            let (mut started, mut held_back) = (false, false);
            for place in std::mem::take(&mut round.starts) {
                // Computing may take a moment for each: others have their turn in between.
                yield_now().await;
                let has_started = self.begin(place, work, &mut starts);
                started |= has_started;
                held_back |= !has_started;
            }
            // What has started, or could not, is looked at as well.
            if !started && !round.more {
                break (held_back, round);
            }
        };
        let known = (round.status, self.state.progress.current);
        if known != work.told {
            let event = self.teller().updated(round.status, round.status != work.told.0);
            self.say([event]);
            work.told = known;
        }
        self.tell().await?;
        work.spare = None;
        for start in starts {
            self.start(start, work)?;
        }
        Ok((false, held_back, round.wake_at))
    }

    /// Says that an attempt begins, if there is room for it.
    fn begin(&mut self, place: usize, work: &mut Work, starts: &mut Vec<Start>) -> bool {
        if self.plan.step(place).work.kind() != StepKind::Approval {
            // Room comes first: what has none would be computed again whenever something happens.
            work.spare = work.spare.take().or_else(|| self.runs.room.clone().try_acquire_owned().ok());
            if work.spare.is_none() {
                return false;
            }
        }
        self.computing = true;
        let prepared = self.plan.prepare(&self.state, place);
        self.computing = false;
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(why) => {
                let failed = self.teller().decided(Decision::Fail(place, why));
                self.say([failed]);
                return true;
            }
        };
        let started = self.teller().started(place);
        if let Prepared::Approval { message } = prepared {
            let waiting = self.teller().waiting(place, self.runs.config.redaction.redact(&message).into_owned());
            self.say([started, waiting]);
            return true;
        }
        let Some(permit) = work.spare.take() else { return false };
        self.say([started]);
        starts.push(Start { place, prepared, permit });
        true
    }

    /// Starts an attempt.
    fn start(&self, Start { place, prepared, permit }: Start, work: &mut Work) -> Result<()> {
        work.permits.insert(place, permit);
        let step = &self.state.steps[place];
        let standard = Some(self.runs.config.limits.step_ms).filter(|ms| *ms > 0);
        let attempt = Attempt {
            runs: self.runs.clone(),
            run_id: self.seat.id.clone(),
            step_id: step.step_id.clone(),
            place,
            attempt: step.attempt,
            project_id: self.state.project_id.clone().ok_or_else(Error::internal)?,
            root: self.root.clone(),
            timeout: self.plan.step(place).timeout_ms.or(standard).map(Duration::from_millis),
            course: work.course.subscribe(),
            principal: self.principal.clone(),
            asked: self.asked(),
        };
        let ended = work.ended.clone();
        let going = async move {
            let done = attempt.go(prepared).await;
            // The run's task is gone only when it panicked, and has told this end itself.
            drop(ended.send((place, done)).await);
        };
        self.runs.ports.tasks.spawn("workflow.step", Box::pin(going));
        Ok(())
    }

    /// Who asked for the run, as it was then; of somebody whom the server does not know, that is nothing but who and when.
    fn asked(&self) -> Option<Principal> {
        let unknown = || {
            let mut unknown = Principal::new(self.state.started_by.clone()?, Vec::new(), Vec::new());
            unknown.issued_at = self.state.started_at;
            Some(unknown)
        };
        self.principal.clone().or_else(unknown)
    }

    /// Waits for something to happen, and says it.
    async fn wait(
        &mut self,
        work: &mut Work,
        ends: &mut Ends,
        held_back: bool,
        wake_at: Option<Timestamp>,
    ) -> Result<()> {
        let wake_at = self.deadlines().map(|(_, at)| at).chain(wake_at).min();
        let sleep_ms = wake_at.map(|at| at.0.saturating_sub(self.now().0).clamp(0, LONGEST_SLEEP_MS));
        let asleep = async {
            match sleep_ms.and_then(|ms| u64::try_from(ms).ok()) {
                Some(ms) => sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
        };
        let (room, registry) = (self.runs.room.clone(), self.runs.registry.clone());
        tokio::select! {
            Some((place, done)) = ends.recv() => {
                self.end(place, done, work);
                // What has ended meanwhile goes with it.
                while let Ok((place, done)) = ends.try_recv() {
                    self.end(place, done, work);
                }
                Ok(())
            }
            Some(asked) = self.seat.requests.recv() => self.answer(asked, work).await,
            permit = room.acquire_owned(), if held_back => {
                work.spare = permit.ok();
                Ok(())
            }
            () = asleep => {
                self.expire();
                Ok(())
            }
            () = registry.closed() => Ok(()),
        }
    }

    /// When the approvals that wait have waited long enough, by place.
    fn deadlines(&self) -> impl Iterator<Item = (usize, Timestamp)> {
        let waiting = self.state.steps.iter().enumerate().filter(|(_, step)| step.status == StepStatus::Waiting);
        waiting.filter_map(|(place, step)| {
            let timeout = i64::try_from(self.plan.step(place).timeout_ms?).ok()?;
            Some((place, step.started_at?.plus_ms(timeout)))
        })
    }

    /// Ends the approvals that have waited long enough.
    fn expire(&mut self) {
        let (now, teller) = (self.now(), self.teller());
        let late = self.deadlines().filter(|(_, at)| *at <= now);
        let why = "nobody answered in time";
        let ended = |(place, _)| teller.ended(place, Outcome::failed("timeout", why).into(), None);
        let events: Vec<Event> = late.map(ended).collect();
        self.say(events);
    }

    fn end(&mut self, place: usize, done: Done, work: &mut Work) {
        work.permits.remove(&place);
        let by = self.state.cancelled_by.clone().filter(|_| done.outcome == Outcome::Cancelled);
        let event = self.teller().ended(place, self.bounded(done), by);
        self.say([event]);
    }

    /// What came of an attempt, if the run may hold what it gave.
    fn bounded(&self, mut done: Done) -> Done {
        if let Outcome::Completed { outputs, .. } = &done.outcome
            && let Err(why) = outputs::of_run(self.state.steps.iter().map(|step| &step.outputs), outputs)
        {
            done.outcome = Outcome::failed(outputs::INVALID, why);
        }
        done
    }

    /// Does what somebody asked for, and says whether it was done.
    async fn answer(&mut self, Asked { user, request, reply }: Asked, work: &mut Work) -> Result<()> {
        let events = match request {
            Request::Cancel => Ok(self.cancelling(user)),
            Request::Answer { step_id, decision } => self.answered(user, &step_id, decision).map(|event| vec![event]),
        };
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                // Whoever asked may have gone.
                drop(reply.send(Err(error)));
                return Ok(());
            }
        };
        self.say(events);
        self.tell().await?;
        if self.state.status == RunStatus::Cancelling {
            work.course.send_replace(Course::Cancelling);
            work.told.0 = RunStatus::Cancelling;
        }
        drop(reply.send(Ok(())));
        Ok(())
    }

    fn cancelling(&self, user: UserId) -> Vec<Event> {
        if self.state.status == RunStatus::Cancelling {
            return Vec::new();
        }
        vec![self.teller().updated(RunStatus::Cancelling, true).by(Some(user))]
    }

    fn answered(&self, user: UserId, step_id: &str, decision: Answer) -> Result<Event> {
        let conflict = |why: &'static str| Error::new(Code::Conflict, why);
        let place = self.state.steps.iter().position(|step| step.step_id == step_id).ok_or_else(Error::not_found)?;
        let step = &self.state.steps[place];
        match step.status {
            _ if step.kind != StepKind::Approval => return Err(conflict("this step asks for no answer")),
            _ if self.state.status == RunStatus::Cancelling => return Err(conflict("the run was cancelled")),
            StepStatus::Waiting => {}
            StepStatus::Pending => return Err(conflict("this step does not wait for an answer yet")),
            _ => return Err(conflict("this step waits for no answer any more")),
        }
        let outcome = match decision {
            Answer::Approved => Outcome::Completed { outputs: BTreeMap::new(), progress: Default::default() },
            Answer::Rejected => Outcome::failed("rejected", "a person said no"),
        };
        Ok(self.teller().ended(place, outcome.into(), Some(user)))
    }

    /// The server stops: every attempt ends, and is told; the run stays open.
    async fn stop(&mut self, work: &Work, ends: &mut Ends) -> Result<()> {
        work.course.send_if_modified(|course| {
            // What is being cancelled is ended already.
            let turns = *course == Course::Running;
            if turns {
                *course = Course::Stopping;
            }
            turns
        });
        while self.state.steps.iter().any(|step| step.status == StepStatus::Running) {
            let Some((place, done)) = ends.recv().await else { break };
            let event = self.teller().ended(place, self.bounded(done), None);
            self.say([event]);
            self.tell().await?;
        }
        self.tell().await
    }
}
