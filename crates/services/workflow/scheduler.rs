//! The scheduler: from a plan and the state of a run, what is to be done next.
//!
//! Guarantees: pure. The same plan, state and time give the same answer, so that a run goes on after a
//! restart as it would have without one. A step begins after all that it needs has ended; no more run at
//! once than may; a run ends once every step has ended.
//! It is not the doing: nothing here has an effect.

use tidings_core::Timestamp;

use super::{
    contract::{RunStatus, SkipReason},
    definition::{StepKind, Work},
    expression::Budget,
    plan::Plan,
    state::{RunState, StepStatus},
};

/// What is decided without doing anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The step in this place is not run.
    Skip(usize, SkipReason),
    /// The step in this place fails, because its condition cannot be computed.
    Fail(usize, String),
    /// The step in this place ends with its run.
    Cancel(usize),
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Round {
    /// What is decided.
    pub(super) decisions: Vec<Decision>,
    /// The places of steps that may start.
    pub(super) starts: Vec<usize>,
    /// Whether conditions are left to evaluate, so that more may follow at once.
    pub(super) more: bool,
    /// How the run is then.
    pub(super) status: RunStatus,
    /// When to look again, if nothing happens before.
    pub(super) wake_at: Option<Timestamp>,
}

/// How many operations the conditions of one look may take until the others have to wait for the next: together they
/// could be long on their way, and nothing else would have a turn.
const OPERATIONS: usize = 100_000;

/// Decides. Once the decisions are told, nothing more follows from them before something happens, unless there is
/// [`Round::more`].
pub(super) fn next(plan: &Plan, state: &RunState, now: Timestamp) -> Round {
    if !state.status.is_open() {
        return Round { status: state.status, ..Round::default() };
    }
    let status = state.steps.iter().map(|step| step.status).collect();
    let mut look = Look { plan, state, status, spent: 0, more: false };
    if state.status == RunStatus::Cancelling {
        return look.cancelling();
    }
    let mut round = Round::default();
    let busy = |(place, status): (usize, &StepStatus)| *status == StepStatus::Running && !is_approval(plan, place);
    let mut room = plan.concurrency.saturating_sub(look.status.iter().enumerate().filter(|each| busy(*each)).count());
    for &step in &plan.definition.order {
        for place in plan.places(step) {
            match look.judge(place) {
                Judgement::Nothing => continue,
                Judgement::Skip(reason) => {
                    look.status[place] = StepStatus::Skipped;
                    round.decisions.push(Decision::Skip(place, reason));
                    continue;
                }
                Judgement::Fail(why) => {
                    look.status[place] = StepStatus::Failed;
                    round.decisions.push(Decision::Fail(place, why));
                    continue;
                }
                Judgement::Ready => {}
            }
            if let Some(at) = state.steps[place].retry_at.filter(|at| *at > now) {
                round.wake_at = Some(round.wake_at.map_or(at, |known| known.min(at)));
            } else if is_approval(plan, place) {
                round.starts.push(place);
            } else if room > 0 {
                room -= 1;
                round.starts.push(place);
            }
        }
    }
    round.more = look.more;
    round.status = look.status_after(&round);
    round
}

fn is_approval(plan: &Plan, place: usize) -> bool {
    plan.step(place).work.kind() == StepKind::Approval
}

/// When a step that failed is tried again; none if it is not.
pub(super) fn retry_at(plan: &Plan, state: &RunState, place: usize, code: &str, now: Timestamp) -> Option<Timestamp> {
    let (retries, attempt) = (plan.step(place).retries, state.steps[place].attempt);
    let may = attempt <= retries.max && (code != SERVER_STOPPED || retries.on_server_stop);
    let wait = i64::try_from(retries.wait_ms(attempt)).unwrap_or(i64::MAX);
    (may && state.status != RunStatus::Cancelling).then(|| now.plus_ms(wait))
}

/// The code of an attempt that the server's stop ended.
pub(super) const SERVER_STOPPED: &str = "server_stopped";

/// The places of the attempts that end with a life of the server. What waits for a person goes on waiting.
pub(super) fn interrupted(plan: &Plan, state: &RunState) -> Vec<usize> {
    let is_hit = |place: &usize| {
        let work = &plan.step(*place).work;
        state.steps[*place].status == StepStatus::Running && !matches!(work, Work::Approval { .. })
    };
    (0..state.steps.len()).filter(is_hit).collect()
}

/// A look at a run while decisions are made.
struct Look<'a> {
    plan: &'a Plan,
    state: &'a RunState,
    /// How each step is, with what is decided so far.
    status: Vec<StepStatus>,
    /// How many operations the conditions took so far.
    spent: usize,
    /// Whether some are left to evaluate.
    more: bool,
}

enum Judgement {
    Nothing,
    Ready,
    Skip(SkipReason),
    Fail(String),
}

impl Look<'_> {
    fn judge(&mut self, place: usize) -> Judgement {
        let waits = self.status[place] != StepStatus::Pending;
        if waits || !self.plan.needs(place).all(|need| self.status[need].has_ended()) {
            return Judgement::Nothing;
        }
        if self.state.steps[place].attempt > 0 {
            // It was judged before its first attempt.
            return Judgement::Ready;
        }
        if self.spent >= OPERATIONS && self.plan.is_undecided(place) {
            self.more = true;
            return Judgement::Nothing;
        }
        let mut budget = Budget::default();
        let runs = self.plan.condition(self.state, place, &|place| self.status[place], &mut budget);
        self.spent += budget.spent();
        match runs {
            None if self.plan.needs(place).all(|need| self.plan.has_succeeded(need, self.status[need])) => {
                Judgement::Ready
            }
            None => Judgement::Skip(SkipReason::Needs),
            Some(Ok(true)) => Judgement::Ready,
            Some(Ok(false)) => Judgement::Skip(SkipReason::Condition),
            Some(Err(why)) => Judgement::Fail(why),
        }
    }

    fn cancelling(&self) -> Round {
        // What runs is ended by whoever runs it; nobody runs what waits.
        let idle = |status| matches!(status, StepStatus::Pending | StepStatus::Waiting);
        let decisions =
            (0..self.status.len()).filter(|&place| idle(self.status[place])).map(Decision::Cancel).collect();
        let open = self.status.contains(&StepStatus::Running);
        let status = if open { RunStatus::Cancelling } else { RunStatus::Cancelled };
        Round { decisions, status, ..Round::default() }
    }

    fn status_after(&self, round: &Round) -> RunStatus {
        let is = |wanted: StepStatus| self.status.contains(&wanted);
        if self.status.iter().all(|status| status.has_ended()) {
            let failed = self.status.iter().enumerate().any(|(place, status)| self.plan.has_failed(place, *status));
            return if failed { RunStatus::Failed } else { RunStatus::Completed };
        }
        let goes_on = is(StepStatus::Running) || round.wake_at.is_some() || round.more;
        let only_approvals = round.starts.iter().all(|&place| is_approval(self.plan, place));
        let waits = is(StepStatus::Waiting) && !goes_on && only_approvals;
        if waits { RunStatus::Waiting } else { RunStatus::Running }
    }
}
