//! The fold of a run's channel: its bounds, and what it ignores.

use std::collections::BTreeMap;

use tidings_core::{
    Event, Message, Timestamp,
    projection::{Fold, Reducer},
};

use super::super::{
    contract::{
        COMPLETED, Progress, RunCompleted, RunId, RunStarted, RunStatus, STARTED, STEP_COMPLETED, STEP_FAILED,
        STEP_OUTPUT, STEP_PROGRESS, STEP_STARTED, Shape, StepCompleted, StepFailed, StepKind, StepOutput, StepProgress,
        StepStarted, Stream, Usage,
    },
    state::{RunReducer, RunState, StepStatus, TAIL_BYTES, TAILS_BYTES},
};

fn run() -> RunId {
    "r1".parse().expect("an id")
}

fn started(steps: usize) -> Event {
    let shape = |n| Shape {
        step_id: format!("s{n}"),
        name: format!("s{n}"),
        kind: StepKind::Command,
        needs: Vec::new(),
        matrix: BTreeMap::new(),
        reused: None,
    };
    let data = RunStarted {
        run_id: run(),
        project_id: "p1".parse().expect("an id"),
        title: "one".into(),
        definition: String::new(),
        file: None,
        inputs: BTreeMap::new(),
        rerun_of: None,
        steps: (0..steps).map(shape).collect(),
        board: None,
    };
    Event::new(STARTED, data)
}

fn begins(n: usize, attempt: u32) -> Event {
    Event::new(STEP_STARTED, StepStarted { run_id: run(), step_id: format!("s{n}"), attempt })
}

fn prints(n: usize, content: String) -> Event {
    let (run_id, step_id) = (run(), format!("s{n}"));
    Event::new(STEP_OUTPUT, StepOutput { run_id, step_id, attempt: 1, r#type: Stream::Stdout, content, offset: 0 })
}

fn completes(n: usize, usage: Option<Usage>) -> Event {
    let data = StepCompleted {
        run_id: run(),
        step_id: format!("s{n}"),
        attempt: 1,
        outputs: BTreeMap::new(),
        duration_ms: 5,
        progress: Progress::default().done(),
        usage,
        attention: None,
    };
    Event::new(STEP_COMPLETED, data)
}

fn fails(n: usize, retry_at: Option<Timestamp>) -> Event {
    let data = StepFailed {
        run_id: run(),
        step_id: format!("s{n}"),
        attempt: 1,
        code: "exit_code".into(),
        message: "no".into(),
        exit_code: Some(1),
        signal: None,
        duration_ms: 5,
        retry_at,
        tolerated: false,
        usage: Some(Usage { input_tokens: 1, output_tokens: 2, cost_usd: 0.5 }),
        attention: None,
    };
    Event::new(STEP_FAILED, data)
}

fn message(seq: u64, event: Event) -> Message {
    Message::new("workflow:run:r1".parse().expect("a channel"), Some(seq), Timestamp(seq as i64), event)
}

fn folded(events: &[Event]) -> RunState {
    let mut state = RunState::default();
    for (event, seq) in events.iter().zip(1..) {
        RunReducer::apply(&mut state, &message(seq, event.clone()));
    }
    state
}

#[test]
fn the_newest_output_stays_of_each_step_and_of_those_that_printed_last() {
    let steps = 2 * TAILS_BYTES / TAIL_BYTES;
    let mut events = vec![started(steps)];
    for n in 0..steps {
        events.push(begins(n, 1));
        events.push(prints(n, "é".repeat(TAIL_BYTES)));
        events.push(prints(n, "end".into()));
    }
    let state = folded(&events);
    let kept: usize = state.steps.iter().map(|step| step.tail.len()).sum();
    assert!(kept <= TAILS_BYTES && kept > TAILS_BYTES / 2, "{kept}");
    assert!(state.steps[0].tail.is_empty());
    let last = &state.steps[steps - 1];
    assert!(last.tail.ends_with("éend") && last.tail.len() <= TAIL_BYTES);
    assert_eq!(last.output_bytes, 2 * TAIL_BYTES as u64 + 3);
}

#[test]
fn what_its_agents_used_is_the_sum_over_all_attempts() {
    let events =
        [started(2), begins(0, 1), fails(0, Some(Timestamp(9))), begins(0, 2), completes(0, None), begins(1, 1)];
    let mut state = folded(&events);
    assert_eq!(
        (state.steps[0].status, state.steps[0].attempt, state.steps[0].duration_ms),
        (StepStatus::Completed, 2, 10)
    );
    let used = Some(Usage { input_tokens: 10, output_tokens: 20, cost_usd: 1.0 });
    RunReducer::apply(&mut state, &message(7, completes(1, used)));
    assert_eq!(state.usage, Usage { input_tokens: 11, output_tokens: 22, cost_usd: 1.5 });
    assert_eq!(state.progress, Progress { current: 2, total: 2, percentage: 100.0 });
}

#[test]
fn the_first_end_counts_and_what_is_not_known_changes_nothing() {
    let over = RunCompleted { run_id: run(), duration_ms: 1, usage: Usage::default(), board: None };
    let events = vec![started(1), begins(0, 1), completes(0, None), Event::new(COMPLETED, over)];
    let state = folded(&events);
    assert_eq!(state.status, RunStatus::Completed);
    let progress = Progress::of(1, 2, false);
    let late = StepProgress { run_id: run(), step_id: "s0".into(), attempt: 1, progress };
    let odd = [
        fails(0, None),
        begins(0, 2),
        Event::new(STEP_PROGRESS, late),
        Event::new(STEP_STARTED, serde_json::json!({"stepId": 5})),
        Event::new("workflow.run.noted", serde_json::json!({})),
        begins(7, 1),
        started(3),
    ];
    let mut after = folded(&[events, odd.to_vec()].concat());
    after.updated_at = state.updated_at;
    assert_eq!(after, state);
}

#[test]
fn a_restored_state_folds_on_as_if_it_had_stayed() {
    let projection = Fold::<RunReducer>::projection();
    let events = [
        started(3),
        begins(0, 1),
        prints(0, "a".into()),
        begins(1, 1),
        fails(0, Some(Timestamp(9))),
        prints(1, "b".into()),
    ];
    let whole = folded(&events);
    for cut in 0..=events.len() {
        let mut state = projection.start();
        for (index, event) in events.iter().cloned().enumerate() {
            if index == cut {
                state = projection.restore(&state.save()).expect("restores");
            }
            state.apply(&message(index as u64 + 1, event));
        }
        assert_eq!(state.as_any().downcast_ref::<RunState>(), Some(&whole), "{cut}");
    }
}
